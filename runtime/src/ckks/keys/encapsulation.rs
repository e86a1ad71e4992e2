//! Sparse-secret encapsulation: the keys to an ephemeral sparse secret at q_0, where nothing larger is ever encrypted under
//! it, and back to the dense one.
//!
//! Assumes the dense secret s. Ensures that the sparse secret s' only ever meets the modulus q_0 p_0, whose security for its
//! Hamming weight is checked from the table ([`encapsulation_literal`]); the ephemeral secret is forgotten as soon as the
//! keys are made. Towards the sparse secret a key has one digit, since q_0 is one prime; back, a raised polynomial is
//! below q_0, so that one digit does, with a P of the few special primes that exceed q_0.
//!
//! The way back may rotate: the key for a rotation r is `-a s + e + P r(s')`, so that its products with the rotated second part
//! of a raised ciphertext, and P times the rotated first part, are the rotation of that ciphertext times P. Since the one digit
//! of a rotated polynomial is the rotated digit, each such rotation costs one product. These keys encrypt images of s'
//! under s, at a modulus that divides QP: they are as secure as all other keys of s at QP, the images taking the place of those of s
//! in rotation keys.
//! Source: Bossuat, Troncoso-Pastoriza, Hubaux, ACNS 2022, section 3; ours: the rotations.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use zeroize::Zeroizing;

use super::evaluation::EncapsulationRequest;
use super::secret::{SecretKey, SecretPoly, encryption_of_zero};
use super::switch::{KeySwitchKey, digit_mask};
use crate::ckks::params::{Parameters, ParametersLiteral, SecretDistribution};
use crate::error::{Error, Result};
use crate::ring::{Basis, Descent, Domain, Poly, SecretRng, nearest_prime};

/// log2 of how far the special prime should exceed q_0.
const SPECIAL_MARGIN: f64 = 4.0;
/// log2 of how far the special primes for the way back should exceed q_0: the key's noise is then nothing beside the rounding.
pub(crate) const RAISED_MARGIN: f64 = 10.0;
/// log2 of the largest special prime to choose.
const MAX_LOG_SPECIAL: f64 = 49.99;

/// The parameters a sparse ephemeral secret lives under: q_0 and one special prime.
///
/// # Errors
/// [`crate::error::Error::Ring`] when the ring has no such prime.
pub fn encapsulation_literal(params: &Parameters, hamming_weight: usize) -> Result<ParametersLiteral> {
    let literal = params.literal();
    let q_0 = literal.q[0];
    let log_special = log_special((q_0 as f64).log2());
    Ok(ParametersLiteral {
        log_n: literal.log_n,
        q: vec![q_0],
        p: vec![nearest_prime(log_special.exp2(), literal.log_n + 1, &[q_0])?],
        dnum: 1,
        log_scale: (q_0 as f64).log2() - 1.0,
        scale_resets: Vec::new(),
        secret: SecretDistribution::SparseTernary { hamming_weight },
        security: literal.security,
    })
}

/// log2 of the special prime that goes with a q_0 of `log_q0` bits.
pub(crate) fn log_special(log_q0: f64) -> f64 {
    (log_q0 + SPECIAL_MARGIN).min(MAX_LOG_SPECIAL)
}

/// The switching keys between the dense secret and an ephemeral sparse one.
#[derive(Clone)]
pub struct EncapsulationKeys {
    /// Parameters of the sparse secret.
    pub(crate) sparse: Arc<Parameters>,
    /// From the dense secret to the sparse one, modulo q_0 p_0.
    pub(crate) to_sparse: Arc<KeySwitchKey>,
    /// By rotation (slots to the left), from the sparse secret to the dense one with that rotation: of one digit, over q_0..q_level
    /// and special primes.
    pub(crate) to_dense: BTreeMap<usize, Arc<KeySwitchKey>>,
}

impl EncapsulationKeys {
    /// Hamming weight of the ephemeral secret.
    #[must_use]
    pub fn hamming_weight(&self) -> usize {
        self.sparse.literal().secret.hamming_weight(self.sparse.n())
    }

    /// The level ciphertexts are raised to, at most; `None` without a key for that.
    #[must_use]
    pub fn level(&self) -> Option<usize> {
        self.to_dense.get(&0).map(|key| key.level())
    }

