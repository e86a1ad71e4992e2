//! Bytes of keys, ciphertexts and parameters: framed, versioned, checksummed, bound to their parameters.
//!
//! Invariant: no input makes a reader panic, or allocate more than a small multiple of the bytes it was given; only
//! parameters, once checked, build the tables they describe.

mod frame;
mod poly;

mod ciphertext;
mod encapsulation;
mod keys;
mod mapped;
mod parameters;

pub use frame::{CHECKSUM_BYTES, Fingerprint, Frame, HEADER_BYTES, Kind, VERSION};

pub(crate) use parameters::encode_literal;
