//! Digits of a polynomial and their products with keys: the two halves of hybrid key switching before the division by P.
//!
//! Digit d of a polynomial over `q_0..q_l` is its centred representative modulo the product of the primes
//! `digit_limbs * d .. digit_limbs * (d + 1)` (the last digit may be shorter), written over `q_0..q_l` and the special primes.
//! Source: Han and Ki, "Better bootstrapping for approximate homomorphic encryption", CT-RSA 2020, section 3.
//! Cost:   l + 1 inverse transforms, then per digit one forward transform and one conversion for each limb it lacks.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::key::KeyProducts;
use super::rows::{Rows, Source, SourceLimb, Sources, balanced_groups, columns_of, limbs_per_group};
use super::{Basis, Domain, KeyDigit, Poly, RingContext, Turn};

/// All digits of one polynomial, ready to be converted to any prime.
struct Digits<'a> {
    /// One conversion for each digit, from its primes to all of the basis, its own included (and not used).
    sources: Sources<'a>,
    /// The limbs of each digit.
    limbs: Vec<Range<usize>>,
    /// `q_0..q_l` and the special primes.
    basis: Basis,
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
        let limbs: Vec<Range<usize>> = (0..limb_count)
            .step_by(digit_limbs)
            .map(|start| start..(start + digit_limbs).min(limb_count))
            .collect();
        let conversions = limbs.iter().map(|limbs| {
            let source = |limb| SourceLimb {
                prime: targets[limb],
                values: x.limb(limb),
                plus: None,
            };
            let converter = ring.converter(&targets[limbs.clone()], &targets);
            (converter, limbs.clone().map(source).collect())
        });
        Self {
            sources: Sources::new(ring, conversions.collect()),
            limbs,
            basis,
        }
    }

    fn count(&self) -> usize {
        self.limbs.len()
    }

    fn is_own(&self, d: usize, limb: usize) -> bool {
        self.limbs[d].contains(&limb)
    }

    /// Of each digit what it is converted from.
    fn sources(&self) -> Vec<Source<'_>> {
        (0..self.count()).map(|d| self.sources.of(d)).collect()
    }

    /// Some limbs of all digits as the first passes of their transforms leave them; `raised[d][i]` is for limb `limbs[i]` of digit d.
    /// The digits' own limbs stay as they are.
    fn start(&self, sources: &[Source], limbs: &[usize], raised: &mut [Vec<&mut [u64]>]) {
        let ring = self.sources.ring();
        for (d, (source, raised)) in sources.iter().zip(raised).enumerate() {
            let others = limbs.iter().zip(raised).filter(|&(&limb, _)| !self.is_own(d, limb));
            let outs = others.map(|(&limb, out)| (limb, ring.prime_index(self.basis, limb), &mut **out));
            source.start(&mut outs.collect::<Vec<_>>());
        }
    }

    /// The rest of the transforms of limb `limb`, which is entry `position` of what was started. `consume` gets the limb of all
    /// digits but those whose own it is, `width` words or more at a time, with their place.
    fn finish(
        &self,
        limb: usize,
        position: usize,
        raised: &mut [Vec<&mut [u64]>],
        width: usize,
        with: &[&[u64]],
        consume: impl FnMut(&mut [&mut [u64]], Range<usize>),
    ) {
        let ring = self.sources.ring();
        let others = raised.iter_mut().enumerate().filter(|&(d, _)| !self.is_own(d, limb));
        let mut others: Vec<&mut [u64]> = others.map(|(_, raised)| &mut *raised[position]).collect();
        ring.table(ring.prime_index(self.basis, limb))
            .finish_forward(&mut others, width, with, consume);
    }
}

impl RingContext {
    /// All digits of `x` (evaluation form over `q_0..q_l`), each over `q_0..q_l` and the special primes, evaluation form. For a
    /// single key, [`Self::key_products`] does not write them to memory.
    pub fn decompose(self: &Arc<Self>, x: &Poly, digit_limbs: usize) -> Vec<Poly> {
        let digits = Digits::new(x, digit_limbs);
        let sources = digits.sources();
        let mut outs: Vec<Poly> = (0..digits.count())
            .map(|_| Poly::uninit(self, digits.basis, Domain::Eval))
            .collect();
        let limbs = columns_of(outs.iter_mut().map(|out| out.limbs_mut()));
        let run = |group: Vec<(usize, Vec<&mut [u64]>)>| {
            let (limbs, outs): (Vec<usize>, Vec<_>) = group.into_iter().unzip();
            let mut raised = columns_of(outs.into_iter().map(Vec::into_iter));
            digits.start(&sources, &limbs, &mut raised);
            for (position, &limb) in limbs.iter().enumerate() {
                digits.finish(limb, position, &mut raised, self.n(), &[], |_, _| {});
                for (d, raised) in raised.iter_mut().enumerate() {
                    if digits.is_own(d, limb) {
                        raised[position].copy_from_slice(x.limb(limb));
                    }
                }
            }
        };
        balanced_groups(limbs.into_iter().enumerate().collect(), limbs_per_group(digit_limbs))
            .into_par_iter()
            .for_each(run);
        outs
    }

