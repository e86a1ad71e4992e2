//! How a polynomial is evaluated: which form takes the fewest levels.
//!
//! Constants and affine maps need no evaluator. A quadratic with leading coefficient `+-2^k` is one product:
//! `+-2^k (x (x + b/a)) + c`, and a quartic with such a leading coefficient and no cube is two: `+-2^k x^2 (x^2 + s) + b x + c`.
//! Everything else is a `poly_eval`: in the monomial basis as it stands; in the Chebyshev basis on
//! [-1, 1], to which an interval inside of [-1, 1] is carried exactly by a change of basis, and any other by mapping the
//! variable, which may cost a level.

use super::levels::factor_consumption;
use super::scalars::doublings;
use aphelion_ir::slot::{Basis, Polynomial};
use std::f64::consts::PI;

/// A change of basis may enlarge the sum of coefficient magnitudes by this factor, which costs as many bits: 2.
const MAX_BASIS_GROWTH: f64 = 4.0;

/// Relative difference of a leading coefficient from a power of two that counts as rounding.
const LEADING_TOLERANCE: f64 = 1e-9;

/// A way to evaluate a polynomial.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PolyPlan {
    /// A constant.
    Constant(f64),
    /// `factor x + summand`.
    Affine { factor: f64, summand: f64 },
    /// `factor (x (x + shift)) + summand`, where `factor` is a doubling.
    Square { shift: f64, factor: f64, summand: f64 },
    /// `factor (x^2 (x^2 + shift)) + linear x + summand`, where `factor` is a doubling.
    Quartic {
        shift: f64,
        factor: f64,
        linear: f64,
        summand: f64,
    },
    /// `poly` of `map x + offset`, in a basis that `poly_eval` takes.
    Eval { factor: f64, offset: f64, poly: Polynomial },
}

impl PolyPlan {
    /// The plan of fewest levels for `poly`.
    pub(crate) fn new(poly: &Polynomial) -> Self {
        let mut poly = poly.clone();
        while poly.coeffs.len() > 1 && poly.coeffs.last() == Some(&0.0) {
            poly.coeffs.pop();
        }
        if let Some(plan) = low_degree(&poly).or_else(|| quartic(&poly)) {
            return plan;
        }
        if poly.basis == (Basis::Monomial {}) || (poly.low, poly.high) == (-1.0, 1.0) {
            let (factor, offset) = (1.0, 0.0);
            return PolyPlan::Eval { factor, offset, poly };
        }
        if let Some(poly) = rebased(&poly) {
            let (factor, offset) = (1.0, 0.0);
            return PolyPlan::Eval { factor, offset, poly };
        }
        let width = poly.high - poly.low;
        PolyPlan::Eval {
            factor: 2.0 / width,
            offset: -(poly.low + poly.high) / width,
            poly: Polynomial {
                low: -1.0,
                high: 1.0,
                ..poly
            },
        }
    }

    /// Levels that it consumes.
    pub(crate) fn depth(&self) -> u32 {
        match self {
            PolyPlan::Constant(_) => 0,
            PolyPlan::Affine { factor, .. } => factor_consumption(*factor),
            PolyPlan::Square { .. } => 1,
            PolyPlan::Quartic { .. } => 2,
            PolyPlan::Eval { factor, poly, .. } => factor_consumption(*factor) + poly.depth() as u32,
        }
    }
}

/// Plans for degrees up to 2 that beat an evaluation.
fn low_degree(poly: &Polynomial) -> Option<PolyPlan> {
    let [c0, c1, c2] = monomial_quadratic(poly)?;
    if poly.coeffs.len() == 1 {
        return Some(PolyPlan::Constant(c0));
    }
    if poly.coeffs.len() == 2 {
        return Some(PolyPlan::Affine {
            factor: c1,
            summand: c0,
        });
    }
    doublings(c2).map(|_| PolyPlan::Square {
        shift: c1 / c2,
        factor: c2,
        summand: c0,
    })
}

/// The plan for a quartic without cube whose leading coefficient is a doubling up to rounding.
fn quartic(poly: &Polynomial) -> Option<PolyPlan> {
    let [c0, c1, c2, c3, c4] = poly.coeffs.as_slice() else {
        return None;
    };
    if poly.basis != (Basis::Monomial {}) || *c3 != 0.0 || *c4 == 0.0 {
        return None;
    }
    let factor = c4.abs().log2().round().exp2().copysign(*c4);
    let is_near = (c4 / factor - 1.0).abs() <= LEADING_TOLERANCE;
    (is_near && doublings(factor).is_some()).then_some(PolyPlan::Quartic {
        shift: c2 / factor,
        factor,
        linear: *c1,
        summand: *c0,
    })
}

/// Coefficients in powers of x, for degrees up to 2.
fn monomial_quadratic(poly: &Polynomial) -> Option<[f64; 3]> {
    if poly.coeffs.len() > 3 {
        return None;
    }
    let c = |k: usize| poly.coeffs.get(k).copied().unwrap_or(0.0);
    match poly.basis {
        Basis::Monomial {} => Some([c(0), c(1), c(2)]),
        Basis::Chebyshev {} => {
            // c0 + c1 t + c2 (2 t^2 - 1) with t = m x + o.
            let width = poly.high - poly.low;
            let (m, o) = (2.0 / width, -(poly.low + poly.high) / width);
            Some([
                c(0) + c(1) * o + c(2) * (2.0 * o * o - 1.0),
                m * (c(1) + 4.0 * c(2) * o),
                2.0 * c(2) * m * m,
            ])
        }
    }
}

