//! The command line: parse arguments, call the driver, print.
//!
//! Exit codes: 0 fine, 1 the run failed, 2 bad usage or bad input.

mod bench;
mod calibrate_machine;
mod compile;
mod decrypt;
mod encrypt;
mod explain;
mod infer;
mod keygen;
mod opt;
mod options;
mod output;
mod parse;
mod run;

use std::process::ExitCode;

use anyhow::Context;
use aphelion::driver::DriverError;
use aphelion_runtime::error::Error as RuntimeError;
use clap::{Args, Parser, Subcommand};
use output::Output;

/// Exit code for bad usage or bad input, which clap uses too.
const BAD_INPUT: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  aphelion infer examples/models/lenet_sq.onnx --input examples/data/mnist_test.npz --samples 3
  aphelion compile model.onnx --calibrate data.npz -o model.aph
  aphelion keygen model.aph --client C/ --server S/
  aphelion encrypt model.aph --keys C/ --input x.npy -o x.ct
  aphelion run model.aph --keys S/ --input x.ct -o y.ct
  aphelion decrypt model.aph --keys C/ --input y.ct -o y.npy";

/// Machine learning on encrypted data.
#[derive(Parser)]
#[command(name = "aphelion", version, about, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of every verb.
#[derive(Args)]
struct Global {
    /// Print one machine-readable report on stdout.
    #[arg(long, global = true)]
    json: bool,
    /// Threads to use; all cores by default.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// No progress on stderr.
    #[arg(long, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Compile a model, encrypt inputs, evaluate, decrypt, and compare with the model in the clear.
    Infer(infer::Infer),
    /// Compile a model to a plan.
    Compile(compile::Compile),
    /// Show what a plan does: parameters, keys, counts, and a timeline by layer.
    Explain(explain::Explain),
    /// Make a secret key for the client and evaluation keys for the server.
    Keygen(keygen::Keygen),
    /// Encrypt inputs with the client's key.
    Encrypt(encrypt::Encrypt),
    /// Evaluate a plan on encrypted inputs with the server's keys.
    Run(run::Run),
    /// Decrypt results with the client's key.
    Decrypt(decrypt::Decrypt),
    /// Run passes on the text form of a program.
    Opt(opt::Opt),
    /// Measure the runtime.
    Bench(bench::Bench),
    /// Measure this machine for the compiler's predictions and choices.
    CalibrateMachine(calibrate_machine::CalibrateMachine),
}

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.global.json, cli.global.quiet);
    match run(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn run(cli: Cli, output: &Output) -> anyhow::Result<()> {
    if let Some(threads) = cli.global.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
        pool.build_global().context("starting threads")?;
    }
    match cli.verb {
        Verb::Infer(args) => args.run(output),
        Verb::Compile(args) => args.run(output),
        Verb::Explain(args) => args.run(output),
        Verb::Keygen(args) => args.run(output),
        Verb::Encrypt(args) => args.run(output),
        Verb::Run(args) => args.run(output),
        Verb::Decrypt(args) => args.run(output),
        Verb::Opt(args) => args.run(output),
        Verb::Bench(args) => args.run(output),
        Verb::CalibrateMachine(args) => args.run(output),
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let driver = error.downcast_ref::<DriverError>().map(DriverError::is_bad_input);
    let runtime = || {
        error
            .downcast_ref::<RuntimeError>()
            .map(|error| DriverError::from(error.clone()).is_bad_input())
    };
    if driver.or_else(runtime).unwrap_or(false) {
        BAD_INPUT
    } else {
        1
    }
}
