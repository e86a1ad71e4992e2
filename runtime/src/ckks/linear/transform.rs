//! The shape of a block linear transform in baby-step/giant-step form, without its numbers.
//!
//! Output `o` of the transform is
//! `fold( sum over giant g of rot_g( sum over input i, baby b of diagonal[o, g, i, b] * rot_b(x_i) ) )`,
//! where `rot_r(v)[j] = v[(j + r) mod slots]`, products are slot by slot, and `fold` replaces y by y + rot_r(y) for each
//! r in turn. The generalised diagonal of offset g + b is thus expected rotated right by g beforehand;
//! [`LinearTransform::from_diagonals`] does that.
//!
//! Source: Halevi, Shoup, "Faster Homomorphic Linear Transformations in HElib", CRYPTO 2018, sections 4.1 and 4.3.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ckks::encoding::Complex64;
use crate::error::{Error, Result};

/// Where a diagonal acts. Ordered by output, giant step, input, baby step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DiagonalIdx {
    /// Output ciphertext.
    pub out: usize,
    /// Rotation applied to the sum this diagonal is part of.
    pub giant: usize,
    /// Input ciphertext.
    pub input: usize,
    /// Rotation applied to the input.
    pub baby: usize,
}

/// A checked transform shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearTransform {
    slots: usize,
    n_inputs: usize,
    n_outputs: usize,
    diagonals: Vec<DiagonalIdx>,
    folds: Vec<usize>,
    chained_giants: bool,
}

/// Generalised diagonals by (output, input, offset): `diagonals[(o, i, d)][j]` multiplies `x_i[(j + d) mod slots]` on
/// its way to `y_o[j]`.
pub type Diagonals = BTreeMap<(usize, usize, usize), Vec<Complex64>>;

impl LinearTransform {
    /// A transform between `n_inputs` and `n_outputs` ciphertexts of `slots` slots with diagonals at the given places,
    /// in any order, followed by the rotate-and-add steps `folds`.
    ///
    /// # Errors
    /// [`Error::InvalidLinearTransform`] for a place out of range or given twice, and for an output without diagonals.
    pub fn new(
        slots: usize,
        n_inputs: usize,
        n_outputs: usize,
        mut diagonals: Vec<DiagonalIdx>,
        folds: Vec<usize>,
    ) -> Result<Self> {
        let invalid = |reason: String| Err(Error::InvalidLinearTransform { reason });
        if !slots.is_power_of_two() {
            return invalid(format!("{slots} slots are not a power of two"));
        }
        for idx in &diagonals {
            if idx.out >= n_outputs || idx.input >= n_inputs {
                return invalid(format!(
                    "{idx:?} lies outside {n_inputs} inputs and {n_outputs} outputs"
                ));
            }
            if idx.giant >= slots || idx.baby >= slots {
                return invalid(format!("{idx:?} rotates by {slots} slots or more"));
            }
        }
        if let Some(fold) = folds.iter().find(|fold| **fold == 0 || **fold >= slots) {
            return invalid(format!("fold by {fold} with {slots} slots"));
        }
        diagonals.sort_unstable();
        if let Some(pair) = diagonals.windows(2).find(|pair| pair[0] == pair[1]) {
            return invalid(format!("{:?} is given twice", pair[0]));
        }
        let outputs: BTreeSet<_> = diagonals.iter().map(|idx| idx.out).collect();
        if let Some(missing) = (0..n_outputs).find(|out| !outputs.contains(out)) {
            return invalid(format!("output {missing} has no diagonal: it would be zero"));
        }
        Ok(Self {
            slots,
            n_inputs,
            n_outputs,
            diagonals,
            folds,
            chained_giants: false,
        })
    }

    /// The same transform with its giant steps taken one after the other, each a repetition of the smallest of its
    /// direction: as many key switches where the steps are evenly spaced, one key for each direction, less parallel.
    ///
    /// # Errors
    /// [`Error::InvalidLinearTransform`] when a giant step is no multiple of the smallest of its direction.
    pub fn with_chained_giants(mut self) -> Result<Self> {
        self.chained_giants = true;
        let [forward, backward] = self.chain_steps();
        for giant in self.diagonals.iter().map(|idx| idx.giant).filter(|giant| *giant != 0) {
            let is_multiple = if giant <= self.slots / 2 {
                giant.is_multiple_of(forward)
            } else {
                (self.slots - giant).is_multiple_of(self.slots - backward)
            };
            if !is_multiple {
                let reason = format!("giant step {giant} is no multiple of the chain's {forward} or {backward}");
                return Err(Error::InvalidLinearTransform { reason });
            }
        }
        Ok(self)
    }

    /// Whether giant steps are taken one after the other.
    #[must_use]
    pub fn has_chained_giants(&self) -> bool {
        self.chained_giants
    }

    /// The giant steps nearest to zero: forwards (up to half the slots) and backwards; 0 where there is none.
    #[must_use]
    pub fn chain_steps(&self) -> [usize; 2] {
        let giants = || self.diagonals.iter().map(|idx| idx.giant).filter(|giant| *giant != 0);
        let half = self.slots / 2;
        [
            giants().filter(|giant| *giant <= half).min().unwrap_or(0),
            giants().filter(|giant| *giant > half).max().unwrap_or(0),
        ]
    }

