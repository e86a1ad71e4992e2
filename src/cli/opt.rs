//! `aphelion opt`: passes on the text form of a program, for whoever writes passes.

use std::path::PathBuf;

use aphelion::driver::DriverError;
use aphelion::driver::model::Model;
use aphelion::driver::program;
use aphelion_passes::PassCx;
use aphelion_passes::pipeline::{AnyGraph, PASSES, PassManager, PassReport};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;

use super::options::CompileArgs;
use super::output::Output;

const EXAMPLES: &str = "\
Examples:
  aphelion opt model.onnx
  aphelion opt model.onnx --pass fold_constants,recover_activations,fold_affine
  aphelion compile model.onnx --calibrate data.npz --dump-after lower_to_slot --dump-to dumps/ -o model.aph
  aphelion opt dumps/lower_to_slot.air --pass rewrite,lower_to_ckks

Large constants stand in a program by their fingerprint and are read from the .safetensors file of its name, which
--dump-to writes, or from the model or .safetensors file that --constants names.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Opt {
    /// A program in text form, or a model.
    #[arg(value_name = "FILE.air")]
    program: PathBuf,
    /// Passes in the order to run them; none prints the program as it is.
    #[arg(long = "pass", value_name = "P,P,...", value_delimiter = ',', value_parser = PossibleValuesParser::new(PASSES.iter().map(|pass| pass.name)))]
    passes: Vec<String>,
    /// The large constants of the program: a model or a .safetensors file, instead of the one beside the program.
    #[arg(long, value_name = "FILE")]
    constants: Option<PathBuf>,
    #[command(flatten)]
    options: CompileArgs,
}

#[derive(Serialize)]
struct Report {
    program: String,
    passes: Vec<PassReport>,
}

impl Opt {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let is_text = self
            .program
            .extension()
            .is_none_or(|extension| extension != "onnx" && extension != "aph-model");
        let (graph, cx) = if is_text {
            let graph = program::load(&self.program, self.constants.as_deref())?;
            let options = self.options.options(output)?;
            (
                graph,
                PassCx {
                    options,
                    cost_table: self.options.prices()?,
                    ..PassCx::default()
                },
            )
        } else {
            let model = Model::load(&self.program)?;
            let (cx, _) = self.options.context(&model, &[], output)?;
            (AnyGraph::Nn(model.graph), cx)
        };
        let dump = |pass: &'static str, graph: &AnyGraph| self.options.dump(output, pass, graph);
        let mut manager = PassManager::new(&cx).verify(true).on_pass(dump);
        let names: Vec<&str> = self.passes.iter().map(String::as_str).collect();
        let result = manager.run(&names, graph).map_err(DriverError::from)?;
        let report = Report {
            program: result.print().map_err(DriverError::from)?,
            passes: manager.reports().to_vec(),
        };
        output.report(&report, |report| report.program.clone())
    }
}
