//! The polynomials of one degree that compete to approximate a curve: minimax, and least squares at several floors.
//!
//! A family is one way to place the interval: as given with all coefficients, or widened to be symmetric about the
//! curve's centre with half of them, which costs fewer products.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use aphelion_ir::slot::Polynomial;

use super::chebyshev::max_error;
use super::cost::{Cost, Parity};
use super::curve::Symmetry;
use super::error::ApproxError;
use super::remez::{MinimaxProblem, minimax};
use super::request::{Approximation, Choice, MeasuredErrors, Method, Request};
use super::weighted_least_squares::{LeastSquaresFits, weighted_least_squares};

/// Shares of weight off the data, from trusting the data alone to a truncated Chebyshev series.
const FLOORS: [f64; 6] = [1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];
/// A symmetric interval wider than this times the given one spends its degree where nothing happens.
const WIDEST_SYMMETRIC: f64 = 1.5;
/// Points per segment at which an error is measured, at least, and per degree.
const MEASURE_POINTS: (usize, usize) = (200, 10);

/// One way to place the interval.
pub(super) struct Family {
    /// Position among the request's families.
    number: usize,
    pub(super) parity: Parity,
    hull: (f64, f64),
    /// The hull, split at the kinks.
    segments: Vec<(f64, f64)>,
    /// The part of the curve, value + slope (x - middle), that is added after the fit.
    value: f64,
    slope: f64,
}

/// What was fitted and measured for one curve on one interval with one histogram. It does not depend on the budget, so
/// that it serves all requests which differ in nothing else.
#[derive(Default)]
pub struct FitCache {
    /// By family and largest degree.
    fits: BTreeMap<(usize, usize), Fits>,
    /// All candidates, by family and degree.
    candidates: BTreeMap<(usize, usize), Vec<Choice>>,
}

/// Fits of a family that serve all degrees of one depth.
struct Fits {
    least_squares: Vec<(f64, LeastSquaresFits)>,
}

impl Family {
    /// The families worth trying for a request, general first.
    pub(super) fn of(request: &Request<'_>) -> Vec<Self> {
        let (low, high) = request.interval;
        let kinks = request.curve.kinks();
        let segments = split((low, high), kinks.to_vec());
        let mut families = vec![Self {
            number: 0,
            parity: Parity::General,
            hull: (low, high),
            segments,
            value: 0.0,
            slope: 0.0,
        }];
        let (center, value, slope, parity) = match request.curve.symmetry() {
            Symmetry::None => return families,
            Symmetry::Odd { center, value } => (center, value, 0.0, Parity::Odd),
            Symmetry::Even { center, slope } => (center, 0.0, slope, Parity::Even),
        };
        let reach = (high - center).max(center - low);
        if 2.0 * reach <= WIDEST_SYMMETRIC * (high - low) {
            let hull = (center - reach, center + reach);
            let mirrored = kinks
                .iter()
                .flat_map(|kink| [(kink - center).abs(), -(kink - center).abs()]);
            let segments = split(hull, mirrored.map(|offset| center + offset).collect());
            families.push(Self {
                number: families.len(),
                parity,
                hull,
                segments,
                value,
                slope,
            });
        }
        families
    }

    /// Degrees of `depth` up to `max_degree` in ascending order of cost: for every cost the largest degree.
    pub(super) fn degrees(&self, depth: usize, max_degree: usize) -> Vec<(Cost, usize)> {
        let mut options: Vec<(Cost, usize)> = Vec::new();
        for degree in (1 << (depth - 1))..(1 << depth) {
            let has_parity = match self.parity {
                Parity::General => true,
                Parity::Odd => degree % 2 == 1,
                Parity::Even => degree % 2 == 0,
            };
            if degree <= max_degree && has_parity {
                let cost = Cost::of_polynomial(degree, self.parity);
                // A larger degree at no larger cost makes a smaller one pointless.
                while options.last().is_some_and(|(last, _)| cost <= *last) {
                    options.pop();
                }
                options.push((cost, degree));
            }
        }
        options
    }

    /// Least-squares fits up to `max_degree`, none without samples.
    fn fits(&self, request: &Request<'_>, max_degree: usize) -> Result<Fits, ApproxError> {
        let Some(histogram) = request.histogram else {
            return Ok(Fits {
                least_squares: Vec::new(),
            });
        };
        let function = |x: f64| self.reduced(request, x);
        let least_squares = FLOORS
            .iter()
            .map(|&floor| {
                let fits = weighted_least_squares(&function, histogram, self.hull, max_degree, self.parity, floor)?;
                Ok((floor, fits))
            })
            .collect::<Result<_, ApproxError>>()?;
        Ok(Fits { least_squares })
    }

