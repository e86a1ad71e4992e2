//! `aphelion decrypt`: results into numbers.

use std::path::{Path, PathBuf};

use aphelion::driver::{DriverError, Observer, data, roles};
use aphelion_runtime::plan::{Bundle, ClientPart, Direction};
use clap::Args;
use serde::Serialize;

use super::output::Output;

const EXAMPLES: &str = "\
Examples:
  aphelion decrypt model.aph --keys C/ --input y.ct -o y.npy
  aphelion decrypt model.aph --keys C/ --input y.ct -o y.npy --flood 25

Decrypted values carry noise that depends on the secret key: give them to the server, or to anyone who may choose
ciphertexts, only with --flood, whose noise hides it.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Decrypt {
    /// The plan.
    #[arg(value_name = "P.aph")]
    plan: PathBuf,
    /// The client's folder.
    #[arg(long, value_name = "C/")]
    keys: PathBuf,
    /// Encrypted results.
    #[arg(long, value_name = "y.ct")]
    input: PathBuf,
    /// Where to write them; with several outputs, one file each, Y.NAME.npy.
    #[arg(short, long, value_name = "Y.npy")]
    output: Option<PathBuf>,
    /// Adds noise of this many bits to every coefficient, for results that leave the client; costs precision.
    #[arg(long, value_name = "BITS")]
    flood: Option<u32>,
}

#[derive(Serialize)]
struct Report {
    samples: usize,
    /// For every sample, the values of every output.
    outputs: Vec<Vec<Vec<f64>>>,
}

impl Decrypt {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let (client, secret) = roles::open_client(
            ClientPart::open(&self.plan).map_err(DriverError::in_file(&self.plan))?,
            &self.keys,
        )?;
        let results = Bundle::read(client.params(), client.part().id()?, Direction::Results, &self.input)
            .map_err(DriverError::in_file(&self.input))?;
        output.stage("decrypting");
        let outputs = roles::decrypt(&client, &secret, &results, self.flood)?;
        if let Some(path) = &self.output {
            let ports = &client.part().outputs;
            let shapes: Vec<(&str, &[usize])> = ports
                .iter()
                .map(|port| (port.name.as_str(), client.part().sample_shape(&port.packing)))
                .collect();
            write_outputs(path, &shapes, &outputs)?;
        }
        let report = Report {
            samples: outputs.len(),
            outputs,
        };
        output.report(&report, |report| {
            let lines = report.outputs.iter().enumerate().map(|(number, sample)| {
                let values: Vec<String> = sample.iter().flatten().map(|value| format!("{value:.4}")).collect();
                format!("sample {number}: {}\n", values.join(" "))
            });
            lines.collect()
        })
    }
}

/// Writes every output of all samples; `ports` are their names and shapes.
pub(super) fn write_outputs(path: &Path, ports: &[(&str, &[usize])], samples: &[data::Sample]) -> anyhow::Result<()> {
    for (index, (name, shape)) in ports.iter().enumerate() {
        let values: Vec<&[f64]> = samples.iter().map(|outputs| outputs[index].as_slice()).collect();
        let own = match ports.len() {
            1 => path.to_path_buf(),
            _ => path.with_extension(format!("{}.npy", name.replace(['/', '\\'], "_"))),
        };
        data::write_output(&own, shape, &values)?;
    }
    Ok(())
}
