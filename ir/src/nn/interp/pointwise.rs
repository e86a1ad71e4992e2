//! Element-wise ops.

use super::layout::broadcast;

pub(super) fn unary(x: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
    x.iter().map(|&x| f(x)).collect()
}

/// `f(a, b)` under numpy broadcasting to shape `out`.
pub(super) fn binary(
    (a, a_shape): (&[f64], &[usize]),
    (b, b_shape): (&[f64], &[usize]),
    out: &[usize],
    f: impl Fn(f64, f64) -> f64,
) -> Vec<f64> {
    let (a, b) = (broadcast(a, a_shape, out), broadcast(b, b_shape, out));
    a.iter().zip(b.iter()).map(|(&a, &b)| f(a, b)).collect()
}

/// `x` to the power of an integer, by squaring.
pub(super) fn power(x: f64, mut exponent: u32) -> f64 {
    let (mut square, mut product) = (x, 1.0);
    loop {
        if exponent & 1 == 1 {
            product *= square;
        }
        exponent >>= 1;
        if exponent == 0 {
            return product;
        }
        square *= square;
    }
}

/// Per channel (dimension 1 of `shape`): `scale (x - mean) / sqrt(var + epsilon) + bias`.
pub(super) fn batch_norm(
    (x, shape): (&[f64], &[usize]),
    scale: &[f64],
    bias: &[f64],
    mean: &[f64],
    var: &[f64],
    epsilon: f64,
) -> Vec<f64> {
    let n_inner: usize = shape[2..].iter().product();
    let channel = |index: usize| index / n_inner % shape[1];
    let factor: Vec<f64> = scale.iter().zip(var).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
    let normalise = |(index, x): (usize, &f64)| {
        let c = channel(index);
        factor[c] * (x - mean[c]) + bias[c]
    };
    x.iter().enumerate().map(normalise).collect()
}
