//! What a program does, op by op with its level, apart from the parameters it runs under.

use super::limb_ops::{Costs, LimbOps};
use crate::PassError;
use aphelion_ir::ckks::{Ckks, CkksOp};
use aphelion_ir::slot::{Basis, DiagonalSet, Polynomial};
use aphelion_ir::{Graph, Node, ValueId};
use aphelion_runtime::ckks::linear::{DiagonalIdx, LinearTransform};
use aphelion_runtime::ckks::polynomial as runtime;
use serde::Serialize;

/// The work of one op.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Nothing, or done together with the op before.
    Free,
    /// Addition of `parts` polynomials per ciphertext.
    Add {
        /// Polynomials per ciphertext.
        parts: u32,
    },
    /// Addition of an encoded plaintext.
    AddPlain,
    /// Product with an encoded plaintext.
    MulPlain,
    /// Product with a scalar, of `parts` polynomials.
    MulScalar,
    /// Product of ciphertexts.
    Tensor {
        /// Whether both factors are the same.
        is_square: bool,
    },
    /// Relinearisation, with the rescale if that follows at once.
    Relinearize {
        /// Whether the rescale is included.
        rescales: bool,
    },
    /// Rescale of `parts` polynomials.
    Rescale {
        /// Polynomials per ciphertext.
        parts: u32,
    },
    /// Scalar product and rescale that lead to a lower level.
    DropLevel,
    /// Rotation.
    Rotate,
    /// Linear transform, with its rescale.
    Linear(LinearTransform),
    /// Polynomial.
    Poly(runtime::PolynomialPlan),
}

/// The work of one op on `cts` ciphertexts at `level`.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkItem {
    /// The value that the op yields.
    pub value: ValueId,
    /// What is done.
    pub work: Work,
    /// Level at which it is done.
    pub level: u32,
    /// On how many ciphertexts; a linear transform counts once.
    pub cts: usize,
}

/// Counts of expensive ops on single ciphertexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OpCounts {
    /// Key switches for rotations, hoisted ones included.
    pub rotations: usize,
    /// Those among them that share the digits of another (all baby steps of an input but one).
    pub hoisted_rotations: usize,
    /// Ciphertext products, those inside of polynomials included.
    pub ct_mults: usize,
    /// Products with encoded plaintexts: the diagonals of linear transforms and the like.
    pub pt_mults: usize,
    /// Relinearisations.
    pub relinearizations: usize,
    /// Rescales of ciphertexts, those inside of linear transforms and polynomials included.
    pub rescales: usize,
    /// Bootstraps.
    pub bootstraps: usize,
}

/// The work of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Items by value.
    pub items: Vec<WorkItem>,
    /// Levels of the inputs at most.
    pub max_level: u32,
}

impl Workload {
    /// The work of `graph`. Reads every matrix of a linear transform: O(non-zeros).
    ///
    /// # Errors
    /// When a constant cannot be read, or a plan does not reach a diagonal of its matrix.
    pub fn new(graph: &Graph<Ckks>) -> Result<Self, PassError> {
        let users = graph.users();
        let only_user = |id: ValueId| match users[id.index()].as_slice() {
            [user] => Some(graph.op(*user)),
            _ => None,
        };
        let mut items: Vec<WorkItem> = Vec::with_capacity(graph.len());
        for (value, node) in graph.iter() {
            let rescaled_at_once = matches!(only_user(value), Some(CkksOp::Rescale { .. }));
            let work = work(graph, node, rescaled_at_once, &items)?;
            let level = match &node.op {
                CkksOp::Rescale { x } => graph.ty(*x).level,
                CkksOp::DropLevel { to, .. } => to + 1,
                CkksOp::PolyEval { at, .. } => *at,
                _ => node.ty.level,
            };
            items.push(WorkItem {
                value,
                work,
                level,
                cts: node.ty.cts,
            });
        }
        let levels = graph.iter().map(|(_, node)| node.ty.level);
        let max_level = levels.max().unwrap_or(0);
        Ok(Workload { items, max_level })
    }

    /// Counts of expensive ops.
    pub fn counts(&self) -> OpCounts {
        let mut counts = OpCounts::default();
        for WorkItem { work, cts, .. } in &self.items {
            match work {
                Work::Free | Work::Add { .. } | Work::AddPlain | Work::MulScalar => {}
                Work::MulPlain => counts.pt_mults += cts,
                Work::Tensor { .. } => counts.ct_mults += cts,
                Work::Relinearize { rescales } => {
                    counts.relinearizations += cts;
                    counts.rescales += if *rescales { *cts } else { 0 };
                }
                Work::Rescale { .. } | Work::DropLevel => counts.rescales += cts,
                Work::Rotate => counts.rotations += cts,
                Work::Linear(shape) => {
                    let babies = shape.baby_uses();
                    let mut inputs: Vec<usize> = babies.keys().filter(|(_, b)| *b != 0).map(|(ct, _)| *ct).collect();
                    let rotated = inputs.len();
                    inputs.dedup();
                    counts.rotations += shape.key_switches();
                    counts.hoisted_rotations += rotated - inputs.len();
                    counts.pt_mults += shape.diagonals().len();
                    counts.rescales += shape.n_outputs();
                }
                Work::Poly(plan) => {
                    counts.ct_mults += plan.ct_mults() * cts;
                    counts.relinearizations += plan.relinearizations() * cts;
                    counts.rescales += (plan.relinearizations() + 1) * cts;
                }
            }
        }
        counts
    }
}

