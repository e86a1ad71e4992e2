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

mod forward;
mod inverse;
mod start;

use std::arch::x86_64::_mm512_setzero_si512;

pub(super) use forward::{forward_leaf, forward_middle, forward_top, lazy_bound};
pub(super) use inverse::{inverse, inverse_interleaved};
pub(super) use start::{start_lifted, start_sums};

use super::BLOCK;
use crate::ring::modulus::{Modulus, ShoupFactor};
use crate::ring::simd::{Factor, LANES, Prime, Row, load, madd_high, prefetch, rows, rows_mut, splat};
use crate::ring::{AlignedBuffer, Ifma};

/// Stages run by the block kernel.
const BLOCK_STAGES: usize = 6;
/// Blocks for which what comes from memory is asked for ahead.
const BLOCKS_AHEAD: usize = 8;
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

    /// log2 of how many parts the first pass of a forward transform leaves.
    pub(super) fn log_parts(&self) -> u32 {
        self.passes.first().copied().unwrap_or(0)
    }

    /// log2 of how many leaves a part has: what is left of it after a second pass, if two more follow.
    pub(super) fn log_leaves_per_part(&self) -> u32 {
        match self.passes {
            [_, middle, _, ..] => *middle,
            _ => 0,
        }
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

    /// The block of 64 that is this node: nodes of the block stage are numbered from n/64 on.
    #[inline]
    fn block(self, node: usize) -> usize {
        node - self.nodes.len() / LANES
    }

    /// Asks for the quotients of a block further on than this node: they come from memory, most of what a transform reads.
    #[inline]
    fn ask_ahead(self, node: usize) {
        if let Some(quotients) = self.quotients.get(self.block(node) + BLOCKS_AHEAD) {
            quotients.iter().for_each(prefetch);
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

/// The factors of the last three stages of a block, one transform a lane.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn lane_factors(prime: &Prime, direction: Direction<'_>, node: usize) -> [Factor; LANES] {
    let quotients = &direction.quotients[direction.block(node)];
    let one = splat(1);
    std::array::from_fn(|k| {
        let quotient = load(&quotients[k.saturating_sub(1)]);
        Factor {
            value: madd_high(one, quotient, prime.q),
            quotient,
        }
    })
}
