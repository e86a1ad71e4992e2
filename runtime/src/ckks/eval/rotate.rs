//! Rotations and conjugation: a key switch and a permutation. Several rotations of one ciphertext share its digits.
//!
//! Source: Halevi, Shoup, "Faster Homomorphic Linear Transformations in HElib", CRYPTO 2018, section 4.1 (hoisting);
//! Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, EUROCRYPT 2021, section 4 (keys for the inverse automorphism).

use rayon::prelude::*;

use super::Evaluator;
use crate::ckks::Ciphertext;
use crate::ckks::keys::KeyPurpose;
use crate::error::Result;
use crate::ring::Poly;

impl Evaluator {
    /// out\[j\] = a\[(j + step) mod slots\].
    ///
    /// # Errors
    /// [`crate::error::Error::MissingRotationKey`], [`crate::error::Error::KeyLevelTooLow`],
    /// [`crate::error::Error::DegreeMismatch`] for an operand that is not relinearised.
    pub fn rotate(&self, a: &Ciphertext, step: usize) -> Result<Ciphertext> {
        a.check_parts("rotate", 2)?;
        let step = step % a.slots();
        if step == 0 {
            return Ok(a.clone());
        }
        let key = self.keys().get(KeyPurpose::Rotate(step), a.level())?;
        let product = key.product_with_digits_of(self.params(), &a.parts[1]);
        Ok(self.complete(a, product, self.params().rotation_element(step)))
    }

    /// Several rotations of one ciphertext, in the order asked for; its digits are computed once.
    ///
    /// # Errors
    /// As [`Evaluator::rotate`].
    pub fn rotate_hoisted(&self, a: &Ciphertext, steps: &[usize]) -> Result<Vec<Ciphertext>> {
        a.check_parts("rotate", 2)?;
        let keys = steps.iter().map(|step| match step % a.slots() {
            0 => Ok((0, None)),
            step => Ok((step, Some(self.keys().get(KeyPurpose::Rotate(step), a.level())?))),
        });
        let keys: Vec<_> = keys.collect::<Result<_>>()?;
        if keys.iter().all(|(_, key)| key.is_none()) {
            return Ok(vec![a.clone(); steps.len()]);
        }
        let digits = self.decompose(&a.parts[1]);
        let rotated = keys.par_iter().map(|(step, key)| match key {
            None => a.clone(),
            Some(key) => self.complete(a, key.product(&digits), self.params().rotation_element(*step)),
        });
        Ok(rotated.collect())
    }

    /// The complex conjugate of every slot.
    ///
    /// # Errors
    /// [`crate::error::Error::MissingConjugationKey`], otherwise as [`Evaluator::rotate`].
    pub fn conjugate(&self, a: &Ciphertext) -> Result<Ciphertext> {
        a.check_parts("conjugate", 2)?;
        let key = self.keys().get(KeyPurpose::Conjugate, a.level())?;
        let product = key.product_with_digits_of(self.params(), &a.parts[1]);
        Ok(self.complete(a, product, self.params().conjugation_element()))
    }

    /// From the raised switch of a's second part to the rotated ciphertext.
    fn complete(&self, a: &Ciphertext, [mut body, mask]: [Poly; 2], element: u64) -> Ciphertext {
        let ring = self.params().ring();
        self.add_special_multiple(&mut body, &a.parts[0]);
        let parts = [body, mask].map(|part| ring.mod_down_then_automorphism(&part, element));
        Ciphertext::computed(parts.into(), a.scale(), a.slots())
    }
}
