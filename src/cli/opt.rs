//! `aphelion opt`: passes on the text form of a program, for whoever writes passes.

use std::path::PathBuf;

use aphelion::driver::DriverError;
use aphelion::driver::model::Model;
use aphelion_ir::ConstantPool;
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
  aphelion opt program.air --pass rewrite,lower_to_ckks
  aphelion opt program.air --pass lower_to_ckks --constants model.onnx

Large constants stand in a program by their fingerprint; --constants names the model that holds them.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Opt {
    /// A program in text form, or a model.
    #[arg(value_name = "FILE.air")]
    program: PathBuf,
    /// Passes in the order to run them; none prints the program as it is.
    #[arg(long = "pass", value_name = "P,P,...", value_delimiter = ',', value_parser = PossibleValuesParser::new(PASSES.iter().map(|pass| pass.name)))]
    passes: Vec<String>,
    /// A model whose constants the program refers to.
    #[arg(long, value_name = "MODEL")]
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
            let constants = match &self.constants {
                Some(path) => Model::load(path)?.graph.constants,
                None => ConstantPool::default(),
            };
            let text = std::fs::read_to_string(&self.program);
            let text = text.map_err(|source| DriverError::io(&self.program, source))?;
            (
                AnyGraph::parse(&text, &constants).map_err(DriverError::from)?,
                PassCx::default(),
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
