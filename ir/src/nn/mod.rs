//! Dialect `nn`: a model as its framework means it. A value is a tensor of static shape; ops have ONNX semantics.
//!
//! Invariant: the batch dimension, where there is one, has extent 1.
//! Invariant: weights are `constant` ops; every op sees them as operands.

mod func;
mod infer;
mod interp;
mod ops;

pub use func::Func;
pub use interp::{Interpreter, StandIn, Values, evaluate};
pub use ops::{NnOp, Pool};

use crate::attr::Attr;
use crate::attr_struct;
use crate::dialect::Dialect;
use crate::graph::Graph;
use crate::text::{ParseError, Parser, Printer};

/// The dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nn;

/// Type of a value: a tensor of real numbers with a static shape, printed `f32[1,3,32,32]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Extent of every dimension, outermost first.
    pub shape: Vec<usize>,
}

impl TensorType {
    /// The type of tensors of `shape`.
    pub fn new(shape: impl Into<Vec<usize>>) -> Self {
        TensorType { shape: shape.into() }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True when some dimension has extent 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Attr for TensorType {
    fn print(&self, printer: &mut Printer) {
        printer.word("f32");
        self.shape.print(printer);
    }
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        parser.ident_is("f32")?;
        Vec::parse(parser).map(|shape| TensorType { shape })
    }
}

attr_struct! {
    /// Annotations of an `nn` graph, filled in by calibration.
    #[derive(Default)]
    pub struct NnAttrs {
        /// For values by id: the interval `(low, high)` that the value stays in, as calibrated or derived. A value
        /// that is not listed has no known range.
        pub ranges: Vec<ValueRange>,
    }
}

attr_struct! {
    /// The interval of one value.
    pub struct ValueRange {
        /// Index of the value.
        pub value: u32,
        /// Lower bound.
        pub low: f64,
        /// Upper bound.
        pub high: f64,
    }
}

impl Dialect for Nn {
    const NAME: &'static str = "nn";
    type Op = NnOp;
    type Type = TensorType;
    type Attrs = NnAttrs;

    fn infer(graph: &Graph<Self>, op: &NnOp) -> Result<TensorType, String> {
        infer::infer(graph, op)
    }
}
