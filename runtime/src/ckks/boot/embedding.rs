//! The canonical embedding as a product of sparse matrices, each a handful of generalised diagonals.
//!
//! Assumes a slot count and a number of factors not above its logarithm. Ensures, for w the bit-reversed complex
//! coefficients of a polynomial and z its slots: the product of [`slots_to_coeffs_factors`] maps w to z, that of
//! [`coeffs_to_slots_factors`] maps z to w. The bit reversal never happens: what lies between works slot by slot.
//! Source: Chen, Chillotti, Song, "Improved Bootstrapping for Approximate Homomorphic Encryption", EUROCRYPT 2019
//! (factorisation into butterfly stages, grouped); Cheon, Han, Hhan, "Faster Homomorphic Discrete Fourier Transforms and
//! Improved FHE Bootstrapping", 2018.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::ckks::encoding::{Complex64, SpecialFft};
use crate::ckks::linear::{DiagonalIdx, Diagonals, LinearTransform};
use crate::error::Result;

const I: Complex64 = Complex64::new(0.0, 1.0);

/// A square matrix by its diagonals: `diagonals[d][j]` multiplies `x[(j + d) mod slots]` on its way to `y[j]`.
#[derive(Debug, Clone)]
pub(super) struct DiagonalMatrix {
    slots: usize,
    diagonals: BTreeMap<usize, Vec<Complex64>>,
}

impl DiagonalMatrix {
    fn identity(slots: usize) -> Self {
        let ones = vec![Complex64::from(1.0); slots];
        Self {
            slots,
            diagonals: BTreeMap::from([(0, ones)]),
        }
    }

    /// The butterflies on halves of length 2^stage, in every block of `slots` slots: coefficients towards slots, or back.
    fn stage(fft: &SpecialFft, slots: usize, stage: usize, inverse: bool) -> Self {
        let half = 1usize << stage;
        let zero = || vec![Complex64::default(); slots];
        let (mut own, mut above, mut below) = (zero(), zero(), zero());
        for (j, root) in (0..slots).map(|j| (j, fft.stage_roots(stage)[j % half])) {
            let is_low = (j / half).is_multiple_of(2);
            let one = Complex64::from(1.0);
            // Forward: low = x + root * y, high = x - root * y. Back: low = (x + y) / 2, high = (x - y) / (2 root).
            let (from_low, from_high) = match (inverse, is_low) {
                (false, true) => (one, root),
                (false, false) => (one, root * -1.0),
                (true, true) => (one * 0.5, one * 0.5),
                (true, false) => (root.conj() * 0.5, root.conj() * -0.5),
            };
            if is_low {
                own[j] = from_low;
                above[j] = from_high;
            } else {
                below[j] = from_low;
                own[j] = from_high;
            }
        }
        let mut matrix = Self {
            slots,
            diagonals: BTreeMap::new(),
        };
        for (offset, values) in [(0, own), (half, above), (slots - half, below)] {
            matrix.add(offset, values.into_iter());
        }
        matrix
    }

    fn add(&mut self, offset: usize, values: impl Iterator<Item = Complex64>) {
        let slots = self.slots;
        let diagonal = self
            .diagonals
            .entry(offset % slots)
            .or_insert_with(|| vec![Complex64::default(); slots]);
        for (sum, value) in diagonal.iter_mut().zip(values) {
            *sum = *sum + value;
        }
    }

    /// This matrix applied after `first`.
    fn after(&self, first: &Self) -> Self {
        let mut product = Self {
            slots: self.slots,
            diagonals: BTreeMap::new(),
        };
        for (outer, a) in &self.diagonals {
            for (inner, b) in &first.diagonals {
                let terms = (0..self.slots).map(|j| a[j] * b[(j + outer) % self.slots]);
                product.add(outer + inner, terms);
            }
        }
        product
    }

    /// The same on vectors that repeat every `period` slots: such rotations are equal modulo the period.
    fn wrapped(self, period: usize) -> Self {
        let mut wrapped = Self {
            slots: self.slots,
            diagonals: BTreeMap::new(),
        };
        for (offset, values) in self.diagonals {
            wrapped.add(offset % period, values.into_iter());
        }
        wrapped
    }

