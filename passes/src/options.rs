//! What the user asks of a compilation.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How exact the encrypted model has to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// Largest error of an output relative to the largest output, as bits: -log2.
    Precision(f64),
    /// Percentage of calibration samples whose predicted class must be that of the exact model.
    Agreement(f64),
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
    /// Slots per ciphertext to use instead of the cheapest number, a power of two.
    pub slots: Option<usize>,
    /// Names of rewrite rules to leave out.
    pub disabled_rules: BTreeSet<String>,
}

impl Default for CompileOptions {
    fn default() -> Self {
        CompileOptions {
            target: Target::Precision(8.0),
            input_range: None,
            range_margin: 1.5,
            max_key_bytes: None,
            allow_insecure: false,
            log_n: None,
            slots: None,
            disabled_rules: BTreeSet::new(),
        }
    }
}
