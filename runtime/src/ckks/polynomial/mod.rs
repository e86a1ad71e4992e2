//! Polynomials to evaluate on ciphertexts, and how: a Paterson-Stockmeyer plan with exact depth.

mod plan;

pub use plan::{Leaf, PolynomialPlan, PowerStep, Product, Sum};

pub(crate) use plan::power_depth;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The basis a polynomial's coefficients refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Basis {
    /// 1, x, x^2, ...
    Monomial,
    /// T_0, T_1, T_2, ..., the Chebyshev polynomials of the first kind; the input is expected in [-1, 1].
    Chebyshev,
}

/// A real polynomial of degree at least one. Deserialising does not check that: a plan's reader
/// does, and names the polynomial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Polynomial {
    basis: Basis,
    coeffs: Vec<f64>,
}

impl Polynomial {
    /// The polynomial with `coeffs[i]` in front of the i-th basis element; trailing zeros are dropped.
    ///
    /// # Errors
    /// [`Error::InvalidPolynomial`] for a coefficient that is not finite and for a constant.
    pub fn new(basis: Basis, mut coeffs: Vec<f64>) -> Result<Self> {
        if let Some(index) = coeffs.iter().position(|c| !c.is_finite()) {
            return Err(Error::InvalidPolynomial {
                reason: format!("coefficient {index} is not finite"),
            });
        }
        while coeffs.last() == Some(&0.0) {
            coeffs.pop();
        }
        if coeffs.len() < 2 {
            return Err(Error::InvalidPolynomial {
                reason: "it is constant: encode the constant instead of evaluating it".into(),
            });
        }
        Ok(Self { basis, coeffs })
    }

    /// The basis of the coefficients.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// Coefficients, lowest first; the last one is not zero.
    #[must_use]
    pub fn coeffs(&self) -> &[f64] {
        &self.coeffs
    }

    /// Degree, at least one.
    #[must_use]
    pub fn degree(&self) -> usize {
        self.coeffs.len() - 1
    }

    /// Levels an evaluation takes: ceil(log2(degree + 1)).
    #[must_use]
    pub fn depth(&self) -> usize {
        ceil_log2(self.degree() + 1)
    }

    /// The value at `x`, by Horner's or Clenshaw's rule.
    #[must_use]
    pub fn evaluate(&self, x: f64) -> f64 {
        match self.basis {
            Basis::Monomial => self.coeffs.iter().rev().fold(0.0, |sum, c| sum.mul_add(x, *c)),
            Basis::Chebyshev => {
                let (mut b1, mut b2) = (0.0, 0.0);
                for c in self.coeffs[1..].iter().rev() {
                    (b1, b2) = (2.0 * x * b1 - b2 + c, b1);
                }
                x * b1 - b2 + self.coeffs[0]
            }
        }
    }
}

/// Smallest e with 2^e >= n, for n >= 1.
pub(crate) fn ceil_log2(n: usize) -> usize {
    n.next_power_of_two().trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn making_trims_and_checks() {
        let polynomial = Polynomial::new(Basis::Chebyshev, vec![0.5, 0.0, -2.0, 0.0]).unwrap();
        assert_eq!((polynomial.degree(), polynomial.depth()), (2, 2));
        assert!((polynomial.evaluate(0.3) - (0.5 - 2.0 * (2.0 * 0.09 - 1.0))).abs() < 1e-15);
        assert!(Polynomial::new(Basis::Monomial, vec![1.0, 0.0]).is_err());
        assert!(Polynomial::new(Basis::Monomial, vec![0.0, f64::NAN]).is_err());
    }
}
