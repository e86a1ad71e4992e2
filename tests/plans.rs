//! What the compiler makes of the example models: the program after each lowering and the plan's report, as snapshots;
//! the same bytes from the same input; the same program from both kinds of model file.

use std::ops::Range;
use std::path::PathBuf;

use aphelion::driver::Silent;
use aphelion::driver::compile::{Compilation, compile};
use aphelion::driver::data::{load_samples, rows};
use aphelion::driver::model::Model;
use aphelion::report::{PlanReport, Summary};
use aphelion_ir::ckks::{Ckks, CkksOp};
use aphelion_ir::nn::NnOp;
use aphelion_ir::text::{print_attr, print_canonical};
use aphelion_ir::{Graph, Node, Op, Origin, Rewriter, Tensor, ValueId};
use aphelion_passes::pipeline::AnyGraph;
use aphelion_passes::{Batch, CompileOptions, PassCx};
use aphelion_runtime::ckks::params::Parameters;

/// Rows that ranges are calibrated on; the encrypted tests use others.
const CALIBRATION_ROWS: Range<usize> = 60..100;
/// All images that there are of the deep networks' data.
const IMAGES: Range<usize> = 0..20;

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// A model compiled, with the text of the last graph of every dialect.
struct Compiled {
    compilation: Compilation,
    /// The slot program in the form that does not depend on names.
    canonical: String,
    nn: String,
    slot: String,
    ckks: String,
}

fn load(model: &str) -> Model {
    Model::load(&example(&format!("models/{model}"))).expect("the model is imported")
}

fn compile_example(model: &str, data: &str) -> Compiled {
    compile_on(&load(model), data, &CALIBRATION_ROWS)
}

fn compile_on(model: &Model, data: &str, calibration: &Range<usize>) -> Compiled {
    compile_with(&CompileOptions::default(), model, data, calibration)
}

fn compile_with(options: &CompileOptions, model: &Model, data: &str, calibration: &Range<usize>) -> Compiled {
    let spec = example(&format!("data/{data}")).display().to_string();
    let samples = load_samples(&[spec], &model.inputs()).expect("the data are read");
    let samples = rows(samples, calibration).expect("the rows are there");
    let cx = PassCx {
        options: options.clone(),
        samples: samples.into_iter().map(|sample| sample.concat()).collect(),
        ..PassCx::default()
    };
    let mut texts = [String::new(), String::new(), String::new()];
    let mut canonical = String::new();
    let mut keep = |_: &'static str, graph: &AnyGraph| {
        let dialect = match graph {
            AnyGraph::Nn(_) => 0,
            AnyGraph::Slot(_) => 1,
            AnyGraph::Ckks(_) => 2,
        };
        texts[dialect] = graph.print().expect("the graph is printed");
        if let AnyGraph::Slot(graph) = graph {
            canonical = print_canonical(graph).expect("the graph is printed");
        }
    };
    let compilation = compile(model, &cx, &Silent, &mut keep).expect("the model is compiled");
    let [nn, slot, ckks] = texts;
    Compiled {
        compilation,
        canonical,
        nn,
        slot,
        ckks,
    }
}

fn snapshot(name: &str, data: &str) -> Compiled {
    let compiled = compile_example(&format!("{name}.onnx"), data);
    let report = report(&compiled);
    let json = serde_json::to_string_pretty(&report).expect("the report is written");
    insta::assert_snapshot!(format!("{name}_nn"), compiled.nn);
    insta::assert_snapshot!(format!("{name}_slot"), compiled.slot);
    insta::assert_snapshot!(format!("{name}_ckks"), compiled.ckks);
    insta::assert_snapshot!(format!("{name}_report"), json);
    insta::assert_snapshot!(format!("{name}_figures"), figures(&report.plan));
    compiled
}

fn report(compiled: &Compiled) -> PlanReport {
    let plan = &compiled.compilation.plan;
    let params = Parameters::new(plan.client().parameters.clone()).expect("the parameters are valid");
    PlanReport::new(plan, &params)
}

