//! What can go wrong when an approximation is asked for.

use thiserror::Error;

/// An approximation that cannot be made, and what to do about it.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ApproxError {
    /// The interval is empty, reversed or not finite.
    #[error("[{low}, {high}] is not an interval to approximate on; it needs finite ends with low < high")]
    Interval {
        /// Lower end as given.
        low: f64,
        /// Upper end as given.
        high: f64,
    },
    /// The segments of a union are not ascending and disjoint, or not symmetric where a parity asks for it.
    #[error("the segments {segments:?} are not {expected}")]
    Segments {
        /// The union as given.
        segments: Vec<(f64, f64)>,
        /// What they would have to be.
        expected: &'static str,
    },
    /// The degree is outside what is supported.
    #[error("degree {degree} is outside {min}..={max}")]
    Degree {
        /// Degree as given.
        degree: usize,
        /// Smallest degree supported here.
        min: usize,
        /// Largest degree supported here.
        max: usize,
    },
    /// A composite of no stages, or a stage of even degree, was asked for.
    #[error("a sign composite needs a list of odd degrees from 1 to {max}, not {degrees:?}")]
    CompositeDegrees {
        /// The list as given.
        degrees: Vec<usize>,
        /// Largest degree supported.
        max: usize,
    },
    /// The function has no finite value at a point of the interval.
    #[error("the function has no finite value at {x}; keep the interval away from that point")]
    NotFinite {
        /// Where.
        x: f64,
    },
    /// A precision, threshold or weight outside the range where it makes sense.
    #[error("{name} = {value} is outside {range}")]
    Parameter {
        /// Which one.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The values allowed.
        range: &'static str,
    },
    /// An error on data was asked for without data.
    #[error("a root-mean-square budget needs a histogram of samples inside the interval; calibrate first")]
    NoSamples,
    /// Nothing within the degree and depth limits holds the budget.
    #[error(
        "no approximation of {function} on [{low}, {high}] within degree {max_degree} and depth {max_depth} holds the \
         error budget; the best has interval maximum {interval_max_abs:.3e}, data maximum {data_max_abs:.3e}, data rms \
         {data_rms:.3e}: relax the budget, narrow the interval or allow more depth"
    )]
    Budget {
        /// Name of the function.
        function: String,
        /// Lower end of the interval.
        low: f64,
        /// Upper end of the interval.
        high: f64,
        /// Largest degree tried.
        max_degree: usize,
        /// Largest depth tried.
        max_depth: usize,
        /// Largest error on the interval of the best candidate.
        interval_max_abs: f64,
        /// Largest error on the data of the best candidate.
        data_max_abs: f64,
        /// Root-mean-square error on the data of the best candidate.
        data_rms: f64,
    },
}

/// Checks that `[low, high]` is a proper finite interval.
pub(super) fn check_interval(low: f64, high: f64) -> Result<(), ApproxError> {
    if low.is_finite() && high.is_finite() && low < high && (high - low).is_finite() {
        Ok(())
    } else {
        Err(ApproxError::Interval { low, high })
    }
}
