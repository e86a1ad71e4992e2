//! The npz format: a zip archive of npy files.

use super::{Array, read_npy};
use crate::FrontendError;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// Largest array file that is unpacked, 4 GiB. Deflate packs at most 1,032 to 1, so a small archive cannot get there.
const MAX_UNPACKED: u64 = 1 << 32;

/// An archive of arrays.
pub struct Npz<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// Position in the archive by array name, which is the file name without `.npy`.
    arrays: BTreeMap<String, usize>,
}

impl<'a> Npz<'a> {
    /// Reads the archive's directory.
    ///
    /// # Errors
    /// When `bytes` is no zip archive, or two arrays have one name.
    pub fn open(bytes: &'a [u8]) -> Result<Self, FrontendError> {
        let malformed = |error: zip::result::ZipError| FrontendError::array("npz", error.to_string());
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(malformed)?;
        let mut arrays = BTreeMap::new();
        for index in 0..archive.len() {
            let file = archive.by_index_raw(index).map_err(malformed)?;
            let name = file.name().map_err(malformed)?.to_string();
            if let Some(name) = name.strip_suffix(".npy")
                && arrays.insert(name.to_string(), index).is_some()
            {
                return Err(FrontendError::array("npz", format!("two arrays are called {name}")));
            }
        }
        Ok(Npz { archive, arrays })
    }

    /// Names of the arrays, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    /// Unpacks and reads the array called `name`.
    ///
    /// # Errors
    /// When there is none, or it is malformed.
    pub fn array(&mut self, name: &str) -> Result<Array, FrontendError> {
        let index = *(self.arrays.get(name)).ok_or_else(|| FrontendError::array(name, "there is no such array"))?;
        let file = self.archive.by_index(index);
        let file = file.map_err(|error| FrontendError::array(name, error.to_string()))?;
        let mut bytes = Vec::new();
        file.take(MAX_UNPACKED + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| FrontendError::array(name, error.to_string()))?;
        if bytes.len() as u64 > MAX_UNPACKED {
            return Err(FrontendError::array(
                name,
                format!("it unpacks to more than {MAX_UNPACKED} bytes"),
            ));
        }
        read_npy(&bytes).map_err(|error| super::within(name, error))
    }
}

/// Reads every array of an archive, by name.
///
/// # Errors
/// When `bytes` is no zip archive, or an array is malformed.
pub fn read_npz(bytes: &[u8]) -> Result<BTreeMap<String, Array>, FrontendError> {
    let mut archive = Npz::open(bytes)?;
    let names: Vec<String> = archive.names().map(str::to_string).collect();
    let read = |name: String| archive.array(&name).map(|array| (name, array));
    names.into_iter().map(read).collect()
}
