//! The pass manager: runs lists of passes by name, times each, verifies between them, shows what each made of the graph.
//!
//! Reading order: [`graph`] (a graph of any dialect), [`registry`] (passes by name), the manager here, then [`mod@compile`]
//! (the list of passes that compiles a model).

pub mod compile;
pub mod graph;
pub mod registry;

pub use compile::{COMPILE, Compiled, Report, Step, compile};
pub use graph::AnyGraph;
pub use registry::{PASSES, PassInfo, Run};

use crate::{PassCx, PassError, Stats};
use serde::Serialize;
use std::time::Instant;

/// What one pass did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PassReport {
    /// Name of the pass.
    pub name: &'static str,
    /// Wall-clock seconds; all else is the same for the same input.
    pub seconds: f64,
    /// Ops before.
    pub ops_before: usize,
    /// Ops after.
    pub ops_after: usize,
    /// Its counts.
    pub stats: Stats,
}

/// Is shown every pass's name and result.
type OnPass<'a> = dyn FnMut(&'static str, &AnyGraph) + 'a;

/// Runs passes.
pub struct PassManager<'a> {
    cx: &'a PassCx,
    verify: bool,
    registered: Vec<PassInfo>,
    on_pass: Box<OnPass<'a>>,
    reports: Vec<PassReport>,
}

impl<'a> PassManager<'a> {
    /// A manager that neither verifies nor shows anything.
    pub fn new(cx: &'a PassCx) -> Self {
        PassManager {
            cx,
            verify: false,
            registered: Vec::new(),
            on_pass: Box::new(|_, _| {}),
            reports: Vec::new(),
        }
    }

    /// Verifies the graph before the first and after every pass.
    #[must_use]
    pub fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Makes a pass from elsewhere known by its name, beside those of [`PASSES`].
    ///
    /// # Errors
    /// When there is a pass of this name already.
    pub fn register(mut self, pass: PassInfo) -> Result<Self, PassError> {
        let known = PASSES.iter().chain(&self.registered);
        if known.map(|known| known.name).any(|known| known == pass.name) {
            let message = format!("there is a pass `{}` already; give yours another name", pass.name);
            return Err(PassError::BadInput(message));
        }
        self.registered.push(pass);
        Ok(self)
    }

    /// Calls `on_pass` with every pass's name and result; [`AnyGraph::print`] gives its text.
    #[must_use]
    pub fn on_pass(mut self, on_pass: impl FnMut(&'static str, &AnyGraph) + 'a) -> Self {
        self.on_pass = Box::new(on_pass);
        self
    }

    /// Runs the passes called `names`, in order.
    ///
    /// # Errors
    /// When there is no such pass (before any is run), a pass fails, or what it made fails verification.
    pub fn run(&mut self, names: &[&str], mut graph: AnyGraph) -> Result<AnyGraph, PassError> {
        let passes = names
            .iter()
            .map(|name| registry::find_among(PASSES.iter().chain(&self.registered), name).copied())
            .collect::<Result<Vec<_>, _>>()?;
        if self.verify {
            graph.verify()?;
        }
        for pass in passes {
            let ops_before = graph.n_ops();
            let start = Instant::now();
            let (result, stats) = pass.run(self.cx, graph)?;
            let seconds = start.elapsed().as_secs_f64();
            if self.verify {
                result.verify()?;
            }
            (self.on_pass)(pass.name, &result);
            self.reports.push(PassReport {
                name: pass.name,
                seconds,
                ops_before,
                ops_after: result.n_ops(),
                stats,
            });
            graph = result;
        }
        Ok(graph)
    }

    /// Reports of the passes run so far.
    pub fn reports(&self) -> &[PassReport] {
        &self.reports
    }

    /// The same, as the manager's last act.
    pub fn into_reports(self) -> Vec<PassReport> {
        self.reports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aphelion_ir::ConstantPool;

    const SQUARE: &str = r#"slot @square attrs {slots: 1024, output_scales: [2.0], client_ops: [[]]} {
  %0 = input {name: "x", layout: <[1, 4] in 1 x 1024 / 4 by [1:4*1], zero>, scale: 2.0} : <[1, 4] in 1 x 1024 / 4 by [1:4*1], zero> from "x" "Input"
  %1 = mul %0, %0 : <[1, 4] in 1 x 1024 / 4 by [1:4*1], zero> from "square" "Mul"
  return "y" = %1
}
"#;

    #[test]
    fn passes_run_by_name_on_text() {
        let cx = PassCx::default();
        let graph = AnyGraph::parse(SQUARE, &ConstantPool::default()).expect("a slot graph");
        let mut seen = Vec::new();
        let mut manager = PassManager::new(&cx).verify(true).on_pass(|name, graph| {
            seen.push((name, graph.dialect()));
        });
        let result = manager.run(&["rewrite", "lower_to_ckks", "select_parameters"], graph);
        let result = result.expect("compiles");
        assert_eq!(manager.reports().len(), 3);
        assert_eq!(manager.reports()[1].stats.0["levels"], 1.0);
        drop(manager);
        assert_eq!(
            seen,
            [
                ("rewrite", "slot"),
                ("lower_to_ckks", "ckks"),
                ("select_parameters", "ckks")
            ]
        );
        insta::assert_snapshot!(result.print().expect("prints"));
    }

    #[test]
    fn wrong_names_and_dialects_are_errors() {
        let cx = PassCx::default();
        let graph = || AnyGraph::parse(SQUARE, &ConstantPool::default()).expect("a slot graph");
        let message = |result: Result<AnyGraph, PassError>| result.unwrap_err().to_string();
        let unknown = message(PassManager::new(&cx).run(&["rewrite", "fly"], graph()));
        assert!(unknown.contains("no pass `fly`; there are: "), "{unknown}");
        let mismatch = message(PassManager::new(&cx).run(&["select_parameters"], graph()));
        assert!(mismatch.contains("takes a graph of dialect ckks"), "{mismatch}");
        assert!(AnyGraph::parse("limb @x {}", &ConstantPool::default()).is_err());
    }
}
