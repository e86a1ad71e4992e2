//! Ranges from samples and from intervals: sampled values never leave them, and missing information is an error.

use crate::build::{Build, run_on, some_inputs};
use aphelion_ir::nn::{Func, Interpreter, Nn, NnOp, Pool, ValueRange};
use aphelion_ir::slot::{Basis, Polynomial};
use aphelion_ir::{Graph, ValueId};
use aphelion_passes::calibrate::{Interval, propagate, run};
use aphelion_passes::{CompileOptions, PassCx, PassError};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One of every kind of op on a [1, 2, 6] input.
fn zoo() -> Graph<Nn> {
    let mut b = Build::new();
    let x = b.input(&[1, 2, 6]);
    let w = b.weights("w", &[3, 2, 3]);
    let bias = b.weights("bias", &[3]);
    let conv = b.conv(x, w, Some(bias), 1);
    let channels = |b: &mut Build, name: &str| b.weights(name, &[3]);
    let (scale, shift, mean) = (channels(&mut b, "s"), channels(&mut b, "sh"), channels(&mut b, "mea"));
    let var = b.constant("var", &[3], vec![0.5, 1.0, 2.0]);
    let epsilon = 0.01;
    let normal = b.op(NnOp::BatchNorm {
        x: conv,
        scale,
        bias: shift,
        mean,
        var,
        epsilon,
    });
    let window = Pool {
        kernel: vec![2],
        strides: vec![2],
        pads: vec![(1, 1)],
        count_include_pad: true,
    };
    let pooled = b.op(NnOp::AvgPool {
        x: normal,
        window: window.clone(),
    });
    let maximum = b.op(NnOp::MaxPool { x: normal, window });
    let difference = b.sub(pooled, maximum);
    let gelu = b.apply(difference, Func::Gelu {});
    let silu = b.apply(pooled, Func::Silu {});
    let hard = b.apply(maximum, Func::HardSwish {});
    let product = b.mul(gelu, silu);
    let square = b.mul(hard, hard);
    let cube = b.op(NnOp::Pow { x: hard, exponent: 3 });
    let sum = b.add(square, cube);
    let poly = Polynomial {
        basis: Basis::Chebyshev {},
        low: -4.0,
        high: 4.0,
        coeffs: vec![0.3, -0.5, 0.7, 0.2],
    };
    let poly = b.op(NnOp::Poly { x: product, poly });
    let joined = b.op(NnOp::Concat {
        xs: vec![sum, poly],
        axis: 1,
    });
    let n = b.0.ty(joined).len();
    let flat = b.op(NnOp::Reshape {
        x: joined,
        shape: vec![1, n],
    });
    let v = b.weights("v", &[4, n]);
    let a = b.gemm(flat, v, None);
    let transposed = b.op(NnOp::Transpose { x: a, perm: vec![1, 0] });
    let outer = b.op(NnOp::MatMul { a: transposed, b: a });
    let slope = b.constant("slope", &[4], vec![0.1, -0.5, 2.0, 0.0]);
    let leaky = b.op(NnOp::PRelu { x: outer, slope });
    let negated = b.op(NnOp::Neg { x: leaky });
    let sliced = b.op(NnOp::Slice {
        x: negated,
        starts: vec![3, 0],
        steps: vec![-1, 2],
        lens: vec![3, 2],
    });
    let padded = b.op(NnOp::Pad {
        x: sliced,
        pads: vec![(0, 1), (1, 0)],
        value: 0.5,
    });
    let mean = b.op(NnOp::ReduceMean {
        x: padded,
        axes: vec![0],
        keep_dims: true,
    });
    let exp = b.apply(mean, Func::Tanh {});
    let e = b.apply(exp, Func::Exp {});
    let quotient = b.div(mean, e);
    let total = b.op(NnOp::ReduceSum {
        x: quotient,
        axes: vec![1],
        keep_dims: false,
    });
    let y = b.op(NnOp::Softmax { x: total, axis: 0 });
    b.output(y)
}

