//! Predicted precision: how far a noisy run of the program is from the exact one.

use crate::{PassCx, PassError};
use aphelion_ir::ckks::{Ckks, CkksOp, Interpreter, Noise, ParameterSpec};
use aphelion_ir::{Graph, Origin};
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

/// A program with its exact results on some samples.
pub(crate) struct Precision<'a> {
    interpreter: Interpreter<'a>,
    inputs: Vec<Inputs>,
    /// Exact results by sample, all of them in a row; none before the first noisy run.
    exact: Vec<Vec<f64>>,
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
            interpreter: Interpreter::new(graph)?,
            inputs,
            exact: Vec::new(),
        })
    }

    /// Precision of the results under `spec` in bits: -log2 of the largest error relative to the largest result, over
    /// all samples. `None` when a value does not fit its modulus or a bootstrap.
    ///
    /// # Errors
    /// When the program cannot be run even exactly, or the parameters are out of all proportion.
    pub(crate) fn bits(&mut self, spec: &ParameterSpec) -> Result<Option<f64>, PassError> {
        self.interpreter.set_parameters(spec)?;
        let noisy = self.inputs.iter().enumerate();
        let noisy = noisy.map(|(seed, inputs)| (inputs, Noise::Seeded(seed as u64)));
        let is_first = self.exact.is_empty();
        let exact = self
            .inputs
            .iter()
            .filter(|_| is_first)
            .map(|inputs| (inputs, Noise::Off));
        let runs: Vec<(&Inputs, Noise)> = noisy.chain(exact).collect();
        let mut results = self.interpreter.evaluate_batch(&runs)?;
        let exact = results.split_off(self.inputs.len());
        for result in exact {
            self.exact.push(result?.concat());
        }
        let size = self.exact.iter().flatten().fold(0.0f64, |size, x| size.max(x.abs()));
        let mut error = 0.0f64;
        for (exact, noisy) in self.exact.iter().zip(results) {
            // The exact run succeeded, so all that noise can add is a value too large for its modulus.
            let Ok(noisy) = noisy else { return Ok(None) };
            let differences = exact
                .iter()
                .zip(noisy.concat())
                .map(|(exact, noisy)| (exact - noisy).abs());
            error = differences.fold(error, f64::max);
        }
        Ok(Some((size / error).log2()))
    }
}

/// Precision of what every place in the model yields, under the parameters of the graph, in bits: -log2 of the largest
/// error relative to the largest content, on one sample. Places whose values are exact, or zero, are left out.
///
/// # Errors
/// When the graph has no parameters or cannot be interpreted, or a sample does not fit its input.
pub fn precision_by_origin(cx: &PassCx, graph: &Graph<Ckks>) -> Result<BTreeMap<Origin, f64>, PassError> {
    let interpreter = Interpreter::new(graph)?;
    let mut bits = BTreeMap::new();
    let Some(inputs) = samples(cx, graph)?.into_iter().next() else {
        return Ok(bits);
    };
    let exact = interpreter.evaluate_slots(&inputs, Noise::Off)?;
    let noisy = interpreter.evaluate_slots(&inputs, Noise::Seeded(0))?;
    let flat = |value: &[Vec<f64>]| value.iter().flatten().copied().collect::<Vec<f64>>();
    for (id, node) in graph.iter().filter(|(_, node)| node.ty.scale_power == 1) {
        let (exact, noisy) = (flat(&exact[id.index()]), flat(&noisy[id.index()]));
        let size = exact.iter().fold(0.0f64, |size, x| size.max(x.abs()));
        let differences = exact.iter().zip(&noisy).map(|(exact, noisy)| (exact - noisy).abs());
        let found = (size / differences.fold(0.0f64, f64::max)).log2();
        if found.is_finite() {
            bits.insert(node.origin.clone(), found);
        }
    }
    Ok(bits)
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
