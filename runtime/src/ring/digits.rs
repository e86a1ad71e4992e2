//! Digits of a polynomial and their products with a key: the two halves of hybrid key switching before the division by P.
//!
//! Digit d of a polynomial over `q_0..q_l` is its centred representative modulo the product of the primes
//! `digit_limbs * d .. digit_limbs * (d + 1)` (the last digit may be shorter), written over `q_0..q_l` and the special primes.
//! Source: Han and Ki, "Better bootstrapping for approximate homomorphic encryption", CT-RSA 2020, section 3.
//! Cost:   l + 1 inverse transforms, then per digit one forward transform and one conversion for each limb it lacks.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::convert::{columns_of, limbs_per_group};
use super::{AlignedBuffer, BaseConverter, Basis, CompactLimb, Domain, Evaluations, Poly, RingContext, kernels};

/// All digits of one polynomial, ready to be converted to any prime.
struct Digits<'a> {
    evaluations: &'a Poly,
    /// Coefficients, scaled for conversion in place.
    scaled: Poly,
    /// One row of rounded quotients per digit.
    quotients: AlignedBuffer,
    digits: Vec<Digit>,
    /// `q_0..q_l` and the special primes.
    basis: Basis,
}

struct Digit {
    limbs: Range<usize>,
    /// From the digit's primes to all primes of the basis, its own included (and not used).
    converter: Arc<BaseConverter>,
}

impl<'a> Digits<'a> {
    fn new(x: &'a Poly, digit_limbs: usize) -> Self {
        assert_eq!(x.domain(), Domain::Eval);
        assert!(!x.basis().special && digit_limbs > 0);
        let ring = x.ring();
        let (n, limb_count) = (ring.n(), x.basis().q_limbs);
        let basis = Basis {
            special: true,
            ..x.basis()
        };
        let targets = ring.prime_indices(basis);
        let digits: Vec<Digit> = (0..limb_count)
            .step_by(digit_limbs)
            .map(|start| start..(start + digit_limbs).min(limb_count))
            .map(|limbs| Digit {
                converter: ring.converter(&targets[limbs.clone()], &targets),
                limbs,
            })
            .collect();
        let mut scaled = x.coefficients();
        let mut quotients = ring.pool().take(digits.len() * n);
        for ((digit, limbs), quotients) in digits
            .iter()
            .zip(scaled.data_mut().chunks_mut(digit_limbs * n))
            .zip(quotients.chunks_exact_mut(n))
        {
            digit.converter.scale(limbs.chunks_exact_mut(n).collect(), quotients);
        }
        Self {
            evaluations: x,
            scaled,
            quotients,
            digits,
            basis,
        }
    }

    /// Digit `d` in evaluation form at the limbs that `outs` names, written there. The digit's own limbs are not asked for.
    fn raise(&self, d: usize, outs: &mut [(usize, &mut [u64])]) {
        let ring = self.scaled.ring();
        let digit = &self.digits[d];
        let mut rows: Vec<&[u64]> = digit.limbs.clone().map(|limb| self.scaled.limb(limb)).collect();
        rows.push(&self.quotients[d * ring.n()..][..ring.n()]);
        digit.converter.convert(&rows, outs);
        for (limb, values) in outs {
            ring.table(ring.prime_index(self.basis, *limb)).forward(values);
        }
    }

    fn is_own(&self, d: usize, limb: usize) -> bool {
        self.digits[d].limbs.contains(&limb)
    }

    fn recycle(self) {
        self.evaluations.ring().pool().give(self.quotients);
    }
}

impl RingContext {
    /// All digits of `x` (evaluation form over `q_0..q_l`), each over `q_0..q_l` and the special primes, evaluation form. For a
    /// single key, [`Self::key_products`] does not write them to memory.
    pub fn decompose(self: &Arc<Self>, x: &Poly, digit_limbs: usize) -> Vec<Poly> {
        let digits = Digits::new(x, digit_limbs);
        let group = limbs_per_group(digit_limbs);
        let raise = |d: usize| {
            let mut out = Poly::uninit(self, digits.basis, Domain::Eval);
            let (own, mut others): (Vec<_>, Vec<_>) = out
                .limbs_mut()
                .enumerate()
                .partition(|&(limb, _)| digits.is_own(d, limb));
            others.par_chunks_mut(group).for_each(|outs| digits.raise(d, outs));
            own.into_iter()
                .for_each(|(limb, values)| values.copy_from_slice(x.limb(limb)));
            out
        };
        let raised = (0..digits.digits.len()).map(raise).collect();
        digits.recycle();
        raised
    }

