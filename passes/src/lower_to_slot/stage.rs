//! Stages: the values that will exist in slots, in order of computation, before layouts are chosen.

use super::form::{Form, StageId};
use aphelion_ir::Origin;
use aphelion_ir::slot::Polynomial;

/// How slot contents relate to the tensor: `tensor = norm * slots + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// Positive.
    pub norm: f64,
    /// What a slot of 0 stands for.
    pub offset: f64,
}

impl Scaling {
    /// Slots in [-1, 1] for tensors in `low..=high`, with 0 for 0.
    pub fn about_zero(low: f64, high: f64) -> Self {
        let norm = low.abs().max(high.abs());
        Scaling {
            norm: if norm > 0.0 { norm } else { 1.0 },
            offset: 0.0,
        }
    }

    /// Slots in [-1, 1] for tensors in `low..=high`, with 0 for the middle.
    pub fn centred(low: f64, high: f64) -> Self {
        Scaling {
            norm: (high - low) / 2.0,
            offset: (high + low) / 2.0,
        }
    }
}

/// What a stage computes.
#[derive(Clone, Debug)]
pub enum StageKind {
    /// The model's input of this name.
    Input {
        /// Its name.
        name: String,
    },
    /// A form, with `(form - offset) / norm` in slots.
    Affine {
        /// The form.
        form: Form,
    },
    /// Slot-wise product.
    Mul {
        /// A factor.
        a: StageId,
        /// The other factor; may be the same.
        b: StageId,
    },
    /// A polynomial of slot contents.
    Poly {
        /// The argument.
        x: StageId,
        /// From slot contents to slot contents.
        poly: Polynomial,
    },
}

/// A value that will exist in slots.
#[derive(Clone, Debug)]
pub struct Stage {
    /// What it computes.
    pub kind: StageKind,
    /// Shape of the tensor.
    pub shape: Vec<usize>,
    /// Its scaling.
    pub scaling: Scaling,
    /// Levels consumed up to and including it.
    pub depth: usize,
    /// Source location.
    pub origin: Origin,
}

impl Stage {
    /// Stages that it reads.
    pub fn operands(&self) -> Vec<StageId> {
        match &self.kind {
            StageKind::Input { .. } => vec![],
            StageKind::Affine { form } => form.terms.iter().map(|term| term.source).collect(),
            StageKind::Mul { a, b } => vec![*a, *b],
            StageKind::Poly { x, .. } => vec![*x],
        }
    }
}

/// A result of the model.
#[derive(Clone, Debug)]
pub struct StageOutput {
    /// Its name.
    pub name: String,
    /// Where it comes from; its offset is 0.
    pub stage: StageId,
    /// Axis of a softmax that is left to the client.
    pub softmax: Option<usize>,
}

/// The model as stages.
#[derive(Clone, Debug)]
pub struct Stages {
    /// In order of computation.
    pub stages: Vec<Stage>,
    /// The results.
    pub outputs: Vec<StageOutput>,
    /// Values of the `nn` graph that became part of a chain rather than a stage of their own.
    pub n_fused: usize,
}

impl Stages {
    /// The stage.
    pub fn get(&self, id: StageId) -> &Stage {
        &self.stages[id.0]
    }

    /// Levels that the deepest result takes.
    pub fn depth(&self) -> usize {
        self.outputs
            .iter()
            .map(|output| self.get(output.stage).depth)
            .max()
            .unwrap_or(0)
    }
}
