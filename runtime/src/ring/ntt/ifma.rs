//! Vector transforms: eight residues a register, several stages per pass, in-register last stages, no bit reversal.
//!
//! In:     residues in [0, q), q < 2^50.   Out: residues in [0, q); same words as the scalar form.
//! Method: a pass takes 2^k vectors a fixed stride apart through k stages in registers. The passes walk depth first, so all
//!         but the first one or two run in the first-level cache. The last six stages run on 64 values: three on eight
//!         registers, a transposition, three more with one transform a lane.
//! Ranges: values are true modulo 2^52 (see `simd`). Forward, a stage adds 2q to the bound; inverse, a stage doubles it. How
//!         often the sum side is brought back to [0, 2q) depends on how many q fit 2^52: `PERIOD` stages.
//! Tables: a broadcast pair per node of the stages before the last three; for those, only the quotients `w'`, since
//!         `w = floor(w' * q / 2^52) + 1` (w' * q = w * 2^52 - r with 0 < r < q): half the table traffic for one instruction.
//! Cost:   6 instructions per eight butterflies, 8 / PERIOD of them added when q is large; forward 5 and inverse 3 per vector
//!         for the full reduction, 3 per vector for the transposition.

use std::arch::x86_64::{__m512i, _mm512_add_epi64, _mm512_setzero_si512, _mm512_sub_epi64};

use super::BLOCK;
use crate::ring::modulus::{Modulus, ShoupFactor};
use crate::ring::simd::{Factor, LANES, Prime, Row, factor, load, madd_high, rows, rows_mut, splat, store, transpose};
use crate::ring::{AlignedBuffer, Ifma};

/// Stages run by the block kernel.
const BLOCK_STAGES: usize = 6;
/// Twiddle vectors of one block in the last three stages.
const BLOCK_VECTORS: usize = 7;

/// Tables of both directions. That they exist shows that the processor has the instructions: only an [`Ifma`] makes them.
#[derive(Debug)]
pub(super) struct Twiddles {
    /// Stages of each pass before the block kernel, outermost first.
    passes: &'static [u32],
    /// The forward, then the inverse direction: of each the node factors, then the block quotients.
    words: AlignedBuffer,
    /// 1/n, and the factor of the inverse's last stage times 1/n.
    ends: [ShoupFactor; 2],
}

/// The tables of one direction.
#[derive(Clone, Copy)]
struct Direction<'a> {
    /// Entry `m + i` is value and quotient of node i of the stage with m nodes, for m <= n/16.
    nodes: &'a [[u64; 2]],
    /// Per block of 64, quotients of its 8, 16 and 32 nodes in the last three stages, as 1 + 2 + 4 vectors.
    quotients: &'a [[Row; BLOCK_VECTORS]],
}

/// Stages per pass by log2(n) - 6, outermost first. Chosen so that passes over more than the first-level cache have at most
/// eight streams: with power-of-two strides, more streams than cache ways evict each other.
const PASSES: [&[u32]; 12] = [
    &[],
    &[1],
    &[2],
    &[3],
    &[4],
    &[2, 3],
    &[3, 3],
    &[3, 4],
    &[2, 3, 3],
    &[3, 2, 4],
    &[3, 3, 4],
    &[3, 2, 3, 3],
];

impl Twiddles {
    /// `powers[k]` is `psi^k` for `k` in `0..n`.
    pub(super) fn new(_token: Ifma, modulus: &Modulus, powers: &[u64]) -> Self {
        let n = powers.len();
        let log_n = n.trailing_zeros();
        let reversed = |k: usize| ((k as u32).reverse_bits() >> (32 - log_n)) as usize;
        // psi^-r = -psi^(n-r)
        let inverse_power = |r: usize| if r == 0 { 1 } else { modulus.neg(powers[n - r]) };
        let mut words = AlignedBuffer::zeroed(2 * direction_words(n));
        let (forward, inverse) = words.split_at_mut(direction_words(n));
        fill_direction(n, forward, |k| modulus.shoup(powers[reversed(k)]));
        fill_direction(n, inverse, |k| modulus.shoup(inverse_power(reversed(k))));
        let scale = modulus.inv(modulus.reduce(n as u64));
        let ends = [
            modulus.shoup(scale),
            modulus.shoup(modulus.mul(scale, inverse_power(n / 2))),
        ];
        let passes = PASSES[log_n as usize - BLOCK_STAGES];
        Self { passes, words, ends }
    }

