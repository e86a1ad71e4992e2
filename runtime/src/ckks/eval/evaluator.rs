//! The evaluator and the checks its operations share.

use std::sync::Arc;

use crate::ckks::Ciphertext;
use crate::ckks::keys::EvaluationKeys;
use crate::ckks::params::Parameters;
use crate::error::{Error, Result};
use crate::ring::Poly;

/// Two scales this close, relatively, count as one.
const SCALE_TOLERANCE: f64 = 1.0 / (1u64 << 30) as f64;

/// Evaluates on ciphertexts with the keys it was given.
pub struct Evaluator {
    params: Arc<Parameters>,
    keys: EvaluationKeys,
    transform_memory: usize,
}

/// Default of [`Evaluator::with_transform_memory`].
const DEFAULT_TRANSFORM_MEMORY: usize = 1 << 30;

impl Evaluator {
    /// An evaluator with these keys, which may be none.
    #[must_use]
    pub fn new(keys: EvaluationKeys) -> Self {
        Self {
            params: Arc::clone(keys.params()),
            keys,
            transform_memory: DEFAULT_TRANSFORM_MEMORY,
        }
    }

    /// Bounds the bytes that the rotated inputs of one linear transform may take at a time (1 GiB unless set; those of a
    /// single input are always kept). Results do not depend on it.
    #[must_use]
    pub fn with_transform_memory(mut self, bytes: usize) -> Self {
        self.transform_memory = bytes;
        self
    }

    pub(super) fn transform_memory(&self) -> usize {
        self.transform_memory
    }

    /// The parameters.
    #[must_use]
    pub fn params(&self) -> &Arc<Parameters> {
        &self.params
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &EvaluationKeys {
        &self.keys
    }

    /// The digits of `c`, raised to the special primes of its level.
    pub(super) fn decompose(&self, c: &Poly) -> Vec<Poly> {
        self.params.ring().decompose(c, self.params.gadget(c.basis().level()))
    }

    /// acc += P * x, on the primes of x, for the product P of acc's special primes, where it is zero.
    pub(super) fn add_special_multiple(&self, acc: &mut Poly, x: &Poly) {
        let (ring, p_limbs) = (self.params.ring(), acc.basis().p_limbs);
        let special = (0..x.basis().q_limbs).map(|prime| ring.special_modulus(p_limbs, prime));
        acc.add_mul_constants(x, &special.collect::<Vec<_>>());
    }

    pub(super) fn check_level(&self, what: &'static str, ct: &Ciphertext, needed: usize) -> Result<()> {
        if ct.level() < needed {
            Err(Error::LevelTooLow {
                what,
                level: ct.level(),
                needed,
            })
        } else {
            Ok(())
        }
    }

    /// Refuses a scale that the modulus of `level` cannot hold.
    pub(super) fn check_scale(&self, what: &'static str, scale: f64, level: usize) -> Result<()> {
        if scale.is_finite() && scale > 0.0 && scale.log2() < self.params.log_q(level) {
            Ok(())
        } else {
            Err(Error::InvalidScale {
                what,
                scale,
                reason: "the modulus of this level cannot hold it: rescale first",
            })
        }
    }
}

pub(super) fn check_slots(what: &'static str, left: usize, right: usize) -> Result<()> {
    if left == right {
        Ok(())
    } else {
        Err(Error::SlotMismatch { what, left, right })
    }
}

pub(super) fn check_same_scale(what: &'static str, left: f64, right: f64) -> Result<()> {
    if (left / right - 1.0).abs() <= SCALE_TOLERANCE {
        Ok(())
    } else {
        Err(Error::ScaleMismatch {
            what,
            left_log2: left.log2(),
            right_log2: right.log2(),
        })
    }
}
