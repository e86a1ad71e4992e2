//! The cost model: predicted seconds and bytes of a `ckks` program under given parameters.
//!
//! A program becomes a [`Workload`] (what is to be done, at which level, independent of parameters); [`Costs`] prices it:
//! every op is counted in operations on one limb ([`LimbOps`]), which a [`CostTable`] turns into seconds by ring degree.
//! The table's default is data in `default.json`; a machine's own measurements of whole ops correct it.
//!
//! Reading order: [`table`] (seconds), `fit` (from measurements), [`limb_ops`] (counts per
//! op), [`bootstrap`], [`workload`] (programs), [`predict`], [`typical`] (before parameters are known).

pub mod bootstrap;
mod fit;
pub mod limb_ops;
pub mod predict;
pub mod table;
pub mod typical;
pub mod workload;

pub use bootstrap::{BootstrapKind, BootstrapWork, Bootstraps, ShapeCache};
pub use limb_ops::{Costs, LimbOps, Plaintexts, TransformSize};
pub use predict::{PREDICTED_THREADS, Prediction, predict};
pub use table::{CostTable, Measurement, Primitives};
pub use typical::Typical;
pub use workload::{OpCounts, Work, WorkItem, Workload, transform_period};
