//! Folding a factor and a summand into the weights and the bias of the linear op that they follow.

use super::broadcast::Coefficients;
use crate::nn_rewrite::{constant, constant_name, push_constant};
use aphelion_ir::nn::{Nn, NnOp};
use aphelion_ir::{Graph, IrError, Origin, Tensor, ValueId};

/// A linear op whose weights are constants, not appended to the graph yet, with what is to follow it.
pub(super) struct Folded {
    /// The op, with operands in the graph.
    pub(super) op: NnOp,
    /// Factor that is still to be applied to its result.
    pub(super) scale: Coefficients,
    /// Summand that is still to be applied after the factor.
    pub(super) shift: Coefficients,
}

/// Whether factors can be folded into `op`: its weights, and its bias if it has one, are constants.
pub(super) fn takes_factors(graph: &Graph<Nn>, op: &NnOp) -> bool {
    let is_constant = |value: &ValueId| matches!(graph.op(*value), NnOp::Constant { .. });
    match op {
        NnOp::Conv { weight, bias, .. } => is_constant(weight) && bias.iter().all(is_constant),
        NnOp::Gemm { b, c, .. } => is_constant(b) && c.iter().all(is_constant),
        NnOp::MatMul { b, .. } => is_constant(b) && graph.ty(*b).shape.len() == 2,
        _ => false,
    }
}

/// Folds `scale` and then `shift` into `op`, whose result has shape `out` and which [takes factors](takes_factors), as
/// far as they vary along its output channels or columns only. New weights are appended to `graph`.
pub(super) fn fold(
    graph: &mut Graph<Nn>,
    op: &NnOp,
    out: &[usize],
    origin: &Origin,
    scale: Coefficients,
    shift: Coefficients,
) -> Result<Folded, IrError> {
    let axis = if matches!(op, NnOp::Conv { .. }) {
        1
    } else {
        out.len() - 1
    };
    let Some(factors) = scale.along(axis, out) else {
        return Ok(Folded {
            op: op.clone(),
            scale,
            shift,
        });
    };
    let mut folded = Folded {
        op: op.clone(),
        scale: Coefficients::uniform(1.0),
        shift: shift.clone(),
    };
    let has_factors = !scale.is_all(1.0);
    match (op, &mut folded.op) {
        (NnOp::Conv { .. }, NnOp::Conv { weight, bias, .. }) => {
            let n_per_channel = graph.ty(*weight).len() / out[1];
            if has_factors {
                *weight = scaled_weight(graph, *weight, origin, |index| factors[index / n_per_channel])?;
            }
            let bias_before = bias.map(|bias| load(graph, bias)).transpose()?;
            let summands = shift.along(1, out);
            if summands.is_some() {
                folded.shift = Coefficients::uniform(0.0);
            }
            let summand = |channel: usize| summands.as_ref().map_or(0.0, |summands| summands[channel]);
            let before = |channel: usize| bias_before.as_ref().map_or(0.0, |bias| bias[channel]);
            let after: Vec<f64> = (0..out[1]).map(|c| before(c) * factors[c] + summand(c)).collect();
            *bias = non_zero_bias(graph, vec![out[1]], after, origin)?;
        }
        (
            NnOp::Gemm { .. },
            NnOp::Gemm {
                b, c, beta, trans_b, ..
            },
        ) => {
            if has_factors {
                let (n_cols, n_inner) = (out[1], graph.ty(*b).len() / out[1]);
                let is_transposed = *trans_b;
                let column = |index: usize| {
                    if is_transposed { index / n_inner } else { index % n_cols }
                };
                *b = scaled_weight(graph, *b, origin, |index| factors[column(index)])?;
            }
            let before = match c {
                Some(c) => match constant(graph, *c)? {
                    Some(tensor) => Coefficients::of(tensor)?.map(|x| *beta * x),
                    None => return Err(not_constant(origin)),
                },
                None => Coefficients::uniform(0.0),
            };
            let combine = || -> Result<Coefficients, String> {
                let scaled = before.zip(&scale, |c, s| c * s)?;
                scaled.zip(&shift, |c, t| c + t)
            };
            let after = combine().map_err(|message| IrError::interpret(origin, message))?;
            *beta = 1.0;
            *c = add_bias(graph, after, origin)?;
            folded.shift = Coefficients::uniform(0.0);
        }
        (NnOp::MatMul { .. }, NnOp::MatMul { a, b }) => {
            if has_factors {
                let n_cols = graph.ty(*b).shape[1];
                *b = scaled_weight(graph, *b, origin, |index| factors[index % n_cols])?;
            }
            let (a, b) = (*a, *b);
            if !shift.is_all(0.0) && graph.ty(a).shape.len() == 2 {
                folded.op = NnOp::Gemm {
                    a,
                    b,
                    c: add_bias(graph, shift, origin)?,
                    alpha: 1.0,
                    beta: 1.0,
                    trans_a: false,
                    trans_b: false,
                };
                folded.shift = Coefficients::uniform(0.0);
            }
        }
        _ => {
            folded.scale = scale;
            folded.shift = shift;
        }
    }
    Ok(folded)
}

fn load(graph: &Graph<Nn>, value: ValueId) -> Result<Vec<f64>, IrError> {
    match constant(graph, value)? {
        Some(tensor) => tensor.to_vec(),
        None => Err(not_constant(graph.origin(value))),
    }
}

fn not_constant(origin: &Origin) -> IrError {
    IrError::interpret(origin, "expected constant weights")
}

/// The weight with every element times the factor for its index.
fn scaled_weight(
    graph: &mut Graph<Nn>,
    weight: ValueId,
    origin: &Origin,
    factor: impl Fn(usize) -> f64,
) -> Result<ValueId, IrError> {
    let values = load(graph, weight)?;
    let scaled = values.iter().enumerate().map(|(i, x)| x * factor(i)).collect();
    let tensor = Tensor::from_f64(graph.ty(weight).shape.clone(), scaled);
    push_constant(graph, &constant_name(origin, "weight"), tensor, origin)
}

fn add_bias(graph: &mut Graph<Nn>, bias: Coefficients, origin: &Origin) -> Result<Option<ValueId>, IrError> {
    if bias.is_all(0.0) {
        return Ok(None);
    }
    push_constant(graph, &constant_name(origin, "bias"), bias.tensor(), origin).map(Some)
}

fn non_zero_bias(
    graph: &mut Graph<Nn>,
    shape: Vec<usize>,
    bias: Vec<f64>,
    origin: &Origin,
) -> Result<Option<ValueId>, IrError> {
    if bias.iter().all(|x| *x == 0.0) {
        return Ok(None);
    }
    let tensor = Tensor::from_f64(shape, bias);
    push_constant(graph, &constant_name(origin, "bias"), tensor, origin).map(Some)
}
