//! The approximating space of a minimax problem, and the grid on which its error is looked at.

use std::f64::consts::PI;

use aphelion_ir::slot::{Basis, Polynomial};

use super::super::chebyshev::from_unit;
use super::super::cost::Parity;
use super::super::error::{ApproxError, check_interval};
use super::{MAX_DEGREE, MinimaxProblem};

/// Largest shift of the initial reference as a fraction of the domain; below 1 / (pi n) it keeps the points ascending.
const SKEW: f64 = 0.001;
/// Grid points per expected oscillation of the error.
const POINTS_PER_OSCILLATION: usize = 16;

/// The approximating space: which basis functions, on which part of [-1, 1].
///
/// Points are angles theta with cos(theta) = t, or with cos(theta) an affine image of t^2 where a parity folds the
/// interval: uniform angles are the natural density of extrema in both cases.
pub(super) struct Space {
    low: f64,
    high: f64,
    parity: Parity,
    pub(super) n_coeffs: usize,
    /// Smallest t^2 of the folded domain.
    fold_low: f64,
    /// Segments as ascending intervals of theta.
    angles: Vec<(f64, f64)>,
}

impl Space {
    pub(super) fn new(problem: &MinimaxProblem<'_>) -> Result<Self, ApproxError> {
        let segments = problem.segments;
        let bad = |expected| ApproxError::Segments {
            segments: segments.to_vec(),
            expected,
        };
        for &(low, high) in segments {
            check_interval(low, high)?;
        }
        if segments.is_empty() || segments.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            return Err(bad("ascending and disjoint"));
        }
        let (low, high) = (segments[0].0, segments[segments.len() - 1].1);
        check_interval(low, high)?;
        let min = usize::from(problem.parity == Parity::Odd);
        if problem.degree > MAX_DEGREE || problem.degree < min {
            return Err(ApproxError::Degree {
                degree: problem.degree,
                min,
                max: MAX_DEGREE,
            });
        }
        let to_unit = |x: f64| ((2.0 * x - low - high) / (high - low)).clamp(-1.0, 1.0);
        let units: Vec<(f64, f64)> = segments.iter().map(|(a, b)| (to_unit(*a), to_unit(*b))).collect();
        let n_coeffs = match problem.parity {
            Parity::General => problem.degree + 1,
            Parity::Odd => problem.degree.div_ceil(2),
            Parity::Even => problem.degree / 2 + 1,
        };
        let (units, fold_low) = if problem.parity == Parity::General {
            (units, 0.0)
        } else {
            let is_mirrored = |(a, b): (&(f64, f64), &(f64, f64))| (a.0 + b.1).abs() + (a.1 + b.0).abs() < 1e-9;
            if !units.iter().zip(units.iter().rev()).all(is_mirrored) {
                return Err(bad("symmetric about their middle, as a parity needs"));
            }
            let right: Vec<(f64, f64)> = units
                .iter()
                .filter(|(_, b)| *b > 1e-12)
                .map(|(a, b)| (a.max(0.0), *b))
                .collect();
            let lowest = right.first().map_or(0.0, |(a, _)| *a);
            (right, lowest * lowest)
        };
        let angle = |t: f64| match problem.parity {
            Parity::General => libm::acos(t),
            Parity::Odd | Parity::Even => {
                libm::acos(((2.0 * t * t - 1.0 - fold_low) / (1.0 - fold_low)).clamp(-1.0, 1.0))
            }
        };
        let angles = units.iter().rev().map(|(a, b)| (angle(*b), angle(*a))).collect();
        Ok(Self {
            low,
            high,
            parity: problem.parity,
            n_coeffs,
            fold_low,
            angles,
        })
    }

    /// Normalised variable at an angle.
    pub(super) fn t(&self, theta: f64) -> f64 {
        let cosine = libm::cos(theta);
        match self.parity {
            Parity::General => cosine,
            Parity::Odd | Parity::Even => (0.5 * ((1.0 + self.fold_low) + (1.0 - self.fold_low) * cosine))
                .max(self.fold_low)
                .sqrt(),
        }
    }

    /// Variable at an angle.
    pub(super) fn x(&self, theta: f64) -> f64 {
        from_unit(self.t(theta), self.low, self.high)
    }

    /// One point more than coefficients, nearly uniform in angle over the segments. Not quite: on a reference with the
    /// function's own symmetry the levelled error can be zero, and the exchange has nothing to start from.
    pub(super) fn initial_reference(&self) -> Vec<f64> {
        let total: f64 = self.angles.iter().map(|(a, b)| b - a).sum();
        // An odd polynomial vanishes in the middle: with the middle in the domain, the last point stays half a step off.
        let middle = self.parity == Parity::Odd && self.fold_low == 0.0;
        let step = total / (self.n_coeffs as f64 + if middle { 0.5 } else { 0.0 });
        (0..=self.n_coeffs)
            .map(|j| {
                let uniform = j as f64 * step;
                let mut along = uniform + SKEW * total * libm::sin(PI * uniform / total);
                for (a, b) in &self.angles {
                    if along <= b - a {
                        return a + along;
                    }
                    along -= b - a;
                }
                self.angles.last().map_or(PI, |(_, b)| *b)
            })
            .collect()
    }

    /// Values of all basis functions at `t`, into `row`.
    pub(super) fn basis(&self, t: f64, row: &mut [f64]) {
        let (first, second, variable) = match self.parity {
            Parity::General => (1.0, t, t),
            Parity::Even => (1.0, 2.0 * t * t - 1.0, 2.0 * t * t - 1.0),
            Parity::Odd => (t, t * (4.0 * t * t - 3.0), 2.0 * t * t - 1.0),
        };
        let (mut current, mut next) = (first, second);
        for entry in row {
            *entry = current;
            (current, next) = (next, 2.0 * variable * next - current);
        }
    }

    /// Value of the polynomial with the space's coefficients at `t`, by Clenshaw's scheme.
    pub(super) fn eval(&self, coeffs: &[f64], t: f64) -> f64 {
        let variable = if self.parity == Parity::General {
            t
        } else {
            2.0 * t * t - 1.0
        };
        let (mut b0, mut b1) = (0.0, 0.0);
        for &c in coeffs.iter().rev() {
            (b0, b1) = (2.0 * variable * b0 - b1 + c, b0);
        }
        match self.parity {
            Parity::Odd => t * (b0 - b1),
            Parity::General | Parity::Even => b0 - variable * b1,
        }
    }

    pub(super) fn polynomial(&self, coeffs: &[f64]) -> Polynomial {
        let (first, stride) = match self.parity {
            Parity::General => (0, 1),
            Parity::Even => (0, 2),
            Parity::Odd => (1, 2),
        };
        let mut all = vec![0.0; first + stride * (coeffs.len() - 1) + 1];
        for (k, c) in coeffs.iter().enumerate() {
            all[first + stride * k] = *c;
        }
        Polynomial {
            basis: Basis::Chebyshev {},
            low: self.low,
            high: self.high,
            coeffs: all,
        }
    }
}

