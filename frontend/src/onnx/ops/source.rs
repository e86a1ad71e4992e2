//! Ops that compute nothing at inference: constants, casts, shapes, what training left behind.

use super::fold;
use crate::onnx::node::Node;
use crate::onnx::proto::DataType;
use crate::onnx::tensor;
use crate::onnx::value::{Ints, Value};
use aphelion_ir::Tensor;

/// Tensors that the model asks to be filled may have as many elements as this.
const MAX_FILLED: usize = 1 << 24;

pub(super) const CONSTANT_ATTRS: &[&str] = &["value", "value_float", "value_floats", "value_int", "value_ints"];

pub(super) fn identity(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    Ok(vec![node.operand(0)?])
}

/// Nothing is dropped at inference.
pub(super) fn dropout(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    if node.ints(2)?.is_some_and(|training| training.values != [0]) {
        return Err("training mode is not supported; export the model for inference".into());
    }
    Ok(vec![node.operand(0)?])
}

/// Rounding between float types is left out.
pub(super) fn cast(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let code = node.int("to", 0)?;
    let to = i32::try_from(code).ok().and_then(|code| DataType::try_from(code).ok());
    let is_float = match to {
        None | Some(DataType::Undefined) => return Err(format!("a cast to ONNX type {code} is not supported")),
        Some(DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16) => true,
        Some(_) => false,
    };
    Ok(vec![match (node.operand(0)?, is_float) {
        (Value::Node(_), false) => return Err("encrypted numbers cannot be cast to integers".into()),
        (Value::Int(ints), true) => Value::Float(ints.to_tensor()),
        (Value::Int(Ints { shape, values }), false) if to == Some(DataType::Bool) => Value::Int(Ints {
            shape,
            values: values.iter().map(|&x| i64::from(x != 0)).collect(),
        }),
        (Value::Float(tensor), false) => {
            let values = tensor.to_vec().map_err(|error| error.to_string())?;
            let cast = |x: &f64| {
                if to == Some(DataType::Bool) {
                    i64::from(*x != 0.0)
                } else {
                    *x as i64
                }
            };
            Value::Int(Ints {
                shape: tensor.shape().to_vec(),
                values: values.iter().map(cast).collect(),
            })
        }
        (same, _) => same,
    }])
}

pub(super) fn constant(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    if let Some(tensor) = node.tensor_attr("value")? {
        // Constants in nodes have no file of their own in practice, and no folder is known here.
        return Ok(vec![tensor::decode(tensor, None)?]);
    }
    if node.has_attr("value_float") {
        return Ok(vec![Value::Float(Tensor::scalar(node.float("value_float", 0.0)?))]);
    }
    if let Some(floats) = node.floats_attr("value_floats")? {
        if floats.iter().any(|x| !x.is_finite()) {
            return Err("it contains a value that is no finite number".into());
        }
        return Ok(vec![Value::Float(Tensor::from_f32(
            vec![floats.len()],
            floats.to_vec(),
        ))]);
    }
    if node.has_attr("value_int") {
        let value = node.int("value_int", 0)?;
        return Ok(vec![Value::Int(Ints {
            shape: vec![],
            values: vec![value],
        })]);
    }
    match node.ints_attr("value_ints")? {
        Some(ints) => Ok(vec![Value::Int(Ints::vector(ints.to_vec()))]),
        None => Err("the value is missing".into()),
    }
}

/// Zeros, or copies of `value`.
pub(super) fn constant_of_shape(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let shape = node.ints(0)?.ok_or("the shape is missing")?.values;
    let extents = shape
        .iter()
        .map(|&extent| usize::try_from(extent))
        .collect::<Result<Vec<_>, _>>();
    let extents = extents.map_err(|_| format!("{shape:?} is no shape"))?;
    let n_elements = extents
        .iter()
        .try_fold(1usize, |product, extent| product.checked_mul(*extent));
    let within = |limit: usize| {
        let bounded = n_elements.filter(|n| *n <= limit);
        bounded.ok_or_else(|| format!("{shape:?} has more than {limit} elements"))
    };
    let value = match node.tensor_attr("value")? {
        Some(tensor) => tensor::decode(tensor, None)?,
        None => Value::Float(Tensor::scalar(0.0)),
    };
    match value {
        Value::Int(Ints { values, .. }) if values.len() == 1 => Ok(vec![Value::Int(Ints {
            values: vec![values[0]; within(fold::MAX_INTS)?],
            shape: extents,
        })]),
        Value::Float(tensor) if tensor.len() == 1 => {
            let value = tensor.to_vec().map_err(|error| error.to_string())?[0];
            let n_elements = within(MAX_FILLED)?;
            // Lazy, so that few bytes of model cannot fill the memory.
            Ok(vec![Value::Float(Tensor::lazy(extents, move || {
                Ok(vec![value; n_elements])
            }))])
        }
        _ => Err("`value` must be a single number".into()),
    }
}

/// The extents from dimension `start` to before `end`.
pub(super) fn shape(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let shape = node.shape(0)?;
    let rank = shape.len() as i64;
    let counted = |axis: i64| if axis < 0 { axis + rank } else { axis }.clamp(0, rank) as usize;
    let (start, end) = (counted(node.int("start", 0)?), counted(node.int("end", rank)?));
    let extents = shape.get(start..end).unwrap_or(&[]);
    Ok(vec![Value::Int(Ints::vector(
        extents.iter().map(|&x| x as i64).collect(),
    ))])
}

pub(super) fn size(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let n_elements: usize = node.shape(0)?.iter().product();
    Ok(vec![Value::Int(Ints {
        shape: vec![],
        values: vec![n_elements as i64],
    })])
}
