//! What the CKKS tests share: small real parameter sets, sample values, error in bits.

use std::sync::Arc;

use aphelion_runtime::ckks::Ciphertext;
use aphelion_runtime::ckks::encoding::{Complex64, Encoder};
use aphelion_runtime::ckks::keys::SecretKey;
use aphelion_runtime::ckks::params::{
    ChainRequest, Parameters, ParametersLiteral, SecretDistribution, Security, UpperLevel,
};
use aphelion_runtime::ring::SecretRng;

/// 128-bit parameters with a uniform ternary secret.
pub fn secure(log_n: u32, levels: usize, log_scale: f64, log_q0: f64, dnum: usize) -> Arc<Parameters> {
    parameters(log_n, levels, log_scale, log_q0, dnum, Security::Classical128)
}

/// Parameters of any size.
pub fn parameters(
    log_n: u32,
    levels: usize,
    log_scale: f64,
    log_q0: f64,
    dnum: usize,
    security: Security,
) -> Arc<Parameters> {
    let secret = SecretDistribution::UniformTernary;
    let request = ChainRequest {
        log_n,
        levels,
        log_scale,
        log_q0,
        dnum,
        secret,
        security,
    };
    Parameters::new(ParametersLiteral::choose(&request).unwrap()).unwrap()
}

/// A chain like that of a bootstrap: eight primes of 40 bits and four of nearly 50, digits of four, four special primes.
pub fn chain_with_upper_levels(log_n: u32) -> Arc<Parameters> {
    let request = ChainRequest {
        log_n,
        levels: 7,
        log_scale: 40.0,
        log_q0: 44.0,
        dnum: 3,
        secret: SecretDistribution::UniformTernary,
        security: Security::None,
    };
    let upper = UpperLevel {
        log_prime: 49.9,
        log_scale: 49.9,
    };
    Parameters::new(ParametersLiteral::choose_with_upper(&request, &[upper; 4]).unwrap()).unwrap()
}

/// Everything a client holds.
pub struct Client {
    pub params: Arc<Parameters>,
    pub encoder: Encoder,
    pub secret: SecretKey,
    pub rng: SecretRng,
}

impl Client {
    pub fn new(params: Arc<Parameters>) -> Self {
        let mut rng = SecretRng::from_seed([42; 32]);
        let secret = SecretKey::generate(&params, &mut rng);
        Self {
            encoder: Encoder::new(&params),
            secret,
            rng,
            params,
        }
    }

    pub fn encrypt(&mut self, values: &[f64], level: usize) -> Ciphertext {
        let slots = values.len().next_power_of_two();
        let plaintext = self
            .encoder
            .encode(values, slots, level, self.params.scale(level))
            .unwrap();
        self.secret.encrypt(&plaintext, &mut self.rng).unwrap()
    }

    pub fn encrypt_complex(&mut self, values: &[Complex64], level: usize) -> Ciphertext {
        let slots = values.len().next_power_of_two();
        let plaintext = self
            .encoder
            .encode_complex(values, slots, level, self.params.scale(level))
            .unwrap();
        self.secret.encrypt(&plaintext, &mut self.rng).unwrap()
    }

    pub fn decrypt(&self, ciphertext: &Ciphertext) -> Vec<f64> {
        self.encoder.decode(&self.secret.decrypt(ciphertext))
    }

    pub fn decrypt_complex(&self, ciphertext: &Ciphertext) -> Vec<Complex64> {
        self.encoder.decode_complex(&self.secret.decrypt(ciphertext))
    }
}

/// Values in [-1, 1] without structure, the same on every run.
pub fn sample(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}

/// -log2 of the largest error.
pub fn error_bits(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    -found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
        .log2()
}

/// -log2 of the largest error among complex values.
pub fn complex_error_bits(found: &[Complex64], expected: &[Complex64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    -found
        .iter()
        .zip(expected)
        .map(|(a, b)| (*a - *b).abs())
        .fold(0.0, f64::max)
        .log2()
}

/// Variance of a coefficient's noise, in fresh encryptions under the secret key.
pub const FRESH: f64 = 3.2 * 3.2;

/// Variance of the rounding of a division: (c_0 rounding + c_1 rounding * s), each uniform on one unit.
pub fn division(params: &Parameters) -> f64 {
    let weight = params.literal().secret.hamming_weight(params.n()) as f64;
    (1.0 + weight) / 12.0
}

/// Variance that a key switch adds: digits uniform on their modulus times key noise, over P, then the division.
pub fn key_switch(params: &Parameters, level: usize) -> f64 {
    let log2 = |primes: &[u64]| primes.iter().map(|prime| (*prime as f64).log2()).sum::<f64>();
    let log_p = log2(&params.special_primes(level));
    let digits = (0..params.digits(level)).map(|digit| {
        let log_digit = log2(&params.q()[params.digit(digit, level)]);
        (2.0 * (log_digit - log_p)).exp2()
    });
    digits.sum::<f64>() * params.n() as f64 / 12.0 * FRESH + division(params)
}

/// Precision of slots whose coefficients carry noise of this variance: eleven deviations of a slot's real part. So many,
/// because rounding noise is multiplied with the secret's own slots, which gives it the tail of exp(-1.4 * deviations).
pub fn bits(params: &Parameters, level: usize, variance: f64) -> f64 {
    params.scale(level).log2() - (8.0 * (params.n() as f64 * variance).sqrt()).log2()
}
