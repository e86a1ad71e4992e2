//! Saving of rotation keys: takes a rotation in two steps where keys for both are there anyway.
//! In:     ckks, verified.                         Out: the same results; no step is needed by rotations alone that two
//!         other needed steps add up to.
//! Method: steps that only `rotate` ops need, those with the fewest uses first, then the largest; one that is the sum of two
//!         needed steps modulo the slots is given up, and every rotation by it becomes two. Steps that stand for a given-up
//!         one are kept from then on.
//! Source: the trade of key memory for rotations is folklore; power-of-two key sets are its extreme.
//! Cost:   O(ops + steps^3) time.
//! Counts: keys_before, keys_after (distinct rotation steps), rotations_added.
//! Limits: steps of linear transforms stay as they are; one given-up step costs one more key switch at each of its uses.

use std::collections::{BTreeMap, BTreeSet};

use aphelion_ir::ckks::{Ckks, CkksOp};
use aphelion_ir::{Graph, Rewriter};
use aphelion_passes::pipeline::PassInfo;
use aphelion_passes::{PassCx, PassError, Stats};

/// The pass, for [`PassManager::register`](aphelion_passes::pipeline::PassManager::register).
pub const PASS: PassInfo = PassInfo::on_ckks(
    "save_rotation_keys",
    "takes a rotation in two steps where keys for both are there anyway",
    run,
);

/// Runs the pass; see the file's header.
///
/// # Errors
/// When the graph is not valid.
pub fn run(_cx: &PassCx, graph: Graph<Ckks>) -> Result<(Graph<Ckks>, Stats), PassError> {
    let slots = graph.attrs.packing.slots;
    let mut uses: BTreeMap<usize, usize> = BTreeMap::new();
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    for (_, node) in graph.iter() {
        match &node.op {
            CkksOp::Rotate { by, .. } => *uses.entry(*by).or_default() += 1,
            CkksOp::LinearTransform { bsgs, .. } => {
                kept.extend(
                    bsgs.baby_steps
                        .iter()
                        .chain(&bsgs.giant_steps)
                        .filter(|step| **step != 0),
                );
            }
            _ => {}
        }
    }
    let needed: BTreeSet<usize> = kept.iter().chain(uses.keys()).copied().collect();
    let ways = two_step_ways(&uses, kept, slots);

    let mut stats = Stats::default();
    stats.add("keys_before", needed.len() as f64);
    stats.add("keys_after", (needed.len() - ways.len()) as f64);
    stats.add("rotations_added", 0.0);
    let mut rewriter = Rewriter::new(&graph);
    for (id, node) in graph.iter() {
        let way = match &node.op {
            CkksOp::Rotate { x, by } => ways.get(by).map(|steps| (*x, *steps)),
            _ => None,
        };
        let Some((x, (first, second))) = way else {
            rewriter.copy(id, node)?;
            continue;
        };
        let mut rotated = rewriter.get(x);
        for by in [first, second] {
            let rotate = CkksOp::Rotate { x: rotated, by };
            rotated = rewriter.target.push(rotate, node.origin.clone())?;
        }
        rewriter.replace(id, rotated);
        stats.add("rotations_added", 1.0);
    }
    Ok((rewriter.finish(), stats))
}

/// For every step that is given up, the two that stand for it.
fn two_step_ways(
    uses: &BTreeMap<usize, usize>,
    mut kept: BTreeSet<usize>,
    slots: usize,
) -> BTreeMap<usize, (usize, usize)> {
    let mut needed: BTreeSet<usize> = kept.iter().chain(uses.keys()).copied().collect();
    let mut candidates: Vec<(usize, usize)> = uses.iter().map(|(step, count)| (*count, *step)).collect();
    candidates.sort_by_key(|(count, step)| (*count, std::cmp::Reverse(*step)));
    let mut ways = BTreeMap::new();
    for (_, step) in candidates {
        if kept.contains(&step) {
            continue;
        }
        let others = || needed.iter().copied().filter(|other| *other != step);
        let way = others().find_map(|first| {
            let second = others().find(|second| (first + second) % slots == step)?;
            Some((first, second))
        });
        if let Some((first, second)) = way {
            needed.remove(&step);
            kept.extend([first, second]);
            ways.insert(step, (first, second));
        }
    }
    ways
}
