//! Key-switching keys: hybrid, with digits of consecutive primes and a special modulus P.
//!
//! A key at level l from secret f to secret t holds, for each digit d, `b_d = -a_d t + e_d + P T_d f` over q_0..q_l and
//! the special primes of that level, where P is the product of all special primes of the level's band and T_d is 1 modulo the digit's
//! primes and 0 modulo the others. Special primes of a low band are ciphertext primes, too, those above it: the modulus of a key divides
//! that of the whole chain. It serves every level of its band up to l, because a lower level merely leaves out limbs, of special
//! primes too: the digits make up for those (see [`RingContext::decompose`](crate::ring::RingContext::decompose)). The a_d are uniform and given by a seed: they are made as they are used (see
//! [`SeededPoly`]), unless they are kept because there is room.
//!
//! Source: Han, Ki, "Better Bootstrapping for Approximate Homomorphic Encryption", CT-RSA 2020, section 3.

use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::secret::{SecretKey, SecretPoly, encryption_of_zero};
use crate::ckks::params::Parameters;
use crate::error::Result;
use crate::ring::{
    AlignedBuffer, Descent, Domain, KeyDigit, Mask, Poly, SecretRng, SeededPoly, Turn, products_with_keys,
    turned_products_with_keys,
};

/// A key that switches from one secret to another, at any level of its band up to its own.
pub struct KeySwitchKey {
    pub(crate) seed: [u8; 32],
    pub(crate) level: usize,
    /// b_d by digit.
    pub(crate) bodies: Vec<Poly>,
    /// a_d by digit, if they are kept.
    masks: OnceLock<Vec<Poly>>,
}

impl KeySwitchKey {
    /// The highest level it serves; the lowest is that of its band ([`Parameters::key_bands`]).
    #[must_use]
    pub fn level(&self) -> usize {
        self.level
    }

    /// A key of these bodies, whose masks come from `seed`.
    pub(crate) fn new(seed: [u8; 32], level: usize, bodies: Vec<Poly>) -> Self {
        Self {
            seed,
            level,
            bodies,
            masks: OnceLock::new(),
        }
    }

