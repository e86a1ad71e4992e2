//! Errors of the frontend: what is wrong, and where in which file.

use crate::dsl::SourceErrors;
use aphelion_ir::Origin;
use std::fmt;
use std::path::PathBuf;

/// One problem of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The node, input or initialiser that has the problem. A node without a name is called `#index`.
    pub origin: Origin,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

/// All problems of a model that were found in one go.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The problems, in model order. Never empty.
    pub findings: Vec<Finding>,
    /// The operators that can be imported, if some finding is about one that can not; else empty.
    pub supported: Vec<&'static str>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.findings.len() == 1 { "" } else { "s" };
        write!(f, "the model has {} problem{plural}:", self.findings.len())?;
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        if !self.supported.is_empty() {
            write!(f, "\nsupported operators: {}", self.supported.join(", "))?;
        }
        Ok(())
    }
}

/// Any error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Bytes that are no array file, or one that is not supported.
    #[error("{name}: {message}")]
    Array {
        /// File, or array within it.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// Bytes that are no ONNX model.
    #[error("not an ONNX model: {0}")]
    Decode(#[from] prost::DecodeError),
    /// A model as a whole that cannot be imported.
    #[error("{0}")]
    Model(String),
    /// A model with nodes, inputs or initialisers that cannot be imported.
    #[error("{0}")]
    Nodes(Report),
    /// A file of the model language with errors.
    #[error("{0}")]
    Source(Box<SourceErrors>),
}

impl FrontendError {
    /// A [`FrontendError::Array`].
    pub(crate) fn array(name: &str, message: impl Into<String>) -> Self {
        FrontendError::Array {
            name: name.to_string(),
            message: message.into(),
        }
    }
}
