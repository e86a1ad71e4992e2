//! Polynomials of least expected square error under a histogram, kept bounded where there is no data.
//!
//! Calibration data sits near zero while its interval is wide, so a fit weighted by the data beats the minimax
//! polynomial of the same degree by a large factor where it counts. Rows for the floor, a small share of weight spread
//! over the interval with the Chebyshev density, hold the polynomial down everywhere else: with all weight on the
//! floor the fit is the truncated Chebyshev series, within a factor O(log degree) of minimax.
//!
//! Solved by Householder QR in Chebyshev basis (condition grows with sqrt(1 / floor), not with the degree); one
//! factorisation serves every smaller degree.

use std::f64::consts::PI;

use aphelion_ir::slot::{Basis, Polynomial};

use super::chebyshev::from_unit;
use super::cost::Parity;
use super::error::{ApproxError, check_interval};
use super::histogram::Histogram;
use super::linear_algebra::NestedQr;
use super::remez::MAX_DEGREE;

/// Floor points beyond twice the number of coefficients.
const EXTRA_FLOOR_POINTS: usize = 32;

/// Least-squares fits of all degrees up to the largest asked for.
pub struct LeastSquaresFits {
    low: f64,
    high: f64,
    /// Degrees of the basis functions in use, ascending.
    columns: Vec<usize>,
    qr: NestedQr,
}

impl LeastSquaresFits {
    /// The fit of at most `degree`, in Chebyshev basis on the interval.
    pub fn of_degree(&self, degree: usize) -> Polynomial {
        let n_cols = self.columns.partition_point(|column| *column <= degree).max(1);
        let mut coeffs = vec![0.0; self.columns[n_cols - 1] + 1];
        for (column, coeff) in self.columns.iter().zip(self.qr.solve(n_cols)) {
            coeffs[*column] = coeff;
        }
        Polynomial {
            basis: Basis::Chebyshev {},
            low: self.low,
            high: self.high,
            coeffs,
        }
    }
}

