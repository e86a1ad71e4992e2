//! Cost of one op of an e-graph, for extraction: levels, and latency in units of one rotation.
//!
//! The latencies are ratios, which hardly depend on ring degree and level; absolute times are the cost model's affair.

use super::extract::OpCost;
use super::language::{Attr, SlotAnalysis, SlotEGraph, SlotExpr};
use aphelion_ir::slot::{DiagonalSet, Kernel, Layout, Pattern, SlotOp};
use aphelion_ir::text::print_attr;
use egg::{Id, Language};
use rustc_hash::FxHashMap;

/// Product of two ciphertexts with relinearisation and rescale: one key switch, as a rotation, and the tensor product.
const MUL: f64 = 1.3;

/// Product with a plaintext, rescale included: no key switch.
const MUL_PLAIN: f64 = 0.15;

/// Multiply-accumulate of one encoded diagonal.
const DIAGONAL: f64 = 0.02;

/// A rotation that shares its decomposition with others.
const HOISTED: f64 = 0.4;

/// Sum of two ciphertexts, or with a plaintext.
const ADD: f64 = 0.01;

/// A bootstrap, against which everything else is small.
const BOOTSTRAP: f64 = 60.0;

/// Levels that an op takes.
pub(super) fn levels(op: &SlotOp) -> u32 {
    match op {
        SlotOp::Mul { .. } | SlotOp::MulPlain { .. } | SlotOp::MulScalar { .. } | SlotOp::Linear { .. } => 1,
        SlotOp::Poly { poly, .. } => poly.depth() as u32,
        SlotOp::Input { .. }
        | SlotOp::Add { .. }
        | SlotOp::Sub { .. }
        | SlotOp::Neg { .. }
        | SlotOp::AddPlain { .. }
        | SlotOp::AddScalar { .. }
        | SlotOp::Rotate { .. }
        | SlotOp::Bootstrap { .. } => 0,
    }
}

/// Prices e-nodes; remembers what a matrix costs, which takes an enumeration of its non-zeros.
#[derive(Default)]
pub(super) struct CostModel {
    kernels: FxHashMap<String, Option<f64>>,
}

impl CostModel {
    /// Cost of `node`; none for an op that cannot be (a kernel whose matrix is malformed).
    pub(super) fn op(&mut self, node: &SlotExpr, egraph: &SlotEGraph) -> Option<OpCost> {
        let attr = |id: &Id| egraph[*id].data.attr.map(|attr| egraph.analysis.attr(attr));
        let layout = node.children().last().and_then(|id| egraph[*id].data.layout.as_ref());
        let cts = layout.map_or(1, |layout| layout.cts) as f64;
        let (depth, latency) = match node {
            SlotExpr::Attr(_) | SlotExpr::Input(_) | SlotExpr::Results(_) => (0, 0.0),
            SlotExpr::Add(_) | SlotExpr::Sub(_) | SlotExpr::Neg(_) => (0, ADD * cts),
            SlotExpr::AddPlain(_) | SlotExpr::AddScalar(_) => (0, ADD * cts),
            SlotExpr::Mul(_) => (1, MUL * cts),
            SlotExpr::MulPlain(_) | SlotExpr::MulScalar(_) => (1, MUL_PLAIN * cts),
            SlotExpr::Rotate(_) => (0, cts),
            SlotExpr::Bootstrap(_) => (0, BOOTSTRAP * cts),
            SlotExpr::Poly([poly, _]) => match attr(poly)? {
                Attr::Poly(poly) => {
                    // Paterson-Stockmeyer: about sqrt(2 d) + log2 d products.
                    let degree = poly.degree() as f64;
                    (
                        poly.depth() as u32,
                        MUL * cts * ((2.0 * degree).sqrt() + degree.max(1.0).log2()),
                    )
                }
                _ => return None,
            },
            SlotExpr::Linear([kernel, _]) => match attr(kernel)? {
                Attr::Kernel(kernel) => (1, self.kernel(kernel, layout?, &egraph.analysis)?),
                _ => return None,
            },
        };
        Some(OpCost { depth, latency })
    }

    /// Latency of a kernel: baby steps are hoisted, giant steps and fold steps are rotations.
    fn kernel(&mut self, kernel: &Kernel, input: &Layout, analysis: &SlotAnalysis) -> Option<f64> {
        let key = format!("{} from {}", print_attr(kernel), print_attr(input));
        *self.kernels.entry(key).or_insert_with(|| {
            let pattern = Pattern::new(&kernel.map, &analysis.constants).ok()?;
            let set = DiagonalSet::of_pattern(&pattern, input, &kernel.output, &kernel.fold).ok()?;
            let mut rotations: Vec<usize> = set.keys.iter().map(|key| key.rotation).collect();
            rotations.sort_unstable();
            rotations.dedup();
            let steps = (rotations.len() as f64).sqrt();
            let baby_steps = HOISTED * steps * input.cts as f64;
            let giant_steps = steps * kernel.output.cts as f64;
            let folds = (kernel.fold.len() * kernel.output.cts) as f64;
            Some(baby_steps + giant_steps + folds + DIAGONAL * set.keys.len() as f64)
        })
    }
}
