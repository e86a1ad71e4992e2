//! Composite minimax approximations of sign(x): a chain of odd polynomials, each the minimax approximation of sign on
//! the image of the one before.
//!
//! Ensures |sign(x) - s(x)| <= error for transition <= |x| <= 1, and |s(x)| <= 1 + error + what a small polynomial
//! overshoots between. Source: Lee, Lee, No, Kim: Minimax approximation of sign function by composite polynomial for
//! homomorphic comparison, IEEE TDSC 2022 (eprint 2020/834); Lee, Lee, Lee, Kim, No, Lee: Precise approximation of
//! convolutional neural networks for homomorphically encrypted data (arXiv 2105.10879) for |x| and max from it.

use aphelion_ir::slot::Polynomial;

use super::chebyshev::max_error;
use super::cost::{Cost, Parity};
use super::error::ApproxError;
use super::remez::{MAX_DEGREE, MinimaxFit, MinimaxProblem, minimax};

/// Grid points on the smooth part and on the transition when an error is measured.
const N_MEASURE: usize = 400;
/// Smallest half width of the interval around 1 of a later stage: narrower ones are points to f64 arithmetic, and a cubic
/// already takes this one to an error of 1e-12.
const SMALLEST_HALF_WIDTH: f64 = 1e-6;

/// A chain of odd polynomials that approximates sign on [-1, -transition] and [transition, 1].
#[derive(Debug, Clone, PartialEq)]
pub struct SignComposite {
    /// Stages in order of application. The first lives on [-1, 1], each next one on the image of the one before.
    pub stages: Vec<Polynomial>,
    /// Smallest |x| from which the error holds.
    pub transition: f64,
    /// Largest |sign(x) - s(x)| for transition <= |x| <= 1, measured on a grid.
    pub error: f64,
}

impl SignComposite {
    /// Value at `x` in [-1, 1].
    pub fn eval(&self, x: f64) -> f64 {
        self.stages.iter().fold(x, |x, stage| stage.eval(x))
    }

    /// Cost of the chain.
    pub fn cost(&self) -> Cost {
        let stage_cost = |stage: &Polynomial| Cost::of_polynomial(stage.degree(), Parity::Odd);
        self.stages
            .iter()
            .fold(Cost { depth: 0, mults: 0 }, |cost, stage| cost.then(stage_cost(stage)))
    }

    /// Largest ||x| - x s(x)| for |x| below the transition, and from there to 1; measured on a grid.
    pub fn absolute_value_errors(&self) -> (f64, f64) {
        let on = |segment| max_error(|x| x, |x| x * self.eval(x), &[segment], N_MEASURE);
        (on((0.0, self.transition)), on((self.transition, 1.0)))
    }
}

/// Composite of the given odd `degrees` that is minimax stage by stage for |x| from `transition` to 1.
///
/// Every stage after the first is fitted on an interval wider by `margin` on both sides, room for the noise that an
/// encrypted evaluation adds to its input.
///
/// # Errors
/// If a degree is even or too large, `transition` is not in (0, 1), or `margin` is negative or leaves no interval.
pub fn sign_composite(degrees: &[usize], transition: f64, margin: f64) -> Result<SignComposite, ApproxError> {
    if degrees.is_empty() || degrees.iter().any(|degree| degree % 2 == 0 || *degree > MAX_DEGREE) {
        return Err(ApproxError::CompositeDegrees {
            degrees: degrees.to_vec(),
            max: MAX_DEGREE,
        });
    }
    if !(transition > 0.0 && transition < 1.0) {
        return Err(ApproxError::Parameter {
            name: "transition",
            value: transition,
            range: "(0, 1)",
        });
    }
    if !(0.0..1.0).contains(&margin) {
        return Err(ApproxError::Parameter {
            name: "margin",
            value: margin,
            range: "[0, 1)",
        });
    }
    let (mut low, mut high) = (transition, 1.0);
    let mut stages = Vec::with_capacity(degrees.len());
    for &degree in degrees {
        let stage = sign_stage(degree, low, high)?;
        let half_width = (stage.max_error + margin).max(SMALLEST_HALF_WIDTH);
        (low, high) = (1.0 - half_width, 1.0 + half_width);
        if low <= 0.0 {
            return Err(ApproxError::Parameter {
                name: "margin",
                value: margin,
                range: "what the first stages of these degrees leave at this transition",
            });
        }
        stages.push(stage.poly);
    }
    let mut composite = SignComposite {
        stages,
        transition,
        error: 0.0,
    };
    composite.error = max_error(|_| 1.0, |x| composite.eval(x), &[(transition, 1.0)], N_MEASURE);
    Ok(composite)
}

/// Odd minimax polynomial of sign on `low <= |x| <= high`.
pub(super) fn sign_stage(degree: usize, low: f64, high: f64) -> Result<MinimaxFit, ApproxError> {
    minimax(&MinimaxProblem {
        function: &|x: f64| 1f64.copysign(x),
        weight: None,
        segments: &[(-high, -low), (low, high)],
        degree,
        parity: Parity::Odd,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_makes_no_sense() {
        assert!(matches!(
            sign_composite(&[], 0.1, 0.0),
            Err(ApproxError::CompositeDegrees { .. })
        ));
        assert!(matches!(
            sign_composite(&[7, 4], 0.1, 0.0),
            Err(ApproxError::CompositeDegrees { .. })
        ));
        assert!(matches!(
            sign_composite(&[7], 1.0, 0.0),
            Err(ApproxError::Parameter { name: "transition", .. })
        ));
        assert!(matches!(
            sign_composite(&[3, 3], 1e-3, 0.1),
            Err(ApproxError::Parameter { name: "margin", .. })
        ));
    }

    #[test]
    fn cubic_stage_is_the_closed_form() {
        // a x + b x^3 with error alternating at low, at its maximum m and at 1: m^2 = -a / 3b.
        let low = 0.3;
        let fit = sign_stage(3, low, 1.0).unwrap();
        let (a, b) = {
            let monomial = super::super::chebyshev::to_monomial(&fit.poly);
            (monomial.coeffs[1], monomial.coeffs[3])
        };
        let peak = (-a / (3.0 * b)).sqrt();
        for (x, sign) in [(low, -1.0), (peak, 1.0), (1.0, -1.0)] {
            assert!((a * x + b * x * x * x - 1.0 - sign * fit.max_error).abs() < 1e-9);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn composites_are_odd_within_their_error_and_monotone_enough(
            degrees in prop::collection::vec((1usize..8).prop_map(|k| 2 * k + 1), 1..5),
            log_transition in -12.0..-1.0f64,
            margin in 0.0..1e-4f64,
            position in 0.0..1.0f64,
        ) {
            let transition = libm::exp2(log_transition);
            let sign = sign_composite(&degrees, transition, margin).unwrap();
            let x = transition * libm::pow(1.0 / transition, position);
            prop_assert!((sign.eval(x) - 1.0).abs() <= sign.error * 1.01 + margin + 1e-12);
            prop_assert!((sign.eval(x) + sign.eval(-x)).abs() < 1e-12);
            // Noise up to the margin after the first stage does no more harm than the margin admits.
            let noisy = sign.stages[1..].iter().fold(sign.stages[0].eval(x) + margin, |x, stage| stage.eval(x));
            prop_assert!((noisy - 1.0).abs() <= sign.error.max(1e-5) * 1.5 + 2.0 * margin);
        }
    }
}
