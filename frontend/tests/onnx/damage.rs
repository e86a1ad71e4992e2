//! Damaged models are refused or imported, without panic and without memory beyond what the bytes justify.

use crate::build::{floats, info, model, node, tensor, with_int, with_ints};
use crate::mutate::{mutate, mutations};
use aphelion_frontend::onnx::import_bytes;
use aphelion_frontend::onnx::proto::{DataType, ModelProto, TensorProto};
use aphelion_ir::nn::{Interpreter, NnOp};
use proptest::prelude::*;
use prost::Message;
use std::path::PathBuf;

fn example(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/models")
        .join(name);
    std::fs::read(path).expect("file")
}

/// Small, so that damage hits structure more often than weights, and with every kind of shape arithmetic.
fn dense_in_structure() -> ModelProto {
    let ints = |name: &str, values: &[i64]| TensorProto {
        int64_data: values.to_vec(),
        ..tensor(name, &[values.len() as i64], DataType::Int64)
    };
    let nodes = [
        with_ints(
            with_ints(node("Conv", &["x", "w"], &["a"]), "pads", &[1, 1, 1, 1]),
            "strides",
            &[2, 1],
        ),
        with_ints(
            with_int(node("AveragePool", &["a"], &["b"]), "ceil_mode", 1),
            "kernel_shape",
            &[2, 2],
        ),
        node("Shape", &["b"], &["s"]),
        with_int(node("Gather", &["s", "first"], &["n"]), "axis", 0),
        node("Mul", &["n", "first"], &["m"]),
        node("Add", &["m", "one"], &["o"]),
        node("ConstantOfShape", &["o"], &["zeros"]),
        with_int(node("Concat", &["n", "rest"], &["t"]), "axis", 0),
        node("Reshape", &["b", "t"], &["c"]),
        node("Slice", &["c", "zero", "long", "one", "one"], &["d"]),
        node("Range", &["zero", "long", "one"], &["r"]),
        with_int(node("Gather", &["d", "r"], &["e"]), "axis", 1),
        node("Pad", &["e", "pads"], &["f"]),
        with_int(node("Split", &["f"], &["g", "h"]), "axis", 1),
        node("Add", &["g", "zeros"], &["y"]),
    ];
    let weights = [
        floats("w", &[2, 1, 3, 3], &[0.5; 18]),
        ints("first", &[0]),
        ints("zero", &[0]),
        ints("one", &[1]),
        ints("long", &[8]),
        ints("rest", &[-1]),
        ints("pads", &[0, 1, 0, 1]),
    ];
    model(&[info("x", &[1, 1, 6, 6])], &weights, &nodes)
}

#[test]
fn the_structured_model_is_valid() {
    let graph = import_bytes(&dense_in_structure().encode_to_vec(), None).expect("imports");
    assert_eq!(graph.ty(graph.outputs()[0].value).shape, [1, 5]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]
    #[test]
    fn damaged_structure(mutations in mutations()) {
        let bytes = mutate(&dense_in_structure().encode_to_vec(), &mutations);
        if let Ok(graph) = import_bytes(&bytes, None) {
            prop_assert!(graph.verify().is_ok());
            let is_small = graph.iter().map(|(_, node)| node.ty.len()).sum::<usize>() < 100_000;
            if is_small && let Ok(interpreter) = Interpreter::new(&graph) {
                let inputs = graph.iter().filter_map(|(_, node)| match &node.op {
                    NnOp::Input { name, .. } => Some((name.clone(), vec![0.5; node.ty.len()])),
                    _ => None,
                });
                // Finite or refused; a panic would fail the test.
                if let Ok(outputs) = interpreter.evaluate(&inputs.collect()) {
                    prop_assert!(outputs.concat().iter().all(|x| x.is_finite()));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn damaged_examples(mutations in mutations(), which in 0usize..4) {
        let name = ["logreg_bc.onnx", "cnn1d_gunpoint.onnx", "mlp_credit.onnx", "lenet_relu.onnx"][which];
        if let Ok(graph) = import_bytes(&mutate(&example(name), &mutations), None) {
            prop_assert!(graph.verify().is_ok());
        }
    }

    #[test]
    fn truncated_everywhere(cut in 0.0..1.0f64) {
        let bytes = dense_in_structure().encode_to_vec();
        let cut = (cut * bytes.len() as f64) as usize;
        // Only the operator sets stand at the end, and without them there is no model either.
        prop_assert!(import_bytes(&bytes[..cut], None).is_err());
    }
}
