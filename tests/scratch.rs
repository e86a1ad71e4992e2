//! scratch
use std::collections::BTreeMap;
use aphelion::driver::compile::Compilation;
use aphelion::driver::infer::{Job, infer};
use aphelion::driver::model::Model;
use aphelion::driver::{data, roles, Silent};
use aphelion::report::Calibration;
use aphelion_backends::cpu::{self, PlanInfo};
use aphelion_ir::nn::{Interpreter, ValueRange};
use aphelion_passes::pipeline::{AnyGraph, PassManager};
use aphelion_passes::PassCx;
use aphelion_runtime::exec::ServerOptions;

#[test]
fn scratch() {
    let name = std::env::var("MODEL").unwrap();
    let dat = std::env::var("DATA").unwrap();
    let model = Model::load(format!("examples/models/{name}.onnx").as_ref()).unwrap();
    let samples = data::load_samples(&[format!("examples/data/{dat}.npz")], &model.inputs()).unwrap();
    let mut graph = model.graph.clone();
    let interp = Interpreter::new(&model.graph).unwrap();
    let mut ranges = vec![(f64::INFINITY, f64::NEG_INFINITY); graph.len()];
    for s in &samples {
        let inputs: BTreeMap<String, Vec<f64>> = model.inputs().iter().map(|(n, _)| n.to_string()).zip(s.iter().cloned()).collect();
        for (r, v) in ranges.iter_mut().zip(interp.evaluate_all(&inputs).unwrap()) {
            for x in v.iter() { r.0 = r.0.min(*x); r.1 = r.1.max(*x); }
        }
    }
    graph.attrs.ranges = ranges.iter().enumerate().filter(|(_, r)| r.0 <= r.1).map(|(i, r)| {
        let (c, h) = ((r.0 + r.1) / 2.0, (r.1 - r.0) / 2.0 * 1.25);
        ValueRange { value: i as u32, low: c - h, high: c + h }
    }).collect();
    let t = std::time::Instant::now();
    let cx = PassCx { samples: samples.iter().map(|s| s.concat()).collect(), ..PassCx::default() };
    let (slot, stats) = aphelion_passes::lower_to_slot::run(&cx, graph).unwrap();
    println!("lower_to_slot {:?} {:?}", t.elapsed(), stats);
    let mut manager = PassManager::new(&cx);
    let graph = manager.run(&["rewrite", "lower_to_ckks", "select_parameters"], AnyGraph::Slot(slot)).unwrap();
    for r in manager.reports() { println!("{} {:.3}s {:?}", r.name, r.seconds, r.stats); }
    let AnyGraph::Ckks(graph) = graph else { panic!() };
    let plan = cpu::plan(&graph, &PlanInfo::default()).unwrap();
    println!("compile {:?}", t.elapsed());
    let bytes = plan.to_bytes().unwrap();
    println!("plan bytes {}", bytes.len());
    let compilation = Compilation { plan, seconds: t.elapsed().as_secs_f64(), passes: manager.reports().to_vec() };
    let job = Job { model: &model, compilation: &compilation, samples: &samples[..3], labels: None, calibration: Calibration { source: "x".into(), rows: 1 }, options: ServerOptions::default() };
    let inf = infer(&job, &mut roles::random_source(Some(1)).unwrap(), &Silent).unwrap();
    println!("{}", serde_json::to_string_pretty(&inf.report).unwrap());
    for p in &inf.profiles { println!("{:?}", p.wall); for (k, v) in p.by_op(compilation.plan.program()) { println!("   {k} {v:?}"); } }
}
