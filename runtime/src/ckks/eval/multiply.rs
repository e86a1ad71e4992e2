//! Products: ciphertext by ciphertext (three parts, until relinearised) and by plaintext.

use super::Evaluator;
use super::evaluator::{check_same_scale, check_slots};
use super::scalar::scaled_integer;
use crate::ckks::keys::KeyPurpose;
use crate::ckks::{Ciphertext, Plaintext};
use crate::error::{Error, Result};
use crate::ring::{Basis, Combination, Descent, Poly};

/// Pairs of ciphertexts to multiply.
#[derive(Clone, Copy)]
pub(super) enum Products<'a> {
    Once(&'a [[&'a Ciphertext; 2]]),
    /// Each product counts twice.
    Doubled(&'a [[&'a Ciphertext; 2]]),
}

impl Evaluator {
    /// a * b with three parts, at the product of the scales: relinearise and rescale when it suits.
    ///
    /// # Errors
    /// [`Error::LevelMismatch`], [`Error::SlotMismatch`], [`Error::DegreeMismatch`] for operands that are not
    /// relinearised, [`Error::InvalidScale`] when the modulus cannot hold the product.
    pub fn mul(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        if a.level() != b.level() {
            return Err(Error::LevelMismatch {
                what: "mul",
                left: a.level(),
                right: b.level(),
            });
        }
        self.tensor(a, b)
    }

    /// a * a: reads one operand.
    ///
    /// # Errors
    /// As [`Evaluator::mul`].
    pub fn square(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.tensor(a, a)
    }

    /// a * b, relinearised and rescaled: from the canonical scale of a level to that of the next.
    ///
    /// # Errors
    /// As [`Evaluator::mul`]; [`Error::LevelTooLow`] at level 0, [`Error::MissingRelinKey`].
    pub fn mul_relin_rescale(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        let mut product = self.mul(a, b)?;
        self.relinearize_rescale_in_place(&mut product)?;
        Ok(product)
    }

    /// a * p, not rescaled. The plaintext may be at a higher level.
    ///
    /// # Errors
    /// [`Error::LevelMismatch`] for a plaintext at a lower level, [`Error::SlotMismatch`], [`Error::InvalidScale`].
    pub fn mul_plain(&self, a: &Ciphertext, p: &Plaintext) -> Result<Ciphertext> {
        check_slots("mul_plain", a.slots(), p.slots())?;
        if p.level() < a.level() {
            return Err(Error::LevelMismatch {
                what: "mul_plain",
                left: a.level(),
                right: p.level(),
            });
        }
        let scale = a.scale() * p.scale();
        self.check_scale("mul_plain", scale, a.level())?;
        let parts = match a.parts.as_slice() {
            // both parts read the plaintext once
            [body, mask] => Poly::inner_products(a.basis(), &[&p.poly], &[[body, mask]]).into(),
            parts => parts
                .iter()
                .map(|part| Poly::inner_product(a.basis(), &[&p.poly], &[part]))
                .collect(),
        };
        Ok(Ciphertext::computed(parts, scale, a.slots()))
    }

    /// The scale at which to encode a plaintext that multiplies a ciphertext of this level and scale, so that rescaling
    /// the product lands on the canonical scale of the next level.
    ///
    /// # Errors
    /// [`Error::LevelTooLow`] at level 0.
    pub fn plain_scale(&self, level: usize, scale: f64) -> Result<f64> {
        if level == 0 {
            return Err(Error::LevelTooLow {
                what: "a product with rescale",
                level,
                needed: 1,
            });
        }
        Ok(self.params().scale(level - 1) * self.params().q()[level] as f64 / scale)
    }

    /// From three parts to two. A ciphertext of two parts stays as it is.
    ///
    /// # Errors
    /// [`Error::MissingRelinKey`], [`Error::KeyLevelTooLow`].
    pub fn relinearize(&self, a: &Ciphertext) -> Result<Ciphertext> {
        if a.parts.len() == 2 {
            return Ok(a.clone());
        }
        let parts = self.relinearized(a, a.level())?;
        Ok(Ciphertext::computed(parts, a.scale(), a.slots()))
    }

    /// As [`Evaluator::relinearize`], in place.
    ///
    /// # Errors
    /// As [`Evaluator::relinearize`].
    pub fn relinearize_in_place(&self, a: &mut Ciphertext) -> Result<()> {
        if a.parts.len() == 2 {
            return Ok(());
        }
        a.parts = self.relinearized(a, a.level())?;
        Ok(())
    }

