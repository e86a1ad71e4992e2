//! The degrees of a composite sign approximation: least depth first, then fewest multiplications.
//!
//! A stage of degree d takes values known to lie in [1 - e, 1 + e] (up to sign) to values in [1 - e', 1 + e'], so a chain
//! is a walk on the line of errors. With sharpness z = -ln(e) / 2, which is artanh of the ratio of the interval's ends,
//! the step z -> z'(z; d) is smooth and increasing: proportional to z for small z, (d + 1) z / 2 + constant for large z.
//! Monotony makes dynamic programming over (depth, multiplications) exact, as in section 4 of Lee, Lee, No, Kim (IEEE
//! TDSC 2022); the steps come from a table of exact minimax errors, interpolated in logarithms.

use std::sync::LazyLock;

use super::cost::{Cost, Parity};
use super::error::ApproxError;
use super::sign::sign_stage;

/// Degrees that a stage may have. Above 31 two stages are always cheaper at the same depth.
const STAGE_DEGREES: std::ops::RangeInclusive<usize> = 3..=31;
/// Deepest composite that is searched.
pub(super) const MAX_DEPTH: usize = 30;
/// Most products of a composite that is searched; 30 levels of degree 15 stages need 60.
const MAX_MULTS: usize = 72;
/// Sharpness at the ends of the table: a transition of 2^-24, and an error of e^-14, which any stage perfects.
const SHARPNESS_RANGE: (f64, f64) = (5.96e-8, 7.0);
/// Errors below are rounding noise and count as this.
const SMALLEST_ERROR: f64 = 1e-13;
/// Table points; the step is smooth in logarithms, and choices are verified by an exact fit afterwards.
const N_TABLE: usize = 25;

/// A chain's degrees and what it costs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chain {
    pub(super) degrees: Vec<usize>,
    pub(super) cost: Cost,
    /// Predicted error of the last stage.
    pub(super) error: f64,
}

/// Degrees of the cheapest composite that approximates sign within `error` for `transition` <= |x| <= 1, in order of
/// application; least depth first, then fewest multiplications, then smallest error.
///
/// # Errors
/// If `transition` or `error` is not in (0, 1), or more than 30 levels would be needed.
pub fn sign_degrees(transition: f64, error: f64) -> Result<Vec<usize>, ApproxError> {
    for (name, value) in [("transition", transition), ("error", error)] {
        if !(value > 0.0 && value < 1.0) {
            return Err(ApproxError::Parameter {
                name,
                value,
                range: "(0, 1)",
            });
        }
    }
    let chain = chains(transition, MAX_DEPTH)?
        .into_iter()
        .find(|chain| chain.error <= error);
    chain.map(|chain| chain.degrees).ok_or(ApproxError::Parameter {
        name: "error",
        value: error,
        range: "what 30 levels of composite reach from this transition",
    })
}

/// For every cost, in ascending order, the chain of that cost with the smallest error, if it is more precise than all
/// cheaper ones of its depth.
pub(super) fn chains(transition: f64, max_depth: usize) -> Result<Vec<Chain>, ApproxError> {
    let steps = STEPS.as_ref().map_err(Clone::clone)?;
    let max_depth = max_depth.min(MAX_DEPTH);
    // best[depth][mults]: largest sharpness, and the degree of the last stage.
    let mut best = vec![vec![None::<(f64, usize)>; MAX_MULTS + 1]; max_depth + 1];
    best[0][0] = Some((libm::atanh(transition), 0));
    for depth in 0..=max_depth {
        for mults in 0..=MAX_MULTS {
            let Some((sharpness, _)) = best[depth][mults] else {
                continue;
            };
            for step in steps {
                let (next_depth, next_mults) = (depth + step.cost.depth, mults + step.cost.mults);
                if next_depth > max_depth || next_mults > MAX_MULTS {
                    continue;
                }
                let reached = step.sharpen(sharpness);
                let entry = &mut best[next_depth][next_mults];
                if entry.is_none_or(|(known, _)| reached > known) {
                    *entry = Some((reached, step.degree));
                }
            }
        }
    }
    let mut found = Vec::new();
    for depth in 1..=max_depth {
        let mut sharpest = 0.0;
        for mults in 0..=MAX_MULTS {
            let Some((sharpness, _)) = best[depth][mults] else {
                continue;
            };
            if sharpness <= sharpest {
                continue;
            }
            sharpest = sharpness;
            let (mut degrees, mut at) = (Vec::new(), (depth, mults));
            while let Some((_, degree)) = best[at.0][at.1].filter(|_| at.0 > 0) {
                degrees.push(degree);
                let cost = Cost::of_polynomial(degree, Parity::Odd);
                at = (at.0 - cost.depth, at.1 - cost.mults);
            }
            degrees.reverse();
            found.push(Chain {
                degrees,
                cost: Cost { depth, mults },
                error: libm::exp(-2.0 * sharpness),
            });
        }
    }
    Ok(found)
}

/// Predicted error after a chain of known degrees (those outside the table are skipped).
pub(super) fn predicted_error(degrees: &[usize], transition: f64) -> Result<f64, ApproxError> {
    let steps = STEPS.as_ref().map_err(Clone::clone)?;
    let sharpness = degrees.iter().fold(libm::atanh(transition), |sharpness, degree| {
        steps
            .iter()
            .find(|step| step.degree == *degree)
            .map_or(sharpness, |step| step.sharpen(sharpness))
    });
    Ok(libm::exp(-2.0 * sharpness))
}

