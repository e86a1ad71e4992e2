//! `aphelion bench`: measures the runtime, one JSON line per operation.

use aphelion_runtime::bench::bootstrap::bootstrap;
use aphelion_runtime::bench::{OPERATIONS, Set, measure};
use aphelion_runtime::ckks::boot::{BootstrapRequest, Content};
use aphelion_runtime::ckks::params::Security;
use clap::{Args, Subcommand, ValueEnum};

use super::output::Output;

const EXAMPLES: &str = "\
Examples:
  aphelion bench primitives --threads 1
  aphelion bench primitives --log-n 14,16 --op rotate,hoisted_rot8
  aphelion bench bootstrap --slots 4096 --content real --bits 13 --profile";

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
    /// A bootstrap: the cheapest at 128 bits that does what is asked.
    #[command(after_help = EXAMPLES)]
    Bootstrap(Bootstrap),
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Real,
    Complex,
}

#[derive(Args)]
struct Bootstrap {
    /// Ring degree, as log2.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(10..=17))]
    log_n: u32,
    /// Slots of the message, a power of two; half the ring degree by default.
    #[arg(long)]
    slots: Option<usize>,
    /// What the slots hold.
    #[arg(long, value_enum, default_value = "complex")]
    content: Kind,
    /// Levels between the result and the next bootstrap.
    #[arg(long, default_value_t = 14)]
    levels: usize,
    /// Bits of the scale of those levels.
    #[arg(long, default_value_t = 40.0)]
    log_scale: f64,
    /// Bits wanted of the worst slot.
    #[arg(long, default_value_t = 20.0)]
    bits: f64,
    /// Timed runs.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Makes the uniform halves of keys from their seeds at every use: half the key memory, for more time.
    #[arg(long)]
    seeded_masks: bool,
    /// Also prints time, key switches and noise of every stage, and the keys by use.
    #[arg(long)]
    profile: bool,
}

impl Bootstrap {
    fn run(&self, output: &Output) -> anyhow::Result<()> {
        let request = BootstrapRequest {
            log_n: self.log_n,
            slots: self.slots.unwrap_or(1 << (self.log_n - 1)),
            content: match self.content {
                Kind::Real => Content::Real,
                Kind::Complex => Content::Complex,
            },
            bits: self.bits,
            levels: self.levels,
            log_scale: self.log_scale,
            security: Security::Classical128,
        };
        let report = bootstrap(&request, !self.seeded_masks, self.runs)?;
        output.line(&serde_json::to_string(&report.measurement)?)?;
        if self.profile {
            output.line(&report.profile())?;
        }
        Ok(())
    }
}

#[derive(Args)]
struct Primitives {
    /// Ring degrees, as log2.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "14,15,16")]
    log_n: Vec<u32>,
    /// Operations; all by default.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(OPERATIONS))]
    op: Vec<String>,
    /// Makes the uniform halves of keys from their seeds at every use: half the key memory, for more time.
    #[arg(long)]
    seeded_masks: bool,
    /// Measures every operation for about this long.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    seconds: f64,
}

impl Bench {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let args = match &self.what {
            What::Bootstrap(args) => return args.run(output),
            What::Primitives(args) => args,
        };
        let ops: Vec<&str> = if args.op.is_empty() {
            OPERATIONS.to_vec()
        } else {
            args.op.iter().map(String::as_str).collect()
        };
        for log_n in &args.log_n {
            let mut set = Set::matched(*log_n)?;
            if args.seeded_masks {
                set = set.with_seeded_masks();
            }
            for result in measure(&set, &ops, args.seconds)? {
                output.line(&serde_json::to_string(&result)?)?;
            }
        }
        Ok(())
    }
}
