//! A checked, immutable parameter set.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::chain::{KEY_SWITCH_SLACK_BITS, digit_primes, special_limbs_beyond};
use super::gadgets::{LevelGadget, level_gadgets};
use super::{KeyBands, SecretDistribution, Security, max_log_qp, security_bits};
use crate::ckks::wire::Fingerprint;
use crate::error::{Error, Result};
use crate::ring::{Basis, Gadget, RingContext};

/// Smallest supported ring, one that fills the vector kernels.
pub const MIN_LOG_N: u32 = 6;
/// Largest ring the security table covers.
pub const MAX_LOG_N: u32 = 17;
/// Most primes of a chain, special ones included.
pub const MAX_PRIMES: usize = 128;

/// From `level` downwards the canonical scale starts again at `2^log_scale`.
///
/// A chain for bootstrapping has levels of different prime sizes; each run of equal sizes gets its own scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScaleReset {
    /// The highest level with the new scale.
    pub level: usize,
    /// log2 of the scale.
    pub log_scale: f64,
}

/// A parameter set as plain data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParametersLiteral {
    /// log2 of the ring degree N.
    pub log_n: u32,
    /// Ciphertext primes, q_0 first; level l uses q_0..=q_l.
    pub q: Vec<u64>,
    /// Special primes of the key switch.
    pub p: Vec<u64>,
    /// Digits of the key switch at the highest level.
    pub dnum: usize,
    /// log2 of the canonical scale at the highest level.
    pub log_scale: f64,
    /// Levels at which the canonical scale starts anew, by falling level.
    pub scale_resets: Vec<ScaleReset>,
    /// How the secret is drawn.
    pub secret: SecretDistribution,
    /// The security it must have.
    pub security: Security,
}

/// A parameter set with everything derived from it. Cheap to share by `Arc`.
pub struct Parameters {
    literal: ParametersLiteral,
    ring: Arc<RingContext>,
    scales: Vec<f64>,
    /// Digits and special primes of the key switch at each level.
    gadgets: Vec<LevelGadget>,
    bands: KeyBands,
    security_bits: Option<f64>,
    fingerprint: Fingerprint,
}

impl Parameters {
    /// Checks a parameter set and builds its tables.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for anything out of range, [`Error::Insecure`] or [`Error::SecurityUnknown`] when
    /// 128 bits are required and not reached or not known to be.
    pub fn new(literal: ParametersLiteral) -> Result<Arc<Self>> {
        check(&literal)?;
        let log_qp = log2_product(&literal.q) + log2_product(&literal.p);
        if literal.security == Security::Classical128 {
            let max_log_qp = max_log_qp(literal.log_n, literal.secret)?;
            if log_qp > f64::from(max_log_qp) {
                let secret = literal.secret.to_string();
                return Err(Error::Insecure {
                    log_n: literal.log_n,
                    log_qp,
                    max_log_qp,
                    secret,
                });
            }
        }
        let ring = RingContext::new(literal.log_n, &literal.q, &literal.p)?;
        let gadgets = literal.level_gadgets();
        Ok(Arc::new(Self {
            scales: canonical_scales(&literal)?,
            bands: KeyBands::of(&gadgets),
            gadgets,
            security_bits: security_bits(literal.log_n, literal.secret, log_qp).ok(),
            fingerprint: fingerprint(&literal),
            literal,
            ring,
        }))
    }

    /// The plain data it was made from.
    #[must_use]
    pub fn literal(&self) -> &ParametersLiteral {
        &self.literal
    }

    /// Tables of the ring.
    #[must_use]
    pub fn ring(&self) -> &Arc<RingContext> {
        &self.ring
    }

    /// Ring degree N.
    #[must_use]
    pub fn n(&self) -> usize {
        1 << self.literal.log_n
    }

    /// log2 of the ring degree.
    #[must_use]
    pub fn log_n(&self) -> u32 {
        self.literal.log_n
    }

    /// Most slots of a ciphertext, N / 2.
    #[must_use]
    pub fn max_slots(&self) -> usize {
        self.n() / 2
    }

    /// Highest level, L.
    #[must_use]
    pub fn max_level(&self) -> usize {
        self.literal.q.len() - 1
    }

    /// Ciphertext primes.
    #[must_use]
    pub fn q(&self) -> &[u64] {
        &self.literal.q
    }

    /// Special primes.
    #[must_use]
    pub fn p(&self) -> &[u64] {
        &self.literal.p
    }

    /// Canonical scale of a level: Delta_L = 2^log_scale, Delta_{l-1} = Delta_l^2 / q_l except at scale resets.
    ///
    /// # Panics
    /// If `level` exceeds [`Parameters::max_level`].
    #[must_use]
    pub fn scale(&self, level: usize) -> f64 {
        self.scales[level]
    }

