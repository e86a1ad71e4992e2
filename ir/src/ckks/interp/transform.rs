//! Linear transforms by baby steps and giant steps, as the encrypted program computes them.
//!
//! Noise: a rotated input carries the errors of its key switch into every product with it; every encoded diagonal is
//! rounded; a giant step switches keys once more, at the squared scale. Errors are drawn once per output slot, with the
//! sum of these variances.

use super::Contents;
use super::errors::Errors;
use crate::ckks::Bsgs;
use crate::slot::Diagonals;
use std::collections::BTreeSet;

/// The transform of `x`, before its rescale and rotate-and-sum, in `n_outputs` ciphertexts; works at level `at`.
pub(super) fn apply(
    diagonals: &Diagonals,
    bsgs: &Bsgs,
    (x, n_outputs): (&Contents, usize),
    at: u32,
    errors: &mut Errors,
) -> Result<Contents, String> {
    let slots = diagonals.slots;
    let switched = errors.variance(|model, slots| model.key_switch(slots, at, 1));
    let switched_square = errors.variance(|model, slots| model.key_switch(slots, at, 2));
    let rounded = errors.variance(|model, slots| model.encode(slots, 1));
    let mut result = vec![vec![0.0; slots]; n_outputs];
    let mut variances = vec![vec![0.0; if errors.are_on() { slots } else { 0 }]; n_outputs];
    let mut giants = BTreeSet::new();
    for &key in diagonals.values.keys() {
        let (baby, giant) = bsgs
            .split(key.rotation, diagonals.rotation_period)
            .ok_or_else(|| format!("the plan reaches no rotation by {}", key.rotation))?;
        let plaintext = diagonals
            .plaintext(key, baby, giant)
            .ok_or_else(|| format!("no plaintext for the rotation by {baby} + {giant}"))?;
        let operand = x.get(key.in_ct).ok_or("the operand has too few ciphertexts")?;
        let output = result.get_mut(key.out_ct).ok_or("the result has too few ciphertexts")?;
        for (slot, out) in output.iter_mut().enumerate() {
            let factor = plaintext[(slot + giant) % plaintext.len()];
            if factor != 0.0 {
                *out += factor * operand[(slot + giant + baby) % slots];
            }
        }
        let baby_variance = if baby == 0 { 0.0 } else { switched };
        for (slot, variance) in variances[key.out_ct].iter_mut().enumerate() {
            let factor = plaintext[(slot + giant) % plaintext.len()];
            let operand = operand[(slot + giant + baby) % slots];
            *variance += factor * factor * baby_variance + operand * operand * rounded;
        }
        if giant != 0 && giants.insert((key.out_ct, giant)) {
            variances[key.out_ct]
                .iter_mut()
                .for_each(|variance| *variance += switched_square);
        }
    }
    Ok(errors.add_each(result, &variances))
}
