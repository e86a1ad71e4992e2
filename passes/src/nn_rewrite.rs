//! What passes over `nn` share: constants seen through their ops, and the end of a rewrite.
//!
//! Ensures: the annotations of a rewritten graph speak of its own values.

use aphelion_ir::nn::{Nn, NnOp, ValueRange};
use aphelion_ir::{Graph, IrError, Origin, Rewriter, Tensor, ValueId};
use std::collections::BTreeMap;

/// The tensor that `value` is, if it is a constant.
pub(crate) fn constant(graph: &Graph<Nn>, value: ValueId) -> Result<Option<&Tensor>, IrError> {
    match graph.op(value) {
        NnOp::Constant { value } => graph.constants.get(value).map(Some),
        _ => Ok(None),
    }
}

/// The number that all elements of the constant `value` are; `None` for another value or for several numbers.
pub(crate) fn uniform(graph: &Graph<Nn>, value: ValueId) -> Result<Option<f64>, IrError> {
    let Some(tensor) = constant(graph, value)? else {
        return Ok(None);
    };
    let values = tensor.to_vec()?;
    let first = values.first().copied();
    Ok(first.filter(|first| values.iter().all(|x| x == first)))
}

/// Appends a constant op for `tensor`, called `name`.
pub(crate) fn push_constant(
    graph: &mut Graph<Nn>,
    name: &str,
    tensor: Tensor,
    origin: &Origin,
) -> Result<ValueId, IrError> {
    let value = graph.constants.insert(name, tensor);
    graph.push(NnOp::Constant { value }, origin.clone())
}

/// Name for a constant made for an op at `origin`: the op's name and what the constant is.
pub(crate) fn constant_name(origin: &Origin, what: &str) -> String {
    match origin.name.as_ref() {
        "" => what.to_string(),
        name => format!("{name}.{what}"),
    }
}

/// Ends a rewrite: the new graph, with the known ranges moved to the values that took the old ones' places.
pub(crate) fn finish(mut rewriter: Rewriter<'_, Nn>) -> Graph<Nn> {
    let known = std::mem::take(&mut rewriter.target.attrs.ranges);
    let mut ranges = BTreeMap::new();
    for range in known {
        if let Some(value) = rewriter.find(ValueId(range.value)) {
            ranges.entry(value.0).or_insert(ValueRange {
                value: value.0,
                ..range
            });
        }
    }
    rewriter.target.attrs.ranges = ranges.into_values().collect();
    rewriter.finish()
}

/// The graph without the ops that no result depends on. Inputs stay: they are the model's signature.
pub(crate) fn drop_dead_ops(graph: &Graph<Nn>) -> Result<Graph<Nn>, IrError> {
    let live = graph.live();
    let mut rewriter = Rewriter::new(graph);
    for (id, node) in graph.iter() {
        if live[id.index()] || matches!(node.op, NnOp::Input { .. }) {
            rewriter.copy(id, node)?;
        }
    }
    Ok(finish(rewriter))
}
