//! Files of ciphertexts: the inputs that a client sends, the results that a server returns.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic `APHCTXT\0` |
//! | 4 | format version |
//! | 4 | 0: inputs, 1: results |
//! | 32 | identity of the plan |
//! | 4 | runs |
//! | 4 | ciphertexts per run |
//! | 4 | samples: no fewer than runs |
//! | 32 | BLAKE3 of everything before |
//! | | the ciphertexts, run by run, each in a frame of its own |
//!
//! Assumes nothing of the bytes read. Ensures that every ciphertext belongs to the plan's parameters.

use std::path::Path;
use std::sync::Arc;

use crate::ckks::Ciphertext;
use crate::ckks::params::Parameters;
use crate::ckks::wire::{Frame, HEADER_BYTES as FRAME_BYTES};
use crate::error::{Error, Result};

/// Version of the format.
pub const VERSION: u32 = 2;
const MAGIC: &[u8; 8] = b"APHCTXT\0";
const HEADER_BYTES: usize = 92;
const OBJECT: &str = "ciphertext file";

/// Which way a bundle goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Inputs = 0,
    /// From the server to the client.
    Results = 1,
}

/// Ciphertexts of some runs of a plan.
pub struct Bundle {
    /// Which way it goes.
    pub direction: Direction,
    /// Identity of the plan: [`super::ClientPart::id`].
    pub plan: [u8; 32],
    /// How many samples they hold; a run takes as many as the plan says, the last may hold fewer.
    pub samples: usize,
    /// For every run, the ciphertexts of all ports in turn; all have equally many.
    pub runs: Vec<Vec<Ciphertext>>,
}

impl Bundle {
    /// The bytes of a bundle.
    #[must_use]
    pub fn to_bytes(&self, params: &Parameters) -> Vec<u8> {
        let per_run = self.runs.first().map_or(0, Vec::len);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(self.direction as u32).to_le_bytes());
        bytes.extend_from_slice(&self.plan);
        for count in [self.runs.len(), per_run, self.samples] {
            bytes.extend_from_slice(&(count as u32).to_le_bytes());
        }
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        for ciphertext in self.runs.iter().flatten() {
            bytes.extend_from_slice(&ciphertext.to_bytes(params));
        }
        bytes
    }

    /// Reads a bundle for the plan with identity `plan`.
    ///
    /// # Errors
    /// [`Error::Malformed`]; [`Error::InvalidInput`] for a bundle of another plan or direction;
    /// [`Error::ParameterMismatch`].
    pub fn from_bytes(params: &Arc<Parameters>, plan: [u8; 32], direction: Direction, bytes: &[u8]) -> Result<Self> {
        let malformed = |offset: usize, reason: String| Error::Malformed {
            object: OBJECT,
            offset,
            reason,
        };
        if bytes.len() < HEADER_BYTES || &bytes[..8] != MAGIC {
            return Err(malformed(0, "not a ciphertext file: too short or wrong magic".into()));
        }
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        if u32_at(8) != VERSION {
            return Err(malformed(
                8,
                format!("format version {}, this build reads {VERSION}", u32_at(8)),
            ));
        }
        let hash_at = HEADER_BYTES - 32;
        if blake3::hash(&bytes[..hash_at]).as_bytes() != &bytes[hash_at..HEADER_BYTES] {
            return Err(malformed(
                hash_at,
                "checksum of the header does not match: the file is damaged".into(),
            ));
        }
        if bytes[16..48] != plan {
            let reason = "the ciphertexts were made for another plan".into();
            return Err(Error::InvalidInput { reason });
        }
        if u32_at(12) != direction as u32 {
            let (found, expected) = match direction {
                Direction::Inputs => ("results", "inputs"),
                Direction::Results => ("inputs", "results"),
            };
            let reason = format!("the file holds {found}, {expected} are expected");
            return Err(Error::InvalidInput { reason });
        }
        let [n_runs, per_run, samples] = [48, 52, 56].map(|at| u32_at(at) as usize);
        let fits = n_runs
            .checked_mul(per_run)
            .is_some_and(|n| n <= bytes.len() / FRAME_BYTES);
        if !fits || (per_run == 0) != (n_runs == 0) || samples < n_runs {
            let reason = format!(
                "{samples} samples in {n_runs} runs of {per_run} ciphertexts in {} bytes",
                bytes.len()
            );
            return Err(malformed(48, reason));
        }
        let mut rest = &bytes[HEADER_BYTES..];
        let mut runs = Vec::with_capacity(n_runs);
        for _ in 0..n_runs {
            let mut run = Vec::with_capacity(per_run);
            for _ in 0..per_run {
                let (_, after) = Frame::split_first(rest)?;
                run.push(Ciphertext::from_bytes(params, &rest[..rest.len() - after.len()])?);
                rest = after;
            }
            runs.push(run);
        }
        match rest.len() {
            0 => Ok(Self {
                direction,
                plan,
                samples,
                runs,
            }),
            left => Err(malformed(
                bytes.len() - left,
                format!("{left} bytes follow the last ciphertext"),
            )),
        }
    }

    /// Writes the bundle to a file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, params: &Parameters, path: &Path) -> Result<()> {
        std::fs::write(path, self.to_bytes(params)).map_err(|error| super::file::io(path, &error))
    }

    /// Reads a file as [`Bundle::from_bytes`] does.
    ///
    /// # Errors
    /// [`Error::Io`], otherwise as [`Bundle::from_bytes`].
    pub fn read(params: &Arc<Parameters>, plan: [u8; 32], direction: Direction, path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| super::file::io(path, &error))?;
        Self::from_bytes(params, plan, direction, &bytes)
    }
}
