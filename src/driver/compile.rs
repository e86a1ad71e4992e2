//! Compilation: an imported model becomes a plan.

use std::time::Duration;

use aphelion_runtime::plan::Plan;

use crate::report::PassReport;

/// A model compiled.
#[derive(Clone, Debug)]
pub struct Compilation {
    /// The plan.
    pub plan: Plan,
    /// Seconds from the imported model to the plan.
    pub seconds: f64,
    /// Passes in the order they ran.
    pub passes: Vec<PassReport>,
}

impl Compilation {
    /// A plan with how long it took to make.
    #[must_use]
    pub fn new(plan: Plan, time: Duration, passes: Vec<PassReport>) -> Self {
        Self {
            plan,
            seconds: time.as_secs_f64(),
            passes,
        }
    }
}
