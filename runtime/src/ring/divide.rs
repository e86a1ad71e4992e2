//! Dividing the modulus away: by the special primes (mod_down), by the last ciphertext prime (rescale), by both at once.
//!
//! All are one operation: with `D` the product of the divided primes and `[x]_D` centred, `round(x / D) = (x - [x]_D) / D`,
//! exact up to the tie rule of [`super::BaseConverter`] (error at most 1/2 + 2^-40).
//! Source: Cheon, Han, Kim, Kim, Song, "A full RNS variant of approximate homomorphic encryption", SAC 2018; centred remainder
//!         as in Halevi, Polyakov, Shoup 2019, section 2.3.
//! Cost:   one inverse transform per divided limb; one conversion, one forward transform and one pass per kept limb.

use std::sync::Arc;

use rayon::prelude::*;

use super::convert::limbs_per_group;
use super::rows::{Rows, balanced_groups, convert_and_start, scale, scaling_tasks};
use super::{AutomorphismTable, Basis, Domain, Modulus, Poly, RingContext, kernels};

impl RingContext {
    /// Divides a polynomial over `q_0..q_l` and the special primes by `P`, with rounding. Evaluation form in and out.
    pub fn mod_down(self: &Arc<Self>, x: &Poly) -> Poly {
        assert!(x.basis().special);
        self.divide_by_last(x, x.basis().q_limbs, None, None)
    }

    /// [`Self::mod_down`] plus `addend` (over `q_0..q_l` at least), in one pass.
    pub fn mod_down_and_add(self: &Arc<Self>, x: &Poly, addend: &Poly) -> Poly {
        assert!(x.basis().special);
        self.divide_by_last(x, x.basis().q_limbs, Some(addend), None)
    }

    /// [`Self::mod_down`] plus `addend` if there is one, then `X -> X^galois_element`, with the permutation on the way to memory.
    pub fn mod_down_then_automorphism(self: &Arc<Self>, x: &Poly, addend: Option<&Poly>, galois_element: u64) -> Poly {
        assert!(x.basis().special);
        let table = self.automorphism(galois_element);
        self.divide_by_last(x, x.basis().q_limbs, addend, Some(&table))
    }

    /// Divides a polynomial over `q_0..q_l` (l >= 1) by `q_l`, with rounding. Evaluation form in and out.
    pub fn rescale(self: &Arc<Self>, x: &Poly) -> Poly {
        assert!(!x.basis().special);
        self.divide_by_last(x, x.basis().level(), None, None)
    }

    /// [`Self::mod_down`] then [`Self::rescale`] in one division by `P * q_l`.
    pub fn mod_down_and_rescale(self: &Arc<Self>, x: &Poly) -> Poly {
        assert!(x.basis().special);
        self.divide_by_last(x, x.basis().level(), None, None)
    }

    /// Divides by `q_kept, ..., q_l` and, where `x` has them, the special primes, in one division.
    pub fn divide_down_to(self: &Arc<Self>, x: &Poly, kept: usize) -> Poly {
        assert!(kept <= x.basis().q_limbs && kept < x.limb_count());
        self.divide_by_last(x, kept, None, None)
    }

    /// `(x + P * addend) / (P * q_kept * ... * q_l)`, rounded: [`Self::mod_down_and_add`] and [`Self::divide_down_to`] in one.
    pub fn add_and_divide_down_to(self: &Arc<Self>, x: &Poly, addend: &Poly, kept: usize) -> Poly {
        assert!(x.basis().special && kept <= x.basis().q_limbs);
        self.divide_by_last(x, kept, Some(addend), None)
    }

    /// Divides x, plus `P * addend` where there is one, by the product of all limbs from `kept` on.
    fn divide_by_last(
        self: &Arc<Self>,
        x: &Poly,
        kept: usize,
        addend: Option<&Poly>,
        table: Option<&AutomorphismTable>,
    ) -> Poly {
        assert!(x.domain() == Domain::Eval && addend.is_none_or(|addend| addend.domain() == Domain::Eval));
        assert!(kept > 0, "the last ciphertext prime cannot be divided away");
        let primes = self.prime_indices(x.basis());
        let (targets, sources) = primes.split_at(kept);
        let converter = self.converter(sources, targets);
        let special_modulus = |m: &Modulus| {
            let special = self.special_primes().map(|prime| self.modulus(prime).value());
            special.fold(1, |product, p| m.mul(product, m.reduce(p)))
        };
        let part = self.part();
        let mut scaled = Rows::take(self, sources.len() + 1);
        let mut rows: Vec<&mut [u64]> = scaled.iter_mut().collect();
        rows[..sources.len()]
            .par_iter_mut()
            .enumerate()
            .for_each(|(i, values)| {
                let table = self.table(sources[i]);
                values.copy_from_slice(x.limb(kept + i));
                // the special primes divide P
                if let Some(addend) = addend.filter(|_| sources[i] < self.q_count()) {
                    let m = table.modulus();
                    let special = m.shoup(special_modulus(m));
                    kernels::add_mul_shoup(self.backend(), m, values, addend.limb_of_prime(sources[i]), special);
                }
                table.inverse(values);
            });
        let tasks = scaling_tasks(rows.into_iter());
        tasks.into_par_iter().for_each(|columns| scale(&converter, columns));
        let rows: Vec<&[u64]> = scaled.iter().collect();

        let finish = |limbs: &mut [(usize, &mut [u64])]| {
            let mut outs: Vec<_> = limbs
                .iter_mut()
                .map(|(limb, values)| (*limb, *limb, &mut **values))
                .collect();
            convert_and_start(self, &converter, &rows, &mut outs);
            for (limb, values) in limbs {
                let (table, inverse) = (self.table(*limb), converter.product_inverse(*limb));
                let m = table.modulus();
                let addend = addend.map(|addend| {
                    let weight = m.mul(special_modulus(m), inverse.value);
                    (addend.limb_of_prime(*limb), m.shoup(weight))
                });
                for (number, values) in values.chunks_exact_mut(part).enumerate() {
                    let place = number * part..(number + 1) * part;
                    table.forward_below(number, values);
                    let x = &x.limb(*limb)[place.clone()];
                    match addend {
                        None => kernels::sub_from_then_mul_shoup(self.backend(), m, values, x, inverse),
                        Some((addend, weight)) => {
                            let addend = &addend[place];
                            kernels::sub_from_then_mul_add_shoup(self.backend(), m, values, x, inverse, addend, weight);
                        }
                    }
                }
            }
        };
        let basis = Basis {
            q_limbs: kept,
            special: false,
        };
        let mut out = Poly::uninit(self, basis, Domain::Eval);
        let group = limbs_per_group(sources.len());
        let groups = balanced_groups(out.limbs_mut().enumerate().collect(), group);
        groups
            .into_par_iter()
            .for_each(|mut limbs: Vec<(usize, &mut [u64])>| match table {
                None => finish(&mut limbs),
                Some(table) => {
                    let mut scratch = Rows::take(self, limbs.len());
                    let indices = limbs.iter().map(|&(limb, _)| limb);
                    finish(&mut indices.zip(scratch.iter_mut()).collect::<Vec<_>>());
                    for ((_, out), values) in limbs.iter_mut().zip(scratch.iter()) {
                        kernels::permute(self.backend(), out, values, table);
                    }
                }
            });
        out
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
        let x = uniform(&ring, Basis::qp(4), Domain::Eval, &[2; 32]);
        let (values, _) = integers(&x, &ring.prime_indices(x.basis()));
        let p: BigInt = ring
            .special_primes()
            .map(|i| BigInt::from(ring.modulus(i).value()))
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
    }
}
