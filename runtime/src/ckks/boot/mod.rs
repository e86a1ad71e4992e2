//! Bootstrapping: from a low level back up, with the values kept.
//!
//! Steps, in order: slots to coefficients, at the lowest levels; [`mod_raise()`] (through an ephemeral sparse secret),
//! [`trace()`] for sparsely packed messages, coefficients to slots, [`EvalMod`]. The trace and the first factor of
//! coefficients to slots may be part of raising, where rotations are cheap. So the reduction's noise is that of the
//! result, instead of being summed over all coefficients, and the first transform costs next to nothing.
//! [`BootstrapPlan`] decides parameters and levels, [`Bootstrapper`] runs.

mod limits;

mod failure;
mod sine;

mod embedding;
mod eval_mod;
mod mod_raise;
mod trace;

mod cost;
mod start;

mod precision;
mod profile;

mod sketch;

mod plan;

mod operations;

mod planner;

mod bootstrapper;

pub use bootstrapper::Bootstrapper;
pub use eval_mod::EvalMod;
pub use mod_raise::mod_raise;
pub use operations::{Operation, TransformShapes};
pub use plan::{BootstrapCircuit, BootstrapPlan, BootstrapRequest, Content};
pub use precision::StageNoise;
pub use profile::StageTime;
pub(crate) use profile::processor_nanoseconds;
pub use trace::{trace, trace_steps};
