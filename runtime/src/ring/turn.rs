//! [`Turn`]: how products with a key become a rotated ciphertext that is still to be divided, while they are in cache.

use std::ops::Range;
use std::sync::Arc;

use super::kernels::Destination;
use super::{AutomorphismTable, Basis, Domain, Poly, RingContext, kernels};

/// What is done with the products of digits with one key: `addends` join the first of them, then X -> X^g is applied to all.
pub struct Turn<'a> {
    table: Arc<AutomorphismTable>,
    addends: Vec<&'a Poly>,
}

impl<'a> Turn<'a> {
    /// A turn by the automorphism of this element. An addend over ciphertext primes only is taken times P, the product of the
    /// products' special primes, one with special primes as it is; evaluation form, over the primes of the products or more.
    pub fn new(ring: &RingContext, galois_element: u64, addends: Vec<&'a Poly>) -> Self {
        assert!(addends.iter().all(|addend| addend.domain() == Domain::Eval));
        Self {
            table: ring.automorphism(galois_element),
            addends,
        }
    }

    /// Which aligned run of `len` words, a power of two, the one from `start` on of a turned limb comes from.
    pub(super) fn source_of(&self, start: usize, len: usize) -> usize {
        self.table.source_of(start, len)
    }

    /// [`Self::finish`] of the aligned run from `start` on; all slices are of that run or of the one that it comes from.
    pub(super) fn finish_part<const OUTS: usize>(
        &self,
        (ring, basis, prime): (&RingContext, Basis, usize),
        start: usize,
        sums: [&mut [u64]; OUTS],
        outs: [&mut [u64]; OUTS],
    ) {
        let len = sums[0].len();
        let (source, moves) = (self.source_of(start, len), self.table.moves_to(start..start + len));
        self.add_addends((ring, basis, prime), source..source + len, sums[0]);
        for (sum, out) in sums.iter().zip(outs) {
            kernels::permute(ring.backend(), out, sum, moves, Destination::Cache);
        }
    }

    /// Adds the addends, of whole limbs those columns, to the first of the sums.
    fn add_addends(&self, (ring, basis, prime): (&RingContext, Basis, usize), columns: Range<usize>, sum: &mut [u64]) {
        let (backend, m) = (ring.backend(), ring.modulus(prime));
        for addend in &self.addends {
            if addend.basis().is_raised() {
                kernels::add(backend, m, sum, &addend.limb_of_prime(prime)[columns.clone()]);
            } else if prime < basis.q_limbs {
                let special = m.shoup(ring.special_modulus(basis.p_limbs, prime));
                kernels::add_mul_shoup(backend, m, sum, &addend.limb_of_prime(prime)[columns.clone()], special);
            }
        }
    }

    /// The words of the addends that [`Self::finish_part`] reads.
    pub(super) fn to_fetch(&self, basis: Basis, prime: usize, columns: Range<usize>) -> impl Iterator<Item = &[u64]> {
        let read = move |addend: &&&Poly| addend.basis().is_raised() || prime < basis.q_limbs;
        let words = move |addend: &&'a Poly| &addend.limb_of_prime(prime)[columns.clone()];
        self.addends.iter().filter(read).map(words)
    }

    /// Ensures: `outs[o] = X -> X^g of sums[o]`, the first with the addends, plus what was in `outs[o]` if they are `onto` it. One
    /// limb each; the sums are left changed.
    pub(super) fn finish<const OUTS: usize>(
        &self,
        (ring, basis, prime): (&RingContext, Basis, usize),
        sums: [&mut [u64]; OUTS],
        outs: [&mut [u64]; OUTS],
        onto: bool,
    ) {
        let (backend, m) = (ring.backend(), ring.modulus(prime));
        let destination = Destination::of_words(OUTS * ring.limb_count(basis) * ring.n());
        self.add_addends((ring, basis, prime), 0..ring.n(), sums[0]);
        for (sum, out) in sums.iter().zip(outs) {
            if onto {
                kernels::add_permuted(backend, m, out, sum, self.table.moves());
            } else {
                kernels::permute(backend, out, sum, self.table.moves(), destination);
            }
        }
    }
}