    /// Relinearises and rescales with a single division by P * q_l.
    ///
    /// # Errors
    /// As [`Evaluator::relinearize`]; [`Error::LevelTooLow`] at level 0.
    pub fn relinearize_rescale_in_place(&self, a: &mut Ciphertext) -> Result<()> {
        self.check_level("rescale", a, 1)?;
        self.relinearize_rescale_to(a, a.level() - 1)
    }

    /// Relinearises and rescales down to `level` with a single division by P and all primes above that level.
    ///
    /// # Errors
    /// As [`Evaluator::relinearize`]; [`Error::LevelTooLow`] unless `level` is below the ciphertext's.
    pub fn relinearize_rescale_to(&self, a: &mut Ciphertext, level: usize) -> Result<()> {
        if a.parts.len() == 2 {
            *a = self.rescale_to(a, level)?;
            return Ok(());
        }
        self.check_level("rescale", a, level + 1)?;
        let parts = self.relinearized(a, level)?;
        a.scale /= self.divisor(a.level(), level);
        a.parts = parts;
        Ok(())
    }

    /// The first two parts of `a` and the switch of its third over q_0..q_level, divided by the primes above.
    fn relinearized(&self, a: &Ciphertext, level: usize) -> Result<Vec<Poly>> {
        a.check_parts("relinearize", 3)?;
        let key = self.keys().get(KeyPurpose::Relinearize, a.level())?;
        let descent = Descent {
            kept: level + 1,
            addends: [Some(&a.parts[0]), Some(&a.parts[1])],
            galois_element: None,
        };
        Ok(key.switch(self.params(), &a.parts[2], descent).into())
    }

    /// 2 a * a - 1 with three parts, at the square of the scale: the cosine of the doubled angle.
    pub(crate) fn double_angle(&self, a: &Ciphertext) -> Result<Ciphertext> {
        let target = (a.level(), a.scale() * a.scale(), a.slots());
        self.combine(Products::Doubled(&[[a, a]]), &[], -1.0, target)
    }

    /// The sum of products, of ciphertexts times coefficients and of a constant, over q_0..q_level at `scale`, which is that of
    /// every product to within rounding; operands may be at higher levels, whose further limbs are not read. What is multiplied
    /// with a coefficient may have any scale: the coefficient makes up for it. Three parts if there are products.
    pub(super) fn combine(
        &self,
        products: Products,
        multiples: &[(&Ciphertext, f64)],
        constant: f64,
        (level, scale, slots): (usize, f64, usize),
    ) -> Result<Ciphertext> {
        let (products, doubled_products) = match products {
            Products::Once(products) => (products, false),
            Products::Doubled(products) => (products, true),
        };
        for [a, b] in products {
            check_same_scale("a sum of products", self.check_tensor(a, b, level)?, scale)?;
            check_slots("a sum of products", a.slots(), slots)?;
        }
        let multiple = |(x, coefficient): &(&'_ Ciphertext, f64)| {
            let what = "a product with a constant";
            check_slots(what, x.slots(), slots)?;
            x.check_parts(what, 2)?;
            self.check_level(what, x, level)?;
            scaled_integer(what, *coefficient, scale / x.scale())
        };
        let multiples: Vec<_> = multiples
            .iter()
            .map(|term| Ok((pair(term.0), multiple(term)?)))
            .collect::<Result<_>>()?;
        let combination = Combination {
            products: products.iter().map(|factors| factors.map(pair)).collect(),
            doubled_products,
            multiples,
            constant: scaled_integer("a sum", constant, scale)?,
        };
        let parts = combination.evaluate(self.params().ring(), Basis::q(level));
        Ok(Ciphertext::computed(parts, scale, slots))
    }

    /// a * b over q_0..q_level.
    fn tensor(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        let (level, scale) = (a.level(), a.scale() * b.scale());
        self.combine(Products::Once(&[[a, b]]), &[], 0.0, (level, scale, a.slots()))
    }

    fn check_tensor(&self, a: &Ciphertext, b: &Ciphertext, level: usize) -> Result<f64> {
        check_slots("mul", a.slots(), b.slots())?;
        for operand in [a, b] {
            operand.check_parts("mul", 2)?;
            self.check_level("mul", operand, level)?;
        }
        let scale = a.scale() * b.scale();
        self.check_scale("mul", scale, level)?;
        Ok(scale)
    }
}

/// The two parts of a ciphertext that was checked to have two.
fn pair(a: &Ciphertext) -> [&Poly; 2] {
    [&a.parts[0], &a.parts[1]]
}
