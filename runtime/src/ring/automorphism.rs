//! The automorphism `X -> X^g` as an index permutation of evaluations.

use std::ops::Range;

use super::ntt::{BLOCK, evaluation_exponents, exponent_of_position, position_of_exponent};

/// Where each evaluation of `p(X^g)` is found among the evaluations of `p`: `out[j] = in[source[j]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutomorphismTable {
    galois_element: u64,
    /// 1/g modulo 2n.
    inverse: u64,
    source: Vec<u32>,
    blocks: Vec<BlockMove>,
}

/// Where one run of 64 values comes from. A block comes from one block, and, read as an 8 x 8 square, column b comes from one
/// column: in bit-reversed order the low bits of an exponent decide the place first, and they map among themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockMove {
    /// The source block.
    pub(crate) block: u32,
    /// For column b: the source column in bits 24.., and for row a its source row in bits 3a..3a+3.
    pub(crate) columns: [u32; 8],
}

impl AutomorphismTable {
    /// The table for degree `n` and odd `galois_element` in `[1, 2n)`.
    pub fn new(n: usize, galois_element: u64) -> Self {
        assert!(
            galois_element % 2 == 1 && galois_element < 2 * n as u64,
            "a Galois element is odd and below 2N"
        );
        let mask = 2 * n as u64 - 1;
        // Evaluation j is p(psi^e(j)); p(X^g) there is p(psi^(g * e(j))).
        let source = evaluation_exponents(n)
            .map(|e| position_of_exponent(n, ((u64::from(e) * galois_element) & mask) as u32) as u32)
            .collect::<Vec<_>>();
        let blocks = source.as_chunks::<BLOCK>().0.iter().map(BlockMove::new).collect();
        // an odd number is its own inverse modulo 8, and each step doubles the bits that are right
        let inverse = (0..5).fold(galois_element, |inverse, _| {
            inverse.wrapping_mul(2u64.wrapping_sub(galois_element.wrapping_mul(inverse)))
        });
        Self {
            galois_element,
            inverse: inverse & mask,
            source,
            blocks,
        }
    }

    /// The exponent g.
    pub fn galois_element(&self) -> u64 {
        self.galois_element
    }

    /// `source[j]`, a permutation of `0..n`.
    pub fn source(&self) -> &[u32] {
        &self.source
    }

    /// Where the aligned run of `len` values from `start` on comes from, for a power of two: such a run comes from one such run, in
    /// some order, since the low bits of exponents map among themselves.
    pub(crate) fn source_of(&self, start: usize, len: usize) -> usize {
        self.source[start] as usize / len * len
    }

    /// All moves.
    pub(crate) fn moves(&self) -> Moves<'_> {
        Moves {
            source: &self.source,
            blocks: &self.blocks,
            start: 0,
        }
    }

    /// Those to an aligned run of a power of two, at least 64, of values; see [`Self::source_of`].
    pub(crate) fn moves_to(&self, columns: Range<usize>) -> Moves<'_> {
        Moves {
            start: self.source_of(columns.start, columns.len()),
            blocks: &self.blocks[columns.start / BLOCK..columns.end / BLOCK],
            source: &self.source[columns],
        }
    }

    /// Where evaluations `columns` of p go among those of `p(X^g)`, and how: an aligned run of a power of two, at least
    /// 64, which goes to one such run.
    pub(crate) fn moves_of(&self, columns: Range<usize>) -> (Range<usize>, Moves<'_>) {
        let (n, width) = (self.source.len(), columns.len());
        debug_assert!(width.is_power_of_two() && width >= BLOCK && columns.start.is_multiple_of(width));
        let exponent = u64::from(exponent_of_position(n, columns.start)) * self.inverse;
        let first = position_of_exponent(n, (exponent & (2 * n as u64 - 1)) as u32) / width * width;
        (first..first + width, self.moves_to(first..first + width))
    }
}

/// Part of an automorphism: where each evaluation of one run is found in another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moves<'a> {
    source: &'a [u32],
    blocks: &'a [BlockMove],
    /// Where the run begins that they come from.
    start: usize,
}

impl<'a> Moves<'a> {
    /// Of each evaluation its place in the run that it comes from.
    pub(crate) fn sources(self) -> impl Iterator<Item = usize> + 'a {
        self.source.iter().map(move |&i| i as usize - self.start)
    }

    /// The same by blocks of 64, numbered as in the limb.
    pub(crate) fn blocks(self) -> &'a [BlockMove] {
        self.blocks
    }

    /// The first block of the run that they come from.
    pub(crate) fn first_block(self) -> usize {
        self.start / BLOCK
    }
}

impl BlockMove {
    fn new(source: &[u32; BLOCK]) -> Self {
        let column = |b: usize| {
            let rows = (0..8).map(|a| (source[8 * a + b] / 8 % 8) << (3 * a)).sum::<u32>();
            debug_assert!(
                (0..8).all(|a| source[8 * a + b] % 8 == source[b] % 8 && source[8 * a + b] / 64 == source[0] / 64)
            );
            rows | (source[b] % 8) << 24
        };
        Self {
            block: source[0] / BLOCK as u32,
            columns: std::array::from_fn(column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_compose_and_invert() {
        let n = 1 << 10;
        let identity: Vec<u32> = (0..n as u32).collect();
        assert_eq!(AutomorphismTable::new(n, 1).source(), identity);
        let (five, inverse) = (AutomorphismTable::new(n, 5), AutomorphismTable::new(n, 1229));
        assert_eq!(5 * 1229 % (2 * n as u64), 1);
        let back: Vec<u32> = five.source().iter().map(|&j| inverse.source()[j as usize]).collect();
        assert_eq!(back, identity);
    }
}
