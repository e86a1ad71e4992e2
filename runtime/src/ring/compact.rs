//! [`CompactPoly`]: evaluations that repeat, each kept once.
//!
//! Bit-reversed position s holds the value at `psi^e`, `e = 2 brv(s) + 1`. Two symmetries make values repeat:
//! - A polynomial in X^g, g = 2^t, depends on e modulo 2N/g, that is on s / g: runs of g equal values. Its distinct values are the
//!   evaluations of a polynomial of degree N/g.
//! - A polynomial that X -> X^-1 fixes (its slots are real) has the same value at e and 2N - e, that is at s and N - 1 - s: the
//!   second half is the first, backwards. With h the number of distinct values and psi the root of the smaller ring, the first
//!   half belongs to the remainder modulo `X^h - psi^h`, which X = Y / psi makes a polynomial modulo Y^h + 1: one transform of
//!   size h after one pass.
//!
//! Distinct values lie such that a vector of eight neighbours in evaluation order is read from one place: for g <= 8 as the first
//! of each g equal rows of eight, beyond that by rising s / g.
//! Source: the first symmetry is that of Gentry, Halevi, Peikert, Smart, "Ring switching in BGV-style homomorphic encryption",
//! SCN 2012; the second is the conjugation.

use std::sync::Arc;

use rayon::prelude::*;

use super::ntt::transpose_in_block;
use super::poly::SERIAL_WORDS;
use super::{AlignedBuffer, Basis, Domain, Modulus, NttTable, Poly, RingContext, kernels};

/// Runs of this many values have an order of their own.
const BLOCK: usize = 64;
/// Rows of a block.
const ROW: usize = 8;

/// Which evaluations are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Symmetry {
    /// log2 of g, where the polynomial is one in X^g.
    pub log_gap: u32,
    /// Whether X -> X^-1 fixes it.
    pub mirrored: bool,
}

impl Symmetry {
    /// How many of `n` evaluations are kept.
    pub fn distinct(self, n: usize) -> usize {
        n >> (self.log_gap + u32::from(self.mirrored))
    }

    /// Where among the kept words evaluation `j` of `n` is.
    fn index(self, n: usize, j: usize) -> usize {
        let j = if self.mirrored && j >= n / 2 { n - 1 - j } else { j };
        match self.log_gap {
            0..=3 => ((j / ROW) >> self.log_gap) * ROW + j % ROW,
            beyond => (j / BLOCK * ROW + j % ROW) >> (beyond - 3),
        }
    }

    /// Evaluation-order place in the smaller transform of each of 64 kept words; every run of 64 is the same.
    fn places(self) -> [u8; BLOCK] {
        std::array::from_fn(|kept| {
            let position = match self.log_gap {
                log_gap @ 0..=3 => {
                    let row = (kept / ROW) << log_gap;
                    (row / ROW * BLOCK + kept % ROW * ROW + row % ROW) >> log_gap
                }
                _ => kept,
            };
            transpose_in_block(position) as u8
        })
    }
}

/// One limb of evaluations, with repetitions left out.
#[derive(Debug, Clone, Copy)]
pub struct CompactLimb<'a> {
    pub(crate) words: &'a [u64],
    pub(crate) n: usize,
    pub(crate) symmetry: Symmetry,
    /// Where evaluations are counted from.
    pub(crate) first: usize,
}

impl<'a> CompactLimb<'a> {
    /// A limb without repetitions.
    pub fn dense(words: &'a [u64]) -> Self {
        Self {
            words,
            n: words.len(),
            symmetry: Symmetry::default(),
            first: 0,
        }
    }

    /// Evaluations from `first` on, a multiple of 64.
    pub fn starting_at(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// The kept words that the first `count` evaluations are among, a power of two that divides where they start.
    pub fn kept(&self, count: usize) -> &'a [u64] {
        let (first, end) = (self.first, self.first + count);
        let (first, end) = match self.symmetry.mirrored && end > self.n / 2 {
            true => (self.n - end, (self.n - first).min(self.n / 2)),
            false => (first, end),
        };
        &self.words[first >> self.symmetry.log_gap..end.div_ceil(1 << self.symmetry.log_gap)]
    }

    /// Evaluation `j`.
    #[inline]
    pub fn word(&self, j: usize) -> u64 {
        self.words[self.symmetry.index(self.n, self.first + j)]
    }

    /// Evaluations from `start` on.
    pub fn expand(&self, start: usize, out: &mut [u64]) {
        if self.symmetry == Symmetry::default() {
            out.copy_from_slice(&self.words[self.first + start..][..out.len()]);
        } else {
            for (j, out) in (start..).zip(out) {
                *out = self.word(j);
            }
        }
    }
}

