//! `aphelion calibrate-machine`: measures this machine for the compiler's cost model.

use std::path::PathBuf;

use aphelion::driver::calibrate_machine::calibrate;
use aphelion::driver::{DriverError, prices};
use aphelion_runtime::bench::Measurement;
use clap::Args;
use serde::Serialize;

use super::output::{Output, seconds, table};

const EXAMPLES: &str = "\
Examples:
  aphelion calibrate-machine
  aphelion calibrate-machine --quick -o costs.json
  aphelion compile model.onnx --calibrate data.npz --cost-table costs.json -o model.aph

Run it on a quiet machine: under a minute, with --quick a few seconds. Without -o the table goes where compile and infer look
for it: aphelion/costs.json in $XDG_CONFIG_HOME or ~/.config.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CalibrateMachine {
    /// The cost table.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Measures the smallest ring only, and for a short time.
    #[arg(long)]
    quick: bool,
}

#[derive(Serialize)]
struct Report {
    path: PathBuf,
    source: String,
    measurements: Vec<Measurement>,
}

impl CalibrateMachine {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let path = self.output.clone().or_else(prices::default_path).ok_or_else(|| {
            DriverError::BadInput("neither $XDG_CONFIG_HOME nor $HOME says where the table goes: give -o FILE".into())
        })?;
        let (log_n, time): (&[u32], f64) = if self.quick {
            (&[14], 0.1)
        } else {
            (&[12, 13, 14, 15, 16], 0.5)
        };
        let calibration = calibrate(log_n, time, output)?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|source| DriverError::io(folder, source))?;
        }
        let text = serde_json::to_string_pretty(&calibration.table)? + "\n";
        std::fs::write(&path, text).map_err(|source| DriverError::io(&path, source))?;
        let report = Report {
            path,
            source: calibration.table.source.clone(),
            measurements: calibration.measurements,
        };
        output.report(&report, |report| {
            let head = ["operation", "N", "primes", "threads", "median"]
                .map(String::from)
                .to_vec();
            let rows = report.measurements.iter().map(|measurement| {
                let time = seconds(measurement.ms_median * 1e-3);
                let (ring, primes) = (format!("2^{}", measurement.log_n), measurement.limbs.to_string());
                vec![
                    measurement.op.clone(),
                    ring,
                    primes,
                    measurement.threads.to_string(),
                    time,
                ]
            });
            let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
            format!("{}{}\n{}", table(&rows), report.source, report.path.display())
        })
    }
}
