//! Errors of backends.

use aphelion_ir::{IrError, Origin};
use aphelion_runtime::error::Error as RuntimeError;

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// An op that the backend cannot run.
    #[error("{origin}: {message}")]
    Unsupported {
        /// Where the op comes from.
        origin: Origin,
        /// What is not supported, and what to do instead.
        message: String,
    },
    /// A graph that is not ready for a backend.
    #[error("the program cannot be turned into a plan: {0}")]
    Unfinished(String),
    /// A constant cannot be read, or a kernel does not hold together.
    #[error(transparent)]
    Ir(#[from] IrError),
    /// The runtime refuses parameters or the plan.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}
