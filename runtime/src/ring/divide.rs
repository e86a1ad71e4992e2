//! Dividing the modulus away: by the special primes (mod_down), by the last ciphertext prime (rescale), by both at once.
//!
//! All are one operation: with `D` the product of the divided primes and `[x]_D` centred, `round(x / D) = (x - [x]_D) / D`,
//! exact up to the tie rule of [`super::BaseConverter`] (error at most 1/2 + 2^-40).
//! Source: Cheon, Han, Kim, Kim, Song, "A full RNS variant of approximate homomorphic encryption", SAC 2018; centred remainder
//!         as in Halevi, Polyakov, Shoup 2019, section 2.3.
//! Cost:   one inverse transform per divided limb; one conversion, one forward transform and one pass per kept limb.

use std::sync::Arc;

use rayon::prelude::*;

use super::quotient::{Division, LIMBS_PER_GROUP, Place, Quotients};
use super::rows::{Rows, balanced_groups, limbs_per_group};
use super::{Basis, Domain, Poly, RingContext};

/// A polynomial to divide.
#[derive(Clone, Copy)]
pub struct Dividend<'a> {
    /// Evaluation form.
    pub x: &'a Poly,
    /// Evaluation form, over the primes that are kept at least; `P` times it counts to what is divided, P the product of the
    /// special primes of x.
    pub addend: Option<&'a Poly>,
}

impl RingContext {
    /// Divides a polynomial over `q_0..q_l` and the special primes by `P`, with rounding. Evaluation form in and out.
    pub fn mod_down(self: &Arc<Self>, x: &Poly) -> Poly {
        assert!(x.basis().is_raised());
        self.divide_one(x, None, x.basis().q_limbs, None)
    }

    /// [`Self::mod_down`] plus `addend` (over `q_0..q_l` at least), in one pass.
    pub fn mod_down_and_add(self: &Arc<Self>, x: &Poly, addend: &Poly) -> Poly {
        assert!(x.basis().is_raised());
        self.divide_one(x, Some(addend), x.basis().q_limbs, None)
    }

    /// [`Self::mod_down`] plus `addend` if there is one, then `X -> X^galois_element`, with the permutation on the way to memory.
    pub fn mod_down_then_automorphism(self: &Arc<Self>, x: &Poly, addend: Option<&Poly>, galois_element: u64) -> Poly {
        assert!(x.basis().is_raised());
        self.divide_one(x, addend, x.basis().q_limbs, Some(galois_element))
    }

    /// Divides a polynomial over `q_0..q_l` (l >= 1) by `q_l`, with rounding. Evaluation form in and out.
    pub fn rescale(self: &Arc<Self>, x: &Poly) -> Poly {
        assert!(!x.basis().is_raised());
        self.divide_one(x, None, x.basis().level(), None)
    }

    /// [`Self::mod_down`] then [`Self::rescale`] in one division by `P * q_l`.
    pub fn mod_down_and_rescale(self: &Arc<Self>, x: &Poly) -> Poly {
        assert!(x.basis().is_raised());
        self.divide_one(x, None, x.basis().level(), None)
    }

    /// Divides by `q_kept, ..., q_l` and, where `x` has them, the special primes, in one division.
    pub fn divide_down_to(self: &Arc<Self>, x: &Poly, kept: usize) -> Poly {
        self.divide_one(x, None, kept, None)
    }

    /// `(x + P * addend) / (P * q_kept * ... * q_l)`, rounded: [`Self::mod_down_and_add`] and [`Self::divide_down_to`] in one.
    pub fn add_and_divide_down_to(self: &Arc<Self>, x: &Poly, addend: &Poly, kept: usize) -> Poly {
        assert!(x.basis().is_raised());
        self.divide_one(x, Some(addend), kept, None)
    }

    fn divide_one(self: &Arc<Self>, x: &Poly, addend: Option<&Poly>, kept: usize, galois_element: Option<u64>) -> Poly {
        let [quotient] = self.divide_each([Dividend { x, addend }], kept, galois_element);
        quotient
    }

