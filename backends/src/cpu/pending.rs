//! Which products are rescaled at once instead of where the graph rescales them.
//!
//! The runtime's linear transform always ends with its rescale, at no extra cost; a relinearisation can. A value that
//! waits for its rescale in the graph may therefore be held rescaled already. Values that are added to each other had
//! better agree: values of scale power 2 that sums and slot-wise ops connect form a group, and relinearisations rescale
//! at once where no other kind of product but linear transforms is in their group. O(ops).

use aphelion_ir::Graph;
use aphelion_ir::ckks::{Ckks, CkksOp};
use aphelion_ir::dialect::Op;

/// For every value, whether a relinearisation that yields it shall rescale as well.
pub(super) fn merged_rescales(graph: &Graph<Ckks>) -> Vec<bool> {
    let waits = |index: usize| graph.ty(aphelion_ir::ValueId(index as u32)).scale_power == 2;
    let mut parent: Vec<usize> = (0..graph.len()).collect();
    for (id, node) in graph.iter().filter(|(id, _)| waits(id.index())) {
        if is_product(&node.op) {
            continue;
        }
        for operand in node.op.operands() {
            let (a, b) = (root(&mut parent, id.index()), root(&mut parent, operand.index()));
            parent[a.max(b)] = a.min(b);
        }
    }
    let mut mixed = vec![false; graph.len()];
    for (id, node) in graph.iter().filter(|(id, _)| waits(id.index())) {
        let keeps = matches!(
            node.op,
            CkksOp::Mul { .. } | CkksOp::MulPlain { .. } | CkksOp::MulScalar { .. }
        );
        let group = root(&mut parent, id.index());
        mixed[group] |= keeps;
    }
    (0..graph.len())
        .map(|index| waits(index) && !mixed[root(&mut parent, index)])
        .collect()
}

/// Ops whose result waits for a rescale although no operand does, or which close a group.
fn is_product(op: &CkksOp) -> bool {
    match op {
        CkksOp::Mul { .. }
        | CkksOp::MulPlain { .. }
        | CkksOp::MulScalar { .. }
        | CkksOp::LinearTransform { .. }
        | CkksOp::Relinearize { .. } => true,
        CkksOp::Input { .. }
        | CkksOp::Add { .. }
        | CkksOp::Sub { .. }
        | CkksOp::Neg { .. }
        | CkksOp::AddPlain { .. }
        | CkksOp::AddScalar { .. }
        | CkksOp::Rescale { .. }
        | CkksOp::DropLevel { .. }
        | CkksOp::Rotate { .. }
        | CkksOp::PolyEval { .. }
        | CkksOp::Bootstrap { .. } => false,
    }
}

fn root(parent: &mut [usize], mut index: usize) -> usize {
    while parent[index] != index {
        parent[index] = parent[parent[index]];
        index = parent[index];
    }
    index
}
