//! Stages with layouts -> slot graph.

use super::costs::{How, fold, how, same_places};
use super::form::{Form, compose};
use super::search::Assignment;
use super::stage::{Stage, StageKind, Stages};
use crate::error::PassError;
use aphelion_ir::slot::{
    ClientOp, Kernel, Layout, LinearMap, PlainTensor, Slot, SlotAttrs, SlotOp, SparseMatrix, Unused,
};
use aphelion_ir::{ConstRef, ConstantPool, Graph, Origin, Tensor, ValueId};

/// The slot graph.
///
/// # Errors
/// When the IR rejects an op, which would be a mistake of the lowering.
pub fn emit(
    name: &str,
    stages: &Stages,
    assignment: &Assignment,
    slots: usize,
    constants: &ConstantPool,
) -> Result<Graph<Slot>, PassError> {
    let mut emitter = Emitter {
        graph: Graph::new(name, constants.clone()),
        values: Vec::new(),
    };
    for (stage, layout) in stages.stages.iter().zip(&assignment.layouts) {
        let value = emitter.stage(stages, stage, layout)?;
        emitter.values.push(value);
    }
    let mut graph = emitter.graph;
    graph.attrs = SlotAttrs {
        slots,
        batch: None,
        output_scales: stages
            .outputs
            .iter()
            .map(|output| stages.get(output.stage).scaling.norm)
            .collect(),
        client_ops: stages
            .outputs
            .iter()
            .map(|output| {
                output
                    .softmax
                    .map(|axis| ClientOp::Softmax { axis })
                    .into_iter()
                    .collect()
            })
            .collect(),
        parameters: None,
    };
    for output in &stages.outputs {
        graph.output(output.name.clone(), emitter.values[output.stage.0]);
    }
    Ok(graph)
}

struct Emitter {
    graph: Graph<Slot>,
    /// By stage.
    values: Vec<ValueId>,
}

impl Emitter {
    fn push(&mut self, op: SlotOp, origin: &Origin) -> Result<ValueId, PassError> {
        Ok(self.graph.push(op, origin.clone())?)
    }

    fn stage(&mut self, stages: &Stages, stage: &Stage, layout: &Layout) -> Result<ValueId, PassError> {
        let origin = &stage.origin;
        match &stage.kind {
            StageKind::Input { name } => self.push(
                SlotOp::Input {
                    name: name.clone(),
                    layout: layout.clone(),
                    scale: stage.scaling.norm,
                },
                origin,
            ),
            StageKind::Poly { x, poly } => self.push(
                SlotOp::Poly {
                    x: self.values[x.0],
                    poly: poly.clone(),
                },
                origin,
            ),
            StageKind::Mul { a, b } => {
                let (a, b) = (
                    self.in_layout(self.values[a.0], layout, origin)?,
                    self.in_layout(self.values[b.0], layout, origin)?,
                );
                self.push(SlotOp::Mul { a, b }, origin)
            }
            StageKind::Affine { form } => self.affine(stages, stage, form, layout),
        }
    }

    /// The value with its elements where `layout` has them.
    fn in_layout(&mut self, x: ValueId, layout: &Layout, origin: &Origin) -> Result<ValueId, PassError> {
        let own = self.graph.ty(x);
        if same_places(own, layout) {
            return Ok(x);
        }
        let kernel = Kernel {
            map: LinearMap::Identity {
                shape: own.shape.clone(),
            },
            output: zeroed(layout),
            fold: fold(own, layout),
        };
        self.push(SlotOp::Linear { x, kernel }, origin)
    }

    fn affine(&mut self, stages: &Stages, stage: &Stage, form: &Form, layout: &Layout) -> Result<ValueId, PassError> {
        let mut sum: Option<ValueId> = None;
        for term in &form.terms {
            let x = self.values[term.source.0];
            let by = stages.get(term.source).scaling.norm / stage.scaling.norm;
            let input = self.graph.ty(x).clone();
            let value = match how(term, &input, layout) {
                How::InPlace => self.in_place(x, &term.map, by, &stage.origin)?,
                How::Transform => {
                    let factor = LinearMap::Factor {
                        shape: form.shape.clone(),
                        by,
                    };
                    let map = if by == 1.0 {
                        term.map.clone()
                    } else {
                        compose(&term.map, &factor)
                    };
                    let kernel = Kernel {
                        map,
                        output: zeroed(layout),
                        fold: fold(&input, layout),
                    };
                    self.push(SlotOp::Linear { x, kernel }, &stage.origin)?
                }
            };
            sum = Some(match sum {
                Some(sum) => self.push(SlotOp::Add { a: sum, b: value }, &stage.origin)?,
                None => value,
            });
        }
        let Some(sum) = sum else {
            let message = "the value does not depend on the input; fold constants before";
            return Err(PassError::unsupported(&stage.origin, message));
        };
        let Some((name, tensor)) = self.constant(stages, stage, form)? else {
            return Ok(sum);
        };
        let factor = 1.0 / stage.scaling.norm;
        let op = match tensor.to_vec()?.as_slice() {
            [by] => SlotOp::AddScalar {
                x: sum,
                by: by * factor,
            },
            _ => SlotOp::AddPlain {
                x: sum,
                value: PlainTensor {
                    value: self.graph.constants.insert(&name.0, tensor),
                    factor,
                },
            },
        };
        self.push(op, &stage.origin)
    }