proptest! {
    #[test]
    fn values_stay_in_their_intervals(
        low in -2.0..1.0f64,
        length in 0.0..2.0f64,
        shares in prop::collection::vec(0.0..=1.0f64, 12),
        snap in prop::collection::vec(any::<bool>(), 12),
    ) {
        let graph = zoo();
        let intervals = propagate(&graph, &BTreeMap::from([("x".to_string(), Interval::new(low, low + length))])).unwrap();
        // Half of the elements at an end, where bounds are attained.
        let element = |(share, snap): (&f64, &bool)| low + length * if *snap { share.round() } else { *share };
        let x: Vec<f64> = shares.iter().zip(&snap).map(element).collect();
        let interpreter = Interpreter::new(&graph).unwrap();
        let values = interpreter.evaluate_all(&BTreeMap::from([("x".to_string(), x)])).unwrap();
        for (id, node) in graph.iter() {
            let interval = intervals[id.index()];
            for value in values[id.index()].iter() {
                prop_assert!(interval.contains(*value), "{id} {:?}: {value} is outside of {interval:?}", node.op);
            }
        }
    }
}

#[test]
fn intervals_of_linear_ops_are_attained() {
    let mut b = Build::new();
    let x = b.input(&[1, 3]);
    let w = b.constant("w", &[2, 3], vec![1.0, -2.0, 3.0, 0.5, 0.5, -0.5]);
    let c = b.constant("c", &[2], vec![1.0, 0.0]);
    let y = b.gemm(x, w, Some(c));
    let graph = b.output(y);
    let intervals = propagate(&graph, &BTreeMap::from([("x".to_string(), Interval::new(-1.0, 2.0))])).unwrap();
    // Row 1: 1 + [-1 - 4 - 3, 2 + 2 + 6]; row 2 lies within.
    let y = intervals[graph.outputs()[0].value.index()];
    assert!((y.low + 7.0).abs() < 1e-6 && (y.high - 11.0).abs() < 1e-6, "{y:?}");
}

fn range(graph: &Graph<Nn>, value: ValueId) -> ValueRange {
    let mut ranges = graph.attrs.ranges.iter();
    ranges.find(|range| range.value == value.0).expect("a range").clone()
}

fn doubled() -> (Graph<Nn>, ValueId, ValueId) {
    let mut b = Build::new();
    let x = b.input(&[1, 2]);
    let two = b.number(2.0);
    let y = b.mul(x, two);
    (b.output(y), x, y)
}

#[test]
fn ranges_of_samples_are_widened() {
    let (graph, x, y) = doubled();
    let cx = PassCx {
        options: CompileOptions {
            range_margin: 1.5,
            ..CompileOptions::default()
        },
        samples: vec![vec![0.0, 1.0], vec![-1.0, 3.0]],
        ..PassCx::default()
    };
    let (after, stats) = run(&cx, graph).expect("calibrates");
    assert_eq!((range(&after, x).low, range(&after, x).high), (-2.0, 4.0));
    assert_eq!((range(&after, y).low, range(&after, y).high), (-4.0, 8.0));
    assert_eq!(stats.0["calibrated_values"], 2.0);
}

#[test]
fn declared_ranges_are_kept() {
    let (mut graph, x, y) = doubled();
    graph.attrs.ranges = vec![ValueRange {
        value: x.0,
        low: 0.0,
        high: 1.0,
    }];
    let options = CompileOptions {
        range_margin: 1.0,
        ..CompileOptions::default()
    };
    let (after, _) = run(
        &PassCx {
            options,
            samples: vec![],
            ..PassCx::default()
        },
        graph,
    )
    .expect("calibrates");
    assert_eq!((range(&after, x).low, range(&after, x).high), (0.0, 1.0));
    assert!((range(&after, y).high - 2.0).abs() < 1e-6);
}

#[test]
fn what_is_missing_is_said() {
    let (graph, ..) = doubled();
    let error = run(&PassCx::default(), graph.clone()).expect_err("nothing known");
    assert!(matches!(error, PassError::BadInput(_)));
    assert!(
        error.to_string().contains("--calibrate") && error.to_string().contains("--input-range"),
        "{error}"
    );

    let cx = PassCx {
        samples: vec![vec![0.0; 3]],
        ..PassCx::default()
    };
    let error = run(&cx, graph).expect_err("3 values for 2 elements");
    assert!(error.to_string().contains("sample 0 has 3 values"), "{error}");

    let mut b = Build::new();
    let x = b.input(&[1, 2]);
    let y = b.apply(x, Func::Sqrt {});
    let options = CompileOptions {
        input_range: Some((-1.0, 1.0)),
        ..CompileOptions::default()
    };
    let error = run(
        &PassCx {
            options,
            samples: vec![],
            ..PassCx::default()
        },
        b.output(y),
    )
    .expect_err("root of -1");
    assert!(error.to_string().contains("`apply`"), "{error}");
}

#[test]
fn the_zoo_evaluates() {
    let graph = zoo();
    assert_eq!(run_on(&graph, &some_inputs(&graph, 0)), [1.0]);
}
