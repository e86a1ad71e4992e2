//! What every pass receives and reports.

use crate::cost_model::CostTable;
use crate::memo::Memo;
use crate::options::CompileOptions;
use serde::Serialize;
use std::collections::BTreeMap;

/// The context of a compilation, the same for all passes.
#[derive(Clone, Debug, Default)]
pub struct PassCx {
    /// What the user asks for.
    pub options: CompileOptions,
    /// Calibration inputs, each with as many row-major values as the model's input; may be empty.
    pub samples: Vec<Vec<f64>>,
    /// Prices that plans are chosen and predictions made by.
    pub cost_table: CostTable,
    /// What passes found out that later ones need again; empty at the start of a compilation.
    pub memo: Memo,
}

/// Counts that a pass writes, by name; names are snake_case and sorted in reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats(pub BTreeMap<String, f64>);

impl Stats {
    /// Adds `amount` to the count `name`.
    pub fn add(&mut self, name: &str, amount: f64) {
        *self.0.entry(name.to_string()).or_insert(0.0) += amount;
    }
}
