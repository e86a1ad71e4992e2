//! What every op of a program costs at every level, for any parameters.

use super::problem::{Problem, Step};
use crate::bsgs::{self, RotationCost};
use crate::cost_model::{Bootstraps, CostTable, Costs, LimbOps, TransformSize, transform_period};
use crate::lower_to_ckks::{PolyPlan, consumption, doublings};
use crate::{Memo, PassError};
use aphelion_ir::slot::{Basis, Kernel, Layout, Polynomial, Slot, SlotOp};
use aphelion_ir::{ConstantPool, Graph, Op, Origin, ValueId};
use aphelion_runtime::ckks::polynomial as runtime;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A part of the work of an op.
#[derive(Clone, Debug)]
enum Part {
    /// Additions of this many polynomials.
    Add(u32),
    /// Product of two ciphertexts, relinearised and rescaled.
    Product { is_square: bool },
    /// Product with a plaintext or a scalar, rescaled.
    Plain,
    /// Rotation.
    Rotate,
    /// Linear transform of the whole bundle.
    Transform(TransformSize),
    /// Polynomial.
    Poly(runtime::PolynomialPlan),
}

/// The work of an op.
#[derive(Clone, Debug)]
struct Work {
    value: ValueId,
    /// Parts, and how far above its result's level each is done.
    parts: Vec<(Part, u32)>,
    consumption: u32,
    cts: usize,
    period: usize,
}

/// The live ops of a program.
pub(super) struct Program {
    work: Vec<Work>,
    operands: Vec<Vec<usize>>,
    outputs: Vec<usize>,
}

impl Program {
    /// Walks all matrices of `graph` once.
    ///
    /// # Errors
    /// When a constant cannot be read.
    pub(super) fn new(graph: &Graph<Slot>, rotation: &RotationCost, memo: &Memo) -> Result<Self, PassError> {
        let live = graph.live();
        let ids: Vec<ValueId> = graph.iter().map(|(id, _)| id).filter(|id| live[id.index()]).collect();
        let position: BTreeMap<ValueId, usize> = ids.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        let work = ids.par_iter().map(|id| work_of(graph, *id, rotation, memo));
        let operands = ids.iter().map(|id| {
            let operands: BTreeSet<usize> = graph.op(*id).operands().iter().map(|x| position[x]).collect();
            operands.into_iter().collect()
        });
        Ok(Program {
            work: work.collect::<Result<_, _>>()?,
            operands: operands.collect(),
            outputs: graph.outputs().iter().map(|output| position[&output.value]).collect(),
        })
    }

    /// The value of a step.
    pub(super) fn value(&self, step: usize) -> ValueId {
        self.work[step].value
    }

    /// Most levels that a single op consumes.
    pub(super) fn deepest_op(&self) -> u32 {
        self.work.iter().map(|work| work.consumption).max().unwrap_or(0)
    }

    /// Largest period, and whether any value has several ciphertexts.
    pub(super) fn widest(&self) -> (usize, bool) {
        let periods = self.work.iter().map(|work| work.period);
        (periods.max().unwrap_or(1), self.work.iter().any(|work| work.cts > 1))
    }

    /// As [`Program::widest`], of the values that are bootstrapped.
    pub(super) fn widest_of(&self, is_bootstrapped: &[bool]) -> (usize, bool) {
        let chosen = || self.work.iter().zip(is_bootstrapped).filter(|(_, is)| **is);
        let periods = chosen().map(|(work, _)| work.period);
        (periods.max().unwrap_or(1), chosen().any(|(work, _)| work.cts > 1))
    }

    /// The problem of placing bootstraps under given parameters; costs are seconds on one thread.
    ///
    /// # Errors
    /// When the ring has too few slots.
    pub(super) fn problem(
        &self,
        costs: &Costs,
        table: &CostTable,
        bootstraps: &Bootstraps<'_>,
        (input_level, levels): (u32, u32),
    ) -> Result<Problem, PassError> {
        let seconds = |ops: LimbOps| table.seconds(costs.log_n, &ops);
        let mut prices: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        for work in &self.work {
            let kind = (work.period, work.cts);
            if let std::collections::btree_map::Entry::Vacant(entry) = prices.entry(kind) {
                entry.insert(seconds(bootstraps.work(work.period, work.cts)?.limb_ops(costs)));
            }
        }
        let steps = self.work.iter().zip(&self.operands).map(|(work, operands)| {
            let mut cost: Vec<f64> = Vec::with_capacity(levels as usize + 1);
            for level in 0..=levels {
                let here = seconds(work.limb_ops(costs, level));
                // More limbs are never cheaper; where a digit more or less makes it seem so, neither price is exact.
                cost.push(cost.last().map_or(here, |below: &f64| below.max(here)));
            }
            Step {
                operands: operands.clone(),
                consumption: work.consumption,
                cost,
                bootstrap: prices[&(work.period, work.cts)],
            }
        });
        Ok(Problem {
            steps: steps.collect(),
            outputs: self.outputs.clone(),
            levels,
            input_level,
        })
    }
}

