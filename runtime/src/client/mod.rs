//! The client's side of a plan: keys, encryption, decryption. Needs a plan's client part and nothing else.
//!
//! Invariant: this is the only module above [`crate::ckks`] that touches a secret key; the executor never imports it.

mod session;

pub use session::{Client, RangeWarning};
