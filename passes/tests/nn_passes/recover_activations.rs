//! Activations that exporters spell out in small ops are found again, and lookalikes are left alone.

use crate::build::{Build, ops, same_after};
use aphelion_ir::nn::{Func, Nn, NnOp};
use aphelion_ir::{Graph, ValueId};
use aphelion_passes::recover_activations::run;
use std::f64::consts::{FRAC_1_SQRT_2, PI, SQRT_2};

/// The only activation left after the pass, which leaves nothing else but products and quotients with numbers.
#[track_caller]
fn recovered(build: impl Fn(&mut Build, ValueId) -> ValueId) -> Func {
    let mut b = Build::new();
    let x = b.input(&[1, 4]);
    let y = build(&mut b, x);
    let (after, stats) = same_after(run, b.output(y), 2e-4);
    assert_eq!(stats.0["recovered_activations"], 1.0);
    assert!(
        ops(&after)[1..].iter().all(|op| ["apply", "mul", "div"].contains(op)),
        "{:?}",
        ops(&after)
    );
    activation(&after)
}

fn activation(graph: &Graph<Nn>) -> Func {
    let mut found = graph.iter().filter_map(|(_, node)| match &node.op {
        NnOp::Apply { func, .. } => Some(func.clone()),
        _ => None,
    });
    let func = found.next().expect("an activation");
    assert!(found.next().is_none(), "one activation");
    func
}

#[test]
fn gelu_by_erf_in_all_orders() {
    let gate = |b: &mut Build, x: ValueId, by_division: bool| {
        let u = if by_division {
            let divisor = b.number(f64::from(SQRT_2 as f32));
            b.div(x, divisor)
        } else {
            let factor = b.number(FRAC_1_SQRT_2);
            b.mul(factor, x)
        };
        let e = b.apply(u, Func::Erf {});
        let one = b.number(1.0);
        b.add(e, one)
    };
    for by_division in [false, true] {
        // (x gate) 0.5
        let first = recovered(|b, x| {
            let gate = gate(b, x, by_division);
            let product = b.mul(x, gate);
            let half = b.number(0.5);
            b.mul(product, half)
        });
        // (0.5 x) gate
        let second = recovered(|b, x| {
            let half = b.number(0.5);
            let halved = b.mul(half, x);
            let gate = gate(b, x, by_division);
            b.mul(halved, gate)
        });
        // x (0.5 gate)
        let third = recovered(|b, x| {
            let gate = gate(b, x, by_division);
            let half = b.number(0.5);
            let halved = b.mul(gate, half);
            b.mul(halved, x)
        });
        assert_eq!([first, second, third], [const { Func::Gelu {} }; 3]);
    }
}

#[test]
fn gelu_by_tanh() {
    // 0.5 x (1 + tanh(c (x + 0.044715 x^3)))
    let by_power = recovered(|b, x| {
        let cube = b.op(NnOp::Pow { x, exponent: 3 });
        let (d, c, one, half) = (
            b.number(0.044715),
            b.number((2.0 / PI).sqrt()),
            b.number(1.0),
            b.number(0.5),
        );
        let scaled = b.mul(d, cube);
        let sum = b.add(x, scaled);
        let argument = b.mul(sum, c);
        let t = b.apply(argument, Func::Tanh {});
        let gate = b.add(one, t);
        let halved = b.mul(half, x);
        b.mul(halved, gate)
    });
    // x 0.5 (1 + tanh(x c (1 + 0.044715 x x)))
    let by_products = recovered(|b, x| {
        let square = b.mul(x, x);
        let (d, c, one, half) = (b.number(0.044715), b.number(0.79788456), b.number(1.0), b.number(0.5));
        let scaled = b.mul(square, d);
        let sum = b.add(scaled, one);
        let times_c = b.mul(x, c);
        let argument = b.mul(times_c, sum);
        let t = b.apply(argument, Func::Tanh {});
        let gate = b.add(t, one);
        let halved = b.mul(gate, half);
        b.mul(x, halved)
    });
    assert_eq!([by_power, by_products], [const { Func::GeluTanh {} }; 2]);
}

#[test]
fn silu_in_its_forms() {
    let plain = recovered(|b, x| {
        let s = b.apply(x, Func::Sigmoid {});
        b.mul(x, s)
    });
    // x sigmoid(1.702 x), the quick form of GELU
    let scaled = recovered(|b, x| {
        let factor = b.number(1.702);
        let inner = b.mul(x, factor);
        let s = b.apply(inner, Func::Sigmoid {});
        b.mul(s, x)
    });
    let by_tanh = recovered(|b, x| {
        let half = b.number(0.5);
        let inner = b.mul(x, half);
        let t = b.apply(inner, Func::Tanh {});
        let one = b.number(1.0);
        let gate = b.add(t, one);
        b.mul(inner, gate)
    });
    assert_eq!([plain, scaled, by_tanh], [const { Func::Silu {} }; 3]);
}

