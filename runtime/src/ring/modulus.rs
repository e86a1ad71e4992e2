//! One prime modulus below 2^50 and its scalar primitives.
//!
//! Sources: Barrett, "Implementing the RSA public key encryption algorithm", CRYPTO 1986; Shoup's multiplication by a
//! constant as in Harvey, "Faster arithmetic for number-theoretic transforms", J. Symb. Comp. 2014, section 2.

use super::{RingError, primes::is_prime};

/// Moduli have at most this many bits, so that four times a modulus fits the 52-bit multiplier of AVX-512 IFMA.
pub const MAX_MODULUS_BITS: u32 = 50;

pub(crate) const MASK52: u64 = (1 << 52) - 1;

/// A prime modulus with the constants its reductions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modulus {
    q: u64,
    bits: u32,
    /// floor(2^(bits + 63) / q), in (2^63, 2^64).
    barrett: u64,
    /// floor(2^64 / q).
    recip64: u64,
    /// 2^52 mod q as a factor.
    radix52: ShoupFactor,
}

/// A constant `w` in `[0, q)` with `floor(w * 2^52 / q)`, ready to be multiplied by (see [`Modulus::mul_shoup`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShoupFactor {
    /// The constant, in `[0, q)`.
    pub value: u64,
    /// `floor(value * 2^52 / q)`, below `2^52`.
    pub quotient: u64,
}

impl Modulus {
    /// Checks that `q` is an odd prime below `2^50`.
    pub fn new(q: u64) -> Result<Self, RingError> {
        if q < 3 || q >> MAX_MODULUS_BITS != 0 || !is_prime(q) {
            return Err(RingError::InvalidModulus { modulus: q });
        }
        let bits = 64 - q.leading_zeros();
        let barrett = ((1u128 << (bits + 63)) / u128::from(q)) as u64;
        let mut modulus = Self {
            q,
            bits,
            barrett,
            recip64: ((1u128 << 64) / u128::from(q)) as u64,
            radix52: ShoupFactor::default(),
        };
        modulus.radix52 = modulus.shoup((1 << 52) % q);
        Ok(modulus)
    }

    /// The prime.
    pub fn value(&self) -> u64 {
        self.q
    }

    /// Its bit length: `2^(bits-1) < q < 2^bits`.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// `2^52 mod q` as a factor.
    pub(crate) fn radix52(&self) -> ShoupFactor {
        self.radix52
    }

    /// Requires: a, b in [0, q).   Ensures: r in [0, q), r = a + b (mod q).
    /// Why:      a + b < 2q, one conditional subtraction.   Source: elementary.
    #[inline]
    pub fn add(&self, a: u64, b: u64) -> u64 {
        debug_assert!(a < self.q && b < self.q);
        reduce_once(a + b, self.q)
    }

    /// Requires: a, b in [0, q).   Ensures: r in [0, q), r = a - b (mod q).
    /// Why:      a + q - b lies in (0, 2q).   Source: elementary.
    #[inline]
    pub fn sub(&self, a: u64, b: u64) -> u64 {
        debug_assert!(a < self.q && b < self.q);
        reduce_once(a + self.q - b, self.q)
    }

    /// Requires: a in [0, q).   Ensures: r in [0, q), r = -a (mod q).
    /// Why:      q - a lies in (0, q], and q goes to 0.   Source: elementary.
    #[inline]
    pub fn neg(&self, a: u64) -> u64 {
        debug_assert!(a < self.q);
        reduce_once(self.q - a, self.q)
    }

    /// Requires: a, b in [0, q).   Ensures: r in [0, q), r = a * b (mod q).
    /// Why:      see [`Self::reduce_product`], as a * b < q^2.   Source: Barrett 1986.
    #[inline]
    pub fn mul(&self, a: u64, b: u64) -> u64 {
        debug_assert!(a < self.q && b < self.q);
        self.reduce_product(u128::from(a) * u128::from(b))
    }

    /// Requires: a, b, c in [0, q).   Ensures: r in [0, q), r = a * b + c (mod q).
    /// Why:      a * b + c <= (q-1)^2 + q - 1 < q^2.   Source: Barrett 1986.
    #[inline]
    pub fn mul_add(&self, a: u64, b: u64, c: u64) -> u64 {
        debug_assert!(a < self.q && b < self.q && c < self.q);
        self.reduce_product(u128::from(a) * u128::from(b) + u128::from(c))
    }