    /// Splits plain diagonals: the baby step of offset d is d mod `baby_period`, the rest is the giant step. Returns
    /// the shape and the values, rotated as the shape expects them.
    ///
    /// # Errors
    /// As [`LinearTransform::new`]; also for a diagonal that has not one value per slot and for a zero period.
    pub fn from_diagonals(
        slots: usize,
        n_inputs: usize,
        n_outputs: usize,
        diagonals: &Diagonals,
        baby_period: usize,
        folds: Vec<usize>,
    ) -> Result<(Self, BTreeMap<DiagonalIdx, Vec<Complex64>>)> {
        if baby_period == 0 {
            return Err(Error::InvalidLinearTransform {
                reason: "the baby period is zero".into(),
            });
        }
        let mut values = BTreeMap::new();
        for (&(out, input, offset), diagonal) in diagonals {
            if diagonal.len() != slots || offset >= slots {
                let reason = format!("diagonal {offset} of block ({out}, {input}): {} values", diagonal.len());
                return Err(Error::InvalidLinearTransform { reason });
            }
            let baby = offset % baby_period;
            let idx = DiagonalIdx {
                out,
                giant: offset - baby,
                input,
                baby,
            };
            let mut rotated = diagonal.clone();
            rotated.rotate_right(idx.giant);
            values.insert(idx, rotated);
        }
        let shape = Self::new(slots, n_inputs, n_outputs, values.keys().copied().collect(), folds)?;
        Ok((shape, values))
    }

    /// Slots of every input and output.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Number of input ciphertexts.
    #[must_use]
    pub fn n_inputs(&self) -> usize {
        self.n_inputs
    }

    /// Number of output ciphertexts.
    #[must_use]
    pub fn n_outputs(&self) -> usize {
        self.n_outputs
    }

    /// Places of all diagonals, in order.
    #[must_use]
    pub fn diagonals(&self) -> &[DiagonalIdx] {
        &self.diagonals
    }

    /// Rotate-and-add steps applied to every output at the end.
    #[must_use]
    pub fn folds(&self) -> &[usize] {
        &self.folds
    }

    /// The (input, baby step) pairs in use, with the number of diagonals that read each.
    #[must_use]
    pub fn baby_uses(&self) -> BTreeMap<(usize, usize), usize> {
        let mut uses = BTreeMap::new();
        for idx in &self.diagonals {
            *uses.entry((idx.input, idx.baby)).or_insert(0) += 1;
        }
        uses
    }

    /// The diagonals grouped by (output, giant step), in order.
    pub fn groups(&self) -> impl Iterator<Item = &[DiagonalIdx]> {
        self.diagonals.chunk_by(|a, b| (a.out, a.giant) == (b.out, b.giant))
    }

    /// Every rotation that needs a key, with the levels it is used at when the transform works at `level`: baby and
    /// giant steps at `level`, folds one below.
    #[must_use]
    pub fn rotations(&self, level: usize) -> BTreeMap<usize, BTreeSet<usize>> {
        let mut rotations: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let giants: Vec<usize> = if self.chained_giants {
            self.chain_steps().into()
        } else {
            self.diagonals.iter().map(|idx| idx.giant).collect()
        };
        let babies = self.diagonals.iter().map(|idx| idx.baby);
        let steps = babies.chain(giants).filter(|step| *step != 0);
        let folds = self.folds.iter().map(|fold| (*fold, level.saturating_sub(1)));
        for (step, level) in folds.chain(steps.map(|step| (step, level))) {
            rotations.entry(step).or_default().insert(level);
        }
        rotations
    }

    /// Key switches: one for each rotated (input, baby step), each non-zero giant step of an output, each fold.
    #[must_use]
    pub fn key_switches(&self) -> usize {
        let babies = self.baby_uses().keys().filter(|(_, baby)| *baby != 0).count();
        let giants = self.groups().filter(|group| group[0].giant != 0).count();
        babies + giants + self.folds.len() * self.n_outputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idx(out: usize, giant: usize, input: usize, baby: usize) -> DiagonalIdx {
        DiagonalIdx {
            out,
            giant,
            input,
            baby,
        }
    }

    #[test]
    fn shape_counts_its_rotations() {
        let diagonals = vec![
            idx(0, 4, 0, 1),
            idx(0, 0, 0, 1),
            idx(0, 0, 1, 0),
            idx(1, 4, 0, 3),
            idx(1, 0, 1, 1),
        ];
        let shape = LinearTransform::new(8, 2, 2, diagonals, vec![2]).unwrap();
        let expected = [(1, 5), (2, 4), (3, 5), (4, 5)].map(|(step, level)| (step, BTreeSet::from([level])));
        assert_eq!(shape.rotations(5), BTreeMap::from(expected));
        assert_eq!(shape.key_switches(), 3 + 2 + 2);
        assert_eq!(shape.baby_uses()[&(0, 1)], 2);
        assert_eq!(shape.groups().count(), 4);
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let refused = |diagonals: Vec<DiagonalIdx>, folds| LinearTransform::new(8, 1, 1, diagonals, folds).is_err();
        assert!(refused(vec![idx(1, 0, 0, 0)], vec![]));
        assert!(refused(vec![idx(0, 8, 0, 0)], vec![]));
        assert!(refused(vec![idx(0, 0, 0, 0), idx(0, 0, 0, 0)], vec![]));
        assert!(refused(vec![], vec![]));
        assert!(refused(vec![idx(0, 0, 0, 0)], vec![0]));
    }

    #[test]
    fn split_diagonals_are_rotated_by_their_giant_step() {
        let values: Vec<_> = (0..8).map(|j| Complex64::from(f64::from(j))).collect();
        let diagonals = Diagonals::from([((0, 0, 6), values)]);
        let (shape, values) = LinearTransform::from_diagonals(8, 1, 1, &diagonals, 4, vec![]).unwrap();
        assert_eq!(shape.diagonals(), [idx(0, 4, 0, 2)]);
        let rotated: Vec<_> = values[&idx(0, 4, 0, 2)].iter().map(|v| v.re).collect();
        assert_eq!(rotated, [4.0, 5.0, 6.0, 7.0, 0.0, 1.0, 2.0, 3.0]);
    }
}
