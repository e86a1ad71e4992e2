//! Computing on ciphertexts.
//!
//! Invariant: nothing here takes or holds a secret key. An [`Evaluator`] is shared between threads as it is; results are
//! the same whatever the number of threads.

mod add;
mod diagonals;
mod evaluator;
mod linear_transform;
mod multiply;
mod poly_eval;
mod rescale;
mod rotate;
mod scalar;

pub use diagonals::{DiagonalEncoding, DiagonalSource, EncodedDiagonals, RawDiagonals};
pub use evaluator::Evaluator;
pub(crate) use linear_transform::DIAGONALS_AT_ONCE;
