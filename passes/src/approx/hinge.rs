//! Piecewise linear functions by composite signs: |u| = u sign(u), so offset + slope x + sum of weight |x - kink| is a sum
//! of gates (x - kink) (constant + weight s(x - kink)), with the constant and the weight inside the last stage of s.
//!
//! Source: Lee, Lee, Lee, Kim, No, Lee (arXiv 2105.10879), which treats relu; the general sum is the same identity.

use aphelion_ir::slot::Polynomial;

use super::cost::{Cost, Parity};
use super::curve::HingeForm;
use super::error::ApproxError;
use super::sign::{SignComposite, sign_composite};
use super::sign_degrees::predicted_error;

/// (x - center) stages.last(..stages.first(x)..). The first stage's interval is centred there and takes x itself.
#[derive(Debug, Clone, PartialEq)]
pub struct GatedTerm {
    /// Zero of the linear factor.
    pub center: f64,
    /// Polynomials in order of application.
    pub stages: Vec<Polynomial>,
}

/// offset + sum of terms.
#[derive(Debug, Clone, PartialEq)]
pub struct GatedSum {
    /// Constant part.
    pub offset: f64,
    /// The terms, one per kink inside the interval.
    pub terms: Vec<GatedTerm>,
}

impl GatedTerm {
    /// Value at `x`.
    pub fn eval(&self, x: f64) -> f64 {
        (x - self.center) * self.stages.iter().fold(x, |x, stage| stage.eval(x))
    }
}

impl GatedSum {
    /// `form` on `interval` with every absolute value by `sign`; `None` if no kink lies strictly inside.
    pub fn new(form: &HingeForm, (low, high): (f64, f64), sign: &SignComposite) -> Option<Self> {
        let (mut offset, mut slope) = (form.offset, form.slope);
        let mut inside = Vec::new();
        for &(kink, weight) in &form.hinges {
            if low < kink && kink < high {
                inside.push((kink, weight));
            } else {
                let signed = if kink <= low { weight } else { -weight };
                slope += signed;
                offset -= signed * kink;
            }
        }
        let (first_kink, _) = *inside.first()?;
        offset += slope * first_kink;
        let terms = inside
            .iter()
            .enumerate()
            .map(|(i, &(kink, weight))| {
                let reach = (high - kink).max(kink - low);
                let mut stages = sign.stages.clone();
                if let Some(first) = stages.first_mut() {
                    (first.low, first.high) = (kink - reach, kink + reach);
                }
                if let Some(last) = stages.last_mut() {
                    last.coeffs.iter_mut().for_each(|c| *c *= weight);
                    last.coeffs[0] += if i == 0 { slope } else { 0.0 };
                }
                GatedTerm { center: kink, stages }
            })
            .collect();
        Some(Self { offset, terms })
    }

    /// Value at `x`.
    pub fn eval(&self, x: f64) -> f64 {
        self.terms.iter().fold(self.offset, |sum, term| sum + term.eval(x))
    }

    /// Values at all `xs`.
    pub fn eval_all(&self, xs: &[f64]) -> Vec<f64> {
        let mut sums = vec![self.offset; xs.len()];
        for term in &self.terms {
            let gates = term
                .stages
                .iter()
                .fold(xs.to_vec(), |gates, stage| stage.eval_all(&gates));
            for ((sum, x), gate) in sums.iter_mut().zip(xs).zip(gates) {
                *sum += (x - term.center) * gate;
            }
        }
        sums
    }

    /// Cost: the terms side by side, each a chain and one product.
    pub fn cost(&self) -> Cost {
        let start = Cost { depth: 0, mults: 0 };
        let term_cost = |term: &GatedTerm| {
            let stages = term
                .stages
                .iter()
                .map(|stage| Cost::of_polynomial(stage.degree(), Parity::Odd));
            stages.fold(start, Cost::then).then(Cost::PRODUCT)
        };
        self.terms.iter().map(term_cost).fold(start, Cost::beside)
    }
}

/// Smallest and largest transition tried.
const TRANSITIONS: (f64, f64) = (1e-7, 0.5);
/// Transition per unit of error in |x| at balance, by experience; only a starting point.
const TRANSITION_PER_ERROR: f64 = 6.5;
/// Trials of the search; it usually ends after three or four.
const MAX_TRIALS: usize = 12;
/// The search ends when the logarithms of the errors inside and outside the transition differ by less.
const BALANCE: f64 = 0.02;

