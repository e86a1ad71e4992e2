//! Layout assignment and lowering of `nn` to `slot`: decides what is computed in one linear op, and where tensors lie.
//! In:     `nn`; activations are polynomials; ranges of inputs, factors of products and results are in `NnAttrs`, with
//!         their margin
//! Out:    `slot`; every linear operator is one `linear` op; slots stay in [-1, 1] (at most 2) over the ranges;
//!         arguments of Chebyshev polynomials fill [-1, 1]; a final softmax is left to the client
//! Method: chains of linear ops grow into affine forms of the values before them (form, build); forms are computed where
//!         a non-linear op, a result, or growth in non-zeros asks for it; norms are folded into maps and coefficients
//!         (scaling); layouts over the whole graph by dynamic programming on the layouts still to be read, cut to a beam
//!         (candidates, costs, search), by diagonal counts and, in programs too deep to do without, the price of bootstraps,
//!         which grows with the period (prices); where encoded plaintexts exceed the memory of a run, again with a price for their
//!         bytes; ties by order
//! Source: multiplexed packing, Lee et al., ICML 2022; cyclic folds, Halevi and Shoup, CRYPTO 2014; affine forms, gap
//!         and multiplexed candidates for any linear map, and the placement of folds are ours
//! Cost:   O(candidates * address differences) per stage; each distinct question is answered once. Measured in a release
//!         build, user time: ResNet-20 0.9 s
//! Counts: stages, fused_ops, depth, slots, ciphertexts, linear_ops, diagonals, baby_rotations, giant_rotations, folds
//! Limits: slots from 2^[`MIN_LOG_SLOTS`] to half the ring degree that the depth asks for

mod build;
mod candidates;
mod costs;
mod emit;
mod form;
mod linear;
mod prices;
mod scaling;
mod search;
mod stage;

use crate::bsgs::RotationCost;
use crate::error::PassError;
use crate::options::Batch;
use crate::pass::{PassCx, Stats};
use aphelion_ir::nn::Nn;
use aphelion_ir::slot::{Kernel, Pattern, Slot, SlotOp};
use aphelion_ir::{Graph, Origin, ValueId};
use costs::Costs;
use prices::{MAX_LOG_N, Prices};
use rayon::prelude::*;
use search::Assignment;
use stage::Stages;

pub use costs::LinearCost;

/// Fewest slots that are considered; a program in fewer gains nothing.
const MIN_LOG_SLOTS: u32 = 10;
/// Fewer slots than put the largest tensor into 2^this ciphertexts are not considered: every op costs so many times more.
const MAX_LOG_CTS: u32 = 1;
/// Shares of the time to encode plaintexts that searches price where memory is short: a plaintext more takes the place of
/// others, up to one for one.
const ENCODE_SHARES: [f64; 3] = [0.25, 0.5, 1.0];
/// Bits of a level, and of all the rest of the modulus, for a first guess of the ring degree.
const LEVEL_BITS: usize = 36;
const REST_BITS: usize = 105;
/// Smallest ring degree that is considered.
const SMALLEST_LOG_N: u32 = 12;
/// Largest log2(QP) at 128 bits, classical, uniform ternary secrets, by log2(N) from [`SMALLEST_LOG_N`]
/// (homomorphicencryption.org standard, and Bossuat et al. 2024).
const MAX_LOG_QP: [usize; 5] = [109, 218, 438, 881, 1747];

/// Lowers `graph`.
///
/// # Errors
/// [`PassError::Unsupported`] for every op that has no lowering, [`PassError::BadInput`] for every missing range, all in
/// one; [`PassError::Infeasible`] when a tensor does not fit any number of slots.
pub fn run(cx: &PassCx, graph: Graph<Nn>) -> Result<(Graph<Slot>, Stats), PassError> {
    let (stages, constants) = build::stages(&graph)?;
    let is_deep = log2_of_modulus(stages.depth()) > most_bits(cx.options.log_n.unwrap_or(MAX_LOG_N));
    let prices = if is_deep {
        let batch = match cx.options.batch {
            Batch::Samples(n) => n,
            Batch::Fill => 1,
        };
        Prices::deep(&cx.cost_table, batch, cx.options.max_memory_bytes)?
    } else {
        Prices::shallow()
    };
    let mut costs = Costs::new(&constants, prices);
    let (slots, assignment) = choose_slots(cx, &stages, is_deep, &mut costs)?;
    let lowered = emit::emit(&graph.name, &stages, &assignment, slots, &constants)?;
    let lowered = lowered.without_dead_ops(|op| matches!(op, SlotOp::Input { .. }))?;
    let mut stats = Stats::default();
    stats.add("stages", stages.stages.len() as f64);
    stats.add("fused_ops", stages.n_fused as f64);
    stats.add("depth", stages.depth() as f64);
    stats.add("slots", slots as f64);
    stats.add(
        "ciphertexts",
        assignment.layouts.iter().map(|layout| layout.cts).max().unwrap_or(0) as f64,
    );
    for (_, linear) in linear_costs(&lowered, &prices.rotation)? {
        stats.add("linear_ops", 1.0);
        stats.add("diagonals", linear.transform.n_plains as f64);
        stats.add("baby_rotations", linear.transform.n_babies as f64);
        stats.add("giant_rotations", linear.transform.n_giants as f64);
        stats.add("folds", linear.n_folds as f64);
    }
    Ok((lowered, stats))
}

