//! Sums of rotations of a raised pair that is still one digit: products with keys, one digit each, of permuted evaluations.
//!
//! Assumes a pair (x_0, x_1) under a secret s' whose second part is small, and for each automorphism g a key `(b, a)` with
//! `b + a s = P g(s')` up to noise, P the product of the special primes. Then `g(x_1) (b, a) + (P g(x_0), 0)` is P times g of
//! the pair under s: the one digit of g(x_1) is g of the one digit of x_1, so that nothing is decomposed. A sum of such pairs, each
//! times a factor, is a linear transform that was never divided by P in between.
//! Method: limb by limb and a few words at a time; permuted words are multiplied by their factor before the key, since there
//! are two products with a key and one with a factor.

use std::sync::Arc;

use rayon::prelude::*;

use super::kernels::{Before, Destination, Streams};
use super::rows::{Rows, columns_of};
use super::{
    AutomorphismTable, CompactLimb, CompactPoly, Domain, Evaluations, KeyDigit, Mask, Poly, RingContext, kernels,
};

/// Terms whose products are summed at a time.
const TERMS: usize = 5;
/// Words of a limb worked on at a time: what is made on the way stays in the second-level cache.
const COLUMNS: usize = 2048;

/// One term of a sum.
pub struct TurnedTerm<'a> {
    table: Arc<AutomorphismTable>,
    key: KeyDigit<'a>,
    factor: Option<&'a CompactPoly>,
    is_whole: bool,
}

impl<'a> TurnedTerm<'a> {
    /// The image under X -> X^`galois_element`, times `factor` if there is one, of the whole pair or of its second part only. Key and
    /// factor are over the primes of the sum or more.
    pub fn new(
        ring: &RingContext,
        galois_element: u64,
        key: KeyDigit<'a>,
        factor: Option<&'a CompactPoly>,
        is_whole: bool,
    ) -> Self {
        Self {
            table: ring.automorphism(galois_element),
            key,
            factor,
            is_whole,
        }
    }
}

/// The sum of all terms for a pair of which the first part comes times P. The second part is over the primes of the result, the first
/// over its ciphertext primes, modulo which alone P is not zero; evaluation form.
pub fn sum_of_turned(pair: [&Poly; 2], terms: &[TurnedTerm]) -> [Poly; 2] {
    let [first, second] = pair;
    let (ring, basis) = (second.ring(), second.basis());
    assert!(first.basis() == basis.without_special() && pair.iter().all(|part| part.domain() == Domain::Eval));
    let mut sums: [Poly; 2] = std::array::from_fn(|_| Poly::uninit(ring, basis, Domain::Eval));
    let limbs = columns_of(sums.iter_mut().map(|sum| sum.limbs_mut()));
    limbs.into_par_iter().enumerate().for_each(|(limb, mut outs)| {
        let Some(outs) = outs.as_chunks_mut::<2>().0.first_mut() else {
            return;
        };
        let prime = ring.prime_index(basis, limb);
        let first = (limb < first.limb_count()).then(|| first.limb(limb));
        sum_limb(ring, prime, (first, second.limb(limb)), terms, outs);
    });
    sums
}

