//! Evaluation keys used where they lie in a file.
//!
//! Assumes that nobody changes the file while the keys live; nothing of its content. Every frame is checked as it is when keys
//! are read (magic, version, parameters, lengths, checksum, residues), so that a file that is cut short or damaged is
//! an error. One that is cut short later ends the process with a bus error when a key that is gone is used, and one that is
//! overwritten changes keys, hence results: replace key files by renaming, never in place. Ensures the same keys as
//! [`EvaluationKeys::read_from`]; memory is taken when a key is used, and [`EvaluationKeys::release_pages`] gives it back.

use std::fs::File;
use std::sync::Arc;

use memmap2::MmapOptions;
use rayon::prelude::*;

use super::encapsulation::BackHead;
use super::frame::{CHECKSUM_BYTES, Frame, HEADER_BYTES, Kind, Reader};
use super::keys::{HEAD_BYTES, Head, finish_key};
use super::poly::{take_words, words_bytes};
use crate::ckks::keys::{EncapsulationKeys, EvaluationKeys, KeyPurpose, KeySwitchKey};
use crate::ckks::params::Parameters;
use crate::error::{Error, Result};
use crate::ring::{AlignedBuffer, Basis, Domain, Poly};

impl EvaluationKeys {
    /// The keys of a file, which [`EvaluationKeys::write_to`] or [`crate::ckks::keys::SecretKey::write_evaluation_keys`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`], otherwise as [`EvaluationKeys::read_from`].
    pub fn map(params: &Arc<Parameters>, file: &File) -> Result<Self> {
        let frames = frames(params, file)?;
        let read: Vec<Found> = frames
            .into_par_iter()
            .map(|(offset, bytes)| found(params, file, offset, bytes))
            .collect::<Result<_>>()?;
        let mut keys = Self::new(params);
        for found in read {
            match found {
                Found::Key(purpose, key) => keys.insert(purpose, key),
                Found::Encapsulation(encapsulation) => keys.insert_encapsulation(encapsulation),
                Found::Raising(head, key) => keys.insert_raising(&head, key)?,
            }
        }
        Ok(keys)
    }
}

enum Found {
    Key(KeyPurpose, KeySwitchKey),
    Encapsulation(EncapsulationKeys),
    Raising(BackHead, KeySwitchKey),
}

/// Offset and length of every frame, by their headers.
fn frames(params: &Parameters, file: &File) -> Result<Vec<(u64, usize)>> {
    let end = file.metadata().map_err(io)?.len();
    let mut frames = Vec::new();
    let mut offset = 0;
    while offset < end {
        let available = end - offset;
        let header = map(file, offset, available.min(HEADER_BYTES as u64) as usize)?;
        let (frame, length) = Frame::header(&header)?;
        frame.check_fingerprint(params)?;
        let whole = length.checked_add((HEADER_BYTES + CHECKSUM_BYTES) as u64);
        let Some(bytes) = whole.filter(|whole| *whole <= available) else {
            return Err(Error::Malformed {
                object: "frame",
                offset: offset as usize,
                reason: format!(
                    "payload of {length} bytes announced, the file ends {available} bytes after the frame's start"
                ),
            });
        };
        frames.push((offset, bytes as usize));
        offset += bytes;
    }
    Ok(frames)
}

/// The checked object of a frame.
fn found(params: &Arc<Parameters>, file: &File, offset: u64, length: usize) -> Result<Found> {
    let bytes = map(file, offset, length)?;
    let (frame, _) = Frame::split_first(&bytes)?;
    let ring = params.ring();
    // `count` polynomials as words, which follow what `reader` has read, and end the key.
    let bodies = |mut reader: Reader, basis: Basis, count: usize| -> Result<Vec<Poly>> {
        for _ in 0..count {
            take_words(&mut reader, ring, basis)?;
        }
        finish_key(reader)?;
        let first = offset + (HEADER_BYTES + HEAD_BYTES) as u64;
        let body = |number: usize| {
            let start = first + (number * words_bytes(ring, basis)) as u64;
            let words = AlignedBuffer::of_file(file, start, ring.limb_count(basis) * ring.n()).map_err(io)?;
            Ok(Poly::from_buffer(ring, basis, Domain::Eval, words))
        };
        (0..count).map(body).collect()
    };
    match frame.kind {
        Kind::EncapsulationKeys => Ok(Found::Encapsulation(EncapsulationKeys::from_bytes(params, &bytes)?)),
        Kind::RaisingKey => {
            let frame = Frame::parse(&bytes, Kind::RaisingKey)?;
            let mut reader = Reader::new(Kind::RaisingKey.name(), frame.payload);
            let head = BackHead::read(&mut reader, params)?;
            let bodies = bodies(reader, EncapsulationKeys::raised_basis(params, head.level), 1)?;
            let key = KeySwitchKey::new(head.seed, head.level, bodies);
            Ok(Found::Raising(head, key))
        }
        _ => {
            let frame = Frame::parse(&bytes, Kind::EvaluationKey)?;
            let mut reader = Reader::new(Kind::EvaluationKey.name(), frame.payload);
            let Head { purpose, level, seed } = Head::read(&mut reader, params)?;
            let bodies = bodies(reader, params.raised_basis(level), params.digits(level))?;
            Ok(Found::Key(purpose, KeySwitchKey::new(seed, level, bodies)))
        }
    }
}

fn map(file: &File, offset: u64, length: usize) -> Result<memmap2::Mmap> {
    // SAFETY: the mapping is only read, and its bytes are checked whatever they are; for a file that is cut short meanwhile see
    // the head of this file.
    unsafe { MmapOptions::new().offset(offset).len(length).map(file) }.map_err(io)
}

fn io(error: std::io::Error) -> Error {
    Error::Io {
        what: "evaluation keys".into(),
        reason: error.to_string(),
    }
}