/// Origin and cost of every `linear` op of a graph, in order.
///
/// # Errors
/// When a kernel is malformed or a weight cannot be read.
pub fn linear_costs(graph: &Graph<Slot>, cost: &RotationCost) -> Result<Vec<(Origin, LinearCost)>, PassError> {
    let linear: Vec<_> = graph
        .iter()
        .filter_map(|(_, node)| match &node.op {
            SlotOp::Linear { x, kernel } => Some((&node.origin, *x, kernel)),
            _ => None,
        })
        .collect();
    let one = |(origin, x, kernel): (&Origin, ValueId, &Kernel)| {
        let pattern = Pattern::exact(&kernel.map, &graph.constants)?;
        let linear = costs::linear_cost(&pattern, graph.ty(x), &kernel.output, cost)?;
        let too_many = || PassError::Infeasible(format!("{origin} has more diagonals than any machine holds"));
        Ok((origin.clone(), linear.ok_or_else(too_many)?))
    };
    linear.into_par_iter().map(one).collect()
}

/// The number of slots whose program is cheapest; the smaller on a tie.
fn choose_slots(
    cx: &PassCx,
    stages: &Stages,
    is_deep: bool,
    costs: &mut Costs<'_>,
) -> Result<(usize, Assignment), PassError> {
    let log_n = cx.options.log_n.unwrap_or_else(|| expected_log_n(stages.depth()));
    let log_batch = match cx.options.batch {
        Batch::Samples(n) => n.trailing_zeros().min(log_n - 1),
        Batch::Fill => 0,
    };
    let choices = match cx.options.slots {
        Some(slots) if slots.is_power_of_two() => vec![slots],
        Some(slots) => return Err(PassError::BadInput(format!("{slots} slots are no power of two"))),
        // Layouts of shorter periods are among the candidates for more slots.
        None if is_deep => vec![1 << (log_n - 1 - log_batch)],
        None => {
            let sizes = stages.stages.iter().map(|stage| stage.shape.iter().product::<usize>());
            let largest = sizes.max().unwrap_or(1).next_power_of_two().trailing_zeros();
            let least = MIN_LOG_SLOTS.max(largest.saturating_sub(MAX_LOG_CTS)).min(log_n - 1);
            (least..(log_n - log_batch).max(least + 1))
                .map(|log_slots| 1 << log_slots)
                .collect()
        }
    };
    let mut best: Option<(usize, Assignment)> = None;
    for slots in choices {
        let mut assignment = within_memory(stages, slots, costs)?;
        let is_better = best.as_ref().is_none_or(|(_, other)| assignment.cost < other.cost);
        let fits = assignment.layouts.len() == stages.stages.len();
        // More slots than the longest period change nothing.
        let longest = assignment.layouts.iter().map(|layout| layout.period).max().unwrap_or(1);
        if fits && is_better {
            let slots = match cx.options.slots {
                Some(slots) => slots,
                None => longest.max(1 << MIN_LOG_SLOTS).min(slots),
            };
            assignment.layouts.iter_mut().for_each(|layout| layout.slots = slots);
            best = Some((slots, assignment));
        }
        if fits && longest < slots {
            break;
        }
    }
    best.ok_or_else(|| PassError::Infeasible("a tensor of the model is too large for any number of slots".into()))
}

/// The cheapest assignment for this number of slots in the memory that there is. Where not all plaintexts fit, layouts with
/// fewer or shorter ones may be worth more rotations.
fn within_memory(stages: &Stages, slots: usize, costs: &mut Costs<'_>) -> Result<Assignment, PassError> {
    costs.set_encode_share(0.0);
    let mut best = search::assign(stages, slots, costs)?;
    let mut least = costs.within_memory(&best.bill);
    if least > best.bill.run {
        for share in ENCODE_SHARES {
            costs.set_encode_share(share);
            let other = search::assign(stages, slots, costs)?;
            let cost = costs.within_memory(&other.bill);
            if other.layouts.len() == best.layouts.len() && cost < least {
                (best, least) = (other, cost);
            }
        }
    }
    best.cost = least;
    Ok(best)
}

/// Bits of the modulus of a program of this depth without bootstraps, about.
fn log2_of_modulus(depth: usize) -> usize {
    REST_BITS + LEVEL_BITS * depth
}

/// Most bits of a modulus that are secure at a ring degree.
fn most_bits(log_n: u32) -> usize {
    let index = (log_n as usize).saturating_sub(SMALLEST_LOG_N as usize);
    MAX_LOG_QP[index.min(MAX_LOG_QP.len() - 1)]
}

/// The smallest ring degree that is secure for a program of this depth, as log2.
fn expected_log_n(depth: usize) -> u32 {
    let bits = log2_of_modulus(depth);
    let log_n = (SMALLEST_LOG_N..MAX_LOG_N).find(|log_n| bits <= most_bits(*log_n));
    log_n.unwrap_or(MAX_LOG_N)
}
