//! The polynomials that approximate reduction modulo q_0.
//!
//! m + q_0 I becomes sin(2 pi (m + q_0 I) / q_0) = sin(2 pi m / q_0), since I is an integer: with
//! y = (x - 1/4) / W in [-1, 1] for x = (m + q_0 I) / q_0, first cos(2 pi W y / 2^r) as an even Chebyshev series, then r
//! times c -> 2 c^2 - 1, and at the end, where m / q_0 is not small enough to stand for its sine, the arcsine.
//! Sources: Han, Ki, "Better Bootstrapping for Approximate Homomorphic Encryption", CT-RSA 2020 (cosine, double angles);
//! Lee, Lee, Lee, Kim, No, "High-Precision Bootstrapping of RNS-CKKS Homomorphic Encryption Using Optimal Minimax
//! Polynomial Approximation and Inverse Sine Function", EUROCRYPT 2021 (arcsine).

use std::f64::consts::{PI, TAU};

use crate::ckks::polynomial::{Basis, Polynomial};
use crate::error::Result;

/// The Chebyshev series of cos(argument * y) on [-1, 1], cut where what is left sums to at most `tolerance`.
pub(super) fn cosine(argument: f64, tolerance: f64) -> Result<Polynomial> {
    // The coefficients 2 J_k(argument) fall faster than any power beyond k = argument: this many are all that doubles see.
    let nodes = (2.0 * argument) as usize + 80;
    let node = |j: usize| PI * (j as f64 + 0.5) / nodes as f64;
    let values: Vec<f64> = (0..nodes).map(|j| (argument * node(j).cos()).cos()).collect();
    let coefficient = |k: usize| {
        let sum: f64 = (0..nodes).map(|j| values[j] * (k as f64 * node(j)).cos()).sum();
        sum * if k == 0 { 1.0 } else { 2.0 } / nodes as f64
    };
    let mut coeffs: Vec<f64> = (0..nodes - 20)
        .map(|k| if k % 2 == 0 { coefficient(k) } else { 0.0 })
        .collect();
    let mut tail = 0.0;
    while coeffs.len() > 3 {
        tail += coeffs[coeffs.len() - 1].abs();
        if tail > tolerance {
            break;
        }
        coeffs.pop();
    }
    Polynomial::new(Basis::Chebyshev, coeffs)
}

/// An odd polynomial of this degree close to arcsin on [-sin(`angle`), sin(`angle`)], of slope one at zero: arcsin(s) / s
/// interpolated in s^2 at Radau's nodes, of which one is zero. Most coefficients of a message are tiny.
pub(super) fn arcsine(degree: usize, angle: f64) -> Result<Polynomial> {
    let count = degree.div_ceil(2);
    let bound = angle.sin().powi(2);
    let node = |j: usize| bound / 2.0 * (1.0 - (TAU * j as f64 / (2 * count - 1) as f64).cos());
    let nodes: Vec<f64> = (0..count).map(node).collect();
    let quotient = |u: f64| if u == 0.0 { 1.0 } else { u.sqrt().asin() / u.sqrt() };
    // Newton's divided differences, then to powers of s^2.
    let mut differences: Vec<f64> = nodes.iter().map(|u| quotient(*u)).collect();
    for order in 1..count {
        for j in (order..count).rev() {
            differences[j] = (differences[j] - differences[j - 1]) / (nodes[j] - nodes[j - order]);
        }
    }
    let mut powers = vec![0.0; count];
    for j in (0..count).rev() {
        for i in (0..count).rev() {
            let lower = if i == 0 { 0.0 } else { powers[i - 1] };
            powers[i] = lower - nodes[j] * powers[i];
        }
        powers[0] += differences[j];
    }
    let coeffs = powers.into_iter().flat_map(|c| [0.0, c]).collect();
    Polynomial::new(Basis::Monomial, coeffs)
}

/// Largest and mean error of the result relative to the largest message, for messages of up to 1 / `ratio` of q_0: what the
/// sine gets wrong, after the arcsine of this degree (1: none).
pub(super) fn sine_error(ratio: f64, degree: usize) -> Result<[f64; 2]> {
    let angle = TAU / ratio;
    let steps = 200;
    let polynomial = (degree > 1).then(|| arcsine(degree, angle)).transpose()?;
    let undone = |sine: f64| polynomial.as_ref().map_or(sine, |arcsine| arcsine.evaluate(sine));
    let errors: Vec<f64> = (1..=steps)
        .map(|i| angle * f64::from(i) / f64::from(steps))
        .map(|x| (undone(x.sin()) - x).abs() / angle)
        .collect();
    let worst = errors.iter().copied().fold(0.0, f64::max);
    Ok([worst, errors.iter().sum::<f64>() / f64::from(steps)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_is_even_and_as_close_as_asked() {
        for (argument, tolerance) in [(10.0, 1e-9), (40.0, 1e-11), (84.0, 1e-10)] {
            let polynomial = cosine(argument, tolerance).unwrap();
            for i in -500..=500 {
                let y = f64::from(i) / 500.0;
                let error = (polynomial.evaluate(y) - (argument * y).cos()).abs();
                assert!(error < tolerance + 1e-13, "{argument} at {y}: {error}");
            }
            assert!(polynomial.coeffs().iter().skip(1).step_by(2).all(|c| *c == 0.0));
            assert!((polynomial.degree() as f64) < 1.3 * argument + 25.0);
        }
    }

    #[test]
    fn higher_degrees_undo_more_of_the_sine() {
        for log_ratio in [4, 5, 7, 9] {
            let ratio = f64::from(1 << log_ratio);
            let errors: Vec<f64> = [1, 3, 5, 7].iter().map(|d| sine_error(ratio, *d).unwrap()[0]).collect();
            assert!(
                errors.windows(2).all(|pair| pair[1] < pair[0] / 8.0 || pair[1] < 1e-15),
                "{errors:?}"
            );
        }
        // (2 pi / 2^9)^2 / 6
        let [plain, mean] = sine_error(512.0, 1).unwrap();
        assert!((plain / ((TAU / 512.0).powi(2) / 6.0) - 1.0).abs() < 1e-3);
        assert!((mean / plain - 0.25).abs() < 0.01, "third powers average to a quarter");
    }
}
