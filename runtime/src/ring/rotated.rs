//! Sums of products with rotated ciphertexts that are nowhere in memory: what a linear transform with hoisted rotations comes to.
//!
//! A rotated ciphertext is given by what it is made of: raised digits, a key and a [`Turn`]. Limb by limb and a part of the columns
//! at a time, each is made where the second-level cache holds it and multiplied with all that it is multiplied with.
//!
//! An automorphism takes an aligned run of evaluations from one such run, so that a part of a rotated ciphertext needs one part of
//! the digits, whose place depends on the rotation. Parts follow each other as one of the rotations takes them: where rotations
//! are multiples of one step, their parts of the digits are then neighbours in that order, most of them still in cache.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use rayon::prelude::*;

use super::kernels::{Before, Destination, Streams};
use super::key::KeyProducts;
use super::rows::{Rows, columns_of};
use super::{Basis, CompactLimb, Domain, Evaluations, KeyDigit, Poly, RingContext, Turn, kernels};

/// Words of a limb worked on at a time: fewer start too many streams, more fit no second-level cache.
const COLUMNS: RangeInclusive<usize> = 1024..=4096;
/// Words of rotated ciphertexts that are in cache together: half a second-level cache.
const WORDS: usize = 1 << 16;
/// Rotated ciphertexts that are in cache together.
const AT_ONCE: usize = WORDS / 2 / *COLUMNS.start();

