//! Digits of a polynomial and their products with keys: the two halves of hybrid key switching before the division by P.
//!
//! Digit d of a polynomial over `q_0..q_l` is its centred representative modulo the product of the primes
//! `digit_limbs * d .. digit_limbs * (d + 1)` (the last digit may be shorter), written over `q_0..q_l` and the special primes.
//! Source: Han and Ki, "Better bootstrapping for approximate homomorphic encryption", CT-RSA 2020, section 3.
//! Cost:   l + 1 inverse transforms, then per digit one forward transform and one conversion for each limb it lacks.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::convert::{columns_of, limbs_per_group};
use super::key::{KeyDigit, KeyProducts};
use super::rows::{Rows, balanced_groups, convert_and_start, scale, scaling_tasks};
use super::{BaseConverter, Basis, Domain, Poly, RingContext};

/// All digits of one polynomial, ready to be converted to any prime.
struct Digits<'a> {
    /// Of each digit its limbs' coefficients, scaled for conversion, and a row of rounded quotients.
    scaled: Rows<'a>,
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
        let limb_count = x.basis().q_limbs;
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
        let mut scaled = Rows::take(ring, limb_count + digits.len());
        let mut rows: Vec<Vec<&mut [u64]>> = Vec::with_capacity(digits.len());
        let mut remaining = scaled.iter_mut();
        for digit in &digits {
            rows.push(remaining.by_ref().take(digit.limbs.len() + 1).collect());
        }
        let limbs = rows
            .iter_mut()
            .zip(&digits)
            .flat_map(|(rows, digit)| rows.iter_mut().zip(digit.limbs.clone()));
        limbs.collect::<Vec<_>>().into_par_iter().for_each(|(values, limb)| {
            values.copy_from_slice(x.limb(limb));
            ring.table(targets[limb]).inverse(values);
        });
        let tasks: Vec<_> = rows
            .into_iter()
            .zip(&digits)
            .flat_map(|(rows, digit)| {
                let tasks = scaling_tasks(rows.into_iter());
                tasks.into_iter().map(|task| (&*digit.converter, task))
            })
            .collect();
        tasks
            .into_par_iter()
            .for_each(|(converter, columns)| scale(converter, columns));
        drop(remaining);
        Self { scaled, digits, basis }
    }

    /// Of each digit the rows to convert from.
    fn rows(&self) -> Vec<Vec<&[u64]>> {
        let mut rows = self.scaled.iter();
        let digits = self.digits.iter();
        digits
            .map(|digit| rows.by_ref().take(digit.limbs.len() + 1).collect())
            .collect()
    }

    /// Limbs of digit `d` with the first pass of their transforms done; see [`convert_and_start`]. The digit's own limbs are
    /// not asked for.
    fn start<'b>(&self, d: usize, rows: &[&[u64]], outs: impl Iterator<Item = (usize, &'b mut [u64])>) {
        let ring = self.scaled.ring;
        let mut outs: Vec<_> = outs
            .map(|(limb, out)| (limb, ring.prime_index(self.basis, limb), out))
            .collect();
        convert_and_start(ring, &self.digits[d].converter, rows, &mut outs);
    }

    fn is_own(&self, d: usize, limb: usize) -> bool {
        self.digits[d].limbs.contains(&limb)
    }
}

impl RingContext {
    /// All digits of `x` (evaluation form over `q_0..q_l`), each over `q_0..q_l` and the special primes, evaluation form. For a
    /// single key, [`Self::key_products`] does not write them to memory.
    pub fn decompose(self: &Arc<Self>, x: &Poly, digit_limbs: usize) -> Vec<Poly> {
        let digits = Digits::new(x, digit_limbs);
        let rows = digits.rows();
        let raise = |d: usize| {
            let mut out = Poly::uninit(self, digits.basis, Domain::Eval);
            let (own, others): (Vec<_>, Vec<_>) = out
                .limbs_mut()
                .enumerate()
                .partition(|&(limb, _)| digits.is_own(d, limb));
            balanced_groups(others, limbs_per_group(digit_limbs))
                .into_par_iter()
                .for_each(|mut outs| {
                    digits.start(d, &rows[d], outs.iter_mut().map(|(limb, out)| (*limb, &mut **out)));
                    for (limb, out) in outs {
                        let table = self.table(self.prime_index(digits.basis, limb));
                        for (part, values) in out.chunks_exact_mut(self.part()).enumerate() {
                            table.forward_below(part, values);
                        }
                    }
                });
            own.into_iter()
                .for_each(|(limb, values)| values.copy_from_slice(x.limb(limb)));
            out
        };
        (0..digits.digits.len()).map(raise).collect()
    }

