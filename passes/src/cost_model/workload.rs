//! What a program does, op by op with its level, apart from the parameters it runs under.

use super::bootstrap::{BootstrapKind, BootstrapWork, Bootstraps};
use super::limb_ops::{Costs, LimbOps, Plaintexts, TransformSize};
use crate::{Memo, PassError};
use aphelion_ir::ckks::{Ckks, CkksOp};
use aphelion_ir::slot::{Basis, Kernel, Layout, Polynomial};
use aphelion_ir::{Graph, Node, Op, ValueId};
use aphelion_runtime::ckks::linear::{DiagonalIdx, LinearTransform};
use aphelion_runtime::ckks::polynomial as runtime;
use serde::Serialize;
use std::collections::BTreeMap;

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
    Linear(LinearTransform, TransformSize),
    /// Polynomial.
    Poly(runtime::PolynomialPlan),
    /// Bootstraps of a whole bundle.
    Bootstrap(BootstrapWork),
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
    /// Period with which the plaintexts repeat that it multiplies or adds.
    pub plaintext_period: usize,
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
    /// Limbs of all ciphertexts that are alive at the same time, at most; both polynomials counted.
    pub live_limbs: u64,
}

impl Workload {
    /// The work of `graph`. Reads every matrix of a linear transform that `memo` does not know: O(non-zeros).
    ///
    /// # Errors
    /// When a constant cannot be read, a plan does not reach a diagonal of its matrix, or there is a bootstrap and no
    /// `bootstraps` to plan it.
    pub fn new(graph: &Graph<Ckks>, bootstraps: Option<&Bootstraps<'_>>, memo: &Memo) -> Result<Self, PassError> {
        let users = graph.users();
        let only_user = |id: ValueId| match users[id.index()].as_slice() {
            [user] => Some(graph.op(*user)),
            _ => None,
        };
        let mut items: Vec<WorkItem> = Vec::with_capacity(graph.len());
        for (value, node) in graph.iter() {
            let rescaled_at_once = matches!(only_user(value), Some(CkksOp::Rescale { .. }));
            let work = match &node.op {
                CkksOp::Bootstrap { slots, .. } => {
                    let bootstraps = bootstraps.ok_or_else(|| {
                        let message = "no parameters were chosen for a bootstrap: run place_bootstraps first";
                        PassError::unsupported(&node.origin, message)
                    })?;
                    Work::Bootstrap(bootstraps.work(*slots, node.ty.cts)?)
                }
                _ => work(graph, node, rescaled_at_once, &items, memo)?,
            };
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
                plaintext_period: plaintext_period(node),
            });
        }
        let levels = graph.iter().map(|(_, node)| node.ty.level);
        let max_level = levels.max().unwrap_or(0);
        Ok(Workload {
            items,
            max_level,
            live_limbs: live_limbs(graph),
        })
    }

    /// The kinds of bootstraps in use, each with its encoded diagonals.
    pub fn bootstrap_diagonals(&self, costs: &Costs) -> BTreeMap<BootstrapKind, Vec<Plaintexts>> {
        let works = self.items.iter().filter_map(|item| match &item.work {
            Work::Bootstrap(work) => Some(work.diagonals(costs)),
            _ => None,
        });
        works.flatten().collect()
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
                Work::Linear(_, size) => {
                    counts.rotations += size.babies + size.giants;
                    counts.hoisted_rotations += size.babies - size.hoists;
                    counts.pt_mults += size.diagonals;
                    counts.rescales += size.outputs;
                }
                Work::Bootstrap(work) => counts.bootstraps += work.count(),
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
            Work::Linear(_, size) => return costs.linear_transform(size, level),
            Work::Bootstrap(work) => return work.limb_ops(costs),
            Work::Poly(plan) => costs.poly_eval(plan, level),
        };
        each * self.cts as f64
    }

    /// Bytes that it works with besides its operands.
    pub fn working_bytes(&self, costs: &Costs) -> u64 {
        match &self.work {
            Work::Linear(_, size) => costs.transform_bytes(size, self.level),
            Work::Bootstrap(work) => work.working_bytes(costs),
            Work::Relinearize { .. } | Work::Rotate | Work::Poly(_) => costs.key_switch_bytes(self.level),
            _ => 0,
        }
    }

    /// Plaintexts that are encoded ahead.
    pub fn plaintexts(&self, costs: &Costs) -> Plaintexts {
        let (count, limbs) = match &self.work {
            Work::AddPlain | Work::MulPlain => (self.cts, self.level + 1),
            Work::Linear(_, size) => (size.diagonals, costs.diagonal_limbs(size, self.level)),
            _ => (0, 0),
        };
        Plaintexts {
            count,
            limbs,
            numbers: self.plaintext_period,
        }
    }
}

fn work(
    graph: &Graph<Ckks>,
    node: &Node<Ckks>,
    rescaled_at_once: bool,
    before: &[WorkItem],
    memo: &Memo,
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
            Work::Relinearize { rescales: true } | Work::Linear(..) => Work::Free,
            _ => Work::Rescale { parts },
        },
        CkksOp::DropLevel { .. } => Work::DropLevel,
        CkksOp::Rotate { .. } => Work::Rotate,
        CkksOp::LinearTransform { .. } => {
            let shape = transform_shape(graph, node, memo)?;
            let size = TransformSize::of(&shape).with_numbers(plaintext_period(node));
            Work::Linear(shape, size)
        }
        CkksOp::PolyEval { poly, .. } => Work::Poly(polynomial_plan(node, poly)?),
        CkksOp::Bootstrap { .. } => unreachable!("planned by the bootstraps of the program"),
    })
}

/// The period of the plaintexts of an op.
fn plaintext_period(node: &Node<Ckks>) -> usize {
    match &node.op {
        CkksOp::AddPlain { layout, .. } | CkksOp::MulPlain { layout, .. } => layout.period,
        CkksOp::LinearTransform { kernel, input, .. } => transform_period(kernel, input),
        _ => node.ty.slots,
    }
}

/// The period of the diagonals of `kernel` on `input`.
pub fn transform_period(kernel: &Kernel, input: &Layout) -> usize {
    let block = kernel.fold.last().map_or(kernel.output.period, |last| 2 * last);
    block.max(input.period)
}

/// Most limbs of ciphertexts alive at the same time, when ops run in order.
fn live_limbs(graph: &Graph<Ckks>) -> u64 {
    let limbs = |id: ValueId| {
        let ty = graph.ty(id);
        (ty.cts * (ty.degree as usize + 1) * (ty.level as usize + 1)) as u64
    };
    let mut is_read = vec![false; graph.len()];
    graph
        .outputs()
        .iter()
        .for_each(|output| is_read[output.value.index()] = true);
    let mut alive: u64 = graph.outputs().iter().map(|output| limbs(output.value)).sum();
    let mut most = alive;
    for (id, node) in graph.iter().rev() {
        if !std::mem::replace(&mut is_read[id.index()], true) {
            continue;
        }
        for x in node.op.operands() {
            if !std::mem::replace(&mut is_read[x.index()], true) {
                alive += limbs(x);
            }
        }
        most = most.max(alive);
        alive = alive.saturating_sub(limbs(id));
    }
    most
}

/// The runtime's shape of a linear transform, without its rotate-and-sum.
fn transform_shape(graph: &Graph<Ckks>, node: &Node<Ckks>, memo: &Memo) -> Result<LinearTransform, PassError> {
    let CkksOp::LinearTransform {
        kernel, input, bsgs, ..
    } = &node.op
    else {
        unreachable!("called for linear transforms");
    };
    let set = memo.diagonals(kernel, input, &graph.constants)?;
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
