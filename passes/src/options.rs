//! What the user asks of a compilation.

use crate::{PassError, rewrite};
use aphelion_runtime::ckks::params::{MAX_LOG_N, MIN_LOG_N};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Bytes that a plan may take in memory where nothing else is said: 16 GiB.
pub const DEFAULT_MAX_MEMORY_BYTES: u64 = 16 << 30;

/// How exact the encrypted model has to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// Largest error of an output relative to the largest output, as bits: -log2.
    Precision(f64),
    /// Percentage of calibration samples whose predicted class must be that of the exact model.
    Agreement(f64),
    /// [`Target::DEFAULT_BITS`] of precision; for models with more than [`Target::MAX_PRECISE_ACTIVATIONS`] activations one
    /// after the other, where those would cost many times as much, agreement on all samples.
    Automatic,
}

impl Target {
    /// Bits of precision where nothing else is asked.
    pub const DEFAULT_BITS: f64 = 8.0;
    /// Most activations one after the other that get [`Target::DEFAULT_BITS`] unasked.
    pub const MAX_PRECISE_ACTIVATIONS: usize = 6;

    /// What an automatic target stands for in a model with `n_activations` one after the other.
    #[must_use]
    pub fn resolved(self, n_activations: usize) -> Self {
        match self {
            Target::Automatic if n_activations > Self::MAX_PRECISE_ACTIVATIONS => Target::Agreement(100.0),
            Target::Automatic => Target::Precision(Self::DEFAULT_BITS),
            target => target,
        }
    }
}

/// How many samples one run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Batch {
    /// This many, a power of two.
    Samples(usize),
    /// As many as fit into the slots of the ring that one sample asks for.
    Fill,
}

/// Options of a compilation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompileOptions {
    /// How exact the encrypted model has to be.
    pub target: Target,
    /// Interval of every input element, where no calibration samples are given.
    pub input_range: Option<(f64, f64)>,
    /// Calibrated intervals are widened by this factor about their centre; at least 1.
    pub range_margin: f64,
    /// Upper bound of evaluation-key bytes on the server, if any.
    pub max_key_bytes: Option<u64>,
    /// Whether parameters below 128-bit security may be chosen; for tests only, and marked in the plan.
    pub allow_insecure: bool,
    /// Ring degree to use instead of the cheapest, as log2.
    pub log_n: Option<u32>,
    /// Most levels that a program may use between bootstraps; where it is deeper it gets some. Without a limit, as many as
    /// are cheapest.
    pub max_levels: Option<u32>,
    /// Bytes that a plan may take in memory: keys, plaintexts and ciphertexts.
    pub max_memory_bytes: u64,
    /// Slots per ciphertext to use instead of the cheapest number, a power of two.
    pub slots: Option<usize>,
    /// Samples of one run.
    pub batch: Batch,
    /// Names of rewrite rules to leave out.
    pub disabled_rules: BTreeSet<String>,
}

impl Default for CompileOptions {
    fn default() -> Self {
        CompileOptions {
            target: Target::Automatic,
            input_range: None,
            range_margin: 1.5,
            max_key_bytes: None,
            allow_insecure: false,
            log_n: None,
            max_levels: None,
            max_memory_bytes: DEFAULT_MAX_MEMORY_BYTES,
            slots: None,
            batch: Batch::Samples(1),
            disabled_rules: BTreeSet::new(),
        }
    }
}

impl CompileOptions {
    /// Checks every option on its own, before any pass runs.
    ///
    /// # Errors
    /// [`PassError::BadInput`] with the first option that no compilation can follow, and what it may be.
    pub fn check(&self) -> Result<(), PassError> {
        let bad = |message: String| Err(PassError::BadInput(message));
        match self.target {
            Target::Precision(bits) if !(bits.is_finite() && bits > 0.0) => {
                return bad(format!("--precision {bits}: expected a positive number of bits"));
            }
            Target::Agreement(percent) if !(percent > 0.0 && percent <= 100.0) => {
                return bad(format!(
                    "--agreement {percent}: expected a percentage above 0 and up to 100"
                ));
            }
            _ => {}
        }
        if !(self.range_margin.is_finite() && self.range_margin >= 1.0) {
            return bad(format!("--range-margin {}: expected at least 1", self.range_margin));
        }
        if let Some(log_n) = self.log_n.filter(|log_n| !(MIN_LOG_N..=MAX_LOG_N).contains(log_n)) {
            return bad(format!("--log-n {log_n}: expected {MIN_LOG_N} to {MAX_LOG_N}"));
        }
        if let Some(slots) = self.slots.filter(|slots| !slots.is_power_of_two()) {
            return bad(format!("--slots {slots}: expected a power of two"));
        }
        match self.batch {
            Batch::Samples(n) if !n.is_power_of_two() || n > 1 << (MAX_LOG_N - 1) => {
                return bad(format!(
                    "--batch {n}: expected a power of two, up to the slots of a ciphertext"
                ));
            }
            _ => {}
        }
        let names = rewrite::rule_names();
        match self.disabled_rules.iter().find(|name| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => bad(format!("there is no rule `{name}`; there are: {}", names.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked_one_by_one() {
        let refused = |change: fn(&mut CompileOptions)| {
            let mut options = CompileOptions::default();
            change(&mut options);
            options.check().unwrap_err().to_string()
        };
        assert!(CompileOptions::default().check().is_ok());
        assert!(refused(|options| options.target = Target::Precision(-3.0)).contains("--precision -3"));
        assert!(refused(|options| options.target = Target::Agreement(400.0)).contains("--agreement 400"));
        assert!(refused(|options| options.range_margin = f64::NAN).contains("--range-margin NaN"));
        assert!(refused(|options| options.log_n = Some(40)).contains("--log-n 40"));
        assert!(refused(|options| options.slots = Some(3)).contains("--slots 3"));
        assert!(refused(|options| options.batch = Batch::Samples(0)).contains("--batch 0"));
        assert!(refused(|options| options.batch = Batch::Samples(1 << 40)).contains("up to the slots"));
        let unknown = |options: &mut CompileOptions| options.disabled_rules = BTreeSet::from(["fly".to_string()]);
        assert!(refused(unknown).contains("there is no rule `fly`; there are: "));
    }
}
