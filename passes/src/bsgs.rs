//! Baby-step/giant-step splits: which rotations of the input and of partial sums realise a set of diagonals.
//!
//! Method: the rotations are seen as a lattice: the commonest difference gives the first stride with the longest run
//!         along it, the starts of the runs give the next stride, and so on (a convolution yields columns, rows,
//!         channels; a dense layer one run). Babies are some strides in full and one in part, in every order; giants
//!         cover what is left, first uncovered rotation first. Both sets are shifted so that they hold 0 where they
//!         can. The cheapest split by [`RotationCost`] wins, the earlier candidate on a tie.
//! Source: Halevi, Shoup, "Faster Homomorphic Linear Transformations in HElib", CRYPTO 2018; hoisting of giants as in
//!         Bossuat et al., EUROCRYPT 2021. The lattice search is ours.
//! Cost:   O(candidates * diagonals); candidates that cannot win even without waste are not counted.
//! Limits: [`MAX_STRIDES`] strides (columns, rows, channels); runs are split at [`DENSE_SPLITS`] lengths and at even
//!         fractions.

use aphelion_ir::ckks::Bsgs;
use aphelion_ir::slot::{DiagonalKey, DiagonalSet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
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
    if set.keys.is_empty() {
        return counted(only_zero(), &Uses::new(set), cost);
    }
    let rotations = Residues::new(set.keys.iter().map(|key| key.rotation), set.rotation_period);
    let uses = Uses::new(set);
    let n_in = uses.read.iter().map(|(ct, _)| ct).collect::<BTreeSet<_>>().len();
    let n_out = uses.written.iter().map(|(ct, _)| ct).collect::<BTreeSet<_>>().len();
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
        let plan = counted(cover(&rotations, &babies.steps(rotations.period)), &uses, cost);
        if best.as_ref().is_none_or(|best| plan.cost < best.cost) {
            best = Some(plan);
        }
    }
    best.unwrap_or_else(|| counted(only_zero(), &uses, cost))
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
    /// Ciphertexts of the operand with rotations, each pair once.
    read: Vec<(usize, usize)>,
    /// Ciphertexts of the result with rotations, each pair once.
    written: Vec<(usize, usize)>,
}

impl Uses {
    fn new(set: &DiagonalSet) -> Self {
        let distinct = |ct: fn(&DiagonalKey) -> usize| {
            let n_cts = set.keys.iter().map(ct).max().map_or(0, |last| last + 1);
            let mut marks = Marks::new(n_cts, set.rotation_period);
            set.keys.iter().for_each(|key| marks.set(ct(key), key.rotation));
            let used = marks.marks.iter().enumerate().filter(|(_, is_used)| **is_used);
            let pairs = used.map(|(at, _)| (at / set.rotation_period, at % set.rotation_period));
            pairs.collect()
        };
        Uses {
            period: set.rotation_period,
            n_diagonals: set.keys.len(),
            read: distinct(|key| key.in_ct),
            written: distinct(|key| key.out_ct),
        }
    }
}

/// Drops the steps that no diagonal takes, and counts. Splits rotations as [`Bsgs::split`] does.
fn counted(split: Bsgs, uses: &Uses, cost: &RotationCost) -> BsgsPlan {
    let period = uses.period;
    let mut steps: Vec<Option<(usize, usize)>> = vec![None; period];
    for &giant in &split.giant_steps {
        for &baby in &split.baby_steps {
            steps[(baby + giant) % period].get_or_insert((baby, giant));
        }
    }
    let n_cts = |pairs: &[(usize, usize)]| pairs.last().map_or(0, |(last, _)| last + 1);
    let mut babies = Marks::new(n_cts(&uses.read), period);
    let mut giants = Marks::new(n_cts(&uses.written), period);
    for &(ct, rotation) in &uses.read {
        if let Some((baby, _)) = steps[rotation] {
            babies.set(ct, baby);
        }
    }
    for &(ct, rotation) in &uses.written {
        if let Some((_, giant)) = steps[rotation] {
            giants.set(ct, giant);
        }
    }
    let bsgs = if uses.n_diagonals == 0 {
        only_zero()
    } else {
        Bsgs {
            baby_steps: babies.distinct(),
            giant_steps: giants.distinct(),
        }
    };
    let (n_hoists, n_babies, n_giants) = (babies.n_rotated(), babies.n_rotations(), giants.n_rotations());
    BsgsPlan {
        bsgs,
        n_hoists,
        n_babies,
        n_giants,
        n_plains: uses.n_diagonals,
        cost: cost.hoist * n_hoists as f64
            + cost.baby * n_babies as f64
            + cost.giant * n_giants as f64
            + cost.plain * uses.n_diagonals as f64,
    }
}

/// Steps in use, by ciphertext.
struct Marks {
    period: usize,
    marks: Vec<bool>,
}

impl Marks {
    fn new(n_cts: usize, period: usize) -> Self {
        Marks {
            period,
            marks: vec![false; n_cts * period],
        }
    }

    fn set(&mut self, ct: usize, step: usize) {
        self.marks[ct * self.period + step] = true;
    }

    fn cts(&self) -> impl Iterator<Item = &[bool]> {
        self.marks.chunks(self.period)
    }

    /// Steps that some ciphertext takes.
    fn distinct(&self) -> Vec<usize> {
        (0..self.period).filter(|&step| self.cts().any(|ct| ct[step])).collect()
    }

    /// Steps other than 0, over all ciphertexts.
    fn n_rotations(&self) -> usize {
        self.cts()
            .map(|ct| ct[1..].iter().filter(|is_used| **is_used).count())
            .sum()
    }

    /// Ciphertexts that are rotated at all.
    fn n_rotated(&self) -> usize {
        self.cts().filter(|ct| ct[1..].contains(&true)).count()
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
