//! The trace onto the subring that a sparsely packed message lives in.
//!
//! Assumes a ciphertext whose message has n slots repeated N/2n times. Ensures that everything outside the subring of
//! X^(N/2n) is gone (the multiples of q_0, above all) and that what is inside is multiplied by N/2n.
//! Source: Cheon, Han, Kim, Kim, Song, EUROCRYPT 2018, section 5.2 (there called partial sums).

use crate::ckks::Ciphertext;
use crate::ckks::eval::Evaluator;
use crate::error::Result;

/// The rotations that [`trace`] takes.
pub fn trace_steps(slots: usize, max_slots: usize) -> Vec<usize> {
    std::iter::successors(Some(slots), |step| Some(2 * step))
        .take_while(|step| *step < max_slots)
        .collect()
}

/// The sum of all rotations by multiples of the slot count.
///
/// # Errors
/// As [`Evaluator::rotate`].
pub fn trace(evaluator: &Evaluator, ciphertext: Ciphertext) -> Result<Ciphertext> {
    trace_from(evaluator, ciphertext, evaluator.params().max_slots())
}

/// The rest of the trace of a sum of all rotations by multiples of `summed`.
///
/// # Errors
/// As [`Evaluator::rotate`].
pub(super) fn trace_from(evaluator: &Evaluator, mut ciphertext: Ciphertext, summed: usize) -> Result<Ciphertext> {
    let slots = ciphertext.slots;
    let steps = trace_steps(slots, summed);
    ciphertext.slots = evaluator.params().max_slots();
    let mut sum = evaluator.fold(ciphertext, &steps)?;
    sum.slots = slots;
    Ok(sum)
}
