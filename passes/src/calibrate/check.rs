//! Which activations leave the interval that they were approximated on, for an input in the clear.

use super::Interval;
use aphelion_ir::nn::{Interpreter, Nn, NnOp, Values};
use aphelion_ir::{Graph, IrError, ValueId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An activation that an input leads out of its interval: its result, and all that follows, may be wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeExcess {
    /// Where the activation comes from.
    pub name: String,
    /// The interval that it was approximated on.
    pub interval: (f64, f64),
    /// Smallest and largest element of its operand.
    pub found: (f64, f64),
    /// Elements outside of the interval.
    pub n_outside: usize,
}

impl RangeExcess {
    /// How far the worst element is outside, relative to half the interval's length.
    #[must_use]
    pub fn relative(&self) -> f64 {
        let (low, high) = self.interval;
        (self.found.1 - high).max(low - self.found.0) / (0.5 * (high - low))
    }
}

/// Evaluates the approximated model `graph` on `inputs` by name, and lists the activations whose operand leaves their
/// interval, in order. An operand that does counts as the interval's end from there on, so that what follows is judged by
/// its own excess. Within an activation of several stages, the first counts.
///
/// # Errors
/// When an input is missing or does not fit, or a value becomes infinite.
pub fn check_ranges(graph: &Graph<Nn>, inputs: &BTreeMap<String, Vec<f64>>) -> Result<Vec<RangeExcess>, IrError> {
    let mut known: Values = std::iter::repeat_n(Arc::new(Vec::new()), graph.len()).collect();
    for (id, node) in graph.iter() {
        let NnOp::Input { name, .. } = &node.op else { continue };
        let given = inputs.get(name).filter(|values| values.len() == node.ty.len());
        let given = given.ok_or_else(|| {
            let message = format!("the input `{name}` needs {} values", node.ty.len());
            IrError::interpret(&node.origin, message)
        })?;
        known[id.index()] = Arc::new(given.clone());
    }
    let interpreter = Interpreter::new(graph)?;
    let clamped = |id: ValueId, x: &[f64]| {
        let NnOp::Poly { poly, .. } = graph.op(id) else {
            return None;
        };
        let inside: Vec<f64> = x.iter().map(|x| x.clamp(poly.low, poly.high)).collect();
        Some(poly.eval_all(&inside))
    };
    let values = interpreter.evaluate_from(&known, ValueId(0), &clamped)?;
    let mut found = Vec::new();
    for (_, node) in graph.iter() {
        let NnOp::Poly { x, poly } = &node.op else { continue };
        if matches!(graph.op(*x), NnOp::Poly { .. }) {
            continue;
        }
        let operand = &values[x.index()];
        let interval = Interval::new(poly.low, poly.high);
        let n_outside = operand.iter().filter(|x| !interval.contains(**x)).count();
        if n_outside > 0 {
            let hull = Interval::hull(operand.iter().copied());
            found.push(RangeExcess {
                name: node.origin.to_string(),
                interval: (interval.low, interval.high),
                found: (hull.low, hull.high),
                n_outside,
            });
        }
    }
    Ok(found)
}
