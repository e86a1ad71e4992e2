//! All passes by name.

use super::AnyGraph;
use crate::{PassCx, PassError, Stats};
use crate::{approximate, batch, calibrate, fold_affine, fold_constants, fold_scales, recover_activations};
use crate::{lower_to_ckks, lower_to_slot, parameters, place_bootstraps, rewrite};
use aphelion_ir::ckks::Ckks;
use aphelion_ir::nn::Nn;
use aphelion_ir::slot::Slot;
use aphelion_ir::{Dialect, Graph};

/// The pass called `name` among `passes`.
///
/// # Errors
/// When there is none; the message lists them all.
pub(super) fn find_among<'a>(
    passes: impl Iterator<Item = &'a PassInfo> + Clone,
    name: &str,
) -> Result<&'a PassInfo, PassError> {
    passes.clone().find(|pass| pass.name == name).ok_or_else(|| {
        let names: Vec<&str> = passes.map(|pass| pass.name).collect();
        PassError::BadInput(format!("there is no pass `{name}`; there are: {}", names.join(", ")))
    })
}

/// The `run` of a pass from dialect `A` to dialect `B`.
pub type Run<A, B> = fn(&PassCx, Graph<A>) -> Result<(Graph<B>, Stats), PassError>;

/// The `run` of a pass, by the dialects it goes between.
#[derive(Clone, Copy)]
enum AnyRun {
    NnToNn(Run<Nn, Nn>),
    NnToSlot(Run<Nn, Slot>),
    SlotToSlot(Run<Slot, Slot>),
    SlotToCkks(Run<Slot, Ckks>),
    CkksToCkks(Run<Ckks, Ckks>),
}

/// A pass that can be run by name.
#[derive(Clone, Copy)]
pub struct PassInfo {
    /// Name, as `--pass` and `--dump-after` spell it.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    run: AnyRun,
}

/// Every pass, in the order of the pipeline.
pub static PASSES: &[PassInfo] = &[
    PassInfo {
        name: "fold_constants",
        summary: "computes what depends on no input, and removes ops that do nothing",
        run: AnyRun::NnToNn(fold_constants::run),
    },
    PassInfo {
        name: "recover_activations",
        summary: "makes one op again of every activation that an exporter wrote as arithmetic",
        run: AnyRun::NnToNn(recover_activations::run),
    },
    PassInfo {
        name: "fold_scales",
        summary: "moves factors per channel into the convolutions after them, and through sums",
        run: AnyRun::NnToNn(fold_scales::run),
    },
    PassInfo {
        name: "fold_affine",
        summary: "folds batch normalisation and chains of affine ops into the linear op before them",
        run: AnyRun::NnToNn(fold_affine::run),
    },
    PassInfo {
        name: "calibrate",
        summary: "finds the interval of every value, from samples or from the inputs' intervals",
        run: AnyRun::NnToNn(calibrate::run),
    },
    PassInfo {
        name: "approximate",
        summary: "replaces activations by polynomials, as cheap as the asked precision allows",
        run: AnyRun::NnToNn(approximate::run),
    },
    PassInfo {
        name: "lower_to_slot",
        summary: "places tensors into slots and turns linear ops into matrices between layouts",
        run: AnyRun::NnToSlot(lower_to_slot::run),
    },
    PassInfo {
        name: "batch",
        summary: "lets one run take several samples, side by side in the slots",
        run: AnyRun::SlotToSlot(batch::run),
    },
    PassInfo {
        name: "rewrite",
        summary: "chooses, among equal slot programs, one of least depth, then latency",
        run: AnyRun::SlotToSlot(rewrite::run),
    },
    PassInfo {
        name: "place_bootstraps",
        summary: "places bootstraps in a deep program, and chooses the parameters for it at the same time",
        run: AnyRun::SlotToSlot(place_bootstraps::run),
    },
    PassInfo {
        name: "lower_to_ckks",
        summary: "assigns levels, rescales and relinearisations, and plans every matrix",
        run: AnyRun::SlotToCkks(lower_to_ckks::run),
    },
    PassInfo {
        name: "select_parameters",
        summary: "chooses the encryption parameters with the least predicted latency",
        run: AnyRun::CkksToCkks(parameters::run),
    },
];

impl PassInfo {
    /// A pass on models, for [`PassManager::register`](super::PassManager::register).
    #[must_use]
    pub const fn on_nn(name: &'static str, summary: &'static str, run: Run<Nn, Nn>) -> Self {
        let run = AnyRun::NnToNn(run);
        PassInfo { name, summary, run }
    }

    /// A pass on packed vectors, for [`PassManager::register`](super::PassManager::register).
    #[must_use]
    pub const fn on_slot(name: &'static str, summary: &'static str, run: Run<Slot, Slot>) -> Self {
        let run = AnyRun::SlotToSlot(run);
        PassInfo { name, summary, run }
    }

    /// A pass on ciphertexts, for [`PassManager::register`](super::PassManager::register).
    #[must_use]
    pub const fn on_ckks(name: &'static str, summary: &'static str, run: Run<Ckks, Ckks>) -> Self {
        let run = AnyRun::CkksToCkks(run);
        PassInfo { name, summary, run }
    }

    /// Names of the dialects it takes and gives.
    pub fn dialects(&self) -> (&'static str, &'static str) {
        match self.run {
            AnyRun::NnToNn(_) => (Nn::NAME, Nn::NAME),
            AnyRun::NnToSlot(_) => (Nn::NAME, Slot::NAME),
            AnyRun::SlotToSlot(_) => (Slot::NAME, Slot::NAME),
            AnyRun::SlotToCkks(_) => (Slot::NAME, Ckks::NAME),
            AnyRun::CkksToCkks(_) => (Ckks::NAME, Ckks::NAME),
        }
    }

    /// Runs the pass.
    ///
    /// # Errors
    /// The pass's own, and when the graph is of another dialect.
    pub fn run(&self, cx: &PassCx, graph: AnyGraph) -> Result<(AnyGraph, Stats), PassError> {
        match (self.run, graph) {
            (AnyRun::NnToNn(run), AnyGraph::Nn(graph)) => run(cx, graph).map(|(g, s)| (AnyGraph::Nn(g), s)),
            (AnyRun::NnToSlot(run), AnyGraph::Nn(graph)) => run(cx, graph).map(|(g, s)| (AnyGraph::Slot(g), s)),
            (AnyRun::SlotToSlot(run), AnyGraph::Slot(graph)) => run(cx, graph).map(|(g, s)| (AnyGraph::Slot(g), s)),
            (AnyRun::SlotToCkks(run), AnyGraph::Slot(graph)) => run(cx, graph).map(|(g, s)| (AnyGraph::Ckks(g), s)),
            (AnyRun::CkksToCkks(run), AnyGraph::Ckks(graph)) => run(cx, graph).map(|(g, s)| (AnyGraph::Ckks(g), s)),
            (_, graph) => Err(PassError::BadInput(format!(
                "pass `{}` takes a graph of dialect {}, this one is of dialect {}",
                self.name,
                self.dialects().0,
                graph.dialect()
            ))),
        }
    }
}
