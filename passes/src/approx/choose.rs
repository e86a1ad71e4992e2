//! The cheapest approximation of a function that holds an error budget.
//!
//! Candidates are single polynomials (minimax, and least squares over calibration data) and, for piecewise linear
//! functions, gates by composite signs. Cost is depth first, then products of ciphertexts; ties go to the smaller excess
//! over the budget, then to the family tried first. Every candidate is measured before it is accepted.

use super::candidates::{Family, FitCache, measure};
use super::error::ApproxError;
use super::hinge::{GatedSum, balanced_absolute_value};
use super::remez::MAX_DEGREE;
use super::request::{Approximation, Choice, Method, Request};
use super::sign_degrees::{Chain, chains};

/// Composites fitted per depth before the next depth is tried.
const MAX_COMPOSITES_PER_DEPTH: usize = 3;
/// Transition per unit of error in |x| that composites of 6 to 14 levels balance at.
const TRANSITION_PER_ERROR: f64 = 7.0;
/// A root-mean-square budget allows about this much more as a maximum, since few samples lie at a kink.
const MAXIMUM_PER_RMS: f64 = 4.0;
/// Composites whose predicted ripple exceeds the target by more are not fitted.
const PREDICTION_SLACK: f64 = 1.5;

/// Chooses the cheapest approximation that holds the budget.
///
/// # Errors
/// If nothing within the limits holds the budget, the request makes no sense, or the function is not finite on the
/// interval.
pub fn choose(request: &Request<'_>) -> Result<Choice, ApproxError> {
    choose_cached(request, &mut FitCache::default())
}

/// As [`choose`], with what was fitted for requests that differ in budget and limits only.
///
/// # Errors
/// As [`choose`].
pub fn choose_cached(request: &Request<'_>, cache: &mut FitCache) -> Result<Choice, ApproxError> {
    request.check()?;
    let families = Family::of(request);
    let mut nearest: Option<Choice> = None;
    let mut composites = Composites::of(request)?;
    for depth in 1..=request.max_depth {
        let mut at_depth: Option<Choice> = None;
        for family in &families {
            if depth <= MAX_DEGREE.ilog2() as usize + 1 {
                let choice = cheapest_of_depth(request, cache, family, depth)?;
                consider(request, choice, &mut at_depth, &mut nearest);
            }
        }
        if let Some(composites) = &mut composites {
            let choice = composites.cheapest_of_depth(request, depth)?;
            consider(request, choice, &mut at_depth, &mut nearest);
        }
        if let Some(choice) = at_depth {
            return Ok(choice);
        }
    }
    let (low, high) = request.interval;
    let errors = nearest.map(|choice| choice.errors);
    Err(ApproxError::Budget {
        function: request.curve.name().to_owned(),
        low,
        high,
        max_degree: request.max_degree,
        max_depth: request.max_depth,
        interval_max_abs: errors.map_or(f64::NAN, |errors| errors.interval_max_abs),
        data_max_abs: errors.and_then(|errors| errors.data_max_abs).unwrap_or(f64::NAN),
        data_rms: errors.and_then(|errors| errors.data_rms).unwrap_or(f64::NAN),
    })
}

/// Keeps `choice` as the best of its depth if it holds the budget, and as the nearest miss if it does not.
fn consider(
    request: &Request<'_>,
    choice: Option<Choice>,
    at_depth: &mut Option<Choice>,
    nearest: &mut Option<Choice>,
) {
    let Some(choice) = choice else { return };
    let excess = |choice: &Choice| request.budget.excess(&choice.errors);
    if excess(&choice) <= 1.0 {
        let is_better =
            |known: &Choice| choice.cost < known.cost || (choice.cost == known.cost && excess(&choice) < excess(known));
        if at_depth.as_ref().is_none_or(is_better) {
            *at_depth = Some(choice);
        }
    } else if nearest.as_ref().is_none_or(|known| excess(&choice) < excess(known)) {
        *nearest = Some(choice);
    }
}

/// The cheapest polynomial of a family and a depth that holds the budget; the most precise one if none does.
fn cheapest_of_depth(
    request: &Request<'_>,
    cache: &mut FitCache,
    family: &Family,
    depth: usize,
) -> Result<Option<Choice>, ApproxError> {
    let options = family.degrees(depth, request.max_degree);
    let Some(&largest) = options.last() else {
        return Ok(None);
    };
    let mut found = family.best_of_degree(request, cache, largest, largest.1)?;
    if request.budget.excess(&found.errors) > 1.0 {
        return Ok(Some(found));
    }
    // Errors fall with the degree: bisect for the first option that holds.
    let (mut first, mut last) = (0, options.len() - 1);
    while first < last {
        let middle = (first + last) / 2;
        let choice = family.best_of_degree(request, cache, options[middle], largest.1)?;
        if request.budget.excess(&choice.errors) <= 1.0 {
            (found, last) = (choice, middle);
        } else {
            first = middle + 1;
        }
    }
    Ok(Some(found))
}

/// The composites worth fitting for a request, cheapest first.
struct Composites {
    chains: Vec<Chain>,
}