    fn forward(&self) -> Direction<'_> {
        Direction::new(&self.words[..self.words.len() / 2])
    }

    fn inverse(&self) -> Direction<'_> {
        Direction::new(&self.words[self.words.len() / 2..])
    }
}

/// Words of one direction's tables: a pair for each of n/8 nodes, seven quotients for each of n/8 last nodes.
fn direction_words(n: usize) -> usize {
    (2 + BLOCK_VECTORS) * (n / LANES)
}

fn fill_direction(n: usize, words: &mut [u64], node: impl Fn(usize) -> ShoupFactor) {
    let (nodes, quotients) = words.split_at_mut(2 * (n / LANES));
    for (k, pair) in nodes.as_chunks_mut().0.iter_mut().enumerate() {
        let ShoupFactor { value, quotient } = node(k);
        *pair = [value, quotient];
    }
    let columns = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)];
    let blocks = rows_mut(quotients).as_chunks_mut::<BLOCK_VECTORS>().0;
    for (block, vectors) in blocks.iter_mut().enumerate() {
        for ((stage, column), vector) in columns.into_iter().zip(vectors) {
            *vector = std::array::from_fn(|row| node(((n / LANES + block * LANES + row) << stage) + column).quotient);
        }
    }
}

impl<'a> Direction<'a> {
    fn new(words: &'a [u64]) -> Self {
        let (nodes, quotients) = words.split_at(words.len() / (2 + BLOCK_VECTORS) * 2);
        Self {
            nodes: nodes.as_chunks().0,
            quotients: rows(quotients).as_chunks().0,
        }
    }
}

/// log2 of how many parts the first pass of a forward transform leaves.
pub(super) fn log_parts(twiddles: &Twiddles) -> u32 {
    twiddles.passes.first().copied().unwrap_or(0)
}

/// Requires: values in [0, q).   Ensures: the first pass is done; values are lazy, for [`forward_below`].
/// Why:      with B = floor(2^52 / q), the bound grows by 2q a stage from at most 2q (q at first); PERIOD 0 (never reduce)
///           needs 1 + 2 log2(n) <= B, PERIOD 3 needs 2 + 6 <= B, PERIOD 1 needs 2 + 2 <= B, which q < 2^50 gives.
pub(super) fn forward_top(modulus: &Modulus, twiddles: &Twiddles, values: &mut [u64]) {
    let Some(&stages) = twiddles.passes.first() else {
        return;
    };
    let (period, forward) = (forward_period(modulus, values.len()), twiddles.forward());
    // SAFETY: the tables were made with an `Ifma` token, which proves that the processor has the features these functions are compiled for.
    unsafe {
        match period {
            0 => forward_any_pass::<0>(modulus, forward, stages, 1, values),
            3 => forward_any_pass::<3>(modulus, forward, stages, 1, values),
            _ => forward_any_pass::<1>(modulus, forward, stages, 1, values),
        }
    }
}

/// Requires: part `part` as [`forward_top`] leaves it.   Ensures: values in [0, q), in evaluation order.
pub(super) fn forward_below(modulus: &Modulus, twiddles: &Twiddles, part: usize, values: &mut [u64]) {
    let log_parts = log_parts(twiddles);
    let (rest, node) = (twiddles.passes.get(1..).unwrap_or_default(), (1 << log_parts) + part);
    let (period, forward) = (forward_period(modulus, values.len() << log_parts), twiddles.forward());
    // SAFETY: the tables were made with an `Ifma` token, which proves that the processor has the features these functions are compiled for.
    unsafe {
        match period {
            0 => forward_node::<0>(modulus, forward, rest, node, values),
            3 => forward_node::<3>(modulus, forward, rest, node, values),
            _ => forward_node::<1>(modulus, forward, rest, node, values),
        }
    }
}

