//! Key-switching keys: hybrid, with digits of consecutive primes and a special modulus P.
//!
//! A key at level l from secret f to secret t holds, for each digit d, `b_d = -a_d t + e_d + P T_d f` over q_0..q_l and
//! the special primes, where T_d is 1 modulo the digit's primes and 0 modulo the others. It serves every level up to l,
//! because a lower level merely leaves out limbs. The a_d are expanded from a seed.
//!
//! Source: Han, Ki, "Better Bootstrapping for Approximate Homomorphic Encryption", CT-RSA 2020, section 3.

use std::sync::Arc;

use rayon::prelude::*;

use super::encrypt::expand;
use super::secret::{SecretKey, SecretPoly, mask};
use crate::ckks::params::Parameters;
use crate::error::Result;
use crate::ring::{Basis, Poly, SecretRng, products_with_keys};

/// A key that switches from one secret to another, at any level up to its own.
pub struct KeySwitchKey {
    pub(crate) seed: [u8; 32],
    pub(crate) level: usize,
    /// b_d by digit.
    pub(crate) bodies: Vec<Poly>,
    /// a_d by digit.
    pub(crate) masks: Vec<Poly>,
}

impl KeySwitchKey {
    /// The highest level it serves.
    #[must_use]
    pub fn level(&self) -> usize {
        self.level
    }

    /// Bytes of its polynomials in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bodies
            .iter()
            .chain(&self.masks)
            .map(|poly| size_of_val(poly.data()))
            .sum()
    }

    /// A key from `from` to `to`, both in evaluation form over all primes.
    pub(crate) fn generate(
        params: &Arc<Parameters>,
        from: &Poly,
        to: &Poly,
        level: usize,
        rng: &mut SecretRng,
    ) -> Result<Self> {
        params.check_level("a key-switching key", level)?;
        let seed = rng.public_seed();
        let masks = expand_masks(params, level, &seed);
        let bodies = masks
            .iter()
            .enumerate()
            .map(|(digit, a)| {
                let mut body = mask(params, a, to, rng);
                for limb in params.digit(digit, level) {
                    let modulus = *body.modulus(limb);
                    let special = special_modulus(params, limb);
                    for (value, secret) in body.limb_mut(limb).iter_mut().zip(from.limb(limb)) {
                        *value = modulus.mul_add(special, *secret, *value);
                    }
                }
                body
            })
            .collect();
        Ok(Self {
            seed,
            level,
            bodies,
            masks,
        })
    }

    /// `sum_d digit_d * (b_d, a_d)` over q_0..q_l and the special primes, l the level of the digits.
    pub(crate) fn product(&self, digits: &[Poly]) -> [Poly; 2] {
        let digits: Vec<&Poly> = digits.iter().collect();
        Poly::inner_products(digits[0].basis(), &digits, &self.pairs(digits.len()))
    }

    /// [`KeySwitchKey::product`] for each of several keys, which read the digits from memory once.
    pub(crate) fn products(keys: &[&Self], digits: &[Poly]) -> Vec<[Poly; 2]> {
        let keys: Vec<_> = keys.iter().map(|key| key.pairs(digits.len())).collect();
        products_with_keys(digits, &keys)
    }

    /// As [`KeySwitchKey::product`] for the digits of `c`, which are never all in memory.
    pub(crate) fn product_with_digits_of(&self, params: &Parameters, c: &Poly) -> [Poly; 2] {
        let key = self.pairs(params.digits(c.basis().level()));
        params.ring().key_products(c, params.digit_primes(), &key)
    }

    fn pairs(&self, digits: usize) -> Vec<[&Poly; 2]> {
        self.bodies
            .iter()
            .zip(&self.masks)
            .take(digits)
            .map(|(body, mask)| [body, mask])
            .collect()
    }
}

/// The a_d of a key of this level and seed. Each digit has a seed of its own.
pub(crate) fn expand_masks(params: &Arc<Parameters>, level: usize, seed: &[u8; 32]) -> Vec<Poly> {
    (0..params.digits(level) as u64)
        .into_par_iter()
        .map(|digit| {
            let digit_seed = blake3::keyed_hash(seed, &digit.to_le_bytes());
            expand(params, Basis::qp(level), digit_seed.as_bytes())
        })
        .collect()
}

/// P modulo a ciphertext prime.
pub(crate) fn special_modulus(params: &Parameters, prime: usize) -> u64 {
    let modulus = params.ring().modulus(prime);
    params
        .p()
        .iter()
        .fold(1, |product, p| modulus.mul(product, modulus.reduce(*p)))
}

impl SecretKey {
    /// The key that relinearises at levels up to `level`: from s^2 to s.
    ///
    /// # Errors
    /// [`crate::error::Error::LevelTooHigh`].
    pub fn relin_key(&self, level: usize, rng: &mut SecretRng) -> Result<KeySwitchKey> {
        let square = SecretPoly::new(Poly::inner_product(self.poly.basis(), &[&*self.poly], &[&self.poly]));
        KeySwitchKey::generate(&self.params, &square, &self.poly, level, rng)
    }

    /// The key for the automorphism X -> X^`element` at levels up to `level`.
    ///
    /// It switches from s to the image of s under the inverse automorphism; applying the automorphism afterwards
    /// returns to s. So the digits of a hoisted decomposition are never permuted, only results are.
    ///
    /// # Errors
    /// [`crate::error::Error::LevelTooHigh`].
    pub fn galois_key(&self, element: u64, level: usize, rng: &mut SecretRng) -> Result<KeySwitchKey> {
        let image = SecretPoly::new(self.poly.automorphism(self.params.inverse_element(element)));
        KeySwitchKey::generate(&self.params, &self.poly, &image, level, rng)
    }
}
