//! The vector form: four AES blocks a register, four registers at a time to hide the latency of a round.

use std::arch::x86_64::{
    __m128i, __m512i, _MM_HINT_T1, _mm_aeskeygenassist_si128, _mm_loadu_si128, _mm_prefetch, _mm_shuffle_epi32,
    _mm_slli_si128, _mm_xor_si128, _mm512_add_epi64, _mm512_aesenc_epi128, _mm512_aesenclast_epi128,
    _mm512_broadcast_i32x4, _mm512_cmpge_epu64_mask, _mm512_cmplt_epu64_mask, _mm512_maskz_compress_epi64,
    _mm512_min_epu64, _mm512_setr_epi64, _mm512_setzero_si512, _mm512_xor_si512,
};

use super::{CHUNK, first_block, rejection_bound};
use crate::ring::Modulus;
use crate::ring::simd::{LANES, madd_high, madd_low, rows_mut, splat, store};

/// Registers encrypted together.
const REGISTERS: usize = 4;
/// Rounds of AES-128.
const ROUNDS: usize = 10;

/// Mostly all candidates of a turn are kept, and written as they are. Otherwise those that stay move together in their
/// register, and whole registers are written: what lies beyond the kept ones is overwritten by the next.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma,aes,vaes")]
pub(super) fn fill(seed: &[u8; 32], modulus: &Modulus, first_chunk: usize, out: &mut [u64], alongside: &[u64]) {
    let keys = round_keys(seed);
    let (q, bound, zero) = (
        splat(modulus.value()),
        splat(rejection_bound(modulus)),
        _mm512_setzero_si512(),
    );
    let next_register = _mm512_setr_epi64(0, 4, 0, 4, 0, 4, 0, 4);
    let mut wanted = alongside.chunks(LANES);
    for (chunk, out) in (first_chunk..).zip(out.chunks_mut(CHUNK)) {
        let [low, high] = first_block(modulus, chunk).map(|word| word as i64);
        let mut counter = _mm512_setr_epi64(low, high, low, high + 1, low, high + 2, low, high + 3);
        let mut filled = 0;
        while filled < out.len() {
            let mut words = [zero; REGISTERS];
            for word in &mut words {
                *word = _mm512_xor_si512(counter, keys[0]);
                counter = _mm512_add_epi64(counter, next_register);
            }
            for key in &keys[1..ROUNDS] {
                for word in &mut words {
                    *word = _mm512_aesenc_epi128(*word, *key);
                }
            }
            for line in wanted.by_ref().take(REGISTERS) {
                _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
            }
            // the multiplier reads the low 52 bits only
            let words = words.map(|word| _mm512_aesenclast_epi128(word, keys[ROUNDS]));
            let low = words.map(|word| madd_low(zero, word, q));
            let residues = words.map(|word| madd_high(zero, word, q));
            let least = low[1..].iter().fold(low[0], |least, &low| _mm512_min_epu64(least, low));
            let rest = &mut out[filled..];
            if let Some(rows) = rest.first_chunk_mut::<{ REGISTERS * LANES }>()
                && _mm512_cmplt_epu64_mask(least, bound) == 0
            {
                for (row, residues) in rows_mut(rows).iter_mut().zip(residues) {
                    store(row, residues);
                }
                filled += REGISTERS * LANES;
            } else {
                filled += store_kept(rest, &low, &residues, bound);
            }
        }
    }
}

/// Writes the residues whose low product is not below the bound, as many as fit; returns how many they were.
#[inline]
#[target_feature(enable = "avx512f")]
fn store_kept(out: &mut [u64], low: &[__m512i; REGISTERS], residues: &[__m512i; REGISTERS], bound: __m512i) -> usize {
    let mut filled = 0;
    for (&low, &residues) in low.iter().zip(residues) {
        let kept = _mm512_cmpge_epu64_mask(low, bound);
        let together = _mm512_maskz_compress_epi64(kept, residues);
        let rest = &mut out[filled..];
        if let Some(row) = rest.first_chunk_mut() {
            store(row, together);
        } else {
            let mut row = [0; LANES];
            store(&mut row, together);
            rest.copy_from_slice(&row[..rest.len()]);
        }
        filled = (filled + kept.count_ones() as usize).min(out.len());
    }
    filled
}

/// The round keys of the first half of the seed, the second half added to the first of them.   Source: FIPS 197, section 5.2.
#[inline]
#[target_feature(enable = "avx512f,aes")]
fn round_keys(seed: &[u8; 32]) -> [__m512i; ROUNDS + 1] {
    // SAFETY: both halves are 16 readable bytes; unaligned loads are allowed.
    let [mut key, whitening] = [0, 16].map(|half| unsafe { _mm_loadu_si128(seed[half..][..16].as_ptr().cast()) });
    let mut keys = [_mm512_broadcast_i32x4(_mm_xor_si128(key, whitening)); ROUNDS + 1];
    macro_rules! expand {
        ($($round:literal: $constant:literal),*) => {$(
            key = next_round_key(key, _mm_aeskeygenassist_si128::<$constant>(key));
            keys[$round] = _mm512_broadcast_i32x4(key);
        )*};
    }
    expand!(1: 0x01, 2: 0x02, 3: 0x04, 4: 0x08, 5: 0x10, 6: 0x20, 7: 0x40, 8: 0x80, 9: 0x1b, 10: 0x36);
    keys
}

/// Each word of the next key is the sum of this one's words up to it and of the substituted, rotated last word.
#[inline]
#[target_feature(enable = "avx512f,aes")]
fn next_round_key(mut key: __m128i, substituted: __m128i) -> __m128i {
    for _ in 0..3 {
        key = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
    }
    _mm_xor_si128(key, _mm_shuffle_epi32::<0xff>(substituted))
}
