//! Encapsulation keys on the wire: a frame for the key to the ephemeral secret, then one for each key back.
//!
//! Payload of the first: Hamming weight u32, then seed and body of the key to the sparse secret (over q_0 and its own special
//! prime, which the parameters determine), zeros up to a frame of a multiple of 64 bytes. Payload of a key back: rotation u32, level u16, seed of the first (which tells ephemeral
//! secrets apart), seed of the mask, zeros up to byte 88, body as words, 32 zeros: laid out as evaluation keys are, so that it is used
//! where it lies in a file.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use super::frame::{CHECKSUM_BYTES, Frame, HEADER_BYTES, Kind, Reader};
use super::keys::{HEAD_BYTES, TAIL_BYTES, finish_key, frame_of_key, take_zeros, write_all};
use super::poly::{read_poly, read_words, words_bytes, write_poly};
use crate::ckks::keys::{
    EncapsulationKeys, EncapsulationRequest, Ephemeral, EvaluationKeys, KeySwitchKey, SecretKey, encapsulation_literal,
};
use crate::ckks::params::Parameters;
use crate::error::{Error, Result};
use crate::ring::SecretRng;

/// Bytes of the largest payload: no limb is wider than a word.
pub(super) fn max_encapsulation_bytes(params: &Parameters) -> usize {
    let there = 4 + 32 + 64 + 2 * params.n() * size_of::<u64>();
    let basis = EncapsulationKeys::raised_basis(params, params.max_level());
    there.max(HEAD_BYTES + words_bytes(params.ring(), basis) + TAIL_BYTES)
}

/// Zeros that end a payload of this length: the frames that follow start at a multiple of 64 bytes.
fn padding(length: usize) -> usize {
    let frame = HEADER_BYTES + length + CHECKSUM_BYTES;
    frame.next_multiple_of(64) - frame
}

/// What stands before the body of a key back.
pub(super) struct BackHead {
    pub(super) step: usize,
    pub(super) level: usize,
    /// Of which ephemeral secret.
    pub(super) identity: [u8; 32],
    pub(super) seed: [u8; 32],
}

impl BackHead {
    pub(super) fn read(reader: &mut Reader, params: &Parameters) -> Result<Self> {
        let step = reader.u32()? as usize;
        if step >= params.max_slots() {
            return Err(reader.malformed_at(0, format!("rotation by {step}")));
        }
        let level = usize::from(reader.u16()?);
        params.check_level("a key from an ephemeral secret", level)?;
        let (identity, seed) = (reader.array()?, reader.array()?);
        take_zeros(reader, HEAD_BYTES - reader.offset())?;
        Ok(Self {
            step,
            level,
            identity,
            seed,
        })
    }
}

impl EncapsulationKeys {
    /// The key to the ephemeral secret as bytes, without the keys back.
    #[must_use]
    pub fn to_bytes(&self, params: &Parameters) -> Vec<u8> {
        let mut payload = Vec::with_capacity(36 + 2 * params.n() * size_of::<u64>());
        payload.extend_from_slice(&(self.hamming_weight() as u32).to_le_bytes());
        payload.extend_from_slice(&self.to_sparse.seed);
        for body in &self.to_sparse.bodies {
            write_poly(&mut payload, body);
        }
        payload.resize(payload.len() + padding(payload.len()), 0);
        Frame {
            kind: Kind::EncapsulationKeys,
            fingerprint: *params.fingerprint(),
            payload: &payload,
        }
        .to_bytes()
    }

    /// A key back with a rotation as bytes.
    ///
    /// # Errors
    /// As [`EncapsulationKeys::to_dense`].
    pub fn back_to_bytes(&self, params: &Parameters, step: usize) -> Result<Vec<u8>> {
        Ok(back_bytes(params, self.identity(), step, self.to_dense(step, 0)?))
    }

    /// Reads the key to an ephemeral secret; there are no keys back yet.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::ParameterMismatch`]; [`Error::Insecure`] and
    /// [`Error::SecurityUnknown`] for a sparse secret that the parameters do not allow.
    pub fn from_bytes(params: &Arc<Parameters>, bytes: &[u8]) -> Result<Self> {
        let frame = Frame::parse(bytes, Kind::EncapsulationKeys)?;
        frame.check_fingerprint(params)?;
        let mut reader = Reader::new(Kind::EncapsulationKeys.name(), frame.payload);
        let hamming_weight = reader.u32()? as usize;
        let seed = reader.array()?;
        let sparse = Parameters::new(encapsulation_literal(params, hamming_weight)?)?;
        let body = read_poly(&mut reader, sparse.ring(), sparse.raised_basis(0))?;
        let zeros = padding(reader.offset());
        take_zeros(&mut reader, zeros)?;
        reader.finish()?;
        Ok(Self {
            to_sparse: Arc::new(KeySwitchKey::new(seed, 0, vec![body])),
            sparse,
            to_dense: BTreeMap::new(),
        })
    }

