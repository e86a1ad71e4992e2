//! Activation recovery: finds activations that an exporter wrote as arithmetic, and makes each one op again.
//! In:     `nn`, verified; constants folded.       Out: no prelu is left; the forms of GELU, SiLU, hard-swish and sigmoid
//!         listed in [`gated`] and [`inverse`] are `apply` ops; polynomials of degree 4 to 8, written as sums and products,
//!         whose channels differ by scales only, are `poly` ops between products with the scales.
//! Method: forward scan; a product of two values is matched as x times an affine map of func(p(x)), where p is read as
//!         a polynomial in x whatever ops compute it, so that every export variant has the same view. x itself is
//!         preferred over a value that it is a multiple of.
//! Source: Hendrycks, Gimpel (arXiv 1606.08415) for both forms of GELU; Howard et al. (ICCV 2019) for hard-swish. The
//!         matching through polynomial views is ours.
//! Cost:   O(products * 64 ops) time, O(ops) space; below 0.1 ms on the example models.
//! Counts: recovered_activations, recovered_polynomials, expanded_prelus.
//! Limits: constants of a pattern must be uniform, and agree to [`TOLERANCE`], as 32-bit exporters round them; the slope
//!         of a prelu must be a constant.

mod polynomials;
mod view;

use crate::nn_rewrite::{constant, constant_name, drop_dead_ops, finish, push_constant, uniform};
use crate::{PassCx, PassError, Stats};
use aphelion_ir::nn::{Func, Nn, NnOp};
use aphelion_ir::{Graph, IrError, Node, Origin, Rewriter, Tensor, ValueId};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};
use view::{AffineApply, affine_apply, affine_step, multiples, polynomial, product};

/// Relative difference between a pattern's constant and the one found.
const TOLERANCE: f64 = 1e-4;
/// The factor of x^3 in the tanh form of GELU.
const GELU_CUBE: f64 = 0.044715;

/// Runs the pass; see the file's header.
///
/// # Errors
/// [`PassError::Unsupported`] for a prelu whose slope is no constant.
pub fn run(_cx: &PassCx, graph: Graph<Nn>) -> Result<(Graph<Nn>, Stats), PassError> {
    let mut stats = Stats::default();
    let mut rewriter = Rewriter::new(&graph);
    for (id, node) in graph.iter() {
        if let NnOp::PRelu { x, slope } = &node.op {
            let x = rewriter.get(*x);
            let value = prelu(&graph, &mut rewriter.target, node, x, *slope)?;
            rewriter.replace(id, value);
            stats.add("expanded_prelus", 1.0);
        } else if let Some(found) = recover(&graph, id, node)? {
            let x = rewriter.get(found.x);
            let value = found.push(&mut rewriter.target, x, &node.origin)?;
            rewriter.replace(id, value);
            stats.add("recovered_activations", 1.0);
        } else {
            rewriter.copy(id, node)?;
        }
    }
    let graph = drop_dead_ops(&finish(rewriter))?;
    Ok((recover_polynomials(&graph, &mut stats)?, stats))
}

fn recover_polynomials(graph: &Graph<Nn>, stats: &mut Stats) -> Result<Graph<Nn>, IrError> {
    let found = polynomials::find(graph)?;
    let mut rewriter = Rewriter::new(graph);
    for ((id, node), found) in graph.iter().zip(&found) {
        let Some(found) = found else {
            rewriter.copy(id, node)?;
            continue;
        };
        let x = rewriter.get(found.x);
        let value = found.push(&mut rewriter.target, x, &node.origin)?;
        rewriter.replace(id, value);
        stats.add("recovered_polynomials", 1.0);
    }
    drop_dead_ops(&finish(rewriter))
}

/// `outer func(inner x)`.
struct Recovered {
    x: ValueId,
    inner: f64,
    func: Func,
    outer: f64,
}

