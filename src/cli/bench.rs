//! `aphelion bench`: measures the runtime, one JSON line per operation.

use aphelion_runtime::bench::{OPERATIONS, Set, measure};
use clap::{Args, Subcommand};

use super::output::Output;

const EXAMPLES: &str = "\
Examples:
  aphelion bench primitives --threads 1
  aphelion bench primitives --log-n 14,16 --op rotate,hoisted_rot8";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Operations of the scheme at 128-bit parameters.
    #[command(after_help = EXAMPLES)]
    Primitives(Primitives),
}

#[derive(Args)]
struct Primitives {
    /// Ring degrees, as log2.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "14,15,16")]
    log_n: Vec<u32>,
    /// Operations; all by default.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(OPERATIONS))]
    op: Vec<String>,
    /// Measures every operation for about this long.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    seconds: f64,
}

impl Bench {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let What::Primitives(args) = &self.what;
        let ops: Vec<&str> = if args.op.is_empty() {
            OPERATIONS.to_vec()
        } else {
            args.op.iter().map(String::as_str).collect()
        };
        for log_n in &args.log_n {
            let set = Set::matched(*log_n)?;
            for result in measure(&set, &ops, args.seconds)? {
                output.line(&serde_json::to_string(&result)?)?;
            }
        }
        Ok(())
    }
}
