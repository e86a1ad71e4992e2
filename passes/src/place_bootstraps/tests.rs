//! Optimality against all placements, on random small graphs.

use super::frontier::{MAX_STATES, place};
use super::problem::{Placement, Problem, Step};
use proptest::prelude::*;

/// The cost of bootstrapping exactly these values; `None` when levels do not suffice.
fn cost_of(problem: &Problem, is_bootstrapped: &[bool]) -> Option<f64> {
    let mut needs = vec![0; problem.steps.len()];
    let mut cost = 0.0;
    for (value, step) in problem.steps.iter().enumerate().rev() {
        let mut level = needs[value];
        if is_bootstrapped[value] {
            cost += step.bootstrap;
            level = problem.input_level;
        }
        let need = level + step.consumption;
        if need > problem.levels {
            return None;
        }
        cost += step.cost[level as usize];
        step.operands
            .iter()
            .for_each(|operand| needs[*operand] = needs[*operand].max(need));
    }
    Some(cost)
}

/// The least cost over all subsets of values.
fn brute_force(problem: &Problem) -> Option<f64> {
    let n = problem.steps.len();
    let subset = |mask: usize| (0..n).map(|value| mask >> value & 1 == 1).collect::<Vec<_>>();
    let costs = (0..1usize << n).filter_map(|mask| cost_of(problem, &subset(mask)));
    costs.min_by(f64::total_cmp)
}

/// A program of 2 to 10 ops, each reading up to two of the values before it and costing more at higher levels.
fn problem() -> impl Strategy<Value = Problem> {
    let step = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        0u32..4,
        (0.1f64..2.0, 0.0f64..0.5),
        1.0f64..8.0,
    );
    (prop::collection::vec(step, 2..=10), 3u32..7, 0u32..3).prop_map(|(steps, levels, input_level)| {
        let steps: Vec<Step> = steps
            .into_iter()
            .enumerate()
            .map(|(value, (a, b, consumption, (base, slope), bootstrap))| {
                let mut operands = Vec::new();
                if value > 0 {
                    // One of the operands is recent, so that programs are deep.
                    operands = vec![value - 1 - a.index(value.min(2)), b.index(value)];
                    operands.sort_unstable();
                    operands.dedup();
                }
                Step {
                    operands,
                    consumption: if value == 0 { 0 } else { consumption },
                    cost: (0..=levels).map(|level| base + slope * f64::from(level)).collect(),
                    bootstrap,
                }
            })
            .collect();
        let is_used = |value: usize| steps.iter().any(|step| step.operands.contains(&value));
        let outputs = (0..steps.len()).filter(|value| !is_used(*value)).collect();
        Problem {
            steps,
            outputs,
            levels,
            input_level,
        }
    })
}

fn check(problem: &Problem, placement: &Placement) {
    let cost = cost_of(problem, &placement.is_bootstrapped).expect("a placement has levels enough");
    assert!((cost - placement.cost).abs() < 1e-9, "{cost} {}", placement.cost);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_placement_is_cheaper(problem in problem()) {
        match (place(&problem, MAX_STATES), brute_force(&problem)) {
            (None, None) => prop_assert!(problem.too_deep().is_some()),
            (Some(placement), Some(least)) => {
                check(&problem, &placement);
                prop_assert!((placement.cost - least).abs() < 1e-9, "{} {least}", placement.cost);
                prop_assert_eq!(placement.lower_bound, placement.cost);
                prop_assert!(problem.too_deep().is_none());
            }
            (found, least) => prop_assert!(false, "{found:?} {least:?}"),
        }
    }

    #[test]
    fn a_narrow_search_is_valid_and_its_bound_true(problem in problem()) {
        let least = brute_force(&problem);
        if let Some(placement) = place(&problem, 2) {
            check(&problem, &placement);
            let least = least.expect("a placement exists");
            prop_assert!(placement.cost >= least - 1e-9);
            prop_assert!(placement.lower_bound <= least + 1e-9, "{} {least}", placement.lower_bound);
        }
    }
}

#[test]
fn a_chain_is_bootstrapped_where_that_is_cheapest() {
    let step = |value: usize, consumption, bootstrap| Step {
        operands: Vec::from_iter(value.checked_sub(1)),
        consumption,
        cost: vec![0.0; 5],
        bootstrap,
    };
    // Eight levels between input and result, four at a time: one bootstrap, and the third value is the cheap one.
    let steps = (0..9)
        .map(|value| step(value, u32::from(value > 0), if value == 4 { 1.0 } else { 3.0 }))
        .collect();
    let problem = Problem {
        steps,
        outputs: vec![8],
        levels: 4,
        input_level: 0,
    };
    let placement = place(&problem, MAX_STATES).expect("feasible");
    assert_eq!(placement.cost, 1.0);
    assert!(placement.is_bootstrapped[4]);
    // With one level fewer per bootstrap two are needed.
    let higher = Problem {
        input_level: 1,
        ..problem
    };
    let placement = place(&higher, MAX_STATES).expect("feasible");
    assert_eq!(placement.is_bootstrapped.iter().filter(|it| **it).count(), 2);
}
