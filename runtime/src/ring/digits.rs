//! Digits of a polynomial and their products with keys: the two halves of hybrid key switching before the division by P.
//!
//! Digit d of a polynomial over `q_0..q_l` is its centred representative modulo the product of the primes
//! `digit_limbs * d .. digit_limbs * (d + 1)` (the last digit may be shorter), written over `q_0..q_l` and special primes.
//!
//! Where digits are small, fewer special primes than keys carry will do: keys are for `P P' T_d s` with the product P of
//! those in use and P' of the rest, so the digits are those of `x / P'` (modulo every prime of x), and the products with a key
//! come to `P x s` all the same. What is left out of a key is merely not read.
//! Source: Han and Ki, "Better bootstrapping for approximate homomorphic encryption", CT-RSA 2020, section 3.
//! Cost:   l + 1 inverse transforms, which also multiply by 1 / P', then per digit one forward transform and one conversion for
//!         each limb it lacks; a product by a constant for each limb it has if there is a P'.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::kernels::Destination;
use super::key::KeyProducts;
use super::modulus::ShoupFactor;
use super::poly::TILE;
use super::rows::{Rows, Source, SourceLimb, Sources, balanced_groups, columns_of, limbs_per_group};
use super::{Basis, Domain, KeyDigit, Poly, RingContext, Turn, kernels};

/// How a polynomial is cut into digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gadget {
    /// Primes of every digit but perhaps the last.
    pub digit_limbs: usize,
    /// Special primes that digits are raised to: at least one, their product about as large as the largest digit.
    pub p_limbs: usize,
    /// Special primes whose product keys carry: at least `p_limbs`.
    pub key_p_limbs: usize,
}

/// All digits of one polynomial, ready to be converted to any prime.
pub(super) struct Digits<'a> {
    /// One conversion for each digit, from its primes to all of the basis, its own included (and not used).
    sources: Sources<'a>,
    /// The limbs of each digit.
    limbs: Vec<Range<usize>>,
    /// `q_0..q_l` and the special primes in use.
    basis: Basis,
    /// What is decomposed, before it is divided by the rest of the special primes.
    x: &'a Poly,
    /// 1 / P' modulo every prime of x, unless P' is 1.
    factors: Option<Vec<ShoupFactor>>,
}