    /// Multiplies row j by `factor(j)`.
    pub(super) fn scale_rows(&mut self, factor: impl Fn(usize) -> Complex64) {
        for values in self.diagonals.values_mut() {
            for (j, value) in values.iter_mut().enumerate() {
                *value = *value * factor(j);
            }
        }
    }

    /// The transform without giant steps.
    pub(super) fn into_babies(self) -> Result<(LinearTransform, BTreeMap<DiagonalIdx, Vec<Complex64>>)> {
        let slots = self.slots;
        let diagonals = self.diagonals.into_iter().map(|(d, values)| ((0, 0, d), values));
        LinearTransform::from_diagonals(slots, 1, 1, &diagonals.collect(), slots, Vec::new())
    }

    /// The transform of least cost among the two-step splits with a power of two of baby steps and chained giant steps; of
    /// fewest keys among equals.
    pub(super) fn into_transform(
        self,
        cost: impl Fn(&LinearTransform) -> f64,
    ) -> Result<(LinearTransform, BTreeMap<DiagonalIdx, Vec<Complex64>>)> {
        let slots = self.slots;
        let stride = self.diagonals.keys().filter(|d| **d > 0).min().copied().unwrap_or(1);
        let offsets: Vec<usize> = self.diagonals.keys().copied().collect();
        let shape = |period: usize| {
            let split = |offset: &usize| DiagonalIdx {
                out: 0,
                giant: offset - offset % period,
                input: 0,
                baby: offset % period,
            };
            let places = offsets.iter().map(split).collect();
            LinearTransform::new(slots, 1, 1, places, Vec::new())?.with_chained_giants()
        };
        let mut best = (stride, shape(stride)?);
        let is_better = |new: &LinearTransform, old: &LinearTransform| {
            let keys = |shape: &LinearTransform| shape.rotations(0).len();
            (cost(new), keys(new)) < (cost(old), keys(old))
        };
        let mut period = 2 * stride;
        while period <= slots {
            let candidate = shape(period)?;
            if is_better(&candidate, &best.1) {
                best = (period, candidate);
            }
            period *= 2;
        }
        let diagonals: Diagonals = self
            .diagonals
            .into_iter()
            .map(|(d, values)| ((0, 0, d), values))
            .collect();
        let (_, values) = LinearTransform::from_diagonals(slots, 1, 1, &diagonals, best.0, Vec::new())?;
        Ok((best.1, values))
    }

    #[cfg(test)]
    pub(super) fn apply(&self, x: &[Complex64]) -> Vec<Complex64> {
        let row = |j: usize| {
            let terms = self.diagonals.iter().map(|(d, a)| a[j] * x[(j + d) % self.slots]);
            terms.fold(Complex64::default(), |sum, term| sum + term)
        };
        (0..self.slots).map(row).collect()
    }
}

/// Stages as evenly spread over factors as can be, the most first.
pub(super) fn run_lengths(stages: usize, factors: usize) -> Vec<usize> {
    (0..factors)
        .map(|i| stages / factors + usize::from(i < stages % factors))
        .collect()
}

/// Consecutive runs of stages of these lengths.
fn runs(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut start = 0;
    let to_range = |length| {
        start += length;
        start - length..start
    };
    lengths.iter().copied().map(to_range).collect()
}

/// How many factors a transform of `slots` slots can have at most.
pub(super) fn max_factors(slots: usize) -> usize {
    slots.trailing_zeros().max(1) as usize
}

/// Slots to coefficients-in-slots, with so many butterfly stages each: the first factor holds the longest butterflies. `width` is
/// `slots` or a multiple, every block of `slots` being mapped alike; what is transformed repeats every `slots`.
pub(super) fn coeffs_to_slots_factors(
    fft: &SpecialFft,
    slots: usize,
    width: usize,
    lengths: &[usize],
) -> Vec<DiagonalMatrix> {
    let stages = slots.trailing_zeros() as usize;
    let products = runs(lengths).into_iter().map(|run| {
        run.fold(DiagonalMatrix::identity(width), |product, i| {
            DiagonalMatrix::stage(fft, width, stages - 1 - i, true).after(&product)
        })
    });
    let wrap = |(i, factor): (usize, DiagonalMatrix)| if i == 0 { factor.wrapped(slots) } else { factor };
    products.enumerate().map(wrap).collect()
}

