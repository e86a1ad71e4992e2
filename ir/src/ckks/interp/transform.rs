//! Linear transforms by baby steps and giant steps, as the encrypted program computes them, on several runs at once.
//!
//! Method: rows of the matrix are enumerated and not kept; every non-zero is multiplied to each slot of the operand that its
//! diagonal meets, in all runs at once. That takes no memory but for the slots, where diagonals take many times that of the
//! weights. Slots that are a period of the matrix apart lie side by side: a non-zero meets all of them, and as many strides
//! of a power of two would meet in the same few lines of the cache. Rows are shared out among threads; no two of them write
//! the same slot, so results do not depend on how.
//!
//! Noise: a rotated input carries the errors of its key switch into every product with it; every encoded diagonal is
//! rounded; a giant step switches keys once more, at the squared scale. Errors are drawn once per output slot, with the
//! sum of these variances, where the rounding of the diagonals meets the mean square of the input's slots.

use super::Contents;
use super::errors::Errors;
use crate::ckks::Bsgs;
use crate::constant::ConstantPool;
use crate::error::IrError;
use crate::slot::placement::{Frame, Met};
use crate::slot::{Kernel, Layout, Rows};
use rayon::prelude::*;

/// Runs that are computed together: the same slot of as many lies side by side.
const LANES: usize = 4;

/// A slot in some runs.
type Lanes = [f64; LANES];

/// Tasks per thread, so that threads finish together though rows differ.
const TASKS_PER_THREAD: usize = 4;

/// A matrix ready to be enumerated, with the step of every rotation looked up.
pub(super) struct Transform {
    slots: usize,
    n_inputs: usize,
    n_outputs: usize,
    rows: Rows,
    frame: Frame,
    in_addresses: Vec<u32>,
    out_addresses: Vec<u32>,
    /// By rotation modulo its period; none where the plan does not reach it.
    steps: Vec<Option<Step>>,
    n_giants: usize,
}

/// How the plan rotates.
#[derive(Clone, Copy)]
struct Step {
    /// Baby step and giant step together.
    rotation: u32,
    /// Slots by which values move, as they follow the rotation.
    first: u32,
    is_baby_rotated: bool,
    /// Number of the giant step, if it rotates.
    giant: Option<u32>,
}

/// What a run of a transform depends on and is not the message: from the matrix alone.
struct Traits {
    /// Which diagonals there are, by position.
    is_present: Vec<bool>,
    /// By output and slot modulo the period, the sum of squares of the factors that meet rotated inputs.
    rotated_squares: Vec<f64>,
    /// By output, which giant steps are in use.
    giants: Vec<bool>,
}

/// Products so far.
struct Sums {
    /// By group of runs and output, slots as [`Transform::place`] has them.
    products: Vec<Lanes>,
    traits: Traits,
    failure: Option<String>,
}

impl Transform {
    /// Looks up the step of every rotation of `kernel`'s matrix for an operand of layout `input`.
    ///
    /// # Errors
    /// When a weight cannot be read, or shapes do not fit.
    pub(super) fn new(kernel: &Kernel, input: &Layout, bsgs: &Bsgs, constants: &ConstantPool) -> Result<Self, IrError> {
        let rows = Rows::new(&kernel.map, constants)?;
        let frame = Frame::new((rows.input(), rows.output()), input, &kernel.output, &kernel.fold)?;
        Ok(Transform {
            slots: input.slots,
            n_inputs: input.cts,
            n_outputs: kernel.output.cts,
            in_addresses: input.addresses(),
            out_addresses: kernel.output.addresses(),
            steps: steps(bsgs, &frame, input.slots),
            n_giants: bsgs.giant_steps.len(),
            rows,
            frame,
        })
    }