impl<'a> Digits<'a> {
    /// Digits of x, which is in evaluation form over ciphertext primes.
    pub(super) fn new(x: &'a Poly, gadget: Gadget) -> Self {
        let Gadget {
            digit_limbs,
            p_limbs,
            key_p_limbs,
        } = gadget;
        assert_eq!(x.domain(), Domain::Eval);
        assert!(!x.basis().is_raised() && digit_limbs > 0 && p_limbs > 0 && p_limbs <= key_p_limbs);
        let ring = x.ring();
        let limb_count = x.basis().q_limbs;
        let basis = Basis { p_limbs, ..x.basis() };
        let factor = |prime| {
            let m = ring.modulus(prime);
            m.shoup(m.inv(ring.special_product(p_limbs..key_p_limbs, prime)))
        };
        let factors: Option<Vec<ShoupFactor>> = (p_limbs < key_p_limbs).then(|| (0..limb_count).map(factor).collect());
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
                factor: factors.as_ref().map(|factors| factors[limb]),
            };
            let converter = ring.converter(&targets[limbs.clone()], &targets);
            (converter, limbs.clone().map(source).collect())
        });
        Self {
            sources: Sources::new(ring, conversions.collect()),
            limbs,
            basis,
            x,
            factors,
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.limbs.len()
    }

    /// As many digits of a key as there are, at least that many being given.
    pub(super) fn served_by<'k, 'p>(&self, key: &'k [KeyDigit<'p>]) -> &'k [KeyDigit<'p>] {
        let needed = self.count();
        assert!(
            key.len() >= needed,
            "the key has {} digits, {needed} are needed",
            key.len()
        );
        &key[..needed]
    }

    /// The primes that they are raised to.
    pub(super) fn basis(&self) -> Basis {
        self.basis
    }

    fn limbs_per_group(&self, gadget: Gadget) -> usize {
        limbs_per_group(gadget.digit_limbs, self.sources.words())
    }

    fn is_own(&self, d: usize, limb: usize) -> bool {
        self.limbs[d].contains(&limb)
    }

    /// Writes limb `limb` of the digit whose own it is.
    fn write_own(&self, limb: usize, out: &mut [u64]) {
        let (ring, values) = (self.sources.ring(), self.x.limb(limb));
        let Some(factors) = &self.factors else {
            return out.copy_from_slice(values);
        };
        for (out, values) in out.chunks_mut(TILE).zip(values.chunks(TILE)) {
            out.copy_from_slice(values);
            kernels::mul_shoup(ring.backend(), ring.modulus(limb), out, factors[limb]);
        }
    }

    /// Limb `limb` of the digit whose own it is, if it is one's, in `row` unless it is in memory already.
    pub(super) fn own<'b>(&'b self, limb: usize, row: Option<&'b mut [u64]>) -> Option<&'b [u64]> {
        match row {
            _ if limb >= self.basis.q_limbs => None,
            None => Some(self.x.limb(limb)),
            Some(row) => {
                self.write_own(limb, row);
                Some(row)
            }
        }
    }

    /// Room for [`Self::own`], if it needs some.
    pub(super) fn own_row(&self) -> Option<Rows<'a>> {
        self.factors.as_ref().map(|_| Rows::take(self.sources.ring(), 1))
    }

    /// Of each digit what it is converted from.
    pub(super) fn sources(&self) -> Vec<Source<'_>> {
        (0..self.count()).map(|d| self.sources.of(d)).collect()
    }

    /// Some limbs of all digits as the first passes of their transforms leave them; `raised[d][i]` is for limb `limbs[i]` of digit d.
    /// The digits' own limbs stay as they are.
    pub(super) fn start(&self, sources: &[Source], limbs: &[usize], raised: &mut [Vec<&mut [u64]>]) {
        let ring = self.sources.ring();
        for (d, (source, raised)) in sources.iter().zip(raised).enumerate() {
            let others = limbs.iter().zip(raised).filter(|&(&limb, _)| !self.is_own(d, limb));
            let outs = others.map(|(&limb, out)| (limb, ring.prime_index(self.basis, limb), &mut **out));
            source.start(&mut outs.collect::<Vec<_>>());
        }
    }

    /// Limb `limb`, which is entry `position` of what was started, of all digits but the one whose own it is: to be transformed.
    pub(super) fn started<'b>(
        &self,
        (limb, position): (usize, usize),
        raised: &'b mut [Vec<&mut [u64]>],
    ) -> Vec<&'b mut [u64]> {
        let others = raised.iter_mut().enumerate().filter(|&(d, _)| !self.is_own(d, limb));
        others.map(|(_, raised)| &mut *raised[position]).collect()
    }

    /// Limb `limb` of all digits, from [`Self::own`] and the others.
    pub(super) fn all<'b>(&self, limb: usize, own: Option<&'b [u64]>, others: &'b [&mut [u64]]) -> Vec<&'b [u64]> {
        let mut others = others.iter().map(|other| &**other);
        let digit = |d| match self.is_own(d, limb) {
            true => own,
            false => others.next(),
        };
        (0..self.count()).filter_map(digit).collect()
    }
}