/// What has limbs of evaluations: compact or not.
pub trait Evaluations: Sync {
    /// The limb of a prime index; there must be one.
    fn evaluations(&self, prime: usize) -> CompactLimb<'_>;
}

impl Evaluations for Poly {
    fn evaluations(&self, prime: usize) -> CompactLimb<'_> {
        assert_eq!(self.domain(), Domain::Eval);
        CompactLimb::dense(self.limb_of_prime(prime))
    }
}

impl Evaluations for CompactPoly {
    fn evaluations(&self, prime: usize) -> CompactLimb<'_> {
        let words = self.symmetry.distinct(self.ring.n());
        CompactLimb {
            words: &self.data()[self.ring.limb_of_prime(self.basis, prime) * words..][..words],
            n: self.ring.n(),
            symmetry: self.symmetry,
            first: 0,
        }
    }
}

/// A polynomial over the primes of a [`Basis`] in evaluation form: of each limb the distinct values, each below its prime.
pub struct CompactPoly {
    ring: Arc<RingContext>,
    basis: Basis,
    symmetry: Symmetry,
    /// Always present until drop.
    data: Option<AlignedBuffer>,
}

impl CompactPoly {
    /// The symmetries with at most `log_gap` that the transforms can serve: they have a smallest size.
    pub fn served(ring: &RingContext, wanted: Symmetry) -> Symmetry {
        let least = BLOCK.trailing_zeros();
        let mirrored = wanted.mirrored && ring.log_n() > least;
        Symmetry {
            log_gap: wanted.log_gap.min(ring.log_n() - least - u32::from(mirrored)),
            mirrored,
        }
    }

    /// The polynomial with these integer coefficients of X^0, X^g, X^2g, ... (N/g of them) for a `symmetry` that
    /// [`Self::served`] allows. With `mirrored`, coefficient i of `c` of them must be the negative of coefficient c - i.
    pub fn from_signed(ring: &Arc<RingContext>, basis: Basis, symmetry: Symmetry, coefficients: &[i64]) -> Self {
        let largest = coefficients.iter().map(|x| x.unsigned_abs()).fold(0, u64::max);
        Self::transformed(ring, basis, symmetry, coefficients, |m, x| {
            if largest < m.value() {
                m.residue_of_small(x)
            } else {
                m.from_signed(x)
            }
        })
    }

    /// As [`Self::from_signed`], for coefficients beyond 64 bits.
    pub fn from_signed_wide(ring: &Arc<RingContext>, basis: Basis, symmetry: Symmetry, coefficients: &[i128]) -> Self {
        Self::transformed(ring, basis, symmetry, coefficients, Modulus::from_signed_wide)
    }

    fn transformed<T: Copy + Sync>(
        ring: &Arc<RingContext>,
        basis: Basis,
        symmetry: Symmetry,
        coefficients: &[T],
        residue: impl Fn(&Modulus, T) -> u64 + Sync,
    ) -> Self {
        assert_eq!(symmetry, Self::served(ring, symmetry));
        assert_eq!(coefficients.len(), ring.n() >> symmetry.log_gap);
        let words = symmetry.distinct(ring.n());
        let mut data = ring.pool().take(ring.limb_count(basis) * words);
        let places = (symmetry.log_gap > 0).then(|| symmetry.places());
        let (low, high) = coefficients.split_at(words);
        let run = |(limb, values): (usize, &mut [u64])| {
            let prime = ring.prime_index(basis, limb);
            let m = ring.modulus(prime);
            values
                .iter_mut()
                .zip(low)
                .for_each(|(value, &c)| *value = residue(m, c));
            if symmetry == Symmetry::default() {
                ring.table(prime).forward(values);
            } else {
                let transform = ring.subring_transform(prime, symmetry);
                if let Some([low_factors, high_factors]) = &transform.halves {
                    let mut upper = ring.pool().take(words);
                    upper
                        .iter_mut()
                        .zip(high)
                        .for_each(|(value, &c)| *value = residue(m, c));
                    kernels::mul(ring.backend(), m, values, low_factors);
                    kernels::mul_add(ring.backend(), m, values, &upper, high_factors);
                    ring.pool().give(upper);
                }
                transform.table.forward(values);
            }
            if let Some(places) = &places {
                for block in values.as_chunks_mut::<BLOCK>().0 {
                    let found = *block;
                    block
                        .iter_mut()
                        .zip(places)
                        .for_each(|(out, &place)| *out = found[usize::from(place)]);
                }
            }
        };
        if data.len() <= SERIAL_WORDS {
            data.chunks_exact_mut(words).enumerate().for_each(run);
        } else {
            data.par_chunks_exact_mut(words).enumerate().for_each(run);
        }
        Self {
            ring: Arc::clone(ring),
            basis,
            symmetry,
            data: Some(data),
        }
    }

