//! Plaintexts and ciphertexts: polynomials in evaluation form with a level and a scale.

use crate::error::{Error, Result};
use crate::ring::{Basis, CompactPoly, Poly};

/// An encoded vector. Decodes to `poly / scale`.
#[derive(Clone, PartialEq)]
pub struct Plaintext {
    pub(crate) poly: CompactPoly,
    pub(crate) scale: f64,
    pub(crate) slots: usize,
}

impl Plaintext {
    /// The polynomial, in evaluation form.
    #[must_use]
    pub fn poly(&self) -> &CompactPoly {
        &self.poly
    }

    /// Bytes of its polynomial in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.poly.memory_bytes()
    }

    /// Its level: one less than its number of ciphertext primes.
    #[must_use]
    pub fn level(&self) -> usize {
        self.poly.basis().level()
    }

    /// What the values were multiplied with.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Values it holds, a power of two.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }
}

/// An encrypted vector: parts c_0, c_1, ... with `sum c_i s^i = scale * values + noise`.
#[derive(Clone, PartialEq)]
pub struct Ciphertext {
    pub(crate) parts: Vec<Poly>,
    pub(crate) scale: f64,
    pub(crate) slots: usize,
    /// The seed that c_1 was expanded from, as long as nothing was computed on it.
    pub(crate) seed: Option<[u8; 32]>,
}

impl Ciphertext {
    /// The parts, in evaluation form: two, or three after a product and before relinearisation.
    #[must_use]
    pub fn parts(&self) -> &[Poly] {
        &self.parts
    }

    /// Its level: one less than its number of primes.
    #[must_use]
    pub fn level(&self) -> usize {
        self.parts[0].basis().level()
    }

    /// What the values are multiplied with.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Declares another scale, that is: multiplies the values by the old one over the new one at no cost.
    pub fn set_scale(&mut self, scale: f64) {
        self.scale = scale;
    }

    /// Values it holds, a power of two.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Bytes of its polynomials in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.parts.iter().map(|part| size_of_val(part.data())).sum()
    }

    /// A ciphertext computed from others.
    pub(crate) fn computed(parts: Vec<Poly>, scale: f64, slots: usize) -> Self {
        Self {
            parts,
            scale,
            slots,
            seed: None,
        }
    }

    pub(crate) fn basis(&self) -> Basis {
        self.parts[0].basis()
    }

    pub(crate) fn check_parts(&self, what: &'static str, expected: usize) -> Result<()> {
        if self.parts.len() == expected {
            Ok(())
        } else {
            Err(Error::DegreeMismatch {
                what,
                expected,
                found: self.parts.len(),
            })
        }
    }

    /// Applies `f` to every part.
    pub(crate) fn each_part(&mut self, f: impl Fn(&mut Poly)) {
        self.seed = None;
        self.parts.iter_mut().for_each(f);
    }
}
