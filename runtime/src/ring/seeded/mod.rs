//! [`SeededPoly`]: a uniform polynomial that is nowhere in memory: any part of any limb is made from its seed when asked for.
//!
//! Construction. AES-128 in counter mode. The first half of the seed is the cipher's key, the second half is added to every
//! counter block (xor). Words `[1024*c, 1024*(c+1))` of the limb of a prime q come from the blocks `(q, c * 2^32 + b)` for
//! b = 0, 1, ..: two little-endian 64-bit words each, of which the low 52 bits w are a candidate. With `w * q = h * 2^52 + l`,
//! the candidate is thrown away if `l < 2^52 mod q`, and is the residue h otherwise. So a limb depends on the seed and its
//! prime only, and polynomials of one seed over different bases agree on the limbs they share.
//!
//! Uniform, because of the multiples of q in `[h * 2^52 + (2^52 mod q), (h + 1) * 2^52)`, an interval whose length q divides,
//! there are as many for every h.   Source: Lemire, "Fast Random Integer Generation in an Interval", TOMACS 2019.
//!
//! Fit for the public half of ring-LWE samples, because the seed is public too: nothing is to be kept secret, it only must not
//! be possible to choose or foresee a structure in the polynomial. With AES as an ideal cipher the blocks of fresh seeds are
//! uniform but for being distinct, which at most 2^22 blocks a seed show with probability 2^-85. FrodoKEM makes its public
//! matrix by AES-128 for all its levels of security, on the same argument (specification of 2021, "pseudorandom generation of
//! A"); Kyber-90s (specification of 2021) makes its by AES-256 in counter mode.
//!
//! Cost in the vector form: 10 AES rounds and 2 multiply-adds for eight candidates, 13 cycles in all; below q / 2^52 of the
//! candidates are thrown away. 29 us for 2^16 words on one core of a Zen 4, of which 22 us are rounds of AES.

mod portable;
#[cfg(target_arch = "x86_64")]
mod vaes;

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Backend, Basis, Domain, Modulus, Poly, RingContext, kernels};

/// Words of a limb that are made together: parts begin at multiples of it.
pub(super) const CHUNK: usize = 1024;

/// Bits of a candidate.
const CANDIDATE_BITS: u32 = 52;

/// A uniform polynomial given by a public seed, over any primes. Whether its words are coefficients or evaluations is the
/// user's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeededPoly {
    seed: [u8; 32],
}

impl SeededPoly {
    /// The polynomial of a seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed }
    }

    /// The polynomial over a basis, whole.
    pub fn expand(&self, ring: &Arc<RingContext>, basis: Basis, domain: Domain) -> Poly {
        let mut poly = Poly::uninit(ring, basis, domain);
        poly.each_limb(|_, table, values| self.fill(ring.backend(), table.modulus(), 0, values, &[]));
        poly
    }

    /// `x = x - self * s` in evaluation form, part by part, so that self is not in memory. `s` may have more primes.
    pub fn subtract_product(&self, x: &mut Poly, s: &Poly) {
        assert_eq!([x.domain(), s.domain()], [Domain::Eval; 2]);
        let backend = x.ring().backend();
        x.each_prime_limb(|prime, modulus, values| {
            let s = s.limb_of_prime(prime);
            // the products tell what s is
            let mut products = Zeroizing::new([0; CHUNK]);
            for (chunk, values) in values.chunks_mut(CHUNK).enumerate() {
                let (start, products) = (chunk * CHUNK, &mut products[..values.len()]);
                let s = &s[start..][..values.len()];
                self.fill(backend, modulus, start, products, s);
                kernels::mul(backend, modulus, products, s);
                kernels::sub(backend, modulus, values, products);
            }
        });
    }

    /// Overwrites `out` with the words from `start` on of the limb of a prime, and has the processor fetch `alongside` (any
    /// words that are wanted next) meanwhile. `start` is a multiple of [`CHUNK`].
    pub(super) fn fill(&self, backend: Backend, modulus: &Modulus, start: usize, out: &mut [u64], alongside: &[u64]) {
        assert!(
            start.is_multiple_of(CHUNK),
            "parts begin at multiples of {CHUNK}, not at {start}"
        );
        match backend {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the token in `backend` proves that the processor has the features of the vector form.
            Backend::Ifma(_) => unsafe { vaes::fill(&self.seed, modulus, start / CHUNK, out, alongside) },
            _ => portable::fill(&self.seed, modulus, start / CHUNK, out),
        }
    }
}

/// The polynomial of a public seed, whole.
pub fn uniform(ring: &Arc<RingContext>, basis: Basis, domain: Domain, seed: &[u8; 32]) -> Poly {
    SeededPoly::new(*seed).expand(ring, basis, domain)
}

/// The counter block of a chunk's first candidates, as two words: block b has b added to the second.
fn first_block(modulus: &Modulus, chunk: usize) -> [u64; 2] {
    [modulus.value(), (chunk as u64) << 32]
}