/// Every how many stages the sum side of a forward transform is reduced; 0 for never.
fn forward_period(modulus: &Modulus, n: usize) -> u32 {
    match (1u64 << 52) / modulus.value() {
        budget if budget > 2 * u64::from(n.trailing_zeros()) => 0,
        8.. => 3,
        _ => 1,
    }
}

/// Requires: values in [0, q), in evaluation order.   Ensures: values in [0, q), in coefficient order, divided by n.
/// Why:      with K = floor(2^52 / q) / 2, differences are x - y + K*q with x, y below K*q; from 2q a bound doubles each stage,
///           so PERIOD stages need 2^PERIOD <= K.
pub(super) fn inverse(modulus: &Modulus, twiddles: &Twiddles, values: &mut [u64]) {
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

/// What an inverse stage does beyond its butterflies: nothing, so that the bound grows;
const KEEP: u8 = 0;
/// or it brings the sum side to [0, 2q) (the other side is there);
const REDUCE: u8 = 1;
/// or, the very last one, it multiplies by 1/n, which is entry 0 of its factors and included in entry 1, and gives [0, q).
const SCALE: u8 = 2;

/// The subtree below `node` (numbered from 1 at the root, children 2i and 2i + 1), all its passes.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn forward_node<const PERIOD: usize>(
    modulus: &Modulus,
    direction: Direction<'_>,
    passes: &[u32],
    node: usize,
    values: &mut [u64],
) {
    let Some((&stages, rest)) = passes.split_first() else {
        return forward_blocks::<PERIOD>(modulus, direction, node, values);
    };
    forward_any_pass::<PERIOD>(modulus, direction, stages, node, values);
    if rest.is_empty() {
        return forward_blocks::<PERIOD>(modulus, direction, node, values);
    }
    let child_len = values.len() >> stages;
    for (i, child) in values.chunks_exact_mut(child_len).enumerate() {
        forward_node::<PERIOD>(modulus, direction, rest, (node << stages) + i, child);
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn forward_any_pass<const PERIOD: usize>(
    modulus: &Modulus,
    direction: Direction<'_>,
    stages: u32,
    node: usize,
    values: &mut [u64],
) {
    match stages {
        1 => forward_pass::<1, 2, PERIOD>(modulus, direction, node, values),
        2 => forward_pass::<2, 4, PERIOD>(modulus, direction, node, values),
        3 => forward_pass::<3, 8, PERIOD>(modulus, direction, node, values),
        _ => forward_pass::<4, 16, PERIOD>(modulus, direction, node, values),
    }
}

/// STAGES stages on RADIX = 2^STAGES streams.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn forward_pass<const STAGES: usize, const RADIX: usize, const PERIOD: usize>(
    modulus: &Modulus,
    direction: Direction<'_>,
    node: usize,
    values: &mut [u64],
) {
    let prime = Prime::new(modulus);
    let factors = node_factors::<STAGES, RADIX>(direction, node);
    let rows = rows_mut(values);
    let stride = rows.len() / RADIX;
    for column in 0..stride {
        let mut x: [__m512i; RADIX] = std::array::from_fn(|r| load(&rows[r * stride + column]));
        forward_stages::<STAGES, RADIX, PERIOD>(&prime, &mut x, &factors, 0);
        for (r, &x) in x.iter().enumerate() {
            store(&mut rows[r * stride + column], x);
        }
    }
}

/// The factors of a subtree of STAGES stages: entry 2^s + g is group g of stage s.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn node_factors<const STAGES: usize, const RADIX: usize>(direction: Direction<'_>, node: usize) -> [Factor; RADIX] {
    let zero = Factor {
        value: _mm512_setzero_si512(),
        quotient: _mm512_setzero_si512(),
    };
    let mut factors = [zero; RADIX];
    for stage in 0..STAGES {
        let groups = 1 << stage;
        let nodes = &direction.nodes[node << stage..][..groups];
        for (factor, &[value, quotient]) in factors[groups..].iter_mut().zip(nodes) {
            *factor = Factor {
                value: splat(value),
                quotient: splat(quotient),
            };
        }
    }
    factors
}

