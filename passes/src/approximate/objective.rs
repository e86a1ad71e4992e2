//! How well a model with polynomials does against the exact one, and whether that is enough.

use super::SAFETY;
use super::site::{Site, is_few};
use crate::calibrate::{Interval, Samples};
use crate::options::Target;
use aphelion_ir::nn::{Func, Nn, NnOp, Values};
use aphelion_ir::{Graph, ValueId};
use rayon::prelude::*;

/// With few samples, which say little of decisions closer than theirs, the best class has to lead by as many times the
/// root mean square error of all results.
const LEAD_OF_FEW: f64 = 2.0;

/// The exact model's results, and what is asked.
pub(super) struct Objective {
    target: Target,
    /// Per sample, all results joined.
    clear: Vec<Vec<f64>>,
    /// Elements of the first result, which gives the class.
    n_classes: usize,
    /// A single score means the second class above this.
    threshold: f64,
    largest: f64,
    /// By sample, how far the best class is ahead of the next.
    leads: Vec<f64>,
}

/// How well a model does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// Largest error of a result.
    pub(super) max_error: f64,
    /// The same over the samples held back.
    pub(super) held_back_max_error: f64,
    /// Samples with the exact model's class.
    pub(super) n_agreeing: usize,
    /// Samples whose class would hold with the error multiplied by the safety factor.
    pub(super) n_safe: usize,
    /// Samples measured.
    pub(super) n_samples: usize,
    /// Whether every activation's operand stayed in its interval, with half of the margin left.
    pub(super) is_inside: bool,
}

impl Objective {
    /// `values` are those of the exact model, by sample.
    pub(super) fn new(graph: &Graph<Nn>, values: &[Values], target: Target) -> Self {
        let of_sample = |values: &Values| -> Vec<f64> {
            let results = graph.outputs().iter().map(|output| output.value.index());
            results.flat_map(|x| values[x].iter().copied()).collect()
        };
        let clear: Vec<Vec<f64>> = values.iter().map(of_sample).collect();
        let first = graph.outputs().first().map(|output| output.value);
        let largest = clear.iter().flatten().fold(0.0f64, |largest, x| largest.max(x.abs()));
        let n_classes = first.map_or(0, |value| graph.ty(value).len());
        let threshold = first.map_or(0.0, |value| threshold(graph, value));
        Objective {
            target,
            n_classes,
            threshold,
            leads: clear
                .iter()
                .map(|scores| lead(&scores[..n_classes], threshold))
                .collect(),
            largest: largest.max(f64::MIN_POSITIVE),
            clear,
        }
    }

    /// Largest magnitude of a result of the exact model.
    pub(super) fn largest(&self) -> f64 {
        self.largest
    }

    /// Number of samples.
    pub(super) fn n_samples(&self) -> usize {
        self.clear.len()
    }

    /// The error of a result that the target allows, safety taken off, as far as it is one on errors.
    pub(super) fn allowed_error(&self) -> f64 {
        match self.target {
            Target::Precision(bits) => self.largest * libm::exp2(-bits) / SAFETY,
            Target::Agreement(_) | Target::Automatic => self.largest / SAFETY,
        }
    }

    /// Whether the target leaves room for all the precision that the same levels give.
    pub(super) fn counts_levels_only(&self) -> bool {
        matches!(self.target, Target::Agreement(_))
    }

    /// Whether the target is held with safety.
    pub(super) fn is_met(&self, measured: &Measured) -> bool {
        let is_enough = match self.target {
            Target::Precision(_) => measured.max_error <= self.allowed_error(),
            Target::Agreement(percent) => {
                measured.n_safe as f64 >= percent / 100.0 * self.n_samples() as f64 && measured.max_error.is_finite()
            }
            Target::Automatic => false,
        };
        is_enough && measured.is_inside
    }

