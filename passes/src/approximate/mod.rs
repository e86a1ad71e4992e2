//! Approximation: replaces activations by polynomials, as cheap as the asked precision of the whole model allows.
//! In:     `nn`, calibrated, no prelu.             Out: no apply is left; every value but constants has a range.
//! Method: each activation has a ladder of approximations on its calibrated interval, by error on the samples; one
//!         threshold on the error that an activation may cause in the results picks a rung for all (found by bisection),
//!         then rungs are lowered one by one, deepest first, and among those where it matters least, while the model with
//!         all polynomials in place still holds the target with [`SAFETY`] to spare on all samples. For agreement only
//!         levels count: every rung is the last of its depth. Fits see four samples of five; the fifth is held back, and
//!         has to hold the target too. Operands may use up half of their range's margin on samples. With few samples,
//!         intervals are wider, and decisions have to be clear against the error of all. A trial evaluates what follows
//!         the first activation that changed, on the least certain samples first.
//! Source: equal error shares are optimal as an error falls by about the same factor per level for all activations;
//!         fits as in `approx`. Precision-driven degrees as in Lee et al. (arXiv 2105.10879), here by measurement.
//! Cost:   some 15 to [`MAX_TRIALS`] evaluations of at most [`MAX_SAMPLES`] samples, and the fits: 0.3 to 1 s on
//!         mlp_credit, 0.3 to 4 s on cnn1d_gunpoint, growing with the precision (2 busy cores); fits beyond degree 63 take
//!         50 to 150 ms each.
//! Counts: activations, activation_depth (sum of levels), activation_products, approximation_trials, precision_bits,
//!         largest_range_use and range_use.NAME (extremes on the samples over the ends of the interval), and
//!         asked_agreement_percent where the target is agreement, be it by default.
//! Limits: [`ladder::MAX_DEPTH`] levels and degree [`ladder::MAX_DEGREE`] per activation.

mod build;
mod ladder;
mod objective;
mod report;
mod search;
mod site;
mod trials;

pub use report::{ActivationReport, ApproximationReport};

use crate::calibrate::{self, Samples};
use crate::{PassCx, PassError, Stats, Target};
use aphelion_ir::nn::{Nn, NnOp};
use aphelion_ir::{Graph, Op};
use objective::Objective;
use search::Search;
use trials::Trials;

/// The error on samples may be the allowed one divided by this.
const SAFETY: f64 = std::f64::consts::SQRT_2;
/// Evaluations of the model on all samples after which no rung is lowered any more.
const MAX_TRIALS: usize = 48;
/// Samples used, evenly spread over those given.
const MAX_SAMPLES: usize = 128;
/// Random inputs that stand for samples where none are given.
const N_SYNTHETIC: usize = 64;

/// Runs the pass; see the file's header.
///
/// # Errors
/// As [`run_reported`].
pub fn run(cx: &PassCx, graph: Graph<Nn>) -> Result<(Graph<Nn>, Stats), PassError> {
    run_reported(cx, graph).map(|(graph, stats, _)| (graph, stats))
}

/// Runs the pass, and says what was chosen for every activation and how well the whole does.
///
/// # Errors
/// [`PassError::BadInput`] when the graph is not calibrated, [`PassError::Infeasible`] when no approximation within the
/// limits holds the target, [`PassError::Unsupported`] for a function that is not defined on its calibrated interval.
pub fn run_reported(cx: &PassCx, graph: Graph<Nn>) -> Result<(Graph<Nn>, Stats, ApproximationReport), PassError> {
    let samples = if cx.samples.is_empty() {
        Samples::synthetic(&graph, N_SYNTHETIC)?
    } else {
        Samples::new(&graph, &cx.samples)?.spread(MAX_SAMPLES)
    };
    let sites = site::find(&graph, &samples, !cx.samples.is_empty())?;
    let target = cx.options.target.resolved(longest_chain(&graph));
    let trials = Trials::new(&graph, &sites, &samples)?;
    let objective = Objective::new(&graph, trials.values(), target);
    let found = Search::new(&graph, &sites, trials, &objective).run()?;
    let built = build::substitute(&graph, &sites, &found.choices)?;
    let report = report::report(cx, &graph, &sites, &found, &built);
    let mut stats = Stats::default();
    stats.add("activations", sites.len() as f64);
    for choice in &found.choices {
        stats.add("activation_depth", choice.cost.depth as f64);
        stats.add("activation_products", choice.cost.mults as f64);
    }
    stats.add("approximation_trials", found.n_trials as f64);
    if let Target::Agreement(percent) = target {
        stats.add("asked_agreement_percent", percent);
    }
    for activation in &report.activations {
        stats.add(&format!("range_use.{}", activation.name), activation.range_use);
    }
    let range_use = report.activations.iter().map(|activation| activation.range_use);
    if let Some(largest) = range_use.reduce(f64::max) {
        stats.add("largest_range_use", largest);
    }
    if report.bits.is_finite() {
        stats.add("precision_bits", report.bits);
    }
    let (calibrated, _) = calibrate::run(cx, built.graph)?;
    Ok((calibrated, stats, report))
}

/// Most activations one after the other.
fn longest_chain(graph: &Graph<Nn>) -> usize {
    let mut lengths: Vec<usize> = Vec::with_capacity(graph.len());
    for (_, node) in graph.iter() {
        let before = node.op.operands().iter().map(|x| lengths[x.index()]).max().unwrap_or(0);
        lengths.push(before + usize::from(matches!(node.op, NnOp::Apply { .. })));
    }
    lengths.into_iter().max().unwrap_or(0)
}
