//! Vector forms of the limb loops; contracts in the parent module, building blocks and their ranges in `simd`.
//!
//! Cost per eight outputs in instructions: add, sub 3; mul 10; mul_add 13; multiplication by a constant 6; permute 7 shuffles;
//! inner product and conversion 2 multiply-adds per term and 12.

use std::arch::x86_64::{
    __m512i, _mm_cvtsi64_si128, _mm512_add_epi64, _mm512_add_pd, _mm512_and_si512, _mm512_cvtepu64_pd,
    _mm512_cvttpd_epu64, _mm512_min_epu64, _mm512_mul_pd, _mm512_permutexvar_epi64, _mm512_set1_pd, _mm512_setr_epi64,
    _mm512_setzero_si512, _mm512_sll_epi64, _mm512_srl_epi64, _mm512_srlv_epi64, _mm512_sub_epi64,
};
use std::ops::Range;

use super::{Before, ConversionSource, Destination, Difference, Streams};
use crate::ring::CompactLimb;
use crate::ring::automorphism::{BlockMove, Moves};
use crate::ring::modulus::{Modulus, ShoupFactor};
use crate::ring::simd::{
    LANES, Prime, Row, SUMMED_PRODUCTS, end_of_stores_past_caches, factor, is_aligned, load, load_few, madd_high,
    madd_low, mul_high, prefetch, rows, rows_mut, splat, store, store_past_caches, subtract_if_above, transpose,
};

