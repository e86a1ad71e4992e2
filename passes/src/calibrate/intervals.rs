//! Intervals of polynomials in powers of their variable, which come from models and not from approximation.
//!
//! Slots hold a value over the end of its interval, so the interval decides what the leading coefficient is between
//! slots. It is chosen a little wider than the range, so that this is a power of two: then a polynomial of degree 4 takes
//! two levels instead of three.

use aphelion_ir::nn::{Nn, NnOp};
use aphelion_ir::slot::{Basis, Polynomial};
use aphelion_ir::{Graph, IrError, Rewriter, ValueId};

use crate::nn_rewrite::finish;

/// Gives every such polynomial of degree 2 and more its interval, by the ranges of `graph`.
pub(super) fn place(graph: Graph<Nn>) -> Result<Graph<Nn>, IrError> {
    let is_meant = |poly: &Polynomial| poly.basis == (Basis::Monomial {}) && poly.degree() > 1;
    let has_some = (graph.iter()).any(|(_, node)| matches!(&node.op, NnOp::Poly { poly, .. } if is_meant(poly)));
    if !has_some {
        return Ok(graph);
    }
    let reach = |value: ValueId| {
        let known = graph.attrs.ranges.binary_search_by_key(&value.0, |range| range.value);
        known.map_or(0.0, |position| {
            let range = &graph.attrs.ranges[position];
            range.low.abs().max(range.high.abs())
        })
    };
    let mut rewriter = Rewriter::new(&graph);
    for (id, node) in graph.iter() {
        match &node.op {
            NnOp::Poly { x, poly } if is_meant(poly) => {
                let end = end(poly, reach(*x), reach(id));
                let poly = Polynomial {
                    low: -end,
                    high: end,
                    ..poly.clone()
                };
                let x = rewriter.get(*x);
                let value = rewriter.target.push(NnOp::Poly { x, poly }, node.origin.clone())?;
                rewriter.replace(id, value);
            }
            _ => {
                rewriter.copy(id, node)?;
            }
        }
    }
    Ok(finish(rewriter))
}

/// The least end, at least `reach`, at which the leading term is a power of two times `result`, not below 1.
fn end(poly: &Polynomial, reach: f64, result: f64) -> f64 {
    let leading = poly.coeffs.last().map_or(0.0, |c| c.abs());
    let at_reach = libm::log2(leading * libm::pow(reach, poly.degree() as f64) / result);
    if !at_reach.is_finite() {
        return if reach > 0.0 { reach } else { 1.0 };
    }
    let power = at_reach.ceil().max(0.0);
    reach * libm::exp2((power - at_reach) / poly.degree() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_terms_are_powers_of_two() {
        for (leading, reach, result) in [(-0.017, 4.2, 3.0), (1.0, 0.1, 2.0), (3.0, 7.0, 0.2)] {
            let poly = Polynomial {
                basis: Basis::Monomial {},
                low: -1.0,
                high: 1.0,
                coeffs: vec![0.1, 0.5, 0.3, 0.0, leading],
            };
            let end = end(&poly, reach, result);
            let ratio = (leading.abs() * end.powi(4) / result).log2();
            assert!(end >= reach * (1.0 - 1e-12) && ratio > -1e-9, "{end} {ratio}");
            assert!((ratio - ratio.round()).abs() < 1e-9, "{ratio}");
        }
    }
}
