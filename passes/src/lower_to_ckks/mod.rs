//! Lowering to ciphertexts: decides the level of every value, when products are relinearised and rescaled, and the
//! baby-step/giant-step plan of every matrix.
//! In:     slot, verified                         Out:   ckks without parameters: results at level 0, every op at the
//!         lowest level that suffices, equal levels and scales at every addition
//! Method: products are balanced; levels count backward from the results; values are kept unrelinearised, unrescaled and
//!         unfolded over sums, so that one of each serves a whole sum; folds and plaintext additions come after the
//!         rescale, where limbs are fewest; limbs are dropped by the ops themselves (`at`), and by `drop_level` only where
//!         an addition, product or rotation needs it.
//! Source: exact scales: Kim, Papadimitriou, Polyakov, CT-RSA 2022; lazy rescaling: Blatt et al., "Optimized homomorphic
//!         encryption solution for secure genome-wide association studies", 2020; plans: `bsgs`.
//! Cost:   O(ops log ops), and one walk over the non-zeros of every matrix.
//! Counts: levels, ckks_ops, drop_levels
//! Limits: none of its own; depth is judged by parameter selection

mod emit;
mod lazy;
mod levels;
mod polynomials;
mod products;
mod scalars;
#[cfg(test)]
mod tests;

pub use levels::{consumption, factor_consumption, polynomial_consumption};
pub(crate) use polynomials::PolyPlan;
pub(crate) use products::balance;
pub(crate) use scalars::doublings;

use crate::bsgs;
use crate::cost_model::{CostTable, Costs};
use crate::parameters::with_gadgets;
use crate::{PassCx, PassError, Stats};
use aphelion_ir::Graph;
use aphelion_ir::ckks::{Bsgs, Ckks, CkksOp, ParameterSpec, Secret};
use aphelion_ir::slot::{Kernel, Layout, Slot};

/// Runs the pass.
///
/// # Errors
/// When a constant cannot be read or the graph is not valid.
pub fn run(cx: &PassCx, graph: Graph<Slot>) -> Result<(Graph<Ckks>, Stats), PassError> {
    // Where bootstraps were placed, they were placed for the products as they stand.
    let graph = match graph.attrs.parameters {
        Some(_) => graph,
        None => products::balance(&graph)?,
    };
    let needed = levels::needed_levels(&graph)?;
    let max_level = needed.iter().flatten().copied().max().unwrap_or(0);
    let prices = plan_prices(graph.attrs.parameters.as_ref(), max_level, &cx.cost_table);
    let plan = |kernel: &Kernel, input: &Layout, level: u32| -> Result<Bsgs, PassError> {
        let set = cx.memo.diagonals(kernel, input, &graph.constants)?;
        Ok(bsgs::choose(&set, &prices(level)).bsgs)
    };
    let lowered = emit::Emitter::new(&graph, &needed, &plan).run()?;
    let mut stats = Stats::default();
    stats.add("levels", f64::from(max_level));
    stats.add("ckks_ops", lowered.len() as f64);
    let is_drop = |op: &CkksOp| matches!(op, CkksOp::DropLevel { .. });
    let n_drops = lowered.iter().filter(|(_, node)| is_drop(&node.op)).count();
    stats.add("drop_levels", n_drops as f64);
    Ok((lowered, stats))
}

/// Prices of rotations by level, under the parameters that were chosen, or those that a program of this depth will probably
/// have: only ratios matter to a plan, and they hardly depend on the ring.
fn plan_prices(
    chosen: Option<&ParameterSpec>,
    max_level: u32,
    table: &CostTable,
) -> impl Fn(u32) -> bsgs::RotationCost {
    let costs = chosen.map_or_else(|| Costs::new(&with_gadgets(probable(max_level))), Costs::new);
    move |level| costs.rotation_cost(level, table)
}

/// Prices of rotations amid a program with bootstraps.
pub(crate) fn typical_rotation_cost(table: &CostTable) -> bsgs::RotationCost {
    // Five digits are what a chain with a bootstrap has room for.
    let costs = Costs::new(&with_gadgets(ParameterSpec {
        dnum: 5,
        n_special: 5,
        log_special: 49,
        ..probable(25)
    }));
    costs.rotation_cost(6, table)
}

fn probable(max_level: u32) -> ParameterSpec {
    ParameterSpec {
        log_n: match max_level {
            0..=5 => 13,
            6..=10 => 14,
            11..=20 => 15,
            _ => 16,
        },
        max_level,
        log_scale: 36,
        log_q0: 41,
        dnum: max_level + 1,
        log_special: 45,
        n_special: 1,
        gadgets: None,
        secret: Secret::UniformTernary {},
        bootstrap: None,
    }
}
