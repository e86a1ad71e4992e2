//! Weight files: safetensors and npz next to the model file, read by name, one tensor at a time.
//!
//! Ensures: only files below the model's folder are opened, links included; NaN and infinity are refused.

use crate::data::{Npz, Safetensors};
use aphelion_ir::Tensor;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// An opened weight file: the names in it are known, the values are read when asked for.
#[derive(Debug)]
pub(super) enum WeightFile {
    Safetensors(Safetensors),
    Npz { bytes: Vec<u8>, names: BTreeSet<String> },
}

impl WeightFile {
    /// Opens `name`, a path below `folder`.
    ///
    /// # Errors
    /// Why the file cannot be used, in words for the user.
    pub(super) fn open(folder: &Path, name: &str) -> Result<Self, String> {
        let path = confined(folder, name)?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("safetensors") => Ok(WeightFile::Safetensors(Safetensors::open(&path)?)),
            Some("npz") => open_npz(&path),
            _ => Err("weight files end in `.safetensors` or `.npz`".into()),
        }
    }

    /// Names of the tensors, in order.
    pub(super) fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            WeightFile::Safetensors(file) => Box::new(file.names()),
            WeightFile::Npz { names, .. } => Box::new(names.iter().map(String::as_str)),
        }
    }

    /// Whether there is a tensor `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            WeightFile::Safetensors(file) => file.has(name),
            WeightFile::Npz { names, .. } => names.contains(name),
        }
    }

    /// Reads the tensor `name`.
    ///
    /// # Errors
    /// Why it cannot be used, in words for the user.
    pub(super) fn read(&self, name: &str) -> Result<Tensor, String> {
        let tensor = match self {
            WeightFile::Safetensors(file) => file.read(name)?,
            WeightFile::Npz { bytes, .. } => {
                let mut archive = Npz::open(bytes).map_err(|error| error.to_string())?;
                let array = archive.array(name).map_err(|error| error.to_string())?;
                Tensor::from_f64(array.shape, array.values)
            }
        };
        let values = tensor.to_vec().map_err(|error| error.to_string())?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(format!("element {index} is {}", values[index])),
            None => Ok(tensor),
        }
    }
}

/// The file `name` below `folder`, with links resolved.
fn confined(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let relative = Path::new(name);
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if name.is_empty() || !relative.components().all(is_plain) {
        return Err("the path must stay in the folder of the model file: no `..`, and no leading `/`".into());
    }
    let open = |path: &Path| path.canonicalize().map_err(|error| format!("cannot open it: {error}"));
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let (folder, path) = (open(folder)?, open(&folder.join(relative))?);
    if path.starts_with(&folder) {
        Ok(path)
    } else {
        Err("it is a link that leaves the folder of the model file".into())
    }
}

fn open_npz(path: &Path) -> Result<WeightFile, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read it: {error}"))?;
    let archive = Npz::open(&bytes).map_err(|error| error.to_string())?;
    let names = archive.names().map(str::to_string).collect();
    Ok(WeightFile::Npz { bytes, names })
}
