//! The nn passes on the example models and their data: the model with polynomials against the exact one, on rows that no
//! pass has seen.

use aphelion_frontend::{data, dsl, onnx};
use aphelion_ir::Graph;
use aphelion_ir::nn::{Interpreter, Nn, NnOp};
use aphelion_passes::approximate::ApproximationReport;
use aphelion_passes::{
    CompileOptions, PassCx, Target, approximate, calibrate, fold_affine, fold_constants, fold_scales,
    recover_activations,
};
use std::collections::BTreeMap;
use std::path::Path;

/// Rows at the front of the data that calibration does not see.
const N_HELD_OUT: usize = 20;

struct Outcome {
    bits: f64,
    n_agreeing: usize,
    depth: usize,
    report: ApproximationReport,
}

fn rows(file: &str) -> Vec<Vec<f64>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/data")
        .join(file);
    let array = data::load(&format!("{}:x", path.display()), &[]).expect("data");
    let n_values = array.values.len() / array.shape[0];
    array.values.chunks(n_values).map(<[f64]>::to_vec).collect()
}

fn outputs(graph: &Graph<Nn>, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let interpreter = Interpreter::new(graph).expect("constants");
    let name = graph.iter().find_map(|(_, node)| match &node.op {
        NnOp::Input { name, .. } => Some(name.clone()),
        _ => None,
    });
    let name = name.expect("an input");
    let inputs = |row: &Vec<f64>| BTreeMap::from([(name.clone(), row.clone())]);
    let one = |row| interpreter.evaluate(&inputs(row)).expect("evaluates").swap_remove(0);
    rows.iter().map(one).collect()
}

fn class(scores: &[f64]) -> usize {
    match scores {
        [probability] => usize::from(*probability > 0.5),
        _ => (1..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best }),
    }
}

fn approximated(model: &str, data: &str, target: Target) -> Outcome {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/models")
        .join(model);
    let exact = dsl::import(&path).expect("model").graph;
    let rows = rows(data);
    let cx = PassCx {
        options: CompileOptions {
            target,
            ..CompileOptions::default()
        },
        samples: rows[N_HELD_OUT..].to_vec(),
        ..PassCx::default()
    };
    let (graph, _) = fold_constants::run(&cx, exact.clone()).expect("fold_constants");
    let (graph, _) = recover_activations::run(&cx, graph).expect("recover_activations");
    let (graph, _) = fold_affine::run(&cx, graph).expect("fold_affine");
    let (graph, _) = fold_constants::run(&cx, graph).expect("fold_constants");
    let (graph, _) = calibrate::run(&cx, graph).expect("calibrate");
    let (graph, stats, report) = approximate::run_reported(&cx, graph).expect("approximate");
    graph.verify().expect("verifies");
    let held_out = &rows[..N_HELD_OUT];
    let (clear, found) = (outputs(&exact, held_out), outputs(&graph, held_out));
    let largest = clear.iter().flatten().fold(0.0f64, |largest, x| largest.max(x.abs()));
    let errors = clear
        .iter()
        .flatten()
        .zip(found.iter().flatten())
        .map(|(x, y)| (x - y).abs());
    Outcome {
        bits: -(errors.fold(0.0, f64::max) / largest).log2(),
        n_agreeing: clear.iter().zip(&found).filter(|(x, y)| class(x) == class(y)).count(),
        depth: stats.0["activation_depth"] as usize,
        report,
    }
}

fn mlp_credit(target: Target) -> Outcome {
    approximated("mlp_credit.aph-model", "credit_test.npz", target)
}

fn cnn1d_gunpoint(target: Target) -> Outcome {
    approximated("cnn1d_gunpoint.aph-model", "gunpoint_test.npz", target)
}

#[test]
fn mlp_credit_keeps_its_decisions_in_fourteen_levels() {
    let outcome = mlp_credit(Target::Agreement(100.0));
    assert_eq!(outcome.n_agreeing, N_HELD_OUT);
    assert_eq!(outcome.report.n_agreeing, outcome.report.n_samples);
    assert!(outcome.depth <= 14, "{}", outcome.depth);
}

#[test]
fn mlp_credit_holds_eight_bits() {
    let outcome = mlp_credit(Target::Precision(7.0));
    assert_eq!(outcome.n_agreeing, N_HELD_OUT);
    assert!(outcome.report.bits >= 7.0 && outcome.bits >= 8.0, "{}", outcome.bits);
    assert!(outcome.depth <= 17, "{}", outcome.depth);
}