    /// `sum_d digit_d(x) * key[d][o]` for each o, over `q_0..q_l` and the special primes: what [`Self::decompose`] and
    /// [`Poly::inner_products`] give, a few primes at a time, so that raised digits stay in cache. Keys may be at a higher level.
    pub fn key_products<const OUTS: usize>(
        self: &Arc<Self>,
        x: &Poly,
        digit_limbs: usize,
        key: &[[&Poly; OUTS]],
    ) -> [Poly; OUTS] {
        assert!(key.as_flattened().iter().all(|poly| poly.domain() == Domain::Eval));
        let digits = Digits::new(x, digit_limbs);
        let digit_count = digits.digits.len();
        assert!(
            key.len() >= digit_count,
            "the key has {} digits, {digit_count} are needed",
            key.len()
        );
        let mut outs = std::array::from_fn(|_| Poly::uninit(self, digits.basis, Domain::Eval));
        let mut tasks: Vec<(usize, Vec<&mut [u64]>)> = columns_of(outs.iter_mut().map(|out| out.limbs_mut()))
            .into_iter()
            .enumerate()
            .collect();
        let run = |limbs: &mut [(usize, Vec<&mut [u64]>)]| {
            let n = self.n();
            let mut raised = self.pool().take(digit_count * limbs.len() * n);
            for (d, raised) in raised.chunks_exact_mut(limbs.len() * n).enumerate() {
                let mut missing: Vec<(usize, &mut [u64])> = limbs
                    .iter()
                    .map(|&(limb, _)| limb)
                    .zip(raised.chunks_exact_mut(n))
                    .filter(|&(limb, _)| !digits.is_own(d, limb))
                    .collect();
                digits.raise(d, &mut missing);
            }
            let limb_count = limbs.len();
            for (position, (limb, outs)) in limbs.iter_mut().enumerate() {
                let prime = self.prime_index(digits.basis, *limb);
                let digit = |d: usize| {
                    CompactLimb::dense(match digits.is_own(d, *limb) {
                        true => x.limb(*limb),
                        false => &raised[(d * limb_count + position) * n..][..n],
                    })
                };
                let digit_values: Vec<CompactLimb> = (0..digit_count).map(digit).collect();
                let key_values: Vec<[&[u64]; OUTS]> = key[..digit_count]
                    .iter()
                    .map(|polys| polys.map(|poly| poly.limb_of_prime(prime)))
                    .collect();
                if let Ok(outs) = <[&mut [u64]; OUTS]>::try_from(std::mem::take(outs)) {
                    kernels::inner_products(
                        self.backend(),
                        self.modulus(prime),
                        outs,
                        &digit_values,
                        &key_values,
                        0..n,
                        true,
                    );
                }
            }
            self.pool().give(raised);
        };
        tasks.par_chunks_mut(limbs_per_group(digit_limbs)).for_each(run);
        digits.recycle();
        outs
    }
}