    /// log2 of the ciphertext modulus at a level.
    #[must_use]
    pub fn log_q(&self, level: usize) -> f64 {
        log2_product(&self.literal.q[..=level])
    }

    /// log2 of the special modulus P.
    #[must_use]
    pub fn log_p(&self) -> f64 {
        log2_product(&self.literal.p)
    }

    /// log2 of the largest modulus anything is encrypted under, which decides the security.
    #[must_use]
    pub fn log_qp(&self) -> f64 {
        self.log_q(self.max_level()) + self.log_p()
    }

    /// Estimated classical security; `None` where the table has no row for this ring and secret.
    #[must_use]
    pub fn security_bits(&self) -> Option<f64> {
        self.security_bits
    }

    /// Identifies the set on the wire.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Levels by the keys that serve them.
    #[must_use]
    pub fn key_bands(&self) -> &KeyBands {
        &self.bands
    }

    /// Primes in every key-switching digit of a level but perhaps the last.
    ///
    /// # Panics
    /// If `level` exceeds [`Parameters::max_level`].
    #[must_use]
    pub fn digit_primes(&self, level: usize) -> usize {
        self.gadgets[level].digit_primes
    }

    /// Digits in use at a level.
    ///
    /// # Panics
    /// If `level` exceeds [`Parameters::max_level`].
    #[must_use]
    pub fn digits(&self, level: usize) -> usize {
        (level + 1).div_ceil(self.digit_primes(level))
    }

    /// Indices of the ciphertext primes of a digit at a level.
    ///
    /// # Panics
    /// If `level` exceeds [`Parameters::max_level`].
    #[must_use]
    pub fn digit(&self, digit: usize, level: usize) -> Range<usize> {
        let width = self.digit_primes(level);
        digit * width..((digit + 1) * width).min(level + 1)
    }

    /// Special primes in use by a key switch at a level: as many as exceed the largest digit of that level by
    /// [`KEY_SWITCH_MARGIN_BITS`](super::KEY_SWITCH_MARGIN_BITS), or by as much as all of the chain do at the highest level. Ciphertext primes above the level are
    /// among them once those that are special everywhere are used up.
    ///
    /// # Panics
    /// If `level` exceeds [`Parameters::max_level`].
    #[must_use]
    pub fn special_limbs(&self, level: usize) -> usize {
        self.gadgets[level].special
    }

    /// The special primes in use by a key switch at a level.
    ///
    /// # Panics
    /// If `level` exceeds [`Parameters::max_level`].
    #[must_use]
    pub fn special_primes(&self, level: usize) -> Vec<u64> {
        let primes = self.ring.prime_indices(self.raised_basis(level)).into_iter();
        primes
            .skip(level + 1)
            .map(|prime| self.ring.modulus(prime).value())
            .collect()
    }

    /// Special primes that exceed `2^log2` together, or all there are.
    pub(crate) fn special_limbs_beyond(&self, log2: f64) -> usize {
        special_limbs_beyond(&log2_each(self.p()), log2)
    }

    /// The primes of a level and the special ones of its key switch.
    ///
    /// # Panics
    /// If `level` exceeds [`Parameters::max_level`].
    #[must_use]
    pub fn raised_basis(&self, level: usize) -> Basis {
        Basis::qp(level, self.special_limbs(level))
    }

    /// How the key switch cuts polynomials of a level into digits.
    pub(crate) fn gadget(&self, level: usize) -> Gadget {
        Gadget {
            digit_limbs: self.digit_primes(level),
            p_limbs: self.special_limbs(level),
            key_p_limbs: self.gadgets[level].key_special,
        }
    }

    /// Checks a slot count.
    ///
    /// # Errors
    /// [`Error::InvalidSlots`].
    pub fn check_slots(&self, slots: usize) -> Result<()> {
        if slots.is_power_of_two() && slots <= self.max_slots() {
            Ok(())
        } else {
            Err(Error::InvalidSlots {
                slots,
                max: self.max_slots(),
            })
        }
    }

    /// Checks that a level exists.
    ///
    /// # Errors
    /// [`Error::LevelTooHigh`], naming `what`.
    pub fn check_level(&self, what: &'static str, level: usize) -> Result<()> {
        if level <= self.max_level() {
            Ok(())
        } else {
            Err(Error::LevelTooHigh {
                what,
                level,
                max: self.max_level(),
            })
        }
    }

    /// The Galois element 5^step mod 2N that rotates slots to the left.
    #[must_use]
    pub fn rotation_element(&self, step: usize) -> u64 {
        self.power(5, step % self.max_slots())
    }

    /// The inverse of a Galois element modulo 2N.
    #[must_use]
    pub fn inverse_element(&self, element: u64) -> u64 {
        // The group of odd residues modulo 2N has exponent N/2, which divides N.
        self.power(element, self.n() - 1)
    }

