//! Bytes of keys, ciphertexts and parameters.

mod frame;
mod parameters;

pub use frame::{CHECKSUM_BYTES, Fingerprint, Frame, HEADER_BYTES, Kind, VERSION};
pub(crate) use parameters::encode_literal;
