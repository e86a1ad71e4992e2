//! Programs whose products the rewrite rules make cheaper: they compute what the model says, and what the rules win on each is
//! in a snapshot.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use aphelion::driver::Silent;
use aphelion::driver::compile::compile;
use aphelion::driver::data::load_samples;
use aphelion::driver::model::Model;
use aphelion_ir::Graph;
use aphelion_ir::nn;
use aphelion_ir::slot::{Interpreter, Slot};
use aphelion_passes::pipeline::AnyGraph;
use aphelion_passes::{CompileOptions, PassCx, rewrite};
use aphelion_runtime::plan::Counts;

/// Samples that ranges are taken from; others are evaluated.
const N_CALIBRATION: usize = 40;
const N_EVALUATED: usize = 3;

/// Compiles with and without rules; the figures of both, and the slot program with them.
fn figures(model: &Model, calibration: &[Vec<f64>]) -> (String, Graph<Slot>) {
    let mut text = String::new();
    let mut rewritten = None;
    for (name, disabled) in [("without rules", rewrite::rule_names()), ("with rules", vec![])] {
        let cx = PassCx {
            options: CompileOptions {
                disabled_rules: disabled.into_iter().map(String::from).collect(),
                ..CompileOptions::default()
            },
            samples: calibration.to_vec(),
            ..PassCx::default()
        };
        let mut keep = |_: &'static str, graph: &AnyGraph| {
            if let AnyGraph::Slot(graph) = graph {
                rewritten = Some(graph.clone());
            }
        };
        let compilation = compile(model, &cx, &Silent, &mut keep).expect("the model is compiled");
        let plan = &compilation.plan;
        let counts = Counts::of_program(plan.program());
        let report = &plan.program().report;
        writeln!(
            text,
            "{name}: {} levels, ring 2^{}, {} products, {} rotations, {:.3} s, {:.1} bits",
            plan.client().max_level(),
            plan.client().parameters.log_n,
            counts.ct_mults,
            counts.rotations,
            report.predicted_evaluate_s.expect("a prediction"),
            report.predicted_bits.expect("a prediction")
        )
        .expect("text grows");
    }
    (text, rewritten.expect("there is a slot program"))
}

fn check(name: &str, data: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let model = Model::load(&root.join(format!("models/{name}.aph-model"))).expect("the model is imported");
    let spec = root.join(format!("data/{data}.npz")).display().to_string();
    let samples = load_samples(&[spec], &model.inputs()).expect("the data are read");
    let samples: Vec<Vec<f64>> = samples.into_iter().map(|sample| sample.concat()).collect();
    let (text, rewritten) = figures(&model, &samples[samples.len() - N_CALIBRATION..]);
    insta::assert_snapshot!(format!("{name}_rules"), text);

    let (clear, slots) = (
        nn::Interpreter::new(&model.graph).expect("loads"),
        Interpreter::new(&rewritten).expect("prepares"),
    );
    for sample in &samples[..N_EVALUATED] {
        let inputs = BTreeMap::from([(model.inputs()[0].0.to_string(), sample.clone())]);
        let expected = clear.evaluate(&inputs).expect("evaluates").concat();
        let found = slots.evaluate(&inputs).expect("evaluates").concat();
        let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-6 * largest,
                "{name}: {found} is not {expected}"
            );
        }
    }
}

#[test]
fn a_gate_shared_by_two_branches() {
    check("gated_unit", "credit_test");
}

#[test]
fn squeeze_and_excitation_with_a_residual() {
    check("squeeze_excite", "mnist_test");
}

#[test]
fn attention_over_steps() {
    check("attention", "gunpoint_test");
}

#[test]
fn a_mixture_of_activations() {
    check("mixed_activations", "credit_test");
}

#[test]
fn powers_of_interactions() {
    check("interactions", "credit_test");
}
