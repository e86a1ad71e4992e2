//! RNS-CKKS arithmetic, keys, wire formats, plan container and executor.
//!
//! Modules import only from those above them in this list.

pub mod error;
pub mod ring;

pub mod ckks;

pub mod plan;

pub mod exec;

pub mod client;

pub mod bench;
