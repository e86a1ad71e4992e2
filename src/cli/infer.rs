//! `aphelion infer`: everything in one process.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use anyhow::Context;
use aphelion::driver::compile::{Compilation, compile};
use aphelion::driver::data::Sample;
use aphelion::driver::infer::infer;
use aphelion::driver::job::Job;
use aphelion::driver::limits::Limits;
use aphelion::driver::metrics::Decision;
use aphelion::driver::model::Model;
use aphelion::driver::simulate::simulate;
use aphelion::driver::{DriverError, Observer, data, ranges, roles};
use aphelion::report::{Accuracy, Agreement, InferReport, SimulationReport};
use aphelion_runtime::exec::write_trace;
use clap::Args;

use super::decrypt::write_outputs;
use super::options::CompileArgs;
use super::output::{Output, bytes, memory, optional, pairs, seconds, table};
use super::parse;

const EXAMPLES: &str = "\
Examples:
  aphelion infer examples/models/lenet_sq.onnx --input examples/data/mnist_test.npz --samples 3
  aphelion infer model.onnx --input x.npy --output y.npy --calibrate data.npz --precision 12
  aphelion infer examples/models/mlp_sq.onnx --input examples/data/mnist_test.npz --samples 8 --batch auto
  aphelion infer model.onnx --input test.npz --labels test.npz:y --calibrate train.npz --json
  aphelion infer model.onnx --input test.npz --labels test.npz:y --calibrate train.npz --simulate";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Infer {
    /// The model, .onnx or .aph-model.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// One input, or several along the first axis: X.npy, X.npz or X.npz:ARRAY; NAME=FILE for each of several inputs.
    #[arg(long, value_name = "X.npy", required = true)]
    input: Vec<String>,
    /// Takes the first N samples only.
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Where to write the results; with several outputs, one file each, Y.NAME.npy.
    #[arg(long, value_name = "Y.npy")]
    output: Option<PathBuf>,
    /// One class per sample, to count right predictions.
    #[arg(long, value_name = "FILE.npz:y")]
    labels: Option<String>,
    /// Memory for the process; what is free unless given. Weights that find no room are encoded at every
    /// use; where even keys find none, nothing is begun.
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    max_memory: Option<u64>,
    /// Warns of every input that leads an activation out of the interval it was approximated on, and by how much.
    #[arg(long)]
    check_ranges: bool,
    /// Runs the compiled program on real numbers with the noise that encryption would add: no keys, seconds instead of
    /// minutes, nothing kept secret.
    #[arg(long, conflicts_with_all = ["trace", "max_memory", "seed"])]
    simulate: bool,
    /// Writes a trace for Perfetto or Chrome.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Keys and encryptions from a number, for tests: they protect nothing.
    #[arg(long, hide = true)]
    seed: Option<u64>,
    #[command(flatten)]
    compile: CompileArgs,
}

impl Infer {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let model = Model::load(&self.model)?;
        let mut samples = data::load_samples(&self.input, &model.inputs())?;
        let (cx, calibration) = self.compile.context(&model, &samples, output)?;
        samples.truncate(self.samples.unwrap_or(usize::MAX));
        let mut labels = self.labels.as_deref().map(data::load_labels).transpose()?;
        if let Some(labels) = &mut labels {
            if labels.len() < samples.len() {
                let message = format!("{} labels for {} samples", labels.len(), samples.len());
                return Err(DriverError::BadInput(message).into());
            }
            labels.truncate(samples.len());
        }
        let compilation = compile(&model, &cx, output, &mut |pass, graph| {
            self.compile.dump(output, pass, graph)
        })?;
        if self.check_ranges {
            let n_outside = ranges::check(&model, &compilation, &samples, output)?;
            output.notice(&format!(
                "{n_outside} of {} samples lead an activation out of its interval",
                samples.len()
            ));
        }
        let job = Job {
            model: &model,
            compilation: &compilation,
            samples: &samples,
            labels: labels.as_deref(),
            calibration,
        };
        if self.simulate {
            let simulation = simulate(&job, output)?;
            self.write(&model, &compilation, &simulation.outputs)?;
            return output.report(&simulation.report, simulation_text);
        }
        let limits = Limits {
            max_memory: self.max_memory,
            traced: self.trace.is_some(),
        };
        let inference = infer(&job, &limits, &mut roles::random_source(self.seed)?, output)?;
        self.write(&model, &compilation, &inference.outputs)?;
        if let Some(path) = &self.trace {
            let file = File::create(path).with_context(|| path.display().to_string())?;
            write_trace(&mut BufWriter::new(file), &compilation.plan, &inference.profiles)?;
        }
        output.report(&inference.report, |report| {
            let shown = |outputs: &[Vec<f64>]| -> String {
                let values = outputs.iter().flatten().take(10).map(|value| format!("{value:.4}"));
                values.collect::<Vec<_>>().join(" ")
            };
            let decision = Decision::of(&model.graph);
            let class = |outputs: &Sample| outputs.first().map_or(0, |output| decision.class(output));
            let results = inference.outputs.iter().zip(&inference.clear).take(3).enumerate();
            let results = results.map(|(number, (encrypted, clear))| {
                format!(
                    "sample {number}\n  encrypted  class {}: {}\n  clear      class {}: {}\n",
                    class(encrypted),
                    shown(encrypted),
                    class(clear),
                    shown(clear)
                )
            });
            format!("{}\n{}", results.collect::<String>(), text(report))
        })
    }

    /// Writes the results, if that was asked for.
    fn write(&self, model: &Model, compilation: &Compilation, outputs: &[Sample]) -> anyhow::Result<()> {
        let Some(path) = &self.output else { return Ok(()) };
        let ports = &compilation.plan.client().outputs;
        let names = ports.iter().map(|port| port.name.as_str());
        let ports: Vec<(&str, &[usize])> = names.zip(model.output_shapes()).collect();
        write_outputs(path, &ports, outputs)
    }
}