    /// The transform of every one of `xs`, before its rescale and rotate-and-sum, and what the noise of it depends on.
    ///
    /// # Errors
    /// When the plan does not reach a rotation.
    pub(super) fn apply(&self, xs: &[&Contents]) -> Result<(Vec<Contents>, TransformNoise), String> {
        let n_groups = xs.len().div_ceil(LANES);
        let operand = self.interleaved(xs);
        let n_rows = self.out_addresses.len();
        let rows_per_task = n_rows.div_ceil(TASKS_PER_THREAD * rayon::current_num_threads()).max(1);
        let sums = (0..n_rows.div_ceil(rows_per_task))
            .into_par_iter()
            .fold(
                || self.zero(n_groups),
                |mut sums, task| {
                    let mut cursor = self.rows.cursor();
                    for out in task * rows_per_task..n_rows.min((task + 1) * rows_per_task) {
                        let to = self.out_addresses[out];
                        for &(column, factor) in cursor.unsorted(out) {
                            let from = self.in_addresses[column];
                            self.frame.visit(to, from, |met| {
                                self.multiply(&mut sums, n_groups, &operand, (met, factor));
                            });
                        }
                    }
                    sums
                },
            )
            .reduce_with(Sums::joined)
            .unwrap_or_else(|| self.zero(n_groups));
        if let Some(failure) = sums.failure {
            return Err(failure);
        }
        let results = (0..xs.len()).map(|run| self.run(&sums.products, run)).collect();
        Ok((results, self.noise(&sums.traits)))
    }

    /// Multiplies one non-zero to all slots that its diagonal meets.
    #[inline]
    fn multiply(&self, sums: &mut Sums, n_groups: usize, operand: &[Lanes], (met, factor): (Met, f64)) {
        let Some(step) = self.steps[met.rotation] else {
            let message = || format!("the plan reaches no rotation by {}", met.rotation);
            sums.failure.get_or_insert_with(message);
            return;
        };
        let period = self.frame.period;
        let n_blocks = self.slots / period;
        let first = met.slot.wrapping_sub(step.first as usize) & (period - 1);
        let from = first + step.rotation as usize;
        let block = (from >> period.trailing_zeros()) & (n_blocks - 1);
        for group in 0..n_groups {
            let to = (group * self.n_outputs + met.out_ct) * self.slots + first * n_blocks;
            let products = sums.products[to..][..n_blocks].as_flattened_mut();
            let from = (group * self.n_inputs + met.in_ct) * self.slots + (from & (period - 1)) * n_blocks;
            let (late, early) = operand[from..][..n_blocks].as_flattened().split_at(block * LANES);
            let (low, high) = products.split_at_mut(early.len());
            multiply_add(low, early, factor);
            multiply_add(high, late, factor);
        }
        sums.traits.is_present[self.frame.position(met)] = true;
        if step.is_baby_rotated {
            let at = met.out_ct * period + first;
            sums.traits.rotated_squares[at] += factor * factor;
        }
        if let Some(giant) = step.giant {
            sums.traits.giants[met.out_ct * self.n_giants + giant as usize] = true;
        }
    }

    fn zero(&self, n_groups: usize) -> Sums {
        Sums {
            products: vec![[0.0; LANES]; n_groups * self.n_outputs * self.slots],
            traits: Traits {
                is_present: vec![false; self.frame.n_positions()],
                rotated_squares: vec![0.0; self.n_outputs * self.frame.period],
                giants: vec![false; self.n_outputs * self.n_giants],
            },
            failure: None,
        }
    }

    /// Where a slot lies: those a period of the matrix apart are neighbours.
    #[inline]
    fn place(&self, slot: usize) -> usize {
        let period = self.frame.period;
        (slot & (period - 1)) * (self.slots / period) + (slot >> period.trailing_zeros())
    }

    /// The operands by group of runs and input, slots as [`Transform::place`] has them.
    fn interleaved(&self, xs: &[&Contents]) -> Vec<Lanes> {
        let mut all = vec![[0.0; LANES]; xs.len().div_ceil(LANES) * self.n_inputs * self.slots];
        for (group, xs) in all.chunks_exact_mut(self.n_inputs * self.slots).zip(xs.chunks(LANES)) {
            for (lane, x) in xs.iter().enumerate() {
                for (input, x) in group.chunks_exact_mut(self.slots).zip(x.iter()) {
                    let slots = x.iter().enumerate();
                    slots.for_each(|(slot, x)| input[self.place(slot)][lane] = *x);
                }
            }
        }
        all
    }

    /// The products of one run.
    fn run(&self, products: &[Lanes], run: usize) -> Contents {
        let group = &products[run / LANES * self.n_outputs * self.slots..][..self.n_outputs * self.slots];
        let of_output = |lanes: &[Lanes]| {
            let slots = 0..self.slots;
            slots.map(|slot| lanes[self.place(slot)][run % LANES]).collect()
        };
        group.chunks_exact(self.slots).map(of_output).collect()
    }

