//! The encoder: slot vectors to plaintexts and back.

use std::sync::Arc;

use super::coefficients::{Coefficients, Message, from_coefficients, to_coefficients};
use super::{Complex64, SpecialFft};
use crate::ckks::Plaintext;
use crate::ckks::params::Parameters;
use crate::error::Result;
use crate::ring::{Basis, CompactPoly, Symmetry};

/// log2 of the magnitudes that decoding tells apart, where the modulus has room for them.
const DECODABLE_LOG2: f64 = 60.0;

/// Encodes and decodes under one parameter set. Shared, read-only.
pub struct Encoder {
    params: Arc<Parameters>,
    fft: SpecialFft,
}

impl Encoder {
    /// Builds the transform's tables.
    #[must_use]
    pub fn new(params: &Arc<Parameters>) -> Self {
        Self {
            params: Arc::clone(params),
            fft: SpecialFft::new(params.max_slots()),
        }
    }

    /// The parameters.
    #[must_use]
    pub fn params(&self) -> &Arc<Parameters> {
        &self.params
    }

    /// Encodes up to `slots` real values (missing ones are zero) at a level and scale.
    ///
    /// # Errors
    /// For a bad slot count, level or scale, too many values, values that are not finite or too large for the modulus.
    pub fn encode(&self, values: &[f64], slots: usize, level: usize, scale: f64) -> Result<Plaintext> {
        self.encode_over(
            values.iter().map(|v| Complex64::from(*v)),
            slots,
            Basis::q(level),
            scale,
        )
    }

    /// Encodes complex values.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_complex(&self, values: &[Complex64], slots: usize, level: usize, scale: f64) -> Result<Plaintext> {
        self.encode_over(values.iter().copied(), slots, Basis::q(level), scale)
    }

    /// Encodes over any basis of the ring, special primes included; see [`crate::ckks::linear`]. Real and periodic vectors
    /// take less memory: as many words per limb as a period has real numbers.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_over(
        &self,
        values: impl ExactSizeIterator<Item = Complex64>,
        slots: usize,
        basis: Basis,
        scale: f64,
    ) -> Result<Plaintext> {
        self.params.check_slots(slots)?;
        self.params.check_level("encode", basis.level())?;
        let message = Message::new(values, slots, |period, real| self.symmetry(period, real))?;
        // Special primes only ever multiply: what must fit is the part that is left after they are divided away.
        let log2_modulus = self.params.log_q(basis.level());
        let (ring, symmetry) = (self.params.ring(), message.symmetry);
        let poly = match to_coefficients(&self.fft, message, scale, log2_modulus)? {
            Coefficients::Small(c) => CompactPoly::from_signed(ring, basis, symmetry, &c),
            Coefficients::Wide(c) => CompactPoly::from_signed_wide(ring, basis, symmetry, &c),
        };
        Ok(Plaintext { poly, scale, slots })
    }

    /// Bytes of the plaintext of a vector that repeats every `period` values, a power of two, whatever its slots.
    #[must_use]
    pub fn plaintext_bytes(&self, period: usize, real: bool, basis: Basis) -> usize {
        let ring = self.params.ring();
        ring.limb_count(basis) * self.symmetry(period, real).distinct(ring.n()) * size_of::<u64>()
    }

    /// The symmetry of a plaintext with this period.
    fn symmetry(&self, period: usize, real: bool) -> Symmetry {
        let wanted = Symmetry {
            log_gap: (self.params.max_slots() / period).trailing_zeros(),
            mirrored: real,
        };
        CompactPoly::served(self.params.ring(), wanted)
    }

    /// The real parts of the slots. Magnitudes up to 2^60 are told apart; what lies beyond, or was encrypted under another
    /// key, comes out as noise.
    #[must_use]
    pub fn decode(&self, plaintext: &Plaintext) -> Vec<f64> {
        self.decode_complex(plaintext)
            .into_iter()
            .map(|value| value.re)
            .collect()
    }

    /// All slots; see [`Encoder::decode`].
    #[must_use]
    pub fn decode_complex(&self, plaintext: &Plaintext) -> Vec<Complex64> {
        let mut poly = plaintext.poly.expanded(Basis::q(self.decoding_level(plaintext)));
        poly.to_coeff();
        let coefficients = poly.to_centered_f64();
        let gap = self.params.max_slots() / plaintext.slots;
        from_coefficients(&self.fft, plaintext.slots, |i| coefficients[i * gap] / plaintext.scale)
    }

    /// The lowest level whose modulus holds every coefficient of a decodable value.
    fn decoding_level(&self, plaintext: &Plaintext) -> usize {
        // A coefficient is at most the largest slot in magnitude, up to a factor of two for the complex parts.
        let needed = plaintext.scale.log2() + DECODABLE_LOG2 + 2.0;
        (0..plaintext.level())
            .find(|level| self.params.log_q(*level) >= needed)
            .unwrap_or(plaintext.level())
    }
}
