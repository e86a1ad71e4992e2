//! Optimisation passes and lowerings, from `nn` down to `ckks`, with the cost model and parameter selection.
//!
//! Invariant: a pass is one file with one `run`; it takes a verified graph and yields a verified graph.
//! Invariant: the same graph and options give the same result, bit for bit.
//! Invariant: passes never see ONNX, files or secret keys.

pub mod bsgs;
mod error;
mod memo;
mod options;
mod pass;

mod nn_rewrite;

pub mod fold_constants;
pub mod fold_scales;
pub mod recover_activations;

pub mod fold_affine;

pub mod calibrate;

pub mod approx;
pub mod approximate;

pub mod batch;
pub mod lower_to_slot;
pub mod rewrite;

pub mod place_bootstraps;

pub mod cost_model;
pub mod keys;
pub mod lower_to_ckks;
pub mod parameters;
pub mod pipeline;

pub use error::PassError;
pub use memo::Memo;
pub use options::{Batch, CompileOptions, Target};
pub use pass::{PassCx, Stats};
