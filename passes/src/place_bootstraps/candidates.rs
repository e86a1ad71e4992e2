//! Chains of primes with a bootstrap, by the levels that they leave between two of them.

use crate::PassError;
use aphelion_runtime::ckks::boot::{BootstrapCircuit, BootstrapPlan, BootstrapRequest, Content};
use aphelion_runtime::ckks::params::Security;
use rayon::prelude::*;

/// Ring degrees that are tried, as log2.
const LOG_N: std::ops::RangeInclusive<u32> = 15..=16;
/// Most levels between bootstraps, above the level that a bootstrap takes.
const MAX_LEVELS: u32 = 20;
/// Distance of the numbers of levels that are tried first.
pub(super) const COARSE: u32 = 3;
/// Bits of the scale.
const LOG_SCALE: std::ops::RangeInclusive<u32> = 30..=45;
/// Bits that the scale lies above the noise of a rescale and the needed bits: for the largest of many slots, and for the
/// sum over many ops.
const SCALE_MARGIN_BITS: f64 = 9.0;
/// Bits that a bootstrap is asked for beyond the needed ones: errors of many add up, and layers magnify them.
const BOOTSTRAP_MARGIN_BITS: f64 = 5.5;

/// What bootstraps have to offer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wanted {
    /// Slots of the widest, and whether two ciphertexts may go through one.
    pub(super) widest: (usize, bool),
    /// Bits of the worst slot.
    pub(super) bits: f64,
    /// Bits of the scale.
    pub(super) log_scale: u32,
    /// Required security.
    pub(super) security: Security,
}

impl Wanted {
    /// What is worth trying first where the results need `needed_bits`.
    pub(super) fn first(widest: (usize, bool), needed_bits: f64, log_n: u32, security: Security) -> Self {
        let n = f64::from(log_n).exp2();
        // Rounding both parts of a ciphertext under a ternary secret, in the slots; see the noise model of `ckks`.
        let rescale = 0.5 * (widest.0 as f64 * (1.0 + 2.0 * n / 3.0) / 12.0).log2();
        let log_scale = (rescale + needed_bits + SCALE_MARGIN_BITS).ceil() as u32;
        Wanted {
            widest,
            bits: needed_bits + BOOTSTRAP_MARGIN_BITS,
            log_scale: log_scale.clamp(*LOG_SCALE.start(), *LOG_SCALE.end()),
            security,
        }
    }

    /// The same with `missing` bits more of both; `None` where the scale cannot grow any more.
    pub(super) fn raised(&self, missing: f64) -> Option<Self> {
        let log_scale = self.log_scale + missing.ceil() as u32;
        (self.log_scale < *LOG_SCALE.end()).then(|| Wanted {
            bits: self.bits + missing,
            log_scale: log_scale.min(*LOG_SCALE.end()),
            ..*self
        })
    }

    /// The cheapest chain that leaves `levels` levels above the one that a bootstrap takes.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn chain(&self, log_n: u32, levels: u32) -> Result<BootstrapPlan, PassError> {
        BootstrapPlan::new(&self.request(log_n, levels)).map_err(|error| PassError::Infeasible(error.to_string()))
    }

    /// Chains for numbers of levels, as far as there are any, on one circuit for each ring: that of the middle number, or of
    /// the smallest. The choice of a circuit takes much longer than all the rest and hardly depends on the levels.
    pub(super) fn chains(
        &self,
        log_n: u32,
        levels: &[u32],
        circuit: &mut Option<BootstrapCircuit>,
    ) -> Vec<(u32, BootstrapPlan)> {
        if circuit.is_none() {
            let tried = [levels.get(levels.len() / 2), levels.first()];
            let planned = tried.into_iter().flatten().find_map(|it| self.chain(log_n, *it).ok());
            *circuit = planned.map(|plan| BootstrapCircuit {
                digits: None,
                ..plan.circuit().clone()
            });
        }
        let Some(circuit) = circuit else { return Vec::new() };
        let chain = |levels: &u32| {
            let plan = BootstrapPlan::with_circuit(&self.request(log_n, *levels), circuit);
            Some((*levels, plan.ok()?))
        };
        levels.par_iter().filter_map(chain).collect()
    }

    fn request(&self, log_n: u32, levels: u32) -> BootstrapRequest {
        let (slots, is_pair) = self.widest;
        BootstrapRequest {
            log_n,
            slots: slots.max(2),
            content: if is_pair { Content::Complex } else { Content::Real },
            bits: self.bits,
            levels: levels as usize,
            log_scale: f64::from(self.log_scale),
            security: self.security,
        }
    }
}

/// Ring degrees to try, as log2.
pub(super) fn rings(slots: usize, asked: Option<u32>) -> Vec<u32> {
    let least = slots.trailing_zeros() + 1;
    match asked {
        Some(log_n) => vec![log_n],
        None => LOG_N.filter(|log_n| *log_n >= least).collect(),
    }
}

/// Numbers of levels to try first for a program whose deepest op consumes `deepest`, within `max_levels`.
pub(super) fn coarse_levels(deepest: u32, max_levels: Option<u32>) -> Vec<u32> {
    let least = deepest.max(1);
    let most = max_levels.unwrap_or(MAX_LEVELS).max(least);
    (least..=most).step_by(COARSE as usize).collect()
}
