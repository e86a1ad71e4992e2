//! Cleartext interpreter of `ckks`: what a program computes on slots, exactly or with the noise that encryption adds.
//!
//! Assumes: the graph is valid, and its attributes name the parameters where noise is wanted.
//! Ensures: the same graph, inputs and seed give the same bits. With noise, every op adds independent Gaussian errors of
//! the variance that [`NoiseModel`] gives it, so that the difference to the exact run predicts the precision; a value
//! that would wrap around the modulus is an error that names the op.
//!
//! Runs of a batch go side by side through the graph, so that every matrix is enumerated once for all of them.
//!
//! Not modelled: the rounding of scalar factors and summands (2^-scale relative, far below any rescale).

mod errors;
mod polynomial;
mod transform;

use self::errors::Errors;
use self::transform::{Transform, TransformNoise};
use super::noise::NoiseModel;
use super::{Ckks, CkksOp, ParameterSpec};
use crate::dialect::Op;
use crate::error::IrError;
use crate::graph::{Graph, Node, ValueId};
use crate::slot::{Layout, PlainTensor};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Slot contents of a value: one vector per ciphertext.
type Contents = Vec<Vec<f64>>;

/// The result of a linear transform in one run, and what errors to add to it.
type Transformed = (Contents, Arc<TransformNoise>);

/// Is shown a value: by run, the slots of its ciphertexts, or none where the run has failed.
pub type Watch<'a> = dyn FnMut(ValueId, &[&[Vec<f64>]]) + 'a;

/// The tensors that a run yields, or why it stopped.
pub type RunResult = Result<Vec<Vec<f64>>, IrError>;

/// Whether errors are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// None: real arithmetic.
    Off,
    /// As the parameters of the graph imply, drawn from this seed.
    Seeded(u64),
}

/// A graph whose plaintexts are ready, to be evaluated on many samples.
pub struct Interpreter<'a> {
    graph: &'a Graph<Ckks>,
    live: Vec<bool>,
    model: Option<NoiseModel>,
    /// Per linear transform: its matrix.
    transforms: BTreeMap<ValueId, Transform>,
    /// Per op with a plaintext operand: its slots.
    plains: BTreeMap<ValueId, Contents>,
}

/// One evaluation of a batch.
struct Run<'a> {
    inputs: &'a BTreeMap<String, Vec<f64>>,
    noise: Option<(NoiseModel, u64)>,
    /// Contents of every value so far; those that nothing needs any more may be gone.
    values: Vec<Contents>,
    failure: Option<IrError>,
}

impl<'a> Interpreter<'a> {
    /// Loads constants.
    ///
    /// # Errors
    /// When a constant cannot be read, a kernel is malformed, or the parameters of the graph are.
    pub fn new(graph: &'a Graph<Ckks>) -> Result<Self, IrError> {
        let mut interpreter = Interpreter {
            graph,
            live: graph.live(),
            model: None,
            transforms: BTreeMap::new(),
            plains: BTreeMap::new(),
        };
        if let Some(spec) = &graph.attrs.parameters {
            interpreter.set_parameters(spec)?;
        }
        let plain = |value: &PlainTensor, layout: &Layout| {
            Ok::<_, IrError>(layout.pack(&value.values(&layout.shape, &graph.constants)?))
        };
        for (id, node) in graph.iter().filter(|(id, _)| interpreter.live[id.index()]) {
            match &node.op {
                CkksOp::LinearTransform {
                    kernel, input, bsgs, ..
                } => {
                    let transform = Transform::new(kernel, input, bsgs, &graph.constants)?;
                    interpreter.transforms.insert(id, transform);
                }
                CkksOp::AddPlain { value, layout, .. } | CkksOp::MulPlain { value, layout, .. } => {
                    interpreter.plains.insert(id, plain(value, layout)?);
                }
                _ => {}
            }
        }
        Ok(interpreter)
    }

    /// Takes the noise of other parameters than the graph's.
    ///
    /// # Errors
    /// When the parameters are out of all proportion.
    pub fn set_parameters(&mut self, spec: &ParameterSpec) -> Result<(), IrError> {
        let model = NoiseModel::new(spec).map_err(|message| IrError::interpret(&Default::default(), message))?;
        self.model = Some(model);
        Ok(())
    }

    /// Evaluates the graph on `inputs` (tensors by name, row-major, in units of the model) and returns its results in
    /// order, likewise, as the client reads them before its own ops.
    ///
    /// # Errors
    /// When an input is missing or of another length than its layout asks for, a matrix has a rotation outside of its
    /// plan, a result has no layout and scale; with noise, when the graph has no parameters, holds a bootstrap that they
    /// are not made for, or computes a value too large for its modulus or for a bootstrap.
    pub fn evaluate(&self, inputs: &BTreeMap<String, Vec<f64>>, noise: Noise) -> Result<Vec<Vec<f64>>, IrError> {
        let mut results = self.evaluate_batch(&[(inputs, noise)])?;
        results.pop().unwrap_or_else(|| Ok(Vec::new()))
    }