/// Two polynomials over the special primes as well, and what to make them from.
pub enum Rotated<'a> {
    /// Over ciphertext primes only, and meant times P, the product of the special primes in use.
    Unrotated([&'a Poly; 2]),
    /// As they are.
    Resident([&'a Poly; 2]),
    /// The products of digits with a key, turned.
    Switched {
        /// The digits, over the basis of the sums.
        digits: &'a [Poly],
        /// As many pairs at least.
        key: Vec<KeyDigit<'a>>,
        /// What is done with the products.
        turn: Turn<'a>,
    },
}

/// Two sums `sum_d x[d] * y[d][o]` where y are rotated ciphertexts.
pub struct SumOfRotated<'a, X> {
    /// The sums so far: `None` for zero.
    pub sums: Option<[Poly; 2]>,
    /// What to add: x, and the number of the rotated ciphertext.
    pub terms: Vec<(&'a X, usize)>,
}

/// What is done next with the part of a limb at hand.
#[derive(Clone, Copy)]
enum Step {
    /// Make a rotated ciphertext.
    Make(usize),
    /// Add the products of a batch of them to a group's sums.
    Add { batch: usize, group: usize },
}

/// The products of one batch of rotated ciphertexts in one limb, by group: factors, and the places of the others in the batch.
type BatchTerms<'a> = Vec<(Vec<CompactLimb<'a>>, Vec<usize>)>;

/// One limb of the work.
struct Limb<'a, 'b> {
    ring: &'a RingContext,
    basis: Basis,
    prime: usize,
    rotated: &'a [&'a Rotated<'b>],
    batches: Vec<BatchTerms<'a>>,
}

impl<'a, X: Evaluations> SumOfRotated<'a, X> {
    /// Adds the terms of each group to its sums, over `basis` and in evaluation form, and takes them away. Factors may have more
    /// limbs than the sums (limbs are matched by prime). A group without terms keeps what it has.
    pub fn run(ring: &Arc<RingContext>, basis: Basis, rotated: &[Rotated], groups: &mut [Self]) {
        let mut groups: Vec<&mut Self> = groups.iter_mut().filter(|group| !group.terms.is_empty()).collect();
        if groups.is_empty() {
            return;
        }
        let is_new: Vec<bool> = groups.iter().map(|group| group.sums.is_none()).collect();
        let numbers = groups.iter().flat_map(|group| &group.terms).map(|(_, number)| *number);
        let used: Vec<usize> = numbers.collect::<BTreeSet<_>>().into_iter().collect();
        let rotated: Vec<&Rotated> = used.iter().map(|&number| &rotated[number]).collect();
        rotated.iter().for_each(|rotated| rotated.check(basis));
        let place = |(x, number)| (x, used.partition_point(|&used| used < number));
        let terms: Vec<Vec<(&'a X, usize)>> = groups
            .iter_mut()
            .map(|group| std::mem::take(&mut group.terms).into_iter().map(place).collect())
            .collect();
        let sums = groups.iter_mut().flat_map(|group| {
            let new = || [(); 2].map(|()| Poly::uninit(ring, basis, Domain::Eval));
            group.sums.get_or_insert_with(new)
        });
        let limbs = columns_of(sums.map(|sum| {
            assert_eq!((sum.basis(), sum.domain()), (basis, Domain::Eval));
            sum.limbs_mut()
        }));
        let width = columns_for(rotated.len()).min(ring.n());
        let order = order_of_parts(&rotated, ring.n() / width, width);
        limbs.into_par_iter().enumerate().for_each(|(limb, mut outs)| {
            let limb = Limb::new((ring, basis, ring.prime_index(basis, limb)), &rotated, &terms);
            limb.run(&order, width, outs.as_chunks_mut::<2>().0, &is_new);
        });
    }
}

/// Words of a limb to work on at a time, for so many rotated ciphertexts.
fn columns_for(rotated: usize) -> usize {
    (WORDS / 2 / rotated.next_power_of_two()).clamp(*COLUMNS.start(), *COLUMNS.end())
}

impl Rotated<'_> {
    fn check(&self, basis: Basis) {
        match self {
            Self::Unrotated(parts) | Self::Resident(parts) => {
                assert!(parts.iter().all(|part| part.domain() == Domain::Eval));
            }
            Self::Switched { digits, key, .. } => {
                let fits = |digit: &Poly| (digit.basis(), digit.domain()) == (basis, Domain::Eval);
                assert!(digits.iter().all(fits) && digits.len() <= key.len());
            }
        }
    }
}

/// Numbers of the parts of a limb, those that the first true rotation takes from each other one after the other.
fn order_of_parts(rotated: &[&Rotated], parts: usize, width: usize) -> Vec<usize> {
    let turns = rotated.iter().filter_map(|rotated| match rotated {
        Rotated::Switched { turn, .. } => Some(turn),
        _ => None,
    });
    let source = |turn: &Turn, part: usize| turn.source_of(part * width, width) / width;
    let moving = turns
        .into_iter()
        .find(|turn| (0..parts).any(|part| source(turn, part) != part));
    let mut order = Vec::with_capacity(parts);
    let mut is_placed = vec![false; parts];
    for first in 0..parts {
        let mut part = first;
        while !std::mem::replace(&mut is_placed[part], true) {
            order.push(part);
            part = moving.map_or(part, |turn| source(turn, part));
        }
    }
    order
}

impl<'a, 'b> Limb<'a, 'b> {
    fn new<X: Evaluations>(
        (ring, basis, prime): (&'a RingContext, Basis, usize),
        rotated: &'a [&'a Rotated<'b>],
        terms: &[Vec<(&'a X, usize)>],
    ) -> Self {
        // P times anything is zero modulo what divides P
        let is_zero = |number: usize| matches!(rotated[number], Rotated::Unrotated(_)) && prime >= basis.q_limbs;
        let mut batches: Vec<BatchTerms> = Vec::new();
        batches.resize_with(rotated.len().div_ceil(AT_ONCE), || {
            vec![Default::default(); terms.len()]
        });
        for (group, terms) in terms.iter().enumerate() {
            for &(x, number) in terms.iter().filter(|(_, number)| !is_zero(*number)) {
                let (factors, places) = &mut batches[number / AT_ONCE][group];
                factors.push(x.evaluations(prime));
                places.push(number % AT_ONCE);
            }
        }
        Self {
            ring,
            basis,
            prime,
            rotated,
            batches,
        }
    }

    /// What is done with every part, in order: each batch is made, then added to all sums.
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (batch, terms) in self.batches.iter().enumerate() {
            let mut is_used = [false; AT_ONCE];
            let places = terms.iter().flat_map(|(_, places)| places);
            places.for_each(|&place| is_used[place] = true);
            let used = (0..AT_ONCE).filter(|&place| is_used[place]);
            steps.extend(used.map(|place| Step::Make(batch * AT_ONCE + place)));
            let with_terms = terms.iter().enumerate().filter(|(_, (factors, _))| !factors.is_empty());
            steps.extend(with_terms.map(|(group, _)| Step::Add { batch, group }));
        }
        steps
    }

    /// `outs` has the sums' limbs by group.
    fn run(&self, order: &[usize], width: usize, outs: &mut [[&mut [u64]; 2]], is_new: &[bool]) {
        let (ring, m) = (self.ring, self.ring.modulus(self.prime));
        let steps = self.steps();
        let digits = self.rotated.iter().map(|rotated| match rotated {
            Rotated::Switched { digits, .. } => digits.len(),
            _ => 0,
        });
        let mut products = KeyProducts::new(ring, digits.max().unwrap_or(0), Destination::Cache);
        let destination = Destination::of_words(2 * outs.len() * ring.limb_count(self.basis) * ring.n());
        let mut unturned = Rows::of_length(ring, 2, width);
        let mut made = Rows::of_length(ring, 2 * self.rotated.len().min(AT_ONCE), width);
        let mut has_sum = vec![false; outs.len()];
        for (at, part) in order.iter().enumerate() {
            let columns = part * width..(part + 1) * width;
            has_sum
                .iter_mut()
                .zip(is_new)
                .for_each(|(has_sum, is_new)| *has_sum = !is_new);
            for (number, step) in steps.iter().enumerate() {
                let next = match steps.get(number + 1) {
                    Some(next) => Some((*next, columns.start)),
                    None => steps.first().copied().zip(order.get(at + 1).map(|part| part * width)),
                };
                let ahead = next.map_or_else(Vec::new, |(step, start)| self.to_fetch(step, start, width));
                match *step {
                    Step::Make(number) => {
                        let mut rows = made.iter_mut().skip(number % AT_ONCE * 2);
                        if let (Some(body), Some(mask)) = (rows.next(), rows.next()) {
                            self.make(
                                number,
                                columns.start,
                                (&mut products, &mut unturned),
                                [body, mask],
                                &ahead,
                            );
                        }
                    }
                    Step::Add { batch, group } => {
                        let rows: Vec<&[u64]> = made.iter().collect();
                        let (factors, places) = &self.batches[batch][group];
                        let x: Vec<CompactLimb> = factors.iter().map(|x| x.starting_at(columns.start)).collect();
                        let y: Vec<[&[u64]; 2]> = places.iter().map(|&i| [rows[2 * i], rows[2 * i + 1]]).collect();
                        let before = match std::mem::replace(&mut has_sum[group], true) {
                            true => Before::Sums,
                            false => Before::Nothing(destination),
                        };
                        let how = (before, Streams::of_cache(&ahead));
                        let outs = outs[group].each_mut().map(|out| &mut out[columns.clone()]);
                        kernels::inner_products(ring.backend(), m, outs, &x, &y, 0..width, how);
                    }
                }
            }
            for (out, _) in outs.iter_mut().zip(&has_sum).filter(|(_, has_sum)| !**has_sum) {
                out.iter_mut().for_each(|out| out[columns.clone()].fill(0));
            }
        }
    }

    /// The part from `start` on of a rotated ciphertext.
    fn make(
        &self,
        number: usize,
        start: usize,
        (products, unturned): (&mut KeyProducts, &mut Rows),
        outs: [&mut [u64]; 2],
        ahead: &[&[u64]],
    ) {
        let (backend, m, width) = (self.ring.backend(), self.ring.modulus(self.prime), outs[0].len());
        let columns = start..start + width;
        match self.rotated[number] {
            Rotated::Unrotated(parts) => {
                let special = m.shoup(self.ring.special_modulus(self.basis.p_limbs, self.prime));
                for (part, out) in parts.iter().zip(outs) {
                    out.copy_from_slice(&part.limb_of_prime(self.prime)[columns.clone()]);
                    kernels::mul_shoup(backend, m, out, special);
                }
            }
            Rotated::Resident(parts) => {
                for (part, out) in parts.iter().zip(outs) {
                    out.copy_from_slice(&part.limb_of_prime(self.prime)[columns.clone()]);
                }
            }
            Rotated::Switched { digits, key, turn } => {
                let mut rows = unturned.iter_mut();
                let (Some(body), Some(mask)) = (rows.next(), rows.next()) else {
                    return;
                };
                let source = turn.source_of(start, width);
                let digits: Vec<&[u64]> = digits.iter().map(|digit| digit.limb_of_prime(self.prime)).collect();
                let sums = [&mut *body, &mut *mask];
                products.write_part(self.prime, &digits, key, source..source + width, sums, ahead);
                turn.finish_part((self.ring, self.basis, self.prime), start, [body, mask], outs);
            }
        }
    }

    /// What of memory a step reads at the part from `start` on.
    fn to_fetch(&self, step: Step, start: usize, width: usize) -> Vec<&[u64]> {
        let prime = self.prime;
        let columns_from = |start: usize| -> Range<usize> { start..start + width };
        match step {
            Step::Make(number) => match self.rotated[number] {
                Rotated::Unrotated(parts) | Rotated::Resident(parts) => {
                    let words = |part: &&'b Poly| &part.limb_of_prime(prime)[columns_from(start)];
                    parts.iter().map(words).collect()
                }
                Rotated::Switched { digits, key, turn } => {
                    let columns = columns_from(turn.source_of(start, width));
                    let words = |limb: &'a [u64]| &limb[columns.clone()];
                    let keys = key[..digits.len()].iter().flat_map(|digit| digit.limbs_to_fetch(prime));
                    let digits = digits.iter().map(|digit| digit.limb_of_prime(prime));
                    let addends = turn.to_fetch(self.basis, prime, columns.clone());
                    keys.chain(digits).map(words).chain(addends).collect()
                }
            },
            Step::Add { batch, group } => {
                let (factors, _) = &self.batches[batch][group];
                factors.iter().map(|x| x.starting_at(start).kept(width)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{
        Backend, CompactPoly, Gadget, Mask, SeededPoly, SumOfProducts, Symmetry, find_ntt_primes,
        turned_products_with_keys, uniform,
    };

    /// Four parts of a limb.
    const LOG_N: u32 = 12;

    /// All kinds of rotated ciphertexts, more than one batch of them, against sums of what the definitions write to memory.
    #[test]
    fn sums_are_those_of_rotated_ciphertexts_in_memory() {
        let q = find_ntt_primes(LOG_N + 1, 45, 5, &[]).unwrap();
        let p = find_ntt_primes(LOG_N + 1, 50, 2, &[]).unwrap();
        for backend in [Backend::Portable, Backend::detect()] {
            let ring = RingContext::with_backend(LOG_N, &q, &p, backend).unwrap();
            let basis = Basis::qp(3, 2);
            let random = |basis, seed| uniform(&ring, basis, Domain::Eval, &[seed; 32]);
            let gadget = Gadget {
                digit_limbs: 2,
                p_limbs: 2,
                key_p_limbs: 2,
            };
            let parts = [0, 1, 2, 3].map(|seed| random(Basis::q(3), seed));
            let digits = [1, 3].map(|mask| ring.decompose(&parts[mask], gadget));
            let raised = random(basis, 4);
            let bodies = [(); 2].map(|()| random(Basis::qp(4, 2), 5));
            let masks = [6, 7].map(|seed| random(Basis::qp(4, 2), seed));
            // one mask in memory, the other made as it is used
            let key = |seeded: usize| -> Vec<KeyDigit> {
                let mask = |d: usize| match d == seeded {
                    true => Mask::Seeded(SeededPoly::new([6 + d as u8; 32])),
                    false => Mask::Resident(&masks[d]),
                };
                (0..2)
                    .map(|d| KeyDigit {
                        body: &bodies[d],
                        mask: mask(d),
                    })
                    .collect()
            };
            let element = |i: usize| (1..=i).fold(1, |g, _| g * 5 % (2 << LOG_N));
            let turn = |i: usize| match i % 2 {
                0 => Turn::new(&ring, element(i / 2), vec![&parts[0]]),
                _ => Turn::new(&ring, (2 << LOG_N) - element(i), vec![&raised, &parts[2]]),
            };
            let count = AT_ONCE + 3;
            let mut rotated: Vec<Rotated> = (0..count - 2)
                .map(|i| Rotated::Switched {
                    digits: &digits[i % 2],
                    key: key(i % 3),
                    turn: turn(i),
                })
                .collect();
            rotated.insert(1, Rotated::Unrotated([&parts[0], &parts[1]]));
            rotated.push(Rotated::Resident([&raised, &bodies[0]]));
            let special: Vec<u64> = (0..4).map(|prime| ring.special_modulus(2, prime)).collect();
            let written: Vec<[Poly; 2]> = rotated
                .iter()
                .map(|rotated| match rotated {
                    Rotated::Unrotated(parts) => parts.map(|part| {
                        let mut multiple = Poly::zeros(&ring, basis, Domain::Eval);
                        multiple.add_mul_constants(part, &special);
                        multiple
                    }),
                    Rotated::Resident(parts) => parts.map(|part| part.restricted(basis)),
                    Rotated::Switched { digits, key, turn } => {
                        turned_products_with_keys(digits, std::slice::from_ref(key), std::slice::from_ref(turn))
                            .remove(0)
                    }
                })
                .collect();
            let symmetries = [(0, false), (0, true), (2, false), (4, true)];
            let diagonals = symmetries.map(|(log_gap, mirrored)| {
                let symmetry = Symmetry { log_gap, mirrored };
                let count = ring.n() >> log_gap;
                let coefficient = |i: usize| {
                    if i == 0 || 2 * i == count {
                        0
                    } else {
                        i as i64 - count as i64 / 2
                    }
                };
                let coefficients: Vec<i64> = (0..count).map(coefficient).collect();
                CompactPoly::from_signed(&ring, basis, symmetry, &coefficients)
            });
            // the third has no terms, the fourth only what is zero modulo special primes, the last is added to
            let numbers: [&[usize]; 5] = [
                &[0, 1, 2, 3, 5, count - 1],
                &[0, AT_ONCE + 1],
                &[],
                &[1],
                &[2, 4, 4, AT_ONCE],
            ];
            let before = |group: usize| (group == 4).then(|| [raised.clone(), raised.clone()]);
            let diagonal = |group: usize, i: usize| &diagonals[(group + i) % diagonals.len()];
            let mut groups: Vec<SumOfRotated<CompactPoly>> = numbers
                .iter()
                .enumerate()
                .map(|(group, numbers)| SumOfRotated {
                    sums: before(group),
                    terms: numbers.iter().map(|&i| (diagonal(group, i), i)).collect(),
                })
                .collect();
            let mut expected: Vec<SumOfProducts<CompactPoly, 2>> = numbers
                .iter()
                .enumerate()
                .map(|(group, numbers)| SumOfProducts {
                    sums: before(group),
                    terms: numbers
                        .iter()
                        .map(|&i| (diagonal(group, i), written[i].each_ref()))
                        .collect(),
                })
                .collect();
            SumOfRotated::run(&ring, basis, &rotated, &mut groups);
            SumOfProducts::run(basis, &mut expected);
            for (number, (group, expected)) in groups.iter().zip(&expected).enumerate() {
                assert!(group.terms.is_empty());
                assert_eq!(group.sums.is_some(), number != 2);
                assert!(group.sums == expected.sums, "group {number}, {backend:?}");
            }
        }
    }

    /// Parts follow each other as the digits they need do.
    #[test]
    fn rotations_by_multiples_of_one_step_need_neighbours() {
        let (log_n, parts, width) = (16, 64, 1024);
        let ring = RingContext::new(log_n, &find_ntt_primes(log_n + 1, 45, 1, &[]).unwrap(), &[]).unwrap();
        for step in [1u64, 4, 64] {
            let element = |i: u64| (0..i * step).fold(1, |g, _| g * 5 % (2 << log_n));
            let switched = |i| Rotated::Switched {
                digits: &[],
                key: Vec::new(),
                turn: Turn::new(&ring, element(i), Vec::new()),
            };
            let rotated: Vec<Rotated> = (1..8).map(switched).collect();
            let order = order_of_parts(&rotated.iter().collect::<Vec<_>>(), parts, width);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..parts));
            let mut fetched = 0;
            let mut last = BTreeSet::new();
            for part in order {
                let source = |rotated: &Rotated| match rotated {
                    Rotated::Switched { turn, .. } => turn.source_of(part * width, width) / width,
                    _ => part,
                };
                let needed: BTreeSet<usize> = rotated.iter().map(source).collect();
                fetched += needed.iter().filter(|source| !last.contains(*source)).count();
                last = needed;
            }
            // each once, and a window at the start of each cycle
            assert!(fetched <= 2 * parts, "step {step}: {fetched} parts for {parts}");
        }
    }
}
