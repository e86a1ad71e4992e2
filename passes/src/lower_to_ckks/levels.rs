//! Levels: how many rescales every value still has to survive.
//!
//! Levels are counted backward from the results, which are at level 0: a value is needed at the highest level that any
//! of its users needs it at. This is the lowest level that suffices, for every value at once. A bootstrap starts anew: its
//! operand is needed at the level that a bootstrap takes, whatever follows.

use super::polynomials::PolyPlan;
use super::scalars::doublings;
use crate::PassError;
use aphelion_ir::slot::{Polynomial, Slot, SlotOp};
use aphelion_ir::{Graph, Op};

/// Levels that `op` consumes between its operands and its result.
pub fn consumption(op: &SlotOp) -> u32 {
    match op {
        SlotOp::Mul { .. } | SlotOp::MulPlain { .. } | SlotOp::Linear { .. } => 1,
        SlotOp::MulScalar { by, .. } => factor_consumption(*by),
        SlotOp::Poly { poly, .. } => polynomial_consumption(poly),
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

/// Levels that a product with the scalar `by` consumes: none where it is a few doublings.
pub fn factor_consumption(by: f64) -> u32 {
    u32::from(doublings(by).is_none())
}

/// Levels that `poly` consumes in the form that it is evaluated in.
pub fn polynomial_consumption(poly: &Polynomial) -> u32 {
    PolyPlan::new(poly).depth()
}

/// Levels that a bootstrap goes between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BootstrapLevels {
    /// Level of its operand.
    pub(super) input: u32,
    /// Level of its result.
    pub(super) output: u32,
}

impl BootstrapLevels {
    /// Those of the parameters that the graph was prepared for, if it was.
    pub(super) fn of(graph: &Graph<Slot>) -> Option<Self> {
        let bootstrap = graph.attrs.parameters.as_ref()?.bootstrap.as_ref()?;
        Some(BootstrapLevels {
            input: bootstrap.input_level,
            output: bootstrap.levels,
        })
    }
}

/// For every value the level it is at, which is the one it is needed at, or that of a bootstrap's result; `None` where no
/// result depends on it.
///
/// # Errors
/// When a bootstrap stands in a graph without parameters for one, or more levels are needed after it than it yields.
pub(super) fn needed_levels(graph: &Graph<Slot>) -> Result<Vec<Option<u32>>, PassError> {
    let mut needed: Vec<Option<u32>> = vec![None; graph.len()];
    for output in graph.outputs() {
        needed[output.value.index()] = Some(0);
    }
    for (id, node) in graph.iter().rev() {
        let Some(level) = needed[id.index()] else { continue };
        let mut operand_level = level + consumption(&node.op);
        if let SlotOp::Bootstrap { .. } = node.op {
            let Some(levels) = BootstrapLevels::of(graph) else {
                let message = "no parameters were chosen for a bootstrap: run place_bootstraps first";
                return Err(PassError::unsupported(&node.origin, message));
            };
            if level > levels.output {
                let message = format!(
                    "{level} levels are needed after a bootstrap that yields {}",
                    levels.output
                );
                return Err(PassError::unsupported(&node.origin, message));
            }
            needed[id.index()] = Some(levels.output);
            operand_level = levels.input;
        }
        for operand in node.op.operands() {
            let needed = &mut needed[operand.index()];
            *needed = Some(needed.map_or(operand_level, |level| level.max(operand_level)));
        }
    }
    Ok(needed)
}
