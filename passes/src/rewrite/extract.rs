//! Extraction: the program of least (multiplicative depth, latency), where an op that is shared counts once.
//!
//! Method: bottom-up to a fixed point, in the manner of a greedy DAG extraction: a candidate's latency is the sum over
//! the set of classes it needs, not over paths. First every class gets the shallowest e-node; then those off the deepest
//! path get the fastest that keeps the program's depth, as area is recovered under required times in logic synthesis (Cong and
//! Ding, FlowMap, 1994). What a class costs by itself says little where others need most of it anyway; so last of all, one
//! class after another takes the e-node with which the whole program is cheapest. Ties are broken by the order in which
//! e-nodes were added, so the result is deterministic.

use super::language::{SlotEGraph, SlotExpr};
use egg::{Id, Language};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Passes over the classes after which the best solution so far is taken; each pass settles at least one more layer of
/// a graph, and e-graphs of models settle in fewer than ten.
const MAX_ROUNDS: usize = 64;

/// Visits of e-nodes that trying other choices one by one may take; those of the example models take a few thousand.
const MAX_VISITS: usize = 1 << 19;

/// Latencies that differ by less are equal.
const EPSILON: f64 = 1e-9;

/// Depth and latency of one op.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) struct OpCost {
    /// Levels that it takes.
    pub(super) depth: u32,
    /// Seconds.
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

/// What one class has to offer.
struct Class {
    id: Id,
    /// Cost of every e-node; none for those that cannot be.
    costs: Vec<Option<OpCost>>,
}

/// The chosen e-node of every class that has one; `root` is the class of the program.
pub(super) fn extract(
    egraph: &SlotEGraph,
    root: Id,
    mut cost: impl FnMut(&SlotExpr, &SlotEGraph) -> Option<OpCost>,
) -> FxHashMap<Id, SlotExpr> {
    let mut ids: Vec<Id> = egraph.classes().map(|class| class.id).collect();
    ids.sort_unstable();
    let class = |id: Id| Class {
        id,
        costs: egraph[id].nodes.iter().map(|node| cost(node, egraph)).collect(),
    };
    let classes: Vec<Class> = ids.into_iter().map(class).collect();
    let mut best: FxHashMap<Id, Choice> = FxHashMap::default();
    settle(egraph, &classes, &mut best, |_, candidate, current| {
        (candidate.depth, candidate.latency) < (current.depth, current.latency - EPSILON)
    });
    let shallowest: FxHashMap<Id, usize> = best.iter().map(|(id, choice)| (*id, choice.node)).collect();
    // Where the depth of the program leaves room, latency comes first.
    let root = egraph.find(root);
    let allowed = allowed_depths(egraph, &classes, &best, root);
    settle(egraph, &classes, &mut best, |id, candidate, current| {
        match allowed.get(&id) {
            Some(&depth) if candidate.depth <= depth => candidate.latency < current.latency - EPSILON,
            _ => false,
        }
    });
    let fastest: FxHashMap<Id, usize> = best.iter().map(|(id, choice)| (*id, choice.node)).collect();
    // Choices look at what those below them cost at the time; the programs as they stand decide.
    let costs: Costs<'_> = classes.iter().map(|class| (class.id, class)).collect();
    let whole = |chosen: &FxHashMap<Id, usize>| program_cost(egraph, &costs, chosen, root).map(|(cost, _)| cost);
    let is_fastest = match (whole(&fastest), whole(&shallowest)) {
        (Some(fastest), Some(shallowest)) if shallowest <= fastest => false,
        (fastest, _) => fastest.is_some(),
    };
    let mut chosen = if is_fastest { fastest } else { shallowest };
    improve(egraph, &costs, &mut chosen, root);
    let node = |(id, node): (Id, usize)| (id, egraph[id].nodes[node].clone());
    chosen.into_iter().map(node).collect()
}

/// Improves the choices until `is_better` finds nothing any more, or for [`MAX_ROUNDS`].
fn settle(
    egraph: &SlotEGraph,
    classes: &[Class],
    best: &mut FxHashMap<Id, Choice>,
    is_better: impl Fn(Id, &Choice, &Choice) -> bool,
) {
    for _ in 0..MAX_ROUNDS {
        let mut changed = false;
        for &Class { id, ref costs } in classes {
            // What the present choice costs now that those below may have changed.
            if let Some(index) = best.get(&id).map(|choice| choice.node)
                && let Some(own) = costs[index]
                && let Some(choice) = candidate(egraph, best, id, index, &egraph[id].nodes[index], own)
            {
                best.insert(id, choice);
            }
            for (index, node) in egraph[id].nodes.iter().enumerate() {
                let Some(candidate) = costs[index].and_then(|own| candidate(egraph, best, id, index, node, own)) else {
                    continue;
                };
                if best.get(&id).is_none_or(|current| is_better(id, &candidate, current)) {
                    best.insert(id, candidate);
                    changed = true;
                }
            }
        }
        if !changed {
            break;
        }
    }
}