impl RingContext {
    /// All digits of `x` (evaluation form over `q_0..q_l`), each over `q_0..q_l` and the gadget's special primes, evaluation form:
    /// digits of `x / P'`, P' the product of the keys' special primes that the gadget leaves out. For a single key, [`Self::key_products`] does not write them to memory.
    pub fn decompose(self: &Arc<Self>, x: &Poly, gadget: Gadget) -> Vec<Poly> {
        let digits = Digits::new(x, gadget);
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
                let mut others = digits.started((limb, position), &mut raised);
                self.table(self.prime_index(digits.basis, limb)).finish_forward(
                    &mut others,
                    self.n(),
                    false,
                    &[],
                    |_, _| {},
                );
                for (d, raised) in raised.iter_mut().enumerate() {
                    if digits.is_own(d, limb) {
                        digits.write_own(limb, raised[position]);
                    }
                }
            }
        };
        balanced_groups(limbs.into_iter().enumerate().collect(), digits.limbs_per_group(gadget))
            .into_par_iter()
            .for_each(run);
        outs
    }

    /// `sum_d digit_d(x) * key[d]`, bodies and masks, over `q_0..q_l` and the gadget's special primes: what [`Self::decompose`] and
    /// [`products_with_keys`] give, a few primes at a time, so that raised digits stay in cache. Keys may have more primes.
    pub fn key_products(self: &Arc<Self>, x: &Poly, gadget: Gadget, key: &[KeyDigit]) -> [Poly; 2] {
        self.key_products_with(x, gadget, key, None, None)
    }

    /// [`Self::key_products`], turned and added to `onto` if there is one, which has the products' primes.
    pub fn turned_key_products(
        self: &Arc<Self>,
        x: &Poly,
        gadget: Gadget,
        key: &[KeyDigit],
        turn: &Turn,
        onto: Option<[Poly; 2]>,
    ) -> [Poly; 2] {
        self.key_products_with(x, gadget, key, Some(turn), onto)
    }

    fn key_products_with(
        self: &Arc<Self>,
        x: &Poly,
        gadget: Gadget,
        key: &[KeyDigit],
        turn: Option<&Turn>,
        onto: Option<[Poly; 2]>,
    ) -> [Poly; 2] {
        let digits = Digits::new(x, gadget);
        let key = digits.served_by(key);
        let digit_count = key.len();
        let is_onto = onto.is_some();
        let mut outs = onto.unwrap_or_else(|| [(); 2].map(|()| Poly::uninit(self, digits.basis, Domain::Eval)));
        let has_basis = |out: &Poly| (out.basis(), out.domain()) == (digits.basis, Domain::Eval);
        assert!(outs.iter().all(has_basis));
        let tasks: Vec<(usize, Vec<&mut [u64]>)> = columns_of(outs.iter_mut().map(|out| out.limbs_mut()))
            .into_iter()
            .enumerate()
            .collect();
        let sources = digits.sources();
        let destination = destination_of_products(self, digits.basis, turn.is_some());
        let run = |group: Vec<(usize, Vec<&mut [u64]>)>| {
            let (limbs, outs): (Vec<usize>, Vec<_>) = group.into_iter().unzip();
            let mut products = KeyProducts::new(self, digit_count, destination);
            let mut raised = Rows::take(self, digit_count * limbs.len());
            let mut rows = raised.iter_mut();
            let mut raised: Vec<Vec<&mut [u64]>> = (0..digit_count)
                .map(|_| rows.by_ref().take(limbs.len()).collect())
                .collect();
            digits.start(&sources, &limbs, &mut raised);
            let mut own_row = digits.own_row();
            let mut rows_to_turn = turn.map(|_| Rows::take(self, 2));
            let mut unturned: Vec<&mut [u64]> = rows_to_turn.iter_mut().flat_map(|rows| rows.iter_mut()).collect();
            for (position, (&limb, mut outs)) in limbs.iter().zip(outs).enumerate() {
                let prime = self.prime_index(digits.basis, limb);
                let Some(outs) = outs.as_chunks_mut::<2>().0.first_mut() else {
                    continue;
                };
                let mut sums = unturned.as_chunks_mut::<2>().0.first_mut();
                let own_row = own_row.as_mut().and_then(|rows| rows.iter_mut().next());
                let own = digits.own(limb, own_row);
                let width = KeyProducts::least_columns(self, key);
                let key_limbs = key.iter().flat_map(|digit| digit.limbs_to_fetch(prime));
                let key_limbs: Vec<&[u64]> = key_limbs.collect();
                let lazily = self.table(prime).lazy_bound().is_some();
                let mut others = digits.started((limb, position), &mut raised);
                let table = self.table(prime);
                table.finish_forward(&mut others, width, lazily, &key_limbs, |others, columns| {
                    let sums: [&mut [u64]; 2] = match &mut sums {
                        Some(sums) => sums.each_mut().map(|sum| &mut **sum),
                        None => outs.each_mut().map(|out| &mut **out),
                    };
                    products.write(prime, &digits.all(limb, own, others), key, columns, sums);
                });
                if let Some((turn, sums)) = turn.zip(sums) {
                    let sums = sums.each_mut().map(|sum| &mut **sum);
                    let outs = outs.each_mut().map(|out| &mut **out);
                    turn.finish((self, digits.basis, prime), sums, outs, is_onto);
                }
            }
        };
        balanced_groups(tasks, digits.limbs_per_group(gadget))
            .into_par_iter()
            .for_each(run);
        outs
    }
}

