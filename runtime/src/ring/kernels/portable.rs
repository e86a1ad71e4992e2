//! Scalar forms of the limb loops; contracts in the parent module.

use std::ops::Range;

use super::{Before, ConversionSource, Destination, Difference, Streams};
use crate::ring::CompactLimb;
use crate::ring::automorphism::Moves;
use crate::ring::modulus::{MASK52, Modulus, ShoupFactor};

pub(super) fn add(m: &Modulus, x: &mut [u64], y: &[u64]) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x = m.add(*x, y);
    }
}

pub(super) fn sub(m: &Modulus, x: &mut [u64], y: &[u64]) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x = m.sub(*x, y);
    }
}

pub(super) fn neg(m: &Modulus, x: &mut [u64]) {
    for x in x {
        *x = m.neg(*x);
    }
}

pub(super) fn mul(m: &Modulus, x: &mut [u64], y: &[u64]) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x = m.mul(*x, y);
    }
}

pub(super) fn mul_add(m: &Modulus, acc: &mut [u64], x: &[u64], y: &[u64]) {
    for ((acc, &x), &y) in acc.iter_mut().zip(x).zip(y) {
        *acc = m.mul_add(x, y, *acc);
    }
}

pub(super) fn mul_shoup(m: &Modulus, x: &mut [u64], w: ShoupFactor) {
    for x in x {
        *x = m.mul_shoup(*x, w);
    }
}

pub(super) fn write_mul_shoup(m: &Modulus, out: &mut [u64], x: &[u64], w: ShoupFactor, _destination: Destination) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = m.mul_shoup(x, w);
    }
}

pub(super) fn add_mul_shoup(m: &Modulus, acc: &mut [u64], x: &[u64], w: ShoupFactor) {
    for (acc, &x) in acc.iter_mut().zip(x) {
        *acc = m.add(*acc, m.mul_shoup(x, w));
    }
}

pub(super) fn sub_then_mul_shoup(
    m: &Modulus,
    out: &mut [u64],
    Difference { x, y, bound }: Difference,
    w: ShoupFactor,
    addend: Option<(&[u64], ShoupFactor)>,
    _destination: Destination,
) {
    for (i, (out, &x)) in out.iter_mut().zip(x).enumerate() {
        let y = y.map_or(*out, |y| y[i]);
        *out = m.mul_shoup(x + bound - (y & MASK52), w);
    }
    if let Some((a, v)) = addend {
        add_mul_shoup(m, out, a, v);
    }
}

pub(super) fn permute(out: &mut [u64], x: &[u64], moves: Moves, _destination: Destination) {
    for (out, i) in out.iter_mut().zip(moves.sources()) {
        *out = x[i];
    }
}

pub(super) fn add_permuted(m: &Modulus, acc: &mut [u64], x: &[u64], moves: Moves) {
    for (acc, i) in acc.iter_mut().zip(moves.sources()) {
        *acc = m.add(*acc, x[i]);
    }
}

/// Why: up to 2^20 products below 2^100 stay below 2^120; [`Modulus::reduce_wide`] takes any u128.
pub(super) fn inner_products<const OUTS: usize>(
    m: &Modulus,
    out: [&mut [u64]; OUTS],
    x: &[CompactLimb],
    y: &[[&[u64]; OUTS]],
    columns: Range<usize>,
    (before, _): (Before, Streams),
) {
    for (o, out) in out.into_iter().enumerate() {
        for i in columns.clone() {
            let before = match before {
                Before::Nothing(_) => 0,
                Before::Sums => u128::from(out[i]),
            };
            let products = x
                .iter()
                .zip(y)
                .map(|(x, y)| u128::from(x.word(i) & MASK52) * u128::from(y[o][i]));
            out[i] = m.reduce_wide(before + products.sum::<u128>());
        }
    }
}

pub(super) fn round_quotients(sources: &[ConversionSource], limbs: &[&[u64]], quotients: &mut [u64]) {
    for (j, quotient) in quotients.iter_mut().enumerate() {
        let terms = sources.iter().zip(limbs);
        *quotient = terms.fold(0.5, |v, (source, limb)| v + limb[j] as f64 * source.reciprocal) as u64;
    }
}

/// Why: as for the inner product.
pub(super) fn weighted_sum(m: &Modulus, out: &mut [u64], rows: &[&[u64]], weights: &[u64], columns: Range<usize>) {
    for (out, j) in out.iter_mut().zip(columns) {
        let sum: u128 = rows
            .iter()
            .zip(weights)
            .map(|(row, &w)| u128::from(row[j]) * u128::from(w))
            .sum();
        *out = m.reduce_wide(sum);
    }
}
