//! Tensors of the file into numbers, whatever field and type the exporter stored them in.
//!
//! Ensures: the elements are as many as the shape says, and finite; nothing is allocated beyond a small multiple of
//! the bytes that are there.

use super::external;
use super::proto::{DataType, TensorProto};
use super::value::{Ints, Value};
use crate::float::{from_bf16, from_f16};
use aphelion_ir::Tensor;
use std::path::Path;

/// `data_location` of a tensor in a file of its own.
const EXTERNAL: i32 = 1;

/// The numbers of `tensor`: [`Value::Float`] or [`Value::Int`].
pub(super) fn decode(tensor: &TensorProto, base_dir: Option<&Path>) -> Result<Value, String> {
    let code = tensor.data_type.unwrap_or(0);
    let data_type = DataType::try_from(code)
        .ok()
        .filter(|data_type| *data_type != DataType::Undefined);
    let data_type = data_type.ok_or_else(|| {
        format!("elements of ONNX type {code} are not supported; expected floats, integers or booleans")
    })?;
    let shape = (tensor.dims.iter())
        .map(|&extent| usize::try_from(extent).map_err(|_| format!("the extent {extent} is negative")))
        .collect::<Result<Vec<_>, _>>()?;
    let n_elements = shape
        .iter()
        .try_fold(1usize, |product, extent| product.checked_mul(*extent));
    let n_elements = n_elements
        .filter(|n| n.checked_mul(8).is_some())
        .ok_or_else(|| format!("shape {shape:?} is too large"))?;
    let elements = if tensor.data_location == Some(EXTERNAL) {
        let bytes = external::read(&tensor.external_data, n_elements * size(data_type), base_dir)?;
        Elements::from_bytes(data_type, &bytes)?
    } else if let Some(bytes) = tensor.raw_data.as_deref().filter(|bytes| !bytes.is_empty()) {
        Elements::from_bytes(data_type, bytes)?
    } else {
        Elements::from_fields(data_type, tensor)?
    };
    if elements.len() != n_elements {
        return Err(format!(
            "shape {shape:?} needs {n_elements} elements, found {}",
            elements.len()
        ));
    }
    if let Some(found) = elements.not_finite() {
        return Err(format!(
            "it contains {found}; the model was not trained or not saved properly"
        ));
    }
    Ok(match elements {
        Elements::F32(values) => Value::Float(Tensor::from_f32(shape, values)),
        Elements::F64(values) => Value::Float(Tensor::from_f64(shape, values)),
        Elements::Int(values) => Value::Int(Ints { shape, values }),
    })
}

/// Bytes of one element.
fn size(data_type: DataType) -> usize {
    match data_type {
        DataType::Undefined => 0,
        DataType::Bool | DataType::Int8 | DataType::Uint8 => 1,
        DataType::Int16 | DataType::Uint16 | DataType::Float16 | DataType::Bfloat16 => 2,
        DataType::Int32 | DataType::Uint32 | DataType::Float => 4,
        DataType::Int64 | DataType::Uint64 | DataType::Double => 8,
    }
}

enum Elements {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Int(Vec<i64>),
}

impl Elements {
    /// Elements stored one after the other, little endian.
    fn from_bytes(data_type: DataType, bytes: &[u8]) -> Result<Self, String> {
        let size = size(data_type);
        if !bytes.len().is_multiple_of(size) {
            return Err(format!(
                "{} bytes are no whole number of {size}-byte elements",
                bytes.len()
            ));
        }
        let words = bytes
            .chunks_exact(size)
            .map(|chunk| chunk.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte)));
        Elements::from_words(data_type, words)
    }

    /// Elements in the field that the standard has for their type.
    fn from_fields(data_type: DataType, tensor: &TensorProto) -> Result<Self, String> {
        match data_type {
            DataType::Float => Ok(Elements::F32(tensor.float_data.clone())),
            DataType::Double => Ok(Elements::F64(tensor.double_data.clone())),
            DataType::Int64 => Ok(Elements::Int(tensor.int64_data.clone())),
            DataType::Uint32 | DataType::Uint64 => Elements::from_words(data_type, tensor.uint64_data.iter().copied()),
            _ => Elements::from_words(data_type, tensor.int32_data.iter().map(|&x| x as u64)),
        }
    }

    /// Elements from words whose low bits hold them.
    fn from_words(data_type: DataType, words: impl Iterator<Item = u64>) -> Result<Self, String> {
        let signed = |bits: u32| move |word: u64| (word << (64 - bits)) as i64 >> (64 - bits);
        Ok(match data_type {
            DataType::Float => Elements::F32(words.map(|word| f32::from_bits(word as u32)).collect()),
            DataType::Float16 => Elements::F32(words.map(|word| from_f16(word as u16)).collect()),
            DataType::Bfloat16 => Elements::F32(words.map(|word| from_bf16(word as u16)).collect()),
            DataType::Double => Elements::F64(words.map(f64::from_bits).collect()),
            DataType::Int8 => Elements::Int(words.map(signed(8)).collect()),
            DataType::Int16 => Elements::Int(words.map(signed(16)).collect()),
            DataType::Int32 => Elements::Int(words.map(signed(32)).collect()),
            DataType::Int64 => Elements::Int(words.map(signed(64)).collect()),
            DataType::Bool => Elements::Int(words.map(|word| i64::from(word & 0xff != 0)).collect()),
            DataType::Uint8 => Elements::Int(words.map(|word| i64::from(word as u8)).collect()),
            DataType::Uint16 => Elements::Int(words.map(|word| i64::from(word as u16)).collect()),
            DataType::Uint32 => Elements::Int(words.map(|word| i64::from(word as u32)).collect()),
            DataType::Uint64 => {
                let narrow = |word| i64::try_from(word).map_err(|_| format!("the integer {word} exceeds 63 bits"));
                Elements::Int(words.map(narrow).collect::<Result<_, _>>()?)
            }
            DataType::Undefined => return Err("the type of its elements is not given".into()),
        })
    }

    fn len(&self) -> usize {
        match self {
            Elements::F32(values) => values.len(),
            Elements::F64(values) => values.len(),
            Elements::Int(values) => values.len(),
        }
    }

    /// The first value that is no number, if there is one.
    fn not_finite(&self) -> Option<f64> {
        match self {
            Elements::F32(values) => values.iter().find(|x| !x.is_finite()).map(|&x| f64::from(x)),
            Elements::F64(values) => values.iter().copied().find(|x| !x.is_finite()),
            Elements::Int(_) => None,
        }
    }
}
