//! Arithmetic, element by element with numpy broadcasting.

use crate::onnx::node::Node;
use crate::onnx::value::Value;
use aphelion_ir::nn::{Func, NnOp};
use aphelion_ir::shape::broadcasts_to;

pub(super) fn add(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (a, b) = (node.value(0)?, node.value(1)?);
    node.emit(NnOp::Add { a, b })
}

pub(super) fn sub(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (a, b) = (node.value(0)?, node.value(1)?);
    node.emit(NnOp::Sub { a, b })
}

pub(super) fn mul(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (a, b) = (node.value(0)?, node.value(1)?);
    node.emit(NnOp::Mul { a, b })
}

/// A divisor that is computed becomes a reciprocal, which the compiler knows how to approximate.
pub(super) fn div(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (a, b) = (node.value(0)?, node.value(1)?);
    if let Some(divisor) = constant(node, 1)? {
        if divisor.contains(&0.0) {
            return Err("the divisor contains a zero".into());
        }
        return node.emit(NnOp::Div { a, b });
    }
    let func = Func::Reciprocal {};
    let b = node.push(NnOp::Apply { x: b, func })?;
    node.emit(NnOp::Mul { a, b })
}

/// Values of operand `index`, if they are known now.
fn constant(node: &Node<'_>, index: usize) -> Result<Option<Vec<f64>>, String> {
    match node.operand(index)? {
        Value::Float(tensor) => tensor.to_vec().map(Some).map_err(|error| error.to_string()),
        Value::Int(ints) => Ok(Some(ints.values.iter().map(|&x| x as f64).collect())),
        _ => Ok(None),
    }
}

pub(super) fn sum(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let mut total = node.value(0)?;
    for index in 1..node.n_operands() {
        let b = node.value(index)?;
        total = node.push(NnOp::Add { a: total, b })?;
    }
    Ok(vec![Value::Node(total)])
}

pub(super) fn neg(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let x = node.value(0)?;
    node.emit(NnOp::Neg { x })
}

/// Powers to integers and halves.
pub(super) fn pow(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let exponent = node.scalar(1)?.ok_or("the exponent is missing")?;
    let twice = 2.0 * exponent;
    if exponent == 0.0 || twice.fract() != 0.0 || exponent.abs() > 64.0 {
        return Err(format!(
            "the exponent {exponent} is not supported; expected an integer or a half, not 0, of at most 64"
        ));
    }
    if !broadcasts_to(&node.shape(1)?, &node.shape(0)?) {
        return Err("an exponent of larger shape than the base is not supported".into());
    }
    let mut x = node.value(0)?;
    if exponent.fract() != 0.0 {
        let func = Func::Sqrt {};
        x = node.push(NnOp::Apply { x, func })?;
    }
    let whole = if exponent.fract() == 0.0 { exponent } else { twice };
    let exponent = whole.abs() as u32;
    if exponent != 1 {
        x = node.push(NnOp::Pow { x, exponent })?;
    }
    if whole < 0.0 {
        let func = Func::Reciprocal {};
        x = node.push(NnOp::Apply { x, func })?;
    }
    Ok(vec![Value::Node(x)])
}
