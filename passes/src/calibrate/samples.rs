//! Evaluation of a model on calibration samples.

use super::{Interval, declared_inputs};
use crate::PassError;
use aphelion_ir::nn::{Interpreter, Nn, NnOp, Values};
use aphelion_ir::{Graph, IrError};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// One sample in so many is held back from fits.
const HOLD_BACK_EVERY: usize = 5;

/// Samples by input name, as the interpreter takes them. A sample holds the values of all inputs, in the order in which
/// the graph declares them.
pub(crate) struct Samples {
    inputs: Vec<BTreeMap<String, Vec<f64>>>,
}

/// Extremes of every value over samples.
pub(super) struct Extremes {
    /// By sample, then by value.
    per_sample: Vec<Vec<Interval>>,
}

/// Extremes of one value.
pub(super) struct ValueExtremes {
    /// Smallest and largest element over all samples.
    pub(super) range: Interval,
    pub(super) n_samples: usize,
    /// Mean and standard deviation of a sample's smallest element.
    pub(super) low_mean: f64,
    pub(super) low_deviation: f64,
    /// Mean and standard deviation of a sample's largest element.
    pub(super) high_mean: f64,
    pub(super) high_deviation: f64,
}

impl Samples {
    /// # Errors
    /// [`PassError::BadInput`] for a sample that has another number of values than the inputs of `graph`.
    pub(crate) fn new(graph: &Graph<Nn>, samples: &[Vec<f64>]) -> Result<Self, PassError> {
        let shapes: Vec<(&str, usize)> = graph
            .iter()
            .filter_map(|(_, node)| match &node.op {
                NnOp::Input { name, .. } => Some((name.as_str(), node.ty.len())),
                _ => None,
            })
            .collect();
        let n_values: usize = shapes.iter().map(|(_, n)| n).sum();
        let split = |(index, sample): (usize, &Vec<f64>)| {
            if sample.len() != n_values {
                return Err(PassError::BadInput(format!(
                    "calibration sample {index} has {} values, the model's inputs take {n_values}",
                    sample.len()
                )));
            }
            let mut rest = sample.as_slice();
            let mut inputs = BTreeMap::new();
            for (name, n) in &shapes {
                let (values, after) = rest.split_at(*n);
                inputs.insert((*name).to_string(), values.to_vec());
                rest = after;
            }
            Ok(inputs)
        };
        let inputs = samples.iter().enumerate().map(split).collect::<Result<_, _>>()?;
        Ok(Samples { inputs })
    }

    /// Random inputs within the known ranges of the inputs of `graph`, by a fixed sequence.
    ///
    /// # Errors
    /// [`PassError::BadInput`] for an input without a range.
    pub(crate) fn synthetic(graph: &Graph<Nn>, n_samples: usize) -> Result<Self, PassError> {
        let known = declared_inputs(graph);
        let mut sequence = 0u64;
        let mut inputs = vec![BTreeMap::new(); n_samples];
        for (_, node) in graph.iter() {
            let NnOp::Input { name, .. } = &node.op else {
                continue;
            };
            let range = known.get(name).ok_or_else(|| {
                PassError::BadInput(format!(
                    "nothing is known of the range of the input `{name}`; calibrate first"
                ))
            })?;
            for sample in &mut inputs {
                let mut next = || range.low + (range.high - range.low) * uniform(&mut sequence);
                sample.insert(name.clone(), (0..node.ty.len()).map(|_| next()).collect());
            }
        }
        Ok(Samples { inputs })
    }

    /// At most `n_samples` of the samples, evenly spread.
    pub(crate) fn spread(self, n_samples: usize) -> Self {
        let n_given = self.inputs.len();
        if n_given <= n_samples {
            return self;
        }
        let is_kept = |index: usize| (index + 1) * n_samples / n_given > index * n_samples / n_given;
        let kept = self.inputs.into_iter().enumerate().filter(|(index, _)| is_kept(*index));
        Samples {
            inputs: kept.map(|(_, sample)| sample).collect(),
        }
    }

    /// Whether a sample only checks what was fitted to others: every fifth does.
    pub(crate) fn is_held_back(index: usize) -> bool {
        index % HOLD_BACK_EVERY == HOLD_BACK_EVERY - 1
    }

    /// The samples that are not held back.
    pub(crate) fn fitted(&self) -> Self {
        let kept = self
            .inputs
            .iter()
            .enumerate()
            .filter(|(index, _)| !Self::is_held_back(*index));
        Samples {
            inputs: kept.map(|(_, sample)| sample.clone()).collect(),
        }
    }

    /// What `collect` makes of all values, for every sample in order.
    pub(crate) fn map_values<T: Send>(
        &self,
        graph: &Graph<Nn>,
        collect: impl Fn(&Values) -> T + Sync,
    ) -> Result<Vec<T>, IrError> {
        let interpreter = Interpreter::new(graph)?;
        let one = |inputs: &BTreeMap<_, _>| interpreter.evaluate_all(inputs).map(|values| collect(&values));
        self.inputs.par_iter().map(one).collect()
    }

    /// All values for every sample in order.
    pub(crate) fn values(&self, interpreter: &Interpreter<'_>) -> Result<Vec<Values>, IrError> {
        let one = |inputs: &BTreeMap<_, _>| interpreter.evaluate_all(inputs);
        self.inputs.par_iter().map(one).collect()
    }

    pub(super) fn extremes(&self, graph: &Graph<Nn>) -> Result<Extremes, IrError> {
        let hulls = |values: &Values| -> Vec<Interval> {
            values
                .iter()
                .map(|value| Interval::hull(value.iter().copied()))
                .collect()
        };
        let per_sample = self.map_values(graph, hulls)?;
        Ok(Extremes { per_sample })
    }
}

impl Extremes {
    pub(super) fn per_value(&self) -> impl Iterator<Item = ValueExtremes> {
        let n_values = self.per_sample.first().map_or(0, Vec::len);
        (0..n_values).map(|index| {
            let of_value = || self.per_sample.iter().map(move |sample| sample[index]);
            let (low_mean, low_deviation) = moments(of_value().map(|range| range.low));
            let (high_mean, high_deviation) = moments(of_value().map(|range| range.high));
            ValueExtremes {
                range: of_value().fold(Interval::EMPTY, Interval::union),
                n_samples: self.per_sample.len(),
                low_mean,
                low_deviation,
                high_mean,
                high_deviation,
            }
        })
    }
}

/// Mean and standard deviation.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / n;
    let variance = values.map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

/// The next number in [0, 1) of the sequence SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 * libm::exp2(-53.0)
}