    /// Reads a key back and adds it.
    ///
    /// # Errors
    /// [`Error::Malformed`], also for a key from another ephemeral secret;
    /// [`Error::ParameterMismatch`], [`Error::LevelTooHigh`].
    pub fn insert_bytes(&mut self, params: &Arc<Parameters>, bytes: &[u8]) -> Result<()> {
        let (head, key) = read_back(params, bytes)?;
        self.check_identity(&head)?;
        self.insert(head.step, key);
        Ok(())
    }

    /// Refuses a key from another ephemeral secret.
    fn check_identity(&self, head: &BackHead) -> Result<()> {
        match head.identity == *self.identity() {
            true => Ok(()),
            false => Err(of_another()),
        }
    }

    pub(super) fn write_to(&self, params: &Parameters, stream: &mut impl Write) -> Result<()> {
        write_all(stream, &self.to_bytes(params))?;
        let mut back = self.to_dense.iter();
        back.try_for_each(|(step, key)| write_all(stream, &back_bytes(params, self.identity(), *step, key)))
    }
}

impl EvaluationKeys {
    /// Adds a key back, after that to its ephemeral secret.
    pub(super) fn insert_raising(&mut self, head: &BackHead, key: KeySwitchKey) -> Result<()> {
        let there = self.stored_encapsulation();
        there.map_or_else(|| Err(of_another()), |keys| keys.check_identity(head))?;
        self.insert_back(head.step, key);
        Ok(())
    }
}

/// The error for a key from another ephemeral secret than that whose keys are at hand.
fn of_another() -> Error {
    let reader = Reader::new(Kind::RaisingKey.name(), &[]);
    reader.malformed_at(
        6,
        "the key is from another ephemeral secret, or comes before the key to its own",
    )
}

fn back_bytes(params: &Parameters, identity: &[u8; 32], step: usize, key: &KeySwitchKey) -> Vec<u8> {
    let basis = EncapsulationKeys::raised_basis(params, key.level());
    let mut payload = Vec::with_capacity(HEAD_BYTES + words_bytes(params.ring(), basis) + TAIL_BYTES);
    payload.extend_from_slice(&(step as u32).to_le_bytes());
    payload.extend_from_slice(&(key.level() as u16).to_le_bytes());
    payload.extend_from_slice(identity);
    payload.extend_from_slice(&key.seed);
    frame_of_key(params, Kind::RaisingKey, payload, key)
}

/// Reads a key back, with what stands before it.
pub(super) fn read_back(params: &Arc<Parameters>, bytes: &[u8]) -> Result<(BackHead, KeySwitchKey)> {
    let frame = Frame::parse(bytes, Kind::RaisingKey)?;
    frame.check_fingerprint(params)?;
    let mut reader = Reader::new(Kind::RaisingKey.name(), frame.payload);
    let head = BackHead::read(&mut reader, params)?;
    let basis = EncapsulationKeys::raised_basis(params, head.level);
    let body = read_words(&mut reader, params.ring(), basis)?;
    finish_key(reader)?;
    let key = KeySwitchKey::new(head.seed, head.level, vec![body]);
    Ok((head, key))
}

impl SecretKey {
    /// Makes the keys to an ephemeral secret and back, and writes each as soon as it is there.
    pub(super) fn write_encapsulation_keys(
        &self,
        request: &EncapsulationRequest,
        rng: &mut SecretRng,
        stream: &mut impl Write,
    ) -> Result<()> {
        let params = self.params();
        let ephemeral = Ephemeral::generate(self, request.hamming_weight, rng)?;
        let there = ephemeral.there(rng)?;
        write_all(stream, &there.to_bytes(params))?;
        request.keys().try_for_each(|(step, level)| {
            let key = ephemeral.back(step, level, rng)?;
            write_all(stream, &back_bytes(params, there.identity(), step, &key))
        })
    }
}
