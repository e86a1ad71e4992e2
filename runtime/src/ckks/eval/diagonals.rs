//! Where the diagonals of a linear transform come from: encoded ahead of time, or from their values as they are needed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::ckks::Plaintext;
use crate::ckks::encoding::{Complex64, Encoder};
use crate::ckks::linear::{DiagonalIdx, LinearTransform};
use crate::error::{Error, Result};
use crate::ring::Basis;

/// How a transform wants its diagonals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiagonalEncoding {
    /// The primes they are multiplied over; an encoding over more primes will do.
    pub basis: Basis,
    /// The scale, which makes the rescaled result land on the canonical one.
    pub scale: f64,
}

/// Hands out diagonals, rotated by their giant step as [`LinearTransform`] says. Called from several threads.
pub trait DiagonalSource: Sync {
    /// The diagonal at a place, in evaluation form.
    ///
    /// # Errors
    /// [`Error::InvalidLinearTransform`] when there is none or it cannot be had in this encoding.
    fn diagonal(&self, idx: DiagonalIdx, encoding: &DiagonalEncoding) -> Result<Cow<'_, Plaintext>>;
}

/// Values, encoded at every use: least memory, most time.
pub struct RawDiagonals<'a> {
    encoder: &'a Encoder,
    slots: usize,
    values: &'a BTreeMap<DiagonalIdx, Vec<Complex64>>,
}

impl<'a> RawDiagonals<'a> {
    /// The values of a transform's diagonals, as [`LinearTransform::from_diagonals`] returns them.
    #[must_use]
    pub fn new(
        encoder: &'a Encoder,
        shape: &LinearTransform,
        values: &'a BTreeMap<DiagonalIdx, Vec<Complex64>>,
    ) -> Self {
        Self {
            encoder,
            slots: shape.slots(),
            values,
        }
    }

    /// Encodes all of them.
    ///
    /// # Errors
    /// As [`Encoder::encode_over`].
    pub fn encode(&self, encoding: &DiagonalEncoding) -> Result<EncodedDiagonals> {
        let encoded: Result<_> = self
            .values
            .par_iter()
            .map(|(idx, values)| Ok((*idx, self.encode_one(values, encoding)?)))
            .collect();
        Ok(EncodedDiagonals { diagonals: encoded? })
    }

    fn encode_one(&self, values: &[Complex64], encoding: &DiagonalEncoding) -> Result<Plaintext> {
        self.encoder
            .encode_over(values.iter().copied(), self.slots, encoding.basis, encoding.scale)
    }
}

impl DiagonalSource for RawDiagonals<'_> {
    fn diagonal(&self, idx: DiagonalIdx, encoding: &DiagonalEncoding) -> Result<Cow<'_, Plaintext>> {
        let values = self.values.get(&idx).ok_or_else(|| missing(idx))?;
        Ok(Cow::Owned(self.encode_one(values, encoding)?))
    }
}

/// Diagonals encoded ahead of time.
#[derive(Default)]
pub struct EncodedDiagonals {
    diagonals: BTreeMap<DiagonalIdx, Plaintext>,
}

impl EncodedDiagonals {
    /// Adds one.
    pub fn insert(&mut self, idx: DiagonalIdx, diagonal: Plaintext) {
        self.diagonals.insert(idx, diagonal);
    }

    /// Bytes of all polynomials in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.diagonals.values().map(Plaintext::memory_bytes).sum()
    }

    /// The diagonal at a place.
    ///
    /// # Errors
    /// As [`DiagonalSource::diagonal`].
    pub(crate) fn borrowed(&self, idx: DiagonalIdx, encoding: &DiagonalEncoding) -> Result<&Plaintext> {
        let diagonal = self.diagonals.get(&idx).ok_or_else(|| missing(idx))?;
        let basis = diagonal.poly.basis();
        let covers = basis.q_limbs >= encoding.basis.q_limbs && basis.p_limbs >= encoding.basis.p_limbs;
        if !covers || diagonal.scale != encoding.scale {
            let reason = format!(
                "{idx:?} is encoded over {basis:?} at scale {}, {:?} and {} are needed",
                diagonal.scale, encoding.basis, encoding.scale
            );
            return Err(Error::InvalidLinearTransform { reason });
        }
        Ok(diagonal)
    }
}

impl DiagonalSource for EncodedDiagonals {
    fn diagonal(&self, idx: DiagonalIdx, encoding: &DiagonalEncoding) -> Result<Cow<'_, Plaintext>> {
        self.borrowed(idx, encoding).map(Cow::Borrowed)
    }
}

fn missing(idx: DiagonalIdx) -> Error {
    Error::InvalidLinearTransform {
        reason: format!("there is no diagonal for {idx:?}"),
    }
}