/// One limb of the sum.
fn sum_limb(
    ring: &RingContext,
    prime: usize,
    (first, second): (Option<&[u64]>, &[u64]),
    terms: &[TurnedTerm],
    outs: &mut [&mut [u64]; 2],
) {
    let (backend, m, columns) = (ring.backend(), ring.modulus(prime), COLUMNS.min(ring.n()));
    let nothing = Before::Nothing(Destination::Cache);
    let rows = || Rows::of_length(ring, TERMS, columns);
    let (mut turned, mut weighted, mut masks) = (rows(), rows(), rows());
    for start in (0..ring.n()).step_by(columns) {
        let place = start..start + columns;
        let turn = |out: &mut [u64], x: &[u64], term: &TurnedTerm| {
            let (from, moves) = (term.table.source_of(start, columns), term.table.moves_to(place.clone()));
            kernels::permute(backend, out, &x[from..from + columns], moves, Destination::Cache);
        };
        let mut before = nothing;
        let mut batches = terms.chunks(TERMS).peekable();
        while let Some(terms) = batches.next() {
            let key_words = terms.iter().map(|term| {
                let body = &term.key.body.limb_of_prime(prime)[place.clone()];
                match term.key.mask {
                    Mask::Resident(mask) => [body, &mask.limb_of_prime(prime)[place.clone()]],
                    Mask::Seeded(_) => [body, &[]],
                }
            });
            let key_words: Vec<[&[u64]; 2]> = key_words.collect();
            for (term, ((turned, weighted), ahead)) in terms
                .iter()
                .zip(turned.iter_mut().zip(weighted.iter_mut()).zip(&key_words))
            {
                turn(turned, second, term);
                if let Some(factor) = term.factor {
                    let (factor, streams) = (factor.evaluations(prime).starting_at(start), Streams::of_cache(ahead));
                    let (x, y) = ([factor], [[&*turned]]);
                    kernels::inner_products(backend, m, [weighted], &x, &y, 0..columns, (nothing, streams));
                }
            }
            let rows = terms.iter().zip(turned.iter().zip(weighted.iter()));
            let x = rows.map(|(term, (turned, weighted))| match term.factor {
                Some(_) => CompactLimb::dense(weighted),
                None => CompactLimb::dense(turned),
            });
            let keys = terms.iter().zip(key_words).zip(masks.iter_mut());
            let keys = keys.map(|((term, [body, resident]), mask)| match term.key.mask {
                Mask::Resident(_) => [body, resident],
                Mask::Seeded(seeded) => {
                    seeded.fill(backend, m, start, mask, body);
                    [body, &*mask]
                }
            });
            let (x, keys): (Vec<CompactLimb>, Vec<[&[u64]; 2]>) = (x.collect(), keys.collect());
            let next = batches.peek().into_iter().flat_map(|terms| terms.iter());
            let next = next.filter_map(|term| Some(term.factor?.evaluations(prime).starting_at(start).kept(columns)));
            let (ahead, sums): (Vec<&[u64]>, _) = (next.collect(), outs.each_mut().map(|out| &mut out[place.clone()]));
            kernels::inner_products(
                backend,
                m,
                sums,
                &x,
                &keys,
                0..columns,
                (before, Streams::of_cache(&ahead)),
            );
            before = Before::Sums;
            let Some(first) = first else {
                continue;
            };
            let body = &mut outs[0][place.clone()];
            let (mut x, mut y) = (Vec::new(), Vec::new());
            for (term, turned) in terms.iter().filter(|term| term.is_whole).zip(turned.iter_mut()) {
                turn(turned, first, term);
                match term.factor {
                    None => kernels::add(backend, m, body, turned),
                    Some(factor) => {
                        x.push(factor.evaluations(prime).starting_at(start));
                        y.push([&*turned]);
                    }
                }
            }
            if !x.is_empty() {
                let streams = Streams::of_cache(&[]);
                kernels::inner_products(backend, m, [body], &x, &y, 0..columns, (Before::Sums, streams));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::divide::tests::ring;
    use crate::ring::{Basis, SeededPoly, Symmetry, uniform};

    /// Term by term, every polynomial whole.
    #[test]
    fn sums_are_those_of_whole_polynomials() {
        let ring = ring();
        let basis = Basis::qp(3, 1);
        let random = |basis, seed| uniform(&ring, basis, Domain::Eval, &[seed; 32]);
        let (first, second) = (random(Basis::q(3), 1), random(basis, 2));
        // Over more primes than the sum, masks of both kinds, factors of all kinds.
        let bodies: Vec<Poly> = (0..7).map(|i| random(Basis::qp(4, 2), 10 + i)).collect();
        let masks: Vec<Poly> = (0..7).map(|i| random(Basis::qp(4, 2), 30 + i)).collect();
        let compact = |symmetry: Symmetry| {
            let mut coefficients = vec![0; ring.n() >> symmetry.log_gap];
            (coefficients[0], coefficients[1]) = (7, 3);
            if let Some(last) = coefficients.last_mut().filter(|_| symmetry.mirrored) {
                *last = -3;
            }
            CompactPoly::from_signed(&ring, Basis::qp(4, 1), symmetry, &coefficients)
        };
        let symmetries = [(0, false), (0, true)].map(|(log_gap, mirrored)| Symmetry { log_gap, mirrored });
        let symmetries = symmetries.map(|symmetry| CompactPoly::served(&ring, symmetry));
        let factors: Vec<CompactPoly> = symmetries.into_iter().map(compact).collect();
        let factor = |i: usize| factors.get(i % 3);
        let element = |i: usize| [1, 5, 25, 127][i % 4];
        let terms: Vec<TurnedTerm> = (0..7)
            .map(|i| {
                let mask = match i % 2 {
                    0 => Mask::Resident(&masks[i]),
                    _ => Mask::Seeded(SeededPoly::new([30 + i as u8; 32])),
                };
                let body = &bodies[i];
                TurnedTerm::new(&ring, element(i), KeyDigit { body, mask }, factor(i), i % 3 != 1)
            })
            .collect();
        let mut expected: [Poly; 2] = std::array::from_fn(|_| Poly::zeros(&ring, basis, Domain::Eval));
        for i in 0..7 {
            let weighted = |x: &Poly| {
                let mut turned = x.automorphism(element(i));
                if let Some(factor) = factor(i) {
                    turned.mul_assign(&factor.expanded(x.basis()));
                }
                turned
            };
            let turned = weighted(&second);
            expected[0].mul_add_assign(&turned, &bodies[i].restricted(basis));
            expected[1].mul_add_assign(&turned, &masks[i].restricted(basis));
            if i % 3 != 1 {
                let whole = weighted(&first);
                expected[0].add_mul_constants(&whole, &[1; 4]);
            }
        }
        assert!(sum_of_turned([&first, &second], &terms) == expected);
    }
}