impl WorkItem {
    /// Operations on limbs, with plaintexts encoded beforehand.
    pub fn limb_ops(&self, costs: &Costs) -> LimbOps {
        let level = self.level;
        let each = match &self.work {
            Work::Free => LimbOps::default(),
            Work::Add { parts } => costs.add(level, *parts),
            Work::AddPlain => costs.add(level, 1),
            Work::MulPlain | Work::MulScalar => costs.multiply_plain(level, 2),
            Work::Tensor { is_square } => costs.tensor(level, *is_square),
            Work::Relinearize { rescales: true } => costs.relinearize_rescale(level),
            Work::Relinearize { rescales: false } => costs.key_switch(level) + costs.add(level, 2),
            Work::Rescale { parts } => costs.rescale(level, *parts),
            Work::DropLevel => costs.multiply_plain(level, 2) + costs.rescale(level, 2),
            Work::Rotate => costs.rotate(level),
            Work::Linear(shape) => return costs.linear_transform(shape, level),
            Work::Poly(plan) => costs.poly_eval(plan, level),
        };
        each * self.cts as f64
    }

    /// Plaintexts that are encoded ahead, and the limbs of each.
    pub fn plaintexts(&self, costs: &Costs) -> (usize, u32) {
        match &self.work {
            Work::AddPlain | Work::MulPlain => (self.cts, self.level + 1),
            Work::Linear(shape) => (shape.diagonals().len(), costs.diagonal_limbs(shape, self.level)),
            _ => (0, 0),
        }
    }
}

fn work(
    graph: &Graph<Ckks>,
    node: &Node<Ckks>,
    rescaled_at_once: bool,
    before: &[WorkItem],
) -> Result<Work, PassError> {
    let parts = node.ty.degree + 1;
    Ok(match &node.op {
        CkksOp::Input { .. } => Work::Free,
        CkksOp::Add { .. } | CkksOp::Sub { .. } | CkksOp::Neg { .. } => Work::Add { parts },
        CkksOp::AddScalar { .. } => Work::Add { parts: 1 },
        CkksOp::AddPlain { .. } => Work::AddPlain,
        CkksOp::MulPlain { .. } => Work::MulPlain,
        CkksOp::MulScalar { .. } => Work::MulScalar,
        CkksOp::Mul { a, b } => Work::Tensor { is_square: a == b },
        CkksOp::Relinearize { .. } => Work::Relinearize {
            rescales: rescaled_at_once,
        },
        CkksOp::Rescale { x } => match &before[x.index()].work {
            Work::Relinearize { rescales: true } | Work::Linear(_) => Work::Free,
            _ => Work::Rescale { parts },
        },
        CkksOp::DropLevel { .. } => Work::DropLevel,
        CkksOp::Rotate { .. } => Work::Rotate,
        CkksOp::LinearTransform { .. } => Work::Linear(transform_shape(graph, node)?),
        CkksOp::PolyEval { poly, .. } => Work::Poly(polynomial_plan(node, poly)?),
        CkksOp::Bootstrap { .. } => {
            return Err(PassError::unsupported(
                &node.origin,
                "there is no price for a bootstrap: compile the model without",
            ));
        }
    })
}

/// The runtime's shape of a linear transform, without its rotate-and-sum.
fn transform_shape(graph: &Graph<Ckks>, node: &Node<Ckks>) -> Result<LinearTransform, PassError> {
    let CkksOp::LinearTransform {
        kernel, input, bsgs, ..
    } = &node.op
    else {
        unreachable!("called for linear transforms");
    };
    let set = DiagonalSet::of_kernel(kernel, input, &graph.constants)?;
    let mut diagonals = Vec::with_capacity(set.keys.len());
    for key in &set.keys {
        let Some((baby, giant)) = bsgs.split(key.rotation, set.rotation_period) else {
            let message = format!(
                "the plan reaches no rotation by {}: plan the kernel again",
                key.rotation
            );
            return Err(PassError::unsupported(&node.origin, message));
        };
        diagonals.push(DiagonalIdx {
            out: key.out_ct,
            giant,
            input: key.in_ct,
            baby,
        });
    }
    LinearTransform::new(input.slots, input.cts, kernel.output.cts, diagonals, Vec::new())
        .map_err(|error| PassError::unsupported(&node.origin, error.to_string()))
}

fn polynomial_plan(node: &Node<Ckks>, poly: &Polynomial) -> Result<runtime::PolynomialPlan, PassError> {
    let basis = match poly.basis {
        Basis::Chebyshev {} => runtime::Basis::Chebyshev,
        Basis::Monomial {} => runtime::Basis::Monomial,
    };
    runtime::Polynomial::new(basis, poly.coeffs.clone())
        .map(runtime::PolynomialPlan::new)
        .map_err(|error| PassError::unsupported(&node.origin, error.to_string()))
}
