//! `aphelion compile`: a model becomes a plan.

use std::path::PathBuf;

use aphelion::driver::DriverError;
use aphelion::driver::compile::compile;
use aphelion::driver::model::Model;
use aphelion::report::PlanReport;
use aphelion_passes::pipeline::PassReport;
use aphelion_runtime::ckks::params::Parameters;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::explain;
use super::options::CompileArgs;
use super::output::{Output, bytes, seconds};

const EXAMPLES: &str = "\
Examples:
  aphelion compile model.onnx --calibrate data.npz -o model.aph
  aphelion compile model.aph-model --precision 12 --max-key-memory 2G -o model.aph
  aphelion compile model.onnx --calibrate data.npz --batch auto -o model.aph
  aphelion compile model.onnx --calibrate data.npz --dump-after lower_to_slot --dump-to dumps/ -o model.aph";

/// What the plan is to run on.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Machine {
    /// The runtime of this project.
    Cpu,
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Compile {
    /// The model, .onnx or .aph-model.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The plan.
    #[arg(short, long, value_name = "P.aph")]
    output: PathBuf,
    /// What the plan is to run on.
    #[arg(long, value_enum, default_value_t = Machine::Cpu)]
    target: Machine,
    #[command(flatten)]
    options: CompileArgs,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    plan: PlanReport,
    compile_s: f64,
    plan_bytes: u64,
    passes: Vec<PassReport>,
}

impl Compile {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let Machine::Cpu = self.target;
        let folder = self.output.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let message = format!("{}: there is no folder {}", self.output.display(), folder.display());
            return Err(DriverError::BadInput(message).into());
        }
        let model = Model::load(&self.model)?;
        let (cx, _) = self.options.context(&model, &[], output)?;
        let compilation = compile(&model, &cx, output, &mut |pass, graph| {
            self.options.dump(output, pass, graph)
        })?;
        compilation.plan.write(&self.output)?;
        let params = Parameters::new(compilation.plan.client().parameters.clone())?;
        let report = Report {
            plan: PlanReport::new(&compilation.plan, &params),
            compile_s: compilation.seconds,
            plan_bytes: std::fs::metadata(&self.output)?.len(),
            passes: compilation.passes,
        };
        output.report(&report, |report| {
            let (path, size) = (self.output.display(), bytes(report.plan_bytes));
            format!(
                "{}\n{path}: {size}, compiled in {}",
                explain::text(&report.plan),
                seconds(report.compile_s)
            )
        })
    }
}
