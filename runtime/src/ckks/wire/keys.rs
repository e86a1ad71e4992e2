//! Keys on the wire.
//!
//! Secret key payload: two bits per coefficient, 0, 1 and 2 for 0, 1 and -1.
//! Public key payload: seed of the mask, body.
//! Evaluation key payload: purpose u8 (0 relinearise, 1 conjugate, 2 rotate), rotation u32, level u16, seed of the masks, zeros
//! up to byte 88, bodies as words, 32 zeros: the frame is a multiple of 64 bytes, and bodies start at one. A set of
//! evaluation keys is a sequence of such frames, encapsulation keys (`encapsulation.rs`) last, so that it is made, written and read one at a time.
//!
//! Words of eight bytes take a third more room than residues packed at the length of their primes. In return a server uses keys
//! where they lie in the file (`mapped.rs`): nothing is unpacked or copied, all processes share them, and the system takes
//! their memory back when it needs it.

use std::io::{Read, Write};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::encapsulation::{max_encapsulation_bytes, read_back};
use super::frame::{Frame, Kind, Reader};
use super::poly::{read_poly, read_words, words_bytes, write_poly, write_words};
use crate::ckks::keys::{
    EncapsulationKeys, EvaluationKeys, KeyPurpose, KeyRequest, KeySwitchKey, PublicKey, SecretKey,
};
use crate::ckks::params::{Parameters, SecretDistribution};
use crate::error::{Error, Result};
use crate::ring::{Basis, SecretRng};

impl SecretKey {
    /// The secret key as bytes, in the clear: whoever reads them can decrypt.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let code = |coefficient: &i64| (*coefficient & 3).min(2) as u8;
        let pack = |four: &[i64]| {
            four.iter()
                .rev()
                .fold(0, |byte, coefficient| byte << 2 | code(coefficient))
        };
        let payload: Zeroizing<Vec<u8>> = Zeroizing::new(self.coefficients.chunks_exact(4).map(pack).collect());
        let fingerprint = *self.params.fingerprint();
        Zeroizing::new(
            Frame {
                kind: Kind::SecretKey,
                fingerprint,
                payload: &payload,
            }
            .to_bytes(),
        )
    }

    /// Reads a secret key.
    ///
    /// # Errors
    /// [`Error::Malformed`], also for a key that the parameters' distribution cannot have; [`Error::ParameterMismatch`].
    pub fn from_bytes(params: &Arc<Parameters>, bytes: &[u8]) -> Result<Self> {
        let frame = Frame::parse(bytes, Kind::SecretKey)?;
        frame.check_fingerprint(params)?;
        let mut reader = Reader::new(Kind::SecretKey.name(), frame.payload);
        let packed = reader.take(params.n() / 4)?;
        reader.finish()?;
        let mut coefficients = Zeroizing::new(Vec::with_capacity(params.n()));
        for (offset, byte) in packed.iter().enumerate() {
            for shift in [0, 2, 4, 6] {
                coefficients.push(match byte >> shift & 3 {
                    0 => 0,
                    1 => 1,
                    2 => -1,
                    _ => return Err(reader.malformed_at(offset, "a coefficient is not ternary")),
                });
            }
        }
        let weight = coefficients.iter().filter(|coefficient| **coefficient != 0).count();
        if let SecretDistribution::SparseTernary { hamming_weight } = params.literal().secret
            && weight != hamming_weight
        {
            return Err(reader.malformed_at(0, format!("Hamming weight is not {hamming_weight}")));
        }
        Ok(Self::from_coefficients(params, coefficients))
    }

    /// Makes the keys of a request and writes each as soon as it is there; `done` is told the bytes written so far.
    ///
    /// # Errors
    /// As [`SecretKey::evaluation_key`]; [`Error::Io`].
    pub fn write_evaluation_keys(
        &self,
        request: &KeyRequest,
        rng: &mut SecretRng,
        stream: &mut impl Write,
        mut done: impl FnMut(KeyPurpose, u64),
    ) -> Result<()> {
        let mut written = 0;
        for (purpose, level) in request.keys(self.params.key_bands()) {
            let bytes = self
                .evaluation_key(purpose, level, rng)?
                .to_bytes(&self.params, purpose);
            write_all(stream, &bytes)?;
            written += bytes.len() as u64;
            done(purpose, written);
        }
        match &request.encapsulation {
            Some(request) => self.write_encapsulation_keys(request, rng, stream),
            None => Ok(()),
        }
    }
}

impl PublicKey {
    /// The public key as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut payload = self.seed.to_vec();
        write_poly(&mut payload, &self.body);
        let fingerprint = *self.params.fingerprint();
        Frame {
            kind: Kind::PublicKey,
            fingerprint,
            payload: &payload,
        }
        .to_bytes()
    }

    /// Reads a public key.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::ParameterMismatch`].
    pub fn from_bytes(params: &Arc<Parameters>, bytes: &[u8]) -> Result<Self> {
        let frame = Frame::parse(bytes, Kind::PublicKey)?;
        frame.check_fingerprint(params)?;
        let mut reader = Reader::new(Kind::PublicKey.name(), frame.payload);
        let seed = reader.array()?;
        let basis = Basis::q(params.max_level());
        let body = read_poly(&mut reader, params.ring(), basis)?;
        reader.finish()?;
        Ok(Self {
            params: Arc::clone(params),
            seed,
            body,
        })
    }
}

/// Bytes of an evaluation key's payload before the bodies.
pub(super) const HEAD_BYTES: usize = 88;
/// And after them.
pub(super) const TAIL_BYTES: usize = 32;

