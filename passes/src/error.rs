//! Errors of passes: which pass, which op, what to do.

use aphelion_ir::{IrError, Origin};

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// An op that the pipeline cannot compile.
    #[error("{origin}: {message}")]
    Unsupported {
        /// Where the op comes from.
        origin: Origin,
        /// What is not supported, and what to do instead.
        message: String,
    },
    /// The program cannot be compiled as a whole (too deep, too large, target precision out of reach).
    #[error("{0}")]
    Infeasible(String),
    /// Options or calibration data do not fit the model.
    #[error("{0}")]
    BadInput(String),
    /// The IR rejected what a pass built, or an interpreter failed.
    #[error(transparent)]
    Ir(#[from] IrError),
}

impl PassError {
    /// A [`PassError::Unsupported`].
    pub fn unsupported(origin: &Origin, message: impl Into<String>) -> Self {
        PassError::Unsupported {
            origin: origin.clone(),
            message: message.into(),
        }
    }
}
