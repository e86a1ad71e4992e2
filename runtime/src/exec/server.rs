//! A plan with its evaluation keys and plaintexts, ready to run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::profile::{Profile, Progress};
use super::run::Run;
use super::schedule::Schedule;
use super::weights::Weights;
use crate::ckks::Ciphertext;
use crate::ckks::boot::Bootstrapper;
use crate::ckks::eval::Evaluator;
use crate::ckks::keys::EvaluationKeys;
use crate::ckks::linear::LinearTransform;
use crate::ckks::params::Parameters;
use crate::ckks::polynomial::PolynomialPlan;
use crate::error::{Error, Result};
use crate::plan::client::check_parameters;
use crate::plan::{BootstrapKind, CipherType, Plan, Program, ScalePower, shape_of};

/// How a server uses its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerOptions {
    /// Bytes that plaintexts encoded ahead may take.
    pub weight_bytes: u64,
}

impl Default for ServerOptions {
    /// 8 GiB of plaintexts.
    fn default() -> Self {
        Self { weight_bytes: 8 << 30 }
    }
}

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
}

impl Server {
    /// Checks the keys against the plan and encodes plaintexts ahead.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`] for keys of other parameters; a missing key; constants that cannot be read or
    /// encoded.
    pub fn new(plan: Plan, keys: EvaluationKeys, options: &ServerOptions) -> Result<Self> {
        check_parameters(
            "the set of evaluation keys",
            &plan.client().parameters,
            keys.params().literal(),
        )?;
        for (purpose, level) in plan.client().keys.keys() {
            keys.get(purpose, level)?;
        }
        if let Some(needed) = plan.client().keys.encapsulation {
            keys.encapsulation(needed.hamming_weight, needed.level)?;
        }
        let evaluator = Arc::new(Evaluator::new(keys));
        let shapes: Vec<_> = plan.program().transforms.iter().map(shape_of).collect::<Result<_>>()?;
        let polynomials = plan
            .program()
            .polynomials
            .iter()
            .cloned()
            .map(PolynomialPlan::new)
            .collect();
        let bootstrappers = plan
            .bootstraps()
            .iter()
            .map(|(kind, plan)| Ok((*kind, Bootstrapper::new(plan.clone(), Arc::clone(&evaluator))?)))
            .collect::<Result<_>>()?;
        let weights = Weights::new(&plan, &shapes, &evaluator, options.weight_bytes)?;
        Ok(Self {
            schedule: Schedule::new(&plan),
            plan,
            evaluator,
            shapes,
            polynomials,
            weights,
            bootstrappers,
        })
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
        Run::new(self, inputs, progress).finish()
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
