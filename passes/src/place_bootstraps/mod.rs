//! Bootstrap placement: gives a deep program the bootstraps, the parameters and the levels with the least predicted latency.
//! In:     slot, verified                         Out:   slot, verified; a shallow program as it came, a deep one with
//!         `bootstrap` ops and `attrs.parameters` set, products balanced
//! Method: programs that parameters without bootstraps hold are left alone. For others, every number of levels between
//!         bootstraps makes a chain of primes with a price for each op at each level and for each bootstrap; exact dynamic
//!         programming over the frontier (`frontier`) places bootstraps for it. The cheapest program that keeps the asked
//!         precision when interpreted with noise, within the limits of memory, wins; where precision falls short, the
//!         bits of the bootstrap and of the scale are raised by what is missing.
//! Source: the order of the search is that of optimal register and bootstrap placement on series-parallel graphs: Cheon et
//!         al., "DaCapo: Automatic Bootstrapping Management", USENIX Security 2024; the exact frontier search is ours.
//! Cost:   one walk over the matrices, O(ops * states) per chain, a few interpreted runs for the winner.
//! Counts: depth, bootstraps, bootstrap_levels, bootstrap_input_level, candidates, optimality_gap, predicted_s
//! Limits: see `candidates`; a frontier of very many values is searched by the most promising states only, and the gap to
//!         the lower bound is reported

mod candidates;
mod frontier;
mod insert;
mod prices;
mod problem;
mod search;
#[cfg(test)]
mod tests;

use crate::lower_to_ckks::{self, balance, consumption};
use crate::parameters;
use crate::{PassCx, PassError, Stats};
use aphelion_ir::slot::{Slot, SlotOp};
use aphelion_ir::{Graph, Op};

/// A program of no more levels is served without bootstraps wherever that is possible, and nothing else is looked at.
const CERTAINLY_SHALLOW: u32 = 20;
/// Nor is it for a program that takes no longer than this without bootstraps: one bootstrap takes as much.
const QUICK_S: f64 = 4.0;

/// Runs the pass.
///
/// # Errors
/// [`PassError::Infeasible`] when an op consumes more levels than a bootstrap can leave, when no chain of primes keeps the
/// asked precision, or the keys exceed the memory allowed.
pub fn run(cx: &PassCx, graph: Graph<Slot>) -> Result<(Graph<Slot>, Stats), PassError> {
    let mut stats = Stats::default();
    if graph.attrs.parameters.is_some() {
        return Ok((graph, stats));
    }
    if let Some((_, node)) = graph
        .iter()
        .find(|(_, node)| matches!(node.op, SlotOp::Bootstrap { .. }))
    {
        let message = "bootstraps are placed by this pass only; leave them out";
        return Err(PassError::unsupported(&node.origin, message));
    }
    let balanced = balance(&graph)?;
    let depth = depth(&balanced);
    stats.add("depth", f64::from(depth));
    let leveled = leveled_seconds(cx, &graph, depth);
    if let Ok(seconds) = leveled
        && seconds <= QUICK_S
    {
        stats.add("bootstraps", 0.0);
        return Ok((graph, stats));
    }
    match (search::search(cx, &balanced), leveled) {
        (Ok(found), Err(_)) => Ok(found.finish(stats)),
        (Ok(found), Ok(seconds)) if found.seconds < seconds => Ok(found.finish(stats)),
        (Err(error), Err(_)) => Err(error),
        (_, Ok(_)) => {
            stats.add("bootstraps", 0.0);
            Ok((graph, stats))
        }
    }
}

/// Levels between the inputs and the results.
fn depth(graph: &Graph<Slot>) -> u32 {
    let mut depths: Vec<u32> = Vec::with_capacity(graph.len());
    for (_, node) in graph.iter() {
        let below = node.op.operands().into_iter().map(|x| depths[x.index()]).max();
        depths.push(below.unwrap_or(0) + consumption(&node.op));
    }
    graph
        .outputs()
        .iter()
        .map(|output| depths[output.value.index()])
        .max()
        .unwrap_or(0)
}

/// Predicted seconds without bootstraps; the reason where that is impossible.
fn leveled_seconds(cx: &PassCx, graph: &Graph<Slot>, depth: u32) -> Result<f64, PassError> {
    if let Some(most) = cx.options.max_levels.filter(|most| *most < depth) {
        return Err(PassError::Infeasible(format!(
            "{depth} levels are more than the {most} allowed"
        )));
    }
    parameters::check_depth(cx, depth, graph.attrs.slots)?;
    if depth <= CERTAINLY_SHALLOW {
        return Ok(0.0);
    }
    let (lowered, _) = lower_to_ckks::run(cx, graph.clone())?;
    let (_, stats) = parameters::run(cx, lowered)?;
    Ok(stats.0.get("predicted_s").copied().unwrap_or(f64::INFINITY))
}
