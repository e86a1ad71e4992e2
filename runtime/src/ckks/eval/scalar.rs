//! Real constants: the same number in every slot is a constant polynomial, so no encoding is needed.

use super::Evaluator;
use super::evaluator::check_slots;
use crate::ckks::Ciphertext;
use crate::error::{Error, Result};
use crate::ring::Poly;

/// Largest log2 of a scaled constant: i128 with room for a sign.
const MAX_CONSTANT_LOG2: f64 = 126.0;

impl Evaluator {
    /// a + value.
    ///
    /// # Errors
    /// [`Error::InvalidScale`] when value * scale is too large.
    pub fn add_scalar(&self, a: &Ciphertext, value: f64) -> Result<Ciphertext> {
        let mut sum = a.clone();
        self.add_scalar_in_place(&mut sum, value)?;
        Ok(sum)
    }

    /// a += value.
    ///
    /// # Errors
    /// As [`Evaluator::add_scalar`].
    pub fn add_scalar_in_place(&self, a: &mut Ciphertext, value: f64) -> Result<()> {
        use rayon::prelude::*;
        let constant = scaled_integer("add_scalar", value, a.scale())?;
        a.seed = None;
        let ring = self.params().ring();
        a.parts[0].par_limbs_mut().enumerate().for_each(|(prime, values)| {
            let modulus = ring.modulus(prime);
            let constant = modulus.from_signed_wide(constant);
            for value in values {
                *value = modulus.add(*value, constant);
            }
        });
        Ok(())
    }

    /// a * value, not yet rescaled: rescaling lands on the canonical scale of the next level.
    ///
    /// # Errors
    /// [`Error::LevelTooLow`] at level 0, [`Error::InvalidScale`] when the product does not fit.
    pub fn mul_scalar(&self, a: &Ciphertext, value: f64) -> Result<Ciphertext> {
        self.check_level("mul_scalar", a, 1)?;
        let level = a.level();
        let scale = self.params().scale(level - 1) * self.params().q()[level] as f64;
        self.mul_scalar_to_scale(a, value, scale)
    }

    /// a * value with the given scale, no rescale.
    ///
    /// # Errors
    /// [`Error::InvalidScale`] when the product does not fit.
    pub fn mul_scalar_to_scale(&self, a: &Ciphertext, value: f64, scale: f64) -> Result<Ciphertext> {
        self.check_scale("mul_scalar", scale, a.level())?;
        let constant = scaled_integer("mul_scalar", value, scale / a.scale())?;
        let mut product = a.clone();
        product.each_part(|part| part.mul_integer(constant));
        product.scale = scale;
        Ok(product)
    }

    /// a * factor at the same scale and level: exact and free.
    #[must_use]
    pub fn mul_integer(&self, a: &Ciphertext, factor: i64) -> Ciphertext {
        let mut product = a.clone();
        product.each_part(|part| part.mul_integer(i128::from(factor)));
        product
    }

    /// acc += coefficient * x, where x may be at a higher level and have any scale: the constant makes up for it.
    ///
    /// # Errors
    /// [`Error::LevelMismatch`] for x at a lower level, [`Error::DegreeMismatch`] for x of higher degree,
    /// [`Error::InvalidScale`], [`Error::SlotMismatch`].
    pub fn accumulate_scaled(&self, acc: &mut Ciphertext, x: &Ciphertext, coefficient: f64) -> Result<()> {
        let what = "accumulate_scaled";
        check_slots(what, acc.slots(), x.slots())?;
        if x.level() < acc.level() {
            return Err(Error::LevelMismatch {
                what,
                left: acc.level(),
                right: x.level(),
            });
        }
        if x.parts.len() > acc.parts.len() {
            return Err(Error::DegreeMismatch {
                what,
                expected: acc.parts.len(),
                found: x.parts.len(),
            });
        }
        let constant = scaled_integer(what, coefficient, acc.scale() / x.scale())?;
        acc.seed = None;
        let ring = self.params().ring();
        let residues: Vec<u64> = (0..=acc.level())
            .map(|prime| ring.modulus(prime).from_signed_wide(constant))
            .collect();
        for (acc, x) in acc.parts.iter_mut().zip(&x.parts) {
            acc.add_mul_constants(x, &residues);
        }
        Ok(())
    }

    /// a += a.
    pub(super) fn double_in_place(&self, a: &mut Ciphertext) {
        a.each_part(|part: &mut Poly| part.mul_integer(2));
    }
}

/// round(value * scale).
fn scaled_integer(what: &'static str, value: f64, scale: f64) -> Result<i128> {
    let product = value * scale;
    if product.is_finite() && product.abs() < MAX_CONSTANT_LOG2.exp2() {
        Ok(product.round_ties_even() as i128)
    } else {
        Err(Error::InvalidScale {
            what,
            scale: product,
            reason: "the scaled constant does not fit 126 bits",
        })
    }
}
