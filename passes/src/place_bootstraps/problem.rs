//! What is to be placed: a graph of ops that consume levels and cost the more the higher they run.

/// An op and the value it yields. Levels are those at which the value is needed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// Values it reads, without repetition, all before it.
    pub(super) operands: Vec<usize>,
    /// Levels that it consumes between them and its result.
    pub(super) consumption: u32,
    /// Cost by the level of its result, from 0 to the highest; never falling.
    pub(super) cost: Vec<f64>,
    /// Cost of bootstrapping its value.
    pub(super) bootstrap: f64,
}

/// A program whose values may be bootstrapped.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem {
    /// Steps in topological order; every one is needed.
    pub(super) steps: Vec<Step>,
    /// Values that must survive, at level 0 at least.
    pub(super) outputs: Vec<usize>,
    /// Level of fresh and of bootstrapped values.
    pub(super) levels: u32,
    /// Level at which a value enters a bootstrap.
    pub(super) input_level: u32,
}

/// A choice of values to bootstrap.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placement {
    /// By value.
    pub(super) is_bootstrapped: Vec<bool>,
    /// Sum of all costs.
    pub(super) cost: f64,
    /// No placement costs less than this; the cost itself where the search was complete.
    pub(super) lower_bound: f64,
}

impl Problem {
    /// The last step that no placement can serve, because it consumes more than there is between two bootstraps; `None`
    /// when there is a placement. Bootstrapping every value that it helps needs the fewest levels.
    pub(super) fn too_deep(&self) -> Option<usize> {
        let mut needs = vec![0; self.steps.len()];
        for (value, step) in self.steps.iter().enumerate().rev() {
            let need = self.input_level.min(needs[value]) + step.consumption;
            if need > self.levels {
                return Some(value);
            }
            step.operands
                .iter()
                .for_each(|operand| needs[*operand] = needs[*operand].max(need));
        }
        None
    }

    /// What all ops cost at the lowest levels there are, and no bootstrap.
    pub(super) fn least_costs(&self) -> Vec<f64> {
        self.steps.iter().map(|step| step.cost[0]).collect()
    }
}
