//! The inverse transform, in place or out of place with its output interleaved for [`super::start`].

use std::arch::x86_64::{__m512i, _mm512_add_epi64, _mm512_setzero_si512, _mm512_sub_epi64};

use super::{BLOCK, BLOCK_STAGES, BLOCKS_AHEAD, Direction, Twiddles, lane_factors, node_factors};
use crate::ring::modulus::{Modulus, ShoupFactor};
use crate::ring::simd::{Factor, LANES, Prime, factor, load, prefetch, rows, rows_mut, splat, store, transpose};

/// Requires: values in [0, q), in evaluation order.   Ensures: values in [0, q), in coefficient order, divided by n.
/// Why:      with K = floor(2^52 / q) / 2, differences are x - y + K*q with x, y below K*q; from 2q a bound doubles each stage,
///           so PERIOD stages need 2^PERIOD <= K.
pub(in crate::ring::ntt) fn inverse(modulus: &Modulus, twiddles: &Twiddles, values: &mut [u64]) {
    let half_budget = (1u64 << 52) / modulus.value() / 2;
    // SAFETY: the tables were made with an `Ifma` token, which proves that the processor has the features these functions are compiled for.
    unsafe {
        match half_budget {
            64.. => inverse_all::<6>(modulus, twiddles, values),
            8.. => inverse_all::<3>(modulus, twiddles, values),
            4.. => inverse_all::<2>(modulus, twiddles, values),
            _ => inverse_all::<1>(modulus, twiddles, values),
        }
    }
}

/// Requires: x in [0, q), in evaluation order; w a factor of q.
/// Ensures:  out in [0, q), w times the coefficients, interleaved: vector r of each run of vectors is of part r of the
///           coefficients (parts as [`super::forward_top`] leaves them). The content of `scratch` is lost.
/// Why:      as [`inverse`]; w goes into the factors of the division by n.
pub(in crate::ring::ntt) fn inverse_interleaved(
    modulus: &Modulus,
    twiddles: &Twiddles,
    x: &[u64],
    scratch: &mut [u64],
    out: &mut [u64],
    w: ShoupFactor,
) {
    let ends = &twiddles.ends.map(|end| modulus.shoup(modulus.mul(end.value, w.value)));
    let half_budget = (1u64 << 52) / modulus.value() / 2;
    // SAFETY: the tables were made with an `Ifma` token, which proves that the processor has the features these functions are compiled for.
    unsafe {
        match half_budget {
            64.. => inverse_all_interleaved::<6>(modulus, twiddles, x, scratch, out, ends),
            8.. => inverse_all_interleaved::<3>(modulus, twiddles, x, scratch, out, ends),
            4.. => inverse_all_interleaved::<2>(modulus, twiddles, x, scratch, out, ends),
            _ => inverse_all_interleaved::<1>(modulus, twiddles, x, scratch, out, ends),
        }
    }
}

/// What an inverse stage does beyond its butterflies: nothing, so that the bound grows;
const KEEP: u8 = 0;
/// or it brings the sum side to [0, 2q) (the other side is there);
const REDUCE: u8 = 1;
/// or, the very last one, it multiplies by 1/n, which is entry 0 of its factors and included in entry 1, and gives [0, q).
const SCALE: u8 = 2;

/// STAGES inverse stages between registers, in from [0, 2q) (or within what a kernel that ends with [`KEEP`] left). A macro, since a
/// function of this size is not put in line, and the registers would go through memory.
macro_rules! inverse_stages {
    ($stages:expr, $radix:ident, $period:expr, $end:expr, $prime:expr, $lift:expr, $x:expr, $factors:expr) => {{
        let end = |stage: usize| match (stage + 1 == $stages, (stage + 1).is_multiple_of($period)) {
            (true, _) => $end,
            (false, true) => REDUCE,
            (false, false) => KEEP,
        };
        inverse_stage::<0, $radix>($prime, $lift, $x, $factors, end(0));
        if $stages > 1 {
            inverse_stage::<1, $radix>($prime, $lift, $x, $factors, end(1));
        }
        if $stages > 2 {
            inverse_stage::<2, $radix>($prime, $lift, $x, $factors, end(2));
        }
        if $stages > 3 {
            inverse_stage::<3, $radix>($prime, $lift, $x, $factors, end(3));
        }
    }};
}