/// Products that are turned are in rows of their own until then.
fn destination_of_products(ring: &RingContext, basis: Basis, are_turned: bool) -> Destination {
    match are_turned {
        true => Destination::Cache,
        false => Destination::of_words(2 * ring.limb_count(basis) * ring.n()),
    }
}

/// `sum_d digits[d] * keys[i][d]` for every key i, bodies and masks, over the basis of the digits. Prime by prime and a few
/// words at a time, so that the digits are read from memory once for all keys. Keys may have more primes.
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
    let destination = destination_of_products(ring, basis, turns.is_some());
    columns.into_par_iter().enumerate().for_each(|(limb, mut outs)| {
        let prime = ring.prime_index(basis, limb);
        let mut products = KeyProducts::new(ring, digits.len(), destination);
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
        for p_limbs in 1..=2 {
            let digits = ring.decompose(&x, gadget(2, p_limbs));
            assert_eq!(digits.len(), 3);
            let mut divided = x.clone();
            let rest = |prime| ring.special_product(p_limbs..2, prime);
            let factors = (0..5).map(|prime| ring.modulus(prime).inv(rest(prime)));
            divided.mul_constants(&factors.collect::<Vec<_>>());
            for (d, digit) in digits.iter().enumerate() {
                let own: Vec<usize> = (2 * d..(2 * d + 2).min(5)).collect();
                let (low, product) = integers(&divided, &own);
                let (raised, full) = integers(digit, &ring.prime_indices(Basis::qp(4, p_limbs)));
                for (low, raised) in low.into_iter().zip(raised) {
                    let centred = if &low * 2 >= product { low - &product } else { low };
                    let raised = if &raised * 2 >= full { raised - &full } else { raised };
                    assert_eq!(centred, raised);
                }
            }
        }
    }

    /// What fewer special primes rest on: with a key that carries the product of all of them, the digits come to x times the
    /// product of those in use.
    #[test]
    fn digits_times_their_gadget_are_the_polynomial() {
        let ring = ring();
        let gadgets = [
            (4, 2, 1, 2),
            (4, 2, 2, 2),
            (3, 3, 1, 2),
            (2, 1, 1, 2),
            (2, 2, 3, 4),
            (1, 2, 4, 4),
        ];
        for (level, digit_limbs, p_limbs, key_p_limbs) in gadgets {
            let x = uniform(&ring, Basis::q(level), Domain::Eval, &[1; 32]);
            let gadget = Gadget {
                digit_limbs,
                p_limbs,
                key_p_limbs,
            };
            let digits = ring.decompose(&x, gadget);
            let basis = Basis::qp(level, p_limbs);
            let mut sum = Poly::zeros(&ring, basis, Domain::Eval);
            for (d, digit) in digits.iter().enumerate() {
                let is_own = |prime: usize| prime / digit_limbs == d && prime <= level;
                let factors = ring.prime_indices(basis).into_iter().map(|prime| match is_own(prime) {
                    true => ring.special_modulus(key_p_limbs, prime),
                    false => 0,
                });
                sum.add_mul_constants(digit, &factors.collect::<Vec<_>>());
            }
            let expected: Vec<u64> = (0..=level).map(|prime| ring.special_modulus(p_limbs, prime)).collect();
            let mut multiple = Poly::zeros(&ring, basis, Domain::Eval);
            multiple.add_mul_constants(&x, &expected);
            assert!(sum == multiple, "level {level}, {p_limbs} special primes");
            assert!(ring.mod_down(&sum) == x);
        }
    }

    fn gadget(digit_limbs: usize, p_limbs: usize) -> Gadget {
        Gadget {
            digit_limbs,
            p_limbs,
            key_p_limbs: p_limbs.max(2),
        }
    }

    #[test]
    fn key_products_are_sums_over_digits() {
        let ring = ring();
        let basis = Basis::qp(4, 2);
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
            for (digit_limbs, p_limbs) in [(2, 2), (3, 2), (5, 2), (2, 1), (3, 1)] {
                let gadget = gadget(digit_limbs, p_limbs);
                let digits = ring.decompose(&x, gadget);
                let expect = |order: [usize; 3]| {
                    let polys: Vec<[&Poly; 2]> = order.iter().map(|&d| [&bodies[d], &masks[d]]).collect();
                    let digit_refs: Vec<&Poly> = digits.iter().collect();
                    Poly::inner_products(Basis::qp(level, p_limbs), &digit_refs, &polys[..digits.len()])
                };
                let expected = expect([0, 1, 2]);
                assert!(expected == ring.key_products(&x, gadget, &key));
                let reversed: Vec<KeyDigit> = key.iter().rev().copied().collect();
                let [first, second]: [_; 2] = products_with_keys(&digits, &[key.clone(), reversed.clone()])
                    .try_into()
                    .unwrap_or_else(|_| panic!("two keys have two products"));
                assert!(first == expected);
                assert!(second == expect([2, 1, 0]));
                // turned, with what joins the bodies: P times a ciphertext part, and something raised
                let raised = uniform(&ring, Basis::qp(level, p_limbs), Domain::Eval, &[2; 32]);
                let special: Vec<u64> = (0..=level).map(|prime| ring.special_modulus(p_limbs, prime)).collect();
                let mut expected = [first, second];
                for [body, _] in &mut expected {
                    body.add_assign(&raised);
                    body.add_mul_constants(&x, &special);
                }
                let expected = expected.map(|pair| pair.map(|poly| poly.automorphism(5)));
                let turns = [(); 2].map(|()| Turn::new(&ring, 5, vec![&x, &raised]));
                let turned = turned_products_with_keys(&digits, &[key.clone(), reversed], &turns);
                assert!(turned == expected);
                let [body, mask] = ring.turned_key_products(&x, gadget, &key, &turns[0], None);
                assert!([&body, &mask] == expected[0].each_ref());
                let onto = Some([raised.clone(), raised.clone()]);
                let sums = ring.turned_key_products(&x, gadget, &key, &turns[0], onto);
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
                .map(|i| uniform(&ring, Basis::qp(6, 3), Domain::Eval, &[i; 32]))
                .collect();
            let seeded = |i| Mask::Seeded(SeededPoly::new([i; 32]));
            let digit = |(body, mask)| KeyDigit { body, mask };
            let key: Vec<KeyDigit> = bodies.iter().zip([3, 4, 5].map(seeded)).map(digit).collect();
            let x = uniform(&ring, Basis::q(5), Domain::Eval, &[9; 32]);
            [1, 2, 3].map(|p_limbs| {
                let [body, mask] = ring.key_products(&x, gadget(3, p_limbs), &key);
                let rotated = ring.mod_down_then_automorphism(&body, Some(&x), 25);
                let lowered = [
                    ring.add_and_divide_down_to(&mask, &x, 4),
                    ring.rescale(&rotated),
                    rotated,
                ];
                lowered.map(|poly| poly.data().to_vec())
            })
        });
        assert!(results[0] == results[1]);
    }
}
