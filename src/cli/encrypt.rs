//! `aphelion encrypt`: inputs into ciphertexts.

use std::path::PathBuf;

use aphelion::driver::{DriverError, Observer, data, roles};
use aphelion_runtime::plan::ClientPart;
use clap::Args;
use serde::Serialize;

use super::output::{Output, bytes};

const EXAMPLES: &str = "\
Examples:
  aphelion encrypt model.aph --keys C/ --input x.npy -o x.ct
  aphelion encrypt model.aph --keys C/ --input data.npz:x --samples 10 -o x.ct";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Encrypt {
    /// The plan.
    #[arg(value_name = "P.aph")]
    plan: PathBuf,
    /// The client's folder.
    #[arg(long, value_name = "C/")]
    keys: PathBuf,
    /// One input, or several along the first axis: X.npy, X.npz or X.npz:ARRAY; NAME=FILE for each of several inputs.
    #[arg(long, value_name = "X.npy", required = true)]
    input: Vec<String>,
    /// Takes the first N samples only.
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// The ciphertexts.
    #[arg(short, long, value_name = "x.ct")]
    output: PathBuf,
    /// Encrypts with randomness from a number, for tests: such ciphertexts protect nothing.
    #[arg(long, hide = true)]
    seed: Option<u64>,
}

#[derive(Serialize)]
struct Report {
    samples: usize,
    bytes: u64,
    out_of_range: usize,
}

impl Encrypt {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let (client, secret) = roles::open_client(
            ClientPart::open(&self.plan).map_err(DriverError::in_file(&self.plan))?,
            &self.keys,
        )?;
        let inputs: Vec<(&str, &[usize])> = client
            .part()
            .inputs
            .iter()
            .map(|port| (port.name.as_str(), client.part().sample_shape(&port.packing)))
            .collect();
        let mut samples = data::load_samples(&self.input, &inputs)?;
        samples.truncate(self.samples.unwrap_or(usize::MAX));
        let mut out_of_range = 0;
        for (number, sample) in samples.iter().enumerate() {
            for warning in client.check_ranges(sample) {
                out_of_range += 1;
                output.notice(&format!(
                    "sample {number}: {} values of `{}` lie outside [{}, {}], which the plan was made for: the result may \
                     be wrong",
                    warning.outside, warning.input, warning.range.0, warning.range.1
                ));
            }
        }
        output.stage("encrypting");
        let bundle = roles::encrypt(&client, &secret, &samples, &mut roles::random_source(self.seed)?)?;
        bundle.write(client.params(), &self.output)?;
        let report = Report {
            samples: samples.len(),
            bytes: std::fs::metadata(&self.output)?.len(),
            out_of_range,
        };
        output.report(&report, |report| {
            format!(
                "{}: {} samples, {}",
                self.output.display(),
                report.samples,
                bytes(report.bytes)
            )
        })
    }
}
