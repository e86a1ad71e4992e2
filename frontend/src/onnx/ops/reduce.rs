//! Reductions over whole axes, and softmax.

use crate::onnx::node::{self, Node};
use crate::onnx::value::Value;
use aphelion_ir::nn::NnOp;

/// Axes to reduce, and whether they stay with extent 1. No axes given means all, or none when the node says so.
pub(super) fn axes(node: &Node<'_>, rank: usize) -> Result<(Vec<usize>, bool), String> {
    let given = node.ints_attr_or_operand("axes", 1)?.unwrap_or_default();
    let axes = if !given.is_empty() {
        node::axes(&given, rank)?
    } else if node.int("noop_with_empty_axes", 0)? != 0 {
        vec![]
    } else {
        (0..rank).collect()
    };
    Ok((axes, node.int("keepdims", 1)? != 0))
}

pub(super) fn mean(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (axes, keep_dims) = axes(node, node.shape(0)?.len())?;
    let x = node.value(0)?;
    node.emit(NnOp::ReduceMean { x, axes, keep_dims })
}

pub(super) fn sum(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (axes, keep_dims) = axes(node, node.shape(0)?.len())?;
    let x = node.value(0)?;
    node.emit(NnOp::ReduceSum { x, axes, keep_dims })
}

/// Before operator set 13, softmax goes over all axes from `axis` on, taken as one.
pub(super) fn softmax(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let shape = node.shape(0)?;
    let is_flattened = node.opset() < 13;
    let axis = node::axis(node.int("axis", if is_flattened { 1 } else { -1 })?, shape.len())?;
    let x = node.value(0)?;
    let (leading, trailing) = shape.split_at(axis);
    if !is_flattened || trailing.iter().skip(1).all(|extent| *extent == 1) {
        return node.emit(NnOp::Softmax { x, axis });
    }
    let matrix = vec![leading.iter().product(), trailing.iter().product()];
    let x = node.push(NnOp::Reshape { x, shape: matrix })?;
    let x = node.push(NnOp::Softmax { x, axis: 1 })?;
    node.emit(NnOp::Reshape { x, shape })
}
