//! The keys a server needs: one for relinearisation, one for each rotation, each at the level it is used at.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{EncapsulationKeys, KeySwitchKey, SecretKey};
use crate::ckks::params::Parameters;
use crate::error::{Error, Result};
use crate::ring::SecretRng;

/// Which evaluation keys a program needs, each with the highest level it is used at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeyRequest {
    /// Relinearisation.
    pub relin: Option<usize>,
    /// Complex conjugation.
    pub conjugation: Option<usize>,
    /// Level by rotation step (slots to the left).
    pub rotations: BTreeMap<usize, usize>,
    /// The way to an ephemeral sparse secret and back, which bootstrapping takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encapsulation: Option<EncapsulationRequest>,
}

/// An ephemeral sparse secret; see [`crate::ckks::boot`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncapsulationRequest {
    /// Its Hamming weight.
    pub hamming_weight: usize,
    /// The highest level that ciphertexts are raised to.
    pub level: usize,
    /// Raised level by rotation step (slots to the left), where ciphertexts are rotated as they are raised.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rotations: BTreeMap<usize, usize>,
}

impl EncapsulationRequest {
    /// Without rotations.
    #[must_use]
    pub fn new(hamming_weight: usize, level: usize) -> Self {
        Self {
            hamming_weight,
            level,
            rotations: BTreeMap::new(),
        }
    }

    /// Steps and levels of the keys back, by rising step: first that without a rotation.
    pub fn keys(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let rotations = self.rotations.iter().map(|(step, level)| (*step, *level));
        std::iter::once((0, self.level)).chain(rotations)
    }

    /// Raises the key of a rotation to at least `level`. Step 0 needs none.
    pub fn add_rotation(&mut self, step: usize, level: usize) {
        if step != 0 {
            let stored = self.rotations.entry(step).or_insert(level);
            *stored = level.max(*stored);
        }
    }

    /// Asks for everything that `other` asks for as well, with the lower of both weights.
    pub fn merge(&mut self, other: &Self) {
        self.hamming_weight = self.hamming_weight.min(other.hamming_weight);
        self.level = self.level.max(other.level);
        for (step, level) in &other.rotations {
            self.add_rotation(*step, *level);
        }
    }
}

impl KeyRequest {
    /// Raises the relinearisation key to at least `level`.
    pub fn add_relin(&mut self, level: usize) {
        self.relin = self.relin.max(Some(level));
    }

    /// Raises the conjugation key to at least `level`.
    pub fn add_conjugation(&mut self, level: usize) {
        self.conjugation = self.conjugation.max(Some(level));
    }

    /// Raises the key of a rotation to at least `level`. Step 0 needs none.
    pub fn add_rotation(&mut self, step: usize, level: usize) {
        if step != 0 {
            let stored = self.rotations.entry(step).or_insert(level);
            *stored = level.max(*stored);
        }
    }

    /// Asks for encapsulation. A set of keys has one ephemeral secret, of the lowest weight asked for.
    pub fn add_encapsulation(&mut self, request: &EncapsulationRequest) {
        self.encapsulation.get_or_insert_with(|| request.clone()).merge(request);
    }

    /// Asks for everything that `other` asks for as well.
    pub fn merge(&mut self, other: &Self) {
        self.relin = self.relin.max(other.relin);
        self.conjugation = self.conjugation.max(other.conjugation);
        for (step, level) in &other.rotations {
            self.add_rotation(*step, *level);
        }
        if let Some(request) = &other.encapsulation {
            self.add_encapsulation(request);
        }
    }

    /// The switching keys one by one: first relinearisation, then conjugation, then rotations by rising step.
    #[must_use]
    pub fn keys(&self) -> Vec<(KeyPurpose, usize)> {
        let relin = self.relin.map(|level| (KeyPurpose::Relinearize, level));
        let conjugation = self.conjugation.map(|level| (KeyPurpose::Conjugate, level));
        let rotations = self
            .rotations
            .iter()
            .map(|(step, level)| (KeyPurpose::Rotate(*step), *level));
        relin.into_iter().chain(conjugation).chain(rotations).collect()
    }
}