    /// `sum_d digit_d(x) * key[d]`, bodies and masks, over `q_0..q_l` and the special primes: what [`Self::decompose`] and
    /// [`products_with_keys`] give, a few primes at a time, so that raised digits stay in cache. Keys may be at a higher level.
    pub fn key_products(self: &Arc<Self>, x: &Poly, digit_limbs: usize, key: &[KeyDigit]) -> [Poly; 2] {
        self.key_products_with(x, digit_limbs, key, None, None)
    }

    /// [`Self::key_products`], turned and added to `onto` if there is one, which has the products' primes.
    pub fn turned_key_products(
        self: &Arc<Self>,
        x: &Poly,
        digit_limbs: usize,
        key: &[KeyDigit],
        turn: &Turn,
        onto: Option<[Poly; 2]>,
    ) -> [Poly; 2] {
        self.key_products_with(x, digit_limbs, key, Some(turn), onto)
    }

    fn key_products_with(
        self: &Arc<Self>,
        x: &Poly,
        digit_limbs: usize,
        key: &[KeyDigit],
        turn: Option<&Turn>,
        onto: Option<[Poly; 2]>,
    ) -> [Poly; 2] {
        let digits = Digits::new(x, digit_limbs);
        let digit_count = digits.count();
        assert!(
            key.len() >= digit_count,
            "the key has {} digits, {digit_count} are needed",
            key.len()
        );
        let is_onto = onto.is_some();
        let mut outs = onto.unwrap_or_else(|| [(); 2].map(|()| Poly::uninit(self, digits.basis, Domain::Eval)));
        let has_basis = |out: &Poly| (out.basis(), out.domain()) == (digits.basis, Domain::Eval);
        assert!(outs.iter().all(has_basis));
        let tasks: Vec<(usize, Vec<&mut [u64]>)> = columns_of(outs.iter_mut().map(|out| out.limbs_mut()))
            .into_iter()
            .enumerate()
            .collect();
        let sources = digits.sources();
        let run = |group: Vec<(usize, Vec<&mut [u64]>)>| {
            let (limbs, outs): (Vec<usize>, Vec<_>) = group.into_iter().unzip();
            let mut products = KeyProducts::new(self, digit_count);
            let mut raised = Rows::take(self, digit_count * limbs.len());
            let mut rows = raised.iter_mut();
            let mut raised: Vec<Vec<&mut [u64]>> = (0..digit_count)
                .map(|_| rows.by_ref().take(limbs.len()).collect())
                .collect();
            digits.start(&sources, &limbs, &mut raised);
            let mut rows_to_turn = turn.map(|_| Rows::take(self, 2));
            let mut unturned: Vec<&mut [u64]> = rows_to_turn.iter_mut().flat_map(|rows| rows.iter_mut()).collect();
            for (position, (&limb, mut outs)) in limbs.iter().zip(outs).enumerate() {
                let prime = self.prime_index(digits.basis, limb);
                let Some(outs) = outs.as_chunks_mut::<2>().0.first_mut() else {
                    continue;
                };
                let mut sums = unturned.as_chunks_mut::<2>().0.first_mut();
                let width = KeyProducts::least_columns(self, &key[..digit_count]);
                let key_limbs = key[..digit_count].iter().flat_map(|digit| digit.limbs_to_fetch(prime));
                let key_limbs: Vec<&[u64]> = key_limbs.collect();
                digits.finish(limb, position, &mut raised, width, &key_limbs, |raised, columns| {
                    let mut raised = raised.iter().map(|raised| &**raised);
                    let digit = |d: usize| match digits.is_own(d, limb) {
                        true => Some(x.limb(limb)),
                        false => raised.next(),
                    };
                    let digit_values: Vec<&[u64]> = (0..digit_count).filter_map(digit).collect();
                    let sums: [&mut [u64]; 2] = match &mut sums {
                        Some(sums) => sums.each_mut().map(|sum| &mut **sum),
                        None => outs.each_mut().map(|out| &mut **out),
                    };
                    products.write(prime, &digit_values, key, columns, sums);
                });
                if let Some((turn, sums)) = turn.zip(sums) {
                    let sums = sums.each_mut().map(|sum| &mut **sum);
                    let outs = outs.each_mut().map(|out| &mut **out);
                    turn.finish((self, digits.basis, prime), sums, outs, is_onto);
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
    products(digits, keys, None)
}

/// [`products_with_keys`], each turned.
pub fn turned_products_with_keys(digits: &[Poly], keys: &[Vec<KeyDigit>], turns: &[Turn]) -> Vec<[Poly; 2]> {
    assert_eq!(keys.len(), turns.len());
    products(digits, keys, Some(turns))
}

fn products(digits: &[Poly], keys: &[Vec<KeyDigit>], turns: Option<&[Turn]>) -> Vec<[Poly; 2]> {
    let (ring, basis) = match digits {
        [] => return Vec::new(),
        [digit, ..] => (digit.ring(), digit.basis()),
    };
    let same_basis = |digit: &Poly| digit.domain() == Domain::Eval && digit.basis() == basis;
    assert!(digits.iter().all(same_basis) && keys.iter().all(|key| key.len() >= digits.len()));
    let new_output = || [(); 2].map(|()| Poly::uninit(ring, basis, Domain::Eval));
    let mut outs: Vec<[Poly; 2]> = keys.iter().map(|_| new_output()).collect();
    let columns = columns_of(outs.as_flattened_mut().iter_mut().map(|out| out.limbs_mut()));
    columns.into_par_iter().enumerate().for_each(|(limb, mut outs)| {
        let prime = ring.prime_index(basis, limb);
        let mut products = KeyProducts::new(ring, digits.len());
        let digit_values: Vec<&[u64]> = digits.iter().map(|digit| digit.limb(limb)).collect();
        let widths = keys.iter().map(|key| KeyProducts::least_columns(ring, key));
        let width = widths.max().unwrap_or(ring.n());
        let mut rows_to_turn = turns.map(|turns| Rows::take(ring, 2 * turns.len()));
        let mut unturned: Vec<&mut [u64]> = rows_to_turn.iter_mut().flat_map(|rows| rows.iter_mut()).collect();
        let mut sums: Vec<&mut [u64]> = match turns {
            Some(_) => unturned.iter_mut().map(|row| &mut **row).collect(),
            None => outs.iter_mut().map(|out| &mut **out).collect(),
        };
        for start in (0..ring.n()).step_by(width) {
            for (key, sums) in keys.iter().zip(sums.as_chunks_mut().0) {
                let sums: [_; 2] = sums.each_mut().map(|sum| &mut **sum);
                products.write(prime, &digit_values, key, start..start + width, sums);
            }
        }
        let pairs = unturned
            .as_chunks_mut::<2>()
            .0
            .iter_mut()
            .zip(outs.as_chunks_mut::<2>().0);
        for (turn, (sums, outs)) in turns.into_iter().flatten().zip(pairs) {
            let sums = sums.each_mut().map(|sum| &mut **sum);
            let outs = outs.each_mut().map(|out| &mut **out);
            turn.finish((ring, basis, prime), sums, outs, false);
        }
    });
    outs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::divide::tests::{integers, ring};
    use crate::ring::{Backend, Mask, SeededPoly, find_ntt_primes, uniform};

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
        // one mask in memory, the others made as they are used
        let key: Vec<KeyDigit> = (0..3)
            .map(|d| KeyDigit {
                body: &bodies[d],
                mask: match d {
                    1 => Mask::Resident(&masks[d]),
                    _ => Mask::Seeded(SeededPoly::new([d as u8 + 50; 32])),
                },
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
                // turned, with what joins the bodies: P times a ciphertext part, and something raised
                let raised = uniform(&ring, Basis::qp(level), Domain::Eval, &[2; 32]);
                let special: Vec<u64> = (0..=level).map(|prime| ring.special_modulus(prime)).collect();
                let mut expected = [first, second];
                for [body, _] in &mut expected {
                    body.add_assign(&raised);
                    body.add_mul_constants(&x, &special);
                }
                let expected = expected.map(|pair| pair.map(|poly| poly.automorphism(5)));
                let turns = [(); 2].map(|()| Turn::new(&ring, 5, vec![&x, &raised]));
                let turned = turned_products_with_keys(&digits, &[key.clone(), reversed], &turns);
                assert!(turned == expected);
                let [body, mask] = ring.turned_key_products(&x, digit_limbs, &key, &turns[0], None);
                assert!([&body, &mask] == expected[0].each_ref());
                let onto = Some([raised.clone(), raised.clone()]);
                let sums = ring.turned_key_products(&x, digit_limbs, &key, &turns[0], onto);
                assert!(sums == [body.sum(&raised), mask.sum(&raised)]);
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
            let seeded = |i| Mask::Seeded(SeededPoly::new([i; 32]));
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
