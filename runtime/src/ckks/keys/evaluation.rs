//! The keys a server needs: one for relinearisation, one for each rotation, each at the level it is used at; one more for each further
//! band of levels that it is used in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{EncapsulationKeys, KeySwitchKey, SecretKey};
use crate::ckks::params::{KeyBands, Parameters};
use crate::error::{Error, Result};
use crate::ring::SecretRng;

/// Which evaluation keys a program needs, each with levels it is used at: a key serves lower levels of its band.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeyRequest {
    /// Levels of relinearisation.
    pub relin: BTreeSet<usize>,
    /// Levels of complex conjugation.
    pub conjugation: BTreeSet<usize>,
    /// Levels by rotation step (slots to the left).
    pub rotations: BTreeMap<usize, BTreeSet<usize>>,
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
    /// Asks for relinearisation at `level`.
    pub fn add_relin(&mut self, level: usize) {
        self.relin.insert(level);
    }

    /// Asks for conjugation at `level`.
    pub fn add_conjugation(&mut self, level: usize) {
        self.conjugation.insert(level);
    }

    /// Asks for a rotation at `level`. Step 0 needs no key.
    pub fn add_rotation(&mut self, step: usize, level: usize) {
        if step != 0 {
            self.rotations.entry(step).or_default().insert(level);
        }
    }

    /// Asks for rotations at their levels, by step.
    pub fn add_rotations(&mut self, rotations: &BTreeMap<usize, BTreeSet<usize>>) {
        for (step, levels) in rotations {
            levels.iter().for_each(|level| self.add_rotation(*step, *level));
        }
    }

    /// Asks for encapsulation. A set of keys has one ephemeral secret, of the lowest weight asked for.
    pub fn add_encapsulation(&mut self, request: &EncapsulationRequest) {
        self.encapsulation.get_or_insert_with(|| request.clone()).merge(request);
    }

    /// Asks for everything that `other` asks for as well.
    pub fn merge(&mut self, other: &Self) {
        self.relin.extend(&other.relin);
        self.conjugation.extend(&other.conjugation);
        self.add_rotations(&other.rotations);
        if let Some(request) = &other.encapsulation {
            self.add_encapsulation(request);
        }
    }

    /// Everything asked for, with its levels: first relinearisation, then conjugation, then rotations by rising step.
    pub fn uses(&self) -> impl Iterator<Item = (KeyPurpose, &BTreeSet<usize>)> {
        let rotations = self.rotations.iter();
        let rotations = rotations.map(|(step, levels)| (KeyPurpose::Rotate(*step), levels));
        [
            (KeyPurpose::Relinearize, &self.relin),
            (KeyPurpose::Conjugate, &self.conjugation),
        ]
        .into_iter()
        .chain(rotations)
    }

    /// The switching keys one by one, each with the highest level of its band that is asked for: in the order of
    /// [`KeyRequest::uses`], then by rising level.
    #[must_use]
    pub fn keys(&self, bands: &KeyBands) -> Vec<(KeyPurpose, usize)> {
        let of_use = |(purpose, levels): (KeyPurpose, &BTreeSet<usize>)| {
            let levels = bands.highest(levels).into_iter();
            levels.map(move |level| (purpose, level))
        };
        self.uses().flat_map(of_use).collect()
    }

    /// The level of the key for a purpose that serves `level`'s band, if one is asked for.
    #[must_use]
    pub fn key_level(&self, purpose: KeyPurpose, level: usize, bands: &KeyBands) -> Option<usize> {
        let levels = match purpose {
            KeyPurpose::Relinearize => Some(&self.relin),
            KeyPurpose::Conjugate => Some(&self.conjugation),
            KeyPurpose::Rotate(step) => self.rotations.get(&step),
        };
        let same_band = levels?.range(..=bands.top(level)).next_back();
        same_band.copied().filter(|found| bands.top(*found) == bands.top(level))
    }

    /// The same request without levels that the keys for others serve.
    #[must_use]
    pub fn in_bands(mut self, bands: &KeyBands) -> Self {
        let all = [&mut self.relin, &mut self.conjugation].into_iter();
        for levels in all.chain(self.rotations.values_mut()) {
            *levels = bands.highest(levels);
        }
        self
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
        let wanted = request.keys(self.params.key_bands()).into_iter();
        let tasks: Vec<_> = wanted.map(|key| (key, rng.fork())).collect();
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
    /// By purpose and the highest level of the band.
    keys: BTreeMap<(KeyPurpose, usize), Arc<KeySwitchKey>>,
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

    /// Adds a key; one of the same purpose and band at a higher level stays.
    pub fn insert(&mut self, purpose: KeyPurpose, key: KeySwitchKey) {
        let place = (purpose, self.params.key_bands().top(key.level));
        if self.keys.get(&place).is_none_or(|present| present.level < key.level) {
            self.keys.insert(place, Arc::new(key));
        }
    }

    /// All keys, by purpose and rising level.
    pub fn iter(&self) -> impl Iterator<Item = (KeyPurpose, &KeySwitchKey)> {
        self.keys.iter().map(|((purpose, _), key)| (*purpose, &**key))
    }

    /// The keys for a purpose, by rising level.
    fn of_purpose(&self, purpose: KeyPurpose) -> impl DoubleEndedIterator<Item = &Arc<KeySwitchKey>> {
        self.keys
            .range((purpose, 0)..=(purpose, usize::MAX))
            .map(|(_, key)| key)
    }

    /// Identifies the set: BLAKE3 of the random seeds that its keys were made with.
    #[must_use]
    pub fn identity(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for ((purpose, _), key) in &self.keys {
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

    /// Returns the memory of the keys for a purpose, where they are mapped from a file, to the system until they are used again.
    pub fn release_pages(&self, purpose: KeyPurpose) {
        self.of_purpose(purpose).for_each(|key| key.release_pages());
    }

    /// Bytes in memory of those keys that serve a request, whole, whatever level of their bands it asks for.
    #[must_use]
    pub fn bytes_of(&self, request: &KeyRequest) -> usize {
        let bands = self.params.key_bands();
        let wanted = request.keys(bands).into_iter();
        let keys = wanted.filter_map(|(purpose, level)| self.keys.get(&(purpose, bands.top(level))));
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
    /// [`Error::KeyLevelTooLow`] when there is one for lower levels.
    pub fn get(&self, purpose: KeyPurpose, level: usize) -> Result<&Arc<KeySwitchKey>> {
        let key = self.keys.get(&(purpose, self.params.key_bands().top(level)));
        if let Some(key) = key.filter(|key| key.level >= level) {
            return Ok(key);
        }
        let mut lower = self
            .of_purpose(purpose)
            .rev()
            .map(|key| key.level)
            .filter(|stored| *stored < level);
        Err(match (lower.next(), purpose) {
            (Some(stored), _) => Error::KeyLevelTooLow {
                what: purpose.to_string(),
                stored,
                level,
            },
            (None, KeyPurpose::Relinearize) => Error::MissingRelinKey { level },
            (None, KeyPurpose::Conjugate) => Error::MissingConjugationKey { level },
            (None, KeyPurpose::Rotate(step)) => Error::MissingRotationKey { step, level },
        })
    }
}
