//! Dialect `slot`: the model as arithmetic on packed vectors. A value is a tensor placed into the slots of one or more
//! ciphertexts by its [`Layout`], which is its type.
//!
//! Invariant: every linear operator is one `linear` op, a sparse matrix between two layouts ([`Kernel`]).
//! Invariant: an op never reads a slot that its operand's layout calls unused, unless that slot is zero.

mod diagonal_set;
mod diagonals;
mod infer;
mod interp;
mod layout;
mod linear_map;
mod ops;
mod packing;
pub(crate) mod placement;
mod polynomial;
mod rotation_set;

pub use diagonal_set::DiagonalSet;
pub use diagonals::{DiagonalKey, Diagonals};
pub use interp::{Interpreter, evaluate};
pub use layout::{Digit, Layout, Unused};
pub use linear_map::{LinearMap, Pattern, RowCursor, Rows, SparseMatrix};
pub use ops::{Kernel, PlainTensor, SlotOp};
pub use polynomial::{Basis, Polynomial};

use crate::dialect::Dialect;
use crate::graph::Graph;
use crate::parameters::ParameterSpec;
use crate::{attr_enum, attr_struct};

/// The dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot;

attr_enum! {
    /// What the client does in the clear with a decrypted result.
    pub enum ClientOp {
        #[doc = "softmax along an axis"]
        Softmax "softmax" { axis: usize }
    }
}

attr_struct! {
    /// Annotations of a `slot` or `ckks` graph.
    #[derive(Default)]
    pub struct SlotAttrs {
        /// Slots per ciphertext, a power of two.
        pub slots: usize,
        /// Samples that one run takes, where it takes several: every tensor has a first axis of this extent.
        pub batch: Option<usize>,
        /// For every result, the factor that turns slot contents into tensor values.
        pub output_scales: Vec<f64>,
        /// For every result, what is left to the client, in order.
        pub client_ops: Vec<Vec<ClientOp>>,
        /// Encryption parameters, where bootstraps were placed for them.
        pub parameters: Option<ParameterSpec>,
    }
}

impl Dialect for Slot {
    const NAME: &'static str = "slot";
    type Op = SlotOp;
    type Type = Layout;
    type Attrs = SlotAttrs;

    fn infer(graph: &Graph<Self>, op: &SlotOp) -> Result<Layout, String> {
        infer::infer(graph, op)
    }
}
