//! The example models against the outputs of an independent ONNX runtime.

use aphelion_frontend::data::{Array, load, read_npz};
use aphelion_frontend::onnx::import;
use aphelion_ir::nn::{Interpreter, Nn, NnOp};
use aphelion_ir::text::{parse_graph, print_graph};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Models with the data that they take.
const MODELS: &[(&str, &str)] = &[
    ("logreg_bc", "bc_test"),
    ("mlp_sq", "mnist_test"),
    ("cryptonets_sq", "mnist_test"),
    ("lenet_sq", "mnist_test"),
    ("lenet_relu", "mnist_test"),
    ("mlp_credit", "credit_test"),
    ("cnn1d_gunpoint", "gunpoint_test"),
    ("resnet20_cifar10_poly4", "cifar10_foolbox20"),
];

/// Models without outputs of another runtime, with the data that they take and how many of its rows they classify right.
const CLASSIFIERS: &[(&str, &str, usize)] = &[("resnet20_cifar10_relu", "cifar10_foolbox20", 19)];

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

#[test]
fn logits_match() {
    let clear = std::fs::read(examples().join("data/clear_logits.npz")).expect("file");
    let clear = read_npz(&clear).expect("archive");
    for (model, data) in MODELS {
        let graph = import(examples().join(format!("models/{model}.onnx"))).expect("imports");
        let spec = examples().join(format!("data/{data}.npz:x")).display().to_string();
        let x = load(&spec, &[]).expect("data");
        let Array { shape, values } = &clear[*model];
        let interpreter = Interpreter::new(&graph).expect("constants");
        let input_name = graph.iter().find_map(|(_, node)| match &node.op {
            NnOp::Input { name, .. } => Some(name.clone()),
            _ => None,
        });
        let input_name = input_name.expect("an input");
        let n_rows = shape[0].min(20);
        let (x_len, y_len) = (x.values.len() / x.shape[0], values.len() / shape[0]);
        // Relative to the largest logit of the model: a single logit may be as small as it likes.
        let scale = values.iter().fold(0.0, |max: f64, y| max.max(y.abs()));
        for row in 0..n_rows {
            let input = x.values[row * x_len..][..x_len].to_vec();
            let found = interpreter.evaluate(&BTreeMap::from([(input_name.clone(), input)]));
            let found = &found.expect("evaluates")[0];
            let expected = &values[row * y_len..][..y_len];
            assert_eq!(found.len(), y_len, "{model}");
            for (a, b) in found.iter().zip(expected) {
                assert!(
                    (a - b).abs() <= 1e-5 * scale,
                    "{model} row {row}: found {a}, expected {b}"
                );
            }
        }
    }
}

#[test]
fn labels_match() {
    for (model, data, right) in CLASSIFIERS {
        let graph = import(examples().join(format!("models/{model}.onnx"))).expect("imports");
        let array = |name: &str| {
            load(
                &examples().join(format!("data/{data}.npz:{name}")).display().to_string(),
                &[],
            )
        };
        let (x, y) = (array("x").expect("data"), array("y").expect("labels"));
        let interpreter = Interpreter::new(&graph).expect("constants");
        let input_name = graph.iter().find_map(|(_, node)| match &node.op {
            NnOp::Input { name, .. } => Some(name.clone()),
            _ => None,
        });
        let input_name = input_name.expect("an input");
        let is_right = |(sample, label): (&[f64], &f64)| {
            let found = interpreter.evaluate(&BTreeMap::from([(input_name.clone(), sample.to_vec())]));
            let logits = found.expect("evaluates").remove(0);
            let class = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
            class == Some(*label as usize)
        };
        let samples = x.values.chunks(x.values.len() / x.shape[0]).zip(&y.values);
        assert_eq!(samples.filter(|sample| is_right(*sample)).count(), *right, "{model}");
    }
}

#[test]
fn every_example_is_imported_above() {
    let files = std::fs::read_dir(examples().join("models")).expect("folder");
    for file in files {
        let path = file.expect("entry").path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let is_tested = MODELS.iter().any(|(model, _)| *model == name)
                || CLASSIFIERS.iter().any(|(model, _, _)| *model == name);
            assert!(is_tested, "{name} is not tested");
        }
    }
}

#[test]
fn imported_graphs_have_a_text_form() {
    let graph = import(examples().join("models/lenet_relu.onnx")).expect("imports");
    let text = print_graph(&graph).expect("prints");
    assert_eq!(parse_graph::<Nn>(&text, &graph.constants).expect("parses"), graph);
    let ops: String = (text
        .lines()
        .filter(|line| line.contains(" = ") && !line.contains("const")))
    .map(|line| format!("{line}\n"))
    .collect();
    insta::assert_snapshot!(ops);
}