/// How one stage sharpens: logarithms of the sharpness gained, at logarithmically spaced sharpness.
struct Step {
    degree: usize,
    cost: Cost,
    log_gain: Vec<f64>,
}

impl Step {
    fn new(degree: usize) -> Result<Self, ApproxError> {
        let log_gain = (0..N_TABLE)
            .map(|i| {
                let sharpness = libm::exp(table_position(i));
                let low = libm::tanh(sharpness);
                let error = sign_stage(degree, low, 1.0)?.max_error.max(SMALLEST_ERROR);
                Ok(libm::log(-0.5 * libm::log(error) / sharpness))
            })
            .collect::<Result<_, ApproxError>>()?;
        Ok(Self {
            degree,
            cost: Cost::of_polynomial(degree, Parity::Odd),
            log_gain,
        })
    }

    fn sharpen(&self, sharpness: f64) -> f64 {
        let (first, last) = (table_position(0), table_position(N_TABLE - 1));
        let position = (libm::log(sharpness) - first) / (last - first) * (N_TABLE - 1) as f64;
        let position = position.clamp(0.0, (N_TABLE - 1) as f64);
        let i = (position as usize).min(N_TABLE - 2);
        let fraction = position - i as f64;
        let log_gain = (1.0 - fraction) * self.log_gain[i] + fraction * self.log_gain[i + 1];
        (sharpness * libm::exp(log_gain)).min(-0.5 * libm::log(SMALLEST_ERROR))
    }
}

fn table_position(i: usize) -> f64 {
    let (first, last) = (libm::log(SHARPNESS_RANGE.0), libm::log(SHARPNESS_RANGE.1));
    first + (last - first) * i as f64 / (N_TABLE - 1) as f64
}

/// One step per degree; made once per process.
static STEPS: LazyLock<Result<Vec<Step>, ApproxError>> =
    LazyLock::new(|| STAGE_DEGREES.step_by(2).map(Step::new).collect());

#[cfg(test)]
mod tests {
    use super::super::sign::sign_composite;
    use super::*;

    fn cost_of(degrees: &[usize]) -> Cost {
        let stages = degrees.iter().map(|degree| Cost::of_polynomial(*degree, Parity::Odd));
        stages.fold(Cost { depth: 0, mults: 0 }, Cost::then)
    }

    #[test]
    fn finds_the_published_degrees() {
        // Lee, Lee, No, Kim (IEEE TDSC 2022), optimal degrees for comparison with alpha bits: transition 2^-alpha, and
        // error 2^(1 - alpha) in sign. For alpha = 10, {7, 7, 13, 15} and {7, 7, 7, 27} need as much by that paper's counts,
        // so that only the cost can be compared.
        let published: [(i32, &[usize]); 8] = [
            (4, &[27]),
            (5, &[7, 13]),
            (6, &[15, 15]),
            (7, &[7, 7, 13]),
            (8, &[7, 15, 15]),
            (9, &[7, 7, 7, 13]),
            (11, &[7, 15, 15, 15]),
            (12, &[15, 15, 15, 15]),
        ];
        for (alpha, degrees) in published {
            let transition = libm::exp2(-f64::from(alpha));
            assert_eq!(
                sign_degrees(transition, 2.0 * transition).unwrap(),
                degrees,
                "alpha {alpha}"
            );
        }
    }

    #[test]
    fn predictions_hold_when_fitted() {
        for alpha in [3, 5, 8, 10, 12, 15, 18, 20] {
            let transition = libm::exp2(-f64::from(alpha));
            for chain in chains(transition, 20)
                .unwrap()
                .iter()
                .filter(|chain| chain.error > 1e-9)
            {
                let sign = sign_composite(&chain.degrees, transition, 0.0).unwrap();
                assert_eq!(sign.cost(), chain.cost);
                let (fitted, predicted) = (libm::log(sign.error), libm::log(chain.error));
                assert!(
                    (fitted - predicted).abs() < 0.1 + 0.05 * fitted.abs(),
                    "{:?}: {fitted} {predicted}",
                    chain.degrees
                );
            }
        }
    }

    #[test]
    fn no_composite_of_two_stages_is_cheaper() {
        let (transition, error) = (libm::exp2(-6.0), libm::exp2(-5.0));
        let found = cost_of(&sign_degrees(transition, error).unwrap());
        for first in STAGE_DEGREES.step_by(2) {
            for second in STAGE_DEGREES.step_by(2) {
                if cost_of(&[first, second]) < found {
                    let sign = sign_composite(&[first, second], transition, 0.0).unwrap();
                    assert!(sign.error > error, "{{{first}, {second}}}");
                }
            }
        }
    }

    #[test]
    fn refuses_what_is_out_of_reach() {
        assert!(matches!(
            sign_degrees(0.0, 0.1),
            Err(ApproxError::Parameter { name: "transition", .. })
        ));
        assert!(matches!(
            sign_degrees(1e-7, 1e-12),
            Err(ApproxError::Parameter { name: "error", .. })
        ));
    }
}
