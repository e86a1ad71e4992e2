//! Keys, encryption and decryption.

mod encrypt;
mod secret;

pub use encrypt::PublicKey;
pub use secret::SecretKey;
