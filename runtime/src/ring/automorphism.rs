//! The automorphism `X -> X^g` as an index permutation of evaluations.

use super::ntt::{evaluation_exponents, position_of_exponent};

/// Where each evaluation of `p(X^g)` is found among the evaluations of `p`: `out[j] = in[source[j]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutomorphismTable {
    galois_element: u64,
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
        let blocks = source.as_chunks::<64>().0.iter().map(BlockMove::new).collect();
        Self {
            galois_element,
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
    pub fn source_of(&self, start: usize, len: usize) -> usize {
        self.source[start] as usize / len * len
    }

    /// The same permutation by blocks of 64.
    pub(crate) fn blocks(&self) -> &[BlockMove] {
        &self.blocks
    }
}

impl BlockMove {
    fn new(source: &[u32; 64]) -> Self {
        let column = |b: usize| {
            let rows = (0..8).map(|a| (source[8 * a + b] / 8 % 8) << (3 * a)).sum::<u32>();
            debug_assert!(
                (0..8).all(|a| source[8 * a + b] % 8 == source[b] % 8 && source[8 * a + b] / 64 == source[0] / 64)
            );
            rows | (source[b] % 8) << 24
        };
        Self {
            block: source[0] / 64,
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
