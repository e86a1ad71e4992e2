//! 512-bit building blocks shared by the vector kernels: eight residues a register, arithmetic modulo `2^52`.
//!
//! Lazy values live **modulo 2^52**: a register word may carry any multiple of `2^52` above its true value, which the 52-bit
//! multiplier does not see and [`Prime::canonical`] masks off. A true value must stay in `[0, 2^52)`; every kernel states the
//! multiple of q that bounds it. This saves the mask after each product by a constant: six instructions a butterfly instead
//! of nine.
//!
//! All functions are safe to call from code compiled for the same features, which only an [`super::Ifma`] token lets in.

use std::arch::x86_64::{
    __m512i, __mmask8, _MM_HINT_T1, _mm_prefetch, _mm_sfence, _mm512_add_epi64, _mm512_and_si512, _mm512_loadu_si512,
    _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_maskz_loadu_epi64, _mm512_min_epu64, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_shuffle_i64x2, _mm512_srli_epi64, _mm512_storeu_si512, _mm512_stream_si512,
    _mm512_sub_epi64, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64,
};

use super::modulus::{MASK52, Modulus, ShoupFactor};

/// Residues in one register.
pub(super) const LANES: usize = 8;

/// Products of words below 2^50 summed before a reduction: 14 high parts below 2^48 and 15 carries stay below 2^52 - 2^12.
pub(super) const SUMMED_PRODUCTS: usize = 14;

/// The words of one register.
pub(super) type Row = [u64; LANES];

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

/// The eight words of a row.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(row: &Row) -> __m512i {
    // SAFETY: a row is 64 readable bytes; unaligned loads are allowed.
    unsafe { _mm512_loadu_si512(row.as_ptr().cast()) }
}

/// Up to eight words, then zeros.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load_few(words: &[u64]) -> __m512i {
    debug_assert!(words.len() <= LANES);
    let present = (1u32 << words.len()) - 1;
    // SAFETY: the mask allows the words of the slice only; lanes it leaves out are not accessed.
    unsafe { _mm512_maskz_loadu_epi64(present as __mmask8, words.as_ptr().cast()) }
}

/// Overwrites a row.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(row: &mut Row, x: __m512i) {
    // SAFETY: a row is 64 writable bytes; unaligned stores are allowed.
    unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), x) }
}

/// Whether words start on a cache line, as [`store_past_caches`] needs.
#[inline]
pub(super) fn is_aligned(words: &[u64]) -> bool {
    words.as_ptr().addr().is_multiple_of(size_of::<Row>())
}

/// Overwrites a row on a cache line without reading it; [`end_of_stores_past_caches`] before anyone else may read it.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store_past_caches(row: &mut Row, x: __m512i) {
    debug_assert!(is_aligned(row));
    // SAFETY: a row is 64 writable bytes, aligned as the caller checked.
    unsafe { _mm512_stream_si512(row.as_mut_ptr().cast(), x) }
}

/// Orders stores past the caches before all that follows.
#[inline]
#[target_feature(enable = "sse")]
pub(super) fn end_of_stores_past_caches() {
    _mm_sfence();
}

/// Asks for a row to be brought to the second-level cache.
#[inline]
pub(super) fn prefetch(row: &Row) {
    // SAFETY: a hint on the address of readable words; it accesses nothing.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(row.as_ptr().cast()) }
}

/// Asks for a row to be brought to the first-level cache, to be written.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn prefetch_to_write(row: &Row) {
    // SAFETY: a hint on an address; it changes no memory, register or flag. All processors with these vectors have it.
    unsafe { std::arch::asm!("prefetchw [{}]", in(reg) row.as_ptr(), options(nostack, preserves_flags, readonly)) }
}

/// A limb as rows; its length is a multiple of eight.
#[inline]
pub(super) fn rows(values: &[u64]) -> &[Row] {
    let (rows, rest) = values.as_chunks();
    debug_assert!(rest.is_empty());
    rows
}

/// A limb as rows; its length is a multiple of eight.
#[inline]
pub(super) fn rows_mut(values: &mut [u64]) -> &mut [Row] {
    let (rows, rest) = values.as_chunks_mut();
    debug_assert!(rest.is_empty());
    rows
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
        subtract_if_above(_mm512_and_si512(x, self.mask), self.q)
    }

    /// Requires: true x in [0, 4q).   Ensures: r in [0, q), with nothing above bit 52.   Cost: 5.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn canonical_from_4q(&self, x: __m512i) -> __m512i {
        subtract_if_above(subtract_if_above(_mm512_and_si512(x, self.mask), self.two_q), self.q)
    }

    /// Requires: high < 2^52 - 2^12, true value of low below 2^64.   Ensures: r in [0, q), r = high * 2^52 + low (mod q).
    /// Why:      the carry of low goes to high; what is left of low reduces to [0, 2q), and high * (2^52 mod q) adds at most
    ///           2q: below 4q <= 2^52.   Source: elementary.   Cost: 5 multiply-adds and 7.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn reduce_wide(&self, high: __m512i, low: __m512i, radix: Factor) -> __m512i {
        self.canonical_from_4q(self.reduce_wide_lazy_4q(high, low, radix))
    }

    /// As [`Self::reduce_wide`], but ensures true r in [0, 4q).   Cost: 5 multiply-adds and 2.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn reduce_wide_lazy_4q(&self, high: __m512i, low: __m512i, radix: Factor) -> __m512i {
        let high = _mm512_add_epi64(high, _mm512_srli_epi64::<52>(low));
        self.mul_add_lazy_2q(self.reduce_lazy_2q(low), high, radix)
    }
}

/// Requires: x in [0, 2m), without multiples of 2^52.   Ensures: r in [0, m), r = x or x - m.   Cost: 2.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn subtract_if_above(x: __m512i, m: __m512i) -> __m512i {
    _mm512_min_epu64(x, _mm512_sub_epi64(x, m))
}

/// Rows to columns of an 8 x 8 square. Cost: 24 shuffles.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose(x: &mut [__m512i; LANES]) {
    // pairs of words, then pairs of 128-bit lanes, then halves
    let even: [__m512i; 4] = std::array::from_fn(|i| _mm512_unpacklo_epi64(x[2 * i], x[2 * i + 1]));
    let odd: [__m512i; 4] = std::array::from_fn(|i| _mm512_unpackhi_epi64(x[2 * i], x[2 * i + 1]));
    for (parity, t) in [even, odd].iter().enumerate() {
        let (low02, low13) = (
            _mm512_shuffle_i64x2::<0x88>(t[0], t[1]),
            _mm512_shuffle_i64x2::<0xdd>(t[0], t[1]),
        );
        let (high02, high13) = (
            _mm512_shuffle_i64x2::<0x88>(t[2], t[3]),
            _mm512_shuffle_i64x2::<0xdd>(t[2], t[3]),
        );
        x[parity] = _mm512_shuffle_i64x2::<0x88>(low02, high02);
        x[parity + 4] = _mm512_shuffle_i64x2::<0xdd>(low02, high02);
        x[parity + 2] = _mm512_shuffle_i64x2::<0x88>(low13, high13);
        x[parity + 6] = _mm512_shuffle_i64x2::<0xdd>(low13, high13);
    }
}