    /// The same for several inputs, side by side; one result for each of them.
    ///
    /// # Errors
    /// As [`Interpreter::evaluate`] when the graph is at fault; the inner results, when an input or its values are.
    pub fn evaluate_batch(&self, inputs: &[(&BTreeMap<String, Vec<f64>>, Noise)]) -> Result<Vec<RunResult>, IrError> {
        self.evaluate_watched(inputs, &mut |_, _| {})
    }

    /// The same, where `watch` is shown every value as soon as it is known.
    ///
    /// # Errors
    /// As [`Interpreter::evaluate_batch`].
    pub fn evaluate_watched(
        &self,
        inputs: &[(&BTreeMap<String, Vec<f64>>, Noise)],
        watch: &mut Watch<'_>,
    ) -> Result<Vec<RunResult>, IrError> {
        let runs = self.run(inputs, watch)?;
        Ok(runs.into_iter().map(|run| self.results(run)).collect())
    }

    /// The results of a finished run.
    fn results(&self, run: Run<'_>) -> Result<Vec<Vec<f64>>, IrError> {
        if let Some(failure) = run.failure {
            return Err(failure);
        }
        let attrs = &self.graph.attrs;
        let results = self.graph.outputs().iter().enumerate().map(|(index, output)| {
            let layout = attrs.output_layouts.get(index);
            let scale = attrs.packing.output_scales.get(index);
            let (Some(layout), Some(scale)) = (layout, scale) else {
                let message = format!("the result `{}` has no layout and scale", output.name);
                return Err(IrError::interpret(self.graph.origin(output.value), message));
            };
            let tensor = layout.unpack(&run.values[output.value.index()]);
            Ok(tensor.into_iter().map(|x| x * scale).collect())
        });
        results.collect()
    }

