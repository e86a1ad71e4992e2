//! The plan: everything a compiled model needs to run, in one file (`.aph`).
//!
//! Invariant: nothing here knows of models or of the compiler's IR; the instruction set is the plan's own.
//! Invariant: a [`Plan`] or [`ClientPart`] that was read has passed validation, so the executor and the client
//! rely on every index, level, scale and length in it.
//! Invariant: equal content gives equal bytes.
//!
//! Reading order: [`packing`] (tensors to slots), [`client`] (what the client needs), [`program`] (instructions),
//! [`mod@bootstrap`] (its bootstraps), [`constants`] (vectors), [`report`] (what the compiler tells), [`types`] (the type
//! rules), [`counts`], `keys` (which keys an op takes), [`container`] (the file), [`file`] (reading and writing plans), [`bundle`] (ciphertexts on their way).

pub mod bootstrap;
pub mod bundle;
pub mod client;
pub mod constants;
pub mod container;
pub mod counts;
pub mod file;
mod keys;
pub mod packing;
pub mod program;
pub mod report;
pub mod types;

pub use bootstrap::{BootstrapKind, Bootstrapping};
pub use bundle::{Bundle, Direction};
pub use client::{ClientOp, ClientPart, InputPort, ModelInfo, OutputPort};
pub use constants::{ConstantVector, ConstantWriter, Constants, VectorId};
pub use counts::Counts;
pub use file::Plan;
pub use packing::{Digit, Packing};
pub use program::{Diagonal, Instruction, Op, Program, Register, Transform};
pub use report::{CostTableId, Report, ValueReport};
pub use types::{CipherType, ScalePower};

pub(crate) use types::shape_of;
