//! Raising the modulus: from q_0 to the whole chain, and what is cheapest done on the way.
//!
//! Assumes a ciphertext of two parts at level 0. Ensures one at the asked level whose coefficients are m + q_0 I for the
//! message's coefficients m, with |I| bounded by half the ephemeral secret's Hamming weight plus one; see `failure` for
//! how far it really reaches. Adds the noise of one key switch and of one division, far below that of the message.
//!
//! Under the ephemeral secret the raised second part is below q_0 in magnitude: one digit, and so are its rotations. A
//! trace, and a linear transform without giant steps, is therefore a sum of products with keys of one digit each
//! ([`sum_of_turned`]), which the same division ends that raising needs by itself. Of the first part the trace is taken
//! coefficient by coefficient.
//! Source: Cheon, Han, Kim, Kim, Song, "Bootstrapping for Approximate Homomorphic Encryption", EUROCRYPT 2018; ours: the rotations.

use std::sync::Arc;

use rayon::prelude::*;

use crate::ckks::Ciphertext;
use crate::ckks::eval::{DiagonalEncoding, EncodedDiagonals};
use crate::ckks::keys::{EncapsulationKeys, KeySwitchKey};
use crate::ckks::linear::LinearTransform;
use crate::ckks::params::Parameters;
use crate::error::{Error, Result};
use crate::ring::{Basis, CompactPoly, Poly, TurnedTerm, sum_of_turned};

/// The raised ciphertext, with the scale it had.
///
/// # Errors
/// [`Error::DegreeMismatch`] for more than two parts, [`Error::MissingRaisedRotationKey`], [`Error::KeyLevelTooLow`].
pub fn mod_raise(
    params: &Parameters,
    keys: &EncapsulationKeys,
    ciphertext: &Ciphertext,
    level: usize,
) -> Result<Ciphertext> {
    mod_raise_traced(params, keys, ciphertext, level, 0)
}

/// The sum of the rotations of the raised ciphertext by all multiples of N / 2^(1 + `log_traced`).
///
/// # Errors
/// As [`mod_raise`].
pub(super) fn mod_raise_traced(
    params: &Parameters,
    keys: &EncapsulationKeys,
    ciphertext: &Ciphertext,
    level: usize,
    log_traced: usize,
) -> Result<Ciphertext> {
    let sum = raised_sum(params, keys, ciphertext, level, log_traced, &[(0, None)])?;
    let parts = sum.par_iter().map(|part| params.ring().mod_down(part)).collect();
    Ok(Ciphertext::computed(parts, ciphertext.scale(), ciphertext.slots()))
}

/// The linear transform of such a sum, with diagonals in the encoding of [`raised_encoding`] for the scale that the sum is
/// taken to have: at the level below and its canonical scale.
///
/// # Errors
/// As [`mod_raise`]; [`Error::InvalidLinearTransform`] for a transform with giant steps or folds, and for a missing diagonal.
pub(super) fn mod_raise_transformed(
    params: &Parameters,
    keys: &EncapsulationKeys,
    ciphertext: &Ciphertext,
    log_traced: usize,
    (shape, diagonals): (&LinearTransform, &EncodedDiagonals),
    encoding: &DiagonalEncoding,
) -> Result<Ciphertext> {
    let level = encoding.basis.level();
    let babies = shape.diagonals().iter().map(|idx| {
        if idx.giant != 0 || !shape.folds().is_empty() || shape.n_inputs() != 1 || shape.n_outputs() != 1 {
            let reason = "only one sum of products can be made while a ciphertext is raised".into();
            return Err(Error::InvalidLinearTransform { reason });
        }
        Ok((idx.baby, Some(diagonals.borrowed(*idx, encoding)?.poly())))
    });
    let babies: Vec<_> = babies.collect::<Result<_>>()?;
    let sum = raised_sum(params, keys, ciphertext, level, log_traced, &babies)?;
    let parts = sum
        .par_iter()
        .map(|part| params.ring().mod_down_and_rescale(part))
        .collect();
    Ok(Ciphertext::computed(parts, params.scale(level - 1), shape.slots()))
}

/// How [`mod_raise_transformed`] takes its diagonals.
pub(super) fn raised_encoding(params: &Parameters, level: usize, scale: f64) -> DiagonalEncoding {
    DiagonalEncoding {
        basis: EncapsulationKeys::raised_basis(params, level),
        scale,
    }
}

/// The rotations that a trace over 2^`log_traced` multiples and these steps take.
pub(super) fn raised_steps(max_slots: usize, log_traced: usize, steps: &[usize]) -> impl Iterator<Item = usize> {
    let stride = max_slots >> log_traced;
    let multiples = (0..1usize << log_traced).map(move |j| j * stride);
    multiples.flat_map(move |multiple| steps.iter().map(move |step| (step + multiple) % max_slots))
}

/// Over the basis of the keys back, P times the sum of the rotations by the given steps of the traced ciphertext, each times its
/// factor.
fn raised_sum(
    params: &Parameters,
    keys: &EncapsulationKeys,
    ciphertext: &Ciphertext,
    level: usize,
    log_traced: usize,
    babies: &[(usize, Option<&CompactPoly>)],
) -> Result<[Poly; 2]> {
    ciphertext.check_parts("mod_raise", 2)?;
    params.check_level("mod_raise", level)?;
    let (ring, max_slots) = (params.ring(), params.max_slots());
    let mut switching = Vec::new();
    for (step, factor) in babies {
        for (number, step) in raised_steps(max_slots, log_traced, &[*step]).enumerate() {
            let key: &Arc<KeySwitchKey> = keys.to_dense(step, level)?;
            // The first part comes traced.
            let is_whole = number == 0;
            switching.push((params.rotation_element(step), key, *factor, is_whole));
        }
    }
    let terms: Vec<TurnedTerm> = switching
        .iter()
        .flat_map(|(element, key, factor, is_whole)| {
            let digits = key.digits();
            digits.map(|digit| TurnedTerm::new(ring, *element, digit, *factor, *is_whole))
        })
        .collect();
    let [mut first, second] = keys.to_sparse(ciphertext.parts()).map(|part| centred(&part));
    let kept = 1 << log_traced;
    let dropped = first.iter_mut().enumerate().filter(|(i, _)| i % kept != 0);
    dropped.for_each(|(_, coefficient)| *coefficient = 0);
    let lift = |coefficients: &[i64], basis| {
        let mut raised = Poly::from_signed(ring, basis, coefficients);
        raised.to_eval();
        raised
    };
    let basis = EncapsulationKeys::raised_basis(params, level);
    let mut first = lift(&first, Basis::q(level));
    let special = |prime| {
        let modulus = ring.modulus(prime);
        modulus.mul(
            ring.special_modulus(basis.p_limbs, prime),
            kept as u64 % modulus.value(),
        )
    };
    first.mul_constants(&(0..=level).map(special).collect::<Vec<_>>());
    Ok(sum_of_turned([&first, &lift(&second, basis)], &terms))
}

/// The centred coefficients of a polynomial modulo q_0.
fn centred(part: &Poly) -> Vec<i64> {
    let modulus = part.modulus(0);
    part.limb(0).iter().map(|x| modulus.to_signed(*x)).collect()
}
