//! What a bootstrap costs, in transforms of one limb: what the planner and the splits of the linear transforms compare.
//!
//! Assumes the digits of every level (`params::LevelGadget`). Ensures nothing about seconds.

use super::eval_mod::EvalMod;
use crate::ckks::linear::LinearTransform;
use crate::ckks::params::{LevelGadget, SwitchWork};

/// What a further key may save, in key switches: less is not worth its memory.
pub(super) const KEY: f64 = 0.25;

/// Shape of the key switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SwitchShape {
    /// Digits and special primes by level.
    pub gadgets: Vec<LevelGadget>,
}

impl SwitchShape {
    /// Digits of the whole chain.
    pub(super) fn digits(&self) -> usize {
        self.gadgets.len().div_ceil(self.digit_primes())
    }

    /// Primes of every digit of the whole chain but perhaps the last.
    pub(super) fn digit_primes(&self) -> usize {
        self.gadgets.last().map_or(1, |gadget| gadget.digit_primes)
    }

    /// Digits of a level.
    pub(super) fn digits_at(&self, level: usize) -> usize {
        self.work(level).digits()
    }

    /// Special primes of the whole chain.
    pub(super) fn special_primes(&self) -> usize {
        self.gadgets.last().map_or(0, |gadget| gadget.special)
    }

    /// Limbs of a key's half.
    pub(super) fn key_limbs(&self, level: usize) -> usize {
        let work = self.work(level);
        work.digits() * work.raised_limbs()
    }

    fn work(&self, level: usize) -> SwitchWork {
        self.gadgets[level].work(level)
    }

    /// A whole key switch.
    pub(super) fn switch(&self, level: usize) -> f64 {
        self.work(level).switch()
    }

    /// Transforms of a limb in a key switch.
    pub(super) fn switch_transforms(&self, level: usize) -> usize {
        let work = self.work(level);
        (work.digits() + 2) * work.raised_limbs()
    }

    /// A linear transform by its counts, keys included.
    pub(super) fn transform(&self, counts: &TransformCounts, level: usize) -> f64 {
        let work = self.work(level);
        work.transform(counts.babies, counts.giants, counts.diagonals) + KEY * work.switch() * counts.keys as f64
    }

    /// Transforms of a limb in a linear transform.
    pub(super) fn transform_transforms(&self, counts: &TransformCounts, level: usize) -> usize {
        let work = self.work(level);
        ((1 + counts.giants) * work.digits() + 2 + counts.giants) * work.raised_limbs()
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
