//! What a bootstrap costs, in transforms of one limb: what the planner and the splits of the linear transforms compare.
//!
//! Assumes hybrid key switching as `ring` does it; see runtime/README.md for the counts. Ensures nothing about seconds: other
//! passes over a limb are weighted as they were measured beside transforms at N = 2^16.

use super::eval_mod::EvalMod;
use crate::ckks::linear::LinearTransform;

/// A multiply-add of the base conversion over one limb.
const CONVERSION: f64 = 0.06;
/// A product of two limbs that come from memory, added to a sum in cache.
const PRODUCT: f64 = 0.45;
/// An automorphism of one limb.
const AUTOMORPHISM: f64 = 0.5;
/// What a further key may save, in key switches: less is not worth its memory.
pub(super) const KEY: f64 = 0.25;

/// Shape of the key switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SwitchShape {
    /// Primes of every digit but perhaps the last.
    pub digit_primes: usize,
    /// Special primes in use at each level.
    pub special: Vec<usize>,
}

impl SwitchShape {
    /// Special primes of the whole chain.
    pub(super) fn special_primes(&self) -> usize {
        self.special.last().copied().unwrap_or(0)
    }

    /// Limbs of a key's half.
    pub(super) fn key_limbs(&self, level: usize) -> usize {
        self.digits(level) * self.raised_limbs(level)
    }

    fn raised_limbs(&self, level: usize) -> usize {
        level + 1 + self.special[level]
    }

    fn digits(&self, level: usize) -> usize {
        (level + 1).div_ceil(self.digit_primes)
    }

    /// Raising all digits of a polynomial.
    fn decompose(&self, level: usize) -> f64 {
        let (limbs, digits) = (self.raised_limbs(level), self.digits(level));
        let width = self.digit_primes.min(level + 1);
        (digits * limbs) as f64 + CONVERSION * (digits * (width + 1) * (limbs - width)) as f64
    }

    /// Products of raised digits with a key.
    fn products(&self, level: usize) -> f64 {
        PRODUCT * (2 * self.digits(level) * self.raised_limbs(level)) as f64
    }

    /// Division of one polynomial by the special primes.
    fn division(&self, level: usize) -> f64 {
        self.raised_limbs(level) as f64 + CONVERSION * ((self.special[level] + 1) * (level + 1)) as f64
    }

    /// A whole key switch.
    pub(super) fn switch(&self, level: usize) -> f64 {
        self.decompose(level) + self.products(level) + 2.0 * self.division(level)
    }

    /// Transforms of a limb in a key switch.
    pub(super) fn switch_transforms(&self, level: usize) -> usize {
        (self.digits(level) + 2) * self.raised_limbs(level)
    }

    /// A linear transform by its counts, keys included.
    pub(super) fn transform(&self, counts: &TransformCounts, level: usize) -> f64 {
        let limbs = self.raised_limbs(level) as f64;
        let baby = self.products(level) + 2.0 * AUTOMORPHISM * limbs;
        let giant = self.decompose(level) + self.division(level) + baby;
        self.decompose(level)
            + counts.babies as f64 * baby
            + counts.giants as f64 * giant
            + 2.0 * PRODUCT * counts.diagonals as f64 * limbs
            + 2.0 * self.division(level)
            + KEY * self.switch(level) * counts.keys as f64
    }

    /// Transforms of a limb in a linear transform.
    pub(super) fn transform_transforms(&self, counts: &TransformCounts, level: usize) -> usize {
        let limbs = self.raised_limbs(level);
        (1 + counts.giants) * self.digits(level) * limbs + (2 + counts.giants) * limbs
    }

    /// The reduction on a ladder.
    pub(super) fn reduction(&self, eval_mod: &EvalMod, ladder: &[usize]) -> f64 {
        let depths = eval_mod.relinearization_depths();
        depths.iter().map(|depth| self.switch(ladder[*depth])).sum()
    }
}

/// What decides the cost of a linear transform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TransformCounts {
    pub diagonals: usize,
    /// Rotated inputs.
    pub babies: usize,
    /// Rotations of sums.
    pub giants: usize,
    /// Rotations that need a key of their own.
    pub keys: usize,
}

impl TransformCounts {
    pub(super) fn of(shape: &LinearTransform) -> Self {
        let babies = shape.baby_uses().keys().filter(|(_, baby)| *baby != 0).count();
        Self {
            diagonals: shape.diagonals().len(),
            babies,
            giants: shape.key_switches() - babies,
            keys: shape.rotations(0).len(),
        }
    }

    /// Every split into baby and giant steps of a factor of this many butterfly stages: offsets from -(2^stages - 1) to
    /// 2^stages - 1, or 0 to 2^stages - 1 where the longest butterflies wrap around.
    pub(super) fn splits(stages: usize, wraps: bool) -> impl Iterator<Item = Self> {
        let log_span = stages + usize::from(!wraps);
        (0..=log_span).map(move |log_babies| Self {
            diagonals: (1 << log_span) - usize::from(!wraps),
            babies: (1 << log_babies) - 1,
            giants: (1 << (log_span - log_babies)) - 1,
            // Chained giant steps have one for each direction.
            keys: (1 << log_babies) - 1 + if wraps { 1 } else { 2 }.min((1 << (log_span - log_babies)) - 1),
        })
    }
}