    /// The candidate of `degree` that comes nearest to the budget; the minimax polynomial where all are alike. Fits may
    /// serve degrees up to `largest`; `cache` is for this request but for its budget.
    pub(super) fn best_of_degree(
        &self,
        request: &Request<'_>,
        cache: &mut FitCache,
        (cost, degree): (Cost, usize),
        largest: usize,
    ) -> Result<Choice, ApproxError> {
        let key = (self.number, degree);
        if !cache.candidates.contains_key(&key) {
            let fits = match cache.fits.entry((self.number, largest)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(self.fits(request, largest)?),
            };
            let candidates = self.candidates(request, fits, (cost, degree))?;
            cache.candidates.insert(key, candidates);
        }
        let excess = |choice: &Choice| request.budget.excess(&choice.errors);
        let mut candidates = cache.candidates[&key].iter();
        let mut best = candidates.next();
        for choice in candidates {
            if best.is_none_or(|best| excess(choice) < excess(best)) {
                best = Some(choice);
            }
        }
        best.cloned().ok_or(ApproxError::NoSamples)
    }

    /// All candidates of `degree`, minimax first.
    fn candidates(
        &self,
        request: &Request<'_>,
        fits: &Fits,
        (cost, degree): (Cost, usize),
    ) -> Result<Vec<Choice>, ApproxError> {
        let function = |x: f64| self.reduced(request, x);
        let fit = minimax(&MinimaxProblem {
            function: &function,
            weight: None,
            segments: &self.segments,
            degree,
            parity: self.parity,
        })?;
        let mut candidates = vec![self.choice(request, fit.poly, Method::Minimax, cost)];
        for (floor, fits) in &fits.least_squares {
            let method = Method::LeastSquares { floor: *floor };
            candidates.push(self.choice(request, fits.of_degree(degree), method, cost));
        }
        Ok(candidates)
    }

    /// The curve without the part that is added after the fit.
    fn reduced(&self, request: &Request<'_>, x: f64) -> f64 {
        request.curve.eval(x) - self.value - self.slope * (x - 0.5 * (self.hull.0 + self.hull.1))
    }

    fn choice(&self, request: &Request<'_>, mut poly: Polynomial, method: Method, cost: Cost) -> Choice {
        poly.coeffs.resize(poly.coeffs.len().max(2), 0.0);
        poly.coeffs[0] += self.value;
        poly.coeffs[1] += self.slope * 0.5 * (self.hull.1 - self.hull.0);
        let errors = measure(request, |x| poly.eval(x), poly.degree());
        Choice {
            approximation: Approximation::Polynomial(poly),
            method,
            cost,
            errors,
        }
    }
}

/// Errors of an approximation of about `degree` oscillations on the request's interval and data.
pub(super) fn measure(request: &Request<'_>, approximation: impl Fn(f64) -> f64, degree: usize) -> MeasuredErrors {
    let curve = |x: f64| request.curve.eval(x);
    let segments = split(request.interval, request.curve.kinks().to_vec());
    let n_points = MEASURE_POINTS.0.max(MEASURE_POINTS.1 * degree);
    let interval_max_abs = max_error(curve, &approximation, &segments, n_points);
    let on_data = request
        .histogram
        .and_then(|histogram| histogram.errors(curve, &approximation));
    MeasuredErrors {
        interval_max_abs,
        data_max_abs: on_data.map(|(max_abs, _)| max_abs),
        data_rms: on_data.map(|(_, rms)| rms),
    }
}

/// `[low, high]` split at the points that lie inside.
fn split((low, high): (f64, f64), mut points: Vec<f64>) -> Vec<(f64, f64)> {
    // A segment much narrower than the interval would hold no oscillation of its own.
    let shortest = 1e-6 * (high - low);
    points.sort_by(f64::total_cmp);
    let mut segments = Vec::with_capacity(points.len() + 1);
    let mut start = low;
    for point in points {
        if point - start > shortest && high - point > shortest {
            segments.push((start, point));
            start = point;
        }
    }
    segments.push((start, high));
    segments
}
