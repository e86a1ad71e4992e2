//! Puts the chosen bootstraps into the program.

use crate::PassError;
use aphelion_ir::ckks::ParameterSpec;
use aphelion_ir::slot::{Slot, SlotOp};
use aphelion_ir::{Graph, Rewriter, ValueId};
use std::collections::BTreeSet;

/// `graph`, where every user of a value of `chosen` reads it bootstrapped, with the parameters for that.
pub(super) fn insert(
    graph: &Graph<Slot>,
    chosen: &BTreeSet<ValueId>,
    parameters: ParameterSpec,
) -> Result<Graph<Slot>, PassError> {
    let mut rewriter = Rewriter::new(graph);
    for (id, node) in graph.iter() {
        let x = rewriter.copy(id, node)?;
        if chosen.contains(&id) {
            let fresh = rewriter.target.push(SlotOp::Bootstrap { x }, node.origin.clone())?;
            rewriter.replace(id, fresh);
        }
    }
    let mut placed = rewriter.finish();
    placed.attrs.parameters = Some(parameters);
    Ok(placed)
}
