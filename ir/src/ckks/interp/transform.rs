//! Linear transforms by baby steps and giant steps, as the encrypted program computes them, on several runs at once.
//!
//! Method: rows of the matrix are enumerated and not kept; every non-zero is multiplied to each slot of the operand that its
//! diagonal meets, in all runs at once. That takes no memory but for the slots, where diagonals take many times that of the
//! weights. Rows are shared out among threads; no two of them write the same slot, so results do not depend on how.
//!
//! Noise: a rotated input carries the errors of its key switch into every product with it; every encoded diagonal is
//! rounded; a giant step switches keys once more, at the squared scale. Errors are drawn once per output slot, with the
//! sum of these variances, where the rounding of the diagonals meets the mean square of the input's slots.

use super::Contents;
use super::errors::Errors;
use crate::ckks::Bsgs;
use crate::constant::ConstantPool;
use crate::error::IrError;
use crate::slot::placement::Frame;
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
    rotation: usize,
    /// Slots by which values move, as they follow the rotation.
    first: usize,
    is_baby_rotated: bool,
    /// Number of the giant step, if it rotates.
    giant: Option<usize>,
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
    /// By group of runs, output and slot.
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
                        for &(column, factor) in cursor.row(out) {
                            let from = self.in_addresses[column];
                            self.frame.visit(to, from, |position, slot| {
                                self.multiply(&mut sums, n_groups, &operand, (position, slot, factor));
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

    /// Multiplies one non-zero, in `slot` of the diagonal at `position`, to all slots that it meets.
    #[inline]
    fn multiply(
        &self,
        sums: &mut Sums,
        n_groups: usize,
        operand: &[Lanes],
        (position, slot, factor): (usize, usize, f64),
    ) {
        let (pair, rotation) = (
            position / self.frame.rotation_period,
            position & (self.frame.rotation_period - 1),
        );
        let (out_ct, in_ct) = (pair / self.n_inputs, pair % self.n_inputs);
        let Some(step) = self.steps[rotation] else {
            sums.failure
                .get_or_insert_with(|| format!("the plan reaches no rotation by {rotation}"));
            return;
        };
        let mask = self.slots - 1;
        let first = slot.wrapping_sub(step.first);
        for group in 0..n_groups {
            let products = &mut sums.products[(group * self.n_outputs + out_ct) * self.slots..][..self.slots];
            let operand = &operand[(group * self.n_inputs + in_ct) * self.slots..][..self.slots];
            for block in (0..self.slots).step_by(self.frame.period) {
                let to = first.wrapping_add(block) & mask;
                let from = (to + step.rotation) & mask;
                for (product, x) in products[to].iter_mut().zip(&operand[from]) {
                    *product += factor * x;
                }
            }
        }
        sums.traits.is_present[position] = true;
        if step.is_baby_rotated {
            let at = out_ct * self.frame.period + (first & (self.frame.period - 1));
            sums.traits.rotated_squares[at] += factor * factor;
        }
        if let Some(giant) = step.giant {
            sums.traits.giants[out_ct * self.n_giants + giant] = true;
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

    /// The operands by group of runs, input and slot.
    fn interleaved(&self, xs: &[&Contents]) -> Vec<Lanes> {
        let mut all = vec![[0.0; LANES]; xs.len().div_ceil(LANES) * self.n_inputs * self.slots];
        for (group, xs) in all.chunks_exact_mut(self.n_inputs * self.slots).zip(xs.chunks(LANES)) {
            for (lane, x) in xs.iter().enumerate() {
                let slots = group.iter_mut().zip(x.iter().flatten());
                slots.for_each(|(lanes, x)| lanes[lane] = *x);
            }
        }
        all
    }

    /// The products of one run.
    fn run(&self, products: &[Lanes], run: usize) -> Contents {
        let group = &products[run / LANES * self.n_outputs * self.slots..][..self.n_outputs * self.slots];
        let of_output = |lanes: &[Lanes]| lanes.iter().map(|lanes| lanes[run % LANES]).collect();
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

/// The steps of every rotation that the plan reaches: those with the smallest giant step, then the smallest baby step, as
/// [`Bsgs::split`] has them.
fn steps(bsgs: &Bsgs, frame: &Frame, slots: usize) -> Vec<Option<Step>> {
    let mut steps = vec![None; frame.rotation_period];
    for (number, giant) in bsgs.giant_steps.iter().enumerate() {
        for baby in &bsgs.baby_steps {
            let rotation = (baby + giant) & (frame.rotation_period - 1);
            steps[rotation].get_or_insert(Step {
                rotation: (baby + giant) & (slots - 1),
                first: if frame.follows_rotation() {
                    baby + giant - rotation
                } else {
                    0
                },
                is_baby_rotated: *baby != 0,
                giant: (*giant != 0).then_some(number),
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
