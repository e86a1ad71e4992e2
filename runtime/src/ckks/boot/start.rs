//! How a raised ciphertext starts towards its slots, and how the stages of coeffs_to_slots fall to its factors.
//!
//! While a ciphertext is raised its second part is a single small digit, and rotations take one product with a key of one digit
//! each (`mod_raise`). The trace, or the trace and the first factor, are then sums of such rotations; what remains of
//! them follows with ordinary key switches. The cheapest start is taken, and the cheapest split of the stages given that: a first
//! factor that is applied while raising has many diagonals, since each costs little, and those after it have fewer.

use super::cost::{KEY, SwitchShape, TransformCounts};
use super::embedding::run_lengths;
use super::plan::BootstrapRequest;

/// A rotation of one limb of a raised ciphertext and its products with a key of one digit, in transforms.
const ROTATION: f64 = 0.6;
/// Its product with a diagonal.
const DIAGONAL: f64 = 0.2;
/// Most stages of a first factor that is applied while raising: each further one doubles the memory of keys and diagonals.
const MOST_STAGES: usize = 6;

/// What is done while a ciphertext is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// log2 of how many rotations are summed for the trace; its other steps follow one by one.
    pub log_traced: usize,
    /// Whether the first factor of coeffs_to_slots is applied, too. Then the trace is whole.
    pub transforms: bool,
}

/// The slots of a bootstrap and what its start depends on besides.
pub(super) struct Raising<'a> {
    pub request: &'a BootstrapRequest,
    pub shape: &'a SwitchShape,
    /// Special primes of keys from the ephemeral secret.
    pub special: usize,
    /// The reduction's input.
    pub bottom: usize,
}

impl Raising<'_> {
    fn stages(&self) -> usize {
        self.request.slots.trailing_zeros() as usize
    }

    fn log_gap(&self) -> usize {
        self.request.log_n as usize - 1 - self.stages()
    }

    /// The cheapest start at this level with a first factor of so many stages, and what both cost.
    pub(super) fn start(&self, stages: usize, level: usize) -> (f64, Start) {
        let log_gap = self.log_gap();
        let folded = (0..=log_gap).map(|log_traced| {
            let start = Start {
                log_traced,
                transforms: false,
            };
            let trace = (log_gap - log_traced) as f64 * self.shape.switch(level);
            (
                self.raise(1 << log_traced, 0, level) + trace + self.factor(stages, true, level),
                start,
            )
        });
        let transformed = (stages + log_gap <= MOST_STAGES).then(|| {
            let start = Start {
                log_traced: log_gap,
                transforms: true,
            };
            (self.raise(1 << (stages + log_gap), 1 << stages, level), start)
        });
        let least = |best: (f64, Start), next: (f64, Start)| if next.0 < best.0 { next } else { best };
        let none = Start {
            log_traced: 0,
            transforms: false,
        };
        folded.chain(transformed).fold((f64::INFINITY, none), least)
    }

    /// Raising with a sum of so many rotations, the first of which is none, times so many diagonals: keys included.
    fn raise(&self, rotations: usize, diagonals: usize, level: usize) -> f64 {
        let limbs = (level + 1 + self.special) as f64;
        let weighted = if diagonals > 0 { rotations } else { 0 };
        let part_of_key = limbs / self.shape.key_limbs(level) as f64;
        4.0 * limbs
            + limbs * (ROTATION * rotations as f64 + DIAGONAL * (weighted + diagonals) as f64)
            + KEY * self.shape.switch(level) * part_of_key * (rotations - 1) as f64
    }

    /// An ordinary factor; the longest butterflies wrap around.
    fn factor(&self, stages: usize, wraps: bool, level: usize) -> f64 {
        let splits = TransformCounts::splits(stages, wraps).map(|counts| self.shape.transform(&counts, level));
        splits.fold(f64::INFINITY, f64::min)
    }

    /// The cost of raising, tracing and the factors of these stages.
    pub(super) fn cost(&self, runs: &[usize]) -> f64 {
        let top = self.bottom + runs.len();
        let mut levels = runs.iter().zip((0..=top).rev());
        let first = levels
            .next()
            .map_or(0.0, |(stages, level)| self.start(*stages, level).0);
        first
            + levels
                .map(|(stages, level)| self.factor(*stages, false, level))
                .sum::<f64>()
    }

    /// The cheapest split of all stages over so many factors, of which the first differs from the others, with its cost.
    pub(super) fn split(&self, factors: usize) -> (f64, Vec<usize>) {
        let stages = self.stages();
        let firsts = match factors {
            1 => stages..=stages,
            _ => 1..=stages + 1 - factors,
        };
        let splits = firsts.map(|first| {
            let mut rest = run_lengths(stages - first, factors - 1);
            // Lower levels are cheaper.
            rest.reverse();
            let runs: Vec<usize> = std::iter::once(first).chain(rest).collect();
            (self.cost(&runs), runs)
        });
        let least = |best: (f64, Vec<usize>), next: (f64, Vec<usize>)| if next.0 < best.0 { next } else { best };
        splits.fold((f64::INFINITY, vec![stages]), least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::boot::Content;
    use crate::ckks::params::Security;
    use crate::ckks::params::level_gadgets;

    fn raising<'a>(request: &'a BootstrapRequest, shape: &'a SwitchShape) -> Raising<'a> {
        Raising {
            request,
            shape,
            special: 2,
            bottom: 27,
        }
    }

    #[test]
    fn stages_go_where_they_are_cheap() {
        let shape = SwitchShape {
            gadgets: level_gadgets(&[48.0; 36], &[49.0; 7], 7),
        };
        let request = |slots| BootstrapRequest {
            log_n: 16,
            slots,
            content: Content::Complex,
            bits: 20.0,
            levels: 14,
            log_scale: 40.0,
            security: Security::Classical128,
        };
        let full = request(1 << 15);
        let (cost, runs) = raising(&full, &shape).split(4);
        assert_eq!(runs.iter().sum::<usize>(), 15);
        assert!(
            runs[0] > runs[1] && runs.is_sorted_by(|a, b| runs[0] == *a || a <= b),
            "{runs:?}"
        );
        assert!(cost < raising(&full, &shape).cost(&[4, 4, 4, 3]));
        let (_, start) = raising(&full, &shape).start(runs[0], 31);
        assert_eq!((start.log_traced, start.transforms), (0, true));
        // Thousands of rotations are no way to a trace, and eight are.
        let sparse = request(1 << 12);
        let (_, start) = raising(&sparse, &shape).start(4, 31);
        assert_eq!((start.log_traced, start.transforms), (3, false));
        let tiny = request(1 << 2);
        let (_, start) = raising(&tiny, &shape).start(2, 31);
        assert!((1..7).contains(&start.log_traced) && !start.transforms, "{start:?}");
    }
}
