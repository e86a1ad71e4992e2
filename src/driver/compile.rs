//! Compilation: an imported model becomes a plan, by all passes in order and the backend.

use std::collections::BTreeMap;
use std::time::Instant;

use aphelion_backends::cpu::{self, PlanInfo};
use aphelion_ir::ckks::Ckks;
use aphelion_ir::nn::{Nn, NnOp};
use aphelion_ir::slot::Slot;
use aphelion_ir::{Graph, Node, Origin};
use aphelion_passes::parameters::{assess, bootstrap_plan, security};
use aphelion_passes::pipeline::{self, AnyGraph, COMPILE, PassManager, PassReport};
use aphelion_passes::{PassCx, Target};
use aphelion_runtime::plan::{Plan, Report, ValueReport};

use super::error::Result;
use super::model::Model;
use super::observer::Observer;
use super::prices;

/// A model compiled.
#[derive(Clone, Debug)]
pub struct Compilation {
    /// The plan.
    pub plan: Plan,
    /// The program that the plan was made from.
    pub program: Graph<Ckks>,
    /// Seconds from the imported model to the plan.
    pub seconds: f64,
    /// Passes in the order they ran.
    pub passes: Vec<PassReport>,
    /// The model with polynomials in the places of activations.
    pub approximated: Graph<Nn>,
}

/// Compiles `model`. `on_pass` is shown every pass's name and result.
///
/// # Errors
/// When a pass or the backend cannot do what the model asks for.
pub fn compile(
    model: &Model,
    cx: &PassCx,
    observer: &dyn Observer,
    on_pass: &mut dyn FnMut(&'static str, &AnyGraph),
) -> Result<Compilation> {
    let start = Instant::now();
    observer.stage("compiling");
    let mut done = 0;
    let mut input_ranges = BTreeMap::new();
    let mut approximated = model.graph.clone();
    let manager = PassManager::new(cx).on_pass(|name, graph| {
        done += 1;
        observer.progress(f64::from(done) / (COMPILE.len() + 1) as f64);
        if let AnyGraph::Nn(graph) = graph {
            input_ranges = known_ranges(graph);
            approximated = graph.clone();
        }
        on_pass(name, graph);
    });
    let compiled = pipeline::compile(manager, model.graph.clone())?;
    if cx.options.target == Target::Automatic
        && let Some(percent) = asked_agreement(&compiled.passes)
    {
        observer.notice(&format!(
            "a deep model: polynomials are chosen so that {percent} % of the calibration samples keep their class, not for \
             {} bits as in shallow ones; --precision BITS or --agreement PCT asks for something else",
            Target::DEFAULT_BITS
        ));
    }
    let values = placed_values(&compiled.slot, &assess(cx, &compiled.ckks)?.by_origin);
    let spec = compiled.ckks.attrs.parameters.as_ref();
    let bootstrap = spec
        .map(|spec| bootstrap_plan(spec, security(cx)))
        .transpose()?
        .flatten();
    let info = PlanInfo {
        parameters: compiled.parameters,
        bootstrap,
        model_hash: model.hash.clone(),
        input_ranges,
        report: Report {
            predicted_evaluate_s: Some(compiled.report.predicted_evaluate_s),
            predicted_bits: Some(compiled.report.predicted_bits),
            passes: compiled
                .passes
                .iter()
                .map(|pass| (pass.name.to_string(), pass.stats.0.clone()))
                .collect(),
            values,
            cost_table: prices::identify(&cx.cost_table),
            ..Report::default()
        },
        op_seconds: compiled.prediction.op_seconds,
    };
    Ok(Compilation {
        plan: cpu::plan(&compiled.ckks, &info)?,
        program: compiled.ckks,
        seconds: start.elapsed().as_secs_f64(),
        passes: compiled.passes,
        approximated,
    })
}

/// How the value that every place of the model yields lies in ciphertexts, in program order; `bits` is its precision.
fn placed_values(graph: &Graph<Slot>, bits: &BTreeMap<Origin, f64>) -> Vec<ValueReport> {
    let live = graph.live();
    let values: Vec<_> = graph.iter().filter(|(id, _)| live[id.index()]).collect();
    let last: BTreeMap<&Origin, _> = values.iter().map(|(id, node)| (&node.origin, *id)).collect();
    let yielded = values.iter().filter(|(id, node)| last[&node.origin] == *id);
    let report = |(_, node): &(_, &Node<Slot>)| ValueReport {
        origin: node.origin.to_string(),
        elements: node.ty.n_elements(),
        ciphertexts: node.ty.cts,
        slots: node.ty.slots,
        period: node.ty.period,
        bits: bits.get(&node.origin).copied(),
    };
    yielded.map(report).collect()
}

/// The agreement that activations were chosen for, if it was one.
fn asked_agreement(passes: &[PassReport]) -> Option<f64> {
    let asked = |pass: &PassReport| pass.stats.0.get("asked_agreement_percent").copied();
    passes.iter().find_map(asked)
}

/// For every input, the interval that the graph says its elements stay in.
fn known_ranges(graph: &Graph<Nn>) -> BTreeMap<String, (f64, f64)> {
    let mut ranges = BTreeMap::new();
    for known in &graph.attrs.ranges {
        if let Some((_, node)) = graph.iter().nth(known.value as usize)
            && let NnOp::Input { name, .. } = &node.op
        {
            ranges.insert(name.clone(), (known.low, known.high));
        }
    }
    ranges
}
