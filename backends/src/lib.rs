//! Backends: a finished `ckks` graph becomes something that runs.
//!
//! Invariant: a backend decides nothing about levels, scales or layouts; it only spells out what the graph says.
//! Invariant: the same graph gives the same plan, byte for byte.

pub mod cpu;

mod error;

pub use error::BackendError;