/// Fits `function` on `interval` with the weight of `histogram` (1 in all; samples outside the interval are left out)
/// plus `floor` in all, spread over the interval, for every degree up to `max_degree`.
///
/// A parity keeps the odd (or even) basis functions and, as both are free, the constant and the linear one.
///
/// # Errors
/// If the interval is not proper, the degree is above 127, `floor` is not positive, or the function is not finite.
pub fn weighted_least_squares(
    function: &dyn Fn(f64) -> f64,
    histogram: &Histogram,
    (low, high): (f64, f64),
    max_degree: usize,
    parity: Parity,
    floor: f64,
) -> Result<LeastSquaresFits, ApproxError> {
    check_interval(low, high)?;
    if max_degree > MAX_DEGREE {
        return Err(ApproxError::Degree {
            degree: max_degree,
            min: 0,
            max: MAX_DEGREE,
        });
    }
    if !(floor > 0.0 && floor.is_finite()) {
        return Err(ApproxError::Parameter {
            name: "floor",
            value: floor,
            range: "(0, inf)",
        });
    }
    let is_used = |degree: &usize| match parity {
        Parity::General => true,
        Parity::Odd => *degree < 2 || degree % 2 == 1,
        Parity::Even => *degree < 2 || degree.is_multiple_of(2),
    };
    let columns: Vec<usize> = (0..=max_degree).filter(is_used).collect();

    let n_floor = 2 * columns.len() + EXTRA_FLOOR_POINTS;
    let floor_weight = (floor / n_floor as f64).sqrt();
    let floor_points = (0..n_floor).map(|i| {
        let t = libm::cos((i as f64 + 0.5) * PI / n_floor as f64);
        (from_unit(t, low, high), t, floor_weight)
    });
    let data_points = histogram
        .points()
        .filter(|(x, _)| (low..=high).contains(x))
        .map(|(x, share)| {
            let t = (2.0 * x - low - high) / (high - low);
            (x, t, share.sqrt())
        });
    let rows: Vec<(f64, f64, f64)> = floor_points.chain(data_points).collect();

    let n_rows = rows.len();
    let mut matrix = vec![0.0; n_rows * columns.len()];
    let mut rhs = Vec::with_capacity(n_rows);
    for (row, &(x, t, weight)) in rows.iter().enumerate() {
        let value = function(x);
        if !value.is_finite() {
            return Err(ApproxError::NotFinite { x });
        }
        rhs.push(weight * value);
        let (mut current, mut next, mut degree) = (weight, weight * t, 0);
        for (col, wanted) in columns.iter().enumerate() {
            while degree < *wanted {
                (current, next) = (next, 2.0 * t * next - current);
                degree += 1;
            }
            matrix[col * n_rows + row] = current;
        }
    }
    Ok(LeastSquaresFits {
        low,
        high,
        columns,
        qr: NestedQr::new(matrix, rhs),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::chebyshev::{interpolate, max_error};
    use super::*;

    fn bell_histogram(interval: (f64, f64), sigma: f64) -> Histogram {
        let mut histogram = Histogram::new(interval.0, interval.1, Histogram::DEFAULT_BINS).unwrap();
        // Sums of uniform lattice points: bell-shaped and deterministic.
        for a in 0..20 {
            for b in 0..20 {
                for c in 0..20 {
                    histogram.add(sigma * (f64::from(a + b + c) - 28.5) / 10.0);
                }
            }
        }
        histogram
    }

    #[test]
    fn beats_interpolation_where_the_data_is_and_stays_bounded_elsewhere() {
        let interval = (-12.0, 12.0);
        let histogram = bell_histogram(interval, 1.0);
        let relu = |x: f64| x.max(0.0);
        let uniform = interpolate(relu, interval, 6).unwrap();
        let (_, uniform_rms) = histogram.errors(relu, |x| uniform.eval(x)).unwrap();
        let fits = weighted_least_squares(&relu, &histogram, interval, 31, Parity::General, 1e-3).unwrap();
        let fit = fits.of_degree(6);
        let (_, rms) = histogram.errors(relu, |x| fit.eval(x)).unwrap();
        assert!(rms < 0.3 * uniform_rms, "{rms} against {uniform_rms}");
        assert!(max_error(relu, |x| fit.eval(x), &[interval], 500) < 3.0);
    }

    #[test]
    fn error_on_the_data_falls_with_the_degree() {
        let interval = (-12.0, 12.0);
        let histogram = bell_histogram(interval, 1.0);
        let relu = |x: f64| x.max(0.0);
        let fits = weighted_least_squares(&relu, &histogram, interval, 31, Parity::Even, 1e-6).unwrap();
        let mut last = f64::INFINITY;
        for degree in [2, 4, 6, 10, 14, 22, 30] {
            let fit = fits.of_degree(degree);
            assert_eq!(fit.degree(), degree);
            assert!(fit.coeffs.iter().skip(3).step_by(2).all(|c| *c == 0.0));
            let (_, rms) = histogram.errors(relu, |x| fit.eval(x)).unwrap();
            assert!(rms < 0.95 * last, "degree {degree}: {rms} after {last}");
            last = rms;
        }
        assert!(last < 0.021, "{last}");
    }

    proptest! {
        #[test]
        fn reproduces_polynomials(coeffs in prop::collection::vec(-2.0..2.0f64, 1..12), extra in 0usize..20) {
            let interval = (-3.0, 5.0);
            let poly = Polynomial { basis: Basis::Chebyshev {}, low: -3.0, high: 5.0, coeffs };
            let histogram = bell_histogram(interval, 0.7);
            let degree = poly.degree() + extra;
            let function = |x: f64| poly.eval(x);
            let fit = weighted_least_squares(&function, &histogram, interval, degree, Parity::General, 1e-4)
                .unwrap()
                .of_degree(degree);
            prop_assert!(max_error(function, |x| fit.eval(x), &[interval], 100) < 1e-10);
        }
    }
}
