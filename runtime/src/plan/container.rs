//! The container of a plan file: sections behind a checked table. Integers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic `APHPLAN\0` |
//! | 4 | format version |
//! | 4 | zero |
//! | 3 x 48 | sections client, program, constant index: offset, length, BLAKE3 |
//! | 16 | constant data: offset, length (its blocks are hashed one by one in the index) |
//! | 32 | BLAKE3 of everything before |
//! | | the sections |
//!
//! Assumes nothing of the bytes read. Ensures that a section is handed out only after its bounds and its hash were
//! found right. The hashes find accidents; they are no authentication.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use crate::error::{Error, Result};

/// Version of the plan format.
pub const VERSION: u32 = 2;
const MAGIC: &[u8; 8] = b"APHPLAN\0";
const ENTRY_BYTES: usize = 48;
const N_HASHED: usize = 3;
const HEADER_BYTES: usize = 16 + N_HASHED * ENTRY_BYTES + 16 + 32;
const OBJECT: &str = "plan";

/// A section with a hash of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// JSON of the client's part.
    Client = 0,
    /// JSON of the program.
    Program = 1,
    /// JSON of the index of the constants.
    ConstantIndex = 2,
}

impl Section {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "client part",
            Self::Program => "program",
            Self::ConstantIndex => "constant index",
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: u64,
    length: u64,
    hash: [u8; 32],
}

/// Whatever the bytes of a plan lie in.
#[derive(Debug)]
enum Source<'a> {
    Memory(&'a [u8]),
    File(&'a File, String),
}

impl Source<'_> {
    /// `length` bytes at `offset`, which lie within the source.
    fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        match self {
            Self::Memory(bytes) => Ok(bytes[offset as usize..(offset + length) as usize].to_vec()),
            Self::File(file, name) => {
                let mut bytes = vec![0; length as usize];
                let mut file = *file;
                file.seek(SeekFrom::Start(offset))
                    .and_then(|_| file.read_exact(&mut bytes))
                    .map_err(|error| Error::Io {
                        what: name.clone(),
                        reason: error.to_string(),
                    })?;
                Ok(bytes)
            }
        }
    }
}

/// A container whose header has been checked.
#[derive(Debug)]
pub struct Container<'a> {
    source: Source<'a>,
    entries: [Entry; N_HASHED],
    data: (u64, u64),
}

impl<'a> Container<'a> {
    /// Opens a container in memory.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the offset of what is wrong.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self> {
        Self::open(Source::Memory(bytes), bytes.len() as u64)
    }

    /// Opens a container in a file; `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] with the offset of what is wrong.
    pub fn from_file(file: &'a File, name: &str) -> Result<Self> {
        let length = file.metadata().map_err(|error| Error::Io {
            what: name.to_string(),
            reason: error.to_string(),
        })?;
        Self::open(Source::File(file, name.to_string()), length.len())
    }

    fn open(source: Source<'a>, total: u64) -> Result<Self> {
        if total < HEADER_BYTES as u64 {
            return Err(malformed(
                0,
                format!("{total} bytes, a header alone has {HEADER_BYTES}"),
            ));
        }
        let header = source.read(0, HEADER_BYTES as u64)?;
        if &header[..8] != MAGIC {
            return Err(malformed(0, "not a plan: wrong magic".into()));
        }
        let version = read_u32(&header, 8);
        if version != VERSION {
            let reason = format!("format version {version}, this build reads {VERSION}: compile the model again");
            return Err(malformed(8, reason));
        }
        let hash_at = HEADER_BYTES - 32;
        if blake3::hash(&header[..hash_at]).as_bytes() != &header[hash_at..] {
            return Err(malformed(
                hash_at,
                "checksum of the header does not match: the file is damaged".into(),
            ));
        }
        let bounds = |at: usize| {
            let (offset, length) = (read_u64(&header, at), read_u64(&header, at + 8));
            match offset.checked_add(length) {
                Some(end) if end <= total => Ok((offset, length)),
                _ => Err(malformed(
                    at,
                    format!("{length} bytes at {offset} are not within the {total} bytes there are"),
                )),
            }
        };
        let mut entries = [Entry {
            offset: 0,
            length: 0,
            hash: [0; 32],
        }; N_HASHED];
        for (number, entry) in entries.iter_mut().enumerate() {
            let at = 16 + number * ENTRY_BYTES;
            (entry.offset, entry.length) = bounds(at)?;
            entry.hash.copy_from_slice(&header[at + 16..at + 48]);
        }
        let data = bounds(16 + N_HASHED * ENTRY_BYTES)?;
        Ok(Self { source, entries, data })
    }

    /// The bytes of a section.
    ///
    /// # Errors
    /// [`Error::Malformed`] when its hash does not match; [`Error::Io`].
    pub fn section(&self, section: Section) -> Result<Vec<u8>> {
        let entry = &self.entries[section as usize];
        let bytes = self.source.read(entry.offset, entry.length)?;
        if *blake3::hash(&bytes).as_bytes() != entry.hash {
            let reason = format!("checksum of the {} does not match: the file is damaged", section.name());
            return Err(malformed(entry.offset as usize, reason));
        }
        Ok(bytes)
    }

    /// Offset and length of the constant data, within the source.
    #[must_use]
    pub fn data(&self) -> (u64, u64) {
        self.data
    }
}

/// The bytes of a container.
#[must_use]
pub fn write(sections: [&[u8]; N_HASHED], data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + sections.iter().map(|s| s.len()).sum::<usize>() + data.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    let mut offset = HEADER_BYTES as u64;
    for section in sections {
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&(section.len() as u64).to_le_bytes());
        bytes.extend_from_slice(blake3::hash(section).as_bytes());
        offset += section.len() as u64;
    }
    bytes.extend_from_slice(&offset.to_le_bytes());
    bytes.extend_from_slice(&(data.len() as u64).to_le_bytes());
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    sections.iter().for_each(|section| bytes.extend_from_slice(section));
    bytes.extend_from_slice(data);
    bytes
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn malformed(offset: usize, reason: String) -> Error {
    Error::Malformed {
        object: OBJECT,
        offset,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let container = Container::from_bytes(bytes)?;
        [Section::Client, Section::Program, Section::ConstantIndex]
            .into_iter()
            .map(|section| container.section(section))
            .collect()
    }

    #[test]
    fn sections_come_back() {
        let bytes = write([b"one", b"", b"three"], b"data");
        assert_eq!(read_all(&bytes).unwrap(), [b"one".to_vec(), vec![], b"three".to_vec()]);
        let (offset, length) = Container::from_bytes(&bytes).unwrap().data();
        assert_eq!(&bytes[offset as usize..(offset + length) as usize], b"data");
    }

    proptest! {
        #[test]
        fn any_change_before_the_data_is_found(position: prop::sample::Index, flip in 1u8..) {
            let mut bytes = write([b"one", b"two", b"three"], b"");
            let position = position.index(bytes.len());
            // The four reserved bytes are covered by the header's hash, so they count too.
            bytes[position] ^= flip;
            prop_assert!(read_all(&bytes).is_err());
        }

        #[test]
        fn any_truncation_is_found(position: prop::sample::Index) {
            let bytes = write([b"one", b"two", b"three"], b"data");
            prop_assert!(read_all(&bytes[..position.index(bytes.len())]).is_err());
        }

        #[test]
        fn bytes_at_random_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(read_all(&bytes).is_err());
            let magic = MAGIC.len().min(bytes.len());
            bytes[..magic].copy_from_slice(&MAGIC[..magic]);
            prop_assert!(read_all(&bytes).is_err());
        }
    }
}