    /// The Galois element of complex conjugation.
    #[must_use]
    pub fn conjugation_element(&self) -> u64 {
        2 * self.n() as u64 - 1
    }

    /// base^exponent mod 2N.
    fn power(&self, base: u64, mut exponent: usize) -> u64 {
        let mask = 2 * self.n() as u64 - 1;
        let (mut result, mut square) = (1, base & mask);
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = (result * square) & mask;
            }
            square = (square * square) & mask;
            exponent >>= 1;
        }
        result
    }
}

impl ParametersLiteral {
    /// Digits and special primes of the key switch at each level.
    #[must_use]
    pub fn level_gadgets(&self) -> Vec<LevelGadget> {
        let width = digit_primes(self.q.len(), self.dnum.max(1));
        level_gadgets(&log2_each(&self.q), &log2_each(&self.p), width)
    }

    /// Levels by the keys that serve them.
    #[must_use]
    pub fn key_bands(&self) -> KeyBands {
        KeyBands::of(&self.level_gadgets())
    }
}

fn log2_each(primes: &[u64]) -> Vec<f64> {
    primes.iter().map(|prime| (*prime as f64).log2()).collect()
}

/// Sum of the logarithms of some primes.
fn log2_product(primes: &[u64]) -> f64 {
    primes.iter().map(|prime| (*prime as f64).log2()).sum()
}

fn check(literal: &ParametersLiteral) -> Result<()> {
    let invalid = |name, reason: String| Err(Error::InvalidParameter { name, reason });
    if !(MIN_LOG_N..=MAX_LOG_N).contains(&literal.log_n) {
        return invalid(
            "log_n",
            format!("{}, expected {MIN_LOG_N} to {MAX_LOG_N}", literal.log_n),
        );
    }
    if literal.q.is_empty() || literal.p.is_empty() || literal.q.len() + literal.p.len() > MAX_PRIMES {
        let counts = format!("{} and {}", literal.q.len(), literal.p.len());
        return invalid(
            "q, p",
            format!("{counts} primes, expected at least one each, at most {MAX_PRIMES} together"),
        );
    }
    if literal.dnum == 0 || literal.dnum > literal.q.len() {
        return invalid(
            "dnum",
            format!("{} digits for {} primes", literal.dnum, literal.q.len()),
        );
    }
    if let SecretDistribution::SparseTernary { hamming_weight } = literal.secret
        && (hamming_weight == 0 || hamming_weight > 1 << literal.log_n)
    {
        return invalid(
            "secret",
            format!("Hamming weight {hamming_weight} at N = 2^{}", literal.log_n),
        );
    }
    let log_p = log2_product(&literal.p);
    let digits = literal.q.chunks(digit_primes(literal.q.len(), literal.dnum));
    let widest = digits.map(log2_product).fold(0.0, f64::max);
    if log_p < widest - KEY_SWITCH_SLACK_BITS {
        let reason = format!("2^{log_p:.1} is smaller than the widest digit, 2^{widest:.1}: add a prime or a digit");
        return invalid("p", reason);
    }
    let levels = literal.scale_resets.iter().map(|reset| reset.level);
    if !levels.clone().is_sorted_by(|a, b| a > b) || levels.clone().any(|level| level + 1 >= literal.q.len()) {
        return invalid(
            "scale_resets",
            "levels must fall and lie below the highest level".into(),
        );
    }
    let scales = literal.scale_resets.iter().map(|reset| reset.log_scale);
    if let Some(log_scale) = scales
        .chain([literal.log_scale])
        .find(|log2| !(1.0..=100.0).contains(log2))
    {
        return invalid("log_scale", format!("{log_scale}, expected 1 to 100"));
    }
    Ok(())
}

fn canonical_scales(literal: &ParametersLiteral) -> Result<Vec<f64>> {
    let max_level = literal.q.len() - 1;
    let mut scales = vec![literal.log_scale.exp2(); literal.q.len()];
    for level in (0..max_level).rev() {
        let reset = literal.scale_resets.iter().find(|reset| reset.level == level);
        let above: f64 = scales[level + 1];
        scales[level] = reset.map_or(above * above / literal.q[level + 1] as f64, |reset| {
            reset.log_scale.exp2()
        });
        let log2_modulus = log2_product(&literal.q[..=level]);
        if !(1.0..log2_modulus).contains(&scales[level].log2()) {
            let reason = format!(
                "the canonical scale of level {level} would be 2^{:.1} with a modulus of 2^{log2_modulus:.1}: \
                 the primes must be close to the scale, or a scale reset given",
                scales[level].log2()
            );
            return Err(Error::InvalidParameter { name: "q", reason });
        }
    }
    Ok(scales)
}

fn fingerprint(literal: &ParametersLiteral) -> Fingerprint {
    let hash = blake3::hash(&crate::ckks::wire::encode_literal(literal));
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(&hash.as_bytes()[..16]);
    fingerprint
}