/// What makes a plan better or worse, in few lines: a snapshot for models whose programs are too long for one, too.
fn figures(report: &Summary) -> String {
    let (params, counts) = (&report.params, &report.counts);
    let lines = [
        ("ring", format!("2^{}", params.log_n)),
        ("levels", params.levels.to_string()),
        ("depth", report.depth.to_string()),
        ("bootstraps", counts.bootstraps.to_string()),
        ("rotations", counts.rotations.to_string()),
        ("products of ciphertexts", counts.ct_mults.to_string()),
        ("products with plaintexts", counts.pt_mults.to_string()),
        (
            "keys",
            format!("{} of {} MiB", report.keys.count, report.keys.bytes >> 20),
        ),
        (
            "predicted",
            report
                .predicted_evaluate_s
                .map_or_else(String::new, |time| format!("{time:.3} s")),
        ),
        (
            "precision",
            report
                .predicted_bits
                .map_or_else(String::new, |bits| format!("{bits:.1} bits")),
        ),
    ];
    lines.map(|(name, value)| format!("{name}: {value}\n")).concat()
}

/// The same network in ONNX and in the model language becomes one slot program.
#[track_caller]
fn same_program(onnx: &Compiled, dsl: &Compiled) {
    assert!(onnx.canonical.lines().count() > 3, "{}", onnx.canonical);
    let mut pairs = onnx.canonical.lines().zip(dsl.canonical.lines());
    let differing = pairs.find(|(onnx, dsl)| onnx != dsl);
    assert_eq!(differing, None, "the first lines that differ, ONNX first");
    assert_eq!(onnx.canonical.len(), dsl.canonical.len());
}

#[test]
fn logreg_bc() {
    snapshot("logreg_bc", "bc_test.npz");
}

#[test]
fn mlp_sq() {
    snapshot("mlp_sq", "mnist_test.npz");
}

#[test]
fn cryptonets_sq() {
    snapshot("cryptonets_sq", "mnist_test.npz");
}

#[test]
fn lenet_sq() {
    snapshot("lenet_sq", "mnist_test.npz");
}

#[test]
fn mlp_credit() {
    let first = snapshot("mlp_credit", "credit_test.npz");
    same_program(&first, &compile_example("mlp_credit.aph-model", "credit_test.npz"));
    // Approximation and parameter selection run in parallel and draw noise from a seed; neither may show.
    let second = compile_example("mlp_credit.onnx", "credit_test.npz");
    let bytes = |compiled: &Compiled| compiled.compilation.plan.to_bytes().expect("the plan is written");
    assert!(bytes(&first) == bytes(&second), "two plans of one model differ");
}

#[test]
fn cnn1d_gunpoint() {
    let onnx = snapshot("cnn1d_gunpoint", "gunpoint_test.npz");
    same_program(&onnx, &compile_example("cnn1d_gunpoint.aph-model", "gunpoint_test.npz"));
}

/// Several samples at once, as many as fit: the operations of one.
#[test]
fn batches_that_fill_the_slots() {
    for name in ["mlp_sq", "cryptonets_sq", "lenet_sq"] {
        let options = CompileOptions {
            batch: Batch::Fill,
            ..CompileOptions::default()
        };
        let model = load(&format!("{name}.onnx"));
        let report = report(&compile_with(&options, &model, "mnist_test.npz", &CALIBRATION_ROWS)).plan;
        let text = format!("samples at once: {}\n{}", report.batch, figures(&report));
        insta::assert_snapshot!(format!("{name}_batch_figures"), text);
    }
}

/// The figures of a network whose programs are too long for snapshots, and where it is bootstrapped.
fn deep_snapshot(name: &str) -> Compiled {
    let compiled = compile_on(&load(&format!("{name}.onnx")), "cifar10_foolbox20.npz", &IMAGES);
    insta::assert_snapshot!(format!("{name}_figures"), figures(&report(&compiled).plan));
    insta::assert_snapshot!(format!("{name}_bootstraps"), bootstraps(&compiled.compilation.program));
    compiled
}

