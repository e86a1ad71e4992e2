//! The example models of the model language.

use aphelion_frontend::data::Npz;
use aphelion_frontend::dsl::{self, Import};
use aphelion_frontend::onnx;
use aphelion_ir::nn::Interpreter;
use aphelion_ir::text;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/models")
        .join(name)
}

fn import(name: &str) -> Import {
    dsl::import(&model(name)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn graphs_of_the_examples() {
    for name in ["lenet_sq", "mlp_credit", "cnn1d_gunpoint"] {
        let import = import(&format!("{name}.aph-model"));
        import.graph.verify().expect("the importer builds valid graphs");
        insta::assert_snapshot!(name, text::print_graph(&import.graph).expect("weights are loaded"));
    }
}

#[test]
fn declared_ranges_are_returned() {
    assert_eq!(import("lenet_sq.aph-model").input_ranges.get("x"), Some(&(0.0, 1.0)));
    assert!(import("mlp_credit.aph-model").input_ranges.is_empty());
}

/// The rows of an array of `examples/data`.
fn samples(archive: &str, array: &str, n_elements: usize) -> Vec<Vec<f64>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/data")
        .join(archive);
    let bytes = std::fs::read(path).expect("the data are there");
    let array = Npz::open(&bytes)
        .and_then(|mut npz| npz.array(array))
        .expect("the array is there");
    array.values.chunks_exact(n_elements).map(<[f64]>::to_vec).collect()
}

#[test]
fn the_examples_are_the_networks_of_the_onnx_files() {
    for (name, archive) in [
        ("lenet_sq", "mnist_test.npz"),
        ("mlp_credit", "credit_test.npz"),
        ("cnn1d_gunpoint", "gunpoint_test.npz"),
    ] {
        let ours = import(&format!("{name}.aph-model")).graph;
        let onnx = onnx::import(model(&format!("{name}.onnx"))).expect("the ONNX file is imported");
        let canonical = |graph| text::print_canonical(graph).expect("weights are loaded");
        assert_eq!(canonical(&ours), canonical(&onnx), "{name}");

        let n_elements = ours.iter().next().map_or(0, |(_, node)| node.ty.len());
        let evaluators = [&ours, &onnx].map(|graph| Interpreter::new(graph).expect("weights are loaded"));
        for sample in samples(archive, "x", n_elements).into_iter().take(5) {
            let inputs = BTreeMap::from([("x".to_string(), sample)]);
            let [a, b] = evaluators
                .each_ref()
                .map(|evaluator| evaluator.evaluate(&inputs).expect("the sample has the input's shape"));
            assert_eq!(a, b, "{name}");
        }
    }
}
