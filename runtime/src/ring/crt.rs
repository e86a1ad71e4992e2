//! From residues back to real numbers: centred coefficients as doubles.
//!
//! Source: Garner's mixed-radix form, Knuth, The Art of Computer Programming, volume 2, section 4.3.2.

use rayon::prelude::*;

use super::{Domain, Modulus, Poly, ShoupFactor};

impl Poly {
    /// The coefficients as integers in `(-Q/2, Q/2)`, rounded to doubles (relative error below 2^-50); coefficient form.
    /// Costs O(limbs^2) per coefficient: drop limbs first when the value is known to be small.
    pub fn to_centered_f64(&self) -> Vec<f64> {
        assert_eq!(self.domain(), Domain::Coeff);
        let moduli: Vec<Modulus> = (0..self.limb_count()).map(|limb| *self.modulus(limb)).collect();
        let inverses = MixedRadix::new(&moduli);
        let mut out = vec![0.0; self.ring().n()];
        out.par_chunks_mut(1024).enumerate().for_each(|(chunk, out)| {
            let mut digits = vec![0; moduli.len()];
            for (i, value) in out.iter_mut().enumerate() {
                for (digit, limb) in digits.iter_mut().zip(self.limbs()) {
                    *digit = limb[chunk * 1024 + i];
                }
                *value = inverses.centered(&mut digits);
            }
        });
        out
    }
}

/// Constants of the mixed-radix form `x = d_0 + d_1 q_0 + d_2 q_0 q_1 + ...` with `0 <= d_i < q_i`.
struct MixedRadix<'a> {
    moduli: &'a [Modulus],
    /// `inverse[i][j] = q_j^-1 mod q_i` for j < i.
    inverses: Vec<Vec<ShoupFactor>>,
}

impl<'a> MixedRadix<'a> {
    fn new(moduli: &'a [Modulus]) -> Self {
        let row = |(i, m): (usize, &Modulus)| {
            moduli[..i]
                .iter()
                .map(|other| m.shoup(m.inv(m.reduce(other.value()))))
                .collect()
        };
        Self {
            moduli,
            inverses: moduli.iter().enumerate().map(row).collect(),
        }
    }

    /// Requires: one residue per modulus, reduced. Overwrites them.
    fn centered(&self, residues: &mut [u64]) -> f64 {
        for i in 1..residues.len() {
            let m = &self.moduli[i];
            for j in 0..i {
                let difference = m.sub(residues[i], m.reduce(residues[j]));
                residues[i] = m.mul_shoup(difference, self.inverses[i][j]);
            }
        }
        // Q is odd and (Q-1)/2 has the digits (q_i - 1)/2, so x > Q/2 is a comparison from the top digit down. Then Q - 1 - x
        // has the digits q_i - 1 - d_i, all of one sign: no cancellation in the sum.
        let negative = (0..residues.len())
            .rev()
            .map(|i| residues[i].cmp(&(self.moduli[i].value() / 2)))
            .find(|order| order.is_ne())
            .is_some_and(|order| order.is_gt());
        let digits = residues.iter().zip(self.moduli).rev();
        let magnitude = digits.fold(0.0, |acc, (&digit, m)| {
            let digit = if negative { m.value() - 1 - digit } else { digit };
            acc * m.value() as f64 + digit as f64
        });
        if negative { -(magnitude + 1.0) } else { magnitude }
    }
}

#[cfg(test)]
mod tests {
    use crate::ring::{Basis, Poly, RingContext, find_ntt_primes};

    #[test]
    fn small_and_large_integers_come_back() {
        let primes = find_ntt_primes(7, 50, 3, &[]).unwrap();
        let ring = RingContext::new(6, &primes, &[]).unwrap();
        let mut integers = vec![0i128; 64];
        for (i, x) in integers.iter_mut().enumerate() {
            *x = (1i128 << (2 * i).min(120)) + i as i128;
            if i % 2 == 1 {
                *x = -*x;
            }
        }
        integers[0] = 0;
        integers[1] = -1;
        let poly = Poly::from_signed_wide(&ring, Basis::q(2), &integers);
        for (value, &x) in poly.to_centered_f64().iter().zip(&integers) {
            let expected = x as f64;
            assert!(
                (value - expected).abs() <= expected.abs() * 2f64.powi(-50),
                "{value} {expected}"
            );
        }
        let one_limb = Poly::from_signed(&ring, Basis::q(0), &(0..64).map(|i| i - 32).collect::<Vec<_>>());
        assert_eq!(
            one_limb.to_centered_f64(),
            (0..64).map(|i| f64::from(i - 32)).collect::<Vec<_>>()
        );
    }
}
