//! Sparse-secret encapsulation: the keys to an ephemeral sparse secret at q_0, where nothing larger is ever encrypted under
//! it, and back to the dense one.
//!
//! Assumes the dense secret. Ensures that the sparse secret only ever meets the modulus q_0 p_0, whose security for its
//! Hamming weight is checked from the table ([`encapsulation_literal`]); the ephemeral secret is forgotten as soon as the
//! keys are made. Towards the sparse secret a key has one digit, since q_0 is one prime; back, a raised polynomial is
//! below q_0, so that one digit P s does, with a P of the few special primes that exceed q_0.
//! Source: Bossuat, Troncoso-Pastoriza, Hubaux, ACNS 2022, section 3.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::secret::{SecretKey, encryption_of_zero};
use super::switch::KeySwitchKey;
use crate::ckks::params::{Parameters, ParametersLiteral, SecretDistribution};
use crate::error::Result;
use crate::ring::{Basis, Domain, KeyDigit, Mask, Poly, SecretRng, SeededPoly, nearest_prime, products_with_keys};

/// log2 of how far the special prime should exceed q_0.
const SPECIAL_MARGIN: f64 = 4.0;
/// log2 of how far the special primes for the way back should exceed q_0: the key's noise is then nothing beside the rounding.
const RAISED_MARGIN: f64 = 10.0;
/// log2 of the largest special prime to choose.
const MAX_LOG_SPECIAL: f64 = 49.99;

/// The parameters a sparse ephemeral secret lives under: q_0 and one special prime.
///
/// # Errors
/// [`crate::error::Error::Ring`] when the ring has no such prime.
pub fn encapsulation_literal(params: &Parameters, hamming_weight: usize) -> Result<ParametersLiteral> {
    let literal = params.literal();
    let q_0 = literal.q[0];
    let log_special = log_special((q_0 as f64).log2());
    Ok(ParametersLiteral {
        log_n: literal.log_n,
        q: vec![q_0],
        p: vec![nearest_prime(log_special.exp2(), literal.log_n + 1, &[q_0])?],
        dnum: 1,
        log_scale: (q_0 as f64).log2() - 1.0,
        scale_resets: Vec::new(),
        secret: SecretDistribution::SparseTernary { hamming_weight },
        security: literal.security,
    })
}

/// log2 of the special prime that goes with a q_0 of `log_q0` bits.
pub(crate) fn log_special(log_q0: f64) -> f64 {
    (log_q0 + SPECIAL_MARGIN).min(MAX_LOG_SPECIAL)
}

/// The switching keys between the dense secret and an ephemeral sparse one.
pub struct EncapsulationKeys {
    /// Parameters of the sparse secret.
    pub(crate) sparse: Arc<Parameters>,
    /// From the dense secret to the sparse one, modulo q_0 p_0.
    pub(crate) to_sparse: KeySwitchKey,
    /// Seed of the mask a of `to_dense`.
    pub(crate) seed: [u8; 32],
    /// From the sparse secret to the dense one: -a s + e + P s' over q_0..q_level and special primes, P their product.
    pub(crate) to_dense: Poly,
}

impl EncapsulationKeys {
    /// Hamming weight of the ephemeral secret.
    #[must_use]
    pub fn hamming_weight(&self) -> usize {
        self.sparse.literal().secret.hamming_weight(self.sparse.n())
    }

    /// The level ciphertexts are raised to, at most.
    #[must_use]
    pub fn level(&self) -> usize {
        self.to_dense.basis().level()
    }

    /// Bytes of all polynomials in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.to_sparse.memory_bytes() + size_of_val(self.to_dense.data())
    }

    /// Switches a ciphertext at level 0 to the sparse secret; both parts come back in coefficient form over q_0, in the ring
    /// of the sparse parameters.
    pub(crate) fn to_sparse(&self, parts: &[Poly]) -> [Poly; 2] {
        let ring = self.sparse.ring();
        let [c0, c1] = [0, 1].map(|part| {
            let mut copy = Poly::zeros(ring, Basis::q(0), Domain::Eval);
            // A prime's transform depends on nothing but the prime and the degree.
            copy.limb_mut(0).copy_from_slice(parts[part].limb(0));
            copy
        });
        let [body, mask] = self.to_sparse.product_with_digits_of(&self.sparse, &c1);
        let mut body = ring.mod_down(&body);
        body.add_assign(&c0);
        let mut switched = [body, ring.mod_down(&mask)];
        switched.iter_mut().for_each(Poly::to_coeff);
        switched
    }

    /// The primes of `to_dense` up to a level.
    pub(crate) fn raised_basis(params: &Parameters, level: usize) -> Basis {
        Basis::qp(level, params.special_limbs_beyond(params.log_q(0) + RAISED_MARGIN))
    }

    /// Switches a polynomial below q_0 in magnitude, over [`EncapsulationKeys::raised_basis`] of a level, from the sparse secret
    /// to the dense one: what to add to the first part, and the second part.
    pub(crate) fn to_dense(&self, params: &Parameters, raised: &Poly) -> [Poly; 2] {
        let key = KeyDigit {
            body: &self.to_dense,
            mask: Mask::Seeded(SeededPoly::new(self.seed)),
        };
        let products = products_with_keys(std::slice::from_ref(raised), &[vec![key]]);
        let [product] = products
            .try_into()
            .unwrap_or_else(|_| unreachable!("one key has one product"));
        product.map(|part| params.ring().mod_down(&part))
    }
}

impl SecretKey {
    /// Draws an ephemeral secret of this Hamming weight and makes the keys to it and back; raised ciphertexts are at most at
    /// `level`.
    ///
    /// # Errors
    /// [`crate::error::Error::Insecure`] or [`crate::error::Error::SecurityUnknown`] where the table does not vouch for
    /// the sparse secret; [`crate::error::Error::LevelTooHigh`].
    pub fn encapsulation_keys(
        &self,
        hamming_weight: usize,
        level: usize,
        rng: &mut SecretRng,
    ) -> Result<EncapsulationKeys> {
        let params = self.params();
        params.check_level("encapsulation keys", level)?;
        let sparse = Parameters::new(encapsulation_literal(params, hamming_weight)?)?;
        let ephemeral = SecretKey::generate(&sparse, rng);
        let dense_at_bottom = SecretKey::from_coefficients(&sparse, Zeroizing::new(self.coefficients.to_vec()));
        let to_sparse = KeySwitchKey::generate(&sparse, &dense_at_bottom.poly, &ephemeral.poly, 0, rng)?;

        let raised = SecretKey::from_coefficients(params, Zeroizing::new(ephemeral.coefficients.to_vec()));
        let seed = rng.public_seed();
        let basis = EncapsulationKeys::raised_basis(params, level);
        let mut body = encryption_of_zero(params, basis, &SeededPoly::new(seed), &self.poly, rng);
        let special = (0..=level).map(|prime| params.ring().special_modulus(basis.p_limbs, prime));
        let special: Vec<u64> = special.collect();
        body.add_mul_constants(&raised.poly, &special);
        Ok(EncapsulationKeys {
            sparse,
            to_sparse,
            seed,
            to_dense: body,
        })
    }
}
