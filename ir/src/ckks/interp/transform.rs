//! Linear transforms by baby steps and giant steps, as the encrypted program computes them.
//!
//! Noise: a rotated input carries the errors of its key switch into every product with it; every encoded diagonal is
//! rounded; a giant step switches keys once more, at the squared scale. Errors are drawn once per output slot, with the
//! sum of these variances, where the rounding of the diagonals meets the mean square of the input's slots.

use super::Contents;
use super::errors::Errors;
use crate::ckks::Bsgs;
use crate::slot::Diagonals;
use std::collections::BTreeSet;

/// A transform with its plan looked up.
pub(super) struct Transform {
    slots: usize,
    n_outputs: usize,
    terms: Vec<Term>,
    /// Diagonals between every pair of an output and an input, outputs first.
    n_diagonals: Vec<Vec<usize>>,
    /// Giant steps of every output.
    n_giants: Vec<usize>,
    /// For every output slot, the sum of squares of the factors that meet rotated inputs.
    rotated_squares: Contents,
}

/// `values[(i + first) mod period] * x[input][(i + rotation) mod slots]` in every slot `i` of an output.
struct Term {
    output: usize,
    input: usize,
    rotation: usize,
    first: usize,
    values: Vec<f64>,
}

impl Transform {
    /// Looks up the steps of every diagonal of a matrix from `n_inputs` to `n_outputs` ciphertexts.
    pub(super) fn new(
        diagonals: Diagonals,
        bsgs: &Bsgs,
        (n_inputs, n_outputs): (usize, usize),
    ) -> Result<Self, String> {
        let slots = diagonals.slots;
        let mut transform = Transform {
            slots,
            n_outputs,
            terms: Vec::with_capacity(diagonals.values.len()),
            n_diagonals: vec![vec![0; n_inputs]; n_outputs],
            n_giants: vec![0; n_outputs],
            rotated_squares: vec![vec![0.0; slots]; n_outputs],
        };
        let starts = diagonals.values.keys().map(|&key| {
            let (baby, giant) = bsgs
                .split(key.rotation, diagonals.rotation_period)
                .ok_or_else(|| format!("the plan reaches no rotation by {}", key.rotation))?;
            let start = diagonals
                .plaintext_start(key, baby, giant)
                .ok_or_else(|| format!("no plaintext for the rotation by {baby} + {giant}"))?;
            Ok((baby, giant, start))
        });
        let starts: Vec<(usize, usize, usize)> = starts.collect::<Result<_, String>>()?;
        let mut giants = BTreeSet::new();
        for ((key, values), (baby, giant, start)) in diagonals.values.into_iter().zip(starts) {
            let counts = transform
                .n_diagonals
                .get_mut(key.out_ct)
                .ok_or("the result has too few ciphertexts")?;
            *counts.get_mut(key.in_ct).ok_or("the operand has too few ciphertexts")? += 1;
            if giant != 0 && giants.insert((key.out_ct, giant)) {
                transform.n_giants[key.out_ct] += 1;
            }
            let term = Term {
                output: key.out_ct,
                input: key.in_ct,
                rotation: (baby + giant) & (slots - 1),
                first: (start + giant) & (values.len() - 1),
                values,
            };
            if baby != 0 {
                let squares = &mut transform.rotated_squares[term.output];
                for_runs(slots, (term.first, &term.values), (0, &[]), |range, factors, _| {
                    let squares = squares[range].iter_mut();
                    squares.zip(factors).for_each(|(sum, factor)| *sum += factor * factor);
                });
            }
            transform.terms.push(term);
        }
        Ok(transform)
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.terms.iter().map(|term| 8 * term.values.len()).sum()
    }

    /// The transform of `x`, before its rescale and rotate-and-sum; works at level `at`.
    pub(super) fn apply(&self, x: &Contents, at: u32, errors: &mut Errors) -> Contents {
        let mut result = vec![vec![0.0; self.slots]; self.n_outputs];
        for term in &self.terms {
            let output = &mut result[term.output];
            let values = (term.first, term.values.as_slice());
            for_runs(
                self.slots,
                values,
                (term.rotation, &x[term.input]),
                |range, factors, x| {
                    let products = factors.iter().zip(x);
                    output[range]
                        .iter_mut()
                        .zip(products)
                        .for_each(|(sum, (factor, x))| *sum += factor * x);
                },
            );
        }
        if !errors.are_on() {
            return result;
        }
        let switched = errors.variance(|model, slots| model.key_switch(slots, at, 1));
        let switched_square = errors.variance(|model, slots| model.key_switch(slots, at, 2));
        let rounded = errors.variance(|model, slots| model.encode(slots, 1));
        let mean_square = |ct: &Vec<f64>| ct.iter().map(|x| x * x).sum::<f64>() / self.slots as f64;
        let mean_squares: Vec<f64> = x.iter().map(mean_square).collect();
        let variances = self.rotated_squares.iter().enumerate().map(|(output, squares)| {
            let met = self.n_diagonals[output].iter().zip(&mean_squares);
            let of_rounding: f64 = met.map(|(count, square)| *count as f64 * square * rounded).sum();
            let everywhere = of_rounding + self.n_giants[output] as f64 * switched_square;
            squares.iter().map(|square| square * switched + everywhere).collect()
        });
        let variances: Contents = variances.collect();
        errors.add_each(result, &variances)
    }
}

/// Calls `visit` with ranges of slots in which neither of two cyclic vectors, read from a given position on, wraps around,
/// and what lies there in both. An empty second vector is left out.
fn for_runs(
    slots: usize,
    (first, values): (usize, &[f64]),
    (rotation, x): (usize, &[f64]),
    mut visit: impl FnMut(std::ops::Range<usize>, &[f64], &[f64]),
) {
    let mut slot = 0;
    while slot < slots {
        let from = (first + slot) & (values.len() - 1);
        let mut length = (values.len() - from).min(slots - slot);
        let mut operand: &[f64] = &[];
        if !x.is_empty() {
            let at = (rotation + slot) & (x.len() - 1);
            length = length.min(x.len() - at);
            operand = &x[at..at + length];
        }
        visit(slot..slot + length, &values[from..from + length], operand);
        slot += length;
    }
}
