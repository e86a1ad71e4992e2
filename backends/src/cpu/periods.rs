//! With which period the slots of every value repeat, garbage included: what sparse bootstraps need to know.
//!
//! Assumes values in the order of the graph. Ensures that contents repeat with the period that is returned; they may
//! repeat with a smaller one. Method: slot-wise ops keep the largest period of their operands, and sums of rotations
//! x + rot(x, s) + rot(x, 2s) + .. that reach around the period of x repeat with s. O(1) per op.

use std::collections::BTreeMap;

use aphelion_ir::ckks::{Ckks, CkksOp};
use aphelion_ir::dialect::Op;
use aphelion_ir::{Graph, Node, ValueId};

/// The sum of `windows` rotations, by multiples of `step`, of a value that repeats with `period`.
#[derive(Clone, Copy)]
struct Fold {
    period: usize,
    step: usize,
    windows: usize,
}

/// Periods of the values seen so far.
#[derive(Default)]
pub(super) struct Periods {
    known: BTreeMap<ValueId, usize>,
    folds: BTreeMap<ValueId, Fold>,
}

impl Periods {
    /// The period of a value.
    pub(super) fn of(&self, id: ValueId) -> Option<usize> {
        self.known.get(&id).copied()
    }

    /// Takes up a value. `plain` is the largest period of the plaintexts it is computed with, 1 if there are none.
    pub(super) fn add(&mut self, graph: &Graph<Ckks>, id: ValueId, node: &Node<Ckks>, plain: usize) {
        let period = match &node.op {
            CkksOp::Input { layout, .. } => layout.period,
            CkksOp::Add { a, b } => self
                .fold(graph, id, *a, *b)
                .or_else(|| self.fold(graph, id, *b, *a))
                .unwrap_or_else(|| self.largest(node)),
            _ => self.largest(node).max(plain),
        };
        self.known.insert(id, period);
    }

    fn largest(&self, node: &Node<Ckks>) -> usize {
        let operands = node.op.operands();
        let periods = operands.into_iter().map(|x| self.of(x).unwrap_or(node.ty.slots));
        periods.max().unwrap_or(node.ty.slots)
    }

    /// The period of x + `rotated`, if that is a rotation of x.
    fn fold(&mut self, graph: &Graph<Ckks>, id: ValueId, x: ValueId, rotated: ValueId) -> Option<usize> {
        let by = match graph.op(rotated) {
            CkksOp::Rotate { x: same, by } if *same == x => *by,
            _ => return None,
        };
        let period = self.of(x)?;
        let fold = match self.folds.get(&x) {
            Some(fold) if fold.windows * fold.step == by => Fold {
                windows: 2 * fold.windows,
                ..*fold
            },
            _ => Fold {
                period,
                step: by,
                windows: 2,
            },
        };
        self.folds.insert(id, fold);
        let is_around = (fold.windows * fold.step).is_multiple_of(fold.period) && fold.step.is_power_of_two();
        Some(if is_around { fold.step.min(period) } else { period })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aphelion_ir::slot::Layout;
    use aphelion_ir::{ConstantPool, Origin};

    /// Period of an input of period 32 after it was added to its own rotation by each of `steps` in turn.
    fn folded(steps: &[usize]) -> usize {
        let mut graph: Graph<Ckks> = Graph::new("folds", ConstantPool::default());
        let push = |graph: &mut Graph<Ckks>, op| graph.push(op, Origin::new("x", "Test")).unwrap();
        let layout = Layout::dense(&[1, 32], 256);
        let input = CkksOp::Input {
            name: "x".into(),
            layout,
            scale: 1.0,
            level: 1,
        };
        let mut x = push(&mut graph, input);
        for step in steps {
            let rotated = push(&mut graph, CkksOp::Rotate { x, by: *step });
            x = push(&mut graph, CkksOp::Add { a: x, b: rotated });
        }
        let mut periods = Periods::default();
        for (id, node) in graph.iter() {
            periods.add(&graph, id, node, 1);
        }
        periods.of(x).unwrap()
    }

    #[test]
    fn folds_shorten_the_period_once_they_reach_around() {
        assert_eq!(folded(&[]), 32);
        assert_eq!(folded(&[4, 8]), 32);
        assert_eq!(folded(&[4, 8, 16]), 4);
        assert_eq!(folded(&[16, 8, 4]), 4);
        assert_eq!(folded(&[16, 1]), 16);
        assert_eq!(folded(&[3, 6]), 32);
        assert_eq!(folded(&[4, 8, 16, 1]), 4);
    }
}
