//! Rotations and conjugation: a key switch and a permutation. Several rotations of one ciphertext share its digits.
//!
//! Source: Halevi, Shoup, "Faster Homomorphic Linear Transformations in HElib", CRYPTO 2018, section 4.1 (hoisting);
//! Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, EUROCRYPT 2021, section 4 (keys for the inverse automorphism).

use rayon::prelude::*;

use super::Evaluator;
use crate::ckks::Ciphertext;
use crate::ckks::keys::{KeyPurpose, KeySwitchKey};
use crate::error::Result;
use crate::ring::{Descent, Dividend, Poly};

/// Rotations whose raised products are in memory together.
pub(super) const ROTATIONS_AT_ONCE: usize = 4;

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
        Ok(self.turned(a, key, self.params().rotation_element(step)))
    }

    /// Several rotations of one ciphertext, in the order asked for; its digits are computed once.
    ///
    /// # Errors
    /// As [`Evaluator::rotate`].
    pub fn rotate_hoisted(&self, a: &Ciphertext, steps: &[usize]) -> Result<Vec<Ciphertext>> {
        a.check_parts("rotate", 2)?;
        let keys = steps.iter().map(|step| match step % a.slots() {
            0 => Ok(None),
            step => {
                let key = self.keys().get(KeyPurpose::Rotate(step), a.level())?;
                Ok(Some((&**key, self.params().rotation_element(step))))
            }
        });
        let keys: Vec<Option<(&KeySwitchKey, u64)>> = keys.collect::<Result<_>>()?;
        let switched: Vec<(&KeySwitchKey, u64)> = keys.iter().flatten().copied().collect();
        let digits = if switched.is_empty() {
            Vec::new()
        } else {
            self.decompose(&a.parts[1])
        };
        let mut rotated = Vec::with_capacity(switched.len());
        for chunk in switched.chunks(ROTATIONS_AT_ONCE) {
            let (keys, elements): (Vec<_>, Vec<_>) = chunk.iter().copied().unzip();
            let products = KeySwitchKey::products(&keys, &digits);
            let completed = products.into_par_iter().zip(elements);
            rotated.par_extend(completed.map(|(product, element)| self.complete(a, product, element)));
        }
        let mut rotated = rotated.into_iter();
        let outputs = keys.iter().map(|key| match key {
            None => Some(a.clone()),
            Some(_) => rotated.next(),
        });
        Ok(outputs.flatten().collect())
    }

    /// The complex conjugate of every slot.
    ///
    /// # Errors
    /// [`crate::error::Error::MissingConjugationKey`], otherwise as [`Evaluator::rotate`].
    pub fn conjugate(&self, a: &Ciphertext) -> Result<Ciphertext> {
        a.check_parts("conjugate", 2)?;
        let key = self.keys().get(KeyPurpose::Conjugate, a.level())?;
        Ok(self.turned(a, key, self.params().conjugation_element()))
    }

    /// `a` under an automorphism, with its key.
    fn turned(&self, a: &Ciphertext, key: &KeySwitchKey, element: u64) -> Ciphertext {
        let descent = Descent {
            kept: a.level() + 1,
            addends: [Some(&a.parts[0]), None],
            galois_element: Some(element),
        };
        let parts = key.switch(self.params(), &a.parts[1], descent);
        Ciphertext::computed(parts.into(), a.scale(), a.slots())
    }

    /// From the raised switch of a's second part to the rotated ciphertext.
    fn complete(&self, a: &Ciphertext, [body, mask]: [Poly; 2], element: u64) -> Ciphertext {
        let dividends = [
            Dividend {
                x: &body,
                addend: Some(&a.parts[0]),
            },
            Dividend { x: &mask, addend: None },
        ];
        let parts = self
            .params()
            .ring()
            .divide_each(dividends, a.level() + 1, Some(element));
        Ciphertext::computed(parts.into(), a.scale(), a.slots())
    }
}
