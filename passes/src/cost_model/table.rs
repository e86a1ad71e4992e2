//! Seconds per operation on one limb, by ring degree, and what measurements of whole ops add to them.

use super::fit;
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
    /// A pointwise multiply-add of a digit with a key that comes from main memory.
    pub stream_multiply: f64,
    /// A pointwise multiply-add of an encoded diagonal with a rotated input, without the reading of the diagonal.
    pub diagonal: f64,
    /// A limb of an encoded diagonal that comes from main memory.
    pub read: f64,
    /// A pointwise addition.
    pub add: f64,
    /// One source limb of a base conversion, into one target.
    pub convert: f64,
    /// A permutation in evaluation form.
    pub permute: f64,
    /// The transform of an encoding, from slots to integer coefficients.
    pub encode: f64,
    /// Share of the work that does not run in parallel (Amdahl), 0 to 1.
    pub serial_share: f64,
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
    /// Limbs at the highest level of the parameters.
    pub max_limbs: u32,
    /// Digits of key switching at the highest level.
    pub dnum: u32,
    /// Threads in use.
    pub threads: u32,
    /// Milliseconds of a run: processor time where the system tells it and the run has one thread, which other programs disturb
    /// least, else the median.
    pub ms: f64,
    /// Milliseconds of the fastest run, by the clock.
    pub ms_min: f64,
}

/// Prices of operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostTable {
    /// Where the numbers come from.
    pub source: String,
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
        let is_valid = |row: &Primitives| {
            let mut row = row.clone();
            let is_positive = |seconds: &mut f64| seconds.is_finite() && *seconds > 0.0;
            row.all_mut().into_iter().all(is_positive) && (0.0..=1.0).contains(&row.serial_share)
        };
        if rows.is_empty() || !is_ordered || !rows.iter().all(is_valid) {
            let message = "cost table: expected positive rows of consecutive log_n, each with a serial_share in [0, 1]";
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
        let mut row = self.row(log_n);
        let terms = row.all_mut().map(|seconds| *seconds).into_iter().zip(amounts(ops));
        terms.map(|(seconds, amount)| seconds * amount).sum()
    }

    /// Seconds on `threads` threads of what takes `seconds` on one.
    pub fn parallel(&self, log_n: u32, seconds: f64, threads: usize) -> f64 {
        let serial = self.row(log_n).serial_share;
        seconds * (serial + (1.0 - serial) / threads.max(1) as f64)
    }

    /// The table corrected by measurements: in the row of every measured ring degree, the prices nearest to this table's that
    /// explain those on one thread, and the serial share that those on several threads show. Other rows change by the factors
    /// of the nearest measured one. `count` gives the operations of a measurement, or `None` for one that it does not know.
    pub fn calibrated(
        &self,
        source: &str,
        measurements: &[Measurement],
        count: impl Fn(&Measurement) -> Option<LimbOps>,
    ) -> CostTable {
        let mut degrees: Vec<u32> = measurements.iter().map(|measurement| measurement.log_n).collect();
        degrees.sort_unstable();
        degrees.dedup();
        let corrections: Vec<(u32, fit::Correction)> = degrees
            .into_iter()
            .filter_map(|log_n| {
                let of_degree = measurements.iter().filter(|measurement| measurement.log_n == log_n);
                let counted = of_degree.filter_map(|measurement| Some((measurement, amounts(&count(measurement)?))));
                let mut row = self.row(log_n);
                let prices = row.all_mut().map(|price| *price);
                Some((log_n, fit::correction(&prices, &counted.collect::<Vec<_>>())?))
            })
            .collect();
        let mut table = self.clone();
        table.source = source.to_string();
        for row in &mut table.primitives {
            let log_n = row.log_n;
            let nearest = corrections.iter().min_by_key(|(degree, _)| degree.abs_diff(log_n));
            let Some((degree, correction)) = nearest else { continue };
            for (seconds, factor) in row.all_mut().into_iter().zip(correction.factors) {
                *seconds *= factor;
            }
            if *degree == log_n
                && let Some(share) = correction.serial_share
            {
                row.serial_share = share;
            }
        }
        table
    }
}

/// In the order of [`Primitives::all_mut`].
fn amounts(ops: &LimbOps) -> [f64; fit::PRICES] {
    [
        ops.ntt,
        ops.multiply,
        ops.stream_multiply,
        ops.diagonal,
        ops.read,
        ops.add,
        ops.convert,
        ops.permute,
        ops.encode,
    ]
}

impl Primitives {
    fn all_mut(&mut self) -> [&mut f64; fit::PRICES] {
        [
            &mut self.ntt,
            &mut self.multiply,
            &mut self.stream_multiply,
            &mut self.diagonal,
            &mut self.read,
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
        let negative = include_str!("default.json").replace("\"add\": ", "\"add\": -");
        for bad in ["{}", "[]", &negative] {
            assert!(CostTable::from_json(bad).is_err());
        }
    }

    fn measurement(log_n: u32, op: &str, threads: u32, seconds: f64) -> Measurement {
        Measurement {
            op: op.into(),
            log_n,
            limbs: 1,
            max_limbs: 1,
            dnum: 1,
            threads,
            ms: seconds * 1e3,
            ms_min: seconds * 1e3,
        }
    }

    /// `a` has four transforms and ten conversions, `b` one transform.
    fn count(measurement: &Measurement) -> Option<LimbOps> {
        let (ntt, convert) = match measurement.op.as_str() {
            "a" => (4.0, 10.0),
            "b" => (1.0, 0.0),
            _ => return None,
        };
        Some(LimbOps {
            ntt,
            convert,
            ..LimbOps::default()
        })
    }

    #[test]
    fn calibration_tells_prices_apart() {
        let table = CostTable::default();
        let row = table.row(14);
        let (ntt, convert) = (row.ntt * 0.8, row.convert * 2.0);
        let measured = [
            measurement(14, "a", 1, 4.0 * ntt + 10.0 * convert),
            measurement(14, "b", 1, ntt),
            measurement(14, "unknown", 1, 1.0),
        ];
        let calibrated = table.calibrated("here", &measured, count);
        assert!((calibrated.row(14).ntt / ntt - 1.0).abs() < 0.05);
        assert!((calibrated.row(14).convert / convert - 1.0).abs() < 0.2);
        assert_eq!(calibrated.row(14).add, row.add);
        let ratio = |price: fn(&Primitives) -> f64, log_n| price(&calibrated.row(log_n)) / price(&table.row(log_n));
        for price in [|row: &Primitives| row.ntt, |row: &Primitives| row.convert] {
            assert!((ratio(price, 12) / ratio(price, 14) - 1.0).abs() < 1e-9);
        }
        assert_eq!(calibrated.source, "here");
        assert_eq!(calibrated.row(14).serial_share, row.serial_share);
    }

    #[test]
    fn threads_show_what_does_not_run_in_parallel() {
        let table = CostTable::default();
        let measured = [measurement(15, "b", 1, 0.01), measurement(15, "b", 2, 0.006)];
        let calibrated = table.calibrated("here", &measured, count);
        assert!((calibrated.row(15).serial_share - 0.2).abs() < 1e-9);
        assert!((calibrated.parallel(15, 0.01, 2) - 0.006).abs() < 1e-9);
        assert_eq!(calibrated.row(14).serial_share, table.row(14).serial_share);
    }
}
