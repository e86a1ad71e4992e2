//! The frame around every object on the wire.
//!
//! Layout, integers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic `APHELION` |
//! | 2 | format version |
//! | 2 | kind of object |
//! | 4 | zero |
//! | 16 | fingerprint of the parameters |
//! | 8 | payload length n |
//! | n | payload |
//! | 32 | BLAKE3 of everything before |
//!
//! Assumes nothing of the bytes read. Ensures that a payload is handed out only after magic, version, kind, length and
//! checksum have been found right, and that nothing is allocated by a length that was not compared with the bytes at
//! hand. The checksum finds accidents; it is no authentication.

use std::io::Read;

use crate::ckks::params::Parameters;
use crate::error::{Error, Result};

/// Version of all wire formats.
pub const VERSION: u16 = 3;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 40;
/// Bytes after the payload.
pub const CHECKSUM_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"APHELION";

/// Identifies a parameter set: the first bytes of the BLAKE3 hash of its encoding.
pub type Fingerprint = [u8; 16];

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// Public parameters.
    Parameters = 1,
    /// A secret key.
    SecretKey = 2,
    /// A public encryption key.
    PublicKey = 3,
    /// One evaluation key.
    EvaluationKey = 4,
    /// A ciphertext.
    Ciphertext = 5,
    /// The key to an ephemeral sparse secret.
    EncapsulationKeys = 6,
    /// A key from an ephemeral sparse secret back.
    RaisingKey = 7,
}

impl Kind {
    /// Every kind, by rising number.
    pub const ALL: [Self; 7] = [
        Self::Parameters,
        Self::SecretKey,
        Self::PublicKey,
        Self::EvaluationKey,
        Self::Ciphertext,
        Self::EncapsulationKeys,
        Self::RaisingKey,
    ];

    /// The kind in words, for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parameters => "parameters",
            Self::SecretKey => "secret key",
            Self::PublicKey => "public key",
            Self::EvaluationKey => "evaluation key",
            Self::Ciphertext => "ciphertext",
            Self::EncapsulationKeys => "encapsulation key",
            Self::RaisingKey => "raising key",
        }
    }
}

/// A checked frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame<'a> {
    /// What it holds.
    pub kind: Kind,
    /// Parameters it belongs to.
    pub fingerprint: Fingerprint,
    /// The object's own bytes.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads the frame at the start of `bytes`; returns it with the bytes that follow.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the bytes are not a whole, undamaged frame of this version.
    pub fn split_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8])> {
        let mut reader = Reader::new("frame", bytes);
        let (kind, fingerprint, length) = read_header(&mut reader)?;
        let available = bytes.len().saturating_sub(HEADER_BYTES + CHECKSUM_BYTES);
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= available) else {
            let reason = format!("payload of {length} bytes announced, {available} bytes are there");
            return Err(reader.malformed_at(LENGTH_OFFSET, reason));
        };
        let payload = reader.take(length)?;
        let checksum_at = reader.offset;
        let checksum: [u8; CHECKSUM_BYTES] = reader.array()?;
        if *blake3::hash(&bytes[..checksum_at]).as_bytes() != checksum {
            return Err(reader.malformed_at(checksum_at, "checksum does not match: the bytes are damaged"));
        }
        Ok((
            Self {
                kind,
                fingerprint,
                payload,
            },
            &bytes[reader.offset..],
        ))
    }

    /// Reads a header: the frame without its payload, and the payload's length.
    ///
    /// # Errors
    /// [`Error::Malformed`] for bytes that do not start with a header of this version.
    pub fn header(bytes: &[u8]) -> Result<(Self, u64)> {
        let (kind, fingerprint, length) = read_header(&mut Reader::new("frame", bytes))?;
        let payload = &[];
        Ok((
            Self {
                kind,
                fingerprint,
                payload,
            },
            length,
        ))
    }

    /// Reads the bytes of the next frame of a stream, `None` at its end; it belongs to `params`. Memory grows with what arrives, not with what
    /// is announced, and never beyond `max_payload`.
    ///
    /// # Errors
    /// [`Error::Io`] when reading fails, [`Error::ParameterMismatch`], [`Error::Malformed`] for a bad header, a payload
    /// above `max_payload`, or an end within the frame. The checksum is verified by [`Frame::parse`].
    pub fn read_bytes(stream: &mut impl Read, params: &Parameters, max_payload: usize) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        read_up_to(stream, HEADER_BYTES as u64, &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let (header, length) = Self::header(&bytes)?;
        header.check_fingerprint(params)?;
        if length > max_payload as u64 {
            let reason = format!("payload of {length} bytes announced, at most {max_payload} are possible");
            return Err(Reader::new("frame", &bytes).malformed_at(LENGTH_OFFSET, reason));
        }
        let missing = length + CHECKSUM_BYTES as u64;
        read_up_to(stream, missing, &mut bytes)?;
        if bytes.len() as u64 != HEADER_BYTES as u64 + missing {
            return Err(Reader::new("frame", &bytes).malformed_at(bytes.len(), "the stream ends within the frame"));
        }
        Ok(Some(bytes))
    }

    /// Reads `bytes` as exactly one frame of `kind`.
    ///
    /// # Errors
    /// As [`Frame::split_first`], and for another kind or trailing bytes.
    pub fn parse(bytes: &'a [u8], kind: Kind) -> Result<Self> {
        let (frame, rest) = Self::split_first(bytes)?;
        let reader = Reader::new(kind.name(), bytes);
        if frame.kind != kind {
            return Err(reader.malformed_at(10, format!("this is a {}, not a {}", frame.kind.name(), kind.name())));
        }
        if !rest.is_empty() {
            let reason = format!("{} bytes follow the object", rest.len());
            return Err(reader.malformed_at(bytes.len() - rest.len(), reason));
        }
        Ok(frame)
    }

    /// Checks that the object belongs to these parameters.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`].
    pub fn check_fingerprint(&self, params: &Parameters) -> Result<()> {
        if self.fingerprint == *params.fingerprint() {
            return Ok(());
        }
        let hex = |fingerprint: &Fingerprint| fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
        let (expected, found) = (hex(params.fingerprint()), hex(&self.fingerprint));
        Err(Error::ParameterMismatch {
            object: self.kind.name(),
            expected,
            found,
        })
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.payload.len() + CHECKSUM_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(self.kind as u16).to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&self.fingerprint);
        bytes.extend_from_slice(&(self.payload.len() as u64).to_le_bytes());
        bytes.extend_from_slice(self.payload);
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        bytes
    }
}

