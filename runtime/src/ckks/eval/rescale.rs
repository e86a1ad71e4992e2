//! Moving down the chain: rescale (divide), drop (forget primes), adjust (land on a canonical scale).

use super::Evaluator;
use crate::ckks::Ciphertext;
use crate::error::{Error, Result};
use crate::ring::{Basis, Dividend};

/// Scales this close are taken as equal: the error is far below that of a rescale.
const FREE_ADJUSTMENT: f64 = 1.0 / (1u64 << 36) as f64;

impl Evaluator {
    /// Divides by the last prime: one level down, scale / q_l, rounding noise of at most about sqrt(h/12).
    ///
    /// # Errors
    /// [`Error::LevelTooLow`] at level 0.
    pub fn rescale(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.check_level("rescale", a, 1)?;
        self.rescale_to(a, a.level() - 1)
    }

    /// Divides by all primes above `level` at once; noise as one [`Evaluator::rescale`].
    ///
    /// # Errors
    /// [`Error::LevelTooLow`] unless `level` is below the ciphertext's.
    pub fn rescale_to(&self, a: &Ciphertext, level: usize) -> Result<Ciphertext> {
        self.check_level("rescale", a, level + 1)?;
        let ring = self.params().ring();
        let parts = match a.parts.as_slice() {
            [body, mask] => {
                let dividends = [body, mask].map(|x| Dividend { x, addend: None });
                ring.divide_each(dividends, level + 1, None).into()
            }
            parts => parts.iter().map(|part| ring.divide_down_to(part, level + 1)).collect(),
        };
        Ok(Ciphertext::computed(
            parts,
            a.scale() / self.divisor(a.level(), level),
            a.slots(),
        ))
    }

    /// The product of the primes of the levels above `to`, up to `from`.
    pub(crate) fn divisor(&self, from: usize, to: usize) -> f64 {
        self.params().q()[to + 1..=from].iter().map(|q| *q as f64).product()
    }

    /// As [`Evaluator::rescale`], in place.
    ///
    /// # Errors
    /// [`Error::LevelTooLow`] at level 0.
    pub fn rescale_in_place(&self, a: &mut Ciphertext) -> Result<()> {
        *a = self.rescale(a)?;
        Ok(())
    }

    /// The same ciphertext at a lower level: limbs are left out, the scale stays.
    ///
    /// # Errors
    /// [`Error::LevelTooLow`] when `level` is above the ciphertext's.
    pub fn drop_level(&self, a: &Ciphertext, level: usize) -> Result<Ciphertext> {
        self.check_level("drop_level", a, level)?;
        let parts = a.parts.iter().map(|part| part.restricted(Basis::q(level))).collect();
        Ok(Ciphertext::computed(parts, a.scale(), a.slots()))
    }

    /// The same values at `level` and its canonical scale.
    ///
    /// # Errors
    /// As [`Evaluator::adjust_to_scale`].
    pub fn adjust_to(&self, a: &Ciphertext, level: usize) -> Result<Ciphertext> {
        self.params().check_level("adjust_to", level)?;
        self.adjust_to_scale(a, level, self.params().scale(level))
    }

    /// The same values at `level` and `scale`: limbs are left out down to the level above, then one product by a
    /// constant and one rescale. Where the scale is right already (2^-36), limbs are left out and that is all.
    ///
    /// # Errors
    /// [`Error::LevelTooLow`] when `level` is above the ciphertext's; [`Error::ScaleMismatch`] when it is the
    /// ciphertext's own but the scale is not.
    pub fn adjust_to_scale(&self, a: &Ciphertext, level: usize, scale: f64) -> Result<Ciphertext> {
        self.check_level("adjust_to", a, level)?;
        let mut result = if (a.scale() / scale - 1.0).abs() <= FREE_ADJUSTMENT {
            self.drop_level(a, level)?
        } else if a.level() == level {
            let (left_log2, right_log2) = (a.scale().log2(), scale.log2());
            return Err(Error::ScaleMismatch {
                what: "adjust_to",
                left_log2,
                right_log2,
            });
        } else {
            let above = self.drop_level(a, level + 1)?;
            let unscaled = scale * self.params().q()[level + 1] as f64;
            self.rescale(&self.mul_scalar_to_scale(&above, 1.0, unscaled)?)?
        };
        result.scale = scale;
        Ok(result)
    }
}
