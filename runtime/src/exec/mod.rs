//! The server's side of a plan: runs a program on ciphertexts with evaluation keys.
//!
//! Invariant: nothing here takes, holds or could make a secret key; what a server process links from this module
//! cannot decrypt.
//! Invariant: results do not depend on the number of threads.
//!
//! Reading order: [`schedule`] (dependencies, lifetimes), [`weights`] (plaintexts, encoded ahead or just in time),
//! [`memory`] (what is needed), [`resident`] (what there is), [`server`] (a plan ready to run), `checkpoint` (states in files), `run` (one evaluation),
//! [`profile`] (what it took), [`trace`] (for Perfetto).

mod checkpoint;
pub mod memory;
pub mod profile;
pub mod resident;
mod run;
pub mod schedule;
pub mod server;
pub mod trace;
pub mod weights;

pub use memory::MemoryUse;
pub use profile::{OpTiming, Profile, Progress};
pub use resident::MemoryPoint;
pub use schedule::Schedule;
pub use server::{Evaluation, Server, ServerOptions};
pub use trace::write_trace;
