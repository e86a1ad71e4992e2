//! Extraction: from every e-class the e-node of least (multiplicative depth, latency), where an op that is shared
//! counts once.
//!
//! Method: bottom-up to a fixed point, in the manner of a greedy DAG extraction: a candidate's latency is the sum over
//! the set of classes it needs, not over paths. Ties are broken by the order in which e-nodes were added, so the result
//! is deterministic.

use super::language::{SlotEGraph, SlotExpr};
use egg::{Id, Language};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Passes over the classes after which the best solution so far is taken; each pass settles at least one more layer of
/// a graph, and e-graphs of models settle in fewer than ten.
const MAX_ROUNDS: usize = 64;

/// Depth and latency of one op.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct OpCost {
    /// Levels that it takes.
    pub(super) depth: u32,
    /// Latency in units of one rotation.
    pub(super) latency: f64,
}

/// The chosen e-node of a class, with what it needs.
struct Choice {
    node: usize,
    depth: u32,
    latency: f64,
    /// Latency of every class that the choice needs, itself included.
    needs: BTreeMap<Id, f64>,
}

/// The chosen e-node of every class that has one.
pub(super) fn extract(
    egraph: &SlotEGraph,
    mut cost: impl FnMut(&SlotExpr, &SlotEGraph) -> Option<OpCost>,
) -> FxHashMap<Id, SlotExpr> {
    let mut classes: Vec<Id> = egraph.classes().map(|class| class.id).collect();
    classes.sort_unstable();
    let costs: Vec<Vec<Option<OpCost>>> = classes
        .iter()
        .map(|id| egraph[*id].nodes.iter().map(|node| cost(node, egraph)).collect())
        .collect();
    let mut best: FxHashMap<Id, Choice> = FxHashMap::default();
    for _ in 0..MAX_ROUNDS {
        let mut changed = false;
        for (&id, costs) in classes.iter().zip(&costs) {
            for (index, node) in egraph[id].nodes.iter().enumerate() {
                let Some(candidate) = costs[index].and_then(|own| candidate(egraph, &best, id, index, node, own))
                else {
                    continue;
                };
                let better = best.get(&id).is_none_or(|current| {
                    (candidate.depth, candidate.latency) < (current.depth, current.latency - 1e-9)
                });
                if better {
                    best.insert(id, candidate);
                    changed = true;
                }
            }
        }
        if !changed {
            break;
        }
    }
    best.into_iter()
        .map(|(id, choice)| (id, egraph[id].nodes[choice.node].clone()))
        .collect()
}

fn candidate(
    egraph: &SlotEGraph,
    best: &FxHashMap<Id, Choice>,
    id: Id,
    index: usize,
    node: &SlotExpr,
    own: OpCost,
) -> Option<Choice> {
    let mut needs = BTreeMap::from([(id, own.latency)]);
    let mut depth = 0;
    for child in node.children() {
        let child = egraph.find(*child);
        let choice = best.get(&child)?;
        // A class that needs itself is a cycle of the e-graph, no program.
        if choice.needs.contains_key(&id) {
            return None;
        }
        depth = depth.max(choice.depth);
        needs.extend(&choice.needs);
    }
    let latency = needs.values().sum();
    Some(Choice {
        node: index,
        depth: depth + own.depth,
        latency,
        needs,
    })
}
