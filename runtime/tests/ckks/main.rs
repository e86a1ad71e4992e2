//! CKKS end to end: every operation encrypted, against cleartext, at real 128-bit parameters.

mod bootstrap;
mod common;
mod encrypt;
mod evaluate;
mod linear_transform;
mod memory;
mod poly_eval;
mod wire;