    fn noise(&self, traits: &Traits) -> TransformNoise {
        let pair = |pair: &[bool]| pair.iter().filter(|is_present| **is_present).count();
        let n_diagonals: Vec<usize> = traits
            .is_present
            .chunks_exact(self.frame.rotation_period)
            .map(pair)
            .collect();
        let giants = |out_ct: usize| &traits.giants[out_ct * self.n_giants..][..self.n_giants];
        TransformNoise {
            n_diagonals: n_diagonals.chunks_exact(self.n_inputs).map(<[usize]>::to_vec).collect(),
            n_giants: (0..self.n_outputs)
                .map(|out_ct| giants(out_ct).iter().filter(|is_used| **is_used).count())
                .collect(),
            rotated_squares: traits
                .rotated_squares
                .chunks_exact(self.frame.period)
                .map(<[f64]>::to_vec)
                .collect(),
            slots: self.slots,
        }
    }
}

/// `sums += factor * xs`.
#[inline]
fn multiply_add(sums: &mut [f64], xs: &[f64], factor: f64) {
    for (sum, x) in sums.iter_mut().zip(xs) {
        *sum += factor * x;
    }
}

/// The steps of every rotation that the plan reaches: those with the smallest giant step, then the smallest baby step, as
/// [`Bsgs::split`] has them.
fn steps(bsgs: &Bsgs, frame: &Frame, slots: usize) -> Vec<Option<Step>> {
    let mut steps = vec![None; frame.rotation_period];
    for (number, giant) in bsgs.giant_steps.iter().enumerate() {
        for baby in &bsgs.baby_steps {
            let rotation = (baby + giant) & (frame.rotation_period - 1);
            steps[rotation].get_or_insert(Step {
                rotation: ((baby + giant) & (slots - 1)) as u32,
                first: if frame.follows_rotation() {
                    (baby + giant - rotation) as u32
                } else {
                    0
                },
                is_baby_rotated: *baby != 0,
                giant: (*giant != 0).then_some(number as u32),
            });
        }
    }
    steps
}

impl Sums {
    /// Both together. Where one has written a slot, the other has not.
    fn joined(mut self, other: Self) -> Self {
        for (sum, more) in self.products.iter_mut().zip(&other.products) {
            sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
        let squares = self
            .traits
            .rotated_squares
            .iter_mut()
            .zip(&other.traits.rotated_squares);
        squares.for_each(|(sum, more)| *sum += more);
        let join = |all: &mut Vec<bool>, more: &[bool]| all.iter_mut().zip(more).for_each(|(all, more)| *all |= more);
        join(&mut self.traits.is_present, &other.traits.is_present);
        join(&mut self.traits.giants, &other.traits.giants);
        self.failure = self.failure.or(other.failure);
        self
    }
}

/// What the errors of a transform depend on.
pub(super) struct TransformNoise {
    slots: usize,
    /// Diagonals between every pair of an output and an input, outputs first.
    n_diagonals: Vec<Vec<usize>>,
    /// Giant steps of every output.
    n_giants: Vec<usize>,
    /// For every output, slot by slot over one period, the sum of squares of the factors that meet rotated inputs.
    rotated_squares: Vec<Vec<f64>>,
}

impl TransformNoise {
    /// `result`, of operand `x`, with errors; works at level `at`.
    pub(super) fn add(&self, result: Contents, x: &Contents, at: u32, errors: &mut Errors) -> Contents {
        if !errors.are_on() {
            return result;
        }
        let switched = errors.variance(|model, slots| model.key_switch(slots, at, 1));
        let switched_square = errors.variance(|model, slots| model.key_switch(slots, at, 2));
        let rounded = errors.variance(|model, slots| model.encode(slots, 1));
        let mean_square = |ct: &Vec<f64>| ct.iter().map(|x| x * x).sum::<f64>() / self.slots as f64;
        let mean_squares: Vec<f64> = x.iter().map(mean_square).collect();
        let deviations = self.rotated_squares.iter().enumerate().map(|(output, squares)| {
            let met = self.n_diagonals[output].iter().zip(&mean_squares);
            let of_rounding: f64 = met.map(|(count, square)| *count as f64 * square * rounded).sum();
            let everywhere = of_rounding + self.n_giants[output] as f64 * switched_square;
            squares
                .iter()
                .map(|square| (square * switched + everywhere).sqrt())
                .collect()
        });
        let deviations: Contents = deviations.collect();
        errors.add_each(result, &deviations)
    }
}
