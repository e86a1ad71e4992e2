//! Real constants: the same number in every slot is a constant polynomial, so no encoding is needed.

use super::Evaluator;
use crate::ckks::Ciphertext;
use crate::error::{Error, Result};

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
}

/// round(value * scale).
pub(super) fn scaled_integer(what: &'static str, value: f64, scale: f64) -> Result<i128> {
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
