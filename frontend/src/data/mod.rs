//! Arrays of numbers from numpy's file formats, and named tensors in safetensors files.

mod npy;
mod npz;
mod safetensors;

pub use npy::{Precision, read_npy, write_npy};
pub use npz::{Npz, read_npz};
pub(crate) use safetensors::Safetensors;
pub use safetensors::{read_safetensors, write_safetensors};

use crate::FrontendError;
use std::path::Path;

/// A dense array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Extent of every dimension, outermost first.
    pub shape: Vec<usize>,
    /// The elements, row-major, widened to 64 bits without loss.
    pub values: Vec<f64>,
}

/// Reads the array that `spec` names: `FILE.npy`, `FILE.npz:NAME`, or `FILE.npz`, which stands for the first of
/// `default_names` that the archive has.
///
/// # Errors
/// When the file cannot be read, is malformed, or has no such array.
pub fn load(spec: &str, default_names: &[&str]) -> Result<Array, FrontendError> {
    let (path, name) = match spec.rsplit_once(".npz:") {
        Some((stem, name)) => (format!("{stem}.npz"), Some(name)),
        None => (spec.to_string(), None),
    };
    let bytes = std::fs::read(Path::new(&path)).map_err(|source| FrontendError::Read {
        path: path.clone().into(),
        source,
    })?;
    let is_archive = name.is_some() || path.ends_with(".npz");
    if !is_archive {
        return read_npy(&bytes).map_err(|error| within(&path, error));
    }
    let mut archive = Npz::open(&bytes).map_err(|error| within(&path, error))?;
    let candidates = name.map_or(default_names.to_vec(), |name| vec![name]);
    match candidates
        .iter()
        .find(|name| archive.names().any(|known| known == **name))
    {
        Some(name) => archive.array(name).map_err(|error| within(&path, error)),
        None => {
            let names: Vec<_> = archive.names().collect();
            let message = format!(
                "there is no array {}; the archive has: {}. Name one as {path}:NAME",
                candidates.join(" or "),
                names.join(", ")
            );
            Err(FrontendError::array(&path, message))
        }
    }
}

/// Puts the file's name before what is wrong with its contents.
fn within(path: &str, error: FrontendError) -> FrontendError {
    match error {
        FrontendError::Array { name, message } => FrontendError::array(&format!("{path}, {name}"), message),
        other => other,
    }
}
