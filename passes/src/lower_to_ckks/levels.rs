//! Levels: how many rescales every value still has to survive.
//!
//! Levels are counted backward from the results, which are at level 0: a value is needed at the highest level that any
//! of its users needs it at. This is the lowest level that suffices, for every value at once.

use super::polynomials::PolyPlan;
use super::scalars::doublings;
use aphelion_ir::slot::{Slot, SlotOp};
use aphelion_ir::{Graph, Op};

/// Levels that `op` consumes between its operands and its result.
pub(super) fn consumption(op: &SlotOp) -> u32 {
    match op {
        SlotOp::Mul { .. } | SlotOp::MulPlain { .. } | SlotOp::Linear { .. } => 1,
        SlotOp::MulScalar { by, .. } => u32::from(doublings(*by).is_none()),
        SlotOp::Poly { poly, .. } => PolyPlan::new(poly).depth(),
        SlotOp::Input { .. }
        | SlotOp::Add { .. }
        | SlotOp::Sub { .. }
        | SlotOp::Neg { .. }
        | SlotOp::AddPlain { .. }
        | SlotOp::AddScalar { .. }
        | SlotOp::Rotate { .. }
        | SlotOp::Bootstrap { .. } => 0,
    }
}

/// For every value the level it is needed at; `None` where no result depends on it.
pub(super) fn needed_levels(graph: &Graph<Slot>) -> Vec<Option<u32>> {
    let mut needed: Vec<Option<u32>> = vec![None; graph.len()];
    for output in graph.outputs() {
        needed[output.value.index()] = Some(0);
    }
    for (id, node) in graph.iter().rev() {
        if let Some(level) = needed[id.index()] {
            let operand_level = level + consumption(&node.op);
            for operand in node.op.operands() {
                let needed = &mut needed[operand.index()];
                *needed = Some(needed.map_or(operand_level, |level| level.max(operand_level)));
            }
        }
    }
    needed
}
