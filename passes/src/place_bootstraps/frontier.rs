//! Exact placement by dynamic programming over the frontier.
//!
//! Steps are processed from the last to the first. A state is the level at which every value is needed whose users are
//! processed and whose producer is not. Processing a value either leaves it (its op then runs at that level, and needs its
//! operands so much higher) or bootstraps it (its op then runs at the level that a bootstrap takes). What is below does not
//! matter to what is above but for these levels, so that of two states the one with no lower level and no lower cost can
//! be dropped. Exact as long as the states that remain are fewer than [`MAX_STATES`]: chains, residual blocks and
//! activations `x p(x)` keep two to four values on the frontier. Beyond, the most promising are kept, and a lower bound on
//! the cost of what was dropped is reported.

use super::problem::{Placement, Problem};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// States that are kept at most.
pub(super) const MAX_STATES: usize = 1500;

/// Levels needed of the values on the frontier, in the order of the frontier, with the least cost that leads there.
#[derive(Clone, Debug)]
struct State {
    needs: Vec<u8>,
    cost: f64,
    /// The state before, and whether the value processed since was bootstrapped.
    from: (u32, bool),
}

impl State {
    fn dominates(&self, other: &State) -> bool {
        self.cost <= other.cost && self.needs.iter().zip(&other.needs).all(|(a, b)| a <= b)
    }
}

/// The cheapest placement with at most `max_states` states at a time; `None` when there is none, or none was found.
pub(super) fn place(problem: &Problem, max_states: usize) -> Option<Placement> {
    let n_steps = problem.steps.len();
    let mut frontier: Vec<usize> = problem.outputs.clone();
    frontier.sort_unstable();
    frontier.dedup();
    let mut states = vec![State {
        needs: vec![0; frontier.len()],
        cost: 0.0,
        from: (0, false),
    }];
    let mut history: Vec<Vec<(u32, bool)>> = Vec::with_capacity(n_steps);
    let mut remaining: f64 = problem.least_costs().iter().sum();
    let mut dropped_bound = f64::INFINITY;
    for value in (0..n_steps).rev() {
        let step = &problem.steps[value];
        let position = frontier.binary_search(&value).ok()?;
        let mut next_frontier = frontier.clone();
        next_frontier.remove(position);
        for operand in &step.operands {
            if let Err(at) = next_frontier.binary_search(operand) {
                next_frontier.insert(at, *operand);
            }
        }
        let carry = carry(&frontier, &next_frontier, &step.operands);
        let mut best: BTreeMap<Vec<u8>, State> = BTreeMap::new();
        for (index, state) in states.iter().enumerate() {
            let need = u32::from(state.needs[position]);
            for is_bootstrapped in [false, true] {
                // A bootstrap that does not lower the level serves nothing.
                if is_bootstrapped && need <= problem.input_level {
                    continue;
                }
                let level = if is_bootstrapped { problem.input_level } else { need };
                let operand_need = level + step.consumption;
                if operand_need > problem.levels {
                    continue;
                }
                let own = step.cost[level as usize] + if is_bootstrapped { step.bootstrap } else { 0.0 };
                let cost = state.cost + own;
                let needs = carry.apply(&state.needs, operand_need as u8);
                match best.get_mut(&needs) {
                    Some(known) if known.cost <= cost => {}
                    known => {
                        let from = (index as u32, is_bootstrapped);
                        let state = State { needs, cost, from };
                        match known {
                            Some(known) => *known = state,
                            None => {
                                best.insert(state.needs.clone(), state);
                            }
                        }
                    }
                }
            }
        }
        remaining -= step.cost[0];
        frontier = next_frontier;
        states = undominated(best.into_values().collect());
        if states.len() > max_states {
            let dropped = keep_promising(&mut states, problem, max_states);
            dropped_bound = dropped_bound.min(dropped + remaining);
        }
        history.push(states.iter().map(|state| state.from).collect());
    }
    let (last, state) = states
        .iter()
        .enumerate()
        .min_by(|(_, a), (_, b)| a.cost.total_cmp(&b.cost))?;
    let mut is_bootstrapped = vec![false; n_steps];
    let mut index = last;
    for (value, from) in (0..n_steps).zip(history.iter().rev()) {
        let (before, decision) = from[index];
        is_bootstrapped[value] = decision;
        index = before as usize;
    }
    Some(Placement {
        is_bootstrapped,
        cost: state.cost,
        lower_bound: dropped_bound.min(state.cost),
    })
}

/// How needs go from one frontier to the next.
struct Carry {
    /// For every value of the next frontier, its position in the one before, and whether the step reads it.
    sources: Vec<(Option<usize>, bool)>,
}

fn carry(frontier: &[usize], next: &[usize], operands: &[usize]) -> Carry {
    let source = |value: &usize| (frontier.binary_search(value).ok(), operands.contains(value));
    Carry {
        sources: next.iter().map(source).collect(),
    }
}

impl Carry {
    fn apply(&self, needs: &[u8], operand_need: u8) -> Vec<u8> {
        let need = |&(position, is_read): &(Option<usize>, bool)| {
            let before = position.map_or(0, |position| needs[position]);
            if is_read { before.max(operand_need) } else { before }
        };
        self.sources.iter().map(need).collect()
    }
}

/// The states that no other beats, cheapest first.
fn undominated(mut states: Vec<State>) -> Vec<State> {
    states.sort_by(|a, b| a.cost.total_cmp(&b.cost).then_with(|| a.needs.cmp(&b.needs)));
    let mut kept: Vec<State> = Vec::new();
    for state in states {
        if kept.len() > 4 * MAX_STATES || !kept.iter().any(|known| known.dominates(&state)) {
            kept.push(state);
        }
    }
    kept
}

/// Keeps the states that promise least in the end; returns the least cost among the others.
fn keep_promising(states: &mut Vec<State>, problem: &Problem, max_states: usize) -> f64 {
    // A level that is needed is paid for by its share of a bootstrap sooner or later.
    let bootstraps: f64 = problem.steps.iter().map(|step| step.bootstrap).sum();
    let usable = f64::from((problem.levels - problem.input_level).max(1));
    let per_level = bootstraps / problem.steps.len() as f64 / usable;
    let promise = |state: &State| {
        let needs = state.needs.iter().map(|need| f64::from(*need));
        // Values on the frontier together often share what they need.
        state.cost + per_level * (needs.clone().fold(0.0, f64::max) + 0.3 * needs.sum::<f64>())
    };
    let by_promise =
        |a: &State, b: &State| -> Ordering { promise(a).total_cmp(&promise(b)).then_with(|| a.needs.cmp(&b.needs)) };
    states.sort_by(by_promise);
    let dropped = states.split_off(max_states);
    dropped.iter().map(|state| state.cost).fold(f64::INFINITY, f64::min)
}
