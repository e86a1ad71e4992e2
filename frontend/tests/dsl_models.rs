//! The example models of the model language.

use aphelion_frontend::dsl::{self, Import};
use aphelion_ir::text;
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
