//! `aphelion run`: the server's work.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::Context;
use aphelion::driver::machine::peak_rss_bytes;
use aphelion::driver::metrics::median;
use aphelion::driver::{DriverError, roles};
use aphelion_runtime::exec::{ServerOptions, write_trace};
use aphelion_runtime::plan::{Bundle, Counts, Direction, Plan};
use clap::Args;
use serde::Serialize;

use super::output::{Output, seconds};
use super::parse;

const EXAMPLES: &str = "\
Examples:
  aphelion run model.aph --keys S/ --input x.ct -o y.ct
  aphelion run model.aph --keys S/ --input x.ct -o y.ct --trace trace.json --threads 8";

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
    /// Memory for weights encoded ahead; the rest is encoded at every use.
    #[arg(long, value_name = "SIZE", default_value = "8G", value_parser = parse::size)]
    weight_memory: u64,
    /// Writes a trace for Perfetto or Chrome.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    samples: usize,
    evaluate_s: f64,
    counts: Counts,
    encoded_bytes: u64,
    threads: usize,
    peak_rss_bytes: Option<u64>,
}

impl Run {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let plan = Plan::open(&self.plan).map_err(DriverError::in_file(&self.plan))?;
        let id = plan.client().id()?;
        let options = ServerOptions {
            weight_bytes: self.weight_memory,
        };
        let server = roles::open_server(plan, &self.keys, &options, output)?;
        let inputs = Bundle::read(server.params(), id, Direction::Inputs, &self.input)
            .map_err(DriverError::in_file(&self.input))?;
        let (results, profiles) = roles::run(&server, &inputs, output)?;
        results.write(server.params(), &self.output)?;
        if let Some(path) = &self.trace {
            let file = File::create(path).with_context(|| path.display().to_string())?;
            write_trace(&mut BufWriter::new(file), server.plan(), &profiles)?;
        }
        let report = Report {
            samples: profiles.len(),
            evaluate_s: median(profiles.iter().map(|profile| profile.wall.as_secs_f64()).collect()),
            counts: Counts::of_program(server.plan().program()),
            encoded_bytes: server.weights().bytes(),
            threads: rayon::current_num_threads(),
            peak_rss_bytes: peak_rss_bytes(),
        };
        output.report(&report, |report| {
            format!(
                "{}: {} samples, {} each on {} threads",
                self.output.display(),
                report.samples,
                seconds(report.evaluate_s),
                report.threads
            )
        })
    }
}