impl Composites {
    /// `None` for a function that is not piecewise linear.
    fn of(request: &Request<'_>) -> Result<Option<Self>, ApproxError> {
        let Some(form) = request.curve.hinge_form() else {
            return Ok(None);
        };
        let (low, high) = request.interval;
        // One unit of error in |x| on [-1, 1] becomes this much in the function.
        let scale: f64 = form
            .hinges
            .iter()
            .filter(|(kink, _)| low < *kink && *kink < high)
            .map(|(kink, weight)| weight.abs() * (high - kink).max(kink - low))
            .sum();
        if scale == 0.0 || request.max_depth < 2 {
            return Ok(None);
        }
        let budget = &request.budget;
        let target = budget
            .interval_max_abs
            .min(budget.data_max_abs)
            .min(MAXIMUM_PER_RMS * budget.data_rms)
            / scale;
        let transition = (TRANSITION_PER_ERROR * target).clamp(1e-7, 0.5);
        let mut chains = chains(transition, request.max_depth - 1)?;
        let smallest = chains.iter().map(|chain| chain.error).fold(f64::INFINITY, f64::min);
        // Where none is expected to hold the budget, the most precise one is still the nearest miss to report.
        chains.retain(|chain| chain.error <= (PREDICTION_SLACK * target).max(smallest));
        Ok(Some(Self { chains }))
    }

    /// The cheapest composite of a depth that holds the budget; the nearest one fitted if none does.
    fn cheapest_of_depth(&mut self, request: &Request<'_>, depth: usize) -> Result<Option<Choice>, ApproxError> {
        let Some(form) = request.curve.hinge_form() else {
            return Ok(None);
        };
        let mut nearest: Option<Choice> = None;
        let of_depth = self.chains.iter().filter(|chain| chain.cost.depth + 1 == depth);
        for chain in of_depth.take(MAX_COMPOSITES_PER_DEPTH) {
            let (sign, _) = balanced_absolute_value(&chain.degrees, request.margin)?;
            let Some(sum) = GatedSum::new(form, request.interval, &sign) else {
                return Ok(None);
            };
            // Oscillations multiply along the chain, but the error is largest where the first stage puts it.
            let errors = measure(request, |x| sum.eval(x), 16 * chain.degrees[0]);
            let choice = Choice {
                cost: sum.cost(),
                approximation: Approximation::Gates(sum),
                method: Method::SignComposite {
                    degrees: chain.degrees.clone(),
                },
                errors,
            };
            let excess = request.budget.excess(&choice.errors);
            if excess <= 1.0 {
                return Ok(Some(choice));
            }
            if nearest
                .as_ref()
                .is_none_or(|known| excess < request.budget.excess(&known.errors))
            {
                nearest = Some(choice);
            }
        }
        Ok(nearest)
    }
}

#[cfg(test)]
mod tests {
    use aphelion_ir::nn::Func;
    use proptest::prelude::*;

    use super::super::chebyshev::max_error;
    use super::super::cost::{Cost, Parity};
    use super::super::curve::Curve;
    use super::super::histogram::Histogram;
    use super::super::request::ErrorBudget;
    use super::*;

    /// Bell-shaped samples of standard deviation 1 about 0.
    fn bell() -> Histogram {
        let mut histogram = Histogram::new(-8.0, 8.0, Histogram::DEFAULT_BINS).unwrap();
        for a in 0..30 {
            for b in 0..30 {
                for c in 0..30 {
                    histogram.add((f64::from(a + b + c) - 43.5) / 15.0);
                }
            }
        }
        histogram
    }

    fn request<'a>(curve: &'a Curve, histogram: Option<&'a Histogram>, budget: ErrorBudget) -> Request<'a> {
        Request {
            curve,
            interval: (-8.0, 8.0),
            histogram,
            budget,
            max_degree: 63,
            max_depth: 15,
            margin: 0.0,
        }
    }

    #[test]
    fn relu_within_2_to_the_minus_13_is_the_published_composite() {
        // Lee et al. (arXiv 2105.10879): degrees {15, 15, 27}, depth 13 and one product, for alpha = 13.
        let relu = Curve::of(&Func::Relu {});
        let choice = choose(&request(&relu, None, ErrorBudget::everywhere(8.0 * libm::exp2(-13.0)))).unwrap();
        assert_eq!(
            choice.method,
            Method::SignComposite {
                degrees: vec![15, 15, 27]
            }
        );
        assert_eq!(choice.cost.depth, 14);
        let error = max_error(
            |x| relu.eval(x),
            |x| choice.approximation.eval(x),
            &[(-8.0, 8.0)],
            20_000,
        );
        assert!(error <= 8.0 * libm::exp2(-13.0) && error > 8.0 * libm::exp2(-14.0));
    }

