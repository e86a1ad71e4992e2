//! Secret randomness: coefficients of small polynomials.
//!
//! All of it is ChaCha20 seeded by the operating system. The Gaussian sampler runs in constant time; the ternary ones
//! too, but for rejection on values that are thrown away and for the positions of a fixed-weight secret in memory.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use zeroize::Zeroizing;

use super::RingError;

/// Source of secret randomness. Has no `Debug` and no `Clone`.
pub struct SecretRng(ChaCha20Rng);

impl SecretRng {
    /// Seeded by the operating system.
    pub fn from_os() -> Result<Self, RingError> {
        Ok(Self(ChaCha20Rng::from_seed(Self::os_seed()?)))
    }

    /// A fixed seed: for tests and reproducible experiments only, never for real keys.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    /// 32 fresh bytes, for a seed that will be published (see [`super::SeededPoly`]).
    pub fn public_seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }

    /// A source of its own, seeded by this one.
    pub fn fork(&mut self) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        self.0.fill_bytes(&mut *seed);
        Self(ChaCha20Rng::from_seed(*seed))
    }

    fn os_seed() -> Result<[u8; 32], RingError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| RingError::NoEntropy {
            reason: error.to_string(),
        })?;
        Ok(seed)
    }

    /// Uniform below `bound`, by rejection.
    fn below(&mut self, bound: u64) -> u64 {
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let word = self.0.next_u64();
            if word < limit {
                return word % bound;
            }
        }
    }
}

/// n coefficients, each -1, 0 or 1 with equal chance.
pub fn ternary(n: usize, rng: &mut SecretRng) -> Vec<i64> {
    (0..n).map(|_| rng.below(3) as i64 - 1).collect()
}

/// n coefficients, exactly `weight` of them +-1 at uniform places with uniform signs, the rest 0.
pub fn ternary_with_weight(n: usize, weight: usize, rng: &mut SecretRng) -> Vec<i64> {
    assert!(weight <= n, "a secret of weight {weight} does not fit {n} coefficients");
    let mut places: Vec<usize> = (0..n).collect();
    let mut coefficients = vec![0; n];
    // the first `weight` steps of a Fisher-Yates shuffle
    for i in 0..weight {
        let j = i + rng.below((n - i) as u64) as usize;
        places.swap(i, j);
        coefficients[places[i]] = 1 - 2 * rng.below(2) as i64;
    }
    zeroize::Zeroize::zeroize(&mut places);
    coefficients
}

/// `GAUSSIAN_TAIL[k] = P(|x| > k) * 2^63`, rounded down, for the discrete Gaussian of standard deviation 3.2. What lies beyond
/// the table has probability below 2^-63.
const GAUSSIAN_TAIL: [u64; 29] = [
    8073499201425509800,
    5883348370701942930,
    3991629182630250053,
    2509699002363457274,
    1456798710654579249,
    778321634312219174,
    381795751200163125,
    171613357976589712,
    70569585085359829,
    26512962087029103,
    9090830680771688,
    2842272832067367,
    809697108902602,
    210041220178844,
    49588937064720,
    10650534664075,
    2080180164796,
    369346163117,
    59600389513,
    8738635276,
    1163930510,
    140805938,
    15468807,
    1543030,
    139740,
    11488,
    857,
    58,
    4,
];

/// n coefficients of the discrete Gaussian with standard deviation 3.2, by inversion of its cumulative table: every entry is
/// compared for every draw, so time does not depend on the value.
pub fn gaussian(n: usize, rng: &mut SecretRng) -> Vec<i64> {
    let draw = |word: u64| {
        let (uniform, negative) = (word >> 1, (word & 1) as i64);
        let magnitude: i64 = GAUSSIAN_TAIL.iter().map(|&tail| i64::from(uniform < tail)).sum();
        (magnitude ^ -negative) + negative
    };
    (0..n).map(|_| draw(rng.0.next_u64())).collect()
}

/// n integers, uniform in `[-2^bits, 2^bits)`, `bits` at most 62: noise to flood decryptions with.
pub fn uniform_signed(n: usize, bits: u32, rng: &mut SecretRng) -> Vec<i64> {
    assert!(bits <= 62, "uniform noise of {bits} bits does not fit a word");
    (0..n).map(|_| rng.0.next_u64() as i64 >> (63 - bits)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rng() -> SecretRng {
        SecretRng::from_seed([7; 32])
    }

    #[test]
    fn ternary_has_the_asked_distribution() {
        let coefficients = ternary(30_000, &mut rng());
        for wanted in [-1, 0, 1] {
            let count = coefficients.iter().filter(|&&x| x == wanted).count();
            assert!((9_500..10_500).contains(&count));
        }
        let sparse = ternary_with_weight(4096, 192, &mut rng());
        assert_eq!(sparse.iter().filter(|&&x| x != 0).count(), 192);
        assert!(sparse.iter().all(|&x| x.abs() <= 1) && sparse.contains(&1) && sparse.contains(&-1));
        assert!(sparse.iter().take(2048).filter(|&&x| x != 0).count() > 64);
    }

    #[test]
    fn gaussian_moments() {
        let count = 200_000;
        let coefficients = gaussian(count, &mut rng());
        let mean = coefficients.iter().sum::<i64>() as f64 / count as f64;
        let variance = coefficients.iter().map(|&x| (x * x) as f64).sum::<f64>() / count as f64;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance.sqrt() - 3.2).abs() < 0.03, "{variance}");
        assert!(coefficients.iter().all(|&x| x.abs() <= 29));
    }

    #[test]
    fn signed_uniform_fills_its_range() {
        let values = uniform_signed(10_000, 20, &mut rng());
        let (least, greatest) = (values.iter().min().unwrap(), values.iter().max().unwrap());
        assert!((-(1 << 20)..-(1 << 20) + 4096).contains(least) && ((1 << 20) - 4096..1 << 20).contains(greatest));
        let mean = values.iter().sum::<i64>() as f64 / 10_000.0;
        assert!(mean.abs() < f64::from(1 << 15), "{mean}");
    }

    #[test]
    fn os_seeds_differ() {
        let (mut a, mut b) = (SecretRng::from_os().unwrap(), SecretRng::from_os().unwrap());
        assert_ne!(a.public_seed(), b.public_seed());
    }
}
