//! Seconds per operation on one limb, by ring degree, and what measurements of whole ops add to them.

use super::limb_ops::LimbOps;
use crate::PassError;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

static DEFAULT: LazyLock<CostTable> = LazyLock::new(|| {
    serde_json::from_str(include_str!("default.json")).expect("the table in the source tree is valid, as a test checks")
});

/// Seconds of operations on one limb of N = 2^log_n residues, one thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Primitives {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// A forward or inverse transform.
    pub ntt: f64,
    /// A pointwise product or multiply-add.
    pub multiply: f64,
    /// A pointwise multiply-add with operands that come from main memory.
    pub stream_multiply: f64,
    /// A pointwise addition.
    pub add: f64,
    /// One source limb of a base conversion, into one target.
    pub convert: f64,
    /// A permutation in evaluation form.
    pub permute: f64,
    /// The transform of an encoding, from slots to integer coefficients.
    pub encode: f64,
}

/// A measured whole op, as `aphelion bench` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Name of the op: `rotate`, `mul_cc_relin`, `rescale`, `mul_cp`, `add_cc`.
    pub op: String,
    /// log2 of the ring degree.
    #[serde(rename = "logN")]
    pub log_n: u32,
    /// Limbs of the operand.
    pub limbs: u32,
    /// Digits of key switching at the highest level.
    pub dnum: u32,
    /// Threads in use.
    pub threads: u32,
    /// Median milliseconds.
    pub ms_median: f64,
}

/// Prices of operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostTable {
    /// Where the numbers come from.
    pub source: String,
    /// Share of a program's work that does not run in parallel (Amdahl).
    pub serial_share: f64,
    /// Rows by ring degree, ascending, without gaps.
    pub primitives: Vec<Primitives>,
}

impl Default for CostTable {
    fn default() -> Self {
        DEFAULT.clone()
    }
}

impl CostTable {
    /// Reads a table from JSON and checks it.
    ///
    /// # Errors
    /// When the text is no table, or rows are missing, out of order or not positive.
    pub fn from_json(text: &str) -> Result<Self, PassError> {
        let table: CostTable =
            serde_json::from_str(text).map_err(|error| PassError::BadInput(format!("cost table: {error}")))?;
        let rows = &table.primitives;
        let is_ordered = rows.windows(2).all(|pair| pair[0].log_n + 1 == pair[1].log_n);
        let is_positive = |row: &Primitives| {
            let mut row = row.clone();
            row.all_mut()
                .into_iter()
                .all(|seconds| seconds.is_finite() && *seconds > 0.0)
        };
        if rows.is_empty() || !is_ordered || !rows.iter().all(is_positive) || !(0.0..=1.0).contains(&table.serial_share)
        {
            let message = "cost table: expected positive rows of consecutive log_n and a serial_share in [0, 1]";
            return Err(PassError::BadInput(message.into()));
        }
        Ok(table)
    }

    /// The row for a ring degree; beyond the table, the nearest row scaled by the ratio of the degrees.
    pub fn row(&self, log_n: u32) -> Primitives {
        let nearest = self.primitives.iter().min_by_key(|row| row.log_n.abs_diff(log_n));
        let mut row = nearest.expect("a table has rows").clone();
        let ratio = (f64::from(log_n) - f64::from(row.log_n)).exp2();
        for seconds in row.all_mut() {
            *seconds *= ratio;
        }
        row.log_n = log_n;
        row
    }

    /// Seconds of `ops` on one thread.
    pub fn seconds(&self, log_n: u32, ops: &LimbOps) -> f64 {
        let row = self.row(log_n);
        ops.ntt * row.ntt
            + ops.multiply * row.multiply
            + ops.stream_multiply * row.stream_multiply
            + ops.add * row.add
            + ops.convert * row.convert
            + ops.permute * row.permute
            + ops.encode * row.encode
    }

    /// Seconds on `threads` threads of what takes `seconds` on one.
    pub fn parallel(&self, seconds: f64, threads: usize) -> f64 {
        seconds * (self.serial_share + (1.0 - self.serial_share) / threads.max(1) as f64)
    }

    /// The table with every row scaled by the ratio of measured to predicted time: the geometric mean over the
    /// measurements of that ring degree, or over all where there is none. `predict` gives the seconds that the table
    /// predicts for a measurement on one thread, or `None` for an op it does not know.
    pub fn calibrated(
        &self,
        source: &str,
        measurements: &[Measurement],
        predict: impl Fn(&CostTable, &Measurement) -> Option<f64>,
    ) -> CostTable {
        let ratio = |measurement: &Measurement| {
            let predicted = self.parallel(predict(self, measurement)?, measurement.threads as usize);
            let ratio = measurement.ms_median * 1e-3 / predicted;
            (ratio.is_finite() && ratio > 0.0).then(|| (measurement.log_n, ratio.ln()))
        };
        let ratios: Vec<(u32, f64)> = measurements.iter().filter_map(ratio).collect();
        let mean = |log_n: Option<u32>| {
            let of_degree = ratios
                .iter()
                .filter(|(degree, _)| log_n.is_none_or(|log_n| log_n == *degree));
            let logs: Vec<f64> = of_degree.map(|(_, ratio)| *ratio).collect();
            (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
        };
        let mut table = self.clone();
        table.source = source.to_string();
        for row in &mut table.primitives {
            let factor = mean(Some(row.log_n)).or_else(|| mean(None)).unwrap_or(1.0);
            row.all_mut().into_iter().for_each(|seconds| *seconds *= factor);
        }
        table
    }
}

impl Primitives {
    fn all_mut(&mut self) -> [&mut f64; 7] {
        [
            &mut self.ntt,
            &mut self.multiply,
            &mut self.stream_multiply,
            &mut self.add,
            &mut self.convert,
            &mut self.permute,
            &mut self.encode,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_table_is_valid() {
        let table = CostTable::from_json(include_str!("default.json")).expect("valid");
        assert_eq!(table, CostTable::default());
        assert_eq!(table.row(14).log_n, 14);
        assert!((table.row(18).ntt / table.row(17).ntt - 2.0).abs() < 1e-12);
        for bad in ["{}", "[]", &include_str!("default.json").replace("0.1", "-0.1")] {
            assert!(CostTable::from_json(bad).is_err());
        }
    }

    #[test]
    fn calibration_scales_the_measured_degree() {
        let table = CostTable::default();
        let measurement = |log_n, ms_median| Measurement {
            op: "ntt".into(),
            log_n,
            limbs: 1,
            dnum: 1,
            threads: 1,
            ms_median,
        };
        let predict = |table: &CostTable, m: &Measurement| Some(table.row(m.log_n).ntt);
        let twice = measurement(14, table.row(14).ntt * 2e3);
        let calibrated = table.calibrated("here", &[twice], predict);
        assert!((calibrated.row(14).ntt / table.row(14).ntt - 2.0).abs() < 1e-9);
        assert!((calibrated.row(12).add / table.row(12).add - 2.0).abs() < 1e-9);
        assert_eq!(calibrated.source, "here");
    }
}