/// Where the header holds the payload's length.
const LENGTH_OFFSET: usize = 32;

fn read_header(reader: &mut Reader) -> Result<(Kind, Fingerprint, u64)> {
    if reader.take(8)? != MAGIC {
        return Err(reader.malformed_at(0, "not an object of this project: wrong magic"));
    }
    let version = reader.u16()?;
    if version != VERSION {
        return Err(reader.malformed_at(8, format!("format version {version}, this build reads {VERSION}")));
    }
    let number = reader.u16()?;
    let Some(kind) = Kind::ALL.into_iter().find(|kind| *kind as u16 == number) else {
        return Err(reader.malformed_at(10, format!("unknown kind of object {number}")));
    };
    if reader.u32()? != 0 {
        return Err(reader.malformed_at(12, "reserved bytes are not zero"));
    }
    Ok((kind, reader.array()?, reader.u64()?))
}

fn read_up_to(stream: &mut impl Read, count: u64, bytes: &mut Vec<u8>) -> Result<()> {
    let io_error = |error: std::io::Error| Error::Io {
        what: "frame".into(),
        reason: error.to_string(),
    };
    stream.take(count).read_to_end(bytes).map(|_| ()).map_err(io_error)
}

/// Reads numbers off a byte slice; running out of bytes is an error that names the object and the offset.
pub(super) struct Reader<'a> {
    object: &'static str,
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(object: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            object,
            bytes,
            offset: 0,
        }
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        if count > self.remaining() {
            return Err(self.malformed(format!("{count} bytes expected, {} are left", self.remaining())));
        }
        let taken = &self.bytes[self.offset..self.offset + count];
        self.offset += count;
        Ok(taken)
    }

    pub(super) fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT]> {
        let mut array = [0; COUNT];
        array.copy_from_slice(self.take(COUNT)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// Succeeds if every byte has been read.
    pub(super) fn finish(&self) -> Result<()> {
        match self.remaining() {
            0 => Ok(()),
            rest => Err(self.malformed(format!("{rest} bytes too many"))),
        }
    }

    pub(super) fn malformed(&self, reason: impl Into<String>) -> Error {
        self.malformed_at(self.offset, reason)
    }

    pub(super) fn malformed_at(&self, offset: usize, reason: impl Into<String>) -> Error {
        Error::Malformed {
            object: self.object,
            offset,
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(payload: &[u8]) -> Vec<u8> {
        Frame {
            kind: Kind::Ciphertext,
            fingerprint: [7; 16],
            payload,
        }
        .to_bytes()
    }

    proptest! {
        #[test]
        fn frame_round_trips(payload: Vec<u8>, tail: Vec<u8>) {
            let mut bytes = sample(&payload);
            prop_assert_eq!(Frame::parse(&bytes, Kind::Ciphertext).unwrap().payload, &payload[..]);
            bytes.extend_from_slice(&tail);
            let (frame, rest) = Frame::split_first(&bytes).unwrap();
            prop_assert_eq!((frame.payload, rest), (&payload[..], &tail[..]));
        }

        #[test]
        fn any_change_is_found(payload: Vec<u8>, position: prop::sample::Index, flip in 1u8..) {
            let mut bytes = sample(&payload);
            let position = position.index(bytes.len());
            bytes[position] ^= flip;
            prop_assert!(Frame::parse(&bytes, Kind::Ciphertext).is_err());
        }

        #[test]
        fn any_truncation_is_found(payload: Vec<u8>, position: prop::sample::Index) {
            let bytes = sample(&payload);
            prop_assert!(Frame::split_first(&bytes[..position.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn a_length_beyond_the_bytes_is_refused() {
        let mut bytes = sample(b"abc");
        bytes[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        let error = Frame::split_first(&bytes).unwrap_err();
        assert!(matches!(error, Error::Malformed { offset: 32, .. }), "{error}");
    }
}
