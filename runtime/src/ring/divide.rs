//! Raising and lowering the modulus: digit decomposition (mod_up), division by the special primes (mod_down), by the last
//! prime (rescale), and by both at once.
//!
//! All divisions are one operation: with `D` the product of the divided primes and `[x]_D` centred,
//! `round(x / D) = (x - [x]_D) / D`, exact up to the tie rule of [`super::BaseConverter`] (error at most 1/2 + 2^-40).
//! Source: Cheon, Han, Kim, Kim, Song, "A full RNS variant of approximate homomorphic encryption", SAC 2018; Han and Ki,
//! "Better bootstrapping for approximate homomorphic encryption", CT-RSA 2020 (digits).

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::{Basis, Domain, Poly, RingContext, kernels};

impl RingContext {
    /// Splits a polynomial in evaluation form over `q_0..q_l` into digits of `digit_limbs` consecutive primes and raises each
    /// to `q_0..q_l` and all special primes. Digit d is the centred representative modulo its own primes
    /// `digit_limbs * d ..`; the last digit may be shorter. Evaluation form in and out.
    pub fn decompose(self: &Arc<Self>, x: &Poly, digit_limbs: usize) -> Vec<Poly> {
        assert_eq!(x.domain(), Domain::Eval);
        assert!(!x.basis().special && digit_limbs > 0);
        let mut coefficients = x.clone();
        coefficients.to_coeff();
        let limbs = x.basis().q_limbs;
        let digit = |start: usize| self.mod_up(x, &coefficients, start..(start + digit_limbs).min(limbs));
        (0..limbs).step_by(digit_limbs).map(digit).collect()
    }

    /// Raises the limbs `digit` of a polynomial over `q_0..q_l` (given in both forms) to `q_0..q_l` and all special primes.
    pub fn mod_up(self: &Arc<Self>, evaluations: &Poly, coefficients: &Poly, digit: Range<usize>) -> Poly {
        assert_eq!(
            (evaluations.domain(), coefficients.domain()),
            (Domain::Eval, Domain::Coeff)
        );
        assert_eq!(evaluations.basis(), coefficients.basis());
        let basis = Basis {
            special: true,
            ..evaluations.basis()
        };
        let source: Vec<usize> = digit.clone().collect();
        let target: Vec<usize> = self
            .prime_indices(basis)
            .into_iter()
            .filter(|prime| !digit.contains(prime))
            .collect();
        let limbs: Vec<&[u64]> = digit.clone().map(|limb| coefficients.limb(limb)).collect();
        let mut out = Poly::uninit(self, basis, Domain::Eval);
        let others = out
            .limbs_mut()
            .enumerate()
            .filter(|(limb, _)| !digit.contains(limb))
            .map(|(_, values)| values);
        self.converter(&source, &target).convert(&limbs, others.collect());
        out.each_limb(|limb, table, values| {
            if digit.contains(&limb) {
                values.copy_from_slice(evaluations.limb(limb));
            } else {
                table.forward(values);
            }
        });
        out
    }

    /// Divides a polynomial over `q_0..q_l` and the special primes by `P`, with rounding. Evaluation form in and out.
    pub fn mod_down(self: &Arc<Self>, x: &Poly) -> Poly {
        assert!(x.basis().special);
        self.divide_by_last(x, x.basis().q_limbs)
    }

    /// Divides a polynomial over `q_0..q_l` (l >= 1) by `q_l`, with rounding. Evaluation form in and out.
    pub fn rescale(self: &Arc<Self>, x: &Poly) -> Poly {
        assert!(!x.basis().special);
        self.divide_by_last(x, x.basis().level())
    }

    /// [`Self::mod_down`] then [`Self::rescale`] in one division by `P * q_l`.
    pub fn mod_down_and_rescale(self: &Arc<Self>, x: &Poly) -> Poly {
        assert!(x.basis().special);
        self.divide_by_last(x, x.basis().level())
    }

    /// Divides by the product of all limbs from `kept` on.
    fn divide_by_last(self: &Arc<Self>, x: &Poly, kept: usize) -> Poly {
        assert_eq!(x.domain(), Domain::Eval);
        assert!(kept > 0, "the last ciphertext prime cannot be divided away");
        let n = self.n();
        let primes = self.prime_indices(x.basis());
        let (target, source) = primes.split_at(kept);
        let converter = self.converter(source, target);
        let mut divided = self.pool().take(source.len() * n);
        divided.par_chunks_exact_mut(n).enumerate().for_each(|(i, values)| {
            values.copy_from_slice(x.limb(kept + i));
            self.table(source[i]).inverse(values);
        });
        let mut out = Poly::uninit(
            self,
            Basis {
                q_limbs: kept,
                special: false,
            },
            Domain::Eval,
        );
        converter.convert(&divided.chunks_exact(n).collect::<Vec<_>>(), out.limbs_mut().collect());
        self.pool().give(divided);
        out.each_limb(|limb, table, values| {
            table.forward(values);
            let inverse = converter.product_inverse(limb);
            kernels::sub_from_then_mul_shoup(self.backend(), table.modulus(), values, x.limb(limb), inverse);
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{find_ntt_primes, uniform};
    use num_bigint::BigInt;

    const LOG_N: u32 = 6;

    fn ring() -> Arc<RingContext> {
        let p = find_ntt_primes(LOG_N + 1, 50, 2, &[]).unwrap();
        let q = find_ntt_primes(LOG_N + 1, 40, 5, &[]).unwrap();
        RingContext::new(LOG_N, &q, &p).unwrap()
    }

    /// Coefficients of `x` modulo the product of `primes`, in [0, product), with that product.
    fn integers(x: &Poly, primes: &[usize]) -> (Vec<BigInt>, BigInt) {
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
    fn digits_are_centred_and_congruent() {
        let ring = ring();
        let x = uniform(&ring, Basis::q(4), Domain::Eval, &[1; 32]);
        let digits = ring.decompose(&x, 2);
        assert_eq!(digits.len(), 3);
        for (d, digit) in digits.iter().enumerate() {
            let own: Vec<usize> = (2 * d..(2 * d + 2).min(5)).collect();
            let (low, product) = integers(&x, &own);
            let (raised, full) = integers(digit, &ring.prime_indices(Basis::qp(4)));
            for (low, raised) in low.into_iter().zip(raised) {
                let centred = if &low * 2 >= product { low - &product } else { low };
                let raised = if &raised * 2 >= full { raised - &full } else { raised };
                assert_eq!(centred, raised);
            }
        }
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
        check(&ring.mod_down_and_rescale(&x), &(&p * &last), &values);
        let y = x.restricted(Basis::q(4));
        let (values, _) = integers(&y, &ring.prime_indices(y.basis()));
        check(&ring.rescale(&y), &last, &values);
    }
}