    /// The ring.
    pub fn ring(&self) -> &Arc<RingContext> {
        &self.ring
    }

    /// The primes of the limbs.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// Which values are left out.
    pub fn symmetry(&self) -> Symmetry {
        self.symmetry
    }

    /// Bytes of the kept words.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(self.data())
    }

    /// With all repetitions, over fewer primes or the same.
    pub fn expanded(&self, basis: Basis) -> Poly {
        let mut out = Poly::uninit(&self.ring, basis, Domain::Eval);
        out.each_prime_limb(|prime, _, values| self.evaluations(prime).expand(0, values));
        out
    }

    fn data(&self) -> &[u64] {
        self.data.as_deref().unwrap_or_default()
    }
}

/// Without symmetries; nothing is copied.
impl From<Poly> for CompactPoly {
    fn from(poly: Poly) -> Self {
        assert_eq!(poly.domain(), Domain::Eval);
        Self {
            ring: Arc::clone(poly.ring()),
            basis: poly.basis(),
            symmetry: Symmetry::default(),
            data: poly.into_data(),
        }
    }
}

impl Clone for CompactPoly {
    fn clone(&self) -> Self {
        let mut data = self.ring.pool().take(self.data().len());
        data.copy_from_slice(self.data());
        Self {
            ring: Arc::clone(&self.ring),
            basis: self.basis,
            symmetry: self.symmetry,
            data: Some(data),
        }
    }
}

impl Drop for CompactPoly {
    fn drop(&mut self) {
        if let Some(data) = self.data.take() {
            self.ring.pool().give(data);
        }
    }
}

impl PartialEq for CompactPoly {
    fn eq(&self, other: &Self) -> bool {
        (self.basis, self.symmetry) == (other.basis, other.symmetry) && self.data() == other.data()
    }
}

/// The smaller transform behind a symmetry, for one prime.
#[derive(Debug)]
pub(crate) struct SubringTransform {
    table: NttTable,
    /// For mirrored polynomials, `psi^-k` and `psi^(h-k)` for k in `0..h`, psi the root of the ring of degree 2h.
    halves: Option<[Vec<u64>; 2]>,
}

