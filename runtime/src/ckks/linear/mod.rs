//! Linear transforms on slot vectors.

mod transform;

pub use transform::{DiagonalIdx, Diagonals, LinearTransform};
