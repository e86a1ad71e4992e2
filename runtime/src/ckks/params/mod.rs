//! Parameter sets: the choice of primes, their security, and everything derived from them.

mod chain;
mod gadgets;
mod parameters;
mod security;
mod switch_work;

pub(crate) use chain::special_limbs_beyond;
pub use chain::{ChainRequest, KEY_SWITCH_MARGIN_BITS, UpperLevel};
pub use gadgets::{KeyBands, LevelGadget, level_gadgets};
pub use parameters::{MAX_LOG_N, MAX_PRIMES, MIN_LOG_N, Parameters, ParametersLiteral, ScaleReset};
pub use security::{REQUIRED_SECURITY_BITS, SecretDistribution, Security, max_log_qp, security_bits};
pub(crate) use switch_work::SwitchWork;
