//! The intermediate representation of Aphelion: typed SSA graphs in three dialects, their text form, verifiers and
//! cleartext interpreters.
//!
//! Invariant: this crate does no I/O, and knows no file format, no pass and no backend.
//! Invariant: `parse(print(g)) == g` for every verified graph of every dialect.
//! Invariant: an op's operands are defined before it, so arena order is a topological order.
//!
//! Reading order: [`graph`] (the arena), [`dialect`] (what a dialect is, and the op table), [`text`] (printer and
//! parser), then the dialects from a model down to ciphertexts: [`nn`], [`slot`], [`ckks`].

pub mod attr;
pub mod constant;
pub mod dialect;
pub mod graph;
pub mod origin;
pub mod shape;
pub mod text;

pub mod nn;

pub mod parameters;

pub mod slot;

pub mod ckks;

mod error;

pub use constant::{ConstRef, ConstantPool, Tensor};
pub use dialect::{Dialect, Op, OpInfo};
pub use error::{Diagnostic, IrError};
pub use graph::{Graph, Node, Output, Rewriter, ValueId};
pub use origin::Origin;
