//! What a name of the model stands for while it is imported.

use aphelion_ir::{Tensor, ValueId};

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Something computed from the model's inputs, or from weights by an op of the graph.
    Node(ValueId),
    /// Numbers known now: weights and scalars. They become an op of the graph where one needs them.
    Float(Tensor),
    /// Integers known now: shapes and axes.
    Int(Ints),
    /// The result of a node that could not be imported.
    Unknown,
}

/// A tensor of integers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ints {
    /// Extents.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub values: Vec<i64>,
}

impl Ints {
    /// A vector.
    pub fn vector(values: Vec<i64>) -> Self {
        Ints {
            shape: vec![values.len()],
            values,
        }
    }

    /// The same integers as real numbers.
    pub fn to_tensor(&self) -> Tensor {
        Tensor::from_f64(self.shape.clone(), self.values.iter().map(|&x| x as f64).collect())
    }
}
