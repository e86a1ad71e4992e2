//! 512-bit building blocks shared by the vector kernels: eight residues a register, arithmetic modulo `2^52`.
//!
//! Lazy values live **modulo 2^52**: a register word may carry any multiple of `2^52` above its true value, which the 52-bit
//! multiplier does not see and [`Prime::canonical`] masks off. A true value must stay in `[0, 2^52)`; every kernel states the
//! multiple of q that bounds it. This saves the mask after each product by a constant: six instructions a butterfly instead
//! of nine.
//!
//! All functions are safe to call from code compiled for the same features, which only an [`super::Ifma`] token lets in.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_loadu_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64,
    _mm512_min_epu64, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_storeu_si512, _mm512_sub_epi64,
};

use super::modulus::{MASK52, Modulus, ShoupFactor};

/// Residues in one register.
pub(super) const LANES: usize = 8;

/// The constants of one prime, each in all lanes.
#[derive(Clone, Copy)]
pub(super) struct Prime {
    pub(super) q: __m512i,
    pub(super) two_q: __m512i,
    /// 2^52 - q.
    pub(super) neg_q: __m512i,
    /// floor(2^52 / q).
    pub(super) recip: __m512i,
    pub(super) mask: __m512i,
}

/// A constant factor in all lanes.
#[derive(Clone, Copy)]
pub(super) struct Factor {
    pub(super) value: __m512i,
    pub(super) quotient: __m512i,
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn splat(x: u64) -> __m512i {
    _mm512_set1_epi64(x as i64)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn factor(w: ShoupFactor) -> Factor {
    Factor {
        value: splat(w.value),
        quotient: splat(w.quotient),
    }
}

/// Requires: at + 8 <= values.len().   Ensures: the eight words from `at` on.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(values: &[u64], at: usize) -> __m512i {
    debug_assert!(at + LANES <= values.len());
    // SAFETY: every caller stays within the slice, as the assertion above states; unaligned loads are allowed.
    unsafe { _mm512_loadu_si512(values.as_ptr().add(at).cast()) }
}

/// Requires: at + 8 <= values.len().   Ensures: the eight words from `at` on are `x`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(values: &mut [u64], at: usize, x: __m512i) {
    debug_assert!(at + LANES <= values.len());
    // SAFETY: every caller stays within the slice, as the assertion above states; unaligned stores are allowed.
    unsafe { _mm512_storeu_si512(values.as_mut_ptr().add(at).cast(), x) }
}

/// `acc + floor(a * b / 2^52)` on the low 52 bits of a and b.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn madd_high(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
    _mm512_madd52hi_epu64(acc, a, b)
}

/// `acc + (a * b mod 2^52)` on the low 52 bits of a and b.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn madd_low(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
    _mm512_madd52lo_epu64(acc, a, b)
}

/// `floor(a * b / 2^52)` on the low 52 bits of a and b.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul_high(a: __m512i, b: __m512i) -> __m512i {
    _mm512_madd52hi_epu64(_mm512_setzero_si512(), a, b)
}

impl Prime {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(modulus: &Modulus) -> Self {
        let q = modulus.value();
        Self {
            q: splat(q),
            two_q: splat(2 * q),
            neg_q: splat((1 << 52) - q),
            recip: splat((1 << 52) / q),
            mask: splat(MASK52),
        }
    }

    /// Requires: true acc + 2q <= 2^52, true x < 2^52, w a factor of q.
    /// Ensures:  true r in [acc, acc + 2q), r = acc + x * w (mod q).
    /// Why:      with e = floor(x * w' / 2^52), x*w - e*q lies in [0, 2q), so it is known from its low 52 bits, which are
    ///           those of low(x*w) + low(e * (2^52 - q)).   Source: Harvey 2014, algorithm 2.   Cost: 3 multiply-adds.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn mul_add_lazy_2q(&self, acc: __m512i, x: __m512i, w: Factor) -> __m512i {
        let e = mul_high(x, w.quotient);
        madd_low(madd_low(acc, x, w.value), e, self.neg_q)
    }

    /// Requires: true x < 2^52.   Ensures: true r in [0, 2q), r = x (mod q).
    /// Why:      e = floor(x * floor(2^52/q) / 2^52) is in (x/q - 2, x/q].   Source: Barrett 1986.   Cost: 2 multiply-adds.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn reduce_lazy_2q(&self, x: __m512i) -> __m512i {
        madd_low(x, mul_high(x, self.recip), self.neg_q)
    }

    /// Requires: true x in [0, 2q).   Ensures: r in [0, q), with nothing above bit 52.
    /// Why:      mask, then one conditional subtraction as an unsigned minimum.   Cost: 3.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn canonical(&self, x: __m512i) -> __m512i {
        self.subtract_if_above(_mm512_and_si512(x, self.mask), self.q)
    }

    /// Requires: x in [0, 2m), without multiples of 2^52.   Ensures: r in [0, m), r = x or x - m.   Cost: 2.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn subtract_if_above(&self, x: __m512i, m: __m512i) -> __m512i {
        _mm512_min_epu64(x, _mm512_sub_epi64(x, m))
    }
}