/// Coefficients-in-slots to slots: the reverse of [`coeffs_to_slots_factors`], which takes the stages in the reverse order.
pub(super) fn slots_to_coeffs_factors(
    fft: &SpecialFft,
    slots: usize,
    width: usize,
    lengths: &[usize],
) -> Vec<DiagonalMatrix> {
    let stages = slots.trailing_zeros() as usize;
    runs(lengths)
        .into_iter()
        .rev()
        .map(|run| {
            run.rev().fold(DiagonalMatrix::identity(width), |product, i| {
                DiagonalMatrix::stage(fft, width, stages - 1 - i, false).after(&product)
            })
        })
        .collect()
}

/// 1 in the first half of the slots, `second` in the other.
pub(super) fn halves(slots: usize, second: Complex64) -> impl Fn(usize) -> Complex64 {
    move |j| if j < slots / 2 { Complex64::from(1.0) } else { second }
}

/// i, and -i.
pub(super) const UNIT_I: [Complex64; 2] = [I, I.conj()];

#[cfg(test)]
mod tests {
    use super::*;

    fn bit_reversed(w: &[Complex64]) -> Vec<Complex64> {
        let shift = usize::BITS - w.len().trailing_zeros();
        (0..w.len())
            .map(|i| {
                if w.len() == 1 {
                    w[0]
                } else {
                    w[i.reverse_bits() >> shift]
                }
            })
            .collect()
    }

    #[test]
    fn factors_multiply_to_the_embedding() {
        for log_slots in 1..=8usize {
            let slots = 1 << log_slots;
            let fft = SpecialFft::new(slots);
            let w: Vec<_> = (0..slots)
                .map(|i| Complex64::new((i as f64).sin(), (1.7 * i as f64).cos()))
                .collect();
            let mut z = w.clone();
            fft.forward(&mut z);
            for factors in 1..=log_slots.min(4) {
                for width in [slots, 2 * slots] {
                    let repeat = |v: &[Complex64]| v.repeat(width / slots);
                    let apply = |factors: Vec<DiagonalMatrix>, x: Vec<Complex64>| {
                        factors.iter().fold(x, |x, factor| factor.apply(&x))
                    };
                    let close =
                        |a: &[Complex64], b: &[Complex64]| a.iter().zip(b).all(|(a, b)| (*a - *b).abs() < 1e-10);
                    let mut lengths = run_lengths(log_slots, factors);
                    let to_slots = slots_to_coeffs_factors(&fft, slots, width, &lengths);
                    assert!(close(&apply(to_slots, repeat(&bit_reversed(&w))), &repeat(&z)));
                    lengths.reverse();
                    let to_coeffs = coeffs_to_slots_factors(&fft, slots, width, &lengths);
                    assert!(close(&apply(to_coeffs, repeat(&z)), &repeat(&bit_reversed(&w))));
                }
            }
        }
    }

    #[test]
    fn a_factor_has_few_diagonals_and_a_cheap_split() {
        let fft = SpecialFft::new(1 << 12);
        let counts = |width: usize| -> Vec<usize> {
            let factors = coeffs_to_slots_factors(&fft, 1 << 12, width, &[5, 3, 4]);
            factors.iter().map(|factor| factor.diagonals.len()).collect()
        };
        // The longest butterflies wrap around; otherwise 2^4 stages reach 15 places to either side.
        assert_eq!([1 << 12, 1 << 13].map(counts), [[32, 15, 31], [32, 15, 31]]);
        let factors = coeffs_to_slots_factors(&fft, 1 << 12, 1 << 12, &[4, 4, 4]);
        for factor in factors {
            let (shape, values) = factor.into_transform(|shape| shape.key_switches() as f64).unwrap();
            assert_eq!(shape.diagonals().len(), values.len());
            assert!(shape.key_switches() <= 10, "{}", shape.key_switches());
            assert!(shape.rotations(5).len() <= 5, "{:?}", shape.rotations(5));
        }
    }
}
