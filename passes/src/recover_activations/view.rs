//! Ways to look at a value that do not depend on how an exporter wrote it: as a polynomial in another value, as an affine
//! map of an activation, as a product of two values.

use crate::nn_rewrite::uniform;
use aphelion_ir::nn::{Func, Nn, NnOp};
use aphelion_ir::{Graph, IrError, ValueId};

/// Ops looked at before an expression counts as no polynomial: the tanh form of GELU takes at most 20.
const MAX_STEPS: usize = 64;
/// Coefficients of a polynomial in view: up to cubes, as in the tanh form of GELU.
const N_COEFFS: usize = 4;

/// `scale func(argument) + shift`, with one number for each.
pub(super) struct AffineApply<'a> {
    pub(super) scale: f64,
    pub(super) func: &'a Func,
    pub(super) argument: ValueId,
    pub(super) shift: f64,
}

/// `value` as an affine map of an activation's result.
pub(super) fn affine_apply(graph: &Graph<Nn>, mut value: ValueId) -> Result<Option<AffineApply<'_>>, IrError> {
    let (mut scale, mut shift) = (1.0, 0.0);
    for _ in 0..MAX_STEPS {
        if let NnOp::Apply { x, func } = graph.op(value) {
            return Ok(Some(AffineApply {
                scale,
                func,
                argument: *x,
                shift,
            }));
        }
        let Some((x, factor, summand)) = affine_step(graph, value)? else {
            return Ok(None);
        };
        shift += scale * summand;
        scale *= factor;
        value = x;
    }
    Ok(None)
}

/// (x, factor, summand) with value = factor x + summand, by one op with a uniform constant.
pub(super) fn affine_step(graph: &Graph<Nn>, value: ValueId) -> Result<Option<(ValueId, f64, f64)>, IrError> {
    let number = |x: &ValueId| uniform(graph, *x);
    let step = match graph.op(value) {
        NnOp::Neg { x } => Some((*x, -1.0, 0.0)),
        NnOp::Add { a, b } => match (number(a)?, number(b)?) {
            (None, Some(c)) => Some((*a, 1.0, c)),
            (Some(c), None) => Some((*b, 1.0, c)),
            _ => None,
        },
        NnOp::Sub { a, b } => match (number(a)?, number(b)?) {
            (None, Some(c)) => Some((*a, 1.0, -c)),
            (Some(c), None) => Some((*b, -1.0, c)),
            _ => None,
        },
        NnOp::Mul { a, b } => match (number(a)?, number(b)?) {
            (None, Some(c)) => Some((*a, c, 0.0)),
            (Some(c), None) => Some((*b, c, 0.0)),
            _ => None,
        },
        NnOp::Div { a, b } => number(b)?.map(|c| (*a, 1.0 / c, 0.0)),
        _ => None,
    };
    Ok(step.filter(|(x, ..)| graph.ty(*x) == graph.ty(value)))
}

/// (a, b) with value = a b element by element, where neither is a uniform constant.
pub(super) fn product(graph: &Graph<Nn>, value: ValueId) -> Result<Option<(ValueId, ValueId)>, IrError> {
    match graph.op(value) {
        NnOp::Mul { a, b } if uniform(graph, *a)?.is_none() && uniform(graph, *b)?.is_none() => {
            let same_shape = graph.ty(*a) == graph.ty(value) && graph.ty(*b) == graph.ty(value);
            Ok(same_shape.then_some((*a, *b)))
        }
        _ => Ok(None),
    }
}

/// `value` and what it is a multiple of, with the factors: value = factor x.
pub(super) fn multiples(graph: &Graph<Nn>, mut value: ValueId) -> Result<Vec<(ValueId, f64)>, IrError> {
    let mut found = vec![(value, 1.0)];
    let mut factor = 1.0;
    while let Some((x, step, 0.0)) = affine_step(graph, value)? {
        factor *= step;
        value = x;
        found.push((value, factor));
    }
    Ok(found)
}

/// Coefficients of `value` as a polynomial in `x`, constant term first; `None` when it is none, or of higher degree.
pub(super) fn polynomial(graph: &Graph<Nn>, value: ValueId, x: ValueId) -> Result<Option<[f64; N_COEFFS]>, IrError> {
    let mut n_steps = 0;
    expand(graph, value, x, &mut n_steps)
}

fn expand(
    graph: &Graph<Nn>,
    value: ValueId,
    x: ValueId,
    n_steps: &mut usize,
) -> Result<Option<[f64; N_COEFFS]>, IrError> {
    *n_steps += 1;
    if *n_steps > MAX_STEPS {
        return Ok(None);
    }
    if value == x {
        return Ok(Some([0.0, 1.0, 0.0, 0.0]));
    }
    if let Some(number) = uniform(graph, value)? {
        return Ok(Some([number, 0.0, 0.0, 0.0]));
    }
    if value < x {
        return Ok(None);
    }
    let mut both = |a: &ValueId, b: &ValueId| -> Result<_, IrError> {
        let (a, b) = (expand(graph, *a, x, n_steps)?, expand(graph, *b, x, n_steps)?);
        Ok(a.zip(b))
    };
    let sum = |a: [f64; N_COEFFS], b: [f64; N_COEFFS], sign: f64| std::array::from_fn(|i| a[i] + sign * b[i]);
    match graph.op(value) {
        NnOp::Add { a, b } => Ok(both(a, b)?.map(|(a, b)| sum(a, b, 1.0))),
        NnOp::Sub { a, b } => Ok(both(a, b)?.map(|(a, b)| sum(a, b, -1.0))),
        NnOp::Mul { a, b } => Ok(both(a, b)?.and_then(|(a, b)| multiply(a, b))),
        NnOp::Div { a, b } => {
            let is_constant = |b: &[f64; N_COEFFS]| b[1..].iter().all(|c| *c == 0.0) && b[0] != 0.0;
            let quotient = both(a, b)?.filter(|(_, b)| is_constant(b));
            Ok(quotient.map(|(a, b)| a.map(|c| c / b[0])))
        }
        NnOp::Neg { x: inner } => Ok(expand(graph, *inner, x, n_steps)?.map(|a| a.map(|c| -c))),
        NnOp::Pow { x: inner, exponent } if (*exponent as usize) < N_COEFFS => {
            let Some(base) = expand(graph, *inner, x, n_steps)? else {
                return Ok(None);
            };
            let one = Some([1.0, 0.0, 0.0, 0.0]);
            Ok((0..*exponent).fold(one, |power, _| power.and_then(|power| multiply(power, base))))
        }
        _ => Ok(None),
    }
}

/// The product, if it has no more coefficients.
fn multiply(a: [f64; N_COEFFS], b: [f64; N_COEFFS]) -> Option<[f64; N_COEFFS]> {
    let mut product = [0.0; N_COEFFS];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            match product.get_mut(i + j) {
                Some(c) => *c += x * y,
                None if x * y == 0.0 => {}
                None => return None,
            }
        }
    }
    Some(product)
}
