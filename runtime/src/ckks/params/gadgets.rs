//! Digits of the hybrid key switch, level by level.
//!
//! A key for low levels has room for more special primes: the ciphertext primes above its level are not used there, and with them
//! its modulus stays a divisor of Q P, which is what security is judged by. More special primes allow wider digits, hence
//! fewer. Levels fall into *bands*, in each of which digits are equally wide and keys carry the product of the same special
//! primes, so that one key serves the band; a use takes as many of them as exceed its largest digit (see
//! [`RingContext::decompose`](crate::ring::RingContext::decompose)).
//!
//! Assumes nothing of the primes' sizes. Ensures bands that follow from the sizes alone, of at most the top level's noise or the
//! margin of [`KEY_SWITCH_MARGIN_BITS`]. Method: from the highest level down, a band ends where the best digits would save
//! [`SAVING`] of the work of some key switches and a linear transform: more bands would take more keys for a rotation.
//!
//! Source: Han, Ki, "Better Bootstrapping for Approximate Homomorphic Encryption", CT-RSA 2020, section 3, for one level.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::KEY_SWITCH_MARGIN_BITS;
use super::switch_work::SwitchWork;

/// The part of the work that begins a new band.
const SAVING: f64 = 0.08;
/// What the digits of a level are compared by: key switches, and a linear transform with babies, giants and diagonals.
const SWITCHES: f64 = 4.0;
const TRANSFORM: [usize; 3] = [8, 3, 32];
/// What the margin may miss, in bits: primes that lie near the sizes that were asked for count as if they had them.
const SLACK: f64 = 0.25;

/// How key switching cuts polynomials of a level into digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LevelGadget {
    /// Primes of every digit but perhaps the last.
    pub digit_primes: usize,
    /// Special primes in use: from the front of `p_0, ..., p_{k-1}, q_L, q_{L-1}, ...`.
    pub special: usize,
    /// Special primes whose product keys of the band carry.
    pub key_special: usize,
    /// The highest level of the band.
    pub band_top: usize,
}

impl LevelGadget {
    pub(crate) fn work(&self, level: usize) -> SwitchWork {
        SwitchWork::new(level, self.digit_primes, self.special)
    }
}

/// The gadget of every level of a chain of primes, given by their log2; `digit_primes` is the width of digits at the top.
#[must_use]
pub fn level_gadgets(log_q: &[f64], log_p: &[f64], digit_primes: usize) -> Vec<LevelGadget> {
    let digit_primes = digit_primes.max(1);
    let sizes = Sizes::new(log_q, log_p, digit_primes);
    let Some(top) = log_q.len().checked_sub(1) else {
        return Vec::new();
    };
    let mut band = LevelGadget {
        digit_primes,
        special: log_p.len(),
        key_special: log_p.len(),
        band_top: top,
    };
    let mut found = Vec::with_capacity(log_q.len());
    for level in (0..=top).rev() {
        let special = sizes.special(level, band.digit_primes).unwrap_or(band.key_special);
        let current = LevelGadget {
            special: special.min(band.key_special),
            ..band
        };
        let best = sizes.best(level, current.work(level).digits() + 1);
        band = match best {
            Some((least, gadget)) if level < top && least < (1.0 - SAVING) * work(level, &current) => gadget,
            _ => current,
        };
        found.push(band);
    }
    found.reverse();
    found
}

/// Levels by the keys that serve them: all levels of a band take the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBands {
    /// The highest level of each level's band.
    tops: Vec<usize>,
}

impl KeyBands {
    /// The bands of a chain whose digits have this many primes, by level: a band is a run of levels with equally wide digits.
    #[must_use]
    pub fn new(digit_primes: &[usize]) -> Self {
        let runs = digit_primes.chunk_by(|a, b| a == b);
        let tops = runs.scan(0, |end, run| {
            *end += run.len();
            Some(std::iter::repeat_n(*end - 1, run.len()))
        });
        Self {
            tops: tops.flatten().collect(),
        }
    }

    /// The bands of a chain with these gadgets.
    #[must_use]
    pub fn of(gadgets: &[LevelGadget]) -> Self {
        let digit_primes: Vec<usize> = gadgets.iter().map(|gadget| gadget.digit_primes).collect();
        Self::new(&digit_primes)
    }

    /// The highest level of the band that a level is in; a level that the chain does not have is a band of its own.
    #[must_use]
    pub fn top(&self, level: usize) -> usize {
        self.tops.get(level).copied().unwrap_or(level)
    }

    /// Of some levels, the highest in each band, rising.
    #[must_use]
    pub fn highest(&self, levels: &BTreeSet<usize>) -> BTreeSet<usize> {
        let by_band: BTreeMap<usize, usize> = levels.iter().map(|level| (self.top(*level), *level)).collect();
        by_band.into_values().collect()
    }
}

fn work(level: usize, gadget: &LevelGadget) -> f64 {
    let [babies, giants, diagonals] = TRANSFORM;
    let work = gadget.work(level);
    SWITCHES * work.switch() + work.transform(babies, giants, diagonals)
}

/// Sizes of primes, as sums of their log2 from the front.
struct Sizes {
    q: Vec<f64>,
    special: Vec<f64>,
    n_p: usize,
    /// What special primes are to exceed digits by.
    margin: f64,
}

