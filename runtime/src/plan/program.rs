//! The program of a plan: instructions over registers, each of which holds one ciphertext and is written once.
//!
//! Registers are numbered in the order they come to be: first the ciphertexts of all inputs, then the results of every
//! instruction in turn. A register can therefore neither be written twice nor be named before an instruction has it.

use serde::{Deserialize, Serialize};

use super::bootstrap::Bootstrapping;
use super::client::ClientPart;
use super::constants::VectorId;
use super::report::Report;
use crate::ckks::polynomial::Polynomial;

/// A register, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Register(pub u32);

impl Register {
    /// Position among all registers.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an instruction does. `level` is the level it works at: operands are lowered to it first, without a rescale.
/// Scales are the canonical one of a level (power 1) or its square (power 2, before a rescale).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// a + b.
    Add {
        /// First operand.
        a: Register,
        /// Second operand, of the same level and scale.
        b: Register,
    },
    /// a - b.
    Sub {
        /// First operand.
        a: Register,
        /// Second operand, of the same level and scale.
        b: Register,
    },
    /// -x.
    Neg {
        /// Operand.
        x: Register,
    },
    /// x + value, encoded at the scale of x.
    AddPlain {
        /// Operand.
        x: Register,
        /// The vector.
        value: VectorId,
    },
    /// x value slot by slot; the scale becomes the square of the canonical one.
    MulPlain {
        /// Operand.
        x: Register,
        /// The vector.
        value: VectorId,
        /// Level of the product.
        level: usize,
    },
    /// x + by in every slot.
    AddScalar {
        /// Operand.
        x: Register,
        /// Summand.
        by: f64,
    },
    /// by x; the scale becomes the square of the canonical one.
    MulScalar {
        /// Operand.
        x: Register,
        /// Factor.
        by: f64,
        /// Level of the product.
        level: usize,
    },
    /// a b slot by slot, of three parts; the scale becomes the square of the canonical one.
    Mul {
        /// First factor.
        a: Register,
        /// Second factor, of the same level.
        b: Register,
    },
    /// The same message in two parts; needs the relinearisation key.
    Relinearize {
        /// Operand of three parts.
        x: Register,
    },
    /// Relinearisation and rescale with one division; needs the relinearisation key.
    RelinearizeRescale {
        /// Operand of three parts at the square of the canonical scale.
        x: Register,
    },
    /// Division by the last prime of the level.
    Rescale {
        /// Operand at the square of the canonical scale.
        x: Register,
    },
    /// The same message at a lower level and its canonical scale.
    DropLevel {
        /// Operand.
        x: Register,
        /// The lower level.
        to: usize,
    },
    /// One result per step: slots rotated to the left. Several steps share one decomposition (hoisting).
    Rotate {
        /// Operand.
        x: Register,
        /// Steps, each in `1..slots`.
        by: Vec<usize>,
    },
    /// Complex conjugation of every slot.
    Conjugate {
        /// Operand.
        x: Register,
    },
    /// A block matrix with its rescale; one result per output of the transform, one level below `level`.
    LinearTransform {
        /// One register per input of the transform.
        xs: Vec<Register>,
        /// Index into [`Program::transforms`].
        transform: usize,
        /// Level of the products.
        level: usize,
    },
    /// p(x) at level `level` - depth(p) and its canonical scale.
    PolyEval {
        /// Operand, with slots in [-1, 1] for a Chebyshev basis.
        x: Register,
        /// Index into [`Program::polynomials`].
        polynomial: usize,
        /// Level of the first products.
        level: usize,
    },
    /// The same real messages, of magnitude up to one, at the level that [`Program::bootstrap`] leaves; one result per
    /// operand.
    Bootstrap {
        /// One register, or two distinct ones that go through one bootstrap of complex content.
        xs: Vec<Register>,
        /// Slots of the bootstrap, a power of two: contents repeat with this period, which may be below the slots.
        slots: usize,
    },
}

