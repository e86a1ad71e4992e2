//! Scalar forms of the limb loops. Ranges as in the parent module.

use crate::ring::modulus::{MASK52, Modulus, ShoupFactor};

/// Ensures: `x[i] = x[i] + y[i] (mod q)`.
pub(crate) fn add(m: &Modulus, x: &mut [u64], y: &[u64]) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x = m.add(*x, y);
    }
}

/// Ensures: `x[i] = x[i] - y[i] (mod q)`.
pub(crate) fn sub(m: &Modulus, x: &mut [u64], y: &[u64]) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x = m.sub(*x, y);
    }
}

/// Ensures: `x[i] = -x[i] (mod q)`.
pub(crate) fn neg(m: &Modulus, x: &mut [u64]) {
    for x in x {
        *x = m.neg(*x);
    }
}

/// Ensures: `x[i] = x[i] * y[i] (mod q)`.
pub(crate) fn mul(m: &Modulus, x: &mut [u64], y: &[u64]) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x = m.mul(*x, y);
    }
}

/// Ensures: `acc[i] = acc[i] + x[i] * y[i] (mod q)`.
pub(crate) fn mul_add(m: &Modulus, acc: &mut [u64], x: &[u64], y: &[u64]) {
    for ((acc, &x), &y) in acc.iter_mut().zip(x).zip(y) {
        *acc = m.mul_add(x, y, *acc);
    }
}

/// Ensures: `x[i] = x[i] * w (mod q)`.
pub(crate) fn mul_shoup(m: &Modulus, x: &mut [u64], w: ShoupFactor) {
    for x in x {
        *x = m.mul_shoup(*x, w);
    }
}

/// Ensures: `x[i] = (x[i] - y[i]) * w (mod q)`.
pub(crate) fn sub_then_mul_shoup(m: &Modulus, x: &mut [u64], y: &[u64], w: ShoupFactor) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x = m.mul_shoup(*x + m.value() - y, w);
    }
}

/// Requires: `source[i] < x.len()`.   Ensures: `out[i] = x[source[i]]`.
pub(crate) fn permute(out: &mut [u64], x: &[u64], source: &[u32]) {
    for (out, &i) in out.iter_mut().zip(source) {
        *out = x[i as usize];
    }
}

/// Ensures: `out[i] = sum_d x[d][i] * y[d][i] (mod q)`, one reduction per output.
/// Why:      up to 2^12 products below 2^100 stay below 2^112; [`Modulus::reduce_wide`] takes any u128.
pub(crate) fn inner_product(m: &Modulus, out: &mut [u64], x: &[&[u64]], y: &[&[u64]]) {
    debug_assert!(x.len() == y.len() && x.len() <= 1 << 12);
    for (i, out) in out.iter_mut().enumerate() {
        let sum: u128 = x.iter().zip(y).map(|(x, y)| u128::from(x[i]) * u128::from(y[i])).sum();
        debug_assert!(sum >> 112 == 0 && m.value() <= MASK52);
        *out = m.reduce_wide(sum);
    }
}
