//! The safetensors format: a JSON header with the names, types and places of tensors, then their elements.
//!
//! Ensures: lengths are checked against the file before anything of that size is allocated.

use crate::FrontendError;
use crate::float::{from_bf16, from_f16};
use ::safetensors::tensor::{Dtype, Metadata, TensorInfo, TensorView};
use aphelion_ir::{ConstantPool, IrError, Tensor};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Headers longer than this are refused; one entry takes about 100 bytes.
const MAX_HEADER_BYTES: u64 = 100 << 20;

/// An opened file: the names in it are known, the values are read when asked for.
#[derive(Debug)]
pub(crate) struct Safetensors {
    path: PathBuf,
    data_at: u64,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Safetensors {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// Why the file cannot be used, in words for the user.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
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
        Ok(Safetensors {
            path: path.to_path_buf(),
            data_at,
            tensors,
        })
    }

    /// Names of the tensors, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Reads the tensor `name`.
    ///
    /// # Errors
    /// Why it cannot be used, in words for the user.
    pub(crate) fn read(&self, name: &str) -> Result<Tensor, String> {
        let info = self.tensors.get(name).ok_or("there is no such tensor")?;
        let (start, end) = info.data_offsets;
        let io = |error: std::io::Error| format!("cannot read it: {error}");
        let mut file = File::open(&self.path).map_err(io)?;
        file.seek(SeekFrom::Start(self.data_at + start as u64)).map_err(io)?;
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
            Dtype::BF16 => Ok(f32s(2, |b| from_bf16(u16::from_le_bytes([b[0], b[1]])))),
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
}

/// Reads every tensor of a file.
///
/// # Errors
/// When the file cannot be read, is malformed, or holds tensors of other types than floats.
pub fn read_safetensors(path: &Path) -> Result<ConstantPool, FrontendError> {
    let malformed = |message: String| FrontendError::array(&path.display().to_string(), message);
    let file = Safetensors::open(path).map_err(malformed)?;
    let mut constants = ConstantPool::default();
    for name in file.names() {
        let tensor = file
            .read(name)
            .map_err(|message| malformed(format!("tensor {name}: {message}")))?;
        constants.insert(name, tensor);
    }
    Ok(constants)
}

/// A file of `tensors`, each in its own precision, as bytes; equal tensors give equal bytes.
///
/// # Errors
/// When the values of a tensor cannot be read, or it does not fit the format.
pub fn write_safetensors(tensors: &ConstantPool) -> Result<Vec<u8>, IrError> {
    let mut encoded = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors.iter() {
        let values = tensor.to_vec()?;
        let (dtype, bytes) = if tensor.is_f32() {
            let bytes: Vec<u8> = values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect();
            (Dtype::F32, bytes)
        } else {
            (Dtype::F64, values.iter().flat_map(|x| x.to_le_bytes()).collect())
        };
        encoded.push((&name.0, dtype, tensor.shape(), bytes));
    }
    let mut views = Vec::with_capacity(encoded.len());
    for (name, dtype, shape, bytes) in &encoded {
        let view = TensorView::new(*dtype, shape.to_vec(), bytes);
        views.push((
            &***name,
            view.map_err(|error| IrError::constant(name, error.to_string()))?,
        ));
    }
    ::safetensors::serialize(views, None).map_err(|error| IrError::constant("<file>", error.to_string()))
}
