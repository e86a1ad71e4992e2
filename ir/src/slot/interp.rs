//! Cleartext interpreter of `slot`: plain vectors with exact layout semantics. Linear ops are computed through their
//! diagonals and folds, as the encrypted program computes them.
//!
//! Assumes: the graph is valid.
//! Ensures: after every op, contents are what the layout says (copies agree, unused slots are zero where it says so), or
//! an error names the op. Slots that a layout calls garbage hold noise, so that a program that reads them is caught.

use super::{Diagonals, Layout, Slot, SlotOp, Unused};
use crate::error::IrError;
use crate::graph::{Graph, Node, ValueId};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Copies of an element, and slots that should be zero, may differ by this much of the largest slot.
const TOLERANCE: f64 = 1e-7;

/// Evaluates `graph` on `inputs` (by name: row-major tensors in units of the model) and returns its results in order,
/// row-major, in units of the model.
///
/// # Errors
/// As [`Interpreter::new`] and [`Interpreter::evaluate`].
pub fn evaluate(graph: &Graph<Slot>, inputs: &BTreeMap<String, Vec<f64>>) -> Result<Vec<Vec<f64>>, IrError> {
    Interpreter::new(graph)?.evaluate(inputs)
}

/// A graph whose diagonals and constants are ready, to be evaluated on many samples.
pub struct Interpreter<'a> {
    graph: &'a Graph<Slot>,
    live: Vec<bool>,
    diagonals: BTreeMap<ValueId, Diagonals>,
    /// Per op with a plaintext operand: its slots.
    plains: BTreeMap<ValueId, Vec<Vec<f64>>>,
}

/// Slots of every ciphertext of a value.
type Contents = Vec<Vec<f64>>;

impl<'a> Interpreter<'a> {
    /// Computes diagonals and loads constants.
    ///
    /// # Errors
    /// When a constant cannot be read or a kernel is malformed.
    pub fn new(graph: &'a Graph<Slot>) -> Result<Self, IrError> {
        let mut interpreter = Interpreter {
            graph,
            live: graph.live(),
            diagonals: BTreeMap::new(),
            plains: BTreeMap::new(),
        };
        for (id, node) in graph.iter().filter(|(id, _)| interpreter.live[id.index()]) {
            match &node.op {
                SlotOp::Linear { x, kernel } => {
                    let diagonals = Diagonals::new(kernel, graph.ty(*x), &graph.constants)?;
                    interpreter.diagonals.insert(id, diagonals);
                }
                SlotOp::AddPlain { value, .. } | SlotOp::MulPlain { value, .. } => {
                    let values = value.values(&node.ty.shape, &graph.constants)?;
                    interpreter.plains.insert(id, node.ty.pack(&values));
                }
                _ => {}
            }
        }
        Ok(interpreter)
    }

    /// Evaluates the graph on one sample; inputs and results are row-major and in units of the model.
    ///
    /// # Errors
    /// When an input is missing or of the wrong size, or a value's contents are not what its layout says.
    pub fn evaluate(&self, inputs: &BTreeMap<String, Vec<f64>>) -> Result<Vec<Vec<f64>>, IrError> {
        let values = self.evaluate_all(inputs)?;
        let scales = &self.graph.attrs.output_scales;
        let outputs = self.graph.outputs().iter().enumerate();
        outputs
            .map(|(index, output)| {
                let scale = scales.get(index).copied().unwrap_or(1.0);
                let tensor = values[output.value.index()].iter().map(|value| value * scale);
                Ok(tensor.collect())
            })
            .collect()
    }

    /// The tensor of every live value, row-major, in units of the slots; empty for the others.
    ///
    /// # Errors
    /// As [`Interpreter::evaluate`].
    pub fn evaluate_all(&self, inputs: &BTreeMap<String, Vec<f64>>) -> Result<Vec<Vec<f64>>, IrError> {
        let mut contents: Vec<Contents> = vec![Vec::new(); self.graph.len()];
        let mut tensors = vec![Vec::new(); self.graph.len()];
        for (id, node) in self.graph.iter() {
            if !self.live[id.index()] {
                continue;
            }
            let mut slots = self
                .compute(id, node, &contents, inputs)
                .map_err(|message| IrError::interpret(&node.origin, format!("{id}: {message}")))?;
            if slots.iter().flatten().any(|slot| !slot.is_finite()) {
                return Err(IrError::interpret(&node.origin, format!("{id} is not finite")));
            }
            tensors[id.index()] = checked_unpack(&node.ty, &slots)
                .map_err(|message| IrError::interpret(&node.origin, format!("{id}: {message}")))?;
            spoil_garbage(&node.ty, id, &mut slots);
            contents[id.index()] = slots;
        }
        Ok(tensors)
    }

