//! Slot values to scaled integer coefficients and back, before any modulus.
//!
//! Assumes a power of two of slots, at most N/2. A vector of n slots becomes a polynomial in X^(N/2n), so that it
//! stands N/2n times in the N/2 places of the ring. Ensures coefficients are the nearest integers to scale times the
//! exact ones, up to the transform's rounding.

use super::{Complex64, SpecialFft};
use crate::error::{Error, Result};
use crate::ring::Symmetry;

/// Largest log2 of a scaled coefficient: i128 with one bit of room.
const MAX_LOG2: f64 = 126.0;

/// Integer coefficients of X^(i * gap), the others being zero.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Coefficients {
    /// All below 2^63 in magnitude.
    Small(Vec<i64>),
    /// Wider ones.
    Wide(Vec<i128>),
}

/// One period of a vector of slots, checked.
pub(crate) struct Message {
    values: Vec<Complex64>,
    /// Which polynomials have such slots.
    pub(crate) symmetry: Symmetry,
}

impl Message {
    /// From `slots` values (missing ones are zero). `symmetry` says which symmetry serves a period of real values or not.
    pub(crate) fn new(
        values: impl ExactSizeIterator<Item = Complex64>,
        slots: usize,
        symmetry: impl Fn(usize, bool) -> Symmetry,
    ) -> Result<Self> {
        if values.len() > slots {
            return Err(Error::TooManyValues {
                values: values.len(),
                slots,
            });
        }
        let mut values: Vec<Complex64> = values.collect();
        if let Some(slot) = values.iter().position(|v| !(v.re.is_finite() && v.im.is_finite())) {
            return Err(Error::NotFinite { slot });
        }
        values.resize(slots, Complex64::default());
        let mut period = slots;
        while period > 1 && values[..period / 2] == values[period / 2..period] {
            period /= 2;
        }
        values.truncate(period);
        let symmetry = symmetry(period, values.iter().all(|value| value.im == 0.0));
        Ok(Self { values, symmetry })
    }

    /// The values as often as makes `slots` of them.
    fn repeated(mut self, slots: usize) -> Vec<Complex64> {
        while self.values.len() < slots {
            self.values.extend_from_within(..);
        }
        self.values
    }
}

/// Scales and rounds the inverse embedding of a message: the coefficients of X^(i * gap) for its symmetry, and with a mirrored
/// one, coefficient i is exactly the negative of the i-th from the end.
///
/// `log2_modulus` is the size of the modulus that must hold the result.
pub(crate) fn to_coefficients(
    fft: &SpecialFft,
    message: Message,
    scale: f64,
    log2_modulus: f64,
) -> Result<Coefficients> {
    if !(scale.is_finite() && scale > 0.0) {
        return Err(Error::InvalidScale {
            what: "encode",
            scale,
            reason: "it is not a positive number",
        });
    }
    let symmetry = message.symmetry;
    let mut buffer = message.repeated(fft.max_slots() >> symmetry.log_gap);
    fft.inverse(&mut buffer);
    let mut scaled: Vec<f64> = buffer.iter().map(|c| c.re * scale).collect();
    if symmetry.mirrored {
        // real slots: X^i and X^-i = -X^(N-i) have the same coefficient
        let slots = scaled.len();
        scaled.push(0.0);
        scaled.extend_from_within(1..slots);
        scaled[slots + 1..].reverse();
        scaled[slots + 1..].iter_mut().for_each(|c| *c = -*c);
    } else {
        scaled.extend(buffer.iter().map(|c| c.im * scale));
    }
    let largest = scaled.iter().fold(0.0f64, |largest, c| largest.max(c.abs()));
    let limit = (log2_modulus - 1.0).min(MAX_LOG2);
    if largest >= limit.exp2() {
        return Err(Error::EncodeOverflow {
            log2_value: largest.log2(),
            log2_modulus: limit,
        });
    }
    Ok(if largest < 63f64.exp2() - 1.0 {
        Coefficients::Small(scaled.iter().map(|c| c.round_ties_even() as i64).collect())
    } else {
        Coefficients::Wide(scaled.iter().map(|c| c.round_ties_even() as i128).collect())
    })
}

/// Slot values of a polynomial given by `coefficient(i)` of X^(i * gap), i < 2 * `slots`, already divided by the scale.
pub(crate) fn from_coefficients(fft: &SpecialFft, slots: usize, coefficient: impl Fn(usize) -> f64) -> Vec<Complex64> {
    let mut values: Vec<_> = (0..slots)
        .map(|i| Complex64::new(coefficient(i), coefficient(i + slots)))
        .collect();
    fft.forward(&mut values);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(scale: f64) -> f64 {
        let fft = SpecialFft::new(256);
        let values: Vec<_> = (0..256)
            .map(|i| Complex64::new((i as f64).sin(), (i as f64).cos()))
            .collect();
        let message = Message::new(values.iter().copied(), 256, |_, _| Symmetry::default()).unwrap();
        let encoded = to_coefficients(&fft, message, scale, 120.0).unwrap();
        let decoded = from_coefficients(&fft, 256, |i| match &encoded {
            Coefficients::Small(c) => c[i] as f64 / scale,
            Coefficients::Wide(c) => c[i] as f64 / scale,
        });
        values
            .iter()
            .zip(decoded)
            .map(|(a, b)| (*a - b).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn rounding_error_follows_the_scale() {
        for log_scale in [20, 40, 50, 80] {
            let error = round_trip(f64::from(log_scale).exp2());
            // 512 coefficients, each rounded by at most one half; then the doubles' own precision.
            assert!(
                error < 256.0 * f64::from(-log_scale).exp2() + 1e-13,
                "scale 2^{log_scale}: {error}"
            );
        }
    }

    #[test]
    fn what_cannot_be_encoded_is_named() {
        let fft = SpecialFft::new(4);
        let encode = |values: &[f64], scale, log2_modulus| {
            let values = values.iter().map(|v| Complex64::from(*v));
            let message = Message::new(values, 4, |_, _| Symmetry::default())?;
            to_coefficients(&fft, message, scale, log2_modulus)
        };
        assert_eq!(
            encode(&[0.0; 5], 1.0, 50.0),
            Err(Error::TooManyValues { values: 5, slots: 4 })
        );
        assert_eq!(encode(&[0.0, f64::NAN], 1.0, 50.0), Err(Error::NotFinite { slot: 1 }));
        assert!(matches!(
            encode(&[1.0; 4], f64::INFINITY, 50.0),
            Err(Error::InvalidScale { .. })
        ));
        assert!(matches!(
            encode(&[1024.0; 4], 1024.0, 20.0),
            Err(Error::EncodeOverflow { .. })
        ));
        assert!(encode(&[1024.0; 4], 1024.0, 22.0).is_ok());
        assert!(matches!(
            encode(&[1e30; 4], 1e30, 1000.0),
            Err(Error::EncodeOverflow { .. })
        ));
    }
}
