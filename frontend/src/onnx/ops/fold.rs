//! Arithmetic on shapes: ops whose operands are all integers known at compile time are computed here.

use super::{moves, reduce};
use crate::onnx::node::{self, Node};
use crate::onnx::value::{Ints, Value};
use aphelion_ir::shape;

/// Shapes are short; a model that computes longer lists of integers does something else than shapes.
pub(super) const MAX_INTS: usize = 1 << 12;

/// True when every operand of `node` is integers known at compile time.
pub(super) fn applies(node: &Node<'_>) -> Result<bool, String> {
    for index in (0..node.n_operands()).filter(|&index| node.has_operand(index)) {
        if !matches!(node.operand(index)?, Value::Int(_)) {
            return Ok(false);
        }
    }
    Ok(node.n_operands() > 0)
}

/// For operators that have no meaning but on shapes.
pub(super) fn only(_: &mut Node<'_>) -> Result<Vec<Value>, String> {
    Err("it is supported on integers that are known at compile time only".into())
}

fn operand(node: &Node<'_>, index: usize) -> Result<Ints, String> {
    let ints = node.ints(index)?.ok_or_else(|| format!("operand {index} is missing"))?;
    if ints.values.len() > MAX_INTS {
        return Err(format!("operand {index} has more than {MAX_INTS} integers"));
    }
    Ok(ints)
}

fn vector(node: &Node<'_>, index: usize) -> Result<Vec<i64>, String> {
    let ints = operand(node, index)?;
    match ints.shape.len() {
        1 => Ok(ints.values),
        rank => Err(format!(
            "on integers it is supported for vectors only, operand {index} has rank {rank}"
        )),
    }
}

fn result(ints: Ints) -> Result<Vec<Value>, String> {
    Ok(vec![Value::Int(ints)])
}

fn binary(node: &Node<'_>, op: fn(i64, i64) -> Option<i64>) -> Result<Vec<Value>, String> {
    let (a, b) = (operand(node, 0)?, operand(node, 1)?);
    let shape = shape::broadcast(&a.shape, &b.shape)?;
    let n_elements = shape
        .iter()
        .try_fold(1usize, |product, extent| product.checked_mul(*extent));
    let n_elements = n_elements.filter(|n| *n <= MAX_INTS).ok_or("the result is too large")?;
    let is_repeated = |ints: &Ints| ints.values.len() == 1 || ints.values.len() == n_elements;
    if !is_repeated(&a) || !is_repeated(&b) {
        return Err("integers broadcast from scalars only".into());
    }
    let at = |ints: &Ints, index: usize| ints.values[if ints.values.len() == 1 { 0 } else { index }];
    let values = (0..n_elements)
        .map(|i| op(at(&a, i), at(&b, i)).ok_or("integer overflow or division by zero"))
        .collect::<Result<_, _>>()?;
    result(Ints { shape, values })
}

pub(super) fn add(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    binary(node, i64::checked_add)
}

pub(super) fn sub(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    binary(node, i64::checked_sub)
}

pub(super) fn mul(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    binary(node, i64::checked_mul)
}

/// Integer division rounds towards zero.
pub(super) fn div(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    binary(node, i64::checked_div)
}

pub(super) fn concat(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    node::axis(node.int("axis", 0)?, 1)?;
    let mut values = Vec::new();
    for index in 0..node.n_operands() {
        values.extend(vector(node, index)?);
        if values.len() > MAX_INTS {
            return Err(format!("the result has more than {MAX_INTS} integers"));
        }
    }
    result(Ints::vector(values))
}

pub(super) fn slice(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let values = vector(node, 0)?;
    let cut = moves::cuts(node, &[values.len()])?.remove(0);
    let at = |i: usize| values[(cut.start as i64 + cut.step * i as i64) as usize];
    result(Ints::vector((0..cut.len).map(at).collect()))
}

pub(super) fn gather(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    node::axis(node.int("axis", 0)?, 1)?;
    let (values, indices) = (vector(node, 0)?, operand(node, 1)?);
    let at = |&index: &i64| node::axis(index, values.len()).map(|index| values[index]);
    let gathered = indices.values.iter().map(at).collect::<Result<_, _>>();
    result(Ints {
        shape: indices.shape,
        values: gathered.map_err(|_| format!("{:?} has an index outside of {values:?}", indices.values))?,
    })
}

pub(super) fn reduce_prod(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let values = vector(node, 0)?;
    let (axes, keep_dims) = reduce::axes(node, 1)?;
    if axes.is_empty() {
        return result(Ints::vector(values));
    }
    let product = values.iter().try_fold(1i64, |product, x| product.checked_mul(*x));
    result(Ints {
        shape: if keep_dims { vec![1] } else { vec![] },
        values: vec![product.ok_or("integer overflow")?],
    })
}

/// `start`, `start + delta`, .. before `limit`.
pub(super) fn range(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let scalar = |index: usize| match operand(node, index)?.values[..] {
        [value] => Ok(value),
        _ => Err(format!("operand {index} must be a single integer")),
    };
    let (start, limit, delta) = (scalar(0)?, scalar(1)?, scalar(2)?);
    if delta == 0 {
        return Err("the step is 0".into());
    }
    let goes_on = |x: &i64| if delta > 0 { *x < limit } else { *x > limit };
    let values: Vec<i64> = std::iter::successors(Some(start), |x| x.checked_add(delta))
        .take_while(goes_on)
        .take(MAX_INTS + 1)
        .collect();
    if values.len() > MAX_INTS {
        return Err(format!("the result has more than {MAX_INTS} integers"));
    }
    result(Ints::vector(values))
}
