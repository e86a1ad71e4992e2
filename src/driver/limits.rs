//! Keeps a process that evaluates within the memory it is given.
//!
//! Assumes that polynomials are all that grows in an evaluation, but for a margin. Ensures that a server gets what the process
//! has not taken for other things, measured when keys are there and again when it is made, or an error that says how much is
//! needed.

use aphelion_runtime::ckks::keys::EvaluationKeys;
use aphelion_runtime::ckks::params::Parameters;
use aphelion_runtime::error::Error as RuntimeError;
use aphelion_runtime::exec::resident::{resident_bytes, return_free_memory};
use aphelion_runtime::exec::{Server, ServerOptions};
use aphelion_runtime::plan::{ClientPart, Plan};

use super::error::Result;
use super::machine::usable_memory_bytes;
use crate::report::Keys;

/// Bytes that an evaluation takes for other things than polynomials: lists, stacks of threads, what the allocator holds back.
const MARGIN: u64 = 32 << 20;
/// Constants and what is encoded from them come and go, and leave gaps behind that no other piece fits: one over this of all
/// memory. Deep networks in 16 GiB were measured to lose 0.14 to 0.20 GiB to it.
const GAPS_PART: u64 = 64;

/// What a server may take in its process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes for the whole process; what is free unless given.
    pub max_memory: Option<u64>,
    /// Whether profiles hold processor times and the course of memory.
    pub traced: bool,
}

impl Limits {
    /// Refuses keys that do not fit, before they are made or read.
    ///
    /// # Errors
    /// When they do not.
    pub fn check_keys(&self, part: &ClientPart, params: &Parameters) -> Result<()> {
        return_free_memory();
        let allowed = self.allowed();
        // In memory, a key is at least as large as it is stored.
        let needed = Keys::of(part, params).bytes + MARGIN + resident_bytes().unwrap_or(0);
        if needed > allowed {
            return Err(RuntimeError::NotEnoughMemory { needed, allowed }.into());
        }
        Ok(())
    }

    /// A server for `plan` with these keys.
    ///
    /// # Errors
    /// When keys or constants do not serve; when there is not enough memory.
    pub fn server(&self, plan: Plan, keys: EvaluationKeys) -> Result<Server> {
        return_free_memory();
        let allowed = self.allowed();
        let others = besides_polynomials(keys.params()) + MARGIN + allowed / GAPS_PART;
        let options = ServerOptions {
            memory_bytes: allowed.saturating_sub(others),
            traced: self.traced,
        };
        let server = Server::new(plan, keys, &options).map_err(|error| match error {
            RuntimeError::NotEnoughMemory { needed, .. } => RuntimeError::NotEnoughMemory {
                needed: needed.saturating_add(others),
                allowed,
            },
            other => other,
        })?;
        let taken = besides_polynomials(server.params()) + MARGIN + allowed / GAPS_PART + server.memory().constants;
        server.limit_memory(allowed.saturating_sub(taken));
        Ok(server)
    }

    fn allowed(&self) -> u64 {
        self.max_memory.or_else(usable_memory_bytes).unwrap_or(u64::MAX)
    }
}

/// Bytes that the process has besides polynomials under `params`.
fn besides_polynomials(params: &Parameters) -> u64 {
    let polynomials = params.ring().pool().bytes() as u64;
    resident_bytes().unwrap_or(0).saturating_sub(polynomials)
}
