//! Products of many factors as trees of least depth, with equal products shared.
//!
//! A chain of `mul` whose inner products have no other user is taken apart into its factors and put together again, the
//! two shallowest first (Huffman's rule, which is optimal for the maximum of depths); equally deep factors meet in the
//! order of their ids, so that equal ones pair up and `x x x x` becomes the square of a square. Equal products are
//! computed once.

use super::levels::consumption;
use crate::PassError;
use aphelion_ir::slot::{Slot, SlotOp};
use aphelion_ir::{Graph, Op, Origin, Rewriter, ValueId};
use std::collections::BTreeMap;

/// `graph` with balanced products.
pub(crate) fn balance(graph: &Graph<Slot>) -> Result<Graph<Slot>, PassError> {
    let mut n_uses = vec![0usize; graph.len()];
    for (_, node) in graph.iter() {
        node.op.operands().iter().for_each(|x| n_uses[x.index()] += 1);
    }
    graph
        .outputs()
        .iter()
        .for_each(|output| n_uses[output.value.index()] += 1);
    let inner = inner_products(graph, &n_uses);

    let mut rewriter = Rewriter::new(graph);
    let mut trees = Trees::default();
    for (id, node) in graph.iter() {
        if inner[id.index()] {
            continue;
        }
        let copied = if let SlotOp::Mul { .. } = node.op {
            let mut factors = Vec::new();
            collect_factors(graph, &inner, id, &mut factors);
            let factors = factors.into_iter().map(|factor| rewriter.get(factor)).collect();
            let root = trees.build(&mut rewriter.target, factors, &node.origin)?;
            rewriter.replace(id, root);
            root
        } else {
            rewriter.copy(id, node)?
        };
        trees.note_depth(&rewriter.target, copied);
    }
    Ok(rewriter.finish())
}

/// Products that only one other product uses, and only once.
fn inner_products(graph: &Graph<Slot>, n_uses: &[usize]) -> Vec<bool> {
    let mut inner = vec![false; graph.len()];
    for (_, node) in graph.iter() {
        if let SlotOp::Mul { a, b } = node.op {
            for factor in [a, b] {
                let is_product = matches!(graph.op(factor), SlotOp::Mul { .. });
                inner[factor.index()] = is_product && n_uses[factor.index()] == 1;
            }
        }
    }
    inner
}

fn collect_factors(graph: &Graph<Slot>, inner: &[bool], product: ValueId, factors: &mut Vec<ValueId>) {
    let mut pending = vec![product];
    while let Some(value) = pending.pop() {
        match graph.op(value) {
            SlotOp::Mul { a, b } if value == product || inner[value.index()] => pending.extend([*b, *a]),
            _ => factors.push(value),
        }
    }
}

#[derive(Default)]
struct Trees {
    /// Levels between the inputs and every value of the target.
    depths: Vec<u32>,
    shared: BTreeMap<(ValueId, ValueId), ValueId>,
}

impl Trees {
    fn build(
        &mut self,
        target: &mut Graph<Slot>,
        mut factors: Vec<ValueId>,
        origin: &Origin,
    ) -> Result<ValueId, PassError> {
        while factors.len() > 1 {
            factors.sort_by_key(|factor| (self.depths[factor.index()], *factor));
            let (a, b) = (factors.remove(0), factors.remove(0));
            let product = match self.shared.get(&(a, b)) {
                Some(product) => *product,
                None => target.push(SlotOp::Mul { a, b }, origin.clone())?,
            };
            self.shared.insert((a, b), product);
            self.note_depth(target, product);
            factors.push(product);
        }
        Ok(factors[0])
    }

    fn note_depth(&mut self, target: &Graph<Slot>, value: ValueId) {
        if value.index() < self.depths.len() {
            return;
        }
        let op = target.op(value);
        let below = op.operands().iter().map(|x| self.depths[x.index()]).max().unwrap_or(0);
        self.depths.push(below + consumption(op));
    }
}