    /// `by` times an element-wise map of `x`.
    fn in_place(&mut self, x: ValueId, map: &LinearMap, by: f64, origin: &Origin) -> Result<ValueId, PassError> {
        let value = match factors(map) {
            Some((factor, None)) if by * factor == 1.0 => return Ok(x),
            Some((factor, None)) => return self.push(SlotOp::MulScalar { x, by: by * factor }, origin),
            Some((factor, Some(value))) => PlainTensor {
                value,
                factor: by * factor,
            },
            None => {
                let shape = self.graph.ty(x).shape.clone();
                let ones = vec![1.0; shape.iter().product()];
                let values = SparseMatrix::new(map, &self.graph.constants)?.apply(&ones);
                let name = format!("{}.factors", origin.name);
                PlainTensor {
                    value: self.graph.constants.insert(&name, Tensor::from_f64(shape, values)),
                    factor: by,
                }
            }
        };
        self.push(SlotOp::MulPlain { x, value }, origin)
    }

    /// What is added, in units of the model, and its name: the form's constant, the offsets of its sources, less the
    /// stage's own offset. One number where all elements get the same.
    fn constant(&self, stages: &Stages, stage: &Stage, form: &Form) -> Result<Option<(ConstRef, Tensor)>, PassError> {
        let has_offset = |offset: f64| offset != 0.0;
        let is_shifted = has_offset(stage.scaling.offset)
            || form
                .terms
                .iter()
                .any(|term| has_offset(stages.get(term.source).scaling.offset));
        Ok(match (&form.constant, is_shifted) {
            (None, false) => None,
            (Some(constant), false) => Some((constant.name.clone(), constant.tensor.clone())),
            (constant, true) => {
                let mut total = vec![-stage.scaling.offset; form.shape.iter().product()];
                if let Some(constant) = constant {
                    let values = constant.tensor.broadcast_to(&form.shape)?;
                    total.iter_mut().zip(values).for_each(|(total, value)| *total += value);
                }
                for term in &form.terms {
                    let source = stages.get(term.source);
                    if has_offset(source.scaling.offset) {
                        let offsets = vec![source.scaling.offset; source.shape.iter().product()];
                        let values = SparseMatrix::new(&term.map, &self.graph.constants)?.apply(&offsets);
                        total.iter_mut().zip(values).for_each(|(total, value)| *total += value);
                    }
                }
                let generated = || ConstRef::new(format!("{}.shift", stage.origin.name));
                let name = constant
                    .as_ref()
                    .map_or_else(generated, |constant| constant.name.clone());
                let is_uniform = total.windows(2).all(|pair| pair[0] == pair[1]);
                let tensor = match total.first() {
                    Some(&value) if is_uniform => Tensor::scalar(value),
                    _ => Tensor::from_f64(form.shape.clone(), total),
                };
                Some((name, tensor))
            }
        })
    }
}

/// Layout of a linear op's result: it writes zeros elsewhere.
fn zeroed(layout: &Layout) -> Layout {
    Layout {
        unused: Unused::Zero {},
        ..layout.clone()
    }
}

/// An element-wise map as a factor, times at most one tensor of factors. None when there are several.
fn factors(map: &LinearMap) -> Option<(f64, Option<ConstRef>)> {
    match map {
        LinearMap::Factor { by, .. } => Some((*by, None)),
        LinearMap::Diagonal { by, .. } => Some((1.0, Some(by.clone()))),
        LinearMap::Compose { maps } => maps
            .iter()
            .map(factors)
            .try_fold((1.0, None), |(product, tensor), next| {
                let (by, more) = next?;
                match (tensor, more) {
                    (Some(_), Some(_)) => None,
                    (one, other) => Some((product * by, one.or(other))),
                }
            }),
        LinearMap::Each { .. } | LinearMap::Sum { .. } => None,
        _ => Some((1.0, None)),
    }
}
