//! Scalar transforms: radix-2, lazy, 52-bit quotients.
//!
//! In:     residues in [0, q).   Out: residues in [0, q).
//! Ranges: forward values stay in [0, 4q), inverse values in [0, 2q); 4q < 2^52.

use std::ops::Range;

use super::{BLOCK, SQUARE};
use crate::ring::modulus::{Modulus, ShoupFactor, reduce_once};

/// Twiddle factors of both directions, entry `m + i` for node `i` of the stage with `m` nodes (entry 0 unused).
#[derive(Debug)]
pub(super) struct Twiddles {
    forward: Vec<ShoupFactor>,
    inverse: Vec<ShoupFactor>,
    n_inverse: ShoupFactor,
}

impl Twiddles {
    /// `powers[k]` is `psi^k` for `k` in `0..n`.
    pub(super) fn new(modulus: &Modulus, powers: &[u64]) -> Self {
        let n = powers.len();
        let log_n = n.trailing_zeros();
        let reversed = |k: usize| ((k as u32).reverse_bits() >> (32 - log_n)) as usize;
        let forward = (0..n).map(|k| modulus.shoup(powers[reversed(k)])).collect();
        // psi^-r = -psi^(n-r)
        let inverse_power = |r: usize| if r == 0 { 1 } else { modulus.neg(powers[n - r]) };
        let inverse = (0..n).map(|k| modulus.shoup(inverse_power(reversed(k)))).collect();
        let n_inverse = modulus.shoup(modulus.inv(modulus.reduce(n as u64)));
        Self {
            forward,
            inverse,
            n_inverse,
        }
    }
}

/// Ensures: `out[i] = sum_k rows[k][i] * weights[k] (mod q)`, in [0, q), for i in `words`.
/// Why:     up to 2^20 products below 2^100 stay below 2^120; [`Modulus::reduce_wide`] takes any u128.
pub(super) fn weighted_sum(
    modulus: &Modulus,
    rows: &[&[u64]],
    weights: &[ShoupFactor],
    out: &mut [u64],
    words: Range<usize>,
) {
    for i in words {
        let terms = rows.iter().zip(weights);
        let sum = terms
            .map(|(row, weight)| u128::from(row[i]) * u128::from(weight.value))
            .sum();
        out[i] = modulus.reduce_wide(sum);
    }
}

/// Requires: row in [0, b) for the odd modulus b of `source`.
/// Ensures:  `out[i] = row[i]` or `row[i] - b`, whichever is nearer to 0 `(mod q)`, for i in `words`.
pub(super) fn lift(modulus: &Modulus, row: &[u64], source: &Modulus, out: &mut [u64], words: Range<usize>) {
    let (half, minus_source) = (source.value() / 2, modulus.neg(modulus.reduce(source.value())));
    for (out, &x) in out[words.clone()].iter_mut().zip(&row[words]) {
        *out = modulus.reduce(if x > half { x + minus_source } else { x });
    }
}

/// Requires: values in [0, q).   Ensures: values in [0, q), in evaluation order.
/// Why:      a butterfly maps x, y in [0, 4q) to x - 2q*[x >= 2q] + t and - t + 2q with t in [0, 2q).   Source: Harvey 2014.
pub(super) fn forward(modulus: &Modulus, twiddles: &Twiddles, values: &mut [u64]) {
    let q = modulus.value();
    let mut half = values.len() / 2;
    let mut nodes = 1;
    while half >= 1 {
        for (node, w) in values.chunks_exact_mut(2 * half).zip(&twiddles.forward[nodes..]) {
            let (low, high) = node.split_at_mut(half);
            for (x, y) in low.iter_mut().zip(high) {
                let u = reduce_once(*x, 2 * q);
                let t = modulus.mul_shoup_lazy_2q(*y, *w);
                *x = u + t;
                *y = u + 2 * q - t;
            }
        }
        half /= 2;
        nodes *= 2;
    }
    for x in values.iter_mut() {
        *x = reduce_once(reduce_once(*x, 2 * q), q);
    }
    transpose_blocks(values);
}

/// Requires: values in [0, q), in evaluation order.   Ensures: values in [0, q), in coefficient order, divided by n.
/// Why:      a butterfly maps x, y in [0, 2q) to x + y - 2q*[x + y >= 2q] and w*(x - y + 2q) in [0, 2q).   Source: Harvey 2014.
pub(super) fn inverse(modulus: &Modulus, twiddles: &Twiddles, values: &mut [u64]) {
    let q = modulus.value();
    transpose_blocks(values);
    let mut half = 1;
    let mut nodes = values.len() / 2;
    while nodes >= 1 {
        for (node, w) in values.chunks_exact_mut(2 * half).zip(&twiddles.inverse[nodes..]) {
            let (low, high) = node.split_at_mut(half);
            for (x, y) in low.iter_mut().zip(high) {
                let (u, v) = (*x, *y);
                *x = reduce_once(u + v, 2 * q);
                *y = modulus.mul_shoup_lazy_2q(u + 2 * q - v, *w);
            }
        }
        half *= 2;
        nodes /= 2;
    }
    for x in values.iter_mut() {
        *x = modulus.mul_shoup(*x, twiddles.n_inverse);
    }
}

fn transpose_blocks(values: &mut [u64]) {
    for block in values.chunks_exact_mut(BLOCK) {
        for row in 0..SQUARE {
            for column in row + 1..SQUARE {
                block.swap(row * SQUARE + column, column * SQUARE + row);
            }
        }
    }
}
