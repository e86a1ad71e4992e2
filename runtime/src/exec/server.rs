//! A plan with its evaluation keys and plaintexts, ready to run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, RangeInclusive};
use std::path::Path;
use std::sync::Arc;

use super::checkpoint::{Checkpoint, Identity};
use super::memory::{Encoding, Estimator, IDLE_PART, MemoryUse};
use super::profile::{Profile, Progress};
use super::run::Run;
use super::schedule::Schedule;
use super::weights::{Wanted, Weights};
use crate::ckks::Ciphertext;
use crate::ckks::boot::Bootstrapper;
use crate::ckks::eval::Evaluator;
use crate::ckks::keys::{EvaluationKeys, KeyPurpose};
use crate::ckks::linear::LinearTransform;
use crate::ckks::params::Parameters;
use crate::ckks::polynomial::PolynomialPlan;
use crate::error::{Error, Result};
use crate::plan::client::check_parameters;
use crate::plan::{BootstrapKind, CipherType, Op, Plan, Program, ScalePower, shape_of};

/// How a server uses its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerOptions {
    /// Bytes that polynomials under the plan's parameters may take in all: keys, what evaluations need, and as many plaintexts
    /// encoded ahead as are left room for; the others are encoded whenever they are used. Buffers that are set aside to be used
    /// again are kept within it, too.
    pub memory_bytes: u64,
    /// Whether profiles hold processor times and the course of memory, which takes some milliseconds an evaluation.
    pub traced: bool,
}

impl Default for ServerOptions {
    /// No limit.
    fn default() -> Self {
        Self {
            memory_bytes: u64::MAX,
            traced: false,
        }
    }
}

/// Bytes that the rotated inputs of one linear transform may take: one eighth of all memory, within these bounds.
const TRANSFORM_PART: u64 = 8;
const TRANSFORM_BYTES: RangeInclusive<u64> = 64 << 20..=1 << 30;

/// Result of one evaluation.
pub struct Evaluation {
    /// The ciphertexts of all outputs in turn.
    pub outputs: Vec<Ciphertext>,
    /// What it took.
    pub profile: Profile,
}

/// Runs one plan, for any number of inputs and from several threads.
pub struct Server {
    pub(super) plan: Plan,
    pub(super) evaluator: Arc<Evaluator>,
    pub(super) shapes: Vec<LinearTransform>,
    pub(super) polynomials: Vec<PolynomialPlan>,
    pub(super) schedule: Schedule,
    pub(super) weights: Weights,
    pub(super) bootstrappers: BTreeMap<BootstrapKind, Bootstrapper>,
    pub(super) options: ServerOptions,
    /// For every instruction, the mapped keys that it uses.
    pub(super) keys_used: Vec<Arc<BTreeSet<KeyPurpose>>>,
    memory: MemoryUse,
}

/// For every instruction, the keys that it uses, if keys are mapped from a file.
fn keys_used(plan: &Plan, evaluator: &Evaluator) -> Vec<Arc<BTreeSet<KeyPurpose>>> {
    if evaluator.keys().mapped_bytes() == 0 {
        return Vec::new();
    }
    let mut of_bootstraps: BTreeMap<BootstrapKind, Arc<BTreeSet<KeyPurpose>>> = BTreeMap::new();
    let instructions = plan.program().instructions.iter();
    instructions
        .map(|instruction| match &instruction.op {
            Op::Bootstrap { xs, slots } => {
                let kind = BootstrapKind::new(*slots, xs.len());
                let known = of_bootstraps.entry(kind);
                Arc::clone(known.or_insert_with(|| Arc::new(plan.keys_of(&instruction.op))))
            }
            op => Arc::new(plan.keys_of(op)),
        })
        .collect()
}

