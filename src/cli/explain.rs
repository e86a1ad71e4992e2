//! `aphelion explain`: what a plan does.

use std::path::PathBuf;

use aphelion::driver::{DriverError, Observer, prices};
use aphelion::explain::{Analysis, Measured, html};
use aphelion::report::PlanReport;
use aphelion_runtime::ckks::params::Parameters;
use aphelion_runtime::plan::Plan;
use clap::Args;

use super::output::{Output, bytes, optional, pairs, seconds, table};

const EXAMPLES: &str = "\
Examples:
  aphelion explain model.aph
  aphelion explain model.aph --json
  aphelion explain model.aph --html plan.html --trace trace.json";

/// Width of the bars of the timeline.
const BAR: f64 = 24.0;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    /// The plan.
    #[arg(value_name = "P.aph")]
    plan: PathBuf,
    /// Writes a page with drawings, complete in one file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The trace of a run, as --trace of run and infer writes it: puts measured times on the page.
    #[arg(long, value_name = "FILE", requires = "html")]
    trace: Option<PathBuf>,
    /// Prices to predict single instructions by, as calibrate-machine writes them; by default those that compile takes.
    #[arg(long, value_name = "FILE", requires = "html")]
    cost_table: Option<PathBuf>,
}

impl Explain {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let plan = Plan::open(&self.plan).map_err(DriverError::in_file(&self.plan))?;
        let params = Parameters::new(plan.client().parameters.clone())?;
        if let Some(path) = &self.html {
            let measured = self
                .trace
                .as_deref()
                .map(|trace| Measured::read(trace, &plan))
                .transpose()?;
            let table = prices::find(self.cost_table.as_deref())?;
            let page = html(&Analysis::new(&plan, &params, &table, measured));
            std::fs::write(path, page).map_err(|source| DriverError::io(path, source))?;
            output.notice(&format!("wrote {}", path.display()));
        }
        output.report(&PlanReport::new(&plan, &params), text)
    }
}

/// The report as tables.
pub(super) fn text(report: &PlanReport) -> String {
    let params = &report.plan.params;
    let security = match (params.secure, params.security_bits) {
        (true, Some(bits)) => format!("{bits:.0} bits"),
        (true, None) => "at least 128 bits".to_string(),
        (false, bits) => format!(
            "NONE DEMANDED (estimate: {} bits): for tests only",
            optional(bits.map(f64::round))
        ),
    };
    let counts = &report.plan.counts;
    let mut text = pairs(&[
        ("model", report.plan.model.clone()),
        ("ring degree", format!("2^{}", params.log_n)),
        ("levels", format!("{} (depth {})", params.levels, report.plan.depth)),
        (
            "modulus",
            format!(
                "{:.0} + {:.0} bits, scale {} bits, dnum {}",
                params.log_q, params.log_p, params.scale_bits, params.dnum
            ),
        ),
        ("security", security),
        ("samples", format!("{} at once", report.plan.batch)),
        (
            "evaluation keys",
            format!("{}, {}", report.plan.keys.count, bytes(report.plan.keys.bytes)),
        ),
        (
            "constants",
            format!(
                "{} vectors, {} in the plan",
                report.constants,
                bytes(report.constant_bytes)
            ),
        ),
        ("ciphertexts", format!("at most {} at once", report.peak_ciphertexts)),
        (
            "rotations",
            format!("{}, {} of them hoisted", counts.rotations, counts.hoisted_rotations),
        ),
        (
            "products",
            format!("{} by ciphertexts, {} by plaintexts", counts.ct_mults, counts.pt_mults),
        ),
        ("rescales", counts.rescales.to_string()),
        ("bootstraps", counts.bootstraps.to_string()),
        (
            "predicted time",
            optional(report.plan.predicted_evaluate_s.map(seconds)),
        ),
        (
            "predicted precision",
            optional(report.plan.predicted_bits.map(|bits| format!("{bits:.1} bits"))),
        ),
    ]);
    text.push('\n');
    let head = ["layer", "level", "rotations", "products", "cost", ""];
    let mut rows = vec![head.map(String::from).to_vec()];
    for layer in &report.layers {
        rows.push(vec![
            layer.origin.clone(),
            format!("{} -> {}", layer.level_in, layer.level_out),
            layer.counts.rotations.to_string(),
            format!("{}", layer.counts.ct_mults + layer.counts.pt_mults),
            format!("{:.1} %", 100.0 * layer.share),
            format!(
                "{:<width$}",
                "#".repeat((layer.share * BAR).round() as usize),
                width = BAR as usize
            ),
        ]);
    }
    text.push_str(&table(&rows));
    text
}
