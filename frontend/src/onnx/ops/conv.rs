//! Convolution.

use super::window::{Window, extents};
use crate::onnx::node::Node;
use crate::onnx::value::Value;
use aphelion_ir::nn::NnOp;

pub(super) fn conv(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (input, weight) = (node.shape(0)?, node.shape(1)?);
    if !(3..=4).contains(&input.len()) || weight.len() != input.len() {
        return Err(format!(
            "only 1-D and 2-D convolutions are supported; found input {input:?} and weight {weight:?}"
        ));
    }
    let kernel = &weight[2..];
    if let Some(declared) = node.ints_attr("kernel_shape")?
        && extents("kernel_shape", declared, 1)? != kernel
    {
        return Err(format!(
            "`kernel_shape` = {declared:?} contradicts the weight {weight:?}"
        ));
    }
    let window = Window::new(node, &input[2..], kernel)?;
    let groups = extents("group", &[node.int("group", 1)?], 1)?[0];
    let (x, weight, bias) = (node.value(0)?, node.value(1)?, node.optional_value(2)?);
    node.emit(NnOp::Conv {
        x,
        weight,
        bias,
        strides: window.strides,
        pads: window.pads,
        dilations: window.dilations,
        groups,
    })
}