/// STAGES forward stages between registers; `first_stage` numbers them within the kernel, for the reduction period.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn forward_stages<const STAGES: usize, const RADIX: usize, const PERIOD: usize>(
    prime: &Prime,
    x: &mut [__m512i; RADIX],
    factors: &[Factor; RADIX],
    first_stage: usize,
) {
    let reduces = |stage: usize| PERIOD != 0 && (first_stage + stage).is_multiple_of(PERIOD);
    forward_stage::<0, RADIX>(prime, x, factors, reduces(0));
    if STAGES > 1 {
        forward_stage::<1, RADIX>(prime, x, factors, reduces(1));
    }
    if STAGES > 2 {
        forward_stage::<2, RADIX>(prime, x, factors, reduces(2));
    }
    if STAGES > 3 {
        forward_stage::<3, RADIX>(prime, x, factors, reduces(3));
    }
}

/// One forward stage of RADIX / 2 butterflies; `reduces` first brings the sum side to [0, 2q).
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn forward_stage<const STAGE: usize, const RADIX: usize>(
    prime: &Prime,
    x: &mut [__m512i; RADIX],
    factors: &[Factor; RADIX],
    reduces: bool,
) {
    let half = RADIX >> (STAGE + 1);
    for k in 0..RADIX / 2 {
        let (group, i) = (k / half, k / half * half + k);
        let u = if reduces { prime.reduce_lazy_2q(x[i]) } else { x[i] };
        let sum = prime.mul_add_lazy_2q(u, x[i + half], factors[(1 << STAGE) + group]);
        // u - t + 2q with t = sum - u
        x[i + half] = _mm512_sub_epi64(_mm512_add_epi64(_mm512_add_epi64(u, u), prime.two_q), sum);
        x[i] = sum;
    }
}

/// The last six stages of every block of 64 in `values`, and the full reduction.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn forward_blocks<const PERIOD: usize>(modulus: &Modulus, direction: Direction<'_>, node: usize, values: &mut [u64]) {
    let prime = Prime::new(modulus);
    // the blocks below `node` are consecutive nodes of the stage with n / 64 nodes
    let first_block = node * (values.len() / BLOCK);
    for (i, block) in rows_mut(values).as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let node = first_block + i;
        let mut x: [__m512i; LANES] = std::array::from_fn(|r| load(&block[r]));
        forward_stages::<3, LANES, PERIOD>(&prime, &mut x, &node_factors::<3, LANES>(direction, node), 0);
        transpose(&mut x);
        let factors = lane_factors(&prime, direction, node);
        forward_stages::<3, LANES, PERIOD>(&prime, &mut x, &factors, 3);
        for (row, x) in block.iter_mut().zip(x) {
            store(row, prime.canonical(prime.reduce_lazy_2q(x)));
        }
    }
}

/// The factors of the last three stages of a block, one transform a lane.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn lane_factors(prime: &Prime, direction: Direction<'_>, node: usize) -> [Factor; LANES] {
    // nodes of the block stage are numbered from n/64 on
    let block = node - direction.nodes.len() / LANES;
    let quotients = &direction.quotients[block];
    let one = splat(1);
    std::array::from_fn(|k| {
        let quotient = load(&quotients[k.saturating_sub(1)]);
        Factor {
            value: madd_high(one, quotient, prime.q),
            quotient,
        }
    })
}