impl Work {
    fn limb_ops(&self, costs: &Costs, level: u32) -> LimbOps {
        let part = |(part, above): &(Part, u32)| {
            let level = level + above;
            let each = match part {
                Part::Add(parts) => costs.add(level, *parts),
                Part::Product { is_square } => costs.tensor(level, *is_square) + costs.relinearize_rescale(level),
                Part::Plain => costs.multiply_plain(level, 2) + costs.rescale(level, 2),
                Part::Rotate => costs.rotate(level) + costs.add(level, 2),
                Part::Transform(size) => return costs.linear_transform(size, level),
                Part::Poly(plan) => costs.poly_eval(plan, level),
            };
            each * self.cts as f64
        };
        self.parts.iter().map(part).sum()
    }
}

fn work_of(graph: &Graph<Slot>, id: ValueId, rotation: &RotationCost, memo: &Memo) -> Result<Work, PassError> {
    let node = graph.node(id);
    let parts = match &node.op {
        SlotOp::Input { .. } | SlotOp::Bootstrap { .. } | SlotOp::Rotate { by: 0, .. } => vec![],
        SlotOp::Add { .. } | SlotOp::Sub { .. } | SlotOp::Neg { .. } => vec![(Part::Add(2), 0)],
        SlotOp::AddPlain { .. } | SlotOp::AddScalar { .. } => vec![(Part::Add(1), 0)],
        SlotOp::Mul { a, b } => vec![(Part::Product { is_square: a == b }, 1)],
        SlotOp::MulPlain { .. } => vec![(Part::Plain, 1)],
        SlotOp::MulScalar { by, .. } => scalar(*by),
        SlotOp::Rotate { .. } => vec![(Part::Rotate, 0)],
        SlotOp::Linear { x, kernel } => {
            let size = transform_size(kernel, graph.ty(*x), &graph.constants, rotation, memo)?;
            let mut parts = vec![(Part::Transform(size), 1)];
            parts.extend(kernel.fold.iter().map(|_| (Part::Rotate, 0)));
            parts
        }
        SlotOp::Poly { poly, .. } => polynomial(&PolyPlan::new(poly), &node.origin)?,
    };
    Ok(Work {
        value: id,
        parts,
        consumption: consumption(&node.op),
        cts: node.ty.cts,
        period: node.ty.period,
    })
}

/// A product with a scalar.
fn scalar(by: f64) -> Vec<(Part, u32)> {
    match doublings(by) {
        Some((n, _)) => vec![(Part::Add(2 * n), 0)],
        None => vec![(Part::Plain, 1)],
    }
}

fn polynomial(plan: &PolyPlan, origin: &Origin) -> Result<Vec<(Part, u32)>, PassError> {
    Ok(match plan {
        PolyPlan::Constant(_) => vec![(Part::Add(2), 0)],
        PolyPlan::Affine { factor, .. } => scalar(*factor),
        PolyPlan::Square { .. } => vec![(Part::Product { is_square: true }, 1)],
        PolyPlan::Quartic { linear, .. } => {
            let mut parts = vec![
                (Part::Product { is_square: true }, 2),
                (Part::Product { is_square: false }, 1),
            ];
            if *linear != 0.0 {
                parts.extend(scalar(*linear));
            }
            parts
        }
        PolyPlan::Eval { factor, poly, .. } => {
            let depth = poly.depth() as u32;
            let mut parts = vec![(Part::Poly(evaluation(poly, origin)?), depth)];
            if *factor != 1.0 {
                parts.extend(scalar(*factor).into_iter().map(|(part, above)| (part, above + depth)));
            }
            parts
        }
    })
}

fn evaluation(poly: &Polynomial, origin: &Origin) -> Result<runtime::PolynomialPlan, PassError> {
    let basis = match poly.basis {
        Basis::Chebyshev {} => runtime::Basis::Chebyshev,
        Basis::Monomial {} => runtime::Basis::Monomial,
    };
    runtime::Polynomial::new(basis, poly.coeffs.clone())
        .map(runtime::PolynomialPlan::new)
        .map_err(|error| PassError::unsupported(origin, error.to_string()))
}

fn transform_size(
    kernel: &Kernel,
    input: &Layout,
    constants: &ConstantPool,
    rotation: &RotationCost,
    memo: &Memo,
) -> Result<TransformSize, PassError> {
    let set = memo.diagonals(kernel, input, constants)?;
    let plan = bsgs::choose(&set, rotation);
    Ok(TransformSize {
        diagonals: plan.n_plains,
        hoists: plan.n_hoists,
        babies: plan.n_babies,
        giants: plan.n_giants,
        outputs: kernel.output.cts,
        numbers: transform_period(kernel, input),
    })
}
