//! The prices of this machine: operations of the scheme, measured, correct the compiler's own cost table.

use aphelion_passes::cost_model::{self, CostTable, PREDICTED_THREADS};
use aphelion_runtime::bench::{Measurement, Set, measure_each};

use super::error::{DriverError, Result};
use super::observer::Observer;

/// Operations that the cost table is corrected by; all of them are ones that it can price.
pub const OPERATIONS: [&str; 11] = [
    "add_cc",
    "mul_cp",
    "rescale",
    "mul_cc_relin",
    "mul_cc_relin_rescale",
    "rotate",
    "hoisted_rot8",
    "transform",
    "transform_short",
    "encode",
    "encode_short",
];

/// Operations that are measured at a low level, too: there, the special primes and the digits of key switches weigh otherwise.
pub const AT_A_LOW_LEVEL: [&str; 6] = [
    "rescale",
    "mul_cc_relin_rescale",
    "rotate",
    "hoisted_rot8",
    "transform",
    "transform_short",
];

/// Operations that show what a second thread gains: the like of what programs spend their time with.
pub const ON_SEVERAL_THREADS: [&str; 3] = ["rotate", "mul_cc_relin_rescale", "transform"];

/// A measured machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// The corrected table.
    pub table: CostTable,
    /// What it was corrected by.
    pub measurements: Vec<Measurement>,
}

/// Measures every operation at each of the ring degrees `log_n` for about `seconds` on one thread, and some on as many threads
/// as predictions are for, if the machine has them.
///
/// # Errors
/// When there is no set of parameters to measure at a degree, or a thread cannot be started.
pub fn calibrate(log_n: &[u32], seconds: f64, observer: &dyn Observer) -> Result<Calibration> {
    let sets = log_n
        .iter()
        .map(|log_n| Set::matched(*log_n))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let mut rounds: Vec<(usize, bool, &[&str])> = vec![(1, false, &OPERATIONS), (1, true, &AT_A_LOW_LEVEL)];
    if std::thread::available_parallelism().is_ok_and(|threads| threads.get() >= PREDICTED_THREADS) {
        rounds.push((PREDICTED_THREADS, false, &ON_SEVERAL_THREADS));
    }
    let total = sets.len() * rounds.iter().map(|(.., operations)| operations.len()).sum::<usize>();
    let mut measurements = Vec::new();
    for (set, log_n) in sets.iter().zip(log_n) {
        observer.stage(&format!("measuring at N = 2^{log_n}"));
        for (threads, is_low, operations) in &rounds {
            let set = if *is_low { set.at_a_third() } else { *set };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(*threads).build();
            let pool = pool.map_err(|error| DriverError::BadInput(format!("no threads to measure on: {error}")))?;
            let mut done = measurements.len();
            let mut on_done = |_: &Measurement| {
                done += 1;
                observer.progress(done as f64 / total as f64);
            };
            measurements.extend(pool.install(|| measure_each(&set, operations, seconds, &mut on_done))?);
        }
    }
    let source = format!(
        "measured on {} by calibrate-machine {}",
        processor(),
        env!("CARGO_PKG_VERSION")
    );
    Ok(Calibration {
        table: corrected(&CostTable::default(), &source, &measurements),
        measurements,
    })
}

fn corrected(table: &CostTable, source: &str, measurements: &[Measurement]) -> CostTable {
    let narrow = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let priced: Vec<cost_model::Measurement> = measurements
        .iter()
        .map(|measurement| cost_model::Measurement {
            op: measurement.op.clone(),
            log_n: measurement.log_n,
            limbs: narrow(measurement.limbs),
            max_limbs: narrow(measurement.max_limbs),
            dnum: narrow(measurement.dnum),
            threads: narrow(measurement.threads),
            ms: match measurement.cpu_ms {
                Some(processor) if measurement.threads == 1 => processor.min(measurement.ms_median),
                _ => measurement.ms_median,
            },
            ms_min: measurement.ms_min,
        })
        .collect();
    table.calibrated_by_bench(source, &priced)
}

/// Name of the processor, as the system tells it.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name"));
    let name = name
        .and_then(|rest| rest.split_once(':'))
        .map(|(_, name)| name.trim().to_string());
    name.unwrap_or_else(|| format!("a processor of architecture {}", std::env::consts::ARCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slower_machine_gets_higher_prices() {
        let measurement = |ms_median: f64| Measurement {
            peer: "aphelion",
            op: "rotate".into(),
            log_n: 14,
            limbs: 9,
            max_limbs: 9,
            dnum: 9,
            threads: 1,
            ms_median,
            ms_min: ms_median,
            cpu_ms: None,
        };
        let table = CostTable::default();
        let rotate = |table: &CostTable, log_n: u32| table.row(log_n).ntt + table.row(log_n).stream_multiply;
        let price = |ms: f64| rotate(&corrected(&table, "here", &[measurement(ms)]), 14);
        assert!(price(20.0) > 2.0 * price(5.0));
        // Degrees that were not measured follow those that were.
        let twice = corrected(&table, "here", &[measurement(20.0)]);
        let ratio = |log_n: u32| twice.row(log_n).ntt / table.row(log_n).ntt;
        assert!((ratio(16) - ratio(14)).abs() < 1e-9);
        assert_eq!(twice.source, "here");
    }
}