    /// `sum_d digit_d(x) * key[d]`, bodies and masks, over `q_0..q_l` and the special primes: what [`Self::decompose`] and
    /// [`products_with_keys`] give, a few primes at a time, so that raised digits stay in cache. Keys may be at a higher level.
    pub fn key_products(self: &Arc<Self>, x: &Poly, digit_limbs: usize, key: &[KeyDigit]) -> [Poly; 2] {
        let digits = Digits::new(x, digit_limbs);
        let digit_count = digits.digits.len();
        assert!(
            key.len() >= digit_count,
            "the key has {} digits, {digit_count} are needed",
            key.len()
        );
        let mut outs = [(); 2].map(|()| Poly::uninit(self, digits.basis, Domain::Eval));
        let tasks: Vec<(usize, Vec<&mut [u64]>)> = columns_of(outs.iter_mut().map(|out| out.limbs_mut()))
            .into_iter()
            .enumerate()
            .collect();
        let rows = digits.rows();
        // whole parts, which the second-level cache holds of all digits
        let width = self.part().max(KeyProducts::least_columns(self));
        let run = |mut limbs: Vec<(usize, Vec<&mut [u64]>)>| {
            let mut products = KeyProducts::new(self, digit_count);
            let mut raised = Rows::take(self, digit_count * limbs.len());
            let mut raised: Vec<&mut [u64]> = raised.iter_mut().collect();
            for (d, raised) in raised.chunks_exact_mut(limbs.len()).enumerate() {
                let outs = limbs
                    .iter()
                    .map(|(limb, _)| *limb)
                    .zip(raised.iter_mut().map(|row| &mut **row));
                digits.start(d, &rows[d], outs.filter(|(limb, _)| !digits.is_own(d, *limb)));
            }
            let limb_count = limbs.len();
            for (position, (limb, outs)) in limbs.iter_mut().enumerate() {
                let prime = self.prime_index(digits.basis, *limb);
                let Some(outs) = outs.as_chunks_mut::<2>().0.first_mut() else {
                    continue;
                };
                for start in (0..self.n()).step_by(width) {
                    for (d, raised) in raised.iter_mut().skip(position).step_by(limb_count).enumerate() {
                        if !digits.is_own(d, *limb) {
                            let parts = raised[start..start + width].chunks_exact_mut(self.part());
                            for (part, values) in (start / self.part()..).zip(parts) {
                                self.table(prime).forward_below(part, values);
                            }
                        }
                    }
                    let digit = |d: usize| match digits.is_own(d, *limb) {
                        true => x.limb(*limb),
                        false => &*raised[d * limb_count + position],
                    };
                    let digit_values: Vec<&[u64]> = (0..digit_count).map(digit).collect();
                    let outs = outs.each_mut().map(|out| &mut **out);
                    products.write(prime, &digit_values, key, start..start + width, outs);
                }
            }
        };
        balanced_groups(tasks, limbs_per_group(digit_limbs))
            .into_par_iter()
            .for_each(run);
        outs
    }
}