/// The points where the error is looked at, with what does not change from step to step.
pub(super) struct Grid {
    /// One list of points per segment, ascending in angle.
    pub(super) segments: Vec<Vec<GridPoint>>,
    /// Largest weighted magnitude of the function.
    pub(super) size: f64,
}

pub(super) struct GridPoint {
    pub(super) theta: f64,
    pub(super) t: f64,
    pub(super) target: f64,
    pub(super) weight: f64,
}

impl GridPoint {
    pub(super) fn new(problem: &MinimaxProblem<'_>, space: &Space, theta: f64) -> Result<Self, ApproxError> {
        let t = space.t(theta);
        let x = from_unit(t, space.low, space.high);
        let target = (problem.function)(x);
        let weight = problem.weight.map_or(1.0, |weight| weight(x));
        if !target.is_finite() {
            return Err(ApproxError::NotFinite { x });
        }
        if !(weight.is_finite() && weight > 0.0) {
            return Err(ApproxError::Parameter {
                name: "weight",
                value: weight,
                range: "(0, inf)",
            });
        }
        Ok(Self {
            theta,
            t,
            target,
            weight,
        })
    }

    pub(super) fn error(&self, space: &Space, coeffs: &[f64]) -> f64 {
        self.weight * (self.target - space.eval(coeffs, self.t))
    }
}

impl Grid {
    pub(super) fn new(problem: &MinimaxProblem<'_>, space: &Space) -> Result<Self, ApproxError> {
        let total: f64 = space.angles.iter().map(|(a, b)| b - a).sum();
        let n_points = POINTS_PER_OSCILLATION * (space.n_coeffs + 1);
        let mut segments = Vec::with_capacity(space.angles.len());
        let mut size = 0.0f64;
        for &(a, b) in &space.angles {
            let share = (n_points as f64 * (b - a) / total) as usize;
            let n_steps = share + 2 * POINTS_PER_OSCILLATION;
            let points = (0..=n_steps)
                .map(|i| {
                    // Clustered at both ends: beside a gap the error peaks close to the end of a segment.
                    let along = 0.5 * (1.0 - libm::cos(PI * i as f64 / n_steps as f64));
                    let theta = if i == n_steps { b } else { a + (b - a) * along };
                    GridPoint::new(problem, space, theta)
                })
                .collect::<Result<Vec<_>, _>>()?;
            size = points
                .iter()
                .fold(size, |size, point| size.max(point.weight * point.target.abs()));
            segments.push(points);
        }
        Ok(Self { segments, size })
    }
}