    /// What tells the ephemeral secret from others.
    #[must_use]
    pub fn identity(&self) -> &[u8; 32] {
        &self.to_sparse.seed
    }

    /// The key back with a rotation, usable at `level`.
    ///
    /// # Errors
    /// [`Error::MissingRaisedRotationKey`], [`Error::KeyLevelTooLow`].
    pub fn to_dense(&self, step: usize, level: usize) -> Result<&Arc<KeySwitchKey>> {
        match self.to_dense.get(&step) {
            Some(key) if key.level() >= level => Ok(key),
            Some(key) => Err(Error::KeyLevelTooLow {
                what: format!("raised rotation by {step}"),
                stored: key.level(),
                level,
            }),
            None => Err(Error::MissingRaisedRotationKey { step, level }),
        }
    }

    /// Checks that the keys serve a request.
    ///
    /// # Errors
    /// As [`EncapsulationKeys::to_dense`]; [`Error::MissingEncapsulationKeys`] for a secret of larger weight than asked for.
    pub fn check(&self, request: &EncapsulationRequest) -> Result<()> {
        let hamming_weight = request.hamming_weight;
        if self.hamming_weight() > hamming_weight {
            return Err(Error::MissingEncapsulationKeys { hamming_weight });
        }
        request
            .keys()
            .try_for_each(|(step, level)| self.to_dense(step, level).map(|_| ()))
    }

    /// The keys themselves: that to the sparse secret first.
    fn keys(&self) -> impl Iterator<Item = &Arc<KeySwitchKey>> {
        std::iter::once(&self.to_sparse).chain(self.to_dense.values())
    }

    /// Bytes of all polynomials in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.keys().map(|key| key.memory_bytes()).sum()
    }

    /// Bytes in memory of the keys that serve a request.
    #[must_use]
    pub fn bytes_of(&self, request: &EncapsulationRequest) -> usize {
        let back = request.keys().filter_map(|(step, _)| self.to_dense.get(&step));
        self.to_sparse.memory_bytes() + back.map(|key| key.memory_bytes()).sum::<usize>()
    }

    /// Bytes of the keys that a request asks for, with seeds in place of their masks: in memory, and but for headers on the wire.
    #[must_use]
    pub fn memory_bytes_of(params: &Parameters, request: &EncapsulationRequest) -> usize {
        let back = request.keys().map(|(_, level)| {
            let primes = params.ring().limb_count(Self::raised_basis(params, level));
            KeySwitchKey::memory_bytes_of(1, primes, params.log_n())
        });
        KeySwitchKey::memory_bytes_of(1, 2, params.log_n()) + back.sum::<usize>()
    }

    /// Bytes that the masks of the keys back take more if they are kept.
    #[must_use]
    pub fn mask_bytes(&self) -> usize {
        self.to_dense.values().map(|key| key.mask_bytes()).sum()
    }

    /// Keeps the masks of the keys back: see [`KeySwitchKey::keep_masks`].
    pub fn keep_masks(&self) {
        self.to_dense.values().for_each(|key| key.keep_masks());
    }

    /// Those bytes of the keys back that are a file's: see [`KeySwitchKey::mapped_bytes`].
    #[must_use]
    pub fn mapped_bytes(&self) -> usize {
        self.to_dense.values().map(|key| key.mapped_bytes()).sum()
    }

    /// Adds a key back; one at a higher level stays.
    pub(crate) fn insert(&mut self, step: usize, key: KeySwitchKey) {
        if self
            .to_dense
            .get(&step)
            .is_none_or(|present| present.level() < key.level())
        {
            self.to_dense.insert(step, Arc::new(key));
        }
    }

    /// Switches a ciphertext at level 0 to the sparse secret; both parts come back in coefficient form over q_0, in the ring
    /// of the sparse parameters.
    pub(crate) fn to_sparse(&self, parts: &[Poly]) -> [Poly; 2] {
        let ring = self.sparse.ring();
        let [c0, c1] = [0, 1].map(|part| {
            let mut copy = Poly::zeros(ring, Basis::q(0), Domain::Eval);
            // A prime's transform depends on nothing but the prime and the degree.
            copy.limb_mut(0).copy_from_slice(parts[part].limb(0));
            copy
        });
        let descent = Descent {
            kept: 1,
            addends: [Some(&c0), None],
            galois_element: None,
        };
        let mut switched = self.to_sparse.switch(&self.sparse, &c1, descent);
        switched.iter_mut().for_each(Poly::to_coeff);
        switched
    }

    /// The primes of a key back up to a level.
    pub(crate) fn raised_basis(params: &Parameters, level: usize) -> Basis {
        Basis::qp(level, params.special_limbs_beyond(params.log_q(0) + RAISED_MARGIN))
    }
}