#[test]
fn hard_swish_in_its_forms() {
    let by_clip = recovered(|b, x| {
        let (three, six) = (b.number(3.0), b.number(6.0));
        let shifted = b.add(x, three);
        let clipped = b.apply(shifted, Func::Clip { low: 0.0, high: 6.0 });
        let product = b.mul(x, clipped);
        b.div(product, six)
    });
    let by_hard_sigmoid = recovered(|b, x| {
        let s = b.apply(
            x,
            Func::HardSigmoid {
                alpha: 1.0 / 6.0,
                beta: 0.5,
            },
        );
        b.mul(s, x)
    });
    assert_eq!([by_clip, by_hard_sigmoid], [const { Func::HardSwish {} }; 2]);
}

#[test]
fn sigmoid_by_exp() {
    let func = recovered(|b, x| {
        let negated = b.op(NnOp::Neg { x });
        let e = b.apply(negated, Func::Exp {});
        let one = b.number(1.0);
        let denominator = b.add(e, one);
        b.div(one, denominator)
    });
    assert_eq!(func, Func::Sigmoid {});
}

#[test]
fn relu_by_clip() {
    let func = recovered(|b, x| {
        b.apply(
            x,
            Func::Clip {
                low: 0.0,
                high: f64::INFINITY,
            },
        )
    });
    assert_eq!(func, Func::Relu {});
}

#[test]
fn near_misses_stay() {
    let mut b = Build::new();
    let x = b.input(&[1, 4]);
    let e = b.apply(x, Func::Erf {});
    let two = b.number(2.0);
    let gate = b.add(e, two);
    let y = b.mul(x, gate);
    let (after, stats) = same_after(run, b.output(y), 0.0);
    assert_eq!(ops(&after), ["input", "apply", "add", "mul"]);
    assert!(!stats.0.contains_key("recovered_activations"));
}

#[test]
fn prelu_by_relu() {
    let mut b = Build::new();
    let x = b.input(&[1, 2, 3]);
    let slope = b.constant("slope", &[2, 1], vec![0.1, -0.5]);
    let y = b.op(NnOp::PRelu { x, slope });
    let (after, _) = same_after(run, b.output(y), 1e-14);
    assert_eq!(ops(&after), ["input", "apply", "mul", "mul", "add"]);

    let mut b = Build::new();
    let x = b.input(&[1, 2, 3]);
    let slope = b.constant("slope", &[2, 1], vec![0.1, 0.1]);
    let y = b.op(NnOp::PRelu { x, slope });
    let (after, _) = same_after(run, b.output(y), 0.0);
    assert_eq!(activation(&after), Func::LeakyRelu { alpha: 0.1 });
}

/// c0 + x/2 + c2 x^2 + c4 x^4 with scales per channel, as exporters of trained polynomials write it.
fn quartic(b: &mut Build, x: aphelion_ir::ValueId, scales: [f64; 2]) -> aphelion_ir::ValueId {
    let mut coeffs = |of: fn(f64) -> f64| b.constant("c", &[2, 1, 1], scales.map(of).to_vec());
    let [c0, c1] = [coeffs(|s| 0.15 * s), coeffs(|_| 0.5)];
    let [c2, c4] = [coeffs(|s| 0.3 / s), coeffs(|s| -0.017 / (s * s * s))];
    let square = b.mul(x, x);
    let high = b.mul(square, c4);
    let high = b.add(high, c2);
    let high = b.mul(high, square);
    let low = b.mul(x, c1);
    let low = b.add(low, c0);
    b.add(high, low)
}

#[test]
fn polynomials_with_scales_become_one_op_each() {
    let mut b = Build::new();
    let x = b.input(&[1, 2, 3, 3]);
    let (w, v, u) = (
        b.weights("w", &[2, 2, 3, 3]),
        b.weights("v", &[2, 2, 3, 3]),
        b.weights("u", &[1, 2, 3, 3]),
    );
    let first = b.conv(x, w, None, 1);
    let active = quartic(&mut b, first, [1.5, 2.5]);
    let second = b.conv(active, v, None, 1);
    let joined = b.add(second, active);
    let active = quartic(&mut b, joined, [4.0, 3.0]);
    let y = b.conv(active, u, None, 1);
    let (after, stats) = same_after(run, b.output(y), 1e-9);
    assert_eq!(stats.0["recovered_polynomials"], 2.0);
    let (after, stats) = same_after(aphelion_passes::fold_scales::run, after, 1e-9);
    assert_eq!(stats.0["folded_scales"], 2.0);
    assert_eq!(stats.0["moved_scales"], 1.0);
    let (after, _) = same_after(aphelion_passes::fold_affine::run, after, 1e-9);
    // All scales are in weights, but for one on the way around the second convolution.
    let expected = ["input", "conv", "poly", "conv", "mul", "add", "poly", "conv"];
    assert_eq!(ops(&after), expected);
}

#[test]
fn polynomials_whose_channels_differ_stay() {
    let mut b = Build::new();
    let x = b.input(&[1, 2, 3]);
    let square = b.mul(x, x);
    let fourth = b.mul(square, square);
    let c = b.constant("c", &[2, 1], vec![0.5, -0.5]);
    let low = b.mul(x, c);
    let y = b.add(fourth, low);
    let (after, stats) = same_after(run, b.output(y), 0.0);
    assert_eq!(ops(&after), ["input", "mul", "mul", "mul", "add"]);
    assert!(!stats.0.contains_key("recovered_polynomials"));
}