impl Server {
    /// Checks the keys against the plan and encodes plaintexts ahead.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`] for keys of other parameters; a missing key; constants that cannot be read or
    /// encoded; [`Error::NotEnoughMemory`] when there is none even for what has to be held.
    pub fn new(plan: Plan, keys: EvaluationKeys, options: &ServerOptions) -> Result<Self> {
        check_parameters(
            "the set of evaluation keys",
            &plan.client().parameters,
            keys.params().literal(),
        )?;
        for (purpose, level) in plan.client().keys.keys(keys.params().key_bands()) {
            keys.get(purpose, level)?;
        }
        if let Some(needed) = &plan.client().keys.encapsulation {
            keys.encapsulation(needed)?;
        }
        let part = options.memory_bytes / TRANSFORM_PART;
        let transform_bytes = part.clamp(*TRANSFORM_BYTES.start(), *TRANSFORM_BYTES.end());
        let evaluator = Evaluator::new(keys).with_transform_memory(transform_bytes as usize);
        let evaluator = Arc::new(evaluator);
        let shapes: Vec<_> = plan.program().transforms.iter().map(shape_of).collect::<Result<_>>()?;
        let polynomials: Vec<_> = plan
            .program()
            .polynomials
            .iter()
            .cloned()
            .map(PolynomialPlan::new)
            .collect();
        // What was set aside while keys were made is of other sizes than what is kept.
        let ring = Arc::clone(evaluator.params().ring());
        ring.pool().trim();
        let bootstrappers: BTreeMap<_, _> = plan
            .bootstraps()
            .iter()
            .map(|(kind, plan)| Ok((*kind, Bootstrapper::new(plan.clone(), Arc::clone(&evaluator))?)))
            .collect::<Result<_>>()?;
        let schedule = Schedule::new(&plan);
        let estimator = Estimator {
            plan: &plan,
            evaluator: &evaluator,
            shapes: &shapes,
            polynomials: &polynomials,
            bootstrappers: &bootstrappers,
        };
        let wanted = Wanted::new(&plan, &shapes, &evaluator)?;
        let allowed = options.memory_bytes;
        ring.pool().trim();
        let mut memory = estimator.without_weights(&schedule, Encoding::Ahead)?;
        memory.idle = memory.working / IDLE_PART;
        if memory.total().saturating_add(wanted.all_bytes()) > allowed {
            memory = estimator.without_weights(&schedule, Encoding::AtUse(wanted.largest()))?;
            memory.constants = wanted.constant_bytes();
            if memory.least() > allowed {
                return Err(Error::NotEnoughMemory {
                    needed: memory.least(),
                    allowed,
                });
            }
            // half of what is left at most: the rest is for weights
            memory.idle = (memory.working / IDLE_PART).min((allowed - memory.least()) / 2);
        }
        let weights = wanted.encode(&plan, &evaluator, allowed - memory.total())?;
        memory.weights = weights.bytes();
        memory.working += weights.reserved_bytes();
        ring.pool().trim();
        let masks = evaluator.keys().mask_bytes() as u64;
        if memory.total().saturating_add(masks) <= allowed {
            evaluator.keys().keep_masks();
            memory.keys += masks;
        }
        let server = Self {
            keys_used: keys_used(&plan, &evaluator),
            schedule,
            plan,
            evaluator,
            shapes,
            polynomials,
            weights,
            bootstrappers,
            options: *options,
            memory,
        };
        server.limit_memory(options.memory_bytes);
        Ok(server)
    }

    /// From now on, polynomials take no more than so many bytes, those of mapped keys included, as long as there are buffers to
    /// return to the system.
    pub fn limit_memory(&self, bytes: u64) {
        let mapped = self.evaluator.keys().mapped_bytes() as u64;
        let bytes = usize::try_from(bytes.saturating_sub(mapped)).unwrap_or(usize::MAX);
        self.params().ring().pool().set_limit(bytes);
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The encryption parameters.
    #[must_use]
    pub fn params(&self) -> &Arc<Parameters> {
        self.evaluator.params()
    }

    /// The plaintexts.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// What it takes of memory: held, and at most during an evaluation.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        self.memory
    }

    /// The dependencies of the program.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Evaluates the program on one sample: the ciphertexts of all inputs in turn. Runs on the current rayon pool;
    /// `progress` is called after every instruction, from its threads.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for ciphertexts that are not what the plan takes; otherwise the error of the first
    /// instruction that failed.
    pub fn evaluate(&self, inputs: &[Ciphertext], progress: &(dyn Fn(Progress) + Sync)) -> Result<Evaluation> {
        self.check_inputs(inputs)?;
        let go_on = |done| {
            progress(done);
            ControlFlow::Continue(())
        };
        Run::new(self, inputs, &go_on, None)?.finish()
    }

    /// As [`Server::evaluate`], with the state written to a file after every bootstrap and at the end. Where the file
    /// exists, the evaluation goes on from its state, and yields the same bytes as one that was never stopped. `progress`
    /// stops it by breaking.
    ///
    /// # Errors
    /// As [`Server::evaluate`]; [`Error::Interrupted`] when stopped; [`Error::InvalidInput`] for the file of another plan,
    /// set of keys or input; [`Error::Malformed`] for a damaged one; [`Error::Io`].
    pub fn evaluate_resumably(
        &self,
        inputs: &[Ciphertext],
        file: &Path,
        progress: &(dyn Fn(Progress) -> ControlFlow<()> + Sync),
    ) -> Result<Evaluation> {
        self.check_inputs(inputs)?;
        let identity = Identity::new(&self.plan, self.evaluator.keys(), inputs)?;
        Run::new(self, inputs, progress, Some(Checkpoint::new(file, identity)))?.finish()
    }

    fn check_inputs(&self, inputs: &[Ciphertext]) -> Result<()> {
        let expected = Program::n_inputs(self.plan.client());
        if inputs.len() != expected {
            return Err(Error::InvalidInput {
                reason: format!("{} ciphertexts, the plan takes {expected} per sample", inputs.len()),
            });
        }
        for (number, (input, ty)) in inputs.iter().zip(self.plan.types()).enumerate() {
            let scale = self.evaluator.params().scale(ty.level);
            let found = CipherType {
                slots: input.slots(),
                level: input.level(),
                scale: ScalePower::Canonical,
                parts: input.parts().len(),
            };
            let ring = input.parts()[0].ring();
            let primes = (0..ring.q_count()).map(|prime| ring.modulus(prime).value());
            let same_ring = ring.n() == self.params().n() && primes.eq(self.params().q().iter().copied());
            if found != *ty || input.scale() != scale || !same_ring {
                return Err(Error::InvalidInput {
                    reason: format!(
                        "ciphertext {number} has {} slots, level {}, scale {}, {} parts; the plan takes {} slots, level \
                         {}, scale {scale}, 2 parts, under its own primes: encrypt with this plan",
                        found.slots,
                        found.level,
                        input.scale(),
                        found.parts,
                        ty.slots,
                        ty.level
                    ),
                });
            }
        }
        Ok(())
    }
}
