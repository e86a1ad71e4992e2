//! Base conversion straight into the first pass of the forward transform: what it joins is made in registers.
//!
//! In:  interleaved coefficients (see [`super::inverse_interleaved`]): the vectors of a column of the pass lie side by side, so
//!      that sources are read in order, where coefficients in natural order would be read a large power of two apart.
//! Out: as [`super::forward_top`] leaves it.
//! Sums: with quotients w' = floor(w * 2^52 / q), `sum y*w - sum floor(y * w' / 2^52) * q` grows by at most 5q/4 a term for y below
//!      2^50, and is known from its low 52 bits as long as it stays below: one multiply-add for the whole sum. Where q is too large
//!      for all terms at once, what there is of the sum is reduced on the way, or products are summed with their high halves.
//! Why: sums and lifted residues come as values below 2^52. Either the first stage reduces its sum side, or the transform has room
//!      for them; from there on bounds are those of [`super::forward_top`].
//! Cost: per vector, two multiply-adds a term and 1 to 7 instructions for a sum, or 2 for a lifted residue, and the pass.

use std::arch::x86_64::{
    __m512i, _mm512_and_si512, _mm512_cmpgt_epu64_mask, _mm512_mask_add_epi64, _mm512_setzero_si512,
};
use std::ops::Range;

use super::forward::{budget, forward_period, forward_stages};
use super::{Twiddles, node_factors};
use crate::ring::modulus::{Modulus, ShoupFactor};
use crate::ring::ntt::Ahead;
use crate::ring::simd::{
    Prime, Row, SUMMED_PRODUCTS, factor, load, madd_high, madd_low, prefetch, prefetch_to_write, rows, rows_mut, splat,
    store,
};

/// A row of interleaved coefficients by columns.
fn interleaved<const RADIX: usize>(row: &[u64]) -> &[[Row; RADIX]] {
    rows(row).as_chunks().0
}

/// Runs a pass for the radix and reduction period: both sides of a match that only names constants. Passes of three stages or
/// fewer reduce in their first alone from period 3 on; small transforms take the period that is always right.
macro_rules! by_radix {
    ($pass:ident, $twiddles:expr, $period:expr, ($($argument:expr),*)) => {
        match ($twiddles.log_parts(), $period) {
            (0, _) => $pass::<0, 1, 1>($($argument),*),
            (1, _) => $pass::<1, 2, 1>($($argument),*),
            (2, 0) => $pass::<2, 4, 0>($($argument),*),
            (2, 1) => $pass::<2, 4, 1>($($argument),*),
            (2, _) => $pass::<2, 4, 2>($($argument),*),
            (3, 0) => $pass::<3, 8, 0>($($argument),*),
            (3, 1) => $pass::<3, 8, 1>($($argument),*),
            (3, 2) => $pass::<3, 8, 2>($($argument),*),
            (3, _) => $pass::<3, 8, 3>($($argument),*),
            _ => $pass::<4, 16, 1>($($argument),*),
        }
    };
}

/// The period of the first pass on values below `multiple` times q: that of the transform, unless one without reductions has
/// no room for them, so that the first stage reduces.
fn start_period(modulus: &Modulus, n: usize, multiple: u64) -> u32 {
    match forward_period(modulus, n) {
        0 if multiple + 2 * u64::from(n.trailing_zeros()) < budget(modulus) => 0,
        0 => u32::MAX,
        period => period,
    }
}

/// How many terms of a sum fit 2^52, from nothing and from 2q on: each adds at most 5q/4.
fn terms_at_once(modulus: &Modulus) -> [usize; 2] {
    let budget = budget(modulus) as usize;
    [budget, budget - 2].map(|multiples| multiples * 4 / 5)
}