    fn compute(
        &self,
        id: ValueId,
        node: &Node<Slot>,
        contents: &[Contents],
        inputs: &BTreeMap<String, Vec<f64>>,
    ) -> Result<Contents, String> {
        let of = |value: &ValueId| &contents[value.index()];
        let plain = || &self.plains[&id];
        Ok(match &node.op {
            SlotOp::Input { name, layout, scale } => {
                let tensor = inputs.get(name).ok_or(format!("no input called `{name}`"))?;
                if tensor.len() != layout.n_elements() {
                    return Err(format!(
                        "expected {} values, found {}",
                        layout.n_elements(),
                        tensor.len()
                    ));
                }
                layout.pack(&tensor.iter().map(|value| value / scale).collect::<Vec<_>>())
            }
            SlotOp::Add { a, b } => zip(of(a), of(b), |a, b| a + b),
            SlotOp::Sub { a, b } => zip(of(a), of(b), |a, b| a - b),
            SlotOp::Mul { a, b } => zip(of(a), of(b), |a, b| a * b),
            SlotOp::Neg { x } => map(of(x), |x| -x),
            SlotOp::AddPlain { x, .. } => zip(of(x), plain(), |x, value| x + value),
            SlotOp::MulPlain { x, .. } => zip(of(x), plain(), |x, value| x * value),
            SlotOp::AddScalar { x, by } => map(of(x), |x| x + by),
            SlotOp::MulScalar { x, by } => map(of(x), |x| x * by),
            SlotOp::Poly { x, poly } => map(of(x), |x| poly.eval(x)),
            SlotOp::Bootstrap { x } => of(x).clone(),
            SlotOp::Rotate { x, by, .. } => of(x).iter().map(|ct| rotated(ct, *by)).collect(),
            SlotOp::Linear { x, kernel } => linear(&self.diagonals[&id], &kernel.output, &kernel.fold, of(x)),
        })
    }
}

/// The row-major tensor in the slots of `cts`.
///
/// # Errors
/// When the slots are not as many as the layout says, copies of an element differ, or a slot is not zero that should be.
fn checked_unpack(layout: &Layout, cts: &[Vec<f64>]) -> Result<Vec<f64>, String> {
    if cts.len() != layout.cts || cts.iter().any(|ct| ct.len() != layout.slots) {
        return Err(format!("{} x {} slots expected", layout.cts, layout.slots));
    }
    let largest = cts
        .iter()
        .flatten()
        .fold(0.0f64, |largest, slot| largest.max(slot.abs()));
    let tolerance = TOLERANCE * largest;
    let mut is_used = vec![false; layout.period * layout.cts];
    let mut tensor = Vec::with_capacity(layout.n_elements());
    for address in layout.addresses() {
        let address = address as usize;
        is_used[address] = true;
        let (ct, first) = (address / layout.period, address % layout.period);
        let value = cts[ct][first];
        let mut copies = (first..layout.slots).step_by(layout.period);
        if let Some(slot) = copies.find(|&slot| (cts[ct][slot] - value).abs() > tolerance) {
            return Err(format!(
                "slot {slot} of ciphertext {ct} holds {}, its copy {first} holds {value}",
                cts[ct][slot]
            ));
        }
        tensor.push(value);
    }
    if layout.unused == (Unused::Zero {}) {
        for (ct, slots) in cts.iter().enumerate() {
            let is_unused = |slot: usize| !is_used[ct * layout.period + slot % layout.period];
            let stray = slots
                .iter()
                .enumerate()
                .find(|(slot, value)| is_unused(*slot) && value.abs() > tolerance);
            if let Some((slot, value)) = stray {
                return Err(format!(
                    "unused slot {slot} of ciphertext {ct} holds {value} instead of zero"
                ));
            }
        }
    }
    Ok(tensor)
}

/// The transform and its fold on the slots of the operand.
fn linear(diagonals: &Diagonals, output: &Layout, fold: &[usize], x: &Contents) -> Contents {
    let slots = diagonals.slots;
    (0..output.cts)
        .into_par_iter()
        .map(|out_ct| {
            let mut sum = vec![0.0; slots];
            for (key, values) in diagonals.values.iter().filter(|(key, _)| key.out_ct == out_ct) {
                let operand = &x[key.in_ct];
                for (slot, sum) in sum.iter_mut().enumerate() {
                    let from = (slot + key.rotation) & (slots - 1);
                    *sum = values[slot & (diagonals.period - 1)].mul_add(operand[from], *sum);
                }
            }
            for &step in fold {
                sum = sum.iter().zip(rotated(&sum, step)).map(|(a, b)| a + b).collect();
            }
            sum
        })
        .collect()
}

fn rotated(ct: &[f64], by: usize) -> Vec<f64> {
    let mut ct = ct.to_vec();
    ct.rotate_left(by);
    ct
}

fn map(x: &Contents, f: impl Fn(f64) -> f64) -> Contents {
    x.iter().map(|ct| ct.iter().map(|&slot| f(slot)).collect()).collect()
}

fn zip(a: &Contents, b: &Contents, f: impl Fn(f64, f64) -> f64) -> Contents {
    let zip_ct = |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect();
    a.iter().zip(b).map(zip_ct).collect()
}

/// Overwrites the slots that the layout calls garbage by noise in [-1, 1] that depends on value and slot only.
fn spoil_garbage(layout: &Layout, id: ValueId, cts: &mut Contents) {
    if layout.unused != (Unused::Garbage {}) {
        return;
    }
    let mut is_used = vec![false; layout.period * layout.cts];
    for address in layout.addresses() {
        is_used[address as usize] = true;
    }
    for (ct, slots) in cts.iter_mut().enumerate() {
        for (slot, value) in slots.iter_mut().enumerate() {
            if !is_used[ct * layout.period + slot % layout.period] {
                *value = noise(u64::from(id.0) << 40 ^ (ct as u64) << 20 ^ slot as u64);
            }
        }
    }
}

/// A number in [-1, 1) by the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
fn noise(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}