/// The whole inverse: the subtrees of the root's pass, then that pass with the division by n.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn inverse_all<const PERIOD: usize>(modulus: &Modulus, twiddles: &Twiddles, values: &mut [u64]) {
    let (passes, direction, ends) = (twiddles.passes, twiddles.inverse(), &twiddles.ends);
    let Some((&stages, rest)) = passes.split_first() else {
        return inverse_blocks::<PERIOD, SCALE>(modulus, direction, 1, values, ends);
    };
    inverse_children::<PERIOD>(modulus, direction, stages, rest, 1, values);
    inverse_any_pass::<PERIOD, SCALE>(modulus, direction, stages, 1, values, ends);
}

/// All passes below the pass of `stages` stages at `node`.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn inverse_children<const PERIOD: usize>(
    modulus: &Modulus,
    direction: Direction<'_>,
    stages: u32,
    passes: &[u32],
    node: usize,
    values: &mut [u64],
) {
    let no_scale = &[ShoupFactor::default(); 2];
    let Some((&child_stages, rest)) = passes.split_first() else {
        return inverse_blocks::<PERIOD, REDUCE>(modulus, direction, node, values, no_scale);
    };
    let child_len = values.len() >> stages;
    for (i, child) in values.chunks_exact_mut(child_len).enumerate() {
        let node = (node << stages) + i;
        inverse_children::<PERIOD>(modulus, direction, child_stages, rest, node, child);
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
        inverse_stages::<STAGES, RADIX, PERIOD, END>(&prime, lift, &mut x, &factors);
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

/// STAGES inverse stages between registers, in from [0, 2q) (or within what a kernel that ends with [`KEEP`] left).
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn inverse_stages<const STAGES: usize, const RADIX: usize, const PERIOD: usize, const END: u8>(
    prime: &Prime,
    lift: __m512i,
    x: &mut [__m512i; RADIX],
    factors: &[Factor; RADIX],
) {
    let end = |stage: usize| match (stage + 1 == STAGES, (stage + 1).is_multiple_of(PERIOD)) {
        (true, _) => END,
        (false, true) => REDUCE,
        (false, false) => KEEP,
    };
    inverse_stage::<0, RADIX>(prime, lift, x, factors, end(0));
    if STAGES > 1 {
        inverse_stage::<1, RADIX>(prime, lift, x, factors, end(1));
    }
    if STAGES > 2 {
        inverse_stage::<2, RADIX>(prime, lift, x, factors, end(2));
    }
    if STAGES > 3 {
        inverse_stage::<3, RADIX>(prime, lift, x, factors, end(3));
    }
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

/// The first six inverse stages of every block of 64 in `values`.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn inverse_blocks<const PERIOD: usize, const END: u8>(
    modulus: &Modulus,
    direction: Direction<'_>,
    node: usize,
    values: &mut [u64],
    ends: &[ShoupFactor; 2],
) {
    let (prime, lift) = prime_and_lift(modulus);
    let first_block = node * (values.len() / BLOCK);
    for (i, block) in rows_mut(values).as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let node = first_block + i;
        let mut x: [__m512i; LANES] = std::array::from_fn(|r| load(&block[r]));
        let factors = lane_factors(&prime, direction, node);
        if PERIOD >= BLOCK_STAGES {
            inverse_stages::<3, LANES, PERIOD, KEEP>(&prime, lift, &mut x, &factors);
        } else {
            inverse_stages::<3, LANES, PERIOD, REDUCE>(&prime, lift, &mut x, &factors);
        }
        transpose(&mut x);
        let factors = with_ends::<LANES, END>(node_factors::<3, LANES>(direction, node), ends);
        inverse_stages::<3, LANES, PERIOD, END>(&prime, lift, &mut x, &factors);
        for (row, x) in block.iter_mut().zip(x) {
            store(row, x);
        }
    }
}
