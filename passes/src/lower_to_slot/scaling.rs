//! Norms: how tensors are scaled into slots, as calibrated ranges and the intervals of polynomials ask.

use super::stage::Scaling;
use crate::error::PassError;
use aphelion_ir::nn::{Nn, NnOp};
use aphelion_ir::slot::{Basis, Polynomial};
use aphelion_ir::{Graph, Origin, ValueId};

/// Points at which the range of a polynomial is taken where none is given.
const POLY_SAMPLES: usize = 1024;

/// Norms are raised by no more than this: the bits of precision that a level may cost.
const MAX_LIFT: f64 = 256.0;

/// The scaling of every value whose range is known.
pub struct Scalings {
    known: Vec<Option<Scaling>>,
    /// Whether a polynomial asks for just this scaling.
    is_argument: Vec<bool>,
}

impl Scalings {
    /// From the ranges of `graph` where given, else from those of the operands where that is exact enough. The argument
    /// of a polynomial is scaled to the polynomial's interval.
    pub fn new(graph: &Graph<Nn>) -> Self {
        let mut ranges: Vec<Option<(f64, f64)>> = vec![None; graph.len()];
        for range in &graph.attrs.ranges {
            if let Some(slot) = ranges.get_mut(range.value as usize) {
                *slot = Some((range.low, range.high));
            }
        }
        for (id, node) in graph.iter() {
            if ranges[id.index()].is_none() {
                ranges[id.index()] = derived(&node.op, &ranges);
            }
        }
        let mut known: Vec<Option<Scaling>> = ranges
            .iter()
            .map(|range| range.map(|(low, high)| Scaling::about_zero(low, high)))
            .collect();
        let mut is_argument = vec![false; graph.len()];
        for (_, node) in graph.iter() {
            if let NnOp::Poly { x, poly } = &node.op
                && poly.degree() > 1
                && !std::mem::replace(&mut is_argument[x.index()], true)
            {
                known[x.index()] = Some(match poly.basis {
                    Basis::Chebyshev {} => Scaling::centred(poly.low, poly.high),
                    Basis::Monomial {} => Scaling::about_zero(poly.low, poly.high),
                });
            }
        }
        let mut scalings = Scalings { known, is_argument };
        scalings.lift_factors(graph);
        scalings
    }

    /// Raises norms of factors so that a product that is added to something has the norm of the sum: else the product
    /// would take a level to get there. In `(c2 x^2 + c1) x^2 + c0 x` the bracket is such a factor.
    fn lift_factors(&mut self, graph: &Graph<Nn>) {
        let users = graph.users();
        let is_product = |value: ValueId| match graph.op(value) {
            NnOp::Mul { a, b } => {
                let is_constant = |x: &ValueId| matches!(graph.op(*x), NnOp::Constant { .. });
                Some((*a, *b)).filter(|_| !is_constant(a) && !is_constant(b))
            }
            _ => None,
        };
        // The norm of a product follows from its factors.
        let mut norms: Vec<Option<f64>> = vec![None; graph.len()];
        for (id, _) in graph.iter() {
            norms[id.index()] = match is_product(id) {
                Some((a, b)) => norms[a.index()].zip(norms[b.index()]).map(|(a, b)| a * b),
                None => self.get(id).map(|scaling| scaling.norm),
            };
        }
        for (sum, node) in graph.iter() {
            let (NnOp::Add { a, b } | NnOp::Sub { a, b }) = &node.op else {
                continue;
            };
            for product in [*a, *b] {
                let Some((left, right)) = is_product(product).filter(|(a, b)| a != b) else {
                    continue;
                };
                let is_free = |factor: ValueId| {
                    let is_sum = matches!(graph.op(factor), NnOp::Add { .. } | NnOp::Sub { .. });
                    is_sum && users[factor.index()].len() == 1 && !self.is_exact(factor)
                };
                let Some((factor, other)) = [(left, right), (right, left)].into_iter().find(|(f, _)| is_free(*f))
                else {
                    continue;
                };
                let (Some(wanted), Some(own), Some(by)) =
                    (norms[sum.index()], norms[factor.index()], norms[other.index()])
                else {
                    continue;
                };
                let norm = wanted / by;
                if users[product.index()].len() == 1 && (own..=own * MAX_LIFT).contains(&norm) {
                    self.known[factor.index()] = Some(Scaling { norm, offset: 0.0 });
                }
            }
        }
    }

    /// The scaling of `value`, if known.
    pub fn get(&self, value: ValueId) -> Option<Scaling> {
        self.known[value.index()]
    }

    /// Whether the scaling of `value` is no mere bound: a polynomial is to be evaluated on it.
    pub fn is_exact(&self, value: ValueId) -> bool {
        self.is_argument[value.index()]
    }

    /// The scaling of `value`.
    ///
    /// # Errors
    /// When it is not known.
    pub fn needed(&self, value: ValueId, origin: &Origin) -> Result<Scaling, PassError> {
        self.get(value).ok_or_else(|| {
            PassError::BadInput(format!(
                "{origin}: the range of this value is not known; give calibration samples or an input range"
            ))
        })
    }

    /// The scaling of the result of a polynomial.
    pub fn of_poly(&self, value: ValueId, poly: &Polynomial) -> Scaling {
        self.get(value).unwrap_or_else(|| {
            let (low, high) = poly_range(poly);
            Scaling::about_zero(low, high)
        })
    }
}

/// The range of an op's result by interval arithmetic, for ops that have a tight one.
fn derived(op: &NnOp, ranges: &[Option<(f64, f64)>]) -> Option<(f64, f64)> {
    let of = |x: &ValueId| ranges[x.index()];
    match op {
        NnOp::Reshape { x, .. } | NnOp::Transpose { x, .. } | NnOp::Slice { x, .. } | NnOp::ReduceMean { x, .. } => {
            of(x)
        }
        NnOp::AvgPool { x, .. } => of(x).map(|(low, high)| (low.min(0.0), high.max(0.0))),
        NnOp::Pad { x, value, .. } => of(x).map(|(low, high)| (low.min(*value), high.max(*value))),
        NnOp::Neg { x } => of(x).map(|(low, high)| (-high, -low)),
        NnOp::Mul { a, b } if a == b => of(a).map(|(low, high)| (0.0, (low * low).max(high * high))),
        NnOp::Poly { poly, .. } => Some(poly_range(poly)),
        NnOp::Concat { xs, .. } => xs
            .iter()
            .map(of)
            .reduce(|a, b| {
                a.zip(b)
                    .map(|((low, high), (other_low, other_high))| (low.min(other_low), high.max(other_high)))
            })
            .flatten(),
        _ => None,
    }
}

/// Smallest and largest value of a polynomial on its interval, over a grid.
fn poly_range(poly: &Polynomial) -> (f64, f64) {
    (0..=POLY_SAMPLES)
        .map(|i| poly.eval(poly.low + (poly.high - poly.low) * i as f64 / POLY_SAMPLES as f64))
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
}
