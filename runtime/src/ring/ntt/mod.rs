//! The negacyclic number-theoretic transform modulo one prime.
//!
//! Coefficients stand in natural order. Evaluation `j` holds `p(psi^e(j))`, where `psi` is the prime's primitive `2N`-th root
//! and `e` is [`evaluation_exponents`]: bit-reversed order, in which each run of 64 values is kept as a transposed 8 x 8 square.
//! The vector kernels end with eight independent transforms side by side in the lanes of their registers; storing them as they
//! stand saves a transposition, and no user of evaluations needs another order.
//!
//! Source: Longa and Naehrig, "Speeding up the number theoretic transform for faster ideal lattice-based cryptography",
//! CANS 2016 (merged twisting, no bit reversal pass); Harvey 2014 for the lazy butterflies.

#[cfg(target_arch = "x86_64")]
mod ifma;
mod portable;
mod table;

pub use table::NttTable;

/// Runs of this many values are stored as a transposed square of this side.
const SQUARE: usize = 8;
pub(super) const BLOCK: usize = SQUARE * SQUARE;

/// Smallest and largest supported `log2(N)`.
pub(crate) const LOG_N_RANGE: std::ops::RangeInclusive<u32> = 6..=17;

/// What to ask of memory while a column of sources is worked on: of the column so many further on, the vectors of these parts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ahead {
    pub(crate) columns: usize,
    pub(crate) parts: std::ops::Range<usize>,
}

/// The place of bit-reversed position `s` in evaluation order; its own inverse.
pub(crate) fn transpose_in_block(s: usize) -> usize {
    s / BLOCK * BLOCK + s % SQUARE * SQUARE + s / SQUARE % SQUARE
}

/// The odd exponents `e(0), ..., e(n-1)`: evaluation `j` of a polynomial p is `p(psi^e(j))`. `n` is a power of two, at least 64.
pub fn evaluation_exponents(n: usize) -> impl Iterator<Item = u32> {
    (0..n).map(move |j| exponent_of_position(n, j))
}

/// `e(position)` for a transform of `n` values.
pub(crate) fn exponent_of_position(n: usize, position: usize) -> u32 {
    2 * ((transpose_in_block(position) as u32).reverse_bits() >> (32 - n.trailing_zeros())) + 1
}

/// The evaluation index `j` with `e(j) = exponent`, for odd `exponent` below `2n`.
pub(crate) fn position_of_exponent(n: usize, exponent: u32) -> usize {
    let log_n = n.trailing_zeros();
    transpose_in_block(((exponent >> 1).reverse_bits() >> (32 - log_n)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_all_odd_numbers_once() {
        for n in [64, 1024] {
            let mut seen: Vec<u32> = evaluation_exponents(n).collect();
            for (j, &e) in seen.iter().enumerate() {
                assert_eq!(position_of_exponent(n, e), j);
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..n as u32).map(|i| 2 * i + 1).collect::<Vec<_>>());
        }
    }
}
