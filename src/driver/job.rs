//! What encrypted inference and its simulation have in common: a compiled model, the samples to run it on, and the comparison
//! of the results with the model in the clear.

use std::collections::BTreeMap;

use aphelion_ir::nn::Interpreter;

use super::compile::Compilation;
use super::data::Sample;
use super::error::Result;
use super::metrics::{Decision, accuracy, agreement, error_stats};
use super::model::Model;
use crate::report::{Accuracy, Agreement, Calibration, ErrorStats};

/// What to infer.
pub struct Job<'a> {
    /// The model in the clear.
    pub model: &'a Model,
    /// The model compiled.
    pub compilation: &'a Compilation,
    /// The inputs.
    pub samples: &'a [Sample],
    /// One label per sample, if accuracy is wanted.
    pub labels: Option<&'a [usize]>,
    /// What ranges were taken from.
    pub calibration: Calibration,
}

/// Results beside those of the model in the clear.
pub(super) struct Comparison {
    /// For every sample, the model's own results.
    pub clear: Vec<Sample>,
    /// Over all outputs.
    pub error: ErrorStats,
    /// By the first output.
    pub argmax_agreement: Agreement,
    /// By the first output, where there are labels.
    pub accuracy: Option<Accuracy>,
}

impl<'a> Job<'a> {
    /// Samples that go through one run of the program together, run by run.
    pub(super) fn runs(&self) -> std::slice::Chunks<'a, Sample> {
        self.samples.chunks(self.compilation.plan.client().batch)
    }

    /// How the model's first output names a class.
    pub(super) fn decision(&self) -> Decision {
        Decision::of(&self.model.graph)
    }

    /// The model's own results for the samples, and how far `outputs` are from them.
    ///
    /// # Errors
    /// When the model in the clear cannot be computed.
    pub(super) fn compare(&self, outputs: &[Sample]) -> Result<Comparison> {
        let clear = self.clear_results()?;
        let (found, expected) = (first_outputs(outputs), first_outputs(&clear));
        let decision = self.decision();
        let accuracy = |labels| accuracy(decision, labels, &expected, &found);
        Ok(Comparison {
            error: error_stats(&all_outputs(outputs), &all_outputs(&clear)),
            argmax_agreement: agreement(decision, &found, &expected),
            accuracy: self.labels.map(accuracy),
            clear,
        })
    }

    fn clear_results(&self) -> Result<Vec<Sample>> {
        let interpreter = Interpreter::new(&self.model.graph)?;
        let inputs = self.model.inputs();
        let names: Vec<String> = inputs.into_iter().map(|(name, _)| name.to_string()).collect();
        let evaluate = |sample: &Sample| {
            let inputs: BTreeMap<String, Vec<f64>> = names.iter().cloned().zip(sample.iter().cloned()).collect();
            Ok(interpreter.evaluate(&inputs)?)
        };
        self.samples.iter().map(evaluate).collect()
    }
}

/// For every sample, all its outputs in one vector.
pub(super) fn all_outputs(samples: &[Sample]) -> Vec<Vec<f64>> {
    samples.iter().map(|outputs| outputs.concat()).collect()
}

/// For every sample, its first output.
pub(super) fn first_outputs(samples: &[Sample]) -> Vec<Vec<f64>> {
    let first = samples.iter().filter_map(|outputs| outputs.first().cloned());
    first.collect()
}
