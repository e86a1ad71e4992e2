//! What the compiler foresaw and how it placed values: for whoever reads a plan, never for who runs it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What the compiler foresees; nothing here changes what is computed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Seconds of one evaluation on the machine of the cost model.
    pub predicted_evaluate_s: Option<f64>,
    /// Seconds of every instruction on one thread of that machine, plaintexts encoded ahead; empty where nothing was foreseen.
    #[serde(default)]
    pub instruction_s: Vec<f64>,
    /// Precision of the results in bits: -log2 of the largest error relative to the largest output.
    pub predicted_bits: Option<f64>,
    /// The prices that predictions and choices were made with; absent for the compiler's own.
    #[serde(default)]
    pub cost_table: Option<CostTableId>,
    /// Values between layers, in program order.
    #[serde(default)]
    pub values: Vec<ValueReport>,
    /// Statistics of the passes in the order they ran: (pass, its counts).
    pub passes: Vec<(String, BTreeMap<String, f64>)>,
}

/// A table of prices that was handed to the compiler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostTableId {
    /// Where its numbers come from.
    pub source: String,
    /// BLAKE3 of its file in hexadecimal digits.
    pub hash: String,
}

/// How a value of the model lies in ciphertexts, and how exact it still is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueReport {
    /// Place in the model.
    pub origin: String,
    /// Elements of the tensor.
    pub elements: usize,
    /// Ciphertexts.
    pub ciphertexts: usize,
    /// Slots per ciphertext.
    pub slots: usize,
    /// Contents of a ciphertext repeat with this period.
    pub period: usize,
    /// Precision under noise in bits: -log2 of the largest error relative to the largest content, on a sample.
    pub bits: Option<f64>,
}

impl Report {
    /// Checks that every number is one.
    pub(super) fn check(&self) -> Result<()> {
        let counts = self.passes.iter().flat_map(|(_, counts)| counts.values().copied());
        let bits = self.values.iter().filter_map(|value| value.bits);
        let mut all = counts
            .chain(bits)
            .chain(self.instruction_s.iter().copied())
            .chain(self.predicted_evaluate_s)
            .chain(self.predicted_bits);
        match all.find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(value) => Err(Error::InvalidPlan {
                place: "report".into(),
                reason: format!("{value} is not finite"),
            }),
        }
    }
}
