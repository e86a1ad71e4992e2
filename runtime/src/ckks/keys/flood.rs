//! Decryption for results that leave the client.
//!
//! A decrypted CKKS value carries noise that depends on the secret key. Who sees such values and knows the computation
//! may solve for the key (IND-CPA-D). Flooding adds noise so much wider that the sum says next to nothing: for
//! decryption noise below 2^e and flooding uniform in [-2^b, 2^b), a result leaks a statistical distance of at most
//! N * 2^(e-b-1). Cost: b - e bits of the result's precision, so the scale must be chosen for it.
//!
//! Source: Li, Micciancio, "On the Security of Homomorphic Encryption on Approximate Numbers", EUROCRYPT 2021.

use zeroize::Zeroizing;

use super::secret::{SecretKey, SecretPoly};
use crate::ckks::{Ciphertext, Plaintext};
use crate::error::{Error, Result};
use crate::ring::{Poly, SecretRng, uniform_signed};

/// Widest flooding noise, a sampler's word.
const MAX_FLOODING_BITS: u32 = 62;

/// The b for which `results` decryptions in a ring of degree 2^log_n, each with noise below 2^noise_bits per
/// coefficient, leak a statistical distance of at most 2^-statistical_bits together.
#[must_use]
pub fn flooding_bits(log_n: u32, noise_bits: u32, statistical_bits: u32, results: u64) -> u32 {
    (noise_bits + log_n + statistical_bits + results.max(1).next_power_of_two().trailing_zeros()).saturating_sub(1)
}

impl SecretKey {
    /// Decrypts and adds to every coefficient an integer uniform in [-2^bits, 2^bits): the slots move by about
    /// 2^bits * sqrt(N/3) / scale.
    ///
    /// # Errors
    /// [`Error::EncodeOverflow`] when the modulus or a machine word cannot hold the noise.
    pub fn decrypt_flooded(&self, ciphertext: &Ciphertext, bits: u32, rng: &mut SecretRng) -> Result<Plaintext> {
        let limit = (self.params.log_q(ciphertext.level()) - 2.0).min(f64::from(MAX_FLOODING_BITS));
        if f64::from(bits) > limit {
            return Err(Error::EncodeOverflow {
                log2_value: f64::from(bits),
                log2_modulus: limit,
            });
        }
        let noise = Zeroizing::new(uniform_signed(self.params.n(), bits, rng));
        let mut noise = SecretPoly::new(Poly::from_signed(self.params.ring(), ciphertext.basis(), &noise));
        noise.to_eval();
        let mut poly = self.decrypt_poly(ciphertext);
        poly.add_assign(&noise);
        Ok(Plaintext {
            poly: poly.into(),
            scale: ciphertext.scale,
            slots: ciphertext.slots,
        })
    }
}
