//! The secret key. It never leaves the client: nothing in `eval` takes one.

use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use crate::ckks::params::{Parameters, SecretDistribution};
use crate::ring::{Basis, Poly, SecretRng, SeededPoly, gaussian, ternary, ternary_with_weight};

/// A polynomial whose memory is overwritten when it is dropped.
pub(crate) struct SecretPoly(Poly);

impl SecretPoly {
    pub(crate) fn new(poly: Poly) -> Self {
        Self(poly)
    }
}

impl std::ops::Deref for SecretPoly {
    type Target = Poly;
    fn deref(&self) -> &Poly {
        &self.0
    }
}

impl std::ops::DerefMut for SecretPoly {
    fn deref_mut(&mut self) -> &mut Poly {
        &mut self.0
    }
}

impl Drop for SecretPoly {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A ternary secret. Zeroised on drop; has no `Debug` and no `Clone`.
pub struct SecretKey {
    pub(crate) params: Arc<Parameters>,
    /// Each -1, 0 or 1.
    pub(crate) coefficients: Zeroizing<Vec<i64>>,
    /// Evaluation form over all primes.
    pub(crate) poly: SecretPoly,
}

impl SecretKey {
    /// Draws a secret from the parameters' distribution.
    #[must_use]
    pub fn generate(params: &Arc<Parameters>, rng: &mut SecretRng) -> Self {
        let n = params.n();
        let coefficients = match params.literal().secret {
            SecretDistribution::UniformTernary => ternary(n, rng),
            SecretDistribution::SparseTernary { hamming_weight } => ternary_with_weight(n, hamming_weight, rng),
        };
        Self::from_coefficients(params, Zeroizing::new(coefficients))
    }

    pub(crate) fn from_coefficients(params: &Arc<Parameters>, coefficients: Zeroizing<Vec<i64>>) -> Self {
        let mut poly = SecretPoly::new(Poly::from_signed(
            params.ring(),
            params.ring().full_basis(),
            &coefficients,
        ));
        poly.to_eval();
        Self {
            params: Arc::clone(params),
            coefficients,
            poly,
        }
    }

    /// The parameters it belongs to.
    #[must_use]
    pub fn params(&self) -> &Arc<Parameters> {
        &self.params
    }
}

/// Fresh noise over `basis`, in evaluation form.
pub(crate) fn noise(params: &Arc<Parameters>, basis: Basis, rng: &mut SecretRng) -> SecretPoly {
    let coefficients = Zeroizing::new(gaussian(params.n(), rng));
    let mut poly = SecretPoly::new(Poly::from_signed(params.ring(), basis, &coefficients));
    poly.to_eval();
    poly
}

/// `-a * s + e` over a basis, for fresh noise e: the body of every encryption of zero with mask a.
pub(crate) fn encryption_of_zero(
    params: &Arc<Parameters>,
    basis: Basis,
    a: &SeededPoly,
    s: &Poly,
    rng: &mut SecretRng,
) -> Poly {
    let coefficients = Zeroizing::new(gaussian(params.n(), rng));
    let mut body = Poly::from_signed(params.ring(), basis, &coefficients);
    body.to_eval();
    a.subtract_product(&mut body, s);
    body
}
