//! Reads models and data: ONNX files and the model language into the nn dialect, numpy files into arrays.
//!
//! Invariant: only this crate knows protobuf, and nothing outside of it sees an ONNX operator.
//! Invariant: bytes from outside never make it panic, and lengths are checked before memory is allocated for them.

pub mod data;

pub mod dsl;

pub mod onnx;

mod error;
mod float;

pub use error::{Finding, FrontendError, Report};