/// An ephemeral secret while keys are made.
pub(crate) struct Ephemeral<'a> {
    dense: &'a SecretKey,
    sparse: SecretKey,
    /// The sparse secret over the primes of the dense one.
    raised: SecretKey,
}

impl<'a> Ephemeral<'a> {
    /// Draws a secret of this Hamming weight.
    ///
    /// # Errors
    /// [`Error::Insecure`] or [`Error::SecurityUnknown`] where the table does not vouch for it.
    pub(crate) fn generate(dense: &'a SecretKey, hamming_weight: usize, rng: &mut SecretRng) -> Result<Self> {
        let params = dense.params();
        let sparse = Parameters::new(encapsulation_literal(params, hamming_weight)?)?;
        let sparse = SecretKey::generate(&sparse, rng);
        let raised = SecretKey::from_coefficients(params, Zeroizing::new(sparse.coefficients.to_vec()));
        Ok(Self { dense, sparse, raised })
    }

    /// The key to it, with none back.
    pub(crate) fn there(&self, rng: &mut SecretRng) -> Result<EncapsulationKeys> {
        let sparse = self.sparse.params();
        let dense = SecretKey::from_coefficients(sparse, Zeroizing::new(self.dense.coefficients.to_vec()));
        Ok(EncapsulationKeys {
            to_sparse: Arc::new(KeySwitchKey::generate(sparse, &dense.poly, &self.sparse.poly, 0, rng)?),
            sparse: Arc::clone(sparse),
            to_dense: BTreeMap::new(),
        })
    }

    /// The key back with a rotation, at levels up to `level`.
    ///
    /// # Errors
    /// [`Error::LevelTooHigh`]; [`Error::InvalidParameter`] for a rotation by N/2 slots or more.
    pub(crate) fn back(&self, step: usize, level: usize, rng: &mut SecretRng) -> Result<KeySwitchKey> {
        let params = self.dense.params();
        params.check_level("a key from an ephemeral secret", level)?;
        if step >= params.max_slots() {
            let reason = format!("{step} slots, expected less than {}", params.max_slots());
            return Err(Error::InvalidParameter {
                name: "rotation",
                reason,
            });
        }
        let basis = EncapsulationKeys::raised_basis(params, level);
        let seed = rng.public_seed();
        let mut body = encryption_of_zero(params, basis, &digit_mask(&seed, 0), &self.dense.poly, rng);
        let image = SecretPoly::new(self.raised.poly.automorphism(params.rotation_element(step)));
        let special = (0..=level).map(|prime| params.ring().special_modulus(basis.p_limbs, prime));
        body.add_mul_constants(&image, &special.collect::<Vec<_>>());
        Ok(KeySwitchKey::new(seed, level, vec![body]))
    }
}

impl SecretKey {
    /// Draws an ephemeral secret and makes the keys to it and back.
    ///
    /// # Errors
    /// [`Error::Insecure`] or [`Error::SecurityUnknown`] where the table does not vouch for the sparse secret;
    /// [`Error::LevelTooHigh`]; [`Error::InvalidParameter`] for a rotation by N/2 slots or more.
    pub fn encapsulation_keys(&self, request: &EncapsulationRequest, rng: &mut SecretRng) -> Result<EncapsulationKeys> {
        let ephemeral = Ephemeral::generate(self, request.hamming_weight, rng)?;
        let mut keys = ephemeral.there(rng)?;
        let tasks: Vec<_> = request.keys().map(|key| (key, rng.fork())).collect();
        let back: Result<Vec<_>> = tasks
            .into_par_iter()
            .map(|((step, level), mut rng)| Ok((step, ephemeral.back(step, level, &mut rng)?)))
            .collect();
        back?.into_iter().for_each(|(step, key)| keys.insert(step, key));
        Ok(keys)
    }
}