/// The composite of `degrees` with the smallest error in |x| over [-1, 1] and that error: the transition is placed where
/// the error inside it, which grows with it, and the ripple outside, which falls, are the same.
///
/// # Errors
/// As [`sign_composite`].
pub(super) fn balanced_absolute_value(degrees: &[usize], margin: f64) -> Result<(SignComposite, f64), ApproxError> {
    // A first stage lifts its transition, so that one above the margin stays above it.
    let (mut log_low, mut log_high) = (libm::log(TRANSITIONS.0.max(2.0 * margin)), libm::log(TRANSITIONS.1));
    let mut log_transition = predicted_balance(degrees, log_low, log_high)?;
    let mut last: Option<(f64, f64)> = None;
    let mut trial = 0;
    loop {
        let sign = sign_composite(degrees, libm::exp(log_transition), margin)?;
        let (inside, outside) = sign.absolute_value_errors();
        let imbalance = libm::log(inside / outside.max(f64::MIN_POSITIVE));
        trial += 1;
        if imbalance.abs() < BALANCE || log_high - log_low < BALANCE || trial == MAX_TRIALS {
            return Ok((sign, inside.max(outside)));
        }
        if imbalance > 0.0 {
            log_high = log_transition;
        } else {
            log_low = log_transition;
        }
        // The imbalance rises by at least 1 per unit: the error inside is proportional to the transition.
        let slope = last.map_or(1.5, |(at, value)| (imbalance - value) / (log_transition - at));
        last = Some((log_transition, imbalance));
        let secant = log_transition - imbalance / slope.max(1.0);
        let is_inside = log_low < secant && secant < log_high;
        log_transition = if is_inside { secant } else { 0.5 * (log_low + log_high) };
    }
}

/// Logarithm of the transition where the predicted ripple is the predicted error inside.
fn predicted_balance(degrees: &[usize], mut log_low: f64, mut log_high: f64) -> Result<f64, ApproxError> {
    for _ in 0..30 {
        let middle = 0.5 * (log_low + log_high);
        let transition = libm::exp(middle);
        if predicted_error(degrees, transition)? * TRANSITION_PER_ERROR > transition {
            log_low = middle;
        } else {
            log_high = middle;
        }
    }
    Ok(0.5 * (log_low + log_high))
}

#[cfg(test)]
mod tests {
    use aphelion_ir::nn::Func;

    use super::super::chebyshev::max_error;
    use super::super::curve::Curve;
    use super::*;

    #[test]
    fn relu_errors_match_the_published_composites() {
        // Lee et al. (arXiv 2105.10879), table of degrees for relu within 2^-alpha on [-1, 1].
        let published: [(i32, &[usize]); 9] = [
            (4, &[5]),
            (5, &[13]),
            (7, &[7, 7]),
            (8, &[7, 15]),
            (9, &[15, 15]),
            (10, &[7, 7, 13]),
            (11, &[7, 7, 27]),
            (13, &[15, 15, 27]),
            (14, &[15, 27, 29]),
        ];
        for (alpha, degrees) in published {
            let (_, error) = balanced_absolute_value(degrees, 0.0).unwrap();
            let relu_error = 0.5 * error;
            assert!(
                relu_error < libm::exp2(-f64::from(alpha)),
                "alpha {alpha}: {relu_error}"
            );
            assert!(
                relu_error > libm::exp2(-f64::from(alpha) - 1.0),
                "alpha {alpha}: {relu_error} is too good"
            );
        }
    }

    #[test]
    fn gates_reproduce_piecewise_linear_functions() {
        let (sign, error) = balanced_absolute_value(&[7, 15, 15], 0.0).unwrap();
        let cases = [
            (Func::Relu {}, (-3.0, 7.0)),
            (Func::LeakyRelu { alpha: 0.1 }, (-5.0, 2.0)),
            (Func::Abs {}, (-1.0, 1.0)),
            (Func::Clip { low: 0.0, high: 6.0 }, (-8.0, 10.0)),
            (Func::Clip { low: 0.0, high: 6.0 }, (1.0, 10.0)),
            (Func::Clip { low: 0.0, high: 6.0 }, (-4.0, 5.0)),
            (Func::HardSigmoid { alpha: 0.2, beta: 0.5 }, (-6.0, 6.0)),
        ];
        for (func, interval) in cases {
            let curve = Curve::of(&func);
            let form = curve.hinge_form().unwrap();
            let sum = GatedSum::new(form, interval, &sign).unwrap();
            let reach = 2.0 * (interval.1 - interval.0);
            let weights: f64 = form.hinges.iter().map(|(_, weight)| weight.abs()).sum();
            let measured = max_error(|x| curve.eval(x), |x| sum.eval(x), &[interval], 5000);
            assert!(measured <= error * reach * weights, "{}: {measured}", curve.name());
            assert!(measured > 0.0);
        }
    }

    #[test]
    fn a_form_without_a_kink_inside_is_no_gate() {
        let (sign, _) = balanced_absolute_value(&[7], 0.0).unwrap();
        let curve = Curve::of(&Func::Relu {});
        assert_eq!(GatedSum::new(curve.hinge_form().unwrap(), (0.0, 3.0), &sign), None);
    }
}
