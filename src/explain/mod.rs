//! A plan as a page to look at: one file of HTML with drawings in it, without scripts or anything from elsewhere.
//!
//! Invariant: the same plan and measurements give the same bytes.
//!
//! Reading order: [`analysis`] (what there is to show), [`measured`] (times of real runs), [`draw`] (SVG), `times` (bars in tables), then the sections
//! in the order they stand on the page: `timeline`, `layers`, `kinds`, `keys`, `slots`, `precision`, `parameters`; `page` puts
//! them together.

pub mod analysis;
pub mod measured;

mod draw;
mod keys;
mod kinds;
mod layers;
mod page;
mod parameters;
mod precision;
mod slots;
mod timeline;
mod times;

pub use analysis::{Analysis, Kind};
pub use measured::Measured;
pub use page::html;
