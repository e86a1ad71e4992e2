//! Polynomials of one variable, in Chebyshev or monomial basis.

use crate::{attr_enum, attr_struct};

attr_enum! {
    /// Basis of a polynomial's coefficients.
    #[derive(Copy, Eq)]
    pub enum Basis {
        #[doc = "T_k of the variable mapped from the interval to [-1, 1]"]
        Chebyshev "chebyshev" {}
        #[doc = "powers of the variable itself"]
        Monomial "monomial" {}
    }
}

attr_struct! {
    /// A polynomial with the interval that it is meant for.
    pub struct Polynomial {
        /// Basis of the coefficients.
        pub basis: Basis,
        /// Lower end of the interval.
        pub low: f64,
        /// Upper end of the interval; above `low`.
        pub high: f64,
        /// Coefficients, constant term first; never empty.
        pub coeffs: Vec<f64>,
    }
}

impl Polynomial {
    /// Degree as written: one less than the number of coefficients.
    pub fn degree(&self) -> usize {
        self.coeffs.len().saturating_sub(1)
    }

    /// Multiplicative depth of an evaluation by Paterson-Stockmeyer on a variable that already lies where the basis
    /// wants it: ceil(log2(degree + 1)).
    pub fn depth(&self) -> usize {
        (self.degree() + 1).next_power_of_two().trailing_zeros() as usize
    }

    /// Value at `x`, by Clenshaw's or Horner's scheme.
    pub fn eval(&self, x: f64) -> f64 {
        let [value] = self.eval_lanes([x]);
        value
    }

    /// Values at all `xs`, the same as [`Polynomial::eval`] gives one by one, several times as fast.
    pub fn eval_all(&self, xs: &[f64]) -> Vec<f64> {
        const LANES: usize = 16;
        let mut values = Vec::with_capacity(xs.len());
        for chunk in xs.chunks(LANES) {
            let mut lanes = [0.0; LANES];
            lanes[..chunk.len()].copy_from_slice(chunk);
            values.extend_from_slice(&self.eval_lanes(lanes)[..chunk.len()]);
        }
        values
    }

    fn eval_lanes<const LANES: usize>(&self, x: [f64; LANES]) -> [f64; LANES] {
        match self.basis {
            Basis::Monomial {} => (self.coeffs.iter().rev()).fold([0.0; LANES], |sum, c| {
                std::array::from_fn(|lane| sum[lane] * x[lane] + c)
            }),
            Basis::Chebyshev {} => {
                let t = x.map(|x| (2.0 * x - self.low - self.high) / (self.high - self.low));
                let (mut b1, mut b2) = ([0.0; LANES], [0.0; LANES]);
                for c in self.coeffs.iter().skip(1).rev() {
                    let next = std::array::from_fn(|lane| 2.0 * t[lane] * b1[lane] - b2[lane] + c);
                    (b1, b2) = (next, b1);
                }
                let constant = self.coeffs.first().copied().unwrap_or(0.0);
                std::array::from_fn(|lane| t[lane] * b1[lane] - b2[lane] + constant)
            }
        }
    }
}
