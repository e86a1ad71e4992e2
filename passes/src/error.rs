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
    /// Several problems, found in one go; at least two.
    #[error("{}", .0.iter().map(PassError::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<PassError>),
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

    /// All of `problems` as one error; none when there are none.
    pub fn several(mut problems: Vec<PassError>) -> Option<Self> {
        match problems.len() {
            0 => None,
            1 => problems.pop(),
            _ => Some(PassError::Several(problems)),
        }
    }
}
