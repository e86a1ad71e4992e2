//! Sums. Operands must be at one level and one scale; degrees may differ.

use super::Evaluator;
use super::evaluator::{check_same_scale, check_slots};
use crate::ckks::{Ciphertext, Plaintext};
use crate::error::{Error, Result};
use crate::ring::{CompactPoly, Domain, Poly};

impl Evaluator {
    /// a + b.
    ///
    /// # Errors
    /// [`Error::LevelMismatch`], [`Error::ScaleMismatch`] (beyond 2^-30), [`Error::SlotMismatch`].
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        check("add", a, b)?;
        if a.parts.len() == b.parts.len() {
            return Ok(combine(a, b, Poly::sum));
        }
        let mut sum = a.clone();
        combine_in_place(&mut sum, b, Poly::add_assign);
        Ok(sum)
    }

    /// a += b.
    ///
    /// # Errors
    /// As [`Evaluator::add`].
    pub fn add_in_place(&self, a: &mut Ciphertext, b: &Ciphertext) -> Result<()> {
        check("add", a, b)?;
        combine_in_place(a, b, Poly::add_assign);
        Ok(())
    }

    /// a - b.
    ///
    /// # Errors
    /// As [`Evaluator::add`].
    pub fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        check("sub", a, b)?;
        if a.parts.len() == b.parts.len() {
            return Ok(combine(a, b, Poly::difference));
        }
        let mut difference = a.clone();
        combine_in_place(&mut difference, b, Poly::sub_assign);
        Ok(difference)
    }

    /// a -= b.
    ///
    /// # Errors
    /// As [`Evaluator::add`].
    pub fn sub_in_place(&self, a: &mut Ciphertext, b: &Ciphertext) -> Result<()> {
        check("sub", a, b)?;
        combine_in_place(a, b, Poly::sub_assign);
        Ok(())
    }

    /// -a.
    #[must_use]
    pub fn neg(&self, a: &Ciphertext) -> Ciphertext {
        let mut negated = a.clone();
        negated.each_part(Poly::neg_assign);
        negated
    }

    /// a + p. The plaintext may be at a higher level.
    ///
    /// # Errors
    /// [`Error::LevelMismatch`] for a plaintext at a lower level; scale and slots as [`Evaluator::add`].
    pub fn add_plain(&self, a: &Ciphertext, p: &Plaintext) -> Result<Ciphertext> {
        self.with_plain("add_plain", a, p, Poly::add_compact)
    }

    /// a - p. The plaintext may be at a higher level.
    ///
    /// # Errors
    /// As [`Evaluator::add_plain`].
    pub fn sub_plain(&self, a: &Ciphertext, p: &Plaintext) -> Result<Ciphertext> {
        self.with_plain("sub_plain", a, p, Poly::sub_compact)
    }

    fn with_plain(
        &self,
        what: &'static str,
        a: &Ciphertext,
        p: &Plaintext,
        op: impl Fn(&mut Poly, &CompactPoly),
    ) -> Result<Ciphertext> {
        check_slots(what, a.slots(), p.slots())?;
        check_same_scale(what, a.scale(), p.scale())?;
        if p.level() < a.level() {
            return Err(Error::LevelMismatch {
                what,
                left: a.level(),
                right: p.level(),
            });
        }
        let mut result = a.clone();
        result.seed = None;
        op(&mut result.parts[0], &p.poly);
        Ok(result)
    }
}

fn check(what: &'static str, a: &Ciphertext, b: &Ciphertext) -> Result<()> {
    if a.level() != b.level() {
        return Err(Error::LevelMismatch {
            what,
            left: a.level(),
            right: b.level(),
        });
    }
    check_slots(what, a.slots(), b.slots())?;
    check_same_scale(what, a.scale(), b.scale())
}

fn combine(a: &Ciphertext, b: &Ciphertext, op: impl Fn(&Poly, &Poly) -> Poly) -> Ciphertext {
    let parts = a
        .parts
        .iter()
        .zip(&b.parts)
        .map(|(left, right)| op(left, right))
        .collect();
    Ciphertext::computed(parts, a.scale(), a.slots())
}

fn combine_in_place(a: &mut Ciphertext, b: &Ciphertext, op: impl Fn(&mut Poly, &Poly)) {
    a.seed = None;
    while a.parts.len() < b.parts.len() {
        a.parts.push(Poly::zeros(a.parts[0].ring(), a.basis(), Domain::Eval));
    }
    for (left, right) in a.parts.iter_mut().zip(&b.parts) {
        op(left, right);
    }
}
