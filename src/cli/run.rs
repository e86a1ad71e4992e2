//! `aphelion run`: the server's work.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::Context;
use aphelion::driver::limits::Limits;
use aphelion::driver::metrics::median;
use aphelion::driver::{DriverError, roles};
use aphelion::report::{KeyUse, Keys, Memory};
use aphelion_runtime::ckks::params::Parameters;
use aphelion_runtime::exec::resident::{peak_resident_bytes, resident_bytes};
use aphelion_runtime::exec::write_trace;
use aphelion_runtime::plan::{Bundle, Counts, Direction, Plan};
use clap::Args;
use serde::Serialize;

use super::output::{Output, bytes, memory, optional, seconds};
use super::parse;

const EXAMPLES: &str = "\
Examples:
  aphelion run model.aph --keys S/ --input x.ct -o y.ct
  aphelion run model.aph --keys S/ --input x.ct -o y.ct --trace trace.json --threads 8
  aphelion run deep.aph --keys S/ --input x.ct -o y.ct --max-memory 16G --checkpoint state/";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// The plan.
    #[arg(value_name = "P.aph")]
    plan: PathBuf,
    /// The server's folder.
    #[arg(long, value_name = "S/")]
    keys: PathBuf,
    /// Encrypted inputs.
    #[arg(long, value_name = "x.ct")]
    input: PathBuf,
    /// Encrypted results.
    #[arg(short, long, value_name = "y.ct")]
    output: PathBuf,
    /// Memory for the process; what is free unless given. Weights that find no room are encoded at every
    /// use; where even keys find none, nothing is begun.
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    max_memory: Option<u64>,
    /// Keeps the state in this folder, after every bootstrap; a run that was stopped goes on from there.
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Writes a trace for Perfetto or Chrome.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    samples: usize,
    runs: usize,
    evaluate_s: f64,
    counts: Counts,
    keys: Keys,
    key_use: KeyUse,
    memory: Memory,
    threads: usize,
    peak_rss_bytes: Option<u64>,
}

impl Run {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let plan = Plan::open(&self.plan).map_err(DriverError::in_file(&self.plan))?;
        let id = plan.client().id()?;
        let before = resident_bytes().unwrap_or(0);
        let limits = Limits {
            max_memory: self.max_memory,
            traced: self.trace.is_some(),
        };
        let params = Parameters::new(plan.client().parameters.clone()).map_err(DriverError::from)?;
        let inputs =
            Bundle::read(&params, id, Direction::Inputs, &self.input).map_err(DriverError::in_file(&self.input))?;
        let server = roles::open_server(plan, &params, &self.keys, &limits, output)?;
        let (results, profiles) = roles::run(&server, &inputs, self.checkpoint.as_deref(), output)?;
        results.write(server.params(), &self.output)?;
        if let Some(folder) = &self.checkpoint {
            roles::remove_checkpoints(folder, inputs.runs.len())?;
        }
        if let Some(path) = &self.trace {
            let file = File::create(path).with_context(|| path.display().to_string())?;
            write_trace(&mut BufWriter::new(file), server.plan(), &profiles)?;
        }
        let report = Report {
            samples: inputs.samples,
            runs: profiles.len(),
            evaluate_s: median(profiles.iter().map(|profile| profile.wall.as_secs_f64()).collect()),
            counts: Counts::of_program(server.plan().program()),
            keys: Keys::of(server.plan().client(), server.params()),
            key_use: KeyUse::of(server.plan(), server.params()),
            memory: Memory::new(&server, before),
            threads: rayon::current_num_threads(),
            peak_rss_bytes: peak_resident_bytes(),
        };
        output.report(&report, |report| {
            format!(
                "{}: {} samples in {} runs, {} each on {} threads\nmemory: {} at most (predicted {}: {})",
                self.output.display(),
                report.samples,
                report.runs,
                seconds(report.evaluate_s),
                report.threads,
                optional(report.peak_rss_bytes.map(bytes)),
                bytes(report.memory.predicted_rss),
                memory(&report.memory)
            )
        })
    }
}
