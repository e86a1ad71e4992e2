//! Errors of the driver, and whose fault they are.

use std::path::{Path, PathBuf};

use aphelion_backends::BackendError;
use aphelion_frontend::FrontendError;
use aphelion_ir::IrError;
use aphelion_passes::PassError;
use aphelion_runtime::error::Error as RuntimeError;

/// Any error of the driver.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A model or data file that cannot be read.
    #[error(transparent)]
    Frontend(#[from] FrontendError),
    /// A model that cannot be compiled.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// A program that cannot become a plan.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// Keys, plans or ciphertexts that cannot be used, or an evaluation that failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The model in the clear cannot be computed.
    #[error(transparent)]
    Ir(#[from] IrError),
    /// Files or options that do not fit each other.
    #[error("{0}")]
    BadInput(String),
    /// A file that cannot be written or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file whose contents cannot be used.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        source: Box<DriverError>,
    },
}

/// Result of a driver function.
pub type Result<T> = std::result::Result<T, DriverError>;

impl DriverError {
    /// A [`DriverError::Io`].
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    /// Puts `path` before an error about its contents; one that names the file by itself stays as it is.
    pub fn in_file<E: Into<Self>>(path: &Path) -> impl FnOnce(E) -> Self {
        move |error| match error.into() {
            named @ (Self::Io { .. }
            | Self::InFile { .. }
            | Self::Runtime(RuntimeError::Io { .. })
            | Self::Frontend(
                FrontendError::Read { .. } | FrontendError::Array { .. } | FrontendError::Source(_),
            )) => named,
            source => Self::InFile {
                path: path.to_path_buf(),
                source: Box::new(source),
            },
        }
    }

    /// Whether what the user handed in is to blame, rather than the run.
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Frontend(_) | Self::BadInput(_) | Self::Io { .. } | Self::InFile { .. } => true,
            Self::Pass(error) => !matches!(error, PassError::Ir(_)),
            Self::Backend(_) | Self::Ir(_) => false,
            Self::Runtime(error) => matches!(
                error,
                RuntimeError::Malformed { .. }
                    | RuntimeError::InvalidPlan { .. }
                    | RuntimeError::InvalidInput { .. }
                    | RuntimeError::ParameterMismatch { .. }
                    | RuntimeError::MissingRotationKey { .. }
                    | RuntimeError::MissingConjugationKey { .. }
                    | RuntimeError::MissingRelinKey { .. }
                    | RuntimeError::MissingEncapsulationKeys { .. }
                    | RuntimeError::MissingRaisedRotationKey { .. }
                    | RuntimeError::KeyLevelTooLow { .. }
                    | RuntimeError::NotEnoughMemory { .. }
                    | RuntimeError::Io { .. }
            ),
        }
    }
}
