//! Driver of Aphelion: from a model file to an encrypted prediction.
//!
//! Invariant: the command line only parses arguments, calls functions of [`driver`] and prints what comes back.

pub mod driver;
pub mod explain;
pub mod report;
pub mod units;
