//! What the compiler makes of the example models: the program after each lowering and the plan's report, as snapshots;
//! the same bytes from the same input; the same program from both kinds of model file.

use std::path::PathBuf;

use aphelion::driver::Silent;
use aphelion::driver::compile::{Compilation, compile};
use aphelion::driver::data::{load_samples, rows};
use aphelion::driver::model::Model;
use aphelion::report::PlanReport;
use aphelion_passes::PassCx;
use aphelion_passes::pipeline::AnyGraph;
use aphelion_runtime::ckks::params::Parameters;

/// Rows that ranges are calibrated on; the encrypted tests use others.
const CALIBRATION_ROWS: std::ops::Range<usize> = 60..100;

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// A model compiled, with the last graph of every dialect in canonical text.
struct Compiled {
    compilation: Compilation,
    nn: String,
    slot: String,
    ckks: String,
}

fn compile_example(model: &str, data: &str) -> Compiled {
    let model = Model::load(&example(&format!("models/{model}"))).expect("the model is imported");
    let spec = example(&format!("data/{data}")).display().to_string();
    let samples = load_samples(&[spec], &model.inputs()).expect("the data are read");
    let samples = rows(samples, &CALIBRATION_ROWS).expect("the rows are there");
    let cx = PassCx {
        samples: samples.into_iter().map(|sample| sample.concat()).collect(),
        ..PassCx::default()
    };
    let mut texts = [String::new(), String::new(), String::new()];
    let mut keep = |_: &'static str, graph: &AnyGraph| {
        let dialect = match graph {
            AnyGraph::Nn(_) => 0,
            AnyGraph::Slot(_) => 1,
            AnyGraph::Ckks(_) => 2,
        };
        texts[dialect] = graph.print().expect("the graph is printed");
    };
    let compilation = compile(&model, &cx, &Silent, &mut keep).expect("the model is compiled");
    let [nn, slot, ckks] = texts;
    Compiled {
        compilation,
        nn,
        slot,
        ckks,
    }
}

fn snapshot(name: &str, data: &str) {
    let compiled = compile_example(&format!("{name}.onnx"), data);
    let plan = &compiled.compilation.plan;
    let params = Parameters::new(plan.client().parameters.clone()).expect("the parameters are valid");
    let report = serde_json::to_string_pretty(&PlanReport::new(plan, &params)).expect("the report is written");
    insta::assert_snapshot!(format!("{name}_nn"), compiled.nn);
    insta::assert_snapshot!(format!("{name}_slot"), compiled.slot);
    insta::assert_snapshot!(format!("{name}_ckks"), compiled.ckks);
    insta::assert_snapshot!(format!("{name}_report"), report);
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
    snapshot("mlp_credit", "credit_test.npz");
}

#[test]
fn cnn1d_gunpoint() {
    snapshot("cnn1d_gunpoint", "gunpoint_test.npz");
}
