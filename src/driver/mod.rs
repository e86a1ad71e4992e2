//! The steps from a model file to an encrypted prediction, one file each.
//!
//! Reading order: [`model`] (import), [`data`] (samples), [`compile`] (model to plan), [`roles`] (client and server as
//! files), [`job`] (what to infer), [`infer`] (everything in one process), [`simulate`] (the same without
//! encryption), [`metrics`] (encrypted against clear), [`ranges`] (inputs
//! that leave them), [`program`] (programs in
//! text form), [`prices`] (cost tables), [`calibrate_machine`] (a machine's own), [`machine`].

pub mod calibrate_machine;
pub mod compile;
pub mod data;
pub mod infer;
pub mod job;
pub mod limits;
pub mod machine;
pub mod metrics;
pub mod model;
pub mod prices;
pub mod program;
pub mod ranges;
pub mod roles;
pub mod simulate;

mod error;
mod observer;

pub use error::{DriverError, Result};
pub use observer::{Observer, Silent};
