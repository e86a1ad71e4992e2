//! Options of everything that compiles.

use std::ops::Range;
use std::path::PathBuf;

use aphelion::driver::data::{self, Sample};
use aphelion::driver::model::Model;
use aphelion::driver::prices;
use aphelion::driver::program;
use aphelion::driver::{DriverError, Observer};
use aphelion::report::Calibration;
use aphelion_passes::cost_model::CostTable;
use aphelion_passes::pipeline::{AnyGraph, PASSES};
use aphelion_passes::{Batch, CompileOptions, PassCx, Target};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use super::output::Output;
use super::parse;

/// What security to demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SecurityLevel {
    /// 128 bits against classical attacks.
    #[value(name = "128")]
    Bits128,
    /// None: for tests only.
    None,
}

#[derive(Args)]
#[command(next_help_heading = "Compilation")]
pub(super) struct CompileArgs {
    /// Samples to take ranges from: C.npy, C.npz or C.npz:ARRAY; NAME=FILE for each of several inputs.
    #[arg(long, value_name = "C.npz")]
    calibrate: Vec<String>,
    /// Only these rows of the samples, A up to B.
    #[arg(long, value_name = "A..B", value_parser = parse::rows, requires = "calibrate")]
    calibrate_rows: Option<Range<usize>>,
    /// Interval of every input element, where there are no samples.
    #[arg(long, value_name = "LOW..HIGH", value_parser = parse::interval, allow_hyphen_values = true, conflicts_with = "calibrate")]
    input_range: Option<(f64, f64)>,
    /// Ranges found are widened by this factor.
    #[arg(long, value_name = "FACTOR", default_value_t = CompileOptions::default().range_margin)]
    range_margin: f64,
    /// Asked precision: -log2 of the largest error relative to the largest output.
    #[arg(long, value_name = "BITS", conflicts_with = "agreement")]
    precision: Option<f64>,
    /// Asked agreement of predicted classes with the exact model, over the samples.
    #[arg(long, value_name = "PCT")]
    agreement: Option<f64>,
    /// Most memory that evaluation keys may take.
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    max_key_memory: Option<u64>,
    /// Ring degree as log2, instead of the cheapest.
    #[arg(long, value_name = "LOG2")]
    log_n: Option<u32>,
    /// Most memory that a running plan may take: keys, plaintexts and ciphertexts.
    #[arg(long, value_name = "SIZE", value_parser = parse::size, default_value = "16GiB")]
    max_plan_memory: u64,
    /// Most levels between two bootstraps, instead of the cheapest number.
    #[arg(long, value_name = "N")]
    max_levels: Option<u32>,
    /// Slots per ciphertext, a power of two, instead of the cheapest number.
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// Samples that one run takes, side by side in slots that one would leave unused: a power of two, or `auto` for as many
    /// as fit without a larger ring.
    #[arg(long, value_name = "N", value_parser = parse::batch, default_value = "1")]
    batch: Batch,
    /// Security to demand; `none` is for tests only and marks the plan.
    #[arg(long, value_enum, default_value_t = SecurityLevel::Bits128)]
    security: SecurityLevel,
    /// Prices of this machine, as calibrate-machine writes them; else $APHELION_COST_TABLE or aphelion/costs.json in the
    /// user's folder of settings, if they are there.
    #[arg(long, value_name = "FILE")]
    cost_table: Option<PathBuf>,
    /// Leaves out a rewrite rule.
    #[arg(long, value_name = "RULE")]
    disable_rule: Vec<String>,
    /// Prints the program after a pass on stderr, or writes it to the folder of --dump-to.
    #[arg(long, value_name = "PASS", value_parser = PossibleValuesParser::new(PASSES.iter().map(|pass| pass.name)))]
    dump_after: Vec<String>,
    /// Writes dumps as PASS.air and PASS.safetensors (large constants), which `aphelion opt` reads.
    #[arg(long, value_name = "FOLDER", requires = "dump_after")]
    dump_to: Option<PathBuf>,
}

impl CompileArgs {
    /// The options, without any samples.
    pub(super) fn options(&self, output: &Output) -> anyhow::Result<CompileOptions> {
        if self.security == SecurityLevel::None {
            output.notice("--security none: the parameters protect nothing; for tests only");
        }
        let options = CompileOptions {
            target: match (self.precision, self.agreement) {
                (Some(bits), _) => Target::Precision(bits),
                (None, Some(percent)) => Target::Agreement(percent),
                (None, None) => CompileOptions::default().target,
            },
            input_range: self.input_range,
            range_margin: self.range_margin,
            max_key_bytes: self.max_key_memory,
            allow_insecure: self.security == SecurityLevel::None,
            log_n: self.log_n,
            max_levels: self.max_levels,
            max_memory_bytes: self.max_plan_memory,
            slots: self.slots,
            batch: self.batch,
            disabled_rules: self.disable_rule.iter().cloned().collect(),
        };
        options.check().map_err(DriverError::from)?;
        Ok(options)
    }

    /// The prices to compile with.
    pub(super) fn prices(&self) -> anyhow::Result<CostTable> {
        Ok(prices::find(self.cost_table.as_deref())?)
    }

    /// What the passes are told. Without samples or range, `fallback` samples stand in, if there are any.
    pub(super) fn context(
        &self,
        model: &Model,
        fallback: &[Sample],
        output: &Output,
    ) -> anyhow::Result<(PassCx, Calibration)> {
        let mut calibration = Calibration {
            source: "none".into(),
            rows: 0,
        };
        let mut samples = Vec::new();
        if !self.calibrate.is_empty() {
            samples = data::load_samples(&self.calibrate, &model.inputs())?;
            if let Some(range) = &self.calibrate_rows {
                samples = data::rows(samples, range)?;
            }
            calibration.source = self.calibrate.join(", ");
        } else if self.input_range.is_none() && model.input_ranges.is_empty() && !fallback.is_empty() {
            output.notice("no --calibrate: ranges are taken from the rows of --input");
            samples = fallback.to_vec();
            calibration.source = "input".into();
        }
        calibration.rows = samples.len();
        let options = self.options(output)?;
        let samples = samples.into_iter().map(|sample| sample.concat()).collect();
        let cx = PassCx {
            options,
            samples,
            cost_table: self.prices()?,
            ..PassCx::default()
        };
        Ok((cx, calibration))
    }

    /// Prints or writes what a pass made, if that was asked for.
    pub(super) fn dump(&self, output: &Output, pass: &str, graph: &AnyGraph) {
        if !self.dump_after.iter().any(|name| name == pass) {
            return;
        }
        match &self.dump_to {
            Some(folder) => match program::save(folder, pass, graph) {
                Ok(path) => output.notice(&format!("wrote {}", path.display())),
                Err(error) => output.notice(&format!("no dump after {pass}: {error}")),
            },
            None => match graph.print() {
                Ok(text) => output.aside(&text),
                Err(error) => output.notice(&format!("no dump after {pass}: {error}")),
            },
        }
    }
}
