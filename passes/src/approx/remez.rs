//! Minimax polynomials by Remez exchange, on one interval or on a union of intervals, weighted, odd, even or general.
//!
//! Assumes the function is smooth between the ends of the segments; a kink is told by making it the common end of two
//! touching segments. Ensures that the reported error is the largest one seen on a grid of at least 16 points per
//! oscillation with refined peaks, and returns the best polynomial met, converged or not.
//!
//! Source: Remez 1934 for the exchange; Lee, Lee, Lee, Kim, No: High-precision bootstrapping of RNS-CKKS homomorphic
//! encryption using optimal minimax polynomial approximation and inverse sine function, EUROCRYPT 2021, for unions of
//! intervals (all local extrema above the level, then the alternating subset of largest absolute sum). Linear systems
//! are in Chebyshev basis, which keeps them well conditioned up to the largest degree allowed here.

mod exchange;
mod space;

use aphelion_ir::slot::Polynomial;

use self::exchange::{alternating_subset, local_extrema};
use self::space::{Grid, GridPoint, Space};
use super::cost::Parity;
use super::error::ApproxError;
use super::linear_algebra::solve_in_place;

/// Largest degree for which f64 exchange steps are trusted.
pub(super) const MAX_DEGREE: usize = 127;
/// Exchange steps; convergence is quadratic, 5 to 12 are usual.
const MAX_STEPS: usize = 40;
/// Stop when the largest error exceeds the levelled error by no more than this fraction.
const RELATIVE_GAP: f64 = 1e-9;
/// Steps after which a level that is still rounding noise will stay so; the first levels can be zero by symmetry.
const STEPS_IN_NOISE: usize = 6;
/// Errors below this multiple of the sizes of function and coefficients are rounding noise, in which nothing alternates.
/// (Across a wide gap between segments a polynomial of high degree is large, and so are its coefficients.)
const NOISE: f64 = 64.0 * f64::EPSILON;

/// A best-approximation problem.
pub struct MinimaxProblem<'a> {
    /// The function.
    pub function: &'a dyn Fn(f64) -> f64,
    /// Weight of the error, positive and continuous; `None` is 1.
    pub weight: Option<&'a dyn Fn(f64) -> f64>,
    /// Where the error counts: ascending segments that may touch. The Chebyshev basis lives on their hull.
    pub segments: &'a [(f64, f64)],
    /// Degree.
    pub degree: usize,
    /// Coefficients in use. Odd and even are about the hull's middle; then segments and function have that symmetry and
    /// only the right half is looked at.
    pub parity: Parity,
}

/// A minimax polynomial.
#[derive(Debug, Clone, PartialEq)]
pub struct MinimaxFit {
    /// The polynomial, in Chebyshev basis on the hull of the segments.
    pub poly: Polynomial,
    /// Largest weighted error.
    pub max_error: f64,
    /// Error that the last reference attains with alternating signs: no polynomial of the kind asked for does better
    /// than this (de la Vallee Poussin).
    pub lower_bound: f64,
    /// Where the error alternates, ascending; with a parity only the right half.
    pub reference: Vec<f64>,
}

/// Solves a minimax problem.
///
/// # Errors
/// If the segments are not proper, the degree is above 127 or does not suit the parity, or the function or the
/// weight has no finite value at a point looked at.
pub fn minimax(problem: &MinimaxProblem<'_>) -> Result<MinimaxFit, ApproxError> {
    let space = Space::new(problem)?;
    let grid = Grid::new(problem, &space)?;
    let mut reference = space.initial_reference();
    let mut best: Option<(Vec<f64>, f64, f64)> = None;
    let mut best_reference = reference.clone();
    for step in 0..MAX_STEPS {
        let Some((coeffs, level)) = level_error(problem, &space, &reference)? else {
            break;
        };
        let extrema = local_extrema(problem, &space, &grid, &coeffs, &reference)?;
        let max_error = extrema.iter().fold(0.0f64, |worst, peak| worst.max(peak.error.abs()));
        let noise = NOISE * coeffs.iter().fold(grid.size, |sum, c| sum + c.abs());
        let improved = best.as_ref().is_none_or(|(_, best_error, _)| max_error < *best_error);
        let lower_bound = best
            .as_ref()
            .map_or(0.0f64, |(_, _, bound)| *bound)
            .max(level.abs().min(max_error));
        if improved {
            best = Some((coeffs, max_error, lower_bound));
            best_reference = reference.clone();
        } else if let Some((_, _, bound)) = &mut best {
            *bound = lower_bound;
        }
        // A little below the level, for rounding and for peaks that the grid shows too low.
        let threshold = level.abs() * (1.0 - 1e-6) - noise;
        let Some(next) = alternating_subset(&extrema, reference.len(), threshold) else {
            break;
        };
        let is_lost_in_noise = step >= STEPS_IN_NOISE && level.abs() <= noise;
        if max_error <= noise || is_lost_in_noise || max_error - level.abs() <= RELATIVE_GAP * max_error {
            best_reference = next;
            break;
        }
        reference = next;
    }
    let Some((coeffs, max_error, lower_bound)) = best else {
        return Err(ApproxError::Segments {
            segments: problem.segments.to_vec(),
            expected: "wide enough for the degree in f64 arithmetic",
        });
    };
    let mut points: Vec<f64> = best_reference.iter().map(|theta| space.x(*theta)).collect();
    points.sort_by(f64::total_cmp);
    Ok(MinimaxFit {
        poly: space.polynomial(&coeffs),
        max_error,
        lower_bound,
        reference: points,
    })
}