#[test]
fn cnn1d_gunpoint_keeps_its_decisions_in_twelve_levels() {
    let outcome = cnn1d_gunpoint(Target::Agreement(100.0));
    assert_eq!(outcome.n_agreeing, N_HELD_OUT);
    assert_eq!(outcome.report.n_agreeing, outcome.report.n_samples);
    assert!(outcome.depth <= 12, "{}", outcome.depth);
}

#[test]
fn cnn1d_gunpoint_holds_nine_bits_by_composites() {
    let outcome = cnn1d_gunpoint(Target::Precision(8.0));
    assert_eq!(outcome.n_agreeing, N_HELD_OUT);
    assert!(outcome.report.bits >= 8.0 && outcome.bits >= 9.0, "{}", outcome.bits);
    let is_composite = |degrees: &Vec<usize>| degrees.len() > 1;
    assert!(
        outcome
            .report
            .activations
            .iter()
            .any(|activation| is_composite(&activation.degrees))
    );
}

/// ResNet-20 before calibration, and the images; calibration sees the first half.
fn resnet20(model: &str) -> (Graph<Nn>, Graph<Nn>, PassCx, Vec<Vec<f64>>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/models")
        .join(model);
    let exact = onnx::import(&path).expect("model");
    let rows = rows("cifar10_foolbox20.npz");
    let cx = PassCx {
        samples: rows[..rows.len() / 2].to_vec(),
        ..PassCx::default()
    };
    let mut graph = exact.clone();
    for pass in [
        fold_constants::run,
        recover_activations::run,
        fold_scales::run,
        fold_affine::run,
        fold_constants::run,
    ] {
        graph = pass(&cx, graph).expect("pass").0;
    }
    (exact, graph, cx, rows)
}

fn n_ops(graph: &Graph<Nn>, is_counted: impl Fn(&NnOp) -> bool) -> usize {
    graph.iter().filter(|(_, node)| is_counted(&node.op)).count()
}

fn n_agreeing(exact: &Graph<Nn>, graph: &Graph<Nn>, rows: &[Vec<f64>]) -> usize {
    let (clear, found) = (outputs(exact, rows), outputs(graph, rows));
    clear.iter().zip(&found).filter(|(x, y)| class(x) == class(y)).count()
}

#[test]
fn resnet20_keeps_its_decisions_in_four_levels_per_relu() {
    let (exact, graph, cx, rows) = resnet20("resnet20_cifar10_relu.onnx");
    let (graph, _) = calibrate::run(&cx, graph).expect("calibrate");
    let (graph, stats, report) = approximate::run_reported(&cx, graph).expect("approximate");
    assert_eq!(stats.0["asked_agreement_percent"], 100.0);
    assert_eq!(report.activations.len(), 19);
    assert!(stats.0["activation_depth"] <= 76.0, "{}", stats.0["activation_depth"]);
    assert!(stats.0["largest_range_use"] < 1.0);
    assert_eq!(n_agreeing(&exact, &graph, &rows), rows.len());
}

#[test]
fn polynomial_resnet20_has_one_op_per_activation() {
    let (exact, graph, cx, rows) = resnet20("resnet20_cifar10_poly4.onnx");
    let (graph, _) = calibrate::run(&cx, graph).expect("calibrate");
    let is_quartic = |op: &NnOp| matches!(op, NnOp::Poly { poly, .. } if poly.degree() == 4);
    assert_eq!(n_ops(&graph, is_quartic), 19);
    // Scales stay on the seven ways around blocks that keep the shape, and before the mean at the end.
    assert_eq!(n_ops(&graph, |op| matches!(op, NnOp::Mul { .. })), 8);
    assert_eq!(n_agreeing(&exact, &graph, &rows), rows.len());
    let inputs = |row: &Vec<f64>| BTreeMap::from([("x".to_string(), row.clone())]);
    for row in &rows {
        assert_eq!(calibrate::check_ranges(&graph, &inputs(row)).expect("evaluates"), []);
    }
    let far: Vec<f64> = rows[0].iter().map(|x| 5.0 * x).collect();
    let excess = calibrate::check_ranges(&graph, &inputs(&far)).expect("evaluates");
    assert!(!excess.is_empty() && excess[0].relative() > 0.0);
}
