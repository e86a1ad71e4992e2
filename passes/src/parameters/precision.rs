//! Predicted precision: how far a noisy run of the program is from the exact one.

use crate::{PassCx, PassError};
use aphelion_ir::ckks::{Ckks, CkksOp, Interpreter, Noise, ParameterSpec};
use aphelion_ir::{Graph, IrError, Origin, ValueId};
use std::collections::BTreeMap;

/// Samples that are run, spread evenly over all that there are: the largest error and the largest result of a few differ
/// from those of many by less than a bit.
const MAX_SAMPLES: usize = 6;

/// Inputs by name.
type Inputs = BTreeMap<String, Vec<f64>>;

/// Slots of all values of a program, above which fewer samples are run.
const LARGE_PROGRAM: usize = 1 << 22;
/// Samples of such a program.
const MAX_SAMPLES_OF_LARGE: usize = 2;

/// How precise a program is under given parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// Precision of the results in bits: -log2 of the largest error relative to the largest result, over all samples that
    /// were run. `None` when a value does not fit its modulus or a bootstrap.
    pub bits: Option<f64>,
    /// The same for what every place in the model yields, on the first sample. Places whose values are exact, or zero, are
    /// left out.
    pub by_origin: BTreeMap<Origin, f64>,
}

/// A program ready to be run on some samples.
pub(crate) struct Precision<'a> {
    graph: &'a Graph<Ckks>,
    interpreter: Interpreter<'a>,
    inputs: Vec<Inputs>,
}

impl<'a> Precision<'a> {
    /// Prepares the program and the samples of `cx`.
    ///
    /// # Errors
    /// When the program cannot be interpreted, or a sample does not fit its input.
    pub(crate) fn new(cx: &PassCx, graph: &'a Graph<Ckks>) -> Result<Self, PassError> {
        let mut inputs = samples(cx, graph)?;
        let slots: usize = graph.iter().map(|(_, node)| node.ty.cts * node.ty.slots).sum();
        if slots > LARGE_PROGRAM {
            inputs.truncate(MAX_SAMPLES_OF_LARGE);
        }
        Ok(Precision {
            graph,
            interpreter: Interpreter::new(graph)?,
            inputs,
        })
    }

    /// Runs all samples exactly and under the noise of `spec`.
    ///
    /// # Errors
    /// When the program cannot be run even exactly, or the parameters are out of all proportion.
    pub(crate) fn assess(&mut self, spec: &ParameterSpec) -> Result<Assessment, PassError> {
        self.interpreter.set_parameters(spec)?;
        let noisy = self.inputs.iter().enumerate();
        let noisy = noisy.map(|(seed, inputs)| (inputs, Noise::Seeded(seed as u64)));
        let exact = self.inputs.iter().map(|inputs| (inputs, Noise::Off));
        let runs: Vec<(&Inputs, Noise)> = noisy.chain(exact).collect();
        let n_samples = self.inputs.len();
        let mut by_origin = BTreeMap::new();
        let mut watch = |id: ValueId, contents: &[&[Vec<f64>]]| {
            let node = self.graph.node(id);
            if let (Some(noisy), Some(exact)) = (contents.first(), contents.get(n_samples))
                && node.ty.scale_power == 1
            {
                let bits = bits_between(exact.iter().flatten(), noisy.iter().flatten());
                if bits.is_finite() {
                    by_origin.insert(node.origin.clone(), bits);
                }
            }
        };
        let mut noisy = self.interpreter.evaluate_watched(&runs, &mut watch)?;
        let exact = noisy.split_off(n_samples);
        let exact: Vec<Vec<f64>> = exact
            .into_iter()
            .map(|run| Ok(run?.concat()))
            .collect::<Result<_, IrError>>()?;
        // The exact run succeeded, so all that noise can add is a value too large for its modulus.
        let noisy: Option<Vec<Vec<f64>>> = noisy.into_iter().map(|run| Some(run.ok()?.concat())).collect();
        let bits = noisy.map(|noisy| bits_between(exact.iter().flatten(), noisy.iter().flatten()));
        Ok(Assessment { bits, by_origin })
    }
}

/// -log2 of the largest difference relative to the largest exact value.
fn bits_between<'a>(exact: impl Iterator<Item = &'a f64>, noisy: impl Iterator<Item = &'a f64>) -> f64 {
    let (mut size, mut error) = (0.0f64, 0.0f64);
    for (exact, noisy) in exact.zip(noisy) {
        size = size.max(exact.abs());
        error = error.max((exact - noisy).abs());
    }
    (size / error).log2()
}

/// Precision of `graph` under its own parameters, from the memo of `cx` where it is known.
///
/// # Errors
/// When the graph has no parameters or cannot be interpreted, or a sample does not fit its input.
pub fn assess(cx: &PassCx, graph: &Graph<Ckks>) -> Result<Assessment, PassError> {
    let Some(spec) = &graph.attrs.parameters else {
        return Err(PassError::Infeasible("no parameters were chosen".into()));
    };
    if let Some(known) = cx.memo.assessment(graph, &cx.samples) {
        return Ok(known);
    }
    let assessment = Precision::new(cx, graph)?.assess(spec)?;
    cx.memo.remember(graph, &cx.samples, &assessment);
    Ok(assessment)
}

/// Calibration samples, as many side by side as the program takes, or without any, values spread over the whole range of every input.
fn samples(cx: &PassCx, graph: &Graph<Ckks>) -> Result<Vec<Inputs>, PassError> {
    let inputs: Vec<_> = graph
        .iter()
        .filter_map(|(_, node)| match &node.op {
            CkksOp::Input {
                name, layout, scale, ..
            } => Some((name.clone(), layout.n_elements(), *scale)),
            _ => None,
        })
        .collect();
    if let ([(name, n_elements, _)], false) = (inputs.as_slice(), cx.samples.is_empty()) {
        let batch = graph.attrs.packing.batch.unwrap_or(1);
        let (n_samples, n_elements) = (cx.samples.len(), n_elements / batch);
        if let Some(sample) = cx.samples.iter().find(|sample| sample.len() != n_elements) {
            let found = sample.len();
            let message = format!("a sample has {found} values, the input `{name}` takes {n_elements}");
            return Err(PassError::BadInput(message));
        }
        let n_runs = n_samples.div_ceil(batch).min(MAX_SAMPLES);
        let of_run = |run: usize| {
            let first = run * n_samples / n_runs;
            let samples = (first..first + batch).map(|index| cx.samples[index % n_samples].as_slice());
            BTreeMap::from([(name.clone(), samples.collect::<Vec<_>>().concat())])
        };
        return Ok((0..n_runs).map(of_run).collect());
    }
    // A low-discrepancy sequence (multiples of the golden ratio), another stretch of it for every sample.
    let value = |index: usize| 2.0 * (index as f64 * 0.618_033_988_749_894_9).fract() - 1.0;
    let sample = |number: usize| {
        let values = |n_elements: usize, scale: f64| {
            let first = number * n_elements;
            (first..first + n_elements)
                .map(|index| scale * value(index + 1))
                .collect()
        };
        let of_input = |(name, n, scale): &(String, usize, f64)| (name.clone(), values(*n, *scale));
        inputs.iter().map(of_input).collect()
    };
    Ok((0..MAX_SAMPLES).map(sample).collect())
}
