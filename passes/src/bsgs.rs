//! Baby-step/giant-step splits: which rotations of the input and of partial sums realise a set of diagonals.
//!
//! Method: the rotations are seen as a lattice: the commonest difference gives the first stride with the longest run
//!         along it, the starts of the runs give the next stride, and so on (a convolution yields columns, rows,
//!         channels; a dense layer one run). Babies are some strides in full and one in part, in every order; giants
//!         cover what is left, first uncovered rotation first. Both sets are shifted so that they hold 0 where they
//!         can. The cheapest split by [`RotationCost`] wins, the earlier candidate on a tie.
//! Source: Halevi, Shoup, "Faster Homomorphic Linear Transformations in HElib", CRYPTO 2018; hoisting of giants as in
//!         Bossuat et al., EUROCRYPT 2021. The lattice search is ours.
//! Cost:   O(diagonals + candidates * (rotations + period)): ciphertexts that take part in the same rotations, as the channels
//!         of a convolution do, are counted once; candidates that cannot win even without waste are not counted.
//! Limits: [`MAX_STRIDES`] strides (columns, rows, channels); runs are split at [`DENSE_SPLITS`] lengths and at even
//!         fractions.

use aphelion_ir::ckks::Bsgs;
use aphelion_ir::slot::{DiagonalKey, DiagonalSet};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Strides of the lattice.
const MAX_STRIDES: usize = 3;
/// Shortest runs, by length, that are all tried as babies; longer ones are split evenly.
const DENSE_SPLITS: usize = 32;
/// Sets larger than this have their strides found from as many of their elements.
const DIFFERENCE_SAMPLE: usize = 128;

/// Bits of a word.
const WORD: usize = u64::BITS as usize;

/// Costs of the parts of a linear transform, in one unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RotationCost {
    /// Decomposing an input ciphertext for its hoisted rotations.
    pub hoist: f64,
    /// One hoisted rotation of an input.
    pub baby: f64,
    /// One rotation of a partial sum, or any other with a key switch of its own.
    pub giant: f64,
    /// One product with a plaintext, accumulated.
    pub plain: f64,
}

impl Default for RotationCost {
    /// Milliseconds at ring degree 2^14.
    fn default() -> Self {
        RotationCost {
            hoist: 2.5,
            baby: 1.5,
            giant: 4.0,
            plain: 0.1,
        }
    }
}

/// A split with what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct BsgsPlan {
    /// The steps, below the rotation period of the diagonals; [`Bsgs::split`] with that period finds each rotation.
    pub bsgs: Bsgs,
    /// Ciphertexts that are decomposed for hoisted rotations.
    pub n_hoists: usize,
    /// Hoisted rotations, over all input ciphertexts.
    pub n_babies: usize,
    /// Rotations of partial sums, over all output ciphertexts.
    pub n_giants: usize,
    /// Products with plaintexts.
    pub n_plains: usize,
    /// The sum in units of the cost.
    pub cost: f64,
}

/// The cheapest split found for `set`.
pub fn choose(set: &DiagonalSet, cost: &RotationCost) -> BsgsPlan {
    let uses = Uses::new(set);
    let mut scratch = Scratch::new(&uses);
    if set.keys.is_empty() {
        return scratch.counted(&only_zero(), &uses, cost);
    }
    let rotations = Residues::new(set.keys.iter().map(|key| key.rotation), set.rotation_period);
    let n_cts = |uses: &[Use]| uses.iter().map(|it| it.n_cts).sum::<usize>();
    let (n_in, n_out) = (n_cts(&uses.read), n_cts(&uses.written));
    // What a set of babies costs if giants repeat it without waste.
    let least = |babies: &BabySet| {
        let n_giants = rotations.sorted.len().div_ceil(babies.len()) - 1;
        let babies = cost.baby * ((babies.len() - 1) * n_in) as f64;
        babies + cost.giant * (n_giants * n_out) as f64 + cost.plain * set.keys.len() as f64
    };
    let mut candidates: Vec<(f64, BabySet)> = baby_sets(&rotations)
        .into_iter()
        .map(|babies| (least(&babies), babies))
        .collect();
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut best: Option<BsgsPlan> = None;
    for (least, babies) in candidates {
        if best.as_ref().is_some_and(|best| best.cost <= least) {
            break;
        }
        let plan = scratch.counted(&cover(&rotations, &babies.steps(rotations.period)), &uses, cost);
        if best.as_ref().is_none_or(|best| plan.cost < best.cost) {
            best = Some(plan);
        }
    }
    best.unwrap_or_else(|| scratch.counted(&only_zero(), &uses, cost))
}

