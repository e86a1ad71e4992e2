//! RNS-CKKS: parameters, encoding, keys, ciphertexts and their evaluation.
//! See README.md beside this file for the API on one page.

pub mod encoding;
pub mod keys;
pub mod linear;
pub mod params;
pub mod polynomial;
pub mod wire;

mod ciphertext;

pub use ciphertext::{Ciphertext, Plaintext};
