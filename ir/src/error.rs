//! Errors of the IR: what is wrong, in which op, and where that op comes from.

use crate::origin::Origin;
use crate::text::ParseError;
use std::fmt;

/// One finding of a verifier or a type rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    /// The op as printed, e.g. `%4 = slot.add %1, %3`.
    pub op: String,
    /// Source location of the op.
    pub origin: Origin,
    /// What is wrong, with expected and found values.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; in {}", self.origin, self.message, self.op)
    }
}

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum IrError {
    /// A type rule or the verifier rejects ops. Never empty.
    #[error("{}", .0.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Diagnostic>),
    /// Text that is no graph.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A constant that an op refers to is missing or malformed.
    #[error("constant @{name}: {message}")]
    Constant {
        /// Name of the constant.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// An interpreter was given wrong inputs, or met a value that it cannot compute with.
    #[error("interpreter, {origin}: {message}")]
    Interpret {
        /// Where the op comes from.
        origin: Origin,
        /// What went wrong.
        message: String,
    },
}

impl IrError {
    /// An [`IrError::Constant`].
    pub fn constant(name: &str, message: impl Into<String>) -> Self {
        IrError::Constant {
            name: name.to_string(),
            message: message.into(),
        }
    }

    /// An [`IrError::Interpret`].
    pub fn interpret(origin: &Origin, message: impl Into<String>) -> Self {
        IrError::Interpret {
            origin: origin.clone(),
            message: message.into(),
        }
    }
}