/// The split of a matrix without rotations.
fn only_zero() -> Bsgs {
    Bsgs {
        baby_steps: vec![0],
        giant_steps: vec![0],
    }
}

/// Baby steps that may be tried: every step of `base` plus every multiple of `stride` below `n`.
struct BabySet {
    base: Rc<Vec<usize>>,
    stride: usize,
    n: usize,
}

impl BabySet {
    fn len(&self) -> usize {
        self.base.len() * self.n
    }

    fn steps(&self, period: usize) -> Vec<usize> {
        let sums = (0..self.n).flat_map(|i| self.base.iter().map(move |step| step + i * self.stride));
        sums.map(|sum| sum & (period - 1)).collect()
    }
}

/// A set of residues modulo a power of two.
struct Residues {
    period: usize,
    /// Ascending as signed numbers, from -period/2 up.
    sorted: Vec<usize>,
    is_member: Vec<bool>,
    /// The same, a bit for each; repeated to fill a word where the period is shorter.
    words: Vec<u64>,
}

impl Residues {
    fn new(values: impl Iterator<Item = usize>, period: usize) -> Self {
        let mut is_member = vec![false; period];
        values.for_each(|value| is_member[value] = true);
        let mut words = vec![0; period.div_ceil(WORD)];
        for bit in 0..period.max(WORD) {
            words[bit / WORD] |= u64::from(is_member[bit & (period - 1)]) << (bit % WORD);
        }
        let signed_order = (period / 2..period).chain(0..period / 2);
        Residues {
            period,
            sorted: signed_order.filter(|&value| is_member[value]).collect(),
            is_member,
            words,
        }
    }

    /// Members whose sum with `by` is one, too.
    fn n_pairs(&self, by: usize) -> usize {
        let (skipped, shift) = (by / WORD, by % WORD);
        let n_words = self.words.len();
        let word = |index: usize| self.words[index % n_words];
        let moved = |index: usize| match shift {
            0 => word(index + skipped),
            _ => word(index + skipped) >> shift | word(index + skipped + 1) << (WORD - shift),
        };
        let in_common = |index: usize| (self.words[index] & moved(index)).count_ones() as usize;
        let copies = WORD.div_ceil(self.period);
        (0..n_words).map(in_common).sum::<usize>() / copies
    }

    fn has(&self, value: usize) -> bool {
        self.is_member[value & (self.period - 1)]
    }

    /// The difference that most members have to another member, up to half the period; the smallest on a tie. None when
    /// fewer than a third of the members have a common one.
    fn commonest_difference(&self) -> Option<usize> {
        let sample = &self.sorted[..self.sorted.len().min(DIFFERENCE_SAMPLE)];
        let differences: BTreeSet<usize> = sample
            .iter()
            .flat_map(|a| sample.iter().map(move |b| b.wrapping_sub(*a)))
            .map(|difference| difference & (self.period - 1))
            .filter(|difference| (1..=self.period / 2).contains(difference))
            .collect();
        let best = differences
            .into_iter()
            .map(|by| (self.n_pairs(by), by))
            .max_by_key(|&(n, by)| (n, std::cmp::Reverse(by)));
        best.filter(|(n, _)| 3 * n >= self.sorted.len()).map(|(_, by)| by)
    }

    /// Starts of the runs along `stride`, and the length of the longest.
    fn runs(&self, stride: usize) -> (Residues, usize) {
        let is_start = |value: &usize| !self.has(value.wrapping_sub(stride));
        let mut starts: Vec<usize> = self.sorted.iter().copied().filter(is_start).collect();
        if starts.is_empty() {
            // Every run is a full circle: one start for each.
            starts = self
                .sorted
                .iter()
                .copied()
                .filter(|&value| value < stride.min(self.period))
                .collect();
        }
        let length = |&start: &usize| {
            let run = (0..self.period / stride.min(self.period)).take_while(|i| self.has(start + i * stride));
            run.count()
        };
        let longest = starts.iter().map(length).max().unwrap_or(1);
        (Residues::new(starts.into_iter(), self.period), longest.max(1))
    }
}