/// Columns between two visits to the partial sums: they stay in the first-level cache.
const COLUMNS: usize = 1024;
/// Rows handled together in sums of products, so that eight or more accumulators hide the latency of the multiplier.
const TILE: usize = 4;

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn add(m: &Modulus, x: &mut [u64], y: &[u64]) {
    let prime = Prime::new(m);
    for (x, y) in rows_mut(x).iter_mut().zip(rows(y)) {
        store(x, subtract_if_above(_mm512_add_epi64(load(x), load(y)), prime.q));
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn sub(m: &Modulus, x: &mut [u64], y: &[u64]) {
    let prime = Prime::new(m);
    for (x, y) in rows_mut(x).iter_mut().zip(rows(y)) {
        // a negative difference is a huge unsigned one
        let difference = _mm512_sub_epi64(load(x), load(y));
        store(x, _mm512_min_epu64(difference, _mm512_add_epi64(difference, prime.q)));
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn neg(m: &Modulus, x: &mut [u64]) {
    let prime = Prime::new(m);
    for x in rows_mut(x) {
        store(x, subtract_if_above(_mm512_sub_epi64(prime.q, load(x)), prime.q));
    }
}

/// Constants of a product of two variables.
struct Product {
    prime: Prime,
    /// 52 - bits, in the low word.
    shift: std::arch::x86_64::__m128i,
    /// floor(2^(52 + bits) / q) - 2^52.
    barrett: __m512i,
}

impl Product {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn new(m: &Modulus) -> Self {
        let barrett = (1u128 << (52 + m.bits())) / u128::from(m.value()) - (1 << 52);
        Self {
            prime: Prime::new(m),
            shift: _mm_cvtsi64_si128(52 - i64::from(m.bits())),
            barrett: splat(barrett as u64),
        }
    }

    /// Requires: a, b in [0, q).   Ensures: true r in [0, 4q), r = a * b (mod q).
    /// Why:      with k = bits, c = floor(a*b / 2^k) and e = floor(c * floor(2^(52+k)/q) / 2^52) <= a*b/q. Cutting a*b loses
    ///           < 2^k/q < 2, cutting the constant < c/2^52 <= 1/4, the last floor < 1: a*b - e*q < 3.25q <= 2^52.
    ///           Source: Barrett 1986.   Cost: 4 multiply-adds and a shift.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
    fn mul_lazy_4q(&self, a: __m512i, b: __m512i) -> __m512i {
        let c = mul_high(a, _mm512_sll_epi64(b, self.shift));
        let e = madd_high(c, c, self.barrett);
        madd_low(madd_low(_mm512_setzero_si512(), a, b), e, self.prime.neg_q)
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn mul(m: &Modulus, x: &mut [u64], y: &[u64]) {
    let product = Product::new(m);
    for (x, y) in rows_mut(x).iter_mut().zip(rows(y)) {
        store(
            x,
            product.prime.canonical_from_4q(product.mul_lazy_4q(load(x), load(y))),
        );
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn mul_add(m: &Modulus, acc: &mut [u64], x: &[u64], y: &[u64]) {
    let product = Product::new(m);
    let Prime { q, two_q, mask, .. } = product.prime;
    for ((acc, x), y) in rows_mut(acc).iter_mut().zip(rows(x)).zip(rows(y)) {
        let lazy = _mm512_and_si512(product.mul_lazy_4q(load(x), load(y)), mask);
        // below 2q, then with acc below 3q
        let sum = _mm512_add_epi64(subtract_if_above(lazy, two_q), load(acc));
        store(acc, subtract_if_above(subtract_if_above(sum, two_q), q));
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn mul_shoup(m: &Modulus, x: &mut [u64], w: ShoupFactor) {
    let (prime, w, zero) = (Prime::new(m), factor(w), _mm512_setzero_si512());
    for x in rows_mut(x) {
        store(x, prime.canonical(prime.mul_add_lazy_2q(zero, load(x), w)));
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn write_mul_shoup(m: &Modulus, out: &mut [u64], x: &[u64], w: ShoupFactor, destination: Destination) {
    let (prime, w, zero) = (Prime::new(m), factor(w), _mm512_setzero_si512());
    let past_caches = destination == Destination::Memory && is_aligned(out);
    for (out, x) in rows_mut(out).iter_mut().zip(rows(x)) {
        let product = prime.canonical(prime.mul_add_lazy_2q(zero, load(x), w));
        if past_caches {
            store_past_caches(out, product);
        } else {
            store(out, product);
        }
    }
    if past_caches {
        end_of_stores_past_caches();
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn add_mul_shoup(m: &Modulus, acc: &mut [u64], x: &[u64], w: ShoupFactor) {
    let (prime, w, zero) = (Prime::new(m), factor(w), _mm512_setzero_si512());
    for (acc, x) in rows_mut(acc).iter_mut().zip(rows(x)) {
        let product = prime.canonical(prime.mul_add_lazy_2q(zero, load(x), w));
        store(acc, subtract_if_above(_mm512_add_epi64(load(acc), product), prime.q));
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn sub_then_mul_shoup(
    m: &Modulus,
    out: &mut [u64],
    Difference { x, y, bound }: Difference,
    w: ShoupFactor,
    addend: Option<(&[u64], ShoupFactor)>,
    destination: Destination,
) {
    let (prime, bound, w, zero) = (Prime::new(m), splat(bound), factor(w), _mm512_setzero_si512());
    let past_caches = destination == Destination::Memory && is_aligned(out);
    let (y, addend) = (y.map(rows), addend.map(|(a, v)| (rows(a), factor(v))));
    for (i, (out, x)) in rows_mut(out).iter_mut().zip(rows(x)).enumerate() {
        let y = load(y.map_or(&*out, |y| &y[i]));
        let difference = _mm512_add_epi64(_mm512_sub_epi64(load(x), y), bound);
        let product = prime.mul_add_lazy_2q(zero, difference, w);
        let quotient = match addend {
            None => prime.canonical(product),
            Some((a, v)) => prime.canonical_from_4q(prime.mul_add_lazy_2q(product, load(&a[i]), v)),
        };
        if past_caches {
            store_past_caches(out, quotient);
        } else {
            store(out, quotient);
        }
    }
    if past_caches {
        end_of_stores_past_caches();
    }
}

/// A block by columns, on cache lines: where the stack happens to be, rows across two of them cost up to three times the permutation.
#[repr(align(64))]
struct Square([Row; LANES]);

/// The rows of one block: columns of its source become registers, each is permuted and put in its place, and the square is turned
/// back. A gather of eight words costs more than the seven shuffles a row of this. A macro, since a function of this size is not put
/// in line, and the registers would go through memory.
macro_rules! permuted_block {
    ($sources:expr, $first_block:expr, $step:expr) => {{
        let (sources, first_block, step): (&[[Row; LANES]], usize, &BlockMove) = ($sources, $first_block, $step);
        let shifts = _mm512_setr_epi64(0, 3, 6, 9, 12, 15, 18, 21);
        let source = &sources[step.block as usize - first_block];
        let mut columns: [__m512i; LANES] = std::array::from_fn(|r| load(&source[r]));
        transpose(&mut columns);
        let mut turned = Square([[0; LANES]; LANES]);
        for (row, &column) in turned.0.iter_mut().zip(&columns) {
            store(row, column);
        }
        let mut moved: [__m512i; LANES] = std::array::from_fn(|b| {
            let column = step.columns[b];
            // the permutation reads three bits a lane and ignores those above
            let lanes = _mm512_srlv_epi64(splat(u64::from(column)), shifts);
            _mm512_permutexvar_epi64(lanes, load(&turned.0[(column >> 24) as usize]))
        });
        transpose(&mut moved);
        moved
    }};
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn permute(out: &mut [u64], x: &[u64], moves: Moves, destination: Destination) {
    let sources = rows(x).as_chunks::<LANES>().0;
    let past_caches = destination == Destination::Memory && is_aligned(out);
    for (out, step) in rows_mut(out).as_chunks_mut::<LANES>().0.iter_mut().zip(moves.blocks()) {
        for (row, x) in out.iter_mut().zip(permuted_block!(sources, moves.first_block(), step)) {
            if past_caches {
                store_past_caches(row, x);
            } else {
                store(row, x);
            }
        }
    }
    if past_caches {
        end_of_stores_past_caches();
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn add_permuted(m: &Modulus, acc: &mut [u64], x: &[u64], moves: Moves) {
    let (prime, sources) = (Prime::new(m), rows(x).as_chunks::<LANES>().0);
    for (acc, step) in rows_mut(acc).as_chunks_mut::<LANES>().0.iter_mut().zip(moves.blocks()) {
        for (row, x) in acc.iter_mut().zip(permuted_block!(sources, moves.first_block(), step)) {
            store(row, subtract_if_above(_mm512_add_epi64(load(row), x), prime.q));
        }
    }
}

/// A limb by tiles.
#[inline]
fn tiles(values: &[u64]) -> &[[Row; TILE]] {
    rows(values).as_chunks().0
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn load_tile(tile: &[Row; TILE]) -> [__m512i; TILE] {
    std::array::from_fn(|t| load(&tile[t]))
}

/// The rows of a tile, repetitions put back.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn expand_tile(x: &CompactLimb, tile: usize) -> [__m512i; TILE] {
    let tile = tile + x.first / (TILE * LANES);
    let last = x.n / (TILE * LANES) - 1;
    let backwards = x.symmetry.mirrored && tile > last / 2;
    let tile = if backwards { last - tile } else { tile };
    let found = match x.symmetry.log_gap {
        0 => load_tile(&tiles(x.words)[tile]),
        1 => {
            let [low, high] = rows(x.words).as_chunks().0[tile].each_ref().map(|row| load(row));
            [low, low, high, high]
        }
        2 => [load(&rows(x.words)[tile]); TILE],
        3 => [load(&rows(x.words)[tile / 2]); TILE],
        log_gap => {
            // fewer than eight words stand for a row of eight
            let shift = log_gap - 3;
            let first = (tile / 2 * LANES) >> shift;
            let words = &x.words[first..first + (LANES >> shift).max(1)];
            let lanes = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
            let lanes = _mm512_srl_epi64(lanes, _mm_cvtsi64_si128(i64::from(shift)));
            [_mm512_permutexvar_epi64(lanes, load_few(words)); TILE]
        }
    };
    if backwards {
        let reversed = _mm512_setr_epi64(7, 6, 5, 4, 3, 2, 1, 0);
        std::array::from_fn(|t| _mm512_permutexvar_epi64(reversed, found[TILE - 1 - t]))
    } else {
        found
    }
}

/// As many terms at a time as the streams allow: partial sums wait reduced in `out`, column by column of [`COLUMNS`] words. Measured
/// on 9 terms of 10 limbs of 2^14 words: 2.3 ms with all 27 streams at once, 1.5 ms in two goes.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn inner_products<const OUTS: usize>(
    m: &Modulus,
    mut out: [&mut [u64]; OUTS],
    x: &[CompactLimb],
    y: &[[&[u64]; OUTS]],
    columns: Range<usize>,
    (before, streams): (Before, Streams),
) {
    let at_once = streams.terms.min(SUMMED_PRODUCTS);
    let terms = x.len().div_ceil(x.len().div_ceil(at_once).max(1)).max(1);
    let past_caches = before == Before::Nothing(Destination::Memory) && terms == x.len();
    let past_caches = past_caches && out.iter().all(|out| is_aligned(out));
    let width = if terms == x.len() { columns.len() } else { COLUMNS };
    for start in columns.clone().step_by(width.max(1)) {
        let range = start / (TILE * LANES)..(start + width).min(columns.end) / (TILE * LANES);
        for (group, (x, y)) in x.chunks(terms).zip(y.chunks(terms)).enumerate() {
            let starts = before != Before::Sums && group == 0;
            for tile in range.clone() {
                if group == 0 {
                    let tile = tile - columns.start / (TILE * LANES);
                    streams
                        .ahead
                        .iter()
                        .filter_map(|words| tiles(words).get(tile))
                        .flatten()
                        .for_each(prefetch);
                }
                if past_caches {
                    add_products::<OUTS, true>(m, &mut out, x, y, tile, starts);
                } else {
                    add_products::<OUTS, false>(m, &mut out, x, y, tile, starts);
                }
            }
        }
    }
    if past_caches {
        end_of_stores_past_caches();
    }
}

/// One tile of at most [`SUMMED_PRODUCTS`] products, added to what is in `out` unless it `starts`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn add_products<const OUTS: usize, const PAST_CACHES: bool>(
    m: &Modulus,
    out: &mut [&mut [u64]; OUTS],
    x: &[CompactLimb],
    y: &[[&[u64]; OUTS]],
    tile: usize,
    starts: bool,
) {
    let (prime, radix, zero) = (Prime::new(m), factor(m.radix52()), _mm512_setzero_si512());
    let mut high = [[zero; TILE]; OUTS];
    let mut low = [[zero; TILE]; OUTS];
    for (x, y) in x.iter().zip(y) {
        let x = expand_tile(x, tile);
        for o in 0..OUTS {
            let y = load_tile(&tiles(y[o])[tile]);
            for t in 0..TILE {
                high[o][t] = madd_high(high[o][t], x[t], y[t]);
                low[o][t] = madd_low(low[o][t], x[t], y[t]);
            }
        }
    }
    for (o, out) in out.iter_mut().enumerate() {
        let out = &mut rows_mut(out).as_chunks_mut::<TILE>().0[tile];
        for t in 0..TILE {
            let before = if starts { zero } else { load(&out[t]) };
            let low = _mm512_add_epi64(low[o][t], before);
            let sum = prime.reduce_wide(high[o][t], low, radix);
            if PAST_CACHES {
                store_past_caches(&mut out[t], sum);
            } else {
                store(&mut out[t], sum);
            }
        }
    }
}

/// The quotient is summed in the order and roundings of the scalar form.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn round_quotients(sources: &[ConversionSource], limbs: &[&[u64]], quotients: &mut [u64]) {
    for (i, quotient) in rows_mut(quotients).iter_mut().enumerate() {
        let mut v = _mm512_set1_pd(0.5);
        for (source, limb) in sources.iter().zip(limbs) {
            let y = _mm512_cvtepu64_pd(load(&rows(limb)[i]));
            v = _mm512_add_pd(v, _mm512_mul_pd(y, _mm512_set1_pd(source.reciprocal)));
        }
        store(quotient, _mm512_cvttpd_epu64(v));
    }
}

/// Partial sums of more than [`SUMMED_PRODUCTS`] products wait reduced in `out`.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn weighted_sum(m: &Modulus, out: &mut [u64], rows: &[&[u64]], weights: &[u64], columns: Range<usize>) {
    let (prime, radix, zero) = (Prime::new(m), factor(m.radix52()), _mm512_setzero_si512());
    for (group, (rows, weights)) in rows
        .chunks(SUMMED_PRODUCTS)
        .zip(weights.chunks(SUMMED_PRODUCTS))
        .enumerate()
    {
        let mut terms: [(&[[Row; TILE]], __m512i); SUMMED_PRODUCTS] = [(&[], zero); SUMMED_PRODUCTS];
        for (term, (row, &weight)) in terms.iter_mut().zip(rows.iter().zip(weights)) {
            *term = (tiles(&row[columns.clone()]), splat(weight));
        }
        let terms = &terms[..rows.len()];
        let ends = rows.iter().map(|row| row.len().min(columns.end + columns.len()));
        let mut next = [&[] as &[[Row; TILE]]; SUMMED_PRODUCTS];
        let after = rows.iter().zip(ends).map(|(row, end)| tiles(&row[columns.end..end]));
        next.iter_mut().zip(after).for_each(|(next, after)| *next = after);
        let next = &next[..rows.len()];
        for (i, out) in rows_mut(out).as_chunks_mut::<TILE>().0.iter_mut().enumerate() {
            let mut high = [zero; TILE];
            let mut low = if group == 0 { [zero; TILE] } else { load_tile(out) };
            next.iter()
                .filter_map(|tiles| tiles.get(i))
                .flatten()
                .for_each(prefetch);
            for &(tiles, weight) in terms {
                let x = load_tile(&tiles[i]);
                for t in 0..TILE {
                    high[t] = madd_high(high[t], x[t], weight);
                    low[t] = madd_low(low[t], x[t], weight);
                }
            }
            for t in 0..TILE {
                store(&mut out[t], prime.reduce_wide(high[t], low[t], radix));
            }
        }
    }
}