/// The same polynomial in the Chebyshev basis of [-1, 1], when its interval lies inside and its coefficients stay
/// moderate: interpolation in the Chebyshev nodes, exact for polynomials.
fn rebased(poly: &Polynomial) -> Option<Polynomial> {
    if poly.low < -1.0 || poly.high > 1.0 {
        return None;
    }
    let n = poly.coeffs.len();
    let angle = |j: usize| PI * (j as f64 + 0.5) / n as f64;
    let values: Vec<f64> = (0..n).map(|j| poly.eval(angle(j).cos())).collect();
    let coefficient = |k: usize| {
        let terms = values
            .iter()
            .enumerate()
            .map(|(j, value)| value * (k as f64 * angle(j)).cos());
        terms.sum::<f64>() * if k == 0 { 1.0 } else { 2.0 } / n as f64
    };
    let coeffs: Vec<f64> = (0..n).map(coefficient).collect();
    let magnitude = |coeffs: &[f64]| coeffs.iter().map(|c| c.abs()).sum::<f64>();
    let (low, high) = (-1.0, 1.0);
    (magnitude(&coeffs) <= MAX_BASIS_GROWTH * magnitude(&poly.coeffs)).then_some(Polynomial {
        low,
        high,
        coeffs,
        ..poly.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn eval(plan: &PolyPlan, x: f64) -> f64 {
        match plan {
            PolyPlan::Constant(c) => *c,
            PolyPlan::Affine { factor, summand } => factor * x + summand,
            PolyPlan::Square { shift, factor, summand } => factor * (x * (x + shift)) + summand,
            PolyPlan::Quartic {
                shift,
                factor,
                linear,
                summand,
            } => factor * (x * x * (x * x + shift)) + linear * x + summand,
            PolyPlan::Eval { factor, offset, poly } => poly.eval(factor * x + offset),
        }
    }

    proptest! {
        #[test]
        fn a_plan_is_the_polynomial(
            coeffs in prop::collection::vec(-1.0f64..1.0, 1..20),
            chebyshev: bool,
            low in -2.0f64..0.0,
            width in 0.1f64..3.0,
            position in 0.0f64..1.0,
        ) {
            let basis = if chebyshev { Basis::Chebyshev {} } else { Basis::Monomial {} };
            let poly = Polynomial { basis, low, high: low + width, coeffs };
            let x = low + position * width;
            let plan = PolyPlan::new(&poly);
            let size: f64 = poly.coeffs.iter().enumerate().map(|(k, c)| c.abs() * x.abs().max(1.0).powi(k as i32)).sum();
            prop_assert!((eval(&plan, x) - poly.eval(x)).abs() < 1e-9 * (1.0 + size), "{plan:?}");
            prop_assert!(plan.depth() <= poly.depth() as u32 + 1);
        }
    }

    #[test]
    fn forms_of_few_levels_are_found() {
        let poly = |basis, low, high, coeffs: &[f64]| Polynomial {
            basis,
            low,
            high,
            coeffs: coeffs.to_vec(),
        };
        let depth = |poly: &Polynomial| PolyPlan::new(poly).depth();
        assert_eq!(depth(&poly(Basis::Monomial {}, -1.0, 1.0, &[0.0, 0.0, 1.0])), 1);
        assert_eq!(depth(&poly(Basis::Monomial {}, -1.0, 1.0, &[0.5, 3.0, -2.0])), 1);
        assert_eq!(depth(&poly(Basis::Monomial {}, -1.0, 1.0, &[0.5, 3.0, 0.3])), 2);
        assert_eq!(depth(&poly(Basis::Chebyshev {}, -1.0, 1.0, &[0.5, 0.0, 0.5])), 1);
        assert_eq!(depth(&poly(Basis::Chebyshev {}, -1.0, 1.0, &[0.1, 0.2, 0.3, 0.4])), 2);
        assert_eq!(depth(&poly(Basis::Chebyshev {}, -0.9, 1.0, &[0.1, 0.2, 0.3, 0.4])), 2);
        assert_eq!(depth(&poly(Basis::Chebyshev {}, -8.0, 8.0, &[0.1, 0.2, 0.3, 0.4])), 3);
        assert_eq!(depth(&poly(Basis::Chebyshev {}, -8.0, 8.0, &[0.1, 0.2, 0.0, 0.0])), 1);
        assert_eq!(depth(&poly(Basis::Chebyshev {}, -8.0, 8.0, &[0.1])), 0);
        assert_eq!(
            depth(&poly(Basis::Monomial {}, -1.0, 1.0, &[0.1, 0.5, 2.0, 0.0, -4.0])),
            2
        );
        assert_eq!(
            depth(&poly(Basis::Monomial {}, -1.0, 1.0, &[0.1, 0.5, 2.0, 0.0, -0.3])),
            3
        );
    }
}