/// Candidates for the babies, ascending multiples of strides from 0 up.
fn baby_sets(rotations: &Residues) -> Vec<BabySet> {
    let mut strides = Vec::new();
    let mut rest = Residues::new(rotations.sorted.iter().copied(), rotations.period);
    while strides.len() < MAX_STRIDES {
        let Some(stride) = rest.commonest_difference() else {
            break;
        };
        let (starts, length) = rest.runs(stride);
        strides.push((stride, length));
        rest = starts;
    }
    let first = rotations.sorted.first().copied().unwrap_or(0);
    let all = rotations
        .sorted
        .iter()
        .map(|value| value.wrapping_sub(first) & (rotations.period - 1));
    let alone = |base: Vec<usize>| BabySet {
        base: Rc::new(base),
        stride: 0,
        n: 1,
    };
    let mut sets: Vec<BabySet> = vec![alone(vec![0]), alone(all.collect())];
    let mut seen: BTreeSet<(Vec<usize>, usize)> = BTreeSet::new();
    for order in orders(strides.len()) {
        let mut base = Rc::new(vec![0]);
        for (position, &index) in order.iter().enumerate() {
            let mut full = order[..position].to_vec();
            full.sort_unstable();
            let is_new = seen.insert((full, index));
            let (stride, length) = strides[index];
            let multiples = |n: usize| BabySet {
                base: Rc::clone(&base),
                stride,
                n,
            };
            let even = (1..=DENSE_SPLITS).rev().map(|parts| length.div_ceil(parts));
            let mut lengths: Vec<usize> = (2..=length.min(DENSE_SPLITS)).collect();
            lengths.extend(even.filter(|n| *n > DENSE_SPLITS));
            lengths.dedup();
            if is_new {
                sets.extend(lengths.into_iter().map(multiples));
            }
            base = Rc::new(multiples(length).steps(rotations.period));
        }
    }
    sets
}