/// The frame of a key whose payload has its head so far, up to the seed of the masks.
pub(super) fn frame_of_key(params: &Parameters, kind: Kind, mut payload: Vec<u8>, key: &KeySwitchKey) -> Vec<u8> {
    payload.resize(HEAD_BYTES, 0);
    for body in &key.bodies {
        write_words(&mut payload, body);
    }
    payload.resize(payload.len() + TAIL_BYTES, 0);
    Frame {
        kind,
        fingerprint: *params.fingerprint(),
        payload: &payload,
    }
    .to_bytes()
}

/// Bytes of an evaluation key's payload.
fn evaluation_key_bytes(params: &Parameters, level: usize) -> usize {
    HEAD_BYTES + params.digits(level) * words_bytes(params.ring(), params.raised_basis(level)) + TAIL_BYTES
}

/// What stands before the bodies of an evaluation key.
pub(super) struct Head {
    pub(super) purpose: KeyPurpose,
    pub(super) level: usize,
    pub(super) seed: [u8; 32],
}

impl Head {
    pub(super) fn read(reader: &mut Reader, params: &Parameters) -> Result<Self> {
        let purpose = match (reader.u8()?, reader.u32()? as usize) {
            (0, 0) => KeyPurpose::Relinearize,
            (1, 0) => KeyPurpose::Conjugate,
            (2, step) if (1..params.max_slots()).contains(&step) => KeyPurpose::Rotate(step),
            (code, step) => return Err(reader.malformed_at(0, format!("unknown purpose {code} with rotation {step}"))),
        };
        let level = usize::from(reader.u16()?);
        params.check_level("evaluation key", level)?;
        let seed = reader.array()?;
        take_zeros(reader, HEAD_BYTES - reader.offset())?;
        Ok(Self { purpose, level, seed })
    }
}

/// Takes what stands after the bodies of an evaluation key.
pub(super) fn finish_key(mut reader: Reader) -> Result<()> {
    take_zeros(&mut reader, TAIL_BYTES)?;
    reader.finish()
}

pub(super) fn take_zeros(reader: &mut Reader, count: usize) -> Result<()> {
    let start = reader.offset();
    match reader.take(count)?.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err(reader.malformed_at(start, "reserved bytes are not zero")),
    }
}

impl KeySwitchKey {
    /// One evaluation key as bytes.
    #[must_use]
    pub fn to_bytes(&self, params: &Parameters, purpose: KeyPurpose) -> Vec<u8> {
        let (code, step) = match purpose {
            KeyPurpose::Relinearize => (0, 0),
            KeyPurpose::Conjugate => (1, 0),
            KeyPurpose::Rotate(step) => (2, step as u32),
        };
        let mut payload = Vec::with_capacity(evaluation_key_bytes(params, self.level));
        payload.push(code);
        payload.extend_from_slice(&step.to_le_bytes());
        payload.extend_from_slice(&(self.level as u16).to_le_bytes());
        payload.extend_from_slice(&self.seed);
        frame_of_key(params, Kind::EvaluationKey, payload, self)
    }

    /// Reads one evaluation key.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::ParameterMismatch`], [`Error::LevelTooHigh`].
    pub fn from_bytes(params: &Arc<Parameters>, bytes: &[u8]) -> Result<(KeyPurpose, Self)> {
        let frame = Frame::parse(bytes, Kind::EvaluationKey)?;
        frame.check_fingerprint(params)?;
        let mut reader = Reader::new(Kind::EvaluationKey.name(), frame.payload);
        let Head { purpose, level, seed } = Head::read(&mut reader, params)?;
        let bodies = (0..params.digits(level))
            .map(|_| read_words(&mut reader, params.ring(), params.raised_basis(level)))
            .collect::<Result<_>>()?;
        finish_key(reader)?;
        Ok((purpose, Self::new(seed, level, bodies)))
    }
}

impl EvaluationKeys {
    /// Writes all keys, one frame each.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_to(&self, stream: &mut impl Write) -> Result<()> {
        self.iter()
            .try_for_each(|(purpose, key)| write_all(stream, &key.to_bytes(self.params(), purpose)))?;
        match self.stored_encapsulation() {
            Some(keys) => keys.write_to(self.params(), stream),
            None => Ok(()),
        }
    }

    /// Reads keys up to the end of a stream, one at a time.
    ///
    /// # Errors
    /// [`Error::Io`], otherwise as [`KeySwitchKey::from_bytes`] and [`EncapsulationKeys::from_bytes`].
    pub fn read_from(params: &Arc<Parameters>, stream: &mut impl Read) -> Result<Self> {
        let mut keys = Self::new(params);
        let sizes = (0..=params.max_level()).map(|level| evaluation_key_bytes(params, level));
        let max_payload = sizes.fold(max_encapsulation_bytes(params), usize::max);
        while let Some(bytes) = Frame::read_bytes(stream, params, max_payload)? {
            let (frame, _) = Frame::split_first(&bytes)?;
            match frame.kind {
                Kind::EncapsulationKeys => {
                    keys.insert_encapsulation(EncapsulationKeys::from_bytes(params, &bytes)?);
                }
                Kind::RaisingKey => {
                    let (head, key) = read_back(params, &bytes)?;
                    keys.insert_raising(&head, key)?;
                }
                _ => {
                    let (purpose, key) = KeySwitchKey::from_bytes(params, &bytes)?;
                    keys.insert(purpose, key);
                }
            }
        }
        Ok(keys)
    }
}

pub(super) fn write_all(stream: &mut impl Write, bytes: &[u8]) -> Result<()> {
    let io_error = |error: std::io::Error| Error::Io {
        what: "evaluation keys".into(),
        reason: error.to_string(),
    };
    stream.write_all(bytes).map_err(io_error)
}
