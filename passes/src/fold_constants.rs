//! Constant folding: computes what depends on no input, and removes ops that do nothing.
//! In:     `nn`, verified.                         Out: no op has constants only as operands; every op but an input is
//!         live; no neutral op (x + 0, x * 1, a reshape to the same shape, ..) is left.
//! Method: the ops that depend on constants alone form a graph of their own, which the interpreter evaluates once; then
//!         one forward scan replaces each by its value and each neutral op by its operand.
//! Source: standard; the interpreter is the definition of every op, so folding cannot disagree with it.
//! Cost:   O(ops + arithmetic of the folded ops) time, O(folded tensors) space; 0.2 ms on mlp_credit.
//! Counts: folded_constants, neutral_ops, dead_ops.
//! Limits: none.

use crate::nn_rewrite::{constant_name, drop_dead_ops, finish, push_constant, uniform};
use crate::{PassCx, PassError, Stats};
use aphelion_ir::nn::{Func, Nn, NnOp, evaluate};
use aphelion_ir::{Graph, IrError, Op, Rewriter, Tensor, ValueId};
use std::collections::BTreeMap;

/// Runs the pass; see the file's header.
///
/// # Errors
/// When a constant cannot be read, or a folded op yields a value that is not finite.
pub fn run(_cx: &PassCx, graph: Graph<Nn>) -> Result<(Graph<Nn>, Stats), PassError> {
    let mut stats = Stats::default();
    let mut folded = fold(&graph)?;
    stats.add("folded_constants", folded.len() as f64);
    let mut rewriter = Rewriter::new(&graph);
    let live = graph.live();
    for (id, node) in graph.iter() {
        let is_needed = live[id.index()] || matches!(node.op, NnOp::Input { .. });
        if let Some(tensor) = folded.remove(&id) {
            let name = constant_name(&node.origin, "folded");
            let value = push_constant(&mut rewriter.target, &name, tensor, &node.origin)?;
            rewriter.replace(id, value);
        } else if is_needed && node.op.operands().iter().all(|x| rewriter.find(*x).is_some()) {
            let mut op = node.op.clone();
            op.map_operands(&mut |operand| rewriter.get(operand));
            match neutral(&rewriter.target, &op, &node.ty.shape)? {
                Neutral::Is(value) => {
                    stats.add("neutral_ops", 1.0);
                    rewriter.replace(id, value);
                }
                Neutral::No(op) => {
                    let value = rewriter.target.push(op, node.origin.clone())?;
                    rewriter.replace(id, value);
                }
            }
        }
    }
    let rewritten = finish(rewriter);
    let result = drop_dead_ops(&rewritten)?;
    stats.add(
        "dead_ops",
        (graph.len() - live.iter().filter(|live| **live).count()) as f64,
    );
    Ok((result, stats))
}

/// Values of the live ops that depend on constants alone and are needed by others, or as results.
fn fold(graph: &Graph<Nn>) -> Result<BTreeMap<ValueId, Tensor>, IrError> {
    let live = graph.live();
    let mut is_fixed = vec![false; graph.len()];
    for (id, node) in graph.iter() {
        is_fixed[id.index()] = match &node.op {
            NnOp::Input { .. } => false,
            NnOp::Constant { .. } => true,
            op => op.operands().iter().all(|operand| is_fixed[operand.index()]),
        };
    }
    let mut is_needed = vec![false; graph.len()];
    for (id, node) in graph.iter() {
        if live[id.index()] && !is_fixed[id.index()] {
            node.op.operands().iter().for_each(|x| is_needed[x.index()] = true);
        }
    }
    graph.outputs().iter().for_each(|x| is_needed[x.value.index()] = true);

    let is_computed = |id: ValueId| is_fixed[id.index()] && !matches!(graph.op(id), NnOp::Constant { .. });
    let wanted: Vec<ValueId> = (graph.iter())
        .map(|(id, _)| id)
        .filter(|id| is_needed[id.index()] && is_computed(*id))
        .collect();
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut fixed = Rewriter::new(graph);
    for (id, node) in graph.iter() {
        if live[id.index()] && is_fixed[id.index()] {
            fixed.copy(id, node)?;
        }
    }
    for id in &wanted {
        let value = fixed.get(*id);
        fixed.target.output(id.to_string(), value);
    }
    let values = evaluate(&fixed.target, &BTreeMap::new())?;
    let tensor = |(id, values): (ValueId, Vec<f64>)| (id, Tensor::from_f64(graph.ty(id).shape.clone(), values));
    Ok(wanted.into_iter().zip(values).map(tensor).collect())
}

