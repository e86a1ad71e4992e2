//! Bootstrapping: from level 0 back up, with the values kept.
//!
//! Steps, in order: [`mod_raise()`] (through an ephemeral sparse secret), [`trace()`] for sparsely packed
//! messages, coefficients to slots, [`EvalMod`], slots to coefficients. [`BootstrapPlan`] decides parameters and levels,
//! [`Bootstrapper`] runs.

mod limits;

mod failure;
mod precision;
mod sine;

mod embedding;
mod eval_mod;
mod mod_raise;
mod trace;

mod sketch;

mod plan;

mod planner;

mod bootstrapper;

pub use bootstrapper::Bootstrapper;
pub use eval_mod::EvalMod;
pub use mod_raise::mod_raise;
pub use plan::{BootstrapCircuit, BootstrapPlan, BootstrapRequest, Content};
pub use trace::{trace, trace_steps};
