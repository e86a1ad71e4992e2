//! How a program bootstraps: one circuit for the whole program, with the slot counts its instructions use.
//!
//! Assumes nothing of a circuit that was read. Ensures, for a checked program, that its circuit asks for the very primes of
//! the client's part, and that there is a plan for every slot count in use.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

use super::client::ClientPart;
use super::program::{Op, Program};
use crate::ckks::boot::{BootstrapCircuit, BootstrapPlan, BootstrapRequest, Content};
use crate::ckks::params::ParametersLiteral;
use crate::error::{Error, Result};

/// What is bootstrapped and by which circuit; together they determine the primes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrapping {
    /// What is asked for.
    pub request: BootstrapRequest,
    /// How it is done.
    pub circuit: BootstrapCircuit,
}

impl From<&BootstrapPlan> for Bootstrapping {
    fn from(plan: &BootstrapPlan) -> Self {
        Self {
            request: *plan.request(),
            circuit: plan.circuit().clone(),
        }
    }
}

impl Bootstrapping {
    /// The bootstrap of a program under `parameters`.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] for a circuit that cannot be, and for one of other parameters.
    pub fn plan(&self, parameters: &ParametersLiteral) -> Result<BootstrapPlan> {
        let invalid = |reason: String| Error::InvalidPlan {
            place: "bootstrap".into(),
            reason,
        };
        let plan =
            BootstrapPlan::with_circuit(&self.request, &self.circuit).map_err(|error| invalid(error.to_string()))?;
        if plan.literal() != parameters {
            return Err(invalid("the circuit needs other parameters than the plan's".into()));
        }
        Ok(plan)
    }
}

/// Which bootstrap an instruction uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootstrapKind {
    /// Slots of the message.
    pub slots: usize,
    /// Whether two real messages go together.
    pub is_pair: bool,
}

impl BootstrapKind {
    /// The kind that `n_inputs` ciphertexts of `slots` slots go through.
    #[must_use]
    pub fn new(slots: usize, n_inputs: usize) -> Self {
        Self {
            slots,
            is_pair: n_inputs == 2,
        }
    }

    /// The bootstrap of this kind on the chain of another.
    ///
    /// # Errors
    /// As [`BootstrapPlan::for_slots`].
    pub fn plan(self, chain: &BootstrapPlan) -> Result<BootstrapPlan> {
        let content = if self.is_pair { Content::Complex } else { Content::Real };
        chain.for_slots(self.slots, content)
    }
}

/// The bootstraps of a program by kind.
///
/// # Errors
/// [`Error::InvalidPlan`] for a circuit that does not fit the client's part, a program that bootstraps without one, and slot
/// counts that cannot be.
pub fn bootstraps(client: &ClientPart, program: &Program) -> Result<BTreeMap<BootstrapKind, BootstrapPlan>> {
    let chain = match &program.bootstrap {
        Some(bootstrap) => Some(bootstrap.plan(&client.parameters)?),
        None => None,
    };
    let mut plans = BTreeMap::new();
    for (number, instruction) in program.instructions.iter().enumerate() {
        let Op::Bootstrap { xs, slots } = &instruction.op else {
            continue;
        };
        let invalid = |reason: String| Error::InvalidPlan {
            place: format!("instruction {number} ({})", instruction.op.name()),
            reason,
        };
        let chain = chain
            .as_ref()
            .ok_or_else(|| invalid("the program has no bootstrapping circuit".into()))?;
        let kind = BootstrapKind::new(*slots, xs.len());
        if let Entry::Vacant(vacant) = plans.entry(kind) {
            vacant.insert(kind.plan(chain).map_err(|error| invalid(error.to_string()))?);
        }
    }
    Ok(plans)
}
