//! Chebyshev interpolation, truncation and change of basis.
//!
//! Coefficients belong to T_k(t), t = (2x - low - high) / (high - low). Source: Trefethen, Approximation Theory and
//! Approximation Practice, chapters 3, 4 and 8.

use std::f64::consts::PI;

use aphelion_ir::slot::{Basis, Polynomial};

use super::error::{ApproxError, check_interval};

/// Largest degree of an interpolation; the transform is O(degree^2).
const MAX_DEGREE: usize = 2048;

/// Polynomial of `degree` that agrees with `function` at the degree + 1 Chebyshev points of the first kind of
/// `[low, high]`. Its error exceeds the minimax error by a factor below 2 + (2 / pi) ln(degree + 1).
///
/// # Errors
/// If the interval is not proper, the degree is above 2048, or the function is not finite at a point.
pub fn interpolate(
    function: impl Fn(f64) -> f64,
    (low, high): (f64, f64),
    degree: usize,
) -> Result<Polynomial, ApproxError> {
    check_interval(low, high)?;
    if degree > MAX_DEGREE {
        return Err(ApproxError::Degree {
            degree,
            min: 0,
            max: MAX_DEGREE,
        });
    }
    let n_points = degree + 1;
    // cos(j pi / 2n) for all j: every cosine of the transform is one of these. As a sine it is 0 where it should be.
    let quarter = PI / (2 * n_points) as f64;
    let cosines: Vec<f64> = (0..4 * n_points)
        .map(|j| libm::sin((n_points as f64 - j as f64) * quarter))
        .collect();
    let values = (0..n_points)
        .map(|i| {
            let x = from_unit(cosines[2 * i + 1], low, high);
            let value = function(x);
            if value.is_finite() {
                Ok(value)
            } else {
                Err(ApproxError::NotFinite { x })
            }
        })
        .collect::<Result<Vec<f64>, _>>()?;
    let coeffs = (0..n_points)
        .map(|k| {
            let sum: f64 = values
                .iter()
                .enumerate()
                .map(|(i, v)| v * cosines[k * (2 * i + 1) % (4 * n_points)])
                .sum();
            sum * if k == 0 { 1.0 } else { 2.0 } / n_points as f64
        })
        .collect();
    Ok(Polynomial {
        basis: Basis::Chebyshev {},
        low,
        high,
        coeffs,
    })
}

/// Interpolates at `max_degree`, then drops the trailing coefficients that `tolerance` allows. Returns the polynomial and
/// a bound on what the dropped part contributes anywhere in the interval (at most `tolerance`).
///
/// # Errors
/// As [`interpolate`].
pub fn fit(
    function: impl Fn(f64) -> f64,
    interval: (f64, f64),
    max_degree: usize,
    tolerance: f64,
) -> Result<(Polynomial, f64), ApproxError> {
    let mut poly = interpolate(function, interval, max_degree)?;
    let bound = truncate(&mut poly, tolerance);
    Ok((poly, bound))
}

/// Drops trailing Chebyshev coefficients while the sum of their magnitudes, which is returned and bounds the change on
/// the interval, stays within `tolerance`. A polynomial in monomial basis is left alone.
pub fn truncate(poly: &mut Polynomial, tolerance: f64) -> f64 {
    let mut dropped = 0.0;
    while poly.basis == (Basis::Chebyshev {}) && poly.coeffs.len() > 1 {
        let next = dropped + poly.coeffs[poly.coeffs.len() - 1].abs();
        if next > tolerance {
            break;
        }
        dropped = next;
        poly.coeffs.pop();
    }
    dropped
}

/// The same polynomial in powers of the variable itself.
///
/// The change is ill-conditioned: coefficients grow like (1 + sqrt 2)^degree, so above degree 20 or so the result loses
/// more digits than a ciphertext has. Evaluation should stay in Chebyshev basis there.
pub fn to_monomial(poly: &Polynomial) -> Polynomial {
    let coeffs = match poly.basis {
        Basis::Monomial {} => poly.coeffs.clone(),
        Basis::Chebyshev {} => {
            // Clenshaw's recurrence on polynomials in x: b_k = c_k + 2 t(x) b_{k+1} - b_{k+2}.
            let slope = 2.0 / (poly.high - poly.low);
            let offset = -(poly.low + poly.high) / (poly.high - poly.low);
            let times_t = |p: &[f64]| {
                let mut product = vec![0.0; p.len() + 1];
                for (k, c) in p.iter().enumerate() {
                    product[k] += offset * c;
                    product[k + 1] += slope * c;
                }
                product
            };
            let (mut b1, mut b2): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
            for (k, c) in poly.coeffs.iter().enumerate().rev() {
                let factor = if k == 0 { 1.0 } else { 2.0 };
                let mut b0 = times_t(&b1);
                b0.iter_mut().for_each(|x| *x *= factor);
                b0.iter_mut().zip(&b2).for_each(|(x, y)| *x -= y);
                b0[0] += c;
                (b1, b2) = (b0, b1);
            }
            b1.truncate(poly.coeffs.len());
            b1
        }
    };
    Polynomial {
        basis: Basis::Monomial {},
        coeffs,
        ..*poly
    }
}