    /// Runs the graph, op by op, on all inputs.
    fn run<'i>(
        &self,
        inputs: &[(&'i BTreeMap<String, Vec<f64>>, Noise)],
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Run<'i>>, IrError> {
        let start = |(inputs, noise): &(&'i BTreeMap<String, Vec<f64>>, Noise)| {
            let noise = match (noise, &self.model) {
                (Noise::Off, _) => None,
                (Noise::Seeded(seed), Some(model)) => Some((model.clone(), *seed)),
                (Noise::Seeded(_), None) => {
                    let message = "noise needs parameters; select them first";
                    return Err(IrError::interpret(&Default::default(), message));
                }
            };
            Ok(Run {
                inputs,
                noise,
                values: Vec::with_capacity(self.graph.len()),
                failure: None,
            })
        };
        let mut runs: Vec<Run<'_>> = inputs.iter().map(start).collect::<Result<_, _>>()?;
        let last_uses = self.last_uses();
        for (id, node) in self.graph.iter() {
            if !self.live[id.index()] {
                runs.iter_mut().for_each(|run| run.values.push(Contents::new()));
                continue;
            }
            let transformed = match &node.op {
                CkksOp::LinearTransform { x, .. } => self.transform(id, *x, &runs)?,
                _ => vec![None; runs.len()],
            };
            runs.par_iter_mut().zip(transformed).for_each(|(run, transformed)| {
                let value = match run.failure {
                    Some(_) => Contents::new(),
                    None => self.value(id, node, transformed, run).unwrap_or_else(|error| {
                        run.failure = Some(error);
                        Contents::new()
                    }),
                };
                run.values.push(value);
            });
            let contents: Vec<&[Vec<f64>]> = runs.iter().map(|run| run.values[id.index()].as_slice()).collect();
            watch(id, &contents);
            for run in &mut runs {
                last_uses[id.index()]
                    .iter()
                    .for_each(|x| run.values[x.index()] = Contents::new());
            }
        }
        Ok(runs)
    }

    /// For every value, the operands that nothing after it reads.
    fn last_uses(&self) -> Vec<Vec<ValueId>> {
        let mut is_read: Vec<bool> = vec![false; self.graph.len()];
        for output in self.graph.outputs() {
            is_read[output.value.index()] = true;
        }
        let mut last_uses = vec![Vec::new(); self.graph.len()];
        for (id, node) in self.graph.iter().rev().filter(|(id, _)| self.live[id.index()]) {
            for x in node.op.operands() {
                if !std::mem::replace(&mut is_read[x.index()], true) {
                    last_uses[id.index()].push(x);
                }
            }
        }
        last_uses
    }

    /// A linear transform of `x` in all runs that have come this far, without errors.
    fn transform(&self, id: ValueId, x: ValueId, runs: &[Run<'_>]) -> Result<Vec<Option<Transformed>>, IrError> {
        let alive = runs.iter().filter(|run| run.failure.is_none());
        let operands: Vec<&Contents> = alive.map(|run| &run.values[x.index()]).collect();
        let applied = self.transforms[&id].apply(&operands);
        let (results, noise) =
            applied.map_err(|message| IrError::interpret(self.graph.origin(id), format!("{id}: {message}")))?;
        let noise = Arc::new(noise);
        let mut results = results.into_iter().map(|result| (result, noise.clone()));
        let of_run = |run: &Run<'_>| run.failure.is_none().then(|| results.next()).flatten();
        Ok(runs.iter().map(of_run).collect())
    }

    fn value(
        &self,
        id: ValueId,
        node: &Node<Ckks>,
        transformed: Option<Transformed>,
        run: &Run<'_>,
    ) -> Result<Contents, IrError> {
        let mut errors = Errors::new(run.noise.as_ref(), id, node.ty.slots);
        let computed = self.compute(id, node, transformed, (&run.values, run.inputs), &mut errors);
        computed
            .and_then(|value| errors.check_range(&node.ty, &value).map(|()| value))
            .map_err(|message| IrError::interpret(&node.origin, format!("{id}: {message}")))
    }

    fn compute(
        &self,
        id: ValueId,
        node: &Node<Ckks>,
        transformed: Option<Transformed>,
        (values, inputs): (&[Contents], &BTreeMap<String, Vec<f64>>),
        errors: &mut Errors,
    ) -> Result<Contents, String> {
        let ty = &node.ty;
        let of = |x: &ValueId| &values[x.index()];
        let plain = || self.plains[&id].clone();
        Ok(match &node.op {
            CkksOp::Input {
                name, layout, scale, ..
            } => {
                let tensor = inputs.get(name).ok_or(format!("no input called `{name}`"))?;
                if tensor.len() != layout.n_elements() {
                    let expected = layout.n_elements();
                    return Err(format!("expected {expected} values, found {}", tensor.len()));
                }
                let scaled: Vec<f64> = tensor.iter().map(|x| x / scale).collect();
                errors.add(layout.pack(&scaled), NoiseModel::fresh)
            }
            CkksOp::Add { a, b } => zip(of(a), of(b), |a, b| a + b),
            CkksOp::Sub { a, b } => zip(of(a), of(b), |a, b| a - b),
            CkksOp::Neg { x } => map(of(x), |x| -x),
            CkksOp::AddPlain { x, .. } => {
                let encoded = errors.add(plain(), |model, slots| model.encode(slots, ty.scale_power));
                zip(of(x), &encoded, |x, plain| x + plain)
            }
            CkksOp::MulPlain { x, .. } => {
                let encoded = errors.add(plain(), |model, slots| model.encode(slots, 1));
                zip(of(x), &encoded, |x, plain| x * plain)
            }
            CkksOp::AddScalar { x, by } => map(of(x), |x| x + by),
            CkksOp::MulScalar { x, by, .. } => map(of(x), |x| x * by),
            CkksOp::Mul { a, b } => zip(of(a), of(b), |a, b| a * b),
            CkksOp::Relinearize { x } => errors.add(of(x).clone(), |model, slots| {
                model.key_switch(slots, ty.level, ty.scale_power)
            }),
            CkksOp::Rescale { x } | CkksOp::DropLevel { x, .. } => errors.add(of(x).clone(), NoiseModel::rescale),
            CkksOp::Rotate { x, by } => {
                let mut rotated = of(x).clone();
                rotated.iter_mut().for_each(|ct| ct.rotate_left(*by));
                errors.add(rotated, |model, slots| {
                    model.key_switch(slots, ty.level, ty.scale_power)
                })
            }
            CkksOp::LinearTransform { x, at, .. } => {
                let (result, noise) = transformed.ok_or("a linear transform was left out")?;
                noise.add(result, of(x), *at, errors)
            }
            CkksOp::PolyEval { x, poly, at } => polynomial::apply(poly, of(x), *at, errors),
            CkksOp::Bootstrap { x, slots, .. } => errors.bootstrap(&averaged(of(x), *slots), ty.slots)?,
        })
    }
}

/// One period of `slots` of every ciphertext: the mean of all that there are. A bootstrap of few slots sees no more.
fn averaged(x: &Contents, slots: usize) -> Contents {
    let mean = |ct: &Vec<f64>| {
        let mut mean = vec![0.0; slots];
        let share = slots as f64 / ct.len() as f64;
        for period in ct.chunks_exact(slots) {
            mean.iter_mut().zip(period).for_each(|(mean, x)| *mean += share * x);
        }
        mean
    };
    x.iter().map(mean).collect()
}

fn map(x: &Contents, mut f: impl FnMut(f64) -> f64) -> Contents {
    x.iter().map(|ct| ct.iter().map(|x| f(*x)).collect()).collect()
}

fn zip(a: &Contents, b: &Contents, f: impl Fn(f64, f64) -> f64) -> Contents {
    let zip_ct = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect();
    a.iter().zip(b).map(zip_ct).collect()
}