fn simulation_text(report: &SimulationReport) -> String {
    let params = &report.plan.params;
    let mut lines = pairs(&[
        ("model", report.plan.model.clone()),
        (
            "parameters",
            format!(
                "N = 2^{}, {} levels, {:.0} + {:.0} bits, {} bootstraps",
                params.log_n, params.levels, params.log_q, params.log_p, report.plan.counts.bootstraps
            ),
        ),
        (
            "time",
            format!(
                "compile {}, simulate {}",
                seconds(report.compile_s),
                seconds(report.simulate_s)
            ),
        ),
        (
            "error",
            format!(
                "{:.2e} at most, {:.2e} on average, {:.1} bits; noise alone {:.2e}, {:.1} bits (predicted {})",
                report.error.max_abs,
                report.error.mean_abs,
                report.error.bits,
                report.noise.max_abs,
                report.noise.bits,
                optional(report.plan.predicted_bits.map(|bits| format!("{bits:.1}")))
            ),
        ),
        ("same class", same_class(&report.argmax_agreement)),
    ]);
    if let Some(accuracy) = &report.accuracy {
        lines.push_str(&right_class(accuracy, "simulated"));
    }
    lines.push('\n');
    let head = ["sample", "clear", "simulated", "label", "error", "lead"];
    let mut rows = vec![head.map(String::from).to_vec()];
    rows.extend(report.by_sample.iter().enumerate().map(|(number, sample)| {
        vec![
            number.to_string(),
            sample.clear_class.to_string(),
            sample.simulated_class.to_string(),
            sample.label.map_or_else(String::new, |label| label.to_string()),
            format!("{:.2e}", sample.error),
            format!("{:.2e}", sample.lead),
        ]
    }));
    lines.push_str(&table(&rows));
    lines
}

fn same_class(agreement: &Agreement) -> String {
    format!("{} of {} samples", agreement.same, agreement.total)
}

fn right_class(accuracy: &Accuracy, how: &str) -> String {
    let Accuracy {
        clear,
        encrypted,
        total,
    } = accuracy;
    format!("right class      {clear} in the clear, {encrypted} {how}, of {total}\n")
}

fn text(report: &InferReport) -> String {
    let (params, counts, time) = (&report.plan.params, &report.plan.counts, &report.time_s);
    let mut lines = pairs(&[
        ("model", report.plan.model.clone()),
        (
            "parameters",
            format!(
                "N = 2^{}, {} levels, {:.0} + {:.0} bits, scale {} bits, dnum {}",
                params.log_n, params.levels, params.log_q, params.log_p, params.scale_bits, params.dnum
            ),
        ),
        (
            "security",
            match params.secure {
                true => format!("{} bits", optional(params.security_bits.map(f64::round))),
                false => "NONE DEMANDED: for tests only".to_string(),
            },
        ),
        (
            "operations",
            format!(
                "{} rotations ({} hoisted), {} + {} products, {} rescales, {} bootstraps",
                counts.rotations,
                counts.hoisted_rotations,
                counts.ct_mults,
                counts.pt_mults,
                counts.rescales,
                counts.bootstraps
            ),
        ),
        (
            "evaluation keys",
            format!("{}, {}", report.plan.keys.count, bytes(report.plan.keys.bytes)),
        ),
        (
            "time",
            format!(
                "compile {}, keys {}, weights {}, encrypt {}, evaluate {} (predicted {}{}), decrypt {}",
                seconds(time.compile),
                seconds(time.keygen),
                seconds(time.encode),
                seconds(time.encrypt),
                seconds(time.evaluate),
                optional(report.plan.predicted_evaluate_s.map(seconds)),
                match report.plan.batch {
                    1 => String::new(),
                    n => format!("; {n} samples at once, {} each", seconds(report.evaluate_per_sample_s)),
                },
                seconds(time.decrypt)
            ),
        ),
        (
            "memory",
            format!(
                "{} at most (predicted {}: {}); {} up, {} down per run",
                optional(report.peak_rss_bytes.map(bytes)),
                bytes(report.memory.predicted_rss),
                memory(&report.memory),
                bytes(report.upload_bytes as u64),
                bytes(report.download_bytes as u64)
            ),
        ),
        (
            "error",
            format!(
                "{:.2e} at most, {:.2e} on average, {:.1} bits (predicted {})",
                report.error.max_abs,
                report.error.mean_abs,
                report.error.bits,
                optional(report.plan.predicted_bits.map(|bits| format!("{bits:.1}")))
            ),
        ),
        ("same class", same_class(&report.argmax_agreement)),
    ]);
    if let Some(accuracy) = &report.accuracy {
        lines.push_str(&right_class(accuracy, "encrypted"));
    }
    lines.push('\n');
    let mut rows = vec![["layer", "time"].map(String::from).to_vec()];
    rows.extend(
        report
            .layers_s
            .iter()
            .map(|(origin, time)| vec![origin.clone(), seconds(*time)]),
    );
    lines.push_str(&table(&rows));
    lines
}
