//! RNS-CKKS: parameters, encoding, keys, ciphertexts and their evaluation.
//! See README.md beside this file for the API on one page.

pub mod params;

pub mod encoding;

pub mod keys;

pub mod linear;
pub mod polynomial;

pub mod eval;

pub mod boot;

pub mod wire;

mod ciphertext;

pub use ciphertext::{Ciphertext, Plaintext};
