//! Closed intervals and what functions of one variable do to them.
//!
//! Ensures: for x in an interval, f(x) lies in the image, rounding included: results are rounded outwards by
//! [`ROUNDING`] of their magnitude.

use crate::approx::interpolate;
use aphelion_ir::nn::Func;
use aphelion_ir::slot::Polynomial;

/// Relative error that bounds the rounding of sums over 2^20 terms and of elementary functions.
pub(super) const ROUNDING: f64 = 1e-9;

/// All real numbers from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Smallest number.
    pub low: f64,
    /// Largest number.
    pub high: f64,
}

impl Interval {
    /// Holds no number.
    pub(crate) const EMPTY: Interval = Interval {
        low: f64::INFINITY,
        high: f64::NEG_INFINITY,
    };

    /// `[low, high]`.
    pub fn new(low: f64, high: f64) -> Self {
        Interval { low, high }
    }

    /// The smallest interval that holds all `values`.
    pub fn hull(values: impl Iterator<Item = f64>) -> Self {
        values.fold(Self::EMPTY, |hull, x| hull.union(Interval::new(x, x)))
    }

    /// The smallest interval that holds both.
    pub fn union(self, other: Self) -> Self {
        Interval::new(self.low.min(other.low), self.high.max(other.high))
    }

    /// Whether `x` lies inside.
    pub fn contains(&self, x: f64) -> bool {
        self.low <= x && x <= self.high
    }

    /// The interval with `factor` times the length and the same centre.
    pub fn widened(self, factor: f64) -> Self {
        let centre = 0.5 * self.low + 0.5 * self.high;
        let reach = factor * (0.5 * self.high - 0.5 * self.low);
        if reach == 0.0 {
            return self;
        }
        Interval::new((centre - reach).min(self.low), (centre + reach).max(self.high))
    }

    /// The interval with room for the rounding of the arithmetic that led to it.
    pub(super) fn rounded_outwards(self) -> Self {
        let room = ROUNDING * self.low.abs().max(self.high.abs());
        Interval::new(self.low - room, self.high + room)
    }

    /// Products of a number of `self` and one of `other`.
    pub(super) fn times(self, other: Self) -> Self {
        let corners = [
            self.low * other.low,
            self.low * other.high,
            self.high * other.low,
            self.high * other.high,
        ];
        Interval::hull(corners.into_iter()).rounded_outwards()
    }

    /// Numbers of `self` to the power `exponent`.
    pub(super) fn power(self, exponent: u32) -> Self {
        let (low, high) = (
            libm::pow(self.low, f64::from(exponent)),
            libm::pow(self.high, f64::from(exponent)),
        );
        let ends = Interval::hull([low, high].into_iter());
        let image = if exponent.is_multiple_of(2) && self.contains(0.0) {
            ends.union(Interval::new(0.0, 0.0))
        } else {
            ends
        };
        image.rounded_outwards()
    }

    /// Values of `func`; `None` when it is not defined on all of the interval.
    pub(super) fn image(self, func: &Func) -> Option<Self> {
        let is_defined = match func {
            Func::Sqrt {} => self.low >= 0.0,
            Func::Reciprocal {} => !self.contains(0.0),
            _ => true,
        };
        // Where a function that is not monotone turns.
        let turn = match func {
            Func::Abs {} => Some(0.0),
            Func::LeakyRelu { alpha } if *alpha < 0.0 => Some(0.0),
            Func::HardSwish {} => Some(-1.5),
            Func::Silu {} => Some(-1.278_464_542_761_074),
            Func::Gelu {} => Some(-0.751_791_524_693_564_4),
            Func::GeluTanh {} => Some(-0.752_461_422_070_910_6),
            _ => None,
        };
        let points = [Some(self.low), Some(self.high), turn.filter(|x| self.contains(*x))];
        let image = Interval::hull(points.into_iter().flatten().map(|x| func.eval(x)));
        let is_finite = image.low.is_finite() && image.high.is_finite();
        (is_defined && is_finite).then(|| image.rounded_outwards())
    }

    /// An interval that holds the values of a polynomial: |p - c_0| is at most the sum of the other Chebyshev
    /// coefficients' magnitudes on the interval itself.
    pub(super) fn image_of_polynomial(self, poly: &Polynomial) -> Option<Self> {
        if self.low == self.high {
            let value = poly.eval(self.low);
            return Some(Interval::new(value, value).rounded_outwards());
        }
        let expansion = interpolate(|x| poly.eval(x), (self.low, self.high), poly.degree()).ok()?;
        let reach: f64 = expansion.coeffs.iter().skip(1).map(|c| c.abs()).sum();
        let magnitude = expansion.coeffs[0].abs() + reach;
        let image = Interval::new(expansion.coeffs[0] - reach, expansion.coeffs[0] + reach);
        let room = ROUNDING * magnitude;
        Some(Interval::new(image.low - room, image.high + room)).filter(|image| image.low.is_finite())
    }
}
