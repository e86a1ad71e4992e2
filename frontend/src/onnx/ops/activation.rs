//! Functions of one variable.

use crate::onnx::node::Node;
use crate::onnx::value::Value;
use aphelion_ir::nn::{Func, NnOp};

fn apply(node: &mut Node<'_>, func: Func) -> Result<Vec<Value>, String> {
    let x = node.value(0)?;
    node.emit(NnOp::Apply { x, func })
}

pub(super) fn relu(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    apply(node, Func::Relu {})
}

pub(super) fn leaky_relu(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let alpha = node.float("alpha", 0.01)?;
    apply(node, Func::LeakyRelu { alpha })
}

pub(super) fn prelu(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (x, slope) = (node.value(0)?, node.value(1)?);
    node.emit(NnOp::PRelu { x, slope })
}

pub(super) fn sigmoid(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    apply(node, Func::Sigmoid {})
}

pub(super) fn tanh(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    apply(node, Func::Tanh {})
}

pub(super) fn gelu(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    match node.string("approximate", "none")? {
        "none" => apply(node, Func::Gelu {}),
        "tanh" => apply(node, Func::GeluTanh {}),
        other => Err(format!("`approximate` = {other} is unknown")),
    }
}

pub(super) fn hard_swish(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    apply(node, Func::HardSwish {})
}

pub(super) fn hard_sigmoid(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (alpha, beta) = (node.float("alpha", 0.2)?, node.float("beta", 0.5)?);
    apply(node, Func::HardSigmoid { alpha, beta })
}

pub(super) fn softplus(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    apply(node, Func::Softplus {})
}

/// Bounds are attributes before operator set 11, operands since; an absent one is the largest 32-bit float.
pub(super) fn clip(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (lowest, highest) = (f64::from(f32::MIN), f64::from(f32::MAX));
    let low = node.scalar(1)?.map_or_else(|| node.float("min", lowest), Ok)?;
    let high = node.scalar(2)?.map_or_else(|| node.float("max", highest), Ok)?;
    if low > high {
        return Err(format!("the lower bound {low} is above the upper bound {high}"));
    }
    match (low == 0.0, low <= lowest, high >= highest) {
        (true, _, true) => apply(node, Func::Relu {}),
        (_, true, true) => Ok(vec![node.operand(0)?]),
        _ => apply(node, Func::Clip { low, high }),
    }
}

pub(super) fn erf(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    apply(node, Func::Erf {})
}

pub(super) fn exp(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    apply(node, Func::Exp {})
}

pub(super) fn abs(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    apply(node, Func::Abs {})
}

pub(super) fn sqrt(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    apply(node, Func::Sqrt {})
}

pub(super) fn reciprocal(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    apply(node, Func::Reciprocal {})
}