    #[test]
    fn smooth_functions_get_the_least_degree() {
        let sigmoid = Curve::of(&Func::Sigmoid {});
        // Minimax errors on [-8, 8]: 0.0895 for degree 3, 0.0283 for degree 5, 0.00879 for degree 7 (odd symmetry).
        for (limit, degree) in [(0.09, 3), (0.05, 7), (0.0009, 15)] {
            let choice = choose(&request(&sigmoid, None, ErrorBudget::everywhere(limit))).unwrap();
            let Approximation::Polynomial(poly) = &choice.approximation else {
                panic!("a composite for sigmoid")
            };
            assert!(poly.degree() <= degree, "limit {limit}: degree {}", poly.degree());
            assert_eq!(
                choice.cost.depth,
                Cost::of_polynomial(degree, Parity::Odd).depth,
                "limit {limit}"
            );
            assert!(choice.errors.interval_max_abs <= limit);
        }
    }

    #[test]
    fn data_makes_it_cheaper() {
        let histogram = bell();
        for func in [
            Func::Relu {},
            Func::Gelu {},
            Func::Silu {},
            Func::Sigmoid {},
            Func::Tanh {},
            Func::HardSwish {},
        ] {
            let curve = Curve::of(&func);
            let everywhere = choose(&request(&curve, None, ErrorBudget::everywhere(0.03))).unwrap();
            let on_data = choose(&request(&curve, Some(&histogram), ErrorBudget::on_data(0.03, 4.0))).unwrap();
            assert!(on_data.cost < everywhere.cost, "{}", curve.name());
            assert!(on_data.errors.data_rms.unwrap() <= 0.03 && on_data.errors.interval_max_abs <= 4.0);
        }
    }

    #[test]
    fn piecewise_linear_functions_of_two_kinks_get_two_gates() {
        let relu6 = Curve::of(&Func::Clip { low: 0.0, high: 6.0 });
        let choice = choose(&request(&relu6, None, ErrorBudget::everywhere(0.01))).unwrap();
        let Approximation::Gates(sum) = &choice.approximation else {
            panic!("one polynomial for a sharp clip")
        };
        assert_eq!(sum.terms.len(), 2);
        assert_eq!(choice.cost, sum.cost());
        assert!(max_error(|x| relu6.eval(x), |x| sum.eval(x), &[(-8.0, 8.0)], 20_000) <= 0.01);
    }

    #[test]
    fn a_budget_out_of_reach_is_an_error_with_the_nearest_miss() {
        let relu = Curve::of(&Func::Relu {});
        let mut request = request(&relu, None, ErrorBudget::everywhere(1e-3));
        request.max_depth = 6;
        let Err(ApproxError::Budget { interval_max_abs, .. }) = choose(&request) else {
            panic!("within depth 6")
        };
        // Bernstein: the best degree-62 error of |x| on [-1, 1] is 0.2801 / 62; half of it, times 8, for relu.
        assert!(
            (interval_max_abs - 4.0 * 0.28012 / 62.0).abs() < 1e-5,
            "{interval_max_abs}"
        );
    }

    #[test]
    fn requests_without_sense_are_refused() {
        let relu = Curve::of(&Func::Relu {});
        let none = ErrorBudget::everywhere(f64::INFINITY);
        assert!(matches!(
            choose(&request(&relu, None, none)),
            Err(ApproxError::Parameter { .. })
        ));
        let on_data = ErrorBudget::on_data(0.1, 1.0);
        assert_eq!(choose(&request(&relu, None, on_data)), Err(ApproxError::NoSamples));
        let reciprocal = Curve::of(&Func::Reciprocal {});
        let refused = choose(&request(&reciprocal, None, ErrorBudget::everywhere(0.1)));
        assert!(refused.is_err(), "a pole inside the interval");
    }

    #[test]
    fn linear_parts_are_free() {
        let relu = Curve::of(&Func::Relu {});
        let mut request = request(&relu, None, ErrorBudget::everywhere(1e-9));
        request.interval = (0.5, 3.0);
        let choice = choose(&request).unwrap();
        assert_eq!(choice.cost, Cost { depth: 1, mults: 0 });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn chosen_errors_are_true_and_repeatable(
            func in prop_oneof![
                Just(Func::Relu {}), Just(Func::Silu {}), Just(Func::Sigmoid {}), Just(Func::HardSwish {}),
                Just(Func::HardSigmoid { alpha: 0.2, beta: 0.5 }), Just(Func::Exp {}), Just(Func::Erf {}),
            ],
            low in -6.0..-0.5f64,
            high in 0.5..6.0f64,
            log_limit in -2.0..-0.5f64,
        ) {
            let curve = Curve::of(&func);
            let budget = ErrorBudget::everywhere(libm::pow(10.0, log_limit));
            let request = Request { interval: (low, high), ..request(&curve, None, budget) };
            if let Ok(choice) = choose(&request) {
                let dense = max_error(|x| curve.eval(x), |x| choice.approximation.eval(x), &[(low, high)], 4000);
                prop_assert!(dense <= 1.02 * choice.errors.interval_max_abs + 1e-12);
                prop_assert!(choice.errors.interval_max_abs <= budget.interval_max_abs);
                prop_assert_eq!(choose(&request).unwrap(), choice);
            }
        }
    }
}
