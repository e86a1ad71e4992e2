//! Every operator against onnxruntime: models, inputs and outputs of `cases/onnx.json`,
//! which `cases/generate.py` writes.

use aphelion_frontend::onnx::{import_bytes, supported_operators};
use aphelion_ir::nn::evaluate;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
struct Case {
    name: String,
    /// The model's bytes in hexadecimal.
    model: String,
    inputs: BTreeMap<String, Vec<f64>>,
    outputs: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    shape: Vec<usize>,
    values: Vec<f64>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("cases/onnx.json")).expect("the cases are JSON")
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |pair: &[u8]| std::str::from_utf8(pair).expect("ASCII").to_string();
    let byte = |pair: &[u8]| u8::from_str_radix(&digits(pair), 16).expect("hexadecimal");
    hex.as_bytes().chunks_exact(2).map(byte).collect()
}

/// What differs from the expectation, if something does.
fn check(case: &Case) -> Result<(), String> {
    let graph = import_bytes(&bytes(&case.model), None).map_err(|error| error.to_string())?;
    graph.verify().map_err(|error| error.to_string())?;
    let outputs = evaluate(&graph, &case.inputs).map_err(|error| error.to_string())?;
    if outputs.len() != case.outputs.len() {
        return Err(format!("{} outputs", outputs.len()));
    }
    for ((output, found), expected) in graph.outputs().iter().zip(outputs).zip(&case.outputs) {
        let shape = &graph.ty(output.value).shape;
        if *shape != expected.shape {
            return Err(format!("shape {shape:?}, expected {:?}", expected.shape));
        }
        let is_close = |(a, b): (&f64, &f64)| (a - b).abs() <= 2e-6 * (1.0 + b.abs());
        if !found.iter().zip(&expected.values).all(is_close) {
            return Err(format!("found {found:?}, expected {:?}", expected.values));
        }
    }
    Ok(())
}

#[test]
fn operators_match_the_reference() {
    let failures: Vec<String> = (cases().iter())
        .filter_map(|case| check(case).err().map(|message| format!("{}: {message}", case.name)))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_operator_has_a_case() {
    use aphelion_frontend::onnx::proto::ModelProto;
    use prost::Message;
    let mut seen = BTreeSet::new();
    for case in cases() {
        let model = ModelProto::decode(&bytes(&case.model)[..]).expect("a model");
        let graph = model.graph.expect("a graph");
        seen.extend(graph.node.into_iter().filter_map(|node| node.op_type));
    }
    let missing: Vec<_> = (supported_operators().into_iter())
        .filter(|name| !seen.contains(*name))
        .collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}