impl Sizes {
    fn new(log_q: &[f64], log_p: &[f64], digit_primes: usize) -> Self {
        let sums = |sizes: &mut dyn Iterator<Item = f64>| {
            let mut sums = vec![0.0];
            sums.extend(sizes.scan(0.0, |sum, size| {
                *sum += size;
                Some(*sum)
            }));
            sums
        };
        let mut found = Self {
            q: sums(&mut log_q.iter().copied()),
            special: sums(&mut log_p.iter().chain(log_q.iter().rev()).copied()),
            n_p: log_p.len(),
            margin: KEY_SWITCH_MARGIN_BITS,
        };
        let top = found.special[found.n_p] - found.largest_digit(log_q.len(), digit_primes);
        found.margin = found.margin.min(top) - SLACK;
        found
    }

    /// log2 of the largest digit of so many primes.
    fn largest_digit(&self, limbs: usize, digit_primes: usize) -> f64 {
        let starts = (0..limbs).step_by(digit_primes);
        let digit = |start: usize| self.q[limbs.min(start + digit_primes)] - self.q[start];
        starts.map(digit).fold(0.0, f64::max)
    }

    /// Special primes that a level's digits of this width take, if there are so many above it.
    fn special(&self, level: usize, digit_primes: usize) -> Option<usize> {
        let needed = self.largest_digit(level + 1, digit_primes) + self.margin;
        // q has a sum more than primes
        let available = self.n_p + self.q.len() - 2 - level;
        (1..=available).find(|count| self.special[*count] >= needed)
    }

    /// The gadget of least work for a level with up to so many digits, at the top of a band.
    fn best(&self, level: usize, digits: usize) -> Option<(f64, LevelGadget)> {
        let widths: BTreeSet<usize> = (1..=digits.min(level + 1))
            .map(|digits| (level + 1).div_ceil(digits))
            .collect();
        let gadgets = widths.into_iter().filter_map(|digit_primes| {
            let special = self.special(level, digit_primes)?;
            let gadget = LevelGadget {
                digit_primes,
                special,
                key_special: special,
                band_top: level,
            };
            Some((work(level, &gadget), gadget))
        });
        gadgets.min_by(|(a, _), (b, _)| a.total_cmp(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of sizes of what a level uses.
    fn check(log_q: &[f64], log_p: &[f64], digit_primes: usize) -> Vec<LevelGadget> {
        let gadgets = level_gadgets(log_q, log_p, digit_primes);
        let sizes = Sizes::new(log_q, log_p, digit_primes);
        assert_eq!(gadgets.len(), log_q.len());
        let bands = KeyBands::of(&gadgets);
        for (level, gadget) in gadgets.iter().enumerate() {
            let top = gadgets[gadget.band_top];
            assert!(level <= gadget.band_top && gadget.special >= 1 && gadget.special <= gadget.key_special);
            assert_eq!((top.band_top, top.digit_primes), (gadget.band_top, gadget.digit_primes));
            assert_eq!((top.special, top.key_special), (gadget.key_special, gadget.key_special));
            assert_eq!(bands.top(level), gadget.band_top);
            let digit = sizes.largest_digit(level + 1, gadget.digit_primes);
            assert!(sizes.special[gadget.special] >= digit + sizes.margin);
            // no prime twice, so that every key's modulus divides the whole one
            assert!(gadget.key_special <= log_p.len() + log_q.len() - 1 - gadget.band_top);
        }
        assert_eq!(gadgets[log_q.len() - 1].digit_primes, digit_primes);
        gadgets
    }

    fn bands(gadgets: &[LevelGadget]) -> Vec<(usize, usize, usize)> {
        let tops = gadgets
            .iter()
            .enumerate()
            .filter(|(level, gadget)| *level == gadget.band_top);
        let mut tops: Vec<_> = tops
            .map(|(level, gadget)| (level, gadget.digit_primes, gadget.special))
            .collect();
        tops.reverse();
        tops
    }

    #[test]
    fn digits_widen_towards_the_bottom() {
        // a bootstrap of 14 levels
        let log_q = [vec![48.0], vec![40.0; 17], vec![47.0; 10], vec![48.5; 4]].concat();
        let gadgets = check(&log_q, &[49.0; 7], 7);
        let expected = [
            (31, 7, 7),
            (30, 8, 8),
            (28, 10, 9),
            (25, 13, 12),
            (17, 9, 8),
            (13, 7, 6),
            (8, 9, 8),
        ];
        assert_eq!(bands(&gadgets), expected);
        assert_eq!([20, 10, 3].map(|level| gadgets[level].special), [11, 6, 4]);
        // small rings
        let log_q = [vec![48.0], vec![40.0; 8]].concat();
        assert_eq!(bands(&check(&log_q, &[49.9], 1)), [(8, 1, 1), (7, 2, 2), (4, 5, 5)]);
        assert_eq!(bands(&check(&[40.0, 30.0], &[44.0], 1)), [(1, 1, 1)]);
        assert_eq!(bands(&check(&[40.0], &[44.0], 1)), [(0, 1, 1)]);
    }

    #[test]
    fn any_sizes_have_gadgets() {
        assert!(level_gadgets(&[], &[49.0], 1).is_empty());
        let odd = [f64::NEG_INFINITY, 64.0, 0.0, 13.0, 1.0, 50.0];
        assert_eq!(level_gadgets(&odd, &[0.0], 2).len(), 6);
        assert_eq!(level_gadgets(&odd, &[], 7).len(), 6);
    }
}
