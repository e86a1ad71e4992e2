//! What is asked of the choice of an approximation, and what it answers.

use aphelion_ir::slot::Polynomial;

use super::cost::Cost;
use super::curve::Curve;
use super::error::{ApproxError, check_interval};
use super::hinge::GatedSum;
use super::histogram::Histogram;
use super::remez::MAX_DEGREE;

/// Limits on the error; infinity where there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorBudget {
    /// Largest error anywhere in the interval.
    pub interval_max_abs: f64,
    /// Largest error on a sample.
    pub data_max_abs: f64,
    /// Root-mean-square error on the samples.
    pub data_rms: f64,
}

/// Errors of an approximation; those on data are `None` without samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredErrors {
    /// Largest error anywhere in the interval.
    pub interval_max_abs: f64,
    /// Largest error on a sample.
    pub data_max_abs: Option<f64>,
    /// Root-mean-square error on the samples.
    pub data_rms: Option<f64>,
}

/// What is to be approximated, where, how well, and within which limits.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The function.
    pub curve: &'a Curve,
    /// The interval that inputs lie in.
    pub interval: (f64, f64),
    /// Calibration samples of the input.
    pub histogram: Option<&'a Histogram>,
    /// The errors allowed.
    pub budget: ErrorBudget,
    /// Largest degree of a single polynomial, at most 127.
    pub max_degree: usize,
    /// Largest depth.
    pub max_depth: usize,
    /// Noise that encrypted evaluation may add between the stages of a composite, relative to sign's 1.
    pub margin: f64,
}

/// An approximation in a form that can be lowered.
#[derive(Debug, Clone, PartialEq)]
pub enum Approximation {
    /// One polynomial.
    Polynomial(Polynomial),
    /// Gates by composite signs.
    Gates(GatedSum),
}

/// How an approximation was made.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// Smallest maximal error.
    Minimax,
    /// Smallest mean square error on data, with a share `floor` of the weight off the data.
    LeastSquares {
        /// The share.
        floor: f64,
    },
    /// |x| by a composite sign of these degrees.
    SignComposite {
        /// Degrees in order of application.
        degrees: Vec<usize>,
    },
}

/// The approximation chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// What to evaluate.
    pub approximation: Approximation,
    /// How it was made.
    pub method: Method,
    /// What it costs.
    pub cost: Cost,
    /// How well it does.
    pub errors: MeasuredErrors,
}

impl ErrorBudget {
    /// At most `max_abs` anywhere in the interval.
    pub fn everywhere(max_abs: f64) -> Self {
        Self {
            interval_max_abs: max_abs,
            data_max_abs: f64::INFINITY,
            data_rms: f64::INFINITY,
        }
    }

    /// At most `rms` on the samples, and at most `interval_max_abs` where there may be none.
    pub fn on_data(rms: f64, interval_max_abs: f64) -> Self {
        Self {
            interval_max_abs,
            data_max_abs: f64::INFINITY,
            data_rms: rms,
        }
    }

    /// The largest ratio of an error to its limit; at most 1 where the budget holds.
    pub fn excess(&self, errors: &MeasuredErrors) -> f64 {
        let ratio = |error: f64, limit: f64| if error.is_nan() { f64::INFINITY } else { error / limit };
        [
            ratio(errors.interval_max_abs, self.interval_max_abs),
            errors.data_max_abs.map_or(0.0, |error| ratio(error, self.data_max_abs)),
            errors.data_rms.map_or(0.0, |error| ratio(error, self.data_rms)),
        ]
        .into_iter()
        .fold(0.0, f64::max)
    }
}

impl Approximation {
    /// Value at `x`.
    pub fn eval(&self, x: f64) -> f64 {
        match self {
            Self::Polynomial(poly) => poly.eval(x),
            Self::Gates(sum) => sum.eval(x),
        }
    }

    /// Values at all `xs`.
    pub fn eval_all(&self, xs: &[f64]) -> Vec<f64> {
        match self {
            Self::Polynomial(poly) => poly.eval_all(xs),
            Self::Gates(sum) => sum.eval_all(xs),
        }
    }
}

impl Request<'_> {
    /// Checks that the request makes sense.
    pub(super) fn check(&self) -> Result<(), ApproxError> {
        check_interval(self.interval.0, self.interval.1)?;
        if self.max_degree == 0 || self.max_degree > MAX_DEGREE {
            return Err(ApproxError::Degree {
                degree: self.max_degree,
                min: 1,
                max: MAX_DEGREE,
            });
        }
        let ErrorBudget {
            interval_max_abs,
            data_max_abs,
            data_rms,
        } = self.budget;
        let limits = [
            ("interval_max_abs", interval_max_abs),
            ("data_max_abs", data_max_abs),
            ("data_rms", data_rms),
        ];
        for (name, value) in limits {
            if value.is_nan() || value <= 0.0 {
                return Err(ApproxError::Parameter {
                    name,
                    value,
                    range: "(0, inf]",
                });
            }
        }
        if limits.iter().all(|(_, value)| value.is_infinite()) {
            return Err(ApproxError::Parameter {
                name: "interval_max_abs",
                value: interval_max_abs,
                range: "(0, inf), as no other limit is set",
            });
        }
        let has_samples = self.histogram.is_some_and(|histogram| histogram.n_inside() > 0);
        if !has_samples && (data_max_abs.is_finite() || data_rms.is_finite()) {
            return Err(ApproxError::NoSamples);
        }
        Ok(())
    }
}
