//! Choice of the primes of a modulus chain.
//!
//! Assumes a plan in terms of levels and scale. Ensures primes = 1 mod 2N below 2^50, all different, such that the
//! canonical scale of every level lies within 2^-15 of 2^log_scale (relative) where the ring has primes that dense.
//! Method: q_l is the prime nearest to Delta_l^2 / 2^log_scale, so that Delta_{l-1} = Delta_l^2 / q_l returns to
//! 2^log_scale and the distance does not build up over the levels. The special primes are just large enough that
//! their product exceeds every digit of the hybrid key switch by [`KEY_SWITCH_MARGIN_BITS`].
//!
//! Source: Kim, Papadimitriou, Polyakov, "Approximate Homomorphic Encryption with Reduced Approximation Error", CT-RSA
//! 2022 (exact scales per level); Han, Ki, "Better Bootstrapping for Approximate Homomorphic Encryption", CT-RSA 2020
//! (hybrid key switching).

use serde::{Deserialize, Serialize};

use super::{ParametersLiteral, ScaleReset, SecretDistribution, Security};
use crate::error::{Error, Result};
use crate::ring::{MAX_MODULUS_BITS, nearest_prime};

/// log2 of how far the special modulus should exceed the largest digit: at this distance the key-switching noise is
/// no larger than that of the division that follows.
pub const KEY_SWITCH_MARGIN_BITS: f64 = 4.0;

/// log2 of how far the special modulus may stay below the widest digit, at that much more key-switching noise: lets one
/// special prime serve digits of one prime of nearly its size.
pub(super) const KEY_SWITCH_SLACK_BITS: f64 = 0.25;

/// What a modulus chain must offer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChainRequest {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Multiplicative levels, the number of primes after q_0.
    pub levels: usize,
    /// log2 of the scale.
    pub log_scale: f64,
    /// log2 of q_0; its distance from `log_scale` is the room for the message at level 0.
    pub log_q0: f64,
    /// Digits of the key switch at the highest level.
    pub dnum: usize,
    /// The secret.
    pub secret: SecretDistribution,
    /// Required security.
    pub security: Security,
}

/// A level above those of a [`ChainRequest`], with a prime and a canonical scale of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UpperLevel {
    /// log2 of the prime; leaving this level divides by it.
    pub log_prime: f64,
    /// log2 of the canonical scale.
    pub log_scale: f64,
}

impl ParametersLiteral {
    /// The chain for a request.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for sizes out of range, [`Error::Ring`] when the ring has not enough primes.
    pub fn choose(request: &ChainRequest) -> Result<Self> {
        Self::choose_with_upper(request, &[])
    }

    /// The chain for a request, with further levels on top, lowest first: those a bootstrap consumes. `request.dnum`
    /// counts digits of the whole chain.
    ///
    /// # Errors
    /// As [`ParametersLiteral::choose`].
    pub fn choose_with_upper(request: &ChainRequest, upper: &[UpperLevel]) -> Result<Self> {
        let largest = f64::from(MAX_MODULUS_BITS);
        let smallest = f64::from(request.log_n + 2);
        let upper_primes = upper.iter().map(|level| ("upper.log_prime", level.log_prime));
        let sizes = [("log_scale", request.log_scale), ("log_q0", request.log_q0)];
        for (name, log2) in sizes.into_iter().chain(upper_primes) {
            if !(smallest..=largest).contains(&log2) {
                let reason = format!("{log2}, expected {smallest} to {largest} at N = 2^{}", request.log_n);
                return Err(Error::InvalidParameter { name, reason });
            }
        }
        let q_count = request.levels + upper.len() + 1;
        if request.dnum == 0 || request.dnum > q_count {
            let reason = format!("{} digits, expected 1 to {q_count}", request.dnum);
            return Err(Error::InvalidParameter { name: "dnum", reason });
        }
        let log_2n = request.log_n + 1;
        let base_scale = request.log_scale.exp2();
        let mut taken = vec![nearest_prime(request.log_q0.exp2(), log_2n, &[])?];
        let mut scale = base_scale;
        for _ in 0..request.levels {
            let prime = nearest_prime(scale * scale / base_scale, log_2n, &taken)?;
            scale = scale * scale / prime as f64;
            taken.push(prime);
        }
        taken[1..].reverse();
        for level in upper {
            // A prime just below 2^50 is nearest to 2^50.
            taken.push(nearest_prime(level.log_prime.exp2(), log_2n, &taken)?);
        }
        let q = taken.clone();
        let message_reset = ScaleReset {
            level: request.levels,
            log_scale: request.log_scale,
        };
        let upper_resets = upper.iter().enumerate().map(|(i, level)| ScaleReset {
            level: request.levels + 1 + i,
            log_scale: level.log_scale,
        });
        let mut scale_resets: Vec<ScaleReset> = std::iter::once(message_reset).chain(upper_resets).collect();
        scale_resets.reverse();
        let top = scale_resets.remove(0);

        let widest_digit = q
            .chunks(digit_primes(q.len(), request.dnum))
            .map(|digit| digit.iter().map(|q| (*q as f64).log2()).sum::<f64>())
            .fold(0.0, f64::max);
        // The nearest prime may lie just below its target.
        let usable_bits = largest - 0.01;
        let count = ((widest_digit - KEY_SWITCH_SLACK_BITS) / usable_bits).ceil().max(1.0);
        let log_p = ((widest_digit + KEY_SWITCH_MARGIN_BITS) / count)
            .min(usable_bits)
            .max(smallest);
        for _ in 0..count as usize {
            taken.push(nearest_prime(log_p.exp2(), log_2n, &taken)?);
        }
        Ok(Self {
            log_n: request.log_n,
            p: taken[q.len()..].to_vec(),
            q,
            dnum: request.dnum,
            log_scale: top.log_scale,
            scale_resets,
            secret: request.secret,
            security: request.security,
        })
    }
}

/// How many primes, from the front and given by their log2, have a product of 2^`log2`; all if that is too much.
pub(crate) fn special_limbs_beyond(log_p: &[f64], log2: f64) -> usize {
    let suffices = |count: &usize| log_p[..*count].iter().sum::<f64>() >= log2;
    (1..log_p.len()).find(suffices).unwrap_or(log_p.len())
}

/// Primes in every digit of the highest level but perhaps the last.
pub(super) fn digit_primes(q_count: usize, dnum: usize) -> usize {
    q_count.div_ceil(dnum)
}
