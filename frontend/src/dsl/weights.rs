//! Weight files: safetensors and npz next to the model file, read by name, one tensor at a time.
//!
//! Ensures: only files below the model's folder are opened, links included; lengths are checked against the file before
//! anything of that size is allocated; NaN and infinity are refused.

use crate::data::Npz;
use crate::float::from_f16;
use aphelion_ir::Tensor;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// Headers longer than this are refused; one entry takes about 100 bytes.
const MAX_HEADER_BYTES: u64 = 100 << 20;

/// An opened weight file: the names in it are known, the values are read when asked for.
#[derive(Debug)]
pub(super) struct WeightFile {
    path: PathBuf,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    Safetensors {
        data_at: u64,
        tensors: BTreeMap<String, TensorInfo>,
    },
    Npz {
        bytes: Vec<u8>,
        names: BTreeSet<String>,
    },
}

impl WeightFile {
    /// Opens `name`, a path below `folder`.
    ///
    /// # Errors
    /// Why the file cannot be used, in words for the user.
    pub(super) fn open(folder: &Path, name: &str) -> Result<Self, String> {
        let path = confined(folder, name)?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let contents = match extension {
            Some("safetensors") => open_safetensors(&path)?,
            Some("npz") => open_npz(&path)?,
            _ => return Err("weight files end in `.safetensors` or `.npz`".into()),
        };
        Ok(WeightFile { path, contents })
    }

    /// Names of the tensors, in order.
    pub(super) fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match &self.contents {
            Contents::Safetensors { tensors, .. } => Box::new(tensors.keys().map(String::as_str)),
            Contents::Npz { names, .. } => Box::new(names.iter().map(String::as_str)),
        }
    }

    /// Whether there is a tensor `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        match &self.contents {
            Contents::Safetensors { tensors, .. } => tensors.contains_key(name),
            Contents::Npz { names, .. } => names.contains(name),
        }
    }

    /// Reads the tensor `name`.
    ///
    /// # Errors
    /// Why it cannot be used, in words for the user.
    pub(super) fn read(&self, name: &str) -> Result<Tensor, String> {
        let tensor = match &self.contents {
            Contents::Safetensors { data_at, tensors } => {
                let info = tensors.get(name).ok_or("there is no such tensor")?;
                read_safetensor(&self.path, *data_at, info)?
            }
            Contents::Npz { bytes, .. } => {
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

fn open_npz(path: &Path) -> Result<Contents, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot read it: {error}"))?;
    let archive = Npz::open(&bytes).map_err(|error| error.to_string())?;
    let names = archive.names().map(str::to_string).collect();
    Ok(Contents::Npz { bytes, names })
}

fn open_safetensors(path: &Path) -> Result<Contents, String> {
    let io = |error: std::io::Error| format!("cannot read it: {error}");
    let mut file = File::open(path).map_err(io)?;
    let n_bytes = file.metadata().map_err(io)?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(io)?;
    let n_header = u64::from_le_bytes(length);
    let data_at = n_header.saturating_add(8);
    if n_header > MAX_HEADER_BYTES || data_at > n_bytes {
        return Err(format!("the header claims {n_header} bytes, the file has {n_bytes}"));
    }
    let mut header = vec![0; n_header as usize];
    file.read_exact(&mut header).map_err(io)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| format!("the header is malformed: {error}"))?;
    let n_data = metadata.data_len() as u64;
    if n_data != n_bytes - data_at {
        return Err(format!(
            "the header describes {n_data} bytes of data, the file has {}",
            n_bytes - data_at
        ));
    }
    let tensors = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| (name, info.clone()))
        .collect();
    Ok(Contents::Safetensors { data_at, tensors })
}

fn read_safetensor(path: &Path, data_at: u64, info: &TensorInfo) -> Result<Tensor, String> {
    let (start, end) = info.data_offsets;
    let io = |error: std::io::Error| format!("cannot read it: {error}");
    let mut file = File::open(path).map_err(io)?;
    file.seek(SeekFrom::Start(data_at + start as u64)).map_err(io)?;
    // Read through `take`, not into a buffer of the claimed size: the file may have shrunk since it was opened.
    let mut bytes = Vec::new();
    file.take((end - start) as u64).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() != end - start {
        return Err("the file ends inside of it".into());
    }
    let f32s = |width: usize, value: fn(&[u8]) -> f32| {
        Tensor::from_f32(info.shape.clone(), bytes.chunks_exact(width).map(value).collect())
    };
    // The header check has tied the byte range of a tensor to its shape and element type.
    match info.dtype {
        Dtype::F16 => Ok(f32s(2, |b| from_f16(u16::from_le_bytes([b[0], b[1]])))),
        Dtype::BF16 => Ok(f32s(2, |b| {
            f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16)
        })),
        Dtype::F32 => Ok(f32s(4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
        Dtype::F64 => {
            let value = |b: &[u8]| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
            Ok(Tensor::from_f64(
                info.shape.clone(),
                bytes.chunks_exact(8).map(value).collect(),
            ))
        }
        other => Err(format!(
            "its element type is {other:?}; weights are F16, BF16, F32 or F64"
        )),
    }
}