/// What an evaluation key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyPurpose {
    /// From s^2 to s.
    Relinearize,
    /// Complex conjugation of all slots.
    Conjugate,
    /// Rotation to the left by a number of slots below N/2.
    Rotate(usize),
}

impl std::fmt::Display for KeyPurpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Relinearize => f.write_str("relinearization"),
            Self::Conjugate => f.write_str("complex conjugation"),
            Self::Rotate(step) => write!(f, "rotation by {step}"),
        }
    }
}

impl SecretKey {
    /// One evaluation key.
    ///
    /// # Errors
    /// [`Error::LevelTooHigh`]; [`Error::InvalidParameter`] for a rotation by N/2 slots or more.
    pub fn evaluation_key(&self, purpose: KeyPurpose, level: usize, rng: &mut SecretRng) -> Result<KeySwitchKey> {
        match purpose {
            KeyPurpose::Relinearize => self.relin_key(level, rng),
            KeyPurpose::Conjugate => self.galois_key(self.params.conjugation_element(), level, rng),
            KeyPurpose::Rotate(step) if step < self.params.max_slots() => {
                self.galois_key(self.params.rotation_element(step), level, rng)
            }
            KeyPurpose::Rotate(step) => {
                let reason = format!("{step} slots, expected less than {}", self.params.max_slots());
                Err(Error::InvalidParameter {
                    name: "rotation",
                    reason,
                })
            }
        }
    }

    /// All keys of a request. Large sets are better made and written one by one: see [`KeyRequest::keys`].
    ///
    /// # Errors
    /// As [`SecretKey::evaluation_key`].
    pub fn evaluation_keys(&self, request: &KeyRequest, rng: &mut SecretRng) -> Result<EvaluationKeys> {
        let mut keys = EvaluationKeys::new(&self.params);
        let tasks: Vec<_> = request.keys().into_iter().map(|key| (key, rng.fork())).collect();
        let made: Result<Vec<_>> = tasks
            .into_par_iter()
            .map(|((purpose, level), mut rng)| Ok((purpose, self.evaluation_key(purpose, level, &mut rng)?)))
            .collect();
        for (purpose, key) in made? {
            keys.insert(purpose, key);
        }
        if let Some(request) = &request.encapsulation {
            keys.insert_encapsulation(self.encapsulation_keys(request, rng)?);
        }
        Ok(keys)
    }
}

/// The evaluation keys at hand.
#[derive(Clone)]
pub struct EvaluationKeys {
    params: Arc<Parameters>,
    keys: BTreeMap<KeyPurpose, Arc<KeySwitchKey>>,
    encapsulation: Option<Arc<EncapsulationKeys>>,
}

impl EvaluationKeys {
    /// No keys.
    #[must_use]
    pub fn new(params: &Arc<Parameters>) -> Self {
        Self {
            params: Arc::clone(params),
            keys: BTreeMap::new(),
            encapsulation: None,
        }
    }

    /// The parameters they belong to.
    #[must_use]
    pub fn params(&self) -> &Arc<Parameters> {
        &self.params
    }

    /// Adds a key; one of the same purpose at a higher level stays.
    pub fn insert(&mut self, purpose: KeyPurpose, key: KeySwitchKey) {
        if self.keys.get(&purpose).is_none_or(|present| present.level < key.level) {
            self.keys.insert(purpose, Arc::new(key));
        }
    }

    /// All keys, by purpose.
    pub fn iter(&self) -> impl Iterator<Item = (KeyPurpose, &KeySwitchKey)> {
        self.keys.iter().map(|(purpose, key)| (*purpose, &**key))
    }

    /// Identifies the set: BLAKE3 of the random seeds that its keys were made with.
    #[must_use]
    pub fn identity(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for (purpose, key) in &self.keys {
            hasher.update(format!("{purpose} {}", key.level).as_bytes());
            hasher.update(&key.seed);
        }
        if let Some(keys) = &self.encapsulation {
            hasher.update(keys.identity());
            for key in keys.to_dense.values() {
                hasher.update(&key.seed);
            }
        }
        *hasher.finalize().as_bytes()
    }