/// `sum_d digits[d] * keys[i][d][o]` for every key i and each o, over the basis of the digits. Prime by prime, so that the
/// digits are read from memory once for all keys. Keys may be at a higher level.
pub fn products_with_keys<const OUTS: usize>(digits: &[Poly], keys: &[Vec<[&Poly; OUTS]>]) -> Vec<[Poly; OUTS]> {
    let (ring, basis) = (digits[0].ring(), digits[0].basis());
    let same_basis = |digit: &Poly| digit.domain() == Domain::Eval && digit.basis() == basis;
    assert!(digits.iter().all(same_basis) && keys.iter().all(|key| key.len() >= digits.len()));
    assert!(
        keys.iter()
            .flatten()
            .flatten()
            .all(|poly| poly.domain() == Domain::Eval)
    );
    let new_output = || std::array::from_fn(|_| Poly::uninit(ring, basis, Domain::Eval));
    let mut outs: Vec<[Poly; OUTS]> = keys.iter().map(|_| new_output()).collect();
    let columns = columns_of(outs.as_flattened_mut().iter_mut().map(|out| out.limbs_mut()));
    columns.into_par_iter().enumerate().for_each(|(limb, outs)| {
        let prime = ring.prime_index(basis, limb);
        let digit_values: Vec<CompactLimb> = digits.iter().map(|digit| digit.evaluations(prime)).collect();
        let mut outs = outs.into_iter();
        for key in keys {
            let key = key[..digits.len()].iter();
            let key_values: Vec<[&[u64]; OUTS]> =
                key.map(|polys| polys.map(|poly| poly.limb_of_prime(prime))).collect();
            if let Ok(outs) = outs.by_ref().take(OUTS).collect::<Vec<_>>().try_into() {
                kernels::inner_products(
                    ring.backend(),
                    ring.modulus(prime),
                    outs,
                    &digit_values,
                    &key_values,
                    0..ring.n(),
                    true,
                );
            }
        }
    });
    outs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::divide::tests::{integers, ring};
    use crate::ring::{Backend, find_ntt_primes, uniform};

    #[test]
    fn digits_are_centred_and_congruent() {
        let ring = ring();
        let x = uniform(&ring, Basis::q(4), Domain::Eval, &[1; 32]);
        let digits = ring.decompose(&x, 2);
        assert_eq!(digits.len(), 3);
        for (d, digit) in digits.iter().enumerate() {
            let own: Vec<usize> = (2 * d..(2 * d + 2).min(5)).collect();
            let (low, product) = integers(&x, &own);
            let (raised, full) = integers(digit, &ring.prime_indices(Basis::qp(4)));
            for (low, raised) in low.into_iter().zip(raised) {
                let centred = if &low * 2 >= product { low - &product } else { low };
                let raised = if &raised * 2 >= full { raised - &full } else { raised };
                assert_eq!(centred, raised);
            }
        }
    }

    #[test]
    fn key_products_are_sums_over_digits() {
        let ring = ring();
        let key: Vec<Poly> = (0..6)
            .map(|i| uniform(&ring, Basis::qp(4), Domain::Eval, &[i + 9; 32]))
            .collect();
        let pairs: Vec<[&Poly; 2]> = key.chunks(2).map(|pair| [&pair[0], &pair[1]]).collect();
        for level in 0..=4 {
            let x = uniform(&ring, Basis::q(level), Domain::Eval, &[1; 32]);
            for digit_limbs in [2, 3, 5] {
                let digits = ring.decompose(&x, digit_limbs);
                let digit_refs: Vec<&Poly> = digits.iter().collect();
                let expected = Poly::inner_products(Basis::qp(level), &digit_refs, &pairs[..digits.len()]);
                assert!(expected == ring.key_products(&x, digit_limbs, &pairs));
                let reversed: Vec<[&Poly; 2]> = pairs.iter().rev().copied().collect();
                let [first, second]: [_; 2] = products_with_keys(&digits, &[pairs.clone(), reversed.clone()])
                    .try_into()
                    .unwrap_or_else(|_| panic!("two keys have two products"));
                assert!(first == expected);
                assert!(second == Poly::inner_products(Basis::qp(level), &digit_refs, &reversed[..digits.len()]));
            }
        }
    }

    #[test]
    fn kernel_families_agree_on_whole_operations() {
        let q = find_ntt_primes(11, 45, 7, &[]).unwrap();
        let p = find_ntt_primes(11, 50, 3, &[]).unwrap();
        let results = [Backend::Portable, Backend::detect()].map(|backend| {
            let ring = RingContext::with_backend(10, &q, &p, backend).unwrap();
            let key: Vec<Poly> = (0..6)
                .map(|i| uniform(&ring, Basis::qp(6), Domain::Eval, &[i; 32]))
                .collect();
            let pairs: Vec<[&Poly; 2]> = key.chunks(2).map(|pair| [&pair[0], &pair[1]]).collect();
            let x = uniform(&ring, Basis::q(5), Domain::Eval, &[9; 32]);
            let [body, mask] = ring.key_products(&x, 3, &pairs);
            let rotated = ring.mod_down_then_automorphism(&body, Some(&x), 25);
            let lowered = [
                ring.add_and_divide_down_to(&mask, &x, 4),
                ring.rescale(&rotated),
                rotated,
            ];
            lowered.map(|poly| poly.data().to_vec())
        });
        assert!(results[0] == results[1]);
    }
}
