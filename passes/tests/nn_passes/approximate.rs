//! Activations become polynomials: degrees follow the target, and results stay as close as the pass reports.

use crate::build::{Build, ops, run_on};
use aphelion_ir::Graph;
use aphelion_ir::nn::{Func, Nn};
use aphelion_passes::approximate::run_reported;
use aphelion_passes::{CompileOptions, PassCx, PassError, Target, calibrate};

fn network(func: Func) -> Graph<Nn> {
    let mut b = Build::new();
    let x = b.input(&[1, 4]);
    let (w, c) = (b.weights("w", &[8, 4]), b.weights("c", &[8]));
    let hidden = b.gemm(x, w, Some(c));
    let active = b.apply(hidden, func);
    let v = b.weights("v", &[2, 8]);
    let y = b.gemm(active, v, None);
    b.output(y)
}

/// Numbers without a pattern, in [-1, 1].
fn sample(seed: usize) -> Vec<f64> {
    (0..4).map(|i| ((i + 10 * seed) as f64 * 78.233).sin()).collect()
}

fn cx(target: Target, n_samples: usize) -> PassCx {
    PassCx {
        options: CompileOptions {
            target,
            input_range: (n_samples == 0).then_some((-1.0, 1.0)),
            ..CompileOptions::default()
        },
        samples: (0..n_samples).map(sample).collect(),
        ..PassCx::default()
    }
}

#[test]
fn precision_holds_on_other_inputs() {
    for func in [Func::Tanh {}, Func::Gelu {}, Func::Relu {}, Func::Abs {}] {
        for n_samples in [0, 60] {
            let exact = network(func.clone());
            let cx = cx(Target::Precision(7.0), n_samples);
            let (graph, _) = calibrate::run(&cx, exact.clone()).expect("calibrates");
            let (graph, stats, report) = run_reported(&cx, graph).expect("approximates");
            graph.verify().expect("verifies");
            assert!(!ops(&graph).contains(&"apply"));
            assert_eq!(stats.0["activations"], 1.0);
            assert!(report.bits >= 7.0 && report.held_back_bits >= report.bits, "{report:?}");
            assert_eq!(report.is_synthetic, n_samples == 0);
            let is_inside = |range: &aphelion_ir::nn::ValueRange| range.low < range.high;
            assert!(graph.attrs.ranges.iter().all(is_inside));
            for seed in 200..240 {
                let x = sample(seed);
                let (clear, found) = (run_on(&exact, &x), run_on(&graph, &x));
                let error = clear
                    .iter()
                    .zip(&found)
                    .fold(0.0f64, |worst, (a, b)| worst.max((a - b).abs()));
                let bits = -(error / report.reference_max_abs).log2();
                assert!(bits >= 6.5, "{func:?} with {n_samples} samples: {bits} bits");
            }
        }
    }
}

#[test]
fn agreement_is_cheaper_than_precision() {
    let depth = |target| {
        let cx = cx(target, 60);
        let (graph, _) = calibrate::run(&cx, network(Func::Relu {})).expect("calibrates");
        let (_, stats, report) = run_reported(&cx, graph).expect("approximates");
        assert!(report.n_agreeing as f64 >= 0.9 * report.n_samples as f64);
        stats.0["activation_depth"]
    };
    assert!(depth(Target::Agreement(90.0)) < depth(Target::Precision(8.0)));
}

#[test]
fn the_same_input_gives_the_same_graph() {
    let make = || {
        let cx = cx(Target::Precision(6.0), 30);
        let (graph, _) = calibrate::run(&cx, network(Func::Silu {})).expect("calibrates");
        run_reported(&cx, graph).expect("approximates")
    };
    let (first, second) = (make(), make());
    assert!(first.0 == second.0 && first.2 == second.2);
}

#[test]
fn an_unreachable_target_is_an_error() {
    let cx = cx(Target::Precision(40.0), 30);
    let (graph, _) = calibrate::run(&cx, network(Func::Relu {})).expect("calibrates");
    let error = run_reported(&cx, graph).expect_err("40 bits");
    assert!(matches!(error, PassError::Infeasible(_)));
    assert!(error.to_string().contains("bits"), "{error}");
}

#[test]
fn calibration_must_come_first() {
    let cx = cx(Target::Precision(6.0), 30);
    let error = run_reported(&cx, network(Func::Relu {})).expect_err("no ranges");
    assert!(error.to_string().contains("calibrate"), "{error}");
}
