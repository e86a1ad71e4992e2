//! The same elements under another shape.

use crate::onnx::node::{self, Node};
use crate::onnx::value::Value;

/// A matrix: axes before `axis` become rows, the others columns.
pub(super) fn flatten(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let shape = node.shape(0)?;
    let axis = match node.int("axis", 1)? {
        axis if axis == shape.len() as i64 => shape.len(),
        axis => node::axis(axis, shape.len())?,
    };
    let (rows, columns) = shape.split_at(axis);
    node.emit_reshaped(0, vec![rows.iter().product(), columns.iter().product()])
}

/// An extent of -1 is what is left over; 0 is that of the input, unless `allowzero`.
pub(super) fn reshape(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let input = node.shape(0)?;
    let wanted = node.ints(1)?.ok_or("the shape is missing")?.values;
    let allow_zero = node.int("allowzero", 0)? != 0;
    let mut shape = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (axis, &extent) in wanted.iter().enumerate() {
        shape.push(match extent {
            0 if !allow_zero => {
                *(input.get(axis)).ok_or_else(|| format!("{input:?} has no dimension {axis} to copy"))?
            }
            -1 if open.replace(axis).is_none() => 1,
            _ => usize::try_from(extent).map_err(|_| format!("{wanted:?} is no shape"))?,
        });
    }
    if let Some(axis) = open {
        let n_elements: usize = input.iter().product();
        let others = shape
            .iter()
            .try_fold(1usize, |product, extent| product.checked_mul(*extent));
        let others = others.filter(|others| *others > 0 && n_elements.is_multiple_of(*others));
        shape[axis] = n_elements / others.ok_or_else(|| format!("{input:?} cannot be reshaped to {wanted:?}"))?;
    }
    node.emit_reshaped(0, shape)
}

/// Without axes, all dimensions of extent 1 go away.
pub(super) fn squeeze(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let shape = node.shape(0)?;
    let axes = match node.ints_attr_or_operand("axes", 1)? {
        Some(axes) => node::axes(&axes, shape.len())?,
        None => (0..shape.len()).filter(|&axis| shape[axis] == 1).collect(),
    };
    if let Some(axis) = axes.iter().find(|&&axis| shape[axis] != 1) {
        return Err(format!("dimension {axis} of {shape:?} has not extent 1"));
    }
    let kept = (0..shape.len()).filter(|axis| !axes.contains(axis));
    node.emit_reshaped(0, kept.map(|axis| shape[axis]).collect())
}

/// Axes count in the result.
pub(super) fn unsqueeze(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let axes = node.ints_attr_or_operand("axes", 1)?.ok_or("the axes are missing")?;
    let mut shape = node.shape(0)?;
    for axis in node::axes(&axes, shape.len() + axes.len())? {
        shape.insert(axis, 1);
    }
    node.emit_reshaped(0, shape)
}