    /// Bytes of all keys in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let encapsulation = self.encapsulation.as_ref().map_or(0, |keys| keys.memory_bytes());
        self.keys.values().map(|key| key.memory_bytes()).sum::<usize>() + encapsulation
    }

    /// Bytes that the masks of all keys take more if they are kept.
    #[must_use]
    pub fn mask_bytes(&self) -> usize {
        let encapsulation = self.encapsulation.as_ref().map_or(0, |keys| keys.mask_bytes());
        self.keys.values().map(|key| key.mask_bytes()).sum::<usize>() + encapsulation
    }

    /// Keeps the masks of all keys: see [`KeySwitchKey::keep_masks`].
    pub fn keep_masks(&self) {
        self.keys.values().for_each(|key| key.keep_masks());
        self.encapsulation.iter().for_each(|keys| keys.keep_masks());
    }

    /// Those of them that are the bytes of a file: see [`KeySwitchKey::mapped_bytes`].
    #[must_use]
    pub fn mapped_bytes(&self) -> usize {
        let encapsulation = self.encapsulation.as_ref().map_or(0, |keys| keys.mapped_bytes());
        self.keys.values().map(|key| key.mapped_bytes()).sum::<usize>() + encapsulation
    }

    /// Returns the memory of a key that is mapped from a file to the system until the key is used again.
    pub fn release_pages(&self, purpose: KeyPurpose) {
        if let Some(key) = self.keys.get(&purpose) {
            key.release_pages();
        }
    }

    /// Bytes in memory of those keys that serve a request, whole, whatever level it asks for.
    #[must_use]
    pub fn bytes_of(&self, request: &KeyRequest) -> usize {
        let purposes = request.keys().into_iter();
        let keys = purposes.filter_map(|(purpose, _)| self.keys.get(&purpose));
        let encapsulation = self.encapsulation.as_ref().zip(request.encapsulation.as_ref());
        keys.map(|key| key.memory_bytes()).sum::<usize>()
            + encapsulation.map_or(0, |(keys, request)| keys.bytes_of(request))
    }

    /// Adds the keys to an ephemeral secret and back, in place of others.
    pub fn insert_encapsulation(&mut self, keys: EncapsulationKeys) {
        self.encapsulation = Some(Arc::new(keys));
    }

    /// Adds a key from an ephemeral secret back, whose key there is at hand.
    pub(crate) fn insert_back(&mut self, step: usize, key: KeySwitchKey) {
        if let Some(keys) = &mut self.encapsulation {
            Arc::make_mut(keys).insert(step, key);
        }
    }

    /// The keys to an ephemeral secret and back, if there are any.
    #[must_use]
    pub fn stored_encapsulation(&self) -> Option<&Arc<EncapsulationKeys>> {
        self.encapsulation.as_ref()
    }

    /// The keys that serve a request for an ephemeral secret.
    ///
    /// # Errors
    /// [`Error::MissingEncapsulationKeys`], otherwise as [`EncapsulationKeys::check`].
    pub fn encapsulation(&self, request: &EncapsulationRequest) -> Result<&Arc<EncapsulationKeys>> {
        let hamming_weight = request.hamming_weight;
        let keys = self.encapsulation.as_ref();
        let keys = keys.ok_or(Error::MissingEncapsulationKeys { hamming_weight })?;
        keys.check(request)?;
        Ok(keys)
    }

    /// The key for a purpose, usable at `level`.
    ///
    /// # Errors
    /// [`Error::MissingRotationKey`], [`Error::MissingConjugationKey`], [`Error::MissingRelinKey`] when there is none,
    /// [`Error::KeyLevelTooLow`] when there is one for lower levels only.
    pub fn get(&self, purpose: KeyPurpose, level: usize) -> Result<&Arc<KeySwitchKey>> {
        match self.keys.get(&purpose) {
            Some(key) if key.level >= level => Ok(key),
            Some(key) => Err(Error::KeyLevelTooLow {
                what: purpose.to_string(),
                stored: key.level,
                level,
            }),
            None => Err(match purpose {
                KeyPurpose::Relinearize => Error::MissingRelinKey { level },
                KeyPurpose::Conjugate => Error::MissingConjugationKey { level },
                KeyPurpose::Rotate(step) => Error::MissingRotationKey { step, level },
            }),
        }
    }
}