/// The whole inverse: the subtrees of the root's pass, then that pass with the division by n.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn inverse_all<const PERIOD: usize>(modulus: &Modulus, twiddles: &Twiddles, values: &mut [u64]) {
    let (passes, direction, ends) = (twiddles.passes, twiddles.inverse(), &twiddles.ends);
    let Some((&stages, rest)) = passes.split_first() else {
        return inverse_blocks::<PERIOD, SCALE>(modulus, direction, 1, values, None, ends);
    };
    inverse_children::<PERIOD>(modulus, direction, stages, rest, 1, values, None);
    inverse_any_pass::<PERIOD, SCALE>(modulus, direction, stages, 1, values, ends);
}

/// As [`inverse_all`] from `x`, through `scratch`, to `out`, interleaved.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn inverse_all_interleaved<const PERIOD: usize>(
    modulus: &Modulus,
    twiddles: &Twiddles,
    x: &[u64],
    scratch: &mut [u64],
    out: &mut [u64],
    ends: &[ShoupFactor; 2],
) {
    let (passes, direction) = (twiddles.passes, twiddles.inverse());
    let Some((&stages, rest)) = passes.split_first() else {
        return inverse_blocks::<PERIOD, SCALE>(modulus, direction, 1, out, Some(x), ends);
    };
    inverse_children::<PERIOD>(modulus, direction, stages, rest, 1, scratch, Some(x));
    match stages {
        1 => inverse_last::<1, 2, PERIOD>(modulus, direction, scratch, out, ends),
        2 => inverse_last::<2, 4, PERIOD>(modulus, direction, scratch, out, ends),
        3 => inverse_last::<3, 8, PERIOD>(modulus, direction, scratch, out, ends),
        _ => inverse_last::<4, 16, PERIOD>(modulus, direction, scratch, out, ends),
    }
}

/// The pass of the root, from streams a stride apart to vectors side by side.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn inverse_last<const STAGES: usize, const RADIX: usize, const PERIOD: usize>(
    modulus: &Modulus,
    direction: Direction<'_>,
    values: &[u64],
    out: &mut [u64],
    ends: &[ShoupFactor; 2],
) {
    let (prime, lift) = prime_and_lift(modulus);
    let factors = with_ends::<RADIX, SCALE>(node_factors::<STAGES, RADIX>(direction, 1), ends);
    let values = rows(values);
    let stride = values.len() / RADIX;
    for (column, out) in rows_mut(out).as_chunks_mut::<RADIX>().0.iter_mut().enumerate() {
        let mut x: [__m512i; RADIX] = std::array::from_fn(|r| load(&values[r * stride + column]));
        inverse_stages!(STAGES, RADIX, PERIOD, SCALE, &prime, lift, &mut x, &factors);
        for (row, x) in out.iter_mut().zip(x) {
            store(row, x);
        }
    }
}

/// All passes below the pass of `stages` stages at `node`, of `source` if it is given, else of the values.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn inverse_children<const PERIOD: usize>(
    modulus: &Modulus,
    direction: Direction<'_>,
    stages: u32,
    passes: &[u32],
    node: usize,
    values: &mut [u64],
    source: Option<&[u64]>,
) {
    let no_scale = &[ShoupFactor::default(); 2];
    let Some((&child_stages, rest)) = passes.split_first() else {
        return inverse_blocks::<PERIOD, REDUCE>(modulus, direction, node, values, source, no_scale);
    };
    let child_len = values.len() >> stages;
    for (i, child) in values.chunks_exact_mut(child_len).enumerate() {
        let node = (node << stages) + i;
        let source = source.map(|source| &source[i * child_len..][..child_len]);
        inverse_children::<PERIOD>(modulus, direction, child_stages, rest, node, child, source);
        inverse_any_pass::<PERIOD, REDUCE>(modulus, direction, child_stages, node, child, no_scale);
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn inverse_any_pass<const PERIOD: usize, const END: u8>(
    modulus: &Modulus,
    direction: Direction<'_>,
    stages: u32,
    node: usize,
    values: &mut [u64],
    ends: &[ShoupFactor; 2],
) {
    match stages {
        1 => inverse_pass::<1, 2, PERIOD, END>(modulus, direction, node, values, ends),
        2 => inverse_pass::<2, 4, PERIOD, END>(modulus, direction, node, values, ends),
        3 => inverse_pass::<3, 8, PERIOD, END>(modulus, direction, node, values, ends),
        _ => inverse_pass::<4, 16, PERIOD, END>(modulus, direction, node, values, ends),
    }
}

/// The prime with floor(2^52 / q) / 2 * q, the multiple of q that keeps differences positive.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn prime_and_lift(modulus: &Modulus) -> (Prime, __m512i) {
    let q = modulus.value();
    (Prime::new(modulus), splat((1u64 << 52) / q / 2 * q))
}

/// STAGES stages on RADIX = 2^STAGES streams.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn inverse_pass<const STAGES: usize, const RADIX: usize, const PERIOD: usize, const END: u8>(
    modulus: &Modulus,
    direction: Direction<'_>,
    node: usize,
    values: &mut [u64],
    ends: &[ShoupFactor; 2],
) {
    let (prime, lift) = prime_and_lift(modulus);
    let factors = with_ends::<RADIX, END>(node_factors::<STAGES, RADIX>(direction, node), ends);
    let rows = rows_mut(values);
    let stride = rows.len() / RADIX;
    for column in 0..stride {
        let mut x: [__m512i; RADIX] = std::array::from_fn(|r| load(&rows[r * stride + column]));
        inverse_stages!(STAGES, RADIX, PERIOD, END, &prime, lift, &mut x, &factors);
        for (r, &x) in x.iter().enumerate() {
            store(&mut rows[r * stride + column], x);
        }
    }
}

