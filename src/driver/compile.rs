//! Compilation: an imported model becomes a plan, by all passes in order and the backend.

use std::collections::BTreeMap;
use std::time::Instant;

use aphelion_backends::cpu::{self, PlanInfo};
use aphelion_passes::PassCx;
use aphelion_passes::pipeline::{self, AnyGraph, COMPILE, PassManager, PassReport};
use aphelion_runtime::plan::{Plan, Report};

use super::error::Result;
use super::model::Model;
use super::observer::Observer;

/// A model compiled.
#[derive(Clone, Debug)]
pub struct Compilation {
    /// The plan.
    pub plan: Plan,
    /// Seconds from the imported model to the plan.
    pub seconds: f64,
    /// Passes in the order they ran.
    pub passes: Vec<PassReport>,
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
    let cx = with_declared_range(model, cx);
    let mut done = 0;
    let manager = PassManager::new(&cx).on_pass(|name, graph| {
        done += 1;
        observer.progress(f64::from(done) / (COMPILE.len() + 1) as f64);
        on_pass(name, graph);
    });
    let compiled = pipeline::compile(manager, model.graph.clone())?;
    let info = PlanInfo {
        parameters: compiled.parameters,
        model_hash: model.hash.clone(),
        input_ranges: input_ranges(model, &cx),
        report: Report {
            predicted_evaluate_s: Some(compiled.report.predicted_evaluate_s),
            predicted_bits: Some(compiled.report.predicted_bits),
            passes: compiled
                .passes
                .iter()
                .map(|pass| (pass.name.to_string(), pass.stats.0.clone()))
                .collect(),
        },
    };
    Ok(Compilation {
        plan: cpu::plan(&compiled.ckks, &info)?,
        seconds: start.elapsed().as_secs_f64(),
        passes: compiled.passes,
    })
}

/// The options, with the range that the model itself declares where the user gives neither range nor samples.
fn with_declared_range(model: &Model, cx: &PassCx) -> PassCx {
    let mut cx = cx.clone();
    if cx.options.input_range.is_none() && cx.samples.is_empty() {
        let hull = |a: (f64, f64), b: &(f64, f64)| (a.0.min(b.0), a.1.max(b.1));
        let mut ranges = model.input_ranges.values();
        cx.options.input_range = ranges.next().map(|first| ranges.fold(*first, hull));
    }
    cx
}

/// For every input, the interval that the program is made for: that of the samples with their margin, or as given.
fn input_ranges(model: &Model, cx: &PassCx) -> BTreeMap<String, (f64, f64)> {
    let mut ranges = BTreeMap::new();
    let mut start = 0;
    for (name, shape) in model.inputs() {
        let end = start + shape.iter().product::<usize>();
        let values = cx
            .samples
            .iter()
            .flat_map(|sample| sample.get(start..end).unwrap_or_default());
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(*value), high.max(*value))
        });
        let range = if low <= high {
            let (centre, half) = (f64::midpoint(low, high), (high - low) / 2.0 * cx.options.range_margin);
            Some((centre - half, centre + half))
        } else {
            cx.options.input_range
        };
        if let Some(range) = range {
            ranges.insert(name.to_string(), range);
        }
        start = end;
    }
    ranges
}