/// All orders of `0..n`, for n <= 3.
fn orders(n: usize) -> Vec<Vec<usize>> {
    match n {
        0 => vec![],
        1 => vec![vec![0]],
        2 => vec![vec![0, 1], vec![1, 0]],
        _ => [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
            .map(|order| order.to_vec())
            .to_vec(),
    }
}

/// Giants for these babies: the first rotation not covered yet takes the first baby. Then both sets move against each
/// other so that both hold 0, if they can.
fn cover(rotations: &Residues, babies: &[usize]) -> Bsgs {
    let mask = rotations.period - 1;
    let mut is_covered = vec![false; rotations.period];
    let mut is_giant = vec![false; rotations.period];
    for &rotation in &rotations.sorted {
        if !is_covered[rotation] {
            let giant = rotation.wrapping_sub(babies[0]) & mask;
            is_giant[giant] = true;
            babies.iter().for_each(|baby| is_covered[(giant + baby) & mask] = true);
        }
    }
    let can_shift = |baby: &&usize| is_giant[baby.wrapping_neg() & mask];
    let shift = babies.iter().find(can_shift).or(babies.first()).copied().unwrap_or(0);
    let mut baby_steps: Vec<usize> = babies.iter().map(|baby| baby.wrapping_sub(shift) & mask).collect();
    baby_steps.sort_unstable();
    baby_steps.dedup();
    let giant_steps = (0..rotations.period).filter(|step| is_giant[step.wrapping_sub(shift) & mask]);
    Bsgs {
        baby_steps,
        giant_steps: giant_steps.collect(),
    }
}

/// Which ciphertexts take part in which rotations.
struct Uses {
    period: usize,
    n_diagonals: usize,
    /// Ciphertexts of the operand.
    read: Vec<Use>,
    /// Ciphertexts of the result.
    written: Vec<Use>,
}

/// Ciphertexts that take part in the same rotations.
struct Use {
    n_cts: usize,
    /// Ascending.
    rotations: Vec<usize>,
}

impl Uses {
    fn new(set: &DiagonalSet) -> Self {
        let period = set.rotation_period;
        let uses = |ct: fn(&DiagonalKey) -> usize| {
            let n_cts = set.keys.iter().map(ct).max().map_or(0, |last| last + 1);
            let mut takes_part = vec![false; n_cts * period];
            for key in &set.keys {
                takes_part[ct(key) * period + key.rotation] = true;
            }
            let mut alike: BTreeMap<&[bool], usize> = BTreeMap::new();
            for rotations in takes_part.chunks_exact(period).filter(|of_ct| of_ct.contains(&true)) {
                *alike.entry(rotations).or_default() += 1;
            }
            let one = |(rotations, n_cts): (&[bool], usize)| Use {
                n_cts,
                rotations: (0..period).filter(|rotation| rotations[*rotation]).collect(),
            };
            alike.into_iter().map(one).collect()
        };
        Uses {
            period,
            n_diagonals: set.keys.len(),
            read: uses(|key| key.in_ct),
            written: uses(|key| key.out_ct),
        }
    }
}

/// Room for counting splits.
struct Scratch {
    /// By rotation, the baby step and the giant step as [`Bsgs::split`] has them; none where the split does not reach.
    steps: Vec<Option<(u32, u32)>>,
    /// By step, the last ciphertexts found to take it, and whether any were.
    babies: Marks,
    giants: Marks,
}

impl Scratch {
    fn new(uses: &Uses) -> Self {
        Scratch {
            steps: Vec::new(),
            babies: Marks::new(uses.period),
            giants: Marks::new(uses.period),
        }
    }

    /// Drops the steps that no diagonal takes, and counts.
    fn counted(&mut self, split: &Bsgs, uses: &Uses, cost: &RotationCost) -> BsgsPlan {
        let period = uses.period;
        self.steps.clear();
        self.steps.resize(period, None);
        for &giant in &split.giant_steps {
            for &baby in &split.baby_steps {
                self.steps[(baby + giant) % period].get_or_insert((baby as u32, giant as u32));
            }
        }
        let babies = self.babies.count(&uses.read, &self.steps, |(baby, _)| baby);
        let giants = self.giants.count(&uses.written, &self.steps, |(_, giant)| giant);
        let bsgs = if uses.n_diagonals == 0 {
            only_zero()
        } else {
            Bsgs {
                baby_steps: self.babies.steps(),
                giant_steps: self.giants.steps(),
            }
        };
        BsgsPlan {
            bsgs,
            n_hoists: babies.n_rotated,
            n_babies: babies.n_rotations,
            n_giants: giants.n_rotations,
            n_plains: uses.n_diagonals,
            cost: cost.hoist * babies.n_rotated as f64
                + cost.baby * babies.n_rotations as f64
                + cost.giant * giants.n_rotations as f64
                + cost.plain * uses.n_diagonals as f64,
        }
    }
}

/// Steps in use.
struct Marks {
    /// By step, the number of the ciphertexts, from 1, that were last found to take it.
    last: Vec<u32>,
}

/// Rotations over all ciphertexts.
#[derive(Default)]
struct Rotations {
    /// By steps other than 0.
    n_rotations: usize,
    /// Ciphertexts that are rotated at all.
    n_rotated: usize,
}

impl Marks {
    fn new(period: usize) -> Self {
        Marks { last: vec![0; period] }
    }

    /// Marks the steps that `step` picks for all rotations of `uses`, and no others.
    fn count(&mut self, uses: &[Use], steps: &[Option<(u32, u32)>], step: impl Fn((u32, u32)) -> u32) -> Rotations {
        self.last.fill(0);
        let mut all = Rotations::default();
        for (number, it) in (1..).zip(uses) {
            let mut n_rotations = 0;
            for rotation in &it.rotations {
                let Some(step) = steps[*rotation].map(&step) else {
                    continue;
                };
                let last = &mut self.last[step as usize];
                n_rotations += usize::from(step != 0 && *last != number);
                *last = number;
            }
            all.n_rotations += n_rotations * it.n_cts;
            all.n_rotated += if n_rotations > 0 { it.n_cts } else { 0 };
        }
        all
    }

    /// The steps that are marked.
    fn steps(&self) -> Vec<usize> {
        (0..self.last.len()).filter(|step| self.last[*step] != 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(rotations: impl IntoIterator<Item = i64>, period: usize) -> DiagonalSet {
        let residues: BTreeSet<usize> = rotations
            .into_iter()
            .map(|r| r.rem_euclid(period as i64) as usize)
            .collect();
        DiagonalSet {
            slots: period,
            rotation_period: period,
            keys: residues
                .into_iter()
                .map(|rotation| DiagonalKey {
                    out_ct: 0,
                    in_ct: 0,
                    rotation,
                })
                .collect(),
        }
    }

    #[test]
    fn a_dense_layer_splits_near_the_square_root() {
        let plan = choose(&set(0..128, 128), &RotationCost::default());
        assert_eq!((plan.n_babies, plan.n_giants, plan.n_plains), (15, 7, 128));
        let plan = choose(&set(0..128, 1024), &RotationCost::default());
        assert_eq!((plan.n_babies, plan.n_giants), (15, 7));
    }

    #[test]
    fn a_convolution_splits_along_rows_or_channels() {
        let offsets = |i: i64| (-1..6).flat_map(move |y| (-1..6).map(move |x| 1024 * i + 28 * y + x));
        let plan = choose(&set((-3..6).flat_map(offsets), 8192), &RotationCost::default());
        // 392 rotations as 7 x 7 x 8.
        assert_eq!(plan.n_plains, 392);
        assert!((plan.n_babies + 1) * (plan.n_giants + 1) <= 400, "{plan:?}");
        assert!(plan.bsgs.baby_steps.contains(&0) && plan.bsgs.giant_steps.contains(&0));
    }

    #[test]
    fn five_by_five_needs_eight_rotations_at_equal_cost() {
        let cost = RotationCost {
            hoist: 0.0,
            baby: 1.0,
            giant: 1.0,
            plain: 0.0,
        };
        let plan = choose(&set((0..5).flat_map(|y| (0..5).map(move |x| 28 * y + x)), 1024), &cost);
        assert_eq!((plan.n_babies, plan.n_giants, plan.cost), (4, 4, 8.0));
    }

    #[test]
    fn pairs_are_counted_in_words() {
        for log_period in 0..9 {
            let period = 1 << log_period;
            let members = (0..period).filter(|value| value * value % 7 < 3);
            let residues = Residues::new(members, period);
            for by in 0..period {
                let pairs = residues.sorted.iter().filter(|&&value| residues.has(value + by));
                assert_eq!(residues.n_pairs(by), pairs.count(), "{by} modulo {period}");
            }
        }
    }

    #[test]
    fn ciphertexts_that_rotate_alike_are_counted_once() {
        let one = set((0..5).flat_map(|y| (0..5).map(move |x| 28 * y + x)), 1024);
        let of_pair = |(out_ct, in_ct): (usize, usize)| {
            let keys = one.keys.iter();
            keys.map(move |key| DiagonalKey { out_ct, in_ct, ..*key })
        };
        let pairs = (0..6).flat_map(|out_ct| (0..9).map(move |in_ct| (out_ct, in_ct)));
        let mut all = DiagonalSet {
            keys: pairs.flat_map(of_pair).collect(),
            ..one.clone()
        };
        let sizes = |set: &DiagonalSet| {
            let uses = Uses::new(set);
            let counts = |uses: &[Use]| uses.iter().map(|it| (it.n_cts, it.rotations.len())).collect::<Vec<_>>();
            (counts(&uses.read), counts(&uses.written))
        };
        assert_eq!(sizes(&all), (vec![(9, 25)], vec![(6, 25)]));
        let plan = choose(&all, &RotationCost::default());
        assert_eq!(plan.n_plains, 9 * 6 * 25);
        assert_eq!((plan.n_babies % 9, plan.n_giants % 6), (0, 0));
        // One that differs is one more.
        all.keys.retain(|key| key.in_ct != 3 || key.rotation == 0);
        assert_eq!(sizes(&all).0.len(), 2);
    }

    #[test]
    fn no_rotation_costs_none() {
        for rotations in [vec![], vec![0]] {
            let plan = choose(&set(rotations, 16), &RotationCost::default());
            assert_eq!(
                (plan.bsgs, plan.n_babies, plan.n_giants, plan.n_hoists),
                (only_zero(), 0, 0, 0)
            );
        }
    }

    proptest! {
        #[test]
        fn every_rotation_splits(rotations in prop::collection::vec(0i64..256, 1..80), log_period in 0u32..9) {
            let set = set(rotations, 1 << log_period);
            let plan = choose(&set, &RotationCost::default());
            for key in &set.keys {
                let (baby, giant) = plan.bsgs.split(key.rotation, set.rotation_period).expect("splits");
                prop_assert_eq!((baby + giant) % set.rotation_period, key.rotation);
            }
            prop_assert!(plan.bsgs.baby_steps.is_sorted() && plan.bsgs.giant_steps.is_sorted());
            prop_assert!(plan.n_babies + plan.n_giants <= set.keys.len());
        }
    }
}