/// What becomes of an op whose operands are in `graph` and whose result has `shape`.
enum Neutral {
    /// It yields this value.
    Is(ValueId),
    /// It does something, perhaps in a shorter way.
    No(NnOp),
}

fn neutral(graph: &Graph<Nn>, op: &NnOp, shape: &[usize]) -> Result<Neutral, IrError> {
    let same_shape = |x: &ValueId| graph.ty(*x).shape == shape;
    let is_all = |x: &ValueId, number: f64| uniform(graph, *x).map(|found| found == Some(number));
    let is_neutral = match op {
        NnOp::Add { a, b } if same_shape(b) && is_all(a, 0.0)? => Some(*b),
        NnOp::Add { a, b } | NnOp::Sub { a, b } if same_shape(a) && is_all(b, 0.0)? => Some(*a),
        NnOp::Mul { a, b } if same_shape(b) && is_all(a, 1.0)? => Some(*b),
        NnOp::Mul { a, b } | NnOp::Div { a, b } if same_shape(a) && is_all(b, 1.0)? => Some(*a),
        NnOp::Neg { x } => match graph.op(*x) {
            NnOp::Neg { x: inner } => Some(*inner),
            _ => None,
        },
        NnOp::Pow { x, exponent: 1 } => Some(*x),
        NnOp::Apply { x, func } if is_identity(func) => Some(*x),
        NnOp::Reshape { x, .. } if same_shape(x) => Some(*x),
        NnOp::Transpose { x, perm } if perm.is_sorted() => Some(*x),
        NnOp::Pad { x, .. } | NnOp::ReduceMean { x, .. } | NnOp::ReduceSum { x, .. } if same_shape(x) => Some(*x),
        NnOp::Slice { x, steps, .. } if same_shape(x) && steps.iter().all(|step| *step == 1) => Some(*x),
        NnOp::Concat { xs, .. } if xs.len() == 1 => xs.first().copied(),
        NnOp::AvgPool { x, window } | NnOp::MaxPool { x, window }
            if same_shape(x) && window.kernel.iter().chain(&window.strides).all(|n| *n == 1) =>
        {
            Some(*x)
        }
        _ => None,
    };
    if let Some(value) = is_neutral {
        return Ok(Neutral::Is(value));
    }
    let composed = match op {
        NnOp::Reshape { x, shape } => match graph.op(*x) {
            NnOp::Reshape { x: inner, .. } if graph.ty(*inner).shape == *shape => return Ok(Neutral::Is(*inner)),
            NnOp::Reshape { x: inner, .. } => Some(NnOp::Reshape {
                x: *inner,
                shape: shape.clone(),
            }),
            _ => None,
        },
        NnOp::Transpose { x, perm } => match graph.op(*x) {
            NnOp::Transpose { x: inner, perm: first } => {
                let perm: Vec<usize> = perm.iter().map(|&axis| first[axis]).collect();
                if perm.is_sorted() {
                    return Ok(Neutral::Is(*inner));
                }
                Some(NnOp::Transpose { x: *inner, perm })
            }
            _ => None,
        },
        _ => None,
    };
    Ok(Neutral::No(composed.unwrap_or_else(|| op.clone())))
}

fn is_identity(func: &Func) -> bool {
    match func {
        Func::LeakyRelu { alpha } => *alpha == 1.0,
        Func::Clip { low, high } => *low == f64::NEG_INFINITY && *high == f64::INFINITY,
        _ => false,
    }
}
