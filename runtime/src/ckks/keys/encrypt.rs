//! Encryption with the public or the secret key, and decryption.
//!
//! Secret-key encryption draws c_1 from a seed, so that the wire carries half a ciphertext, and has the least noise
//! (standard deviation 3.2 per coefficient); public-key encryption has about 3.2 * sqrt(4N/3).
//!
//! Decryption returns values with noise that depends on the secret: values that leave the client should come from
//! [`SecretKey::decrypt_flooded`].

use std::sync::Arc;

use zeroize::Zeroizing;

use super::secret::{SecretKey, SecretPoly, encryption_of_zero, noise};
use crate::ckks::params::Parameters;
use crate::ckks::{Ciphertext, Plaintext};
use crate::error::{Error, Result};
use crate::ring::{Basis, Domain, Poly, SecretRng, SeededPoly, ternary, uniform};

/// An encryption of zero under the secret key, at the highest level.
#[derive(Clone)]
pub struct PublicKey {
    pub(crate) params: Arc<Parameters>,
    pub(crate) seed: [u8; 32],
    pub(crate) body: Poly,
}

impl PublicKey {
    /// The public key of a secret.
    #[must_use]
    pub fn generate(secret: &SecretKey, rng: &mut SecretRng) -> Self {
        let params = secret.params();
        let seed = rng.public_seed();
        let basis = Basis::q(params.max_level());
        let body = encryption_of_zero(params, basis, &SeededPoly::new(seed), &secret.poly, rng);
        Self {
            params: Arc::clone(params),
            seed,
            body,
        }
    }

    /// The parameters it belongs to.
    #[must_use]
    pub fn params(&self) -> &Arc<Parameters> {
        &self.params
    }

    /// Encrypts at the plaintext's level.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a plaintext that carries special primes.
    pub fn encrypt(&self, plaintext: &Plaintext, rng: &mut SecretRng) -> Result<Ciphertext> {
        let basis = message_basis(plaintext)?;
        let coefficients = Zeroizing::new(ternary(self.params.n(), rng));
        let mut ephemeral = SecretPoly::new(Poly::from_signed(self.params.ring(), basis, &coefficients));
        ephemeral.to_eval();
        let mut parts = Vec::with_capacity(2);
        let mask = uniform(self.params.ring(), basis, Domain::Eval, &self.seed);
        for half in [&self.body, &mask] {
            let mut part = Poly::inner_product(basis, &[half], &[&ephemeral]);
            part.add_assign(&noise(&self.params, basis, rng));
            parts.push(part);
        }
        parts[0].add_compact(&plaintext.poly);
        Ok(Ciphertext::computed(parts, plaintext.scale, plaintext.slots))
    }
}

impl SecretKey {
    /// Encrypts at the plaintext's level, with a seeded c_1.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a plaintext that carries special primes.
    pub fn encrypt(&self, plaintext: &Plaintext, rng: &mut SecretRng) -> Result<Ciphertext> {
        let basis = message_basis(plaintext)?;
        let seed = rng.public_seed();
        let mut body = encryption_of_zero(&self.params, basis, &SeededPoly::new(seed), &self.poly, rng);
        body.add_compact(&plaintext.poly);
        let (scale, slots) = (plaintext.scale, plaintext.slots);
        Ok(Ciphertext {
            parts: vec![body, uniform(self.params.ring(), basis, Domain::Eval, &seed)],
            scale,
            slots,
            seed: Some(seed),
        })
    }

    /// Decrypts a ciphertext of any number of parts: c_0 + s (c_1 + s (c_2 + ...)).
    #[must_use]
    pub fn decrypt(&self, ciphertext: &Ciphertext) -> Plaintext {
        Plaintext {
            poly: self.decrypt_poly(ciphertext).into(),
            scale: ciphertext.scale,
            slots: ciphertext.slots,
        }
    }

    pub(super) fn decrypt_poly(&self, ciphertext: &Ciphertext) -> Poly {
        let basis = ciphertext.basis();
        let mut powers = vec![SecretPoly::new(self.poly.restricted(basis))];
        while powers.len() + 1 < ciphertext.parts.len() {
            let next = Poly::inner_product(basis, &[&*powers[powers.len() - 1]], &[&self.poly]);
            powers.push(SecretPoly::new(next));
        }
        let mut poly = ciphertext.parts[0].clone();
        for (part, power) in ciphertext.parts[1..].iter().zip(&powers) {
            poly.mul_add_assign(part, power);
        }
        poly
    }
}

fn message_basis(plaintext: &Plaintext) -> Result<Basis> {
    let basis = plaintext.poly.basis();
    if basis.is_raised() {
        let reason = "it carries special primes: encode it over the ciphertext primes only".into();
        return Err(Error::InvalidParameter {
            name: "plaintext",
            reason,
        });
    }
    Ok(basis)
}