/// Largest |function - approximation| over a grid of `n_points` per segment, clustered at the segments' ends as the
/// extrema of polynomial errors are. Not a number if either has none somewhere on the grid.
pub fn max_error(
    function: impl Fn(f64) -> f64,
    approximation: impl Fn(f64) -> f64,
    segments: &[(f64, f64)],
    n_points: usize,
) -> f64 {
    let mut worst = 0.0;
    for &(low, high) in segments {
        for i in 0..n_points {
            let x = from_unit(-libm::cos(i as f64 * PI / (n_points - 1).max(1) as f64), low, high);
            let error = (function(x) - approximation(x)).abs();
            if error > worst || error.is_nan() {
                worst = error;
            }
            if worst.is_nan() {
                return worst;
            }
        }
    }
    worst
}

/// Maps t in [-1, 1] to [low, high]; exact at both ends and at 0 for a symmetric interval.
pub(super) fn from_unit(t: f64, low: f64, high: f64) -> f64 {
    0.5 * ((1.0 - t) * low + (1.0 + t) * high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn interpolates_exp_to_working_precision() {
        let poly = interpolate(libm::exp, (-1.0, 1.0), 20).unwrap();
        // c_k = 2 I_k(1), the modified Bessel functions; Abramowitz and Stegun, table 9.8.
        for (k, expected) in [
            (0, 1.266_065_877_752_008_4),
            (1, 1.130_318_207_984_970_2),
            (2, 0.271_495_339_534_076_5),
        ] {
            assert!((poly.coeffs[k] - expected).abs() < 1e-15, "c_{k} = {}", poly.coeffs[k]);
        }
        assert!(max_error(libm::exp, |x| poly.eval(x), &[(-1.0, 1.0)], 500) < 1e-14);
    }

    #[test]
    fn truncation_stays_within_its_bound() {
        let (poly, bound) = fit(libm::exp, (-3.0, 2.0), 40, 1e-6).unwrap();
        assert!(poly.degree() < 16 && bound <= 1e-6);
        assert!(max_error(libm::exp, |x| poly.eval(x), &[(-3.0, 2.0)], 500) <= bound + 1e-14);
    }

    #[test]
    fn names_the_point_without_a_value() {
        assert_eq!(
            interpolate(|x| 1.0 / x, (-1.0, 1.0), 2).unwrap_err(),
            ApproxError::NotFinite { x: 0.0 }
        );
        assert_eq!(
            interpolate(libm::exp, (1.0, 1.0), 2).unwrap_err(),
            ApproxError::Interval { low: 1.0, high: 1.0 }
        );
    }

    proptest! {
        #[test]
        fn interpolation_reproduces_polynomials_and_bases_agree(
            coeffs in prop::collection::vec(-3.0..3.0, 1..9),
            low in -4.0..0.0f64,
            width in 0.5..6.0f64,
        ) {
            let poly = Polynomial { basis: Basis::Chebyshev {}, low, high: low + width, coeffs };
            let again = interpolate(|x| poly.eval(x), (low, low + width), poly.degree()).unwrap();
            for (a, b) in again.coeffs.iter().zip(&poly.coeffs) {
                prop_assert!((a - b).abs() < 1e-12);
            }
            let monomial = to_monomial(&poly);
            prop_assert_eq!(monomial.degree(), poly.degree());
            let size: f64 = monomial.coeffs.iter().map(|c| c.abs()).sum();
            for i in 0..=20 {
                let x = low + width * f64::from(i) / 20.0;
                prop_assert!((monomial.eval(x) - poly.eval(x)).abs() < 1e-9 * (1.0 + size));
            }
        }
    }
}
