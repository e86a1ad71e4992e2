//! Cleartext interpreter of `ckks`: what a program computes on slots, exactly or with the noise that encryption adds.
//!
//! Assumes: the graph is valid, and its attributes name the parameters where noise is wanted.
//! Ensures: the same graph, inputs and seed give the same bits. With noise, every op adds independent Gaussian errors of
//! the variance that [`NoiseModel`] gives it, so that the difference to the exact run predicts the precision; a value
//! that would wrap around the modulus is an error that names the op.
//!
//! Not modelled: the rounding of scalar factors and summands (2^-scale relative, far below any rescale).

mod errors;
mod polynomial;
mod transform;

use self::errors::Errors;
use super::noise::NoiseModel;
use super::{Ckks, CkksOp, ParameterSpec};
use crate::error::IrError;
use crate::graph::{Graph, Node, ValueId};
use crate::slot::{Diagonals, Layout, PlainTensor};
use std::collections::BTreeMap;

/// Slot contents of a value: one vector per ciphertext.
type Contents = Vec<Vec<f64>>;

/// Whether errors are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// None: real arithmetic.
    Off,
    /// As the parameters of the graph imply, drawn from this seed.
    Seeded(u64),
}

/// A graph whose diagonals and plaintexts are ready, to be evaluated on many samples.
pub struct Interpreter<'a> {
    graph: &'a Graph<Ckks>,
    live: Vec<bool>,
    model: Option<NoiseModel>,
    diagonals: BTreeMap<ValueId, Diagonals>,
    /// Per op with a plaintext operand: its slots.
    plains: BTreeMap<ValueId, Contents>,
}

impl<'a> Interpreter<'a> {
    /// Computes diagonals and loads constants.
    ///
    /// # Errors
    /// When a constant cannot be read, a kernel is malformed, or the parameters of the graph are.
    pub fn new(graph: &'a Graph<Ckks>) -> Result<Self, IrError> {
        let mut interpreter = Interpreter {
            graph,
            live: graph.live(),
            model: None,
            diagonals: BTreeMap::new(),
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
                CkksOp::LinearTransform { kernel, input, .. } => {
                    let diagonals = Diagonals::new(kernel, input, &graph.constants)?;
                    interpreter.diagonals.insert(id, diagonals);
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
    /// plan, a result has no layout and scale; with noise, when the graph has no parameters, holds a
    /// bootstrap that they are not made for, or computes a value too large for its modulus or for a bootstrap.
    pub fn evaluate(&self, inputs: &BTreeMap<String, Vec<f64>>, noise: Noise) -> Result<Vec<Vec<f64>>, IrError> {
        let values = self.evaluate_slots(inputs, noise)?;
        let attrs = &self.graph.attrs;
        let results = self.graph.outputs().iter().enumerate().map(|(index, output)| {
            let layout = attrs.output_layouts.get(index);
            let scale = attrs.packing.output_scales.get(index);
            let (Some(layout), Some(scale)) = (layout, scale) else {
                let message = format!("the result `{}` has no layout and scale", output.name);
                return Err(IrError::interpret(self.graph.origin(output.value), message));
            };
            let tensor = layout.unpack(&values[output.value.index()]);
            Ok(tensor.into_iter().map(|x| x * scale).collect())
        });
        results.collect()
    }

    /// Slot contents of every value, per ciphertext; empty for a value that no result depends on.
    ///
    /// # Errors
    /// As [`Interpreter::evaluate`], but for the layouts of results.
    pub fn evaluate_slots(
        &self,
        inputs: &BTreeMap<String, Vec<f64>>,
        noise: Noise,
    ) -> Result<Vec<Vec<Vec<f64>>>, IrError> {
        let noise = match (noise, self.model) {
            (Noise::Off, _) => None,
            (Noise::Seeded(seed), Some(model)) => Some((model, seed)),
            (Noise::Seeded(_), None) => {
                let message = "noise needs parameters; select them first";
                return Err(IrError::interpret(&Default::default(), message));
            }
        };
        let mut values: Vec<Contents> = Vec::with_capacity(self.graph.len());
        for (id, node) in self.graph.iter() {
            let mut value = Contents::new();
            if self.live[id.index()] {
                let mut errors = Errors::new(noise, id, node.ty.slots);
                let computed = self.compute(id, node, &values, inputs, &mut errors);
                value = computed
                    .and_then(|value| errors.check_range(&node.ty, &value).map(|()| value))
                    .map_err(|message| IrError::interpret(&node.origin, format!("{id}: {message}")))?;
            }
            values.push(value);
        }
        Ok(values)
    }

    fn compute(
        &self,
        id: ValueId,
        node: &Node<Ckks>,
        values: &[Contents],
        inputs: &BTreeMap<String, Vec<f64>>,
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
            CkksOp::LinearTransform { x, bsgs, at, .. } => {
                transform::apply(&self.diagonals[&id], bsgs, (of(x), ty.cts), *at, errors)?
            }
            CkksOp::PolyEval { x, poly, at } => polynomial::apply(poly, of(x), *at, errors),
            CkksOp::Bootstrap { x, .. } => errors.bootstrap(of(x).clone())?,
        })
    }
}

fn map(x: &Contents, mut f: impl FnMut(f64) -> f64) -> Contents {
    x.iter().map(|ct| ct.iter().map(|x| f(*x)).collect()).collect()
}

fn zip(a: &Contents, b: &Contents, f: impl Fn(f64, f64) -> f64) -> Contents {
    let zip_ct = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect();
    a.iter().zip(b).map(zip_ct).collect()
}
