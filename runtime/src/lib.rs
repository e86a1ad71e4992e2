//! RNS-CKKS arithmetic, keys, wire formats, plan container and executor.

pub mod error;
