//! What a page about a plan shows: every instruction with its layer, its levels, and its predicted and measured time.
//!
//! Predictions are the cost model's prices of single instructions, scaled so that they add up to the plan's own prediction.

use std::collections::BTreeMap;

use aphelion_ir::ckks::{ParameterSpec, Secret};
use aphelion_passes::cost_model::{Bootstraps, CostTable, Costs, LimbOps, ShapeCache, TransformSize};
use aphelion_passes::parameters::gadgets_of;
use aphelion_runtime::ckks::linear::{DiagonalIdx, LinearTransform};
use aphelion_runtime::ckks::params::Parameters;
use aphelion_runtime::ckks::polynomial::PolynomialPlan;
use aphelion_runtime::exec::Schedule;
use aphelion_runtime::plan::{Op, Plan, Transform};

use super::measured::Measured;
use crate::report::PlanReport;

/// What an instruction belongs to on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Matrices.
    Linear,
    /// Rotations and conjugations.
    Rotate,
    /// Polynomials.
    Polynomial,
    /// Products of ciphertexts and their relinearisations.
    Product,
    /// Products with plaintexts and scalars.
    Scale,
    /// Rescales and drops to lower levels.
    Rescale,
    /// Sums and differences.
    Add,
    /// Bootstraps.
    Bootstrap,
}

impl Kind {
    /// All kinds in the order of legends.
    pub const ALL: [Self; 8] = [
        Self::Linear,
        Self::Rotate,
        Self::Polynomial,
        Self::Product,
        Self::Scale,
        Self::Rescale,
        Self::Add,
        Self::Bootstrap,
    ];

    /// The kind of an op.
    #[must_use]
    pub fn of(op: &Op) -> Self {
        match op {
            Op::LinearTransform { .. } => Self::Linear,
            Op::Rotate { .. } | Op::Conjugate { .. } => Self::Rotate,
            Op::PolyEval { .. } => Self::Polynomial,
            Op::Mul { .. } | Op::Relinearize { .. } | Op::RelinearizeRescale { .. } => Self::Product,
            Op::MulPlain { .. } | Op::MulScalar { .. } => Self::Scale,
            Op::Rescale { .. } | Op::DropLevel { .. } => Self::Rescale,
            Op::Add { .. } | Op::Sub { .. } | Op::Neg { .. } | Op::AddPlain { .. } | Op::AddScalar { .. } => Self::Add,
            Op::Bootstrap { .. } => Self::Bootstrap,
        }
    }

    /// Name in legends.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear transforms",
            Self::Rotate => "rotations",
            Self::Polynomial => "polynomials",
            Self::Product => "products of ciphertexts",
            Self::Scale => "products with plaintexts",
            Self::Rescale => "rescales and level drops",
            Self::Add => "additions",
            Self::Bootstrap => "bootstraps",
        }
    }

    /// Name of its colour in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Linear => "k-linear",
            Self::Rotate => "k-rotate",
            Self::Polynomial => "k-poly",
            Self::Product => "k-product",
            Self::Scale => "k-scale",
            Self::Rescale => "k-rescale",
            Self::Add => "k-add",
            Self::Bootstrap => "k-boot",
        }
    }
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Index of its layer in the report.
    pub layer: usize,
    /// What it belongs to.
    pub kind: Kind,
    /// Name of its op.
    pub op: &'static str,
    /// Level it works at: that of its operands, or the lower one that they are taken down to.
    pub level_in: usize,
    /// Level of its results.
    pub level_out: usize,
    /// Predicted seconds; parts of the whole where the plan predicts nothing.
    pub predicted: f64,
    /// Measured seconds.
    pub measured: Option<f64>,
}

/// Everything on the page.
pub struct Analysis<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its parameters.
    pub params: &'a Parameters,
    /// Its report.
    pub report: PlanReport,
    /// Instructions in program order.
    pub steps: Vec<Step>,
    /// Times of real runs.
    pub measured: Option<Measured>,
}