/// Requires: rows of words below 2^50, interleaved, as many as weights, which are factors of q; columns of vectors of a part.
/// Ensures:  these columns of each part of `out` are those of the transform of `sum_k rows[k] * weights[k]` after its first pass.
pub(in crate::ring::ntt) fn start_sums(
    modulus: &Modulus,
    twiddles: &Twiddles,
    rows: &[&[u64]],
    weights: &[ShoupFactor],
    out: &mut [u64],
    columns: Range<usize>,
    ahead: &Ahead,
) {
    let (terms, [first, more]) = (rows.len(), terms_at_once(modulus));
    let multiple = match terms <= first {
        true => terms as u64 * 5 / 4 + 1,
        false => budget(modulus),
    };
    let period = start_period(modulus, out.len(), multiple);
    // SAFETY: the tables were made with an `Ifma` token, which proves that the processor has the features these functions are compiled for.
    unsafe {
        if terms <= first + more {
            by_radix!(
                pass_of_sums,
                twiddles,
                period,
                (modulus, twiddles, rows, weights, out, columns, ahead)
            );
        } else {
            by_radix!(
                pass_of_wide_sums,
                twiddles,
                period,
                (modulus, twiddles, rows, weights, out, columns, ahead)
            );
        }
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
    let multiple = lifting_multiple(modulus, source);
    let period = start_period(modulus, out.len(), multiple);
    // SAFETY: the tables were made with an `Ifma` token, which proves that the processor has the features these functions are compiled for.
    unsafe {
        by_radix!(
            pass_of_lifted,
            twiddles,
            period,
            (modulus, twiddles, row, source, out, columns)
        );
    }
}

/// The least m with m * q >= b/2, for the modulus b of the source: below 2^52 / q.
fn lifting_multiple(modulus: &Modulus, source: &Modulus) -> u64 {
    (source.value() / 2).div_ceil(modulus.value())
}

/// Asks for what is needed of a row `ahead` of a column.
#[inline]
fn ask_ahead<const RADIX: usize>(row: &[[Row; RADIX]], column: usize, ahead: &Ahead) {
    if let Some(next) = row.get(column + ahead.columns) {
        for vector in &next[ahead.parts.clone()] {
            prefetch(vector);
        }
    }
}

/// Columns ahead for which the target is asked for: it comes from memory, and stores that wait for it fill their queue.
const COLUMNS_AHEAD: usize = 4;

/// The pass on one column of values below 2^52, and its way to memory. A transform without passes has its values brought to [0, 2q)
/// instead.
macro_rules! finish_column {
    ($prime:expr, $factors:expr, $x:expr, $out:expr, $column:expr) => {{
        let (prime, out, mut x): (&Prime, &mut [Row], [__m512i; RADIX]) = ($prime, $out, $x);
        if STAGES == 0 {
            x = x.map(|x| prime.reduce_lazy_2q(x));
        } else {
            forward_stages!(STAGES, RADIX, PERIOD, prime, &mut x, $factors, 0);
        }
        let stride = out.len() / RADIX;
        for (r, x) in x.into_iter().enumerate() {
            let place = r * stride + $column;
            if let Some(later) = out.get(place + COLUMNS_AHEAD) {
                prefetch_to_write(later);
            }
            store(&mut out[place], x);
        }
    }};
}

/// Requires: no more terms than [`terms_at_once`] says for two goes.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn pass_of_sums<const STAGES: usize, const RADIX: usize, const PERIOD: usize>(
    modulus: &Modulus,
    twiddles: &Twiddles,
    rows: &[&[u64]],
    weights: &[ShoupFactor],
    out: &mut [u64],
    columns: Range<usize>,
    ahead: &Ahead,
) {
    let (prime, zero) = (Prime::new(modulus), _mm512_setzero_si512());
    let factors = node_factors::<STAGES, RADIX>(twiddles.forward(), 1);
    let terms = rows.len().min(weights.len());
    let first = terms.min(terms_at_once(modulus)[0]);
    let out = rows_mut(out);
    for column in columns {
        let (mut low, mut range) = ([zero; RADIX], 0..first);
        let x = loop {
            let mut quotient = [zero; RADIX];
            for (row, &weight) in rows[range.clone()].iter().zip(&weights[range.clone()]) {
                let (row, weight) = (interleaved::<RADIX>(row), factor(weight));
                let tile = &row[column];
                ask_ahead(row, column, ahead);
                for r in 0..RADIX {
                    let x = load(&tile[r]);
                    quotient[r] = madd_high(quotient[r], x, weight.quotient);
                    low[r] = madd_low(low[r], x, weight.value);
                }
            }
            for r in 0..RADIX {
                low[r] = madd_low(low[r], quotient[r], prime.neg_q);
            }
            if range.end == terms {
                break low;
            }
            low = low.map(|x| prime.reduce_lazy_2q(x));
            range = first..terms;
        };
        finish_column!(&prime, &factors, x, out, column);
    }
}

/// As [`pass_of_sums`] for any number of terms: their products are summed in two halves and reduced now and then.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn pass_of_wide_sums<const STAGES: usize, const RADIX: usize, const PERIOD: usize>(
    modulus: &Modulus,
    twiddles: &Twiddles,
    rows: &[&[u64]],
    weights: &[ShoupFactor],
    out: &mut [u64],
    columns: Range<usize>,
    ahead: &Ahead,
) {
    let (prime, radix, zero) = (Prime::new(modulus), factor(modulus.radix52()), _mm512_setzero_si512());
    let factors = node_factors::<STAGES, RADIX>(twiddles.forward(), 1);
    let terms = rows.len().min(weights.len());
    let out = rows_mut(out);
    for column in columns {
        let (mut high, mut low) = ([zero; RADIX], [zero; RADIX]);
        let mut start = 0;
        let x = loop {
            let end = terms.min(start + SUMMED_PRODUCTS);
            for (row, &weight) in rows[start..end].iter().zip(&weights[start..end]) {
                let (row, weight) = (interleaved::<RADIX>(row), splat(weight.value));
                let tile = &row[column];
                ask_ahead(row, column, ahead);
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
        finish_column!(&prime, &factors, x, out, column);
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
    let multiple = lifting_multiple(modulus, source) * modulus.value();
    // a wrapped sum: residues above b/2 lose b and gain the multiple of q
    let to_centre = splat(multiple.wrapping_sub(source.value()));
    let factors = node_factors::<STAGES, RADIX>(twiddles.forward(), 1);
    let (row, out) = (interleaved::<RADIX>(row), rows_mut(out));
    for column in columns {
        let tile = &row[column];
        let x = std::array::from_fn(|r| {
            let x = load(&tile[r]);
            let negative = _mm512_cmpgt_epu64_mask(x, half);
            _mm512_mask_add_epi64(x, negative, x, to_centre)
        });
        finish_column!(&prime, &factors, x, out, column);
    }
}