impl SubringTransform {
    /// From the transform of the full ring.
    pub(crate) fn new(full: &NttTable, symmetry: Symmetry) -> Self {
        let words = symmetry.distinct(full.n());
        let halves = symmetry.mirrored.then(|| {
            let m = full.modulus();
            let root = m.pow(full.root(), (full.n() / (2 * words)) as u64);
            let (inverse, top) = (m.inv(root), m.pow(root, words as u64));
            [1, top].map(|first| {
                let powers = std::iter::successors(Some(first), |&power| Some(m.mul(power, inverse)));
                powers.take(words).collect()
            })
        });
        Self {
            table: full.for_subring(words),
            halves,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Backend, SumOfProducts, find_ntt_primes, uniform};

    const LOG_N: u32 = 12;

    fn ring(backend: Backend) -> Arc<RingContext> {
        let q = find_ntt_primes(LOG_N + 1, 45, 3, &[]).unwrap();
        let p = find_ntt_primes(LOG_N + 1, 50, 2, &[]).unwrap();
        RingContext::with_backend(LOG_N, &q, &p, backend).unwrap()
    }

    /// Coefficients of X^(i * g) with a symmetry, edges of the range among them.
    fn coefficients(symmetry: Symmetry) -> Vec<i64> {
        let count = (1usize << LOG_N) >> symmetry.log_gap;
        let mut c: Vec<i64> = (0..count as i64)
            .map(|i| i.wrapping_mul(0x1234_5678_9abc_def1).wrapping_mul(i) >> (i % 40))
            .collect();
        c[1] = i64::MAX;
        if symmetry.mirrored {
            c[count / 2] = 0;
            for i in 1..count / 2 {
                c[count - i] = -c[i];
            }
        }
        c
    }

    fn dense(ring: &Arc<RingContext>, basis: Basis, symmetry: Symmetry) -> Poly {
        let mut spread = vec![0; ring.n()];
        for (i, c) in coefficients(symmetry).into_iter().enumerate() {
            spread[i << symmetry.log_gap] = c;
        }
        let mut poly = Poly::from_signed(ring, basis, &spread);
        poly.to_eval();
        poly
    }

    fn compact(ring: &Arc<RingContext>, basis: Basis, symmetry: Symmetry) -> CompactPoly {
        let c = coefficients(symmetry);
        let wide: Vec<i128> = c.iter().map(|&c| i128::from(c)).collect();
        let poly = CompactPoly::from_signed(ring, basis, symmetry, &c);
        assert!(poly == CompactPoly::from_signed_wide(ring, basis, symmetry, &wide));
        poly
    }

    fn symmetries() -> Vec<Symmetry> {
        let all = (0..=LOG_N).flat_map(|log_gap| [false, true].map(|mirrored| Symmetry { log_gap, mirrored }));
        let served: Vec<_> = all
            .filter(|&symmetry| symmetry == CompactPoly::served(&ring(Backend::Portable), symmetry))
            .collect();
        assert_eq!(served.len(), 13);
        served
    }

    #[test]
    fn kept_values_are_those_of_the_dense_transform() {
        for backend in [Backend::Portable, Backend::detect()] {
            let ring = ring(backend);
            for symmetry in symmetries() {
                let (dense, compact) = (
                    dense(&ring, Basis::qp(2, 2), symmetry),
                    compact(&ring, Basis::qp(2, 2), symmetry),
                );
                assert_eq!(compact.memory_bytes(), 5 * 8 * symmetry.distinct(ring.n()));
                assert!(compact.expanded(Basis::qp(2, 2)) == dense, "{symmetry:?}");
                assert!(compact.expanded(Basis::q(1)) == dense.restricted(Basis::q(1)));
                assert!(compact.clone() == compact);
            }
        }
    }

    #[test]
    fn compact_and_dense_factors_give_the_same_sums() {
        for backend in [Backend::Portable, Backend::detect()] {
            let ring = ring(backend);
            let random = |seed| uniform(&ring, Basis::qp(2, 2), Domain::Eval, &[seed; 32]);
            let (y, z) = (random(1), random(2));
            for basis in [Basis::qp(1, 1), Basis::q(2)] {
                let all = symmetries();
                let dense: Vec<Poly> = all.iter().map(|&s| dense(&ring, Basis::qp(2, 2), s)).collect();
                let compact: Vec<CompactPoly> = all.iter().map(|&s| compact(&ring, Basis::qp(2, 2), s)).collect();
                for (dense, compact) in dense.iter().zip(&compact) {
                    let expected = Poly::inner_products(basis, &[dense], &[[&y, &z]]);
                    assert!(Poly::inner_products(basis, &[compact], &[[&y, &z]]) == expected);
                    let (mut sum, mut expected) = (y.restricted(basis), y.restricted(basis));
                    expected.add_assign(&dense.restricted(basis));
                    sum.add_compact(compact);
                    assert!(sum == expected);
                    sum.sub_compact(compact);
                    assert!(sum == y.restricted(basis));
                }
                // several sums at once, in two runs, one of them empty
                let x: Vec<&Poly> = dense.iter().collect();
                let factors = [[&y, &z], [&z, &y]];
                let mut groups = [(); 3].map(|()| SumOfProducts {
                    sums: None,
                    terms: Vec::new(),
                });
                for half in [0..5, 5..compact.len()] {
                    for (group, &pair) in groups.iter_mut().zip(&factors) {
                        group.terms = compact[half.clone()].iter().map(|x| (x, pair)).collect();
                    }
                    SumOfProducts::run(basis, &mut groups);
                }
                for (group, &pair) in groups.iter().zip(&factors) {
                    assert!(group.terms.is_empty());
                    let expected = Poly::inner_products(basis, &x, &vec![pair; x.len()]);
                    assert!(group.sums.as_ref().is_some_and(|sums| *sums == expected));
                }
                assert!(groups[2].sums.is_none());
            }
        }
    }

    #[test]
    fn symmetries_stop_at_the_smallest_transform() {
        let tiny = RingContext::new(6, &find_ntt_primes(7, 30, 1, &[]).unwrap(), &[]).unwrap();
        let wanted = Symmetry {
            log_gap: 5,
            mirrored: true,
        };
        assert_eq!(CompactPoly::served(&tiny, wanted), Symmetry::default());
        let served = CompactPoly::served(&ring(Backend::Portable), wanted);
        assert_eq!((served.log_gap, served.distinct(1 << LOG_N)), (5, 64));
    }
}