impl<'a> Analysis<'a> {
    /// Looks at `plan` under its `params`, priced by `table`, with measurements if there are some.
    #[must_use]
    pub fn new(plan: &'a Plan, params: &'a Parameters, table: &CostTable, measured: Option<Measured>) -> Self {
        let program = plan.program();
        let schedule = Schedule::new(plan);
        let prices = Prices::new(plan, params, table, &schedule);
        let total: f64 = prices.seconds.iter().sum();
        let scale = program.report.predicted_evaluate_s.unwrap_or(1.0) / total.max(f64::MIN_POSITIVE);
        let mut layer_of = BTreeMap::new();
        let step = |(number, instruction): (usize, &aphelion_runtime::plan::Instruction)| {
            let next = layer_of.len();
            let result = plan.types()[schedule.results(number).start].level;
            Step {
                layer: *layer_of.entry(instruction.origin).or_insert(next),
                kind: Kind::of(&instruction.op),
                op: instruction.op.name(),
                level_in: working_level(plan, &instruction.op),
                level_out: result,
                predicted: prices.seconds[number] * scale,
                measured: measured.as_ref().map(|measured| measured.instructions[number]),
            }
        };
        let steps = program.instructions.iter().enumerate().map(step).collect();
        Analysis {
            plan,
            params,
            report: PlanReport::new(plan, params),
            steps,
            measured,
        }
    }

    /// Sum of the predicted seconds.
    #[must_use]
    pub fn predicted(&self) -> f64 {
        self.steps.iter().map(|step| step.predicted).sum()
    }

    /// Predicted and measured seconds of the steps that `choose` takes.
    pub(super) fn seconds(&self, choose: impl Fn(&Step) -> bool) -> (f64, Option<f64>) {
        let chosen = || self.steps.iter().filter(|step| choose(step));
        let measured = chosen().map(|step| step.measured).sum();
        (
            chosen().map(|step| step.predicted).sum(),
            self.measured.as_ref().and(measured),
        )
    }

    /// A predicted time, or a share where the plan predicts no time.
    pub(super) fn quantity(&self, predicted: f64) -> String {
        match self.report.plan.predicted_evaluate_s {
            Some(_) => crate::units::seconds(predicted),
            None => format!("{:.1} %", 100.0 * predicted),
        }
    }
}

/// The level an op works at.
fn working_level(plan: &Plan, op: &Op) -> usize {
    let operands = op.operands();
    let highest = operands
        .iter()
        .map(|register| plan.types()[register.index()].level)
        .max();
    let highest = highest.unwrap_or(0);
    match op {
        Op::MulPlain { level, .. }
        | Op::MulScalar { level, .. }
        | Op::LinearTransform { level, .. }
        | Op::PolyEval { level, .. } => *level,
        Op::DropLevel { to, .. } => to + 1,
        _ => highest,
    }
}

/// Prices of the instructions of a plan, on one thread.
struct Prices {
    seconds: Vec<f64>,
}

impl Prices {
    fn new(plan: &Plan, params: &Parameters, table: &CostTable, schedule: &Schedule) -> Self {
        let costs = costs(params);
        let shapes = ShapeCache::default();
        let bootstrapping = plan.program().bootstrap.as_ref();
        let chain = bootstrapping.and_then(|bootstrapping| bootstrapping.plan(&plan.client().parameters).ok());
        let bootstraps = chain.as_ref().map(|chain| Bootstraps::new(chain, &shapes));
        let price = |ops: LimbOps| table.seconds(params.log_n(), &ops);
        let instructions = &plan.program().instructions;
        let known: Vec<Option<f64>> = instructions
            .iter()
            .map(|instruction| {
                let ops = limb_ops(plan, &costs, bootstraps.as_ref(), &instruction.op)?;
                let shared = match &instruction.op {
                    // All steps of one instruction share the digits of their operand.
                    Op::Rotate { by, .. } => {
                        let level = working_level(plan, &instruction.op) as u32;
                        costs.rotation_cost(level, table).hoist * (by.len() - 1) as f64
                    }
                    _ => 0.0,
                };
                Some(price(ops) - shared)
            })
            .collect();
        // What the model cannot price has the executor's weight, in seconds per weight of all else.
        let weights = schedule.weights();
        let pairs = || {
            known
                .iter()
                .zip(weights)
                .filter_map(|(price, weight)| Some(((*price)?, *weight)))
        };
        let (priced, weight) = pairs().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
        let per_weight = if weight > 0.0 { priced / weight } else { 1.0 };
        let seconds = known.iter().zip(weights);
        Prices {
            seconds: seconds
                .map(|(price, weight)| price.unwrap_or(weight * per_weight))
                .collect(),
        }
    }
}