/// The factors with those of the final scaling in entries 0 and 1, when END asks for it.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn with_ends<const RADIX: usize, const END: u8>(
    mut factors: [Factor; RADIX],
    ends: &[ShoupFactor; 2],
) -> [Factor; RADIX] {
    if END == SCALE {
        (factors[0], factors[1]) = (factor(ends[0]), factor(ends[1]));
    }
    factors
}

/// One inverse stage of RADIX / 2 butterflies.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn inverse_stage<const STAGE: usize, const RADIX: usize>(
    prime: &Prime,
    lift: __m512i,
    x: &mut [__m512i; RADIX],
    factors: &[Factor; RADIX],
    end: u8,
) {
    let zero = _mm512_setzero_si512();
    let half = 1 << STAGE;
    for k in 0..RADIX / 2 {
        let (group, i) = (k / half, k / half * half + k);
        let sum = _mm512_add_epi64(x[i], x[i + half]);
        let difference = _mm512_sub_epi64(_mm512_add_epi64(x[i], lift), x[i + half]);
        let product = prime.mul_add_lazy_2q(zero, difference, factors[(RADIX >> (STAGE + 1)) + group]);
        (x[i], x[i + half]) = match end {
            SCALE => (
                prime.canonical(prime.mul_add_lazy_2q(zero, sum, factors[0])),
                prime.canonical(product),
            ),
            REDUCE => (prime.reduce_lazy_2q(sum), product),
            _ => (sum, product),
        };
    }
}

/// The first six inverse stages of every block of 64 of `source`, if it is given, else of the values.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn inverse_blocks<const PERIOD: usize, const END: u8>(
    modulus: &Modulus,
    direction: Direction<'_>,
    node: usize,
    values: &mut [u64],
    source: Option<&[u64]>,
    ends: &[ShoupFactor; 2],
) {
    let (prime, lift) = prime_and_lift(modulus);
    let sources = source.map(|source| rows(source).as_chunks::<LANES>().0);
    let first_block = node * (values.len() / BLOCK);
    for (i, block) in rows_mut(values).as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let node = first_block + i;
        if let Some(next) = sources.and_then(|sources| sources.get(i + BLOCKS_AHEAD)) {
            next.iter().for_each(prefetch);
        }
        direction.ask_ahead(node);
        let before = sources.map_or(&*block, |sources| &sources[i]);
        let mut x: [__m512i; LANES] = std::array::from_fn(|r| load(&before[r]));
        let factors = lane_factors(&prime, direction, node);
        let end = if PERIOD >= BLOCK_STAGES { KEEP } else { REDUCE };
        inverse_stages!(3, LANES, PERIOD, end, &prime, lift, &mut x, &factors);
        transpose(&mut x);
        let factors = with_ends::<LANES, END>(node_factors::<3, LANES>(direction, node), ends);
        inverse_stages!(3, LANES, PERIOD, END, &prime, lift, &mut x, &factors);
        for (row, x) in block.iter_mut().zip(x) {
            store(row, x);
        }
    }
}