impl Op {
    /// Name of the op, as in the file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add { .. } => "add",
            Self::Sub { .. } => "sub",
            Self::Neg { .. } => "neg",
            Self::AddPlain { .. } => "add_plain",
            Self::MulPlain { .. } => "mul_plain",
            Self::AddScalar { .. } => "add_scalar",
            Self::MulScalar { .. } => "mul_scalar",
            Self::Mul { .. } => "mul",
            Self::Relinearize { .. } => "relinearize",
            Self::RelinearizeRescale { .. } => "relinearize_rescale",
            Self::Rescale { .. } => "rescale",
            Self::DropLevel { .. } => "drop_level",
            Self::Rotate { .. } => "rotate",
            Self::Conjugate { .. } => "conjugate",
            Self::LinearTransform { .. } => "linear_transform",
            Self::PolyEval { .. } => "poly_eval",
            Self::Bootstrap { .. } => "bootstrap",
        }
    }

    /// The registers it reads; one that is read twice stands twice.
    #[must_use]
    pub fn operands(&self) -> Vec<Register> {
        match self {
            Self::Add { a, b } | Self::Sub { a, b } | Self::Mul { a, b } => vec![*a, *b],
            Self::Neg { x }
            | Self::AddPlain { x, .. }
            | Self::MulPlain { x, .. }
            | Self::AddScalar { x, .. }
            | Self::MulScalar { x, .. }
            | Self::Relinearize { x }
            | Self::RelinearizeRescale { x }
            | Self::Rescale { x }
            | Self::DropLevel { x, .. }
            | Self::Rotate { x, .. }
            | Self::Conjugate { x }
            | Self::PolyEval { x, .. } => vec![*x],
            Self::LinearTransform { xs, .. } | Self::Bootstrap { xs, .. } => xs.clone(),
        }
    }
}

/// An op with the place in the model that it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instruction {
    /// What to do.
    pub op: Op,
    /// Index into [`Program::origins`].
    pub origin: usize,
}

/// A diagonal of a transform: `vector` multiplies input `input` rotated by `baby`; the sum of all diagonals of one
/// giant step is rotated by it. Written `[out, giant, input, baby, vector]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(
    from = "(usize, usize, usize, usize, VectorId)",
    into = "(usize, usize, usize, usize, VectorId)"
)]
pub struct Diagonal {
    /// Output ciphertext.
    pub out: usize,
    /// Rotation of the partial sum.
    pub giant: usize,
    /// Input ciphertext.
    pub input: usize,
    /// Rotation of the input.
    pub baby: usize,
    /// The diagonal, rotated right by `giant` already.
    pub vector: VectorId,
}

impl From<(usize, usize, usize, usize, VectorId)> for Diagonal {
    fn from((out, giant, input, baby, vector): (usize, usize, usize, usize, VectorId)) -> Self {
        Self {
            out,
            giant,
            input,
            baby,
            vector,
        }
    }
}

impl From<Diagonal> for (usize, usize, usize, usize, VectorId) {
    fn from(diagonal: Diagonal) -> Self {
        (
            diagonal.out,
            diagonal.giant,
            diagonal.input,
            diagonal.baby,
            diagonal.vector,
        )
    }
}

/// A block matrix in baby-step/giant-step form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// Slots of every operand and result.
    pub slots: usize,
    /// Number of input ciphertexts.
    pub n_inputs: usize,
    /// Number of output ciphertexts.
    pub n_outputs: usize,
    /// Diagonals in rising order of (out, giant, input, baby).
    pub diagonals: Vec<Diagonal>,
}

/// The server's part of a plan, without the constants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Instructions in an order in which operands are there.
    pub instructions: Vec<Instruction>,
    /// For every output port, its ciphertexts.
    pub outputs: Vec<Vec<Register>>,
    /// Matrices.
    pub transforms: Vec<Transform>,
    /// Polynomials.
    pub polynomials: Vec<Polynomial>,
    /// Places in the model.
    pub origins: Vec<String>,
    /// How it bootstraps, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrapping>,
    /// Predictions.
    pub report: Report,
}

impl Program {
    /// Number of registers that hold inputs.
    #[must_use]
    pub fn n_inputs(client: &ClientPart) -> usize {
        client.inputs.iter().map(|port| port.packing.ciphertexts).sum()
    }

    /// Number of results of an op of this program.
    #[must_use]
    pub fn n_results(&self, op: &Op) -> usize {
        match op {
            Op::Rotate { by, .. } => by.len(),
            Op::Bootstrap { xs, .. } => xs.len(),
            Op::LinearTransform { transform, .. } => self.transforms.get(*transform).map_or(0, |t| t.n_outputs),
            _ => 1,
        }
    }
}
