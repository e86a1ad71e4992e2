//! Calibration: the interval that every value stays in, from samples or from the interval of the inputs.
//! In:     `nn`, verified.                         Out: every value but constants has an entry in the graph's ranges;
//!         polynomials in powers have an interval that covers their operand's.
//! Method: with samples, the interpreter runs on each, and a value's extremes are widened about their centre by the
//!         margin, or to where the next extreme of one in [`TAIL_ODDS`] samples is expected if that is further. Without,
//!         intervals are propagated from the inputs element by element, and widened by the margin. A range that is known
//!         for an input before the pass is taken as it is.
//! Source: extremes over samples follow a Gumbel law, fitted by moments (Gumbel, "Statistics of Extremes", 1958);
//!         interval arithmetic for linear maps in centre-radius form (Rump, BIT 39, 1999).
//! Cost:   one evaluation per sample, in parallel; or two to four per op for intervals. 1 ms per 100 samples of
//!         mlp_credit, 10 ms of cnn1d_gunpoint.
//! Counts: calibrated_values, calibration_samples.
//! Limits: the margin is at least 1; [`MIN_SAMPLES_FOR_TAIL`] samples for the extremes to have a law.

mod check;
mod interval;
mod intervals;
mod propagate;
mod samples;

pub use check::{RangeExcess, check_ranges};
pub use interval::Interval;
pub use propagate::propagate;
pub(crate) use samples::Samples;

use crate::{PassCx, PassError, Stats};
use aphelion_ir::nn::{Nn, NnOp, ValueRange};
use aphelion_ir::{Graph, Node, ValueId};
use std::collections::BTreeMap;

/// One sample in so many may exceed the widened range, as far as the calibration samples tell.
const TAIL_ODDS: f64 = 1e3;
/// With fewer samples, the spread of their extremes says little.
const MIN_SAMPLES_FOR_TAIL: usize = 8;

/// Runs the pass; see the file's header.
///
/// # Errors
/// [`PassError::BadInput`] without samples and input range, for samples of a wrong length, and for a function that is not
/// defined on the interval that reaches it.
pub fn run(cx: &PassCx, mut graph: Graph<Nn>) -> Result<(Graph<Nn>, Stats), PassError> {
    let margin = cx.options.range_margin;
    if !(margin >= 1.0 && margin.is_finite()) {
        return Err(PassError::BadInput(format!(
            "the range margin must be at least 1, found {margin}"
        )));
    }
    let declared = declared_inputs(&graph);
    let mut ranges = if cx.samples.is_empty() {
        let inputs = input_intervals(cx, &graph, &declared)?;
        let values = propagate(&graph, &inputs)?;
        values.iter().map(|range| range.widened(margin)).collect()
    } else {
        widened_extremes(&Samples::new(&graph, &cx.samples)?.extremes(&graph)?, margin)
    };
    for (id, node) in graph.iter() {
        let known = match &node.op {
            NnOp::Input { name, .. } => declared.get(name).copied(),
            _ => None,
        };
        if let Some(known) = known {
            ranges[id.index()] = known;
        }
    }
    let mut stats = Stats::default();
    stats.add("calibration_samples", cx.samples.len() as f64);
    let is_variable = |(id, node): (ValueId, &Node<Nn>)| (!matches!(node.op, NnOp::Constant { .. })).then_some(id);
    let entry = |id: ValueId| ValueRange {
        value: id.0,
        low: ranges[id.index()].low,
        high: ranges[id.index()].high,
    };
    let entries: Vec<ValueRange> = graph.iter().filter_map(is_variable).map(entry).collect();
    stats.add("calibrated_values", entries.len() as f64);
    graph.attrs.ranges = entries;
    Ok((intervals::place(graph)?, stats))
}

/// Ranges of inputs that the graph has already, by name.
fn declared_inputs(graph: &Graph<Nn>) -> BTreeMap<String, Interval> {
    let mut declared = BTreeMap::new();
    for range in &graph.attrs.ranges {
        let node = graph.iter().nth(range.value as usize).map(|(_, node)| &node.op);
        if let Some(NnOp::Input { name, .. }) = node {
            declared.insert(name.clone(), Interval::new(range.low, range.high));
        }
    }
    declared
}

/// The interval of every input, by name, where there are no samples.
fn input_intervals(
    cx: &PassCx,
    graph: &Graph<Nn>,
    declared: &BTreeMap<String, Interval>,
) -> Result<BTreeMap<String, Interval>, PassError> {
    let mut inputs = BTreeMap::new();
    for (_, node) in graph.iter() {
        let NnOp::Input { name, .. } = &node.op else {
            continue;
        };
        let given = cx.options.input_range.map(|(low, high)| Interval::new(low, high));
        let interval = declared.get(name).copied().or(given).ok_or_else(|| {
            PassError::BadInput(format!(
                "nothing is known of the values of the input `{name}`: give samples (--calibrate FILE) or the interval of \
                 its elements (--input-range LOW..HIGH)"
            ))
        })?;
        if !(interval.low.is_finite() && interval.high.is_finite() && interval.low <= interval.high) {
            return Err(PassError::BadInput(format!(
                "the range [{}, {}] of the input `{name}` is no interval",
                interval.low, interval.high
            )));
        }
        inputs.insert(name.clone(), interval);
    }
    Ok(inputs)
}

/// Ranges of all values, by index: their extremes over the samples, widened.
fn widened_extremes(extremes: &samples::Extremes, margin: f64) -> Vec<Interval> {
    extremes
        .per_value()
        .map(|value| {
            let range = value.range.widened(margin);
            if value.n_samples < MIN_SAMPLES_FOR_TAIL {
                return range;
            }
            // Gumbel by moments: quantile 1 - 1/odds is mean + (ln(odds) - gamma) sqrt(6) / pi standard deviations.
            const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;
            let n_deviations = (libm::log(TAIL_ODDS) - EULER_GAMMA) * 6f64.sqrt() / std::f64::consts::PI;
            Interval::new(
                range.low.min(value.low_mean - n_deviations * value.low_deviation),
                range.high.max(value.high_mean + n_deviations * value.high_deviation),
            )
        })
        .collect()
}
