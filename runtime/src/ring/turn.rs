//! [`Turn`]: how products with a key become a rotated ciphertext that is still to be divided, while they are in cache.

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
        for addend in &self.addends {
            if addend.basis().is_raised() {
                kernels::add(backend, m, sums[0], addend.limb_of_prime(prime));
            } else if prime < basis.q_limbs {
                let special = m.shoup(ring.special_modulus(basis.p_limbs, prime));
                kernels::add_mul_shoup(backend, m, sums[0], addend.limb_of_prime(prime), special);
            }
        }
        for (sum, out) in sums.iter().zip(outs) {
            if onto {
                kernels::add_permuted(backend, m, out, sum, &self.table);
            } else {
                kernels::permute(backend, out, sum, &self.table, destination);
            }
        }
    }
}