/// The cost model's counts under the parameters of a plan.
fn costs(params: &Parameters) -> Costs {
    Costs::new(&ParameterSpec {
        log_n: params.log_n(),
        max_level: params.max_level() as u32,
        log_scale: params.literal().log_scale as u32,
        log_q0: params.q()[0].ilog2() + 1,
        dnum: params.literal().dnum as u32,
        log_special: params.p().first().map_or(0, |prime| prime.ilog2() + 1),
        n_special: params.p().len() as u32,
        gadgets: Some(gadgets_of(params.literal())),
        secret: Secret::UniformTernary {},
        bootstrap: None,
    })
}

/// Operations on limbs of one op; `None` for one that the cost model cannot price.
fn limb_ops(plan: &Plan, costs: &Costs, bootstraps: Option<&Bootstraps<'_>>, op: &Op) -> Option<LimbOps> {
    let ty = |register: &aphelion_runtime::plan::Register| plan.types()[register.index()];
    let level = working_level(plan, op) as u32;
    let parts = op.operands().first().map_or(2, |register| ty(register).parts) as u32;
    Some(match op {
        Op::Add { .. } | Op::Sub { .. } | Op::Neg { .. } => costs.add(level, parts),
        Op::AddPlain { .. } | Op::AddScalar { .. } => costs.add(level, 1),
        Op::MulPlain { .. } | Op::MulScalar { .. } => costs.multiply_plain(level, 2),
        Op::Mul { a, b } => costs.tensor(level, a == b),
        Op::Relinearize { .. } => costs.key_switch(level) + costs.add(level, 2),
        Op::RelinearizeRescale { .. } => costs.relinearize_rescale(level),
        Op::Rescale { .. } => costs.rescale(level, parts),
        Op::DropLevel { .. } => costs.multiply_plain(level, 2) + costs.rescale(level, 2),
        Op::Rotate { by, .. } => costs.rotate(level) * by.len() as f64,
        Op::Conjugate { .. } => costs.rotate(level),
        Op::LinearTransform { transform, .. } => {
            let transform = &plan.program().transforms[*transform];
            let periods = transform
                .diagonals
                .iter()
                .map(|diagonal| plan.constants().period(diagonal.vector));
            let size = TransformSize::of(&shape(transform)?).with_numbers(periods.flatten().max().unwrap_or(0));
            costs.linear_transform(&size, level)
        }
        Op::PolyEval { polynomial, .. } => {
            let polynomial = plan.program().polynomials[*polynomial].clone();
            costs.poly_eval(&PolynomialPlan::new(polynomial), level)
        }
        Op::Bootstrap { xs, slots } => bootstraps?.work(*slots, xs.len()).ok()?.limb_ops(costs),
    })
}

fn shape(transform: &Transform) -> Option<LinearTransform> {
    let place = |diagonal: &aphelion_runtime::plan::Diagonal| DiagonalIdx {
        out: diagonal.out,
        giant: diagonal.giant,
        input: diagonal.input,
        baby: diagonal.baby,
    };
    let diagonals = transform.diagonals.iter().map(place).collect();
    LinearTransform::new(
        transform.slots,
        transform.n_inputs,
        transform.n_outputs,
        diagonals,
        Vec::new(),
    )
    .ok()
}
