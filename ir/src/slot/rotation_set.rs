//! Sets of rotations modulo a period, one bit each: what a pair of ciphertexts keeps of its diagonals while they are looked for.
//!
//! Assumes: the period is a power of two.
//! Ensures: turning a set costs one step for every word that is not empty, whatever the set holds.

use std::sync::atomic::{AtomicU64, Ordering};

/// A set of rotations in `0..period`.
#[derive(Clone, Debug)]
pub(super) struct RotationSet {
    words: Vec<u64>,
    period: usize,
}

impl RotationSet {
    pub(super) fn empty(period: usize) -> Self {
        RotationSet {
            words: vec![0; period.div_ceil(64)],
            period,
        }
    }

    /// The set of the rotation by nothing.
    pub(super) fn zero(period: usize) -> Self {
        let mut set = RotationSet::empty(period);
        set.words[0] = 1;
        set
    }

    pub(super) fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The rotations, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(position, &word)| {
            let rest = |&word: &u64| Some(word & (word - 1)).filter(|&rest| rest != 0);
            let words = std::iter::successors(Some(word).filter(|&word| word != 0), rest);
            words.map(move |word| position * 64 + word.trailing_zeros() as usize)
        })
    }

    /// Adds all rotations of `others`, each further by `by` in `0..period`.
    pub(super) fn add_turned(&mut self, others: &RotationSet, by: usize) {
        if self.period < 64 {
            let word = others.words[0];
            let mask = (1 << self.period) - 1;
            self.words[0] |= ((word << by) | (word >> (self.period - by))) & mask;
            return;
        }
        let mask = self.words.len() - 1;
        let (ahead, bits) = (by / 64, by % 64);
        for (position, &word) in others.words.iter().enumerate().filter(|(_, word)| **word != 0) {
            self.words[(position + ahead) & mask] |= word << bits;
            if bits > 0 {
                self.words[(position + ahead + 1) & mask] |= word >> (64 - bits);
            }
        }
    }

    pub(super) fn add_all(&mut self, others: &RotationSet) {
        self.add_turned(others, 0);
    }
}

/// A set that several threads fill at once.
pub(super) struct SharedRotationSet {
    words: Vec<AtomicU64>,
    period: usize,
}

impl SharedRotationSet {
    pub(super) fn empty(period: usize) -> Self {
        SharedRotationSet {
            words: (0..period.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            period,
        }
    }

    pub(super) fn insert(&self, rotation: usize) {
        let (word, bit) = (&self.words[rotation / 64], 1 << (rotation % 64));
        // Most rotations are met many times: to read a word leaves it with both cores, to write it does not.
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    pub(super) fn into_set(self) -> RotationSet {
        RotationSet {
            words: self.words.into_iter().map(AtomicU64::into_inner).collect(),
            period: self.period,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn turns_and_joins_as_a_set_of_numbers(
            log_period in 0_u32..10,
            rotations in prop::collection::vec(0_usize..1024, 0..40),
            by in 0_usize..1024,
        ) {
            let period = 1 << log_period;
            let shared = SharedRotationSet::empty(period);
            rotations.iter().for_each(|rotation| shared.insert(rotation % period));
            let set = shared.into_set();
            let expected: BTreeSet<usize> = rotations.iter().map(|rotation| rotation % period).collect();
            prop_assert!(set.iter().eq(expected.iter().copied()));
            prop_assert_eq!(set.len(), expected.len());

            let mut turned = RotationSet::zero(period);
            turned.add_turned(&set, by % period);
            let mut expected: BTreeSet<usize> = expected.iter().map(|rotation| (rotation + by) % period).collect();
            expected.insert(0);
            prop_assert!(turned.iter().eq(expected.iter().copied()));
            turned.add_all(&set);
            expected.extend(set.iter());
            prop_assert!(turned.iter().eq(expected.iter().copied()));
        }
    }
}
