//! Keys, encryption and decryption.

mod encapsulation;
mod encrypt;
mod evaluation;
mod flood;
mod secret;
mod switch;

pub use encapsulation::{EncapsulationKeys, encapsulation_literal};
pub use encrypt::PublicKey;
pub use evaluation::{EncapsulationRequest, EvaluationKeys, KeyPurpose, KeyRequest};
pub use flood::flooding_bits;
pub use secret::SecretKey;
pub use switch::KeySwitchKey;

pub(crate) use encapsulation::{Ephemeral, RAISED_MARGIN, log_special};
