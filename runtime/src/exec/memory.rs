//! What a server takes of memory, by use.
//!
//! Assumes a checked plan. Ensures figures that are exact for what is held (keys, plaintexts) and estimates, on the high side,
//! for what comes and goes: instructions that wait for equally long chains of others are taken to run at the same time, as
//! many as there are threads.

use std::collections::BTreeMap;

use serde::Serialize;

use super::schedule::Schedule;
use crate::ckks::boot::{BootstrapPlan, Bootstrapper};
use crate::ckks::eval::{DIAGONALS_AT_ONCE, Evaluator};
use crate::ckks::linear::LinearTransform;
use crate::ckks::params::Parameters;
use crate::ckks::polynomial::PolynomialPlan;
use crate::error::Result;
use crate::plan::{BootstrapKind, Counts, Op, Plan};

/// Buffers that wait to be used again may take one over this of what instructions work with: with less, memory goes back to the
/// system and is asked for again all the time.
pub(super) const IDLE_PART: u64 = 2;

/// When plaintexts are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Before anything runs.
    Ahead,
    /// Whenever they are used; those of one instruction take so many bytes at most.
    AtUse(u64),
}

/// Bytes by use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MemoryUse {
    /// Evaluation keys; those of a file while they are in use.
    pub keys: u64,
    /// Diagonals of bootstraps.
    pub bootstraps: u64,
    /// Plaintexts of the program that are encoded ahead.
    pub weights: u64,
    /// Other polynomials under the same parameters, such as a client's in the same process.
    pub others: u64,
    /// Ciphertexts alive at once, at most.
    pub ciphertexts: u64,
    /// What the hungriest instructions take besides.
    pub working: u64,
    /// Numbers of plaintexts that are encoded when they are used.
    pub constants: u64,
    /// What is kept to be used again, instead of being returned to the system.
    pub idle: u64,
}

impl MemoryUse {
    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.least() + self.idle + self.weights
    }

    /// What is needed even if every plaintext is encoded when it is used.
    #[must_use]
    pub fn least(&self) -> u64 {
        self.keys + self.bootstraps + self.others + self.ciphertexts + self.working + self.constants
    }
}

/// Ingredients of the estimates.
pub(super) struct Estimator<'a> {
    pub plan: &'a Plan,
    pub evaluator: &'a Evaluator,
    pub shapes: &'a [LinearTransform],
    pub polynomials: &'a [PolynomialPlan],
    pub bootstrappers: &'a BTreeMap<BootstrapKind, Bootstrapper>,
}

impl Estimator<'_> {
    /// All but the weights and what is idle.
    pub(super) fn without_weights(&self, schedule: &Schedule, encoding: Encoding) -> Result<MemoryUse> {
        let diagonals = self.bootstrappers.values().map(Bootstrapper::diagonal_bytes);
        let keys = self.evaluator.keys().memory_bytes() as u64;
        let bootstraps = diagonals.sum::<usize>() as u64;
        let pool = self.params().ring().pool();
        let mapped = self.evaluator.keys().mapped_bytes();
        let held = (pool.bytes() + mapped - pool.idle_bytes()) as u64;
        Ok(MemoryUse {
            keys,
            bootstraps,
            weights: 0,
            others: held.saturating_sub(keys + bootstraps),
            ciphertexts: schedule.peak_limbs(self.plan.types()) as u64 * self.limb_bytes(),
            working: self.working_at_once(schedule, rayon::current_num_threads(), encoding)?,
            constants: 0,
            idle: 0,
        })
    }

    /// The largest sum over instructions that run at the same time.
    fn working_at_once(&self, schedule: &Schedule, threads: usize, encoding: Encoding) -> Result<u64> {
        let mut depths: Vec<usize> = Vec::new();
        let mut by_depth: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for (number, instruction) in self.plan.program().instructions.iter().enumerate() {
            let producers = schedule.operands[number].iter();
            let producers = producers.filter_map(|operand| schedule.producer(*operand));
            let depth = producers.map(|producer| depths[producer] + 1).max().unwrap_or(0);
            depths.push(depth);
            by_depth
                .entry(depth)
                .or_default()
                .push(self.working(&instruction.op, encoding)?);
        }
        let largest = by_depth.into_values().map(|mut together| {
            together.sort_unstable_by(|a, b| b.cmp(a));
            together.into_iter().take(threads).sum::<u64>()
        });
        Ok(largest.max().unwrap_or(0))
    }

    fn params(&self) -> &Parameters {
        self.evaluator.params()
    }

    fn limb_bytes(&self) -> u64 {
        (self.params().n() * size_of::<u64>()) as u64
    }

    /// Two parts over the primes of `level` and the special ones.
    fn raised_pair(&self, level: usize) -> u64 {
        2 * self.params().ring().limb_count(self.params().raised_basis(level)) as u64 * self.limb_bytes()
    }

    /// The digits of a key switch, its result and what it becomes.
    fn key_switch(&self, level: usize) -> u64 {
        (self.params().digits(level) as u64 / 2 + 3) * self.raised_pair(level)
    }

    fn working(&self, op: &Op, encoding: Encoding) -> Result<u64> {
        let level_of = |register: &crate::plan::Register| self.plan.types()[register.index()].level;
        Ok(match op {
            Op::LinearTransform { xs, transform, level } => {
                let shape = &self.shapes[*transform];
                let scale = self.params().scale(level_of(&xs[0]));
                let basis = self.evaluator.diagonal_encoding(shape, *level, scale)?.basis;
                let pair = 2 * self.params().ring().limb_count(basis) as u64 * self.limb_bytes();
                // A plaintext is at most half of a pair.
                let waiting = match encoding {
                    Encoding::Ahead => 0,
                    Encoding::AtUse(largest) => {
                        let most = self.evaluator.lazy_diagonal_bytes() as u64 + DIAGONALS_AT_ONCE as u64 * pair / 2;
                        most.min(largest)
                    }
                };
                self.evaluator.transform_bytes(shape, basis) as u64 + waiting + 2 * self.key_switch(*level)
            }
            Op::PolyEval { polynomial, level, .. } => self.polynomial(&self.polynomials[*polynomial], *level),
            Op::Bootstrap { xs, slots } => {
                let bootstrap = &self.plan.bootstraps()[&BootstrapKind::new(*slots, xs.len())];
                self.bootstrap(bootstrap)
            }
            other if Counts::of_op(self.plan.program(), other) == Counts::default() => 0,
            other => {
                let level = other.operands().iter().map(level_of).max().unwrap_or(0);
                self.key_switch(level)
            }
        })
    }

    /// Powers, of which a few sums are added up at a time.
    fn polynomial(&self, plan: &PolynomialPlan, level: usize) -> u64 {
        (plan.powers().len() as u64 + 4) * self.raised_pair(level) + self.key_switch(level)
    }

    /// The sums of giant steps of the first transform and the digits of its input, at the top; or the reduction.
    fn bootstrap(&self, plan: &BootstrapPlan) -> u64 {
        // A factor that is applied while raising has none.
        let stages = plan.ordinary_stages().iter().copied().max().unwrap_or(0);
        let giants = (2.0 * (1u64 << stages) as f64).sqrt().ceil() as u64;
        let top = plan.raised_level();
        let transform = giants * self.raised_pair(top) + 3 * self.key_switch(top);
        transform.max(self.polynomial(plan.eval_mod().cosine(), plan.ladder()[0]))
    }
}
