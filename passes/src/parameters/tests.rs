//! Selection on small programs: feasible, cheapest, precise, and errors that say what to do.

use super::*;
use crate::{CompileOptions, Memo};
use aphelion_ir::slot::{Basis, Kernel, Layout, LinearMap, Polynomial, Slot, SlotOp};
use aphelion_ir::{ConstRef, Origin, Tensor};

const EXTENT: usize = 32;

/// `depth` times a dense layer with a square, on 32 elements in 1024 slots; then the polynomials.
fn program(n_layers: usize, polys: &[Polynomial]) -> Graph<Ckks> {
    let mut graph = Graph::<Slot>::new("g", Default::default());
    graph.attrs.slots = 1024;
    graph.attrs.output_scales = vec![1.0];
    graph.attrs.client_ops = vec![vec![]];
    let weights = (0..EXTENT * EXTENT).map(|i| if (i * 31) % 7 < 3 { 0.08 } else { -0.05 });
    let weights = Tensor::from_f64(vec![EXTENT, EXTENT], weights.collect());
    graph.constants.insert("w", weights);
    let layout = Layout::dense(&[1, EXTENT], 1024);
    let input = SlotOp::Input {
        name: "x".into(),
        layout: layout.clone(),
        scale: 1.0,
    };
    let mut push = |op, name: &str| graph.push(op, Origin::new(name, "Test")).expect("a valid op");
    let mut x = push(input, "x");
    for layer in 0..n_layers {
        let map = LinearMap::Dense {
            input: vec![1, EXTENT],
            weight: ConstRef::new("w"),
            transposed: false,
        };
        let kernel = Kernel {
            map,
            output: layout.clone(),
            fold: vec![],
        };
        let y = push(SlotOp::Linear { x, kernel }, &format!("fc{layer}"));
        x = push(SlotOp::Mul { a: y, b: y }, &format!("square{layer}"));
    }
    for poly in polys {
        x = push(SlotOp::Poly { x, poly: poly.clone() }, "act");
    }
    graph.output("y", x);
    let (lowered, _) = crate::lower_to_ckks::run(&PassCx::default(), graph).expect("lowers");
    lowered
}

fn context(options: CompileOptions) -> PassCx {
    PassCx {
        options,
        ..PassCx::default()
    }
}

fn with_target(bits: f64) -> PassCx {
    context(CompileOptions {
        target: Target::Precision(bits),
        ..CompileOptions::default()
    })
}

#[test]
fn the_smallest_sufficient_ring_is_chosen() {
    let affine = Polynomial {
        basis: Basis::Monomial {},
        low: -1.0,
        high: 1.0,
        coeffs: vec![0.25, 0.3],
    };
    let (graph, stats) = run(&with_target(8.0), program(0, std::slice::from_ref(&affine))).expect("feasible");
    let spec = graph.attrs.parameters.clone().expect("selected");
    // 34 + 31 + 38 <= 105, one below the bound of N = 2^12.
    assert_eq!((spec.max_level, spec.log_n, spec.log_scale), (1, 12, 31), "{spec:?}");
    assert!(stats.0["security_bits"] >= 128.0);
    assert!(stats.0["predicted_bits"] >= 9.0);
    graph.verify().expect("valid");

    let (precise, stats) = run(&with_target(22.0), program(0, &[affine])).expect("feasible");
    let precise = precise.attrs.parameters.expect("selected");
    assert!(
        precise.log_n > spec.log_n && precise.log_scale > spec.log_scale,
        "{precise:?}"
    );
    assert!(stats.0["predicted_bits"] >= 23.0);
}

#[test]
fn selection_is_the_same_every_time() {
    let select = || run(&with_target(10.0), program(2, &[])).expect("feasible");
    let ((a, a_stats), (b, b_stats)) = (select(), select());
    assert_eq!(a, b);
    assert_eq!(a_stats, b_stats);
}

#[test]
fn infeasible_programs_are_explained() {
    let degree = |degree: usize| Polynomial {
        basis: Basis::Chebyshev {},
        low: -1.0,
        high: 1.0,
        coeffs: (0..=degree).map(|k| 1.0 / (k + 1) as f64).collect(),
    };
    let deep = program(0, &vec![degree(127); 9]);
    let message = run(&with_target(8.0), deep).unwrap_err().to_string();
    assert!(message.contains("needs 63 levels, 8 more than the 55"), "{message}");
    assert!(
        message.contains("levels go to: `act` (Test) 7, `act` (Test) 7"),
        "{message}"
    );

    let message = run(&with_target(45.0), program(1, &[])).unwrap_err().to_string();
    assert!(message.contains("46.0 are needed"), "{message}");

    let tight = CompileOptions {
        max_key_bytes: Some(1000),
        ..CompileOptions::default()
    };
    let message = run(&context(tight), program(1, &[])).unwrap_err().to_string();
    assert!(message.contains("1000 are allowed"), "{message}");

    let wrong_sample = PassCx {
        samples: vec![vec![0.0; 3]],
        ..PassCx::default()
    };
    let message = run(&wrong_sample, program(1, &[])).unwrap_err().to_string();
    assert!(message.contains("a sample has 3 values"), "{message}");
}

#[test]
fn insecure_parameters_come_only_when_asked_for() {
    let options = CompileOptions {
        allow_insecure: true,
        ..CompileOptions::default()
    };
    let (graph, stats) = run(&context(options), program(3, &[])).expect("feasible");
    let spec = graph.attrs.parameters.expect("selected");
    assert_eq!(spec.log_n, 11);
    assert!(stats.0["security_bits"] < 128.0);
}

#[test]
fn keys_are_the_ones_in_use_at_their_highest_level() {
    let graph = program(2, &[]);
    let workload = Workload::new(&graph, None, &Memo::default()).expect("readable");
    let keys = KeyPlan::new(&graph, &workload, None).expect("plans");
    // Levels: fc0 4, square0 3, fc1 2, square1 1.
    assert_eq!(keys.request.relin, [1, 3].into());
    let steps: Vec<usize> = keys.request.rotations.keys().copied().collect();
    assert!(
        keys.request.rotations.values().all(|levels| *levels == [2, 4].into()),
        "{:?}",
        keys.request
    );
    let counts = workload.counts();
    assert_eq!(counts.rotations, 2 * steps.len());
    assert_eq!(counts.pt_mults, 2 * EXTENT);
    assert_eq!(counts.relinearizations, 2);
}