/// Candidates whose low product is below this are thrown away.
fn rejection_bound(modulus: &Modulus) -> u64 {
    (1 << CANDIDATE_BITS) % modulus.value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::find_ntt_primes;

    const N: usize = 2 * CHUNK;

    /// Primes of all sizes, next to powers of two on either side among them: those above reject most.
    fn moduli() -> Vec<Modulus> {
        let below = (13..=50).flat_map(|bits| find_ntt_primes(5, bits, 2, &[]).unwrap());
        let above = (13..=49).filter_map(|bits| {
            let candidates = (0..4096).map(|k| (1u64 << bits) + 32 * k + 1);
            candidates.into_iter().find(|&q| crate::ring::is_prime(q))
        });
        below.chain(above).map(|q| Modulus::new(q).unwrap()).collect()
    }

    #[test]
    fn families_agree_on_all_parts() {
        for (number, modulus) in moduli().iter().enumerate() {
            let poly = SeededPoly::new([number as u8; 32]);
            let mut expected = vec![0; N];
            poly.fill(Backend::Portable, modulus, 0, &mut expected, &[]);
            for (start, len) in [
                (0, N),
                (CHUNK, CHUNK),
                (0, CHUNK),
                (0, 64),
                (CHUNK, 200),
                (0, 7),
                (0, CHUNK + 9),
            ] {
                for backend in [Backend::Portable, Backend::detect()] {
                    let mut part = vec![u64::MAX; len];
                    poly.fill(backend, modulus, start, &mut part, &expected);
                    assert_eq!(
                        part,
                        expected[start..start + len],
                        "{backend:?}, q = {}, {start}",
                        modulus.value()
                    );
                }
            }
        }
    }

    /// The construction once more, candidate by candidate.
    #[test]
    fn residues_follow_the_specification() {
        use aes::cipher::{BlockCipherEncrypt, KeyInit};
        let seed: [u8; 32] = std::array::from_fn(|i| i as u8);
        for modulus in moduli() {
            let q = modulus.value();
            let cipher = aes::Aes128::new_from_slice(&seed[..16]).unwrap();
            let candidates = (0u128..).flat_map(|block| {
                let counter = u128::from(q) | (1u128 << 96) | block << 64;
                let whitening = u128::from_le_bytes(seed[16..].try_into().unwrap());
                let mut bytes = aes::Block::from((counter ^ whitening).to_le_bytes());
                cipher.encrypt_block(&mut bytes);
                let found = u128::from_le_bytes(bytes.into());
                [found % (1 << 52), (found >> 64) % (1 << 52)]
            });
            let products = candidates.map(|word| word * u128::from(q));
            let kept = products.filter(|product| product % (1 << 52) >= (1 << 52) % u128::from(q));
            let expected: Vec<u64> = kept.map(|product| (product >> 52) as u64).take(CHUNK).collect();
            let mut found = vec![0; CHUNK];
            SeededPoly::new(seed).fill(Backend::detect(), &modulus, CHUNK, &mut found, &[]);
            assert_eq!(found, expected, "q = {q}");
        }
    }

    /// Chi-square of 256 buckets of equal width, and of the low bits: five standard deviations at most.
    #[test]
    fn residues_are_uniform() {
        const BUCKETS: usize = 256;
        let far = |counts: &[u64], expected: &dyn Fn(usize) -> f64| {
            let square = |(i, &count): (usize, &u64)| (count as f64 - expected(i)).powi(2) / expected(i);
            let chi_square: f64 = counts.iter().enumerate().map(square).sum();
            let freedom = (counts.len() - 1) as f64;
            (chi_square - freedom).abs() / (2.0 * freedom).sqrt()
        };
        for (number, modulus) in moduli().iter().enumerate() {
            let q = modulus.value();
            let mut values = vec![0; 1 << 16];
            SeededPoly::new([number as u8 ^ 0x55; 32]).fill(Backend::detect(), modulus, 0, &mut values, &[]);
            let (mut high, mut low) = ([0; BUCKETS], [0; BUCKETS]);
            for &value in &values {
                assert!(value < q);
                high[(u128::from(value) * BUCKETS as u128 / u128::from(q)) as usize] += 1;
                low[value as usize % BUCKETS] += 1;
            }
            // how many residues fall into bucket i
            let first = |i: usize| (u128::from(q) * i as u128).div_ceil(BUCKETS as u128) as f64;
            let each = values.len() as f64 / q as f64;
            assert!(far(&high, &|i| (first(i + 1) - first(i)) * each) < 5.0, "q = {q}");
            let with_low = |i: usize| ((q - 1 - i as u64) / BUCKETS as u64 + 1) as f64;
            assert!(far(&low, &|i| with_low(i) * each) < 5.0, "q = {q}");
        }
    }

    #[test]
    fn limbs_depend_on_seed_and_prime_only() {
        let primes = find_ntt_primes(12, 45, 4, &[]).unwrap();
        let ring = RingContext::new(11, &primes[..3], &primes[3..]).unwrap();
        let full = uniform(&ring, Basis::qp(2, 1), Domain::Eval, &[1; 32]);
        let lower = uniform(&ring, Basis::qp(0, 1), Domain::Eval, &[1; 32]);
        assert!(lower == full.restricted(Basis::qp(0, 1)));
        for position in [0, 15, 16, 31] {
            let mut seed = [1; 32];
            seed[position] ^= 0x80;
            let other = uniform(&ring, Basis::qp(2, 1), Domain::Eval, &seed);
            for limb in 0..4 {
                let pairs = full.limb(limb).iter().zip(other.limb(limb));
                assert!(pairs.filter(|(x, y)| x == y).count() < 3);
            }
        }
        assert_ne!(full.limb(0)[..CHUNK], full.limb(0)[CHUNK..]);
        assert_ne!(full.limb(0), full.limb(1));
    }
}