    /// Requires: t in [0, q^2).   Ensures: r in [0, q), r = t (mod q).
    /// Why:      with k = bits, c = floor(t / 2^(k-1)) < 2^(k+1) and m = floor(2^(k+63) / q), e = floor(c*m / 2^64) <= t/q.
    ///           Cutting t loses < 2^(k-1)/q < 1, cutting m loses < c/2^64 < 2^-13, the last floor < 1, so t - e*q < 2.01q:
    ///           two conditional subtractions.   Source: Barrett 1986.
    #[inline]
    pub fn reduce_product(&self, t: u128) -> u64 {
        debug_assert!(t < u128::from(self.q) * u128::from(self.q));
        let c = (t >> (self.bits - 1)) as u64;
        let e = ((u128::from(c) * u128::from(self.barrett)) >> 64) as u64;
        let r = (t as u64).wrapping_sub(e.wrapping_mul(self.q));
        reduce_once(reduce_once(r, self.q), self.q)
    }

    /// Requires: any x.   Ensures: r in [0, q), r = x (mod q).
    /// Why:      e = floor(x * floor(2^64/q) / 2^64) is floor(x/q) or one less.   Source: Barrett 1986.
    #[inline]
    pub fn reduce(&self, x: u64) -> u64 {
        let e = ((u128::from(x) * u128::from(self.recip64)) >> 64) as u64;
        reduce_once(x.wrapping_sub(e.wrapping_mul(self.q)), self.q)
    }

    /// Requires: any t.   Ensures: r in [0, q), r = t (mod q).
    /// Why:      t = a*2^104 + b*2^52 + c with a < 2^24, b, c < 2^52; Horner with 2^52 mod q: each step is in [0, q).
    ///           Source: elementary.
    #[inline]
    pub fn reduce_wide(&self, t: u128) -> u64 {
        let high = self.reduce((t >> 104) as u64);
        let middle = self.reduce((t >> 52) as u64 & MASK52);
        let high = self.add(self.mul_shoup(high, self.radix52), middle);
        self.add(self.mul_shoup(high, self.radix52), self.reduce(t as u64 & MASK52))
    }

    /// Ensures: the residue of a signed integer, in [0, q).
    #[inline]
    pub fn from_signed(&self, x: i64) -> u64 {
        let magnitude = self.reduce(x.unsigned_abs());
        if x < 0 { self.neg(magnitude) } else { magnitude }
    }

    /// Requires: |x| < q.   Ensures: its residue, in [0, q).   Cost: 3, without a branch.
    #[inline]
    pub(crate) fn residue_of_small(&self, x: i64) -> u64 {
        debug_assert!(x.unsigned_abs() < self.q);
        (x + (x >> 63 & self.q as i64)) as u64
    }

    /// Ensures: the residue of a signed integer, in [0, q).
    #[inline]
    pub fn from_signed_wide(&self, x: i128) -> u64 {
        let magnitude = self.reduce_wide(x.unsigned_abs());
        if x < 0 { self.neg(magnitude) } else { magnitude }
    }

    /// Requires: x in [0, q).   Ensures: the representative of x in (-q/2, q/2).
    #[inline]
    pub fn to_signed(&self, x: u64) -> i64 {
        debug_assert!(x < self.q);
        if x > self.q / 2 {
            x as i64 - self.q as i64
        } else {
            x as i64
        }
    }

    /// Requires: w in [0, q).   Ensures: the factor of w for [`Self::mul_shoup`].
    #[inline]
    pub fn shoup(&self, w: u64) -> ShoupFactor {
        debug_assert!(w < self.q);
        ShoupFactor {
            value: w,
            quotient: ((u128::from(w) << 52) / u128::from(self.q)) as u64,
        }
    }

    /// Requires: x in [0, 2^52), w made by [`Self::shoup`].   Ensures: r in [0, q), r = x * w (mod q).
    /// Why:      the lazy product is below 2q.   Source: Harvey 2014, algorithm 2 (with radix 2^52).
    #[inline]
    pub fn mul_shoup(&self, x: u64, w: ShoupFactor) -> u64 {
        reduce_once(self.mul_shoup_lazy_2q(x, w), self.q)
    }

    /// Requires: x in [0, 2^52), w made by [`Self::shoup`].   Ensures: r in [0, 2q), r = x * w (mod q).
    /// Why:      e = floor(x * w' / 2^52) with w' > w*2^52/q - 1 gives x*w/q - x/2^52 - 1 < e <= x*w/q, so
    ///           0 <= x*w - e*q < 2q.   Source: Harvey 2014, algorithm 2 (with radix 2^52).
    #[inline]
    pub(crate) fn mul_shoup_lazy_2q(&self, x: u64, w: ShoupFactor) -> u64 {
        debug_assert!(x <= MASK52);
        let e = ((u128::from(x) * u128::from(w.quotient)) >> 52) as u64;
        x.wrapping_mul(w.value).wrapping_sub(e.wrapping_mul(self.q))
    }