/// Changes one choice at a time while that makes the whole program cheaper, users before what they use.
fn improve(egraph: &SlotEGraph, costs: &Costs<'_>, chosen: &mut FxHashMap<Id, usize>, root: Id) {
    let mut visits = 0;
    let Some((mut best, mut order)) = program_cost(egraph, costs, chosen, root) else {
        return;
    };
    loop {
        let mut changed = false;
        for &id in order.iter().rev() {
            let Some(class) = costs.get(&id) else { continue };
            for index in 0..class.costs.len() {
                let before = chosen[&id];
                if index == before || class.costs[index].is_none() {
                    continue;
                }
                if visits > MAX_VISITS {
                    return;
                }
                visits += order.len();
                chosen.insert(id, index);
                match program_cost(egraph, costs, chosen, root) {
                    Some((cost, _)) if (cost.depth, cost.latency) < (best.depth, best.latency - EPSILON) => {
                        best = cost;
                        changed = true;
                    }
                    _ => {
                        chosen.insert(id, before);
                    }
                }
            }
        }
        match program_cost(egraph, costs, chosen, root) {
            Some((_, now)) if changed => order = now,
            _ => return,
        }
    }
}

/// Classes by their number.
type Costs<'a> = FxHashMap<Id, &'a Class>;

/// Depth and latency of a program, and its classes, what is used before its users; none where a choice needs itself.
fn program_cost(
    egraph: &SlotEGraph,
    costs: &Costs<'_>,
    chosen: &FxHashMap<Id, usize>,
    root: Id,
) -> Option<(OpCost, Vec<Id>)> {
    let mut order = Vec::new();
    // None while the classes below are being visited.
    let mut depths: FxHashMap<Id, Option<u32>> = FxHashMap::default();
    let mut latency = 0.0;
    let mut pending = vec![root];
    while let Some(&id) = pending.last() {
        if let Some(Some(_)) = depths.get(&id) {
            pending.pop();
            continue;
        }
        let node = *chosen.get(&id)?;
        let children: Vec<Id> = egraph[id].nodes[node]
            .children()
            .iter()
            .map(|child| egraph.find(*child))
            .collect();
        let is_visited = depths.insert(id, None).is_some();
        let missing: Vec<Id> = children
            .iter()
            .copied()
            .filter(|child| !matches!(depths.get(child), Some(Some(_))))
            .collect();
        if missing.is_empty() {
            let own = costs.get(&id)?.costs[node]?;
            let below = children.iter().filter_map(|child| depths[child]).max();
            depths.insert(id, Some(below.unwrap_or(0) + own.depth));
            latency += own.latency;
            order.push(id);
        } else if is_visited || missing.iter().any(|child| depths.contains_key(child)) {
            return None;
        } else {
            pending.extend(missing);
        }
    }
    let depth = depths.get(&root).copied().flatten()?;
    Some((OpCost { depth, latency }, order))
}

/// For every class of the program as chosen, the depth that it may have without making the program deeper.
fn allowed_depths(
    egraph: &SlotEGraph,
    classes: &[Class],
    best: &FxHashMap<Id, Choice>,
    root: Id,
) -> FxHashMap<Id, u32> {
    let Some(program) = best.get(&root) else {
        return FxHashMap::default();
    };
    let costs: FxHashMap<Id, &Class> = classes.iter().map(|class| (class.id, class)).collect();
    // A class needs more classes than any of those below it: users come first.
    let mut order: Vec<Id> = program.needs.keys().copied().collect();
    order.sort_by_key(|id| std::cmp::Reverse((best.get(id).map_or(0, |choice| choice.needs.len()), *id)));
    let mut allowed = FxHashMap::from_iter([(root, program.depth)]);
    for id in order {
        let (Some(choice), Some(&depth)) = (best.get(&id), allowed.get(&id)) else {
            continue;
        };
        let own = costs[&id].costs[choice.node].map_or(0, |cost| cost.depth);
        for child in egraph[id].nodes[choice.node].children() {
            let room = allowed.entry(egraph.find(*child)).or_insert(u32::MAX);
            *room = (*room).min(depth.saturating_sub(own));
        }
    }
    allowed
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