/// Every bootstrap: what its value comes from, its levels and slots.
fn bootstraps(program: &Graph<Ckks>) -> String {
    let line = |(_, node): (ValueId, &Node<Ckks>)| match node.op {
        CkksOp::Bootstrap { x, to, slots } => {
            let (origin, ty) = (program.origin(x), program.ty(x));
            Some(format!(
                "{origin}: level {} to {to}, {} x {slots} slots\n",
                ty.level, ty.cts
            ))
        }
        _ => None,
    };
    program.iter().filter_map(line).collect()
}

/// The network with a batch normalisation after every convolution that undoes what was done to its weights.
fn with_batch_norms(mut model: Model) -> Model {
    let source = model.graph.clone();
    let mut rewriter = Rewriter::new(&source);
    let mut n_norms = 0;
    for (id, node) in source.iter() {
        let conv = rewriter.copy(id, node).expect("a valid op");
        if !matches!(node.op, NnOp::Conv { .. }) {
            continue;
        }
        // (x - mean) / sqrt(var + epsilon) * scale + bias is x for these, up to rounding.
        let channels = node.ty.shape[1];
        let vary = |by: f64| move |channel: usize| 1.0 + by * (channel as f64).sin();
        let (mean, deviation) = (vary(0.5), vary(0.25));
        let epsilon = 1e-5;
        let mut constant = |name: &str, value: &dyn Fn(usize) -> f64| {
            let tensor = Tensor::from_f64(vec![channels], (0..channels).map(value).collect());
            let value = rewriter
                .target
                .constants
                .insert(&format!("norm{n_norms}.{name}"), tensor);
            let origin = Origin::new(format!("norm{n_norms}.{name}"), "Constant");
            rewriter
                .target
                .push(NnOp::Constant { value }, origin)
                .expect("a constant")
        };
        let op = NnOp::BatchNorm {
            x: conv,
            scale: constant("scale", &deviation),
            bias: constant("bias", &mean),
            mean: constant("mean", &mean),
            var: constant("var", &|channel| deviation(channel).powi(2) - epsilon),
            epsilon,
        };
        let origin = Origin::new(format!("norm{n_norms}"), "BatchNormalization");
        let norm = rewriter.target.push(op, origin).expect("a valid op");
        rewriter.replace(id, norm);
        n_norms += 1;
    }
    assert!(n_norms > 10, "{n_norms}");
    model.graph = rewriter.finish();
    model
}

/// What every op of the program works on: all of a plan but its numbers.
fn shape(program: &Graph<Ckks>) -> String {
    let line = |(_, node): (ValueId, &Node<Ckks>)| {
        let layout = match &node.op {
            CkksOp::LinearTransform { kernel, .. } => print_attr(&kernel.output),
            _ => String::new(),
        };
        format!("{} {} {layout}\n", node.op.mnemonic(), print_attr(&node.ty))
    };
    program.iter().map(line).collect()
}

#[test]
fn resnet20_cifar10_relu() {
    let folded = deep_snapshot("resnet20_cifar10_relu");
    let model = with_batch_norms(load("resnet20_cifar10_relu.onnx"));
    let normed = compile_on(&model, "cifar10_foolbox20.npz", &IMAGES);
    let (folded, normed) = (&folded.compilation.program, &normed.compilation.program);
    let (folded, normed) = (shape(folded), shape(normed));
    let differing = folded.lines().zip(normed.lines()).find(|(a, b)| a != b);
    assert_eq!(
        differing, None,
        "the first ops that differ, without batch normalisations first"
    );
    assert_eq!(folded.lines().count(), normed.lines().count());
}

#[test]
fn resnet20_cifar10_poly4() {
    deep_snapshot("resnet20_cifar10_poly4");
}

#[test]
fn lenet_sq_is_the_same_in_the_model_language() {
    let mut model = load("lenet_sq.aph-model");
    // Only the model language declares intervals of inputs; both are to calibrate alike.
    model.graph.attrs.ranges.clear();
    same_program(
        &compile_example("lenet_sq.onnx", "mnist_test.npz"),
        &compile_on(&model, "mnist_test.npz", &CALIBRATION_ROWS),
    );
}