    /// Bytes of its polynomials in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let masks = self.masks.get().into_iter().flatten();
        self.bodies
            .iter()
            .chain(masks)
            .map(|poly| size_of_val(poly.data()))
            .sum()
    }

    /// Bytes that the masks take more if they are kept.
    #[must_use]
    pub fn mask_bytes(&self) -> usize {
        match self.masks.get() {
            None => self.bodies.iter().map(|body| size_of_val(body.data())).sum(),
            Some(_) => 0,
        }
    }

    /// From now on keeps the masks in memory, which makes every use faster.
    pub fn keep_masks(&self) {
        self.masks.get_or_init(|| {
            let mask = |(digit, body): (usize, &Poly)| {
                digit_mask(&self.seed, digit).expand(body.ring(), body.basis(), Domain::Eval)
            };
            self.bodies.iter().enumerate().map(mask).collect()
        });
    }

    /// Those of them that are the bytes of a file, which the system reads when they are used and may drop.
    #[must_use]
    pub fn mapped_bytes(&self) -> usize {
        let mapped = self.buffers().filter(|buffer| buffer.is_file());
        mapped.map(|buffer| size_of_val(&buffer[..])).sum()
    }

    /// Returns what [`KeySwitchKey::mapped_bytes`] counts to the system until it is used again.
    pub fn release_pages(&self) {
        self.buffers().for_each(AlignedBuffer::release_pages);
    }

    fn buffers(&self) -> impl Iterator<Item = &AlignedBuffer> {
        self.bodies.iter().filter_map(Poly::buffer)
    }

    /// [`KeySwitchKey::memory_bytes`] of a key with this many digits over this many primes, ciphertext and special ones.
    #[must_use]
    pub const fn memory_bytes_of(digits: usize, primes: usize, log_n: u32) -> usize {
        (digits * primes * size_of::<u64>()) << log_n
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
        // each digit its own source, so that what is drawn does not depend on threads
        let mut sources: Vec<SecretRng> = (0..params.digits(level)).map(|_| rng.fork()).collect();
        let body = |(digit, rng): (usize, &mut SecretRng)| {
            let mask = digit_mask(&seed, digit);
            let mut body = encryption_of_zero(params, params.raised_basis(level), &mask, to, rng);
            for limb in params.digit(digit, level) {
                let modulus = *body.modulus(limb);
                let special = params.ring().special_modulus(params.gadget(level).key_p_limbs, limb);
                for (value, secret) in body.limb_mut(limb).iter_mut().zip(from.limb(limb)) {
                    *value = modulus.mul_add(special, *secret, *value);
                }
            }
            body
        };
        let bodies = sources.par_iter_mut().enumerate().map(body).collect();
        Ok(Self::new(seed, level, bodies))
    }

    /// `sum_d digit_d * (b_d, a_d)` over the primes of the digits, for each of several keys: the
    /// digits are read from memory once.
    pub(crate) fn products(keys: &[&Self], digits: &[Poly]) -> Vec<[Poly; 2]> {
        let keys: Vec<Vec<KeyDigit>> = keys.iter().map(|key| key.digits().collect()).collect();
        products_with_keys(digits, &keys)
    }

    /// [`KeySwitchKey::products`], each turned.
    pub(crate) fn turned_products(keys: &[&Self], digits: &[Poly], turns: &[Turn]) -> Vec<[Poly; 2]> {
        let keys: Vec<Vec<KeyDigit>> = keys.iter().map(|key| key.digits().collect()).collect();
        turned_products_with_keys(digits, &keys, turns)
    }

    /// As [`KeySwitchKey::products`] of one key for the digits of `c`, which are never all in memory, divided by the special primes
    /// and those that are not kept.
    pub(crate) fn switch(&self, params: &Parameters, c: &Poly, descent: Descent) -> [Poly; 2] {
        let key: Vec<KeyDigit> = self.digits().collect();
        params.ring().switch(c, params.gadget(c.basis().level()), &key, descent)
    }

    /// As [`KeySwitchKey::products`] of one key for the digits of `c`, which are never all in memory, turned and added to `onto` if
    /// there is one.
    pub(crate) fn turned_product_with_digits_of(
        &self,
        params: &Parameters,
        c: &Poly,
        turn: &Turn,
        onto: Option<[Poly; 2]>,
    ) -> [Poly; 2] {
        let key: Vec<KeyDigit> = self.digits().collect();
        let ring = params.ring();
        ring.turned_key_products(c, params.gadget(c.basis().level()), &key, turn, onto)
    }

    /// What each digit is multiplied with.
    pub(crate) fn digits(&self) -> impl Iterator<Item = KeyDigit<'_>> {
        let masks = self.masks.get();
        self.bodies.iter().enumerate().map(move |(digit, body)| KeyDigit {
            body,
            mask: match masks {
                Some(masks) => Mask::Resident(&masks[digit]),
                None => Mask::Seeded(digit_mask(&self.seed, digit)),
            },
        })
    }
}

/// The a_d of a key of this seed. Each digit has a seed of its own.
pub(super) fn digit_mask(seed: &[u8; 32], digit: usize) -> SeededPoly {
    SeededPoly::new(blake3::keyed_hash(seed, &(digit as u64).to_le_bytes()).into())
}

impl SecretKey {
    /// The key that relinearises at levels of a band up to `level`: from s^2 to s.
    ///
    /// # Errors
    /// [`crate::error::Error::LevelTooHigh`].
    pub fn relin_key(&self, level: usize, rng: &mut SecretRng) -> Result<KeySwitchKey> {
        let square = SecretPoly::new(Poly::inner_product(self.poly.basis(), &[&*self.poly], &[&self.poly]));
        KeySwitchKey::generate(&self.params, &square, &self.poly, level, rng)
    }

    /// The key for the automorphism X -> X^`element` at levels of a band up to `level`.
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