/// Coefficients and level E with error (-1)^i E / weight at the i-th reference point; `None` if the system is singular.
fn level_error(
    problem: &MinimaxProblem<'_>,
    space: &Space,
    reference: &[f64],
) -> Result<Option<(Vec<f64>, f64)>, ApproxError> {
    let n = reference.len();
    let mut matrix = vec![0.0; n * n];
    let mut rhs = Vec::with_capacity(n);
    for (i, (row, theta)) in matrix.chunks_exact_mut(n).zip(reference).enumerate() {
        let point = GridPoint::new(problem, space, *theta)?;
        space.basis(point.t, &mut row[..n - 1]);
        row[n - 1] = if i % 2 == 0 { 1.0 } else { -1.0 } / point.weight;
        rhs.push(point.target);
    }
    if !solve_in_place(&mut matrix, &mut rhs) {
        return Ok(None);
    }
    let level = rhs.pop().unwrap_or(0.0);
    Ok(Some((rhs, level)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::chebyshev::{max_error, to_monomial};
    use super::*;

    fn fit(function: &dyn Fn(f64) -> f64, segments: &[(f64, f64)], degree: usize, parity: Parity) -> MinimaxFit {
        minimax(&MinimaxProblem {
            function,
            weight: None,
            segments,
            degree,
            parity,
        })
        .unwrap()
    }

    #[test]
    fn absolute_value_errors_are_those_of_varga_and_carpenter() {
        // Varga, Carpenter: On the Bernstein conjecture in approximation theory, Constr. Approx. 1 (1985): 2n E_2n(|x|)
        // tends to 0.2801694990 from below; E_2 = 1/8, 4 E_4 = 0.2704835971.
        let error = |degree| fit(&f64::abs, &[(-1.0, 0.0), (0.0, 1.0)], degree, Parity::Even).max_error;
        assert!((error(2) - 0.125).abs() < 1e-12);
        assert!((4.0 * error(4) - 0.270_483_597_1).abs() < 1e-9);
        assert!((126.0 * error(126) - 0.280_169_499_0).abs() < 2e-5);
        let general = fit(&f64::abs, &[(-1.0, 0.0), (0.0, 1.0)], 31, Parity::General).max_error;
        assert!((general - error(30)).abs() < 1e-9, "degree 31 gains nothing over 30");
    }

    #[test]
    fn exponential_errors_are_the_known_ones() {
        // Degree 1 in closed form: slope sinh(1), error (e - slope - slope (1 - ln slope)) / 2 on [-1, 1].
        let slope = libm::sinh(1.0);
        let tangent = slope - slope * libm::log(slope);
        let linear = 0.5 * (0.5 * (libm::exp(1.0) + libm::exp(-1.0)) - tangent);
        let error = |degree| fit(&libm::exp, &[(-1.0, 1.0)], degree, Parity::General).max_error;
        assert!((error(1) - linear).abs() < 1e-12);
        // Meinardus: E_n(exp) = (1 + o(1)) / (2^n (n + 1)!), within 2/n^2 or so.
        let mut factorial = 1.0;
        for degree in 2..=9usize {
            factorial *= (degree + if degree == 2 { 0 } else { 1 }) as f64 * if degree == 2 { 3.0 } else { 1.0 };
            let ratio = error(degree) * libm::exp2(degree as f64) * factorial;
            assert!((ratio - 1.0).abs() < 1.0 / degree as f64, "degree {degree}: {ratio}");
        }
        assert!(error(31) < 1e-14);
    }

    #[test]
    fn sign_on_two_intervals_reproduces_published_coefficients() {
        // First stage of the composite {7, 7, 13} for relu within 2^-10, as printed by Kim and Guyot (IEEE TIFS 18, 2023,
        // appendix B).
        let published = [10.8541842577442, -62.2833925211098, 114.369227820443, -62.8023496973074];
        let value = |x: f64| published.iter().rev().fold(0.0, |sum, c| sum * x * x + c) * x;
        // Its error alternates at 1, which gives the level, and at the transition, where it rises to the same value.
        let level = value(1.0);
        let (mut low, mut high) = (0.0, 0.05);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if value(middle) < level {
                low = middle
            } else {
                high = middle
            }
        }
        let fit = fit(&|x: f64| 1f64.copysign(x), &[(-1.0, -low), (low, 1.0)], 7, Parity::Odd);
        let coeffs = to_monomial(&fit.poly).coeffs;
        for (k, expected) in published.iter().enumerate() {
            assert!(
                (coeffs[2 * k + 1] - expected).abs() < 1e-6 * expected.abs(),
                "x^{}: {}",
                2 * k + 1,
                coeffs[2 * k + 1]
            );
            assert_eq!(coeffs[2 * k], 0.0);
        }
    }

    #[test]
    fn general_and_symmetric_fits_of_a_symmetric_problem_agree() {
        let segments = [(-1.0, -0.1), (0.1, 1.0)];
        let sign = |x: f64| 1f64.copysign(x);
        let (general, odd) = (
            fit(&sign, &segments, 9, Parity::General),
            fit(&sign, &segments, 9, Parity::Odd),
        );
        assert!((general.max_error - odd.max_error).abs() < 1e-8);
        for x in [-0.9, -0.3, 0.15, 0.7] {
            assert!((general.poly.eval(x) - odd.poly.eval(x)).abs() < 1e-6);
        }
    }

    #[test]
    fn an_odd_function_does_not_stall_a_general_fit() {
        let error = |degree| fit(&libm::tanh, &[(-10.0, 10.0)], degree, Parity::General).max_error;
        for degree in [3, 15, 31, 59, 63] {
            let odd = fit(&libm::tanh, &[(-10.0, 10.0)], degree, Parity::Odd).max_error;
            assert!((error(degree) - odd).abs() < 1e-6 * odd, "degree {degree}");
        }
    }

    #[test]
    fn a_weight_equalises_the_weighted_error() {
        let weight = |x: f64| libm::exp(-x);
        let problem = MinimaxProblem {
            function: &libm::exp,
            weight: Some(&weight),
            segments: &[(-4.0, 4.0)],
            degree: 9,
            parity: Parity::General,
        };
        let fit = minimax(&problem).unwrap();
        let relative = |x: f64| 1.0 - fit.poly.eval(x) * weight(x);
        assert!((max_error(relative, |_| 0.0, &[(-4.0, 4.0)], 4000) - fit.max_error).abs() < 1e-4 * fit.max_error);
        assert!(fit.max_error - fit.lower_bound < 1e-7 * fit.max_error);
        assert!((relative(-4.0).abs() - relative(4.0).abs()).abs() < 1e-6 * fit.max_error);
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        let problem = |segments, degree, parity| MinimaxProblem {
            function: &libm::exp,
            weight: None,
            segments,
            degree,
            parity,
        };
        assert!(matches!(
            minimax(&problem(&[], 3, Parity::General)),
            Err(ApproxError::Segments { .. })
        ));
        assert!(matches!(
            minimax(&problem(&[(0.0, 2.0), (1.0, 3.0)], 3, Parity::General)),
            Err(ApproxError::Segments { .. })
        ));
        assert!(matches!(
            minimax(&problem(&[(-1.0, 0.0), (0.5, 1.0)], 3, Parity::Even)),
            Err(ApproxError::Segments { .. })
        ));
        assert!(matches!(
            minimax(&problem(&[(0.0, 1.0)], 128, Parity::General)),
            Err(ApproxError::Degree { .. })
        ));
        let pole = |x: f64| 1.0 / x;
        let with_pole = MinimaxProblem {
            function: &pole,
            weight: None,
            segments: &[(0.0, 1.0)],
            degree: 3,
            parity: Parity::General,
        };
        assert_eq!(minimax(&with_pole), Err(ApproxError::NotFinite { x: 0.0 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        /// The error alternates on the reference, and the lower bound certifies that nothing does better.
        #[test]
        fn solutions_are_certified_optimal_on_unions(
            degree in 0usize..25,
            widths in prop::collection::vec(0.4..2.0f64, 1..6),
            gaps in prop::collection::vec(0.1..0.8f64, 5),
            frequency in 1.0..6.0f64,
        ) {
            let mut start = -3.0;
            let segments: Vec<(f64, f64)> = widths.iter().zip(&gaps).map(|(width, gap)| {
                let segment = (start, start + width);
                start += width + gap;
                segment
            }).collect();
            let function = |x: f64| libm::sin(frequency * x) + 0.3 * libm::exp(0.3 * x);
            let fit = fit(&function, &segments, degree, Parity::General);
            let gap = fit.max_error - fit.lower_bound;
            // Below 1e-9, where gaps make coefficients of 1e4 or so, the exchange works on rounding noise.
            prop_assert!(gap <= 1e-6 * fit.max_error + 1e-9, "gap {gap} of {}", fit.max_error);
            let measured = max_error(function, |x| fit.poly.eval(x), &segments, 2000);
            prop_assert!(measured <= 1.0001 * fit.max_error + 1e-11);
            if fit.lower_bound > 1e-7 {
                prop_assert_eq!(fit.reference.len(), degree + 2);
                let errors: Vec<f64> = fit.reference.iter().map(|x| function(*x) - fit.poly.eval(*x)).collect();
                for pair in errors.windows(2) {
                    prop_assert!(pair[0] * pair[1] < 0.0);
                }
                for error in errors {
                    prop_assert!(error.abs() > 0.999 * fit.max_error);
                }
            }
        }
    }
}