    /// Divides each x, plus `P * addend` where there is one, by the product of all limbs from `kept` on, with rounding; then
    /// `X -> X^galois_element` if it is given, with the permutation on the way to memory. The dividends have the same basis.
    pub fn divide_each<const COUNT: usize>(
        self: &Arc<Self>,
        dividends: [Dividend; COUNT],
        kept: usize,
        galois_element: Option<u64>,
    ) -> [Poly; COUNT] {
        let basis = dividends[0].x.basis();
        for Dividend { x, .. } in dividends {
            assert!(x.basis() == basis && x.domain() == Domain::Eval);
        }
        let division = Division {
            basis,
            kept,
            addends: dividends.map(|dividend| dividend.addend),
            galois_element,
        };
        let divided = dividends.map(|dividend| dividend.x.limbs().skip(kept).collect());
        let quotients = Quotients::new(self, division, divided);
        let mut outs: [Poly; COUNT] = std::array::from_fn(|_| Poly::uninit(self, Basis::q(kept - 1), Domain::Eval));
        let group = limbs_per_group(self.limb_count(basis) - kept, 0).min(LIMBS_PER_GROUP);
        let tasks = outs.iter_mut().enumerate().flat_map(|(i, out)| {
            let groups = balanced_groups(out.limbs_mut().enumerate().collect(), group);
            groups.into_iter().map(move |group| (i, group))
        });
        tasks.collect::<Vec<_>>().into_par_iter().for_each(|(i, group)| {
            let mut rows = (!quotients.are_in_place()).then(|| Rows::take(self, group.len()));
            let (limbs, outs): (Vec<usize>, Vec<&mut [u64]>) = group.into_iter().unzip();
            let mut places = Place::of_limbs(&mut rows, outs);
            let rows = places.iter_mut().map(|place| &mut *place.row);
            quotients.start(i, limbs.iter().copied().zip(rows));
            for (limb, Place { row, out }) in limbs.into_iter().zip(&mut places) {
                let (table, x) = (self.table(limb), dividends[i].x.limb(limb));
                let lazily = table.lazy_bound().is_some();
                let with: Vec<&[u64]> = std::iter::once(x).chain(quotients.limb_to_fetch(i, limb)).collect();
                table.finish_forward(&mut [row], table.leaf(), lazily, &with, |row, columns| {
                    let x = &x[columns.clone()];
                    quotients.finish((i, limb), columns, x, row[0], out.as_deref_mut());
                });
            }
        });
        outs
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ring::{find_ntt_primes, uniform};
    use num_bigint::BigInt;

    const LOG_N: u32 = 6;

    pub(in crate::ring) fn ring() -> Arc<RingContext> {
        let p = find_ntt_primes(LOG_N + 1, 50, 2, &[]).unwrap();
        let q = find_ntt_primes(LOG_N + 1, 40, 5, &[]).unwrap();
        RingContext::new(LOG_N, &q, &p).unwrap()
    }

    /// Coefficients of `x` modulo the product of `primes`, in [0, product), with that product.
    pub(in crate::ring) fn integers(x: &Poly, primes: &[usize]) -> (Vec<BigInt>, BigInt) {
        let ring = x.ring();
        let mut x = x.clone();
        x.to_coeff();
        let product: BigInt = primes.iter().map(|&p| BigInt::from(ring.modulus(p).value())).product();
        let values = (0..ring.n()).map(|i| {
            let term = |&p: &usize| {
                let m = ring.modulus(p);
                let punctured = &product / m.value();
                let residue: u64 = (&punctured % m.value()).try_into().unwrap();
                punctured * m.mul(m.inv(residue), x.limb_of_prime(p)[i])
            };
            primes.iter().map(term).sum::<BigInt>() % &product
        });
        (values.collect(), product)
    }

    fn round_div(x: &BigInt, divisor: &BigInt) -> BigInt {
        (x + divisor / 2) / divisor
    }

    #[test]
    fn divisions_round_to_nearest() {
        let ring = ring();
        let x = uniform(&ring, Basis::qp(4, 2), Domain::Eval, &[2; 32]);
        let (values, _) = integers(&x, &ring.prime_indices(x.basis()));
        let p: BigInt = ring.prime_indices(x.basis())[5..]
            .iter()
            .map(|&i| BigInt::from(ring.modulus(i).value()))
            .product();
        let last = BigInt::from(ring.modulus(4).value());
        let check = |result: &Poly, divisor: &BigInt, values: &[BigInt]| {
            let (found, modulus) = integers(result, &ring.prime_indices(result.basis()));
            for (value, found) in values.iter().zip(found) {
                assert_eq!(round_div(value, divisor) % &modulus, found);
            }
        };
        check(&ring.mod_down(&x), &p, &values);
        assert!(ring.mod_down_then_automorphism(&x, None, 5) == ring.mod_down(&x).automorphism(5));
        let addend = uniform(&ring, Basis::q(4), Domain::Eval, &[3; 32]);
        let sum = ring.mod_down(&x).sum(&addend);
        assert!(ring.mod_down_and_add(&x, &addend) == sum);
        assert!(ring.mod_down_then_automorphism(&x, Some(&addend), 5) == sum.automorphism(5));
        let mut raised = x.clone();
        let special: Vec<u64> = (0..5)
            .map(|limb| (&p % ring.modulus(limb).value()).try_into().unwrap())
            .collect();
        raised.add_mul_constants(&addend, &special);
        for kept in 3..=5 {
            assert!(ring.add_and_divide_down_to(&x, &addend, kept) == ring.divide_down_to(&raised, kept));
        }
        check(&ring.mod_down_and_rescale(&x), &(&p * &last), &values);
        let two = &last * ring.modulus(3).value();
        check(&ring.divide_down_to(&x, 3), &(&p * &two), &values);
        let y = x.restricted(Basis::q(4));
        let (values, _) = integers(&y, &ring.prime_indices(y.basis()));
        check(&ring.rescale(&y), &last, &values);
        check(&ring.divide_down_to(&y, 3), &two, &values);
        // ciphertext primes among the special ones; an addend may have them as its own
        let x = uniform(&ring, Basis::qp(2, 4), Domain::Eval, &[4; 32]);
        let (values, _) = integers(&x, &ring.prime_indices(x.basis()));
        let p = &p * &two;
        check(&ring.mod_down(&x), &p, &values);
        assert!(ring.mod_down_and_add(&x, &addend) == ring.mod_down(&x).sum(&addend.restricted(Basis::q(2))));
        check(&ring.mod_down_and_rescale(&x), &(&p * ring.modulus(2).value()), &values);
    }
}