impl Recovered {
    fn push(&self, graph: &mut Graph<Nn>, x: ValueId, origin: &Origin) -> Result<ValueId, IrError> {
        let scaled = multiply(graph, x, self.inner, origin)?;
        let func = self.func.clone();
        let applied = graph.push(NnOp::Apply { x: scaled, func }, origin.clone())?;
        multiply(graph, applied, self.outer, origin)
    }
}

/// `factor x`, or `x` where the factor is 1 up to an exporter's rounding.
fn multiply(graph: &mut Graph<Nn>, x: ValueId, factor: f64, origin: &Origin) -> Result<ValueId, IrError> {
    if is_close(factor, 1.0) {
        return Ok(x);
    }
    let b = push_constant(graph, &constant_name(origin, "factor"), Tensor::scalar(factor), origin)?;
    graph.push(NnOp::Mul { a: x, b }, origin.clone())
}

fn is_close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= TOLERANCE * expected.abs()
}

fn recover(graph: &Graph<Nn>, id: ValueId, node: &Node<Nn>) -> Result<Option<Recovered>, IrError> {
    match &node.op {
        NnOp::Mul { .. } => match product(graph, id)? {
            Some((a, b)) => match gated(graph, a, b)? {
                None => gated(graph, b, a),
                found => Ok(found),
            },
            None => Ok(None),
        },
        NnOp::Div { a, b } => match uniform(graph, *a)? {
            Some(numerator) if graph.ty(*b) == &node.ty => inverse(graph, *b, numerator),
            _ => Ok(None),
        },
        NnOp::Apply { x, func } => match *func {
            Func::Reciprocal {} => inverse(graph, *x, 1.0),
            Func::Clip { low: 0.0, high } if high == f64::INFINITY => Ok(Some(plain(*x, Func::Relu {}))),
            Func::LeakyRelu { alpha: 0.0 } => Ok(Some(plain(*x, Func::Relu {}))),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn plain(x: ValueId, func: Func) -> Recovered {
    Recovered {
        x,
        inner: 1.0,
        func,
        outer: 1.0,
    }
}

/// `value gate` where the gate is an affine map of an activation of a polynomial in x, and the value a multiple of x:
/// x (1 + erf(x / sqrt 2)), x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), x sigmoid(x), x (1 + tanh(x / 2)),
/// x clip(x + 3, 0, 6), x hard_sigmoid(x), each with any factors.
fn gated(graph: &Graph<Nn>, value: ValueId, gate: ValueId) -> Result<Option<Recovered>, IrError> {
    // The gate may be written as a multiple of x and an affine map, 0.5 x and 1 + erf(..): all multiples are candidates.
    let Some(gate) = affine_apply(graph, gate)? else {
        return Ok(None);
    };
    let mut fallback = None;
    for (x, factor) in multiples(graph, value)? {
        let Some(argument) = polynomial(graph, gate.argument, x)? else {
            continue;
        };
        if let Some(found) = match_gate(x, factor, &gate, argument) {
            if is_close(found.inner, 1.0) {
                return Ok(Some(found));
            }
            fallback.get_or_insert(found);
        }
    }
    Ok(fallback)
}

/// `factor x (gate.scale func(argument(x)) + gate.shift)` as a known activation.
fn match_gate(x: ValueId, factor: f64, gate: &AffineApply<'_>, argument: [f64; 4]) -> Option<Recovered> {
    let [constant, linear, square, cube] = argument;
    let is_centred = constant == 0.0 && square == 0.0 && linear != 0.0;
    let is_linear = square == 0.0 && cube == 0.0 && linear != 0.0;
    let one_plus = is_close(gate.shift, gate.scale);
    let scale_only = gate.shift == 0.0;
    // `total` is the factor of inner x times the gate in its usual form.
    let recovered = |inner: f64, func: Func, total: f64| {
        Some(Recovered {
            x,
            inner,
            func,
            outer: total / inner,
        })
    };
    let total = factor * gate.scale;
    match *gate.func {
        Func::Erf {} if is_linear && is_centred && one_plus => recovered(linear * SQRT_2, Func::Gelu {}, 2.0 * total),
        Func::Tanh {} if is_linear && is_centred && one_plus => recovered(2.0 * linear, Func::Silu {}, 2.0 * total),
        Func::Tanh {} if is_centred && one_plus => {
            let inner = linear / (FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
            let expected = linear * GELU_CUBE * inner * inner;
            is_close(cube, expected).then(|| recovered(inner, Func::GeluTanh {}, 2.0 * total))?
        }
        Func::Sigmoid {} if is_linear && is_centred && scale_only => recovered(linear, Func::Silu {}, total),
        Func::Clip { low: 0.0, high } if is_linear && scale_only && high.is_finite() && high > 0.0 => {
            let is_hard_swish = is_close(constant / high, 0.5);
            is_hard_swish.then(|| recovered(6.0 * linear / high, Func::HardSwish {}, total * high))?
        }
        Func::HardSigmoid { alpha, beta } if is_linear && scale_only => {
            let is_hard_swish = is_close(alpha * constant + beta, 0.5) && alpha != 0.0;
            is_hard_swish.then(|| recovered(6.0 * alpha * linear, Func::HardSwish {}, total))?
        }
        _ => None,
    }
}

/// `numerator / value` where the value is shift + scale exp(c - s x): a sigmoid.
fn inverse(graph: &Graph<Nn>, value: ValueId, numerator: f64) -> Result<Option<Recovered>, IrError> {
    let Some(denominator) = affine_apply(graph, value)? else {
        return Ok(None);
    };
    if !matches!(denominator.func, Func::Exp {}) {
        return Ok(None);
    }
    let (mut x, mut slope, mut constant) = (denominator.argument, 1.0, 0.0);
    while let Some((inner, factor, summand)) = affine_step(graph, x)? {
        constant += slope * summand;
        slope *= factor;
        x = inner;
        if is_close(slope, -1.0) {
            break;
        }
    }
    let is_sigmoid = denominator.shift != 0.0
        && is_close(denominator.scale * libm::exp(constant), denominator.shift)
        && slope != 0.0;
    Ok(is_sigmoid.then(|| Recovered {
        x,
        inner: -slope,
        func: Func::Sigmoid {},
        outer: numerator / denominator.shift,
    }))
}

/// prelu(x) = slope x + (1 - slope) relu(x), or one leaky relu where the slope is uniform.
fn prelu(
    source: &Graph<Nn>,
    graph: &mut Graph<Nn>,
    node: &Node<Nn>,
    x: ValueId,
    slope: ValueId,
) -> Result<ValueId, PassError> {
    let origin = &node.origin;
    let Some(tensor) = constant(source, slope)? else {
        let message = "the slope of a prelu must be a constant: export the model for inference";
        return Err(PassError::unsupported(origin, message));
    };
    if let Some(alpha) = uniform(source, slope)? {
        let func = if alpha == 0.0 {
            Func::Relu {}
        } else {
            Func::LeakyRelu { alpha }
        };
        return Ok(graph.push(NnOp::Apply { x, func }, origin.clone())?);
    }
    let complement = tensor.to_vec()?.iter().map(|a| 1.0 - a).collect();
    let complement = Tensor::from_f64(tensor.shape().to_vec(), complement);
    let slope = push_constant(graph, &constant_name(origin, "slope"), tensor.clone(), origin)?;
    let complement = push_constant(graph, &constant_name(origin, "one_minus_slope"), complement, origin)?;
    let func = Func::Relu {};
    let relu = graph.push(NnOp::Apply { x, func }, origin.clone())?;
    let above = graph.push(NnOp::Mul { a: relu, b: complement }, origin.clone())?;
    let linear = graph.push(NnOp::Mul { a: x, b: slope }, origin.clone())?;
    Ok(graph.push(NnOp::Add { a: linear, b: above }, origin.clone())?)
}
