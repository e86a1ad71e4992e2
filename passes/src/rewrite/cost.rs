//! Cost of one op of an e-graph, for extraction: levels, and seconds on the parameters of a typical deep program.
//!
//! Ratios of the seconds hardly depend on ring degree and level, and only ratios matter here.

use super::extract::OpCost;
use super::language::{Attr, SlotAnalysis, SlotEGraph, SlotExpr};
use crate::PassError;
use crate::bsgs;
use crate::cost_model::{CostTable, Typical};
use crate::lower_to_ckks::{factor_consumption, polynomial_consumption};
use aphelion_ir::slot::{Basis, DiagonalSet, Kernel, Layout, Pattern, Polynomial};
use aphelion_ir::text::print_attr;
use aphelion_runtime::ckks::polynomial as runtime;
use egg::{Id, Language};
use rustc_hash::FxHashMap;

/// Prices e-nodes; remembers what a matrix costs, which takes a walk over its pattern.
pub(super) struct CostModel {
    prices: Typical,
    kernels: FxHashMap<String, Option<f64>>,
}

impl CostModel {
    /// Prices on a machine of this table.
    ///
    /// # Errors
    /// When there are no typical parameters.
    pub(super) fn new(table: &CostTable) -> Result<Self, PassError> {
        Ok(CostModel {
            prices: Typical::new(table)?,
            kernels: FxHashMap::default(),
        })
    }

    /// Cost of `node`; none for an op that cannot be (a kernel whose matrix is malformed).
    pub(super) fn op(&mut self, node: &SlotExpr, egraph: &SlotEGraph) -> Option<OpCost> {
        let attr = |id: &Id| egraph[*id].data.attr.map(|attr| egraph.analysis.attr(attr));
        let layout = node.children().last().and_then(|id| egraph[*id].data.layout.as_ref());
        let cts = layout.map_or(1, |layout| layout.cts) as f64;
        let prices = &self.prices;
        let plain = || prices.seconds(|costs, level| costs.multiply_plain(level, 2) + costs.rescale(level, 2));
        let (depth, seconds) = match node {
            SlotExpr::Attr(_) | SlotExpr::Input(_) | SlotExpr::Results(_) => (0, 0.0),
            SlotExpr::Add(_) | SlotExpr::Sub(_) | SlotExpr::Neg(_) => {
                (0, prices.seconds(|costs, level| costs.add(level, 2)))
            }
            SlotExpr::AddPlain(_) | SlotExpr::AddScalar(_) => (0, prices.seconds(|costs, level| costs.add(level, 1))),
            SlotExpr::Mul([a, b]) => {
                let product = prices.seconds(|costs, level| {
                    costs.tensor(level, egraph.find(*a) == egraph.find(*b)) + costs.relinearize_rescale(level)
                });
                (1, product)
            }
            SlotExpr::MulPlain(_) => (1, plain()),
            SlotExpr::MulScalar([by, _]) => match attr(by)? {
                Attr::Scalar(by) => match factor_consumption(*by) {
                    0 => (0, prices.seconds(|costs, level| costs.add(level, 2))),
                    depth => (depth, plain()),
                },
                _ => return None,
            },
            SlotExpr::Rotate(_) => (0, prices.seconds(|costs, level| costs.rotate(level))),
            SlotExpr::Bootstrap(_) => (0, prices.bootstrap(layout?.period).ok()?),
            SlotExpr::Poly([poly, _]) => match attr(poly)? {
                Attr::Poly(poly) => {
                    let plan = evaluation(poly)?;
                    let seconds = prices.seconds(|costs, level| costs.poly_eval(&plan, level + plan.depth() as u32));
                    (polynomial_consumption(poly), seconds)
                }
                _ => return None,
            },
            SlotExpr::Linear([kernel, _]) => match attr(kernel)? {
                // All ciphertexts of the result at once.
                Attr::Kernel(kernel) => (1, self.kernel(kernel, layout?, &egraph.analysis)? / cts),
                _ => return None,
            },
        };
        Some(OpCost {
            depth,
            latency: seconds * cts,
        })
    }

    /// Seconds of a kernel.
    fn kernel(&mut self, kernel: &Kernel, input: &Layout, analysis: &SlotAnalysis) -> Option<f64> {
        let key = format!("{} from {}", print_attr(kernel), print_attr(input));
        let prices = &self.prices;
        *self.kernels.entry(key).or_insert_with(|| {
            let pattern = Pattern::new(&kernel.map, &analysis.constants).ok()?;
            let set = DiagonalSet::of_pattern(&pattern, input, &kernel.output, &kernel.fold).ok()?;
            let n_folds = (kernel.fold.len() * kernel.output.cts) as f64;
            let fold = n_folds * prices.seconds(|costs, level| costs.rotate(level));
            let rescale = kernel.output.cts as f64 * prices.seconds(|costs, level| costs.rescale(level, 2));
            Some(bsgs::choose(&set, &prices.rotation()).cost + fold + rescale)
        })
    }
}

fn evaluation(poly: &Polynomial) -> Option<runtime::PolynomialPlan> {
    let basis = match poly.basis {
        Basis::Chebyshev {} => runtime::Basis::Chebyshev,
        Basis::Monomial {} => runtime::Basis::Monomial,
    };
    let poly = runtime::Polynomial::new(basis, poly.coeffs.clone()).ok()?;
    Some(runtime::PolynomialPlan::new(poly))
}