/// `sum_d digits[d] * keys[i][d]` for every key i, bodies and masks, over the basis of the digits. Prime by prime and a few
/// words at a time, so that the digits are read from memory once for all keys. Keys may be at a higher level.
pub fn products_with_keys(digits: &[Poly], keys: &[Vec<KeyDigit>]) -> Vec<[Poly; 2]> {
    let (ring, basis) = (digits[0].ring(), digits[0].basis());
    let same_basis = |digit: &Poly| digit.domain() == Domain::Eval && digit.basis() == basis;
    assert!(digits.iter().all(same_basis) && keys.iter().all(|key| key.len() >= digits.len()));
    let new_output = || [(); 2].map(|()| Poly::uninit(ring, basis, Domain::Eval));
    let mut outs: Vec<[Poly; 2]> = keys.iter().map(|_| new_output()).collect();
    let columns = columns_of(outs.as_flattened_mut().iter_mut().map(|out| out.limbs_mut()));
    columns.into_par_iter().enumerate().for_each(|(limb, mut outs)| {
        let prime = ring.prime_index(basis, limb);
        let mut products = KeyProducts::new(ring, digits.len());
        let digit_values: Vec<&[u64]> = digits.iter().map(|digit| digit.limb(limb)).collect();
        let width = KeyProducts::least_columns(ring);
        for start in (0..ring.n()).step_by(width) {
            for (key, outs) in keys.iter().zip(outs.as_chunks_mut().0) {
                let outs: [_; 2] = outs.each_mut().map(|out| &mut **out);
                products.write(prime, &digit_values, key, start..start + width, outs);
            }
        }
    });
    outs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::divide::tests::{integers, ring};
    use crate::ring::{Backend, SeededPoly, find_ntt_primes, uniform};

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
        let basis = Basis::qp(4);
        let bodies: Vec<Poly> = (0..3)
            .map(|i| uniform(&ring, basis, Domain::Eval, &[i + 9; 32]))
            .collect();
        let masks: Vec<Poly> = (0..3)
            .map(|i| uniform(&ring, basis, Domain::Eval, &[i + 50; 32]))
            .collect();
        let key: Vec<KeyDigit> = (0..3)
            .map(|d| KeyDigit {
                body: &bodies[d],
                mask: SeededPoly::new([d as u8 + 50; 32]),
            })
            .collect();
        for level in 0..=4 {
            let x = uniform(&ring, Basis::q(level), Domain::Eval, &[1; 32]);
            for digit_limbs in [2, 3, 5] {
                let digits = ring.decompose(&x, digit_limbs);
                let expect = |order: [usize; 3]| {
                    let polys: Vec<[&Poly; 2]> = order.iter().map(|&d| [&bodies[d], &masks[d]]).collect();
                    let digit_refs: Vec<&Poly> = digits.iter().collect();
                    Poly::inner_products(Basis::qp(level), &digit_refs, &polys[..digits.len()])
                };
                let expected = expect([0, 1, 2]);
                assert!(expected == ring.key_products(&x, digit_limbs, &key));
                let reversed: Vec<KeyDigit> = key.iter().rev().copied().collect();
                let [first, second]: [_; 2] = products_with_keys(&digits, &[key.clone(), reversed.clone()])
                    .try_into()
                    .unwrap_or_else(|_| panic!("two keys have two products"));
                assert!(first == expected);
                assert!(second == expect([2, 1, 0]));
            }
        }
    }

    #[test]
    fn kernel_families_agree_on_whole_operations() {
        let q = find_ntt_primes(11, 45, 7, &[]).unwrap();
        let p = find_ntt_primes(11, 50, 3, &[]).unwrap();
        let results = [Backend::Portable, Backend::detect()].map(|backend| {
            let ring = RingContext::with_backend(10, &q, &p, backend).unwrap();
            let bodies: Vec<Poly> = (0..3)
                .map(|i| uniform(&ring, Basis::qp(6), Domain::Eval, &[i; 32]))
                .collect();
            let seeded = |i| SeededPoly::new([i; 32]);
            let digit = |(body, mask)| KeyDigit { body, mask };
            let key: Vec<KeyDigit> = bodies.iter().zip([3, 4, 5].map(seeded)).map(digit).collect();
            let x = uniform(&ring, Basis::q(5), Domain::Eval, &[9; 32]);
            let [body, mask] = ring.key_products(&x, 3, &key);
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