    /// Requires: a in [0, q).   Ensures: r in [0, q), r = a^exponent (mod q), with 0^0 = 1. Not constant time.
    pub fn pow(&self, a: u64, mut exponent: u64) -> u64 {
        let mut base = a;
        let mut acc = 1;
        while exponent > 0 {
            if exponent & 1 == 1 {
                acc = self.mul(acc, base);
            }
            base = self.mul(base, base);
            exponent >>= 1;
        }
        acc
    }

    /// Requires: a in [1, q).   Ensures: r in [1, q), a * r = 1 (mod q).
    /// Why:      q is prime: a^(q-2) (Fermat).
    pub fn inv(&self, a: u64) -> u64 {
        debug_assert!(a != 0);
        self.pow(a, self.q - 2)
    }

    /// A primitive `order`-th root of unity, the first of `g^((q-1)/order)` for g = 2, 3, ...; `order` is a power of two.
    /// `None` when `order` does not divide `q - 1`.
    pub fn primitive_root(&self, order: u64) -> Option<u64> {
        debug_assert!(order.is_power_of_two() && order >= 2);
        if !(self.q - 1).is_multiple_of(order) {
            return None;
        }
        (2..self.q)
            .map(|g| self.pow(g, (self.q - 1) / order))
            .find(|&root| self.pow(root, order / 2) == self.q - 1)
    }
}

/// Requires: x in [0, 2m).   Ensures: r in [0, m), r = x (mod m).
/// Why:      x - m wraps to above x exactly when x < m.   Source: elementary.
#[inline]
pub(crate) fn reduce_once(x: u64, m: u64) -> u64 {
    x.min(x.wrapping_sub(m))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PRIMES: [u64; 5] = [3, 12289, 1_073_479_681, 1_125_899_906_826_241, 1_125_899_906_842_597];

    fn edges(q: u64) -> Vec<u64> {
        let mut edges = vec![0, 1, 2, q / 2, q / 2 + 1, q - 2, q - 1];
        edges.retain(|&x| x < q);
        edges
    }

    #[test]
    fn edge_values_match_wide_arithmetic() {
        for q in PRIMES {
            let m = Modulus::new(q).unwrap();
            for a in edges(q) {
                assert_eq!(m.neg(a), (q - a) % q);
                assert_eq!(m.from_signed(m.to_signed(a)), a);
                assert_eq!(m.residue_of_small(a as i64), a);
                assert_eq!(m.residue_of_small(-(a as i64)), m.neg(a));
                for b in edges(q) {
                    assert_eq!(m.add(a, b), (a + b) % q);
                    assert_eq!(m.sub(a, b), (a + q - b) % q);
                    assert_eq!(u128::from(m.mul(a, b)), u128::from(a) * u128::from(b) % u128::from(q));
                    assert_eq!(m.mul_add(a, b, q - 1), m.sub(m.mul(a, b), 1));
                    assert_eq!(m.mul_shoup(a, m.shoup(b)), m.mul(a, b));
                }
                for x in [0, 1, q - 1, q, 2 * q - 1, 4 * q - 1, MASK52] {
                    let lazy = m.mul_shoup_lazy_2q(x, m.shoup(a));
                    assert!(lazy < 2 * q);
                    assert_eq!(u128::from(lazy % q), u128::from(x) * u128::from(a) % u128::from(q));
                }
                if a != 0 {
                    assert_eq!(m.mul(a, m.inv(a)), 1);
                }
            }
            for x in [0, q, u64::MAX, u64::MAX - q] {
                assert_eq!(m.reduce(x), x % q);
            }
            for t in [0, u128::MAX, u128::MAX - u128::from(q), 1 << 104, 1 << 52] {
                assert_eq!(u128::from(m.reduce_wide(t)), t % u128::from(q));
            }
            assert_eq!(m.from_signed(i64::MIN), m.from_signed_wide(i128::from(i64::MIN)));
        }
    }

    #[test]
    fn refuses_composites_and_large_values() {
        for q in [0, 1, 2, 9, 1 << 49, (1 << 50) + 1, 1_152_921_504_606_830_593] {
            assert_eq!(Modulus::new(q), Err(RingError::InvalidModulus { modulus: q }));
        }
    }

    proptest! {
        #[test]
        fn products_match_wide_arithmetic(a: u64, b: u64, t: u128, i in 0..PRIMES.len()) {
            let m = Modulus::new(PRIMES[i]).unwrap();
            let (a, b) = (m.reduce(a), m.reduce(b));
            prop_assert_eq!(u128::from(m.mul(a, b)), u128::from(a) * u128::from(b) % u128::from(m.value()));
            prop_assert_eq!(u128::from(m.reduce_wide(t)), t % u128::from(m.value()));
        }
    }
}
