//! Puts approximations in the places of activations.

use super::site::Site;
use crate::approx::{Approximation, Choice, GatedSum};
use crate::nn_rewrite::{constant_name, finish, push_constant};
use aphelion_ir::nn::{Nn, NnOp};
use aphelion_ir::{Graph, IrError, Origin, Rewriter, Tensor, ValueId};

/// A model with its activations replaced.
pub(super) struct Built {
    pub(super) graph: Graph<Nn>,
    /// What stands for every site's result.
    pub(super) results: Vec<ValueId>,
}

/// Replaces the sites, each by the choice at its position.
pub(super) fn substitute(graph: &Graph<Nn>, sites: &[Site], choices: &[Choice]) -> Result<Built, IrError> {
    let mut rewriter = Rewriter::new(graph);
    let mut next = sites.iter().zip(choices).peekable();
    for (id, node) in graph.iter() {
        match next.next_if(|(site, _)| site.value == id) {
            Some((site, choice)) => {
                let x = rewriter.get(site.x);
                let value = push(&mut rewriter.target, x, &choice.approximation, &node.origin)?;
                rewriter.replace(id, value);
            }
            None => {
                rewriter.copy(id, node)?;
            }
        }
    }
    let results = sites.iter().map(|site| rewriter.get(site.value)).collect();
    Ok(Built {
        graph: finish(rewriter),
        results,
    })
}

fn push(graph: &mut Graph<Nn>, x: ValueId, approximation: &Approximation, origin: &Origin) -> Result<ValueId, IrError> {
    match approximation {
        Approximation::Polynomial(poly) => graph.push(NnOp::Poly { x, poly: poly.clone() }, origin.clone()),
        Approximation::Gates(sum) => push_gates(graph, x, sum, origin),
    }
}

/// offset + sum of (x - centre) stages(x).
fn push_gates(graph: &mut Graph<Nn>, x: ValueId, sum: &GatedSum, origin: &Origin) -> Result<ValueId, IrError> {
    let mut total = None;
    for term in &sum.terms {
        let mut gate = x;
        for stage in &term.stages {
            let poly = stage.clone();
            gate = graph.push(NnOp::Poly { x: gate, poly }, origin.clone())?;
        }
        let factor = add_number(graph, x, -term.center, "centre", origin)?;
        let product = graph.push(NnOp::Mul { a: factor, b: gate }, origin.clone())?;
        total = Some(match total {
            Some(before) => graph.push(NnOp::Add { a: before, b: product }, origin.clone())?,
            None => product,
        });
    }
    add_number(graph, total.unwrap_or(x), sum.offset, "offset", origin)
}

fn add_number(graph: &mut Graph<Nn>, x: ValueId, number: f64, what: &str, origin: &Origin) -> Result<ValueId, IrError> {
    if number == 0.0 {
        return Ok(x);
    }
    let b = push_constant(graph, &constant_name(origin, what), Tensor::scalar(number), origin)?;
    graph.push(NnOp::Add { a: x, b }, origin.clone())
}