    /// The samples, those first whose class is the least certain.
    pub(super) fn hardest_first(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.n_samples()).collect();
        order.sort_by(|a, b| self.leads[*a].total_cmp(&self.leads[*b]));
        order
    }

    /// Whether some samples did so badly that the target is missed, as far as they tell.
    pub(super) fn is_lost(&self, measured: &Measured) -> bool {
        let is_too_far = match self.target {
            Target::Precision(_) => measured.max_error > self.allowed_error(),
            Target::Agreement(percent) => {
                let n_unsafe = (measured.n_samples - measured.n_safe) as f64;
                self.n_samples() as f64 - n_unsafe < percent / 100.0 * self.n_samples() as f64
            }
            Target::Automatic => true,
        };
        is_too_far || !measured.is_inside || !measured.max_error.is_finite()
    }

    /// How well the samples at `indices` do by their `values`, where activations were approximated.
    pub(super) fn measure(&self, graph: &Graph<Nn>, sites: &[Site], indices: &[usize], values: &[Values]) -> Measured {
        let of_sample = |values: &Values| {
            let results = graph.outputs().iter().map(|output| output.value.index());
            let outputs: Vec<f64> = results.flat_map(|x| values[x].iter().copied()).collect();
            let is_inside = sites.iter().all(|site| {
                let hull = Interval::hull(values[site.x.index()].iter().copied());
                site.half_margin().contains(hull.low) && site.half_margin().contains(hull.high)
            });
            (outputs, is_inside)
        };
        let evaluated: Vec<_> = values.par_iter().map(of_sample).collect();
        let mut measured = Measured {
            max_error: 0.0,
            held_back_max_error: 0.0,
            n_agreeing: 0,
            n_safe: 0,
            n_samples: indices.len(),
            is_inside: true,
        };
        let errors = indices.iter().zip(&evaluated).flat_map(|(index, (outputs, _))| {
            let clear = &self.clear[*index];
            outputs.iter().zip(clear).map(|(y, x)| (y - x) * (y - x))
        });
        let (n_results, square) = errors.fold((0usize, 0.0), |(n, sum), error| (n + 1, sum + error));
        let rms = (square / n_results.max(1) as f64).sqrt();
        let needed_lead = if is_few(self.n_samples()) {
            LEAD_OF_FEW * rms
        } else {
            0.0
        };
        for (&index, (outputs, is_inside)) in indices.iter().zip(&evaluated) {
            let clear = &self.clear[index];
            let error = outputs
                .iter()
                .zip(clear)
                .fold(0.0f64, |worst, (y, x)| worst.max((y - x).abs()));
            measured.max_error = measured.max_error.max(error);
            if Samples::is_held_back(index) {
                measured.held_back_max_error = measured.held_back_max_error.max(error);
            }
            let with_error = |factor: f64| {
                let exaggerated: Vec<f64> = outputs.iter().zip(clear).map(|(y, x)| x + factor * (y - x)).collect();
                self.class(&exaggerated) == self.class(clear)
            };
            measured.n_agreeing += usize::from(with_error(1.0));
            let is_ahead = self.leads[index] >= needed_lead;
            measured.n_safe += usize::from(is_ahead && with_error(1.0) && with_error(SAFETY));
            measured.is_inside &= *is_inside;
        }
        measured
    }

    fn class(&self, outputs: &[f64]) -> usize {
        let scores = &outputs[..self.n_classes];
        match scores {
            [score] => usize::from(*score > self.threshold),
            _ => (1..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best }),
        }
    }
}

/// How far the best score is ahead of the next, or a single one from the threshold.
fn lead(scores: &[f64], threshold: f64) -> f64 {
    if let [score] = scores {
        return (score - threshold).abs();
    }
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    match sorted.as_slice() {
        [best, next, ..] => best - next,
        _ => 0.0,
    }
}

/// 1/2 for a probability, 0 for a score.
fn threshold(graph: &Graph<Nn>, mut value: ValueId) -> f64 {
    while let NnOp::Reshape { x, .. } = graph.op(value) {
        value = *x;
    }
    match graph.op(value) {
        NnOp::Apply {
            func: Func::Sigmoid {} | Func::HardSigmoid { .. },
            ..
        } => 0.5,
        _ => 0.0,
    }
}
