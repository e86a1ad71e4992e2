//! Parameter sets: the choice of primes, their security, and everything derived from them.

mod chain;
mod parameters;
mod security;

pub use chain::{ChainRequest, KEY_SWITCH_MARGIN_BITS, UpperLevel};
pub(crate) use chain::{special_limbs, special_limbs_beyond};
pub use parameters::{MAX_LOG_N, MAX_PRIMES, MIN_LOG_N, Parameters, ParametersLiteral, ScaleReset};
pub use security::{REQUIRED_SECURITY_BITS, SecretDistribution, Security, max_log_qp, security_bits};
