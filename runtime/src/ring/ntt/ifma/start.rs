//! Base conversion straight into the first pass of the forward transform: what it joins is made in registers.
//!
//! In:  interleaved coefficients (see [`super::inverse_interleaved`]): the vectors of a column of the pass lie side by side, so
//!      that sources are read in order, where coefficients in natural order would be read a large power of two apart.
//! Out: as [`super::forward_top`] leaves it.
//! Why: sums come as [0, 4q) and lifted residues as [0, 2q), below 2^52; the first stage reduces its sum side, so that from
//!      there on bounds are those of [`super::forward_top`].
//! Cost: per vector, two multiply-adds a term and 7 instructions for a sum, or 5 for a lifted residue, and the pass.

use std::arch::x86_64::{
    __m512i, _mm512_and_si512, _mm512_cmpgt_epu64_mask, _mm512_mask_add_epi64, _mm512_setzero_si512,
};
use std::ops::Range;

use super::forward::{forward_period, forward_stages};
use super::{Twiddles, node_factors};
use crate::ring::modulus::Modulus;
use crate::ring::ntt::Ahead;
use crate::ring::simd::{
    Factor, Prime, Row, SUMMED_PRODUCTS, factor, load, madd_high, madd_low, prefetch, rows, rows_mut, splat, store,
};

/// A row of interleaved coefficients by columns.
fn interleaved<const RADIX: usize>(row: &[u64]) -> &[[Row; RADIX]] {
    rows(row).as_chunks().0
}

/// Runs a pass for the radix and reduction period of a transform: both sides of a match that only names constants.
macro_rules! by_radix {
    ($pass:ident, $twiddles:expr, $modulus:expr, $n:expr, ($($argument:expr),*)) => {
        match ($twiddles.log_parts(), forward_period($modulus, $n)) {
            (0, _) => $pass::<0, 1, 3>($($argument),*),
            (1, 1) => $pass::<1, 2, 1>($($argument),*),
            (1, _) => $pass::<1, 2, 3>($($argument),*),
            (2, 1) => $pass::<2, 4, 1>($($argument),*),
            (2, _) => $pass::<2, 4, 3>($($argument),*),
            (3, 1) => $pass::<3, 8, 1>($($argument),*),
            (3, _) => $pass::<3, 8, 3>($($argument),*),
            (_, 1) => $pass::<4, 16, 1>($($argument),*),
            _ => $pass::<4, 16, 3>($($argument),*),
        }
    };
}

/// Requires: rows of words below 2^50, interleaved, as many as weights; weights in [0, q); columns of vectors of a part.
/// Ensures:  these columns of each part of `out` are those of the transform of `sum_k rows[k] * weights[k]` after its first pass.
pub(in crate::ring::ntt) fn start_sums(
    modulus: &Modulus,
    twiddles: &Twiddles,
    rows: &[&[u64]],
    weights: &[u64],
    out: &mut [u64],
    columns: Range<usize>,
    ahead: &Ahead,
) {
    // SAFETY: the tables were made with an `Ifma` token, which proves that the processor has the features these functions are compiled for.
    unsafe {
        by_radix!(
            pass_of_sums,
            twiddles,
            modulus,
            out.len(),
            (modulus, twiddles, rows, weights, out, columns, ahead)
        );
    }
}

/// Requires: row in [0, b) for the odd modulus b of `source`, interleaved; columns of vectors of a part.
/// Ensures:  these columns of each part of `out` are those of the transform of the centred residues after its first pass.
pub(in crate::ring::ntt) fn start_lifted(
    modulus: &Modulus,
    twiddles: &Twiddles,
    row: &[u64],
    source: &Modulus,
    out: &mut [u64],
    columns: Range<usize>,
) {
    // SAFETY: the tables were made with an `Ifma` token, which proves that the processor has the features these functions are compiled for.
    unsafe {
        by_radix!(
            pass_of_lifted,
            twiddles,
            modulus,
            out.len(),
            (modulus, twiddles, row, source, out, columns)
        );
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn pass_of_sums<const STAGES: usize, const RADIX: usize, const PERIOD: usize>(
    modulus: &Modulus,
    twiddles: &Twiddles,
    rows: &[&[u64]],
    weights: &[u64],
    out: &mut [u64],
    columns: Range<usize>,
    ahead: &Ahead,
) {
    let (prime, radix, zero) = (Prime::new(modulus), factor(modulus.radix52()), _mm512_setzero_si512());
    let factors = node_factors::<STAGES, RADIX>(twiddles.forward(), 1);
    let terms = rows.len().min(weights.len());
    for column in columns {
        let (mut high, mut low) = ([zero; RADIX], [zero; RADIX]);
        let mut start = 0;
        let x = loop {
            let end = terms.min(start + SUMMED_PRODUCTS);
            for (row, &weight) in rows[start..end].iter().zip(&weights[start..end]) {
                let row = interleaved::<RADIX>(row);
                let (tile, weight) = (&row[column], splat(weight));
                if let Some(next) = row.get(column + ahead.columns) {
                    for vector in &next[ahead.parts.clone()] {
                        prefetch(vector);
                    }
                }
                for r in 0..RADIX {
                    let x = load(&tile[r]);
                    high[r] = madd_high(high[r], x, weight);
                    low[r] = madd_low(low[r], x, weight);
                }
            }
            let x = std::array::from_fn(|r| prime.reduce_wide_lazy_4q(high[r], low[r], radix));
            if end == terms {
                break x;
            }
            low = x.map(|x| _mm512_and_si512(x, prime.mask));
            (high, start) = ([zero; RADIX], end);
        };
        finish_column::<STAGES, RADIX, PERIOD>(&prime, &factors, x, out, column);
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn pass_of_lifted<const STAGES: usize, const RADIX: usize, const PERIOD: usize>(
    modulus: &Modulus,
    twiddles: &Twiddles,
    row: &[u64],
    source: &Modulus,
    out: &mut [u64],
    columns: Range<usize>,
) {
    let (prime, half) = (Prime::new(modulus), splat(source.value() / 2));
    let minus_source = splat(modulus.neg(modulus.reduce(source.value())));
    let factors = node_factors::<STAGES, RADIX>(twiddles.forward(), 1);
    for column in columns {
        let tile = &interleaved::<RADIX>(row)[column];
        let x = std::array::from_fn(|r| {
            let x = load(&tile[r]);
            let negative = _mm512_cmpgt_epu64_mask(x, half);
            prime.reduce_lazy_2q(_mm512_mask_add_epi64(x, negative, x, minus_source))
        });
        finish_column::<STAGES, RADIX, PERIOD>(&prime, &factors, x, out, column);
    }
}

/// The pass on one column in [0, 4q). A transform without passes has its values brought to [0, 2q) instead.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn finish_column<const STAGES: usize, const RADIX: usize, const PERIOD: usize>(
    prime: &Prime,
    factors: &[Factor; RADIX],
    mut x: [__m512i; RADIX],
    out: &mut [u64],
    column: usize,
) {
    if STAGES == 0 {
        x = x.map(|x| prime.reduce_lazy_2q(x));
    } else {
        forward_stages::<STAGES, RADIX, PERIOD>(prime, &mut x, factors, 0);
    }
    let out = rows_mut(out);
    let stride = out.len() / RADIX;
    for (r, x) in x.into_iter().enumerate() {
        store(&mut out[r * stride + column], x);
    }
}
