//! A key switch and its division in one: products with the key, prime by prime, divided while they are in cache.
//!
//! The primes that are divided away come first: their products are what the others are reduced by. Then, of each prime that is
//! kept, digits and remainders are transformed together, and each stretch of products is made, divided and permuted in the
//! first caches, so that only quotients go to memory.
//! Cost: that of [`RingContext::key_products`] and [`RingContext::divide_each`], less writing and reading the products of the
//!       primes that are kept, and a prime's factors are read once for both.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::digits::{Digits, Gadget};
use super::kernels::Destination;
use super::key::KeyProducts;
use super::quotient::{Division, Place, Quotients};
use super::rows::{Rows, Source, balanced_groups, columns_of, limbs_per_group};
use super::{Basis, Domain, KeyDigit, Poly, RingContext};

/// What becomes of the products of digits with a key.
#[derive(Clone, Copy)]
pub struct Descent<'a> {
    /// How many ciphertext primes are kept: the products are divided by all others and by the special primes.
    pub kept: usize,
    /// What counts P times to each, P the product of the special primes in use: evaluation form, over the ciphertext primes of the
    /// products at least.
    pub addends: [Option<&'a Poly>; 2],
    /// The automorphism that follows, if any.
    pub galois_element: Option<u64>,
}

impl RingContext {
    /// [`Self::divide_each`] of [`Self::key_products`].
    pub fn switch(self: &Arc<Self>, x: &Poly, gadget: Gadget, key: &[KeyDigit], descent: Descent) -> [Poly; 2] {
        let digits = Digits::new(x, gadget);
        let key = digits.served_by(key);
        let limbs = self.limb_count(digits.basis());
        let sources = x.limb_count() + key.len() + 2 * (limbs - descent.kept + 1);
        let switch = Switch {
            ring: self,
            basis: digits.basis(),
            key,
            sources: digits.sources(),
            digits: &digits,
            group: limbs_per_group(gadget.digit_limbs, sources * self.n()),
        };
        switch.run(descent)
    }
}

struct Switch<'a> {
    ring: &'a Arc<RingContext>,
    /// The primes of the products.
    basis: Basis,
    /// As many digits as there are.
    key: &'a [KeyDigit<'a>],
    digits: &'a Digits<'a>,
    /// Of each digit what it is raised from.
    sources: Vec<Source<'a>>,
    /// Limbs worked on together.
    group: usize,
}

impl Switch<'_> {
    fn run(&self, descent: Descent) -> [Poly; 2] {
        let (ring, kept) = (self.ring, descent.kept);
        let divided = self.divided_limbs(kept);
        let division = Division {
            basis: self.basis,
            kept,
            addends: descent.addends,
            galois_element: descent.galois_element,
        };
        let part = |i| divided.iter().skip(i).step_by(2).collect();
        let quotients = Quotients::new(ring, division, [part(0), part(1)]);
        drop(divided);
        let mut outs = [(); 2].map(|()| Poly::uninit(ring, Basis::q(kept - 1), Domain::Eval));
        let limbs = columns_of(outs.iter_mut().map(|out| out.limbs_mut()));
        let tasks: Vec<(usize, Vec<&mut [u64]>)> = limbs.into_iter().enumerate().collect();
        balanced_groups(tasks, self.group).into_par_iter().for_each(|group| {
            let mut rows = (!quotients.are_in_place()).then(|| Rows::take(ring, 2 * group.len()));
            let (limbs, outs): (Vec<usize>, Vec<Vec<&mut [u64]>>) = group.into_iter().unzip();
            let places = Place::of_limbs(&mut rows, outs.into_iter().flatten().collect());
            let (rows, mut outs): (Vec<_>, Vec<_>) = places.into_iter().map(|place| (place.row, place.out)).unzip();
            let mut remainders = pairs_of(rows.into_iter());
            for i in 0..2 {
                let rows = remainders.iter_mut().map(|pair| &mut *pair[i]);
                quotients.start(i, limbs.iter().copied().zip(rows));
            }
            let addends = |limb| (0..2).filter_map(|i| quotients.limb_to_fetch(i, limb)).collect();
            self.products(
                &limbs,
                remainders,
                addends,
                |position, remainders, products, columns| {
                    let places = remainders.iter_mut().zip(&mut outs[2 * position..]);
                    for (i, ((row, out), x)) in places.zip(products).enumerate() {
                        quotients.finish((i, limbs[position]), columns.clone(), x, row, out.as_deref_mut());
                    }
                },
            );
        });
        outs
    }

    /// Products of the limbs from `kept` on, both parts of a limb side by side.
    fn divided_limbs(&self, kept: usize) -> Rows<'_> {
        let mut divided = Rows::take(self.ring, 2 * (self.ring.limb_count(self.basis) - kept));
        let tasks: Vec<(usize, Vec<&mut [u64]>)> = (kept..).zip(pairs_of(divided.iter_mut())).collect();
        balanced_groups(tasks, self.group).into_par_iter().for_each(|group| {
            let (limbs, mut outs): (Vec<usize>, Vec<Vec<&mut [u64]>>) = group.into_iter().unzip();
            let no_companions = limbs.iter().map(|_| Vec::new()).collect();
            let no_limbs = |_| Vec::new();
            self.products(&limbs, no_companions, no_limbs, |position, _, products, columns| {
                for (out, products) in outs[position].iter_mut().zip(products) {
                    out[columns.clone()].copy_from_slice(products);
                }
            });
        });
        divided
    }

    /// Products of some limbs: `consume` gets them some columns at a time, with the position of the limb and with the limb's
    /// companions, whose transforms are started and by then finished. Of each limb, `with` is read besides.
    fn products<'b>(
        &self,
        limbs: &[usize],
        companions: Vec<Vec<&mut [u64]>>,
        with: impl Fn(usize) -> Vec<&'b [u64]>,
        mut consume: impl FnMut(usize, &mut [&mut [u64]], [&[u64]; 2], Range<usize>),
    ) {
        let (ring, digits, count) = (self.ring, self.digits, self.key.len());
        let mut raised = Rows::take(ring, count * limbs.len());
        let mut rows = raised.iter_mut();
        let mut raised: Vec<Vec<&mut [u64]>> = (0..count).map(|_| rows.by_ref().take(limbs.len()).collect()).collect();
        digits.start(&self.sources, limbs, &mut raised);
        let mut own_row = digits.own_row();
        let width = KeyProducts::least_columns(ring, self.key);
        let mut key_products = KeyProducts::new(ring, count, Destination::Cache);
        let mut products = Rows::of_length(ring, 2, width.max(ring.table(0).leaf()));
        for (position, (&limb, mut companions)) in limbs.iter().zip(companions).enumerate() {
            let prime = ring.prime_index(self.basis, limb);
            let table = ring.table(prime);
            let mut soon: Vec<&[u64]> = self.key.iter().flat_map(|digit| digit.limbs_to_fetch(prime)).collect();
            soon.extend(with(limb));
            let own = digits.own(limb, own_row.as_mut().and_then(|rows| rows.iter_mut().next()));
            let mut transformed = digits.started((limb, position), &mut raised);
            let others = transformed.len();
            transformed.extend(companions.iter_mut().map(|limb| &mut **limb));
            let lazily = table.lazy_bound().is_some();
            table.finish_forward(&mut transformed, width, lazily, &soon, |transformed, columns| {
                let (others, companions) = transformed.split_at_mut(others);
                let mut products = products.iter_mut().map(|row| &mut row[..columns.len()]);
                let Some((body, mask)) = products.next().zip(products.next()) else {
                    return;
                };
                let outs = [&mut *body, &mut *mask];
                let values = digits.all(limb, own, others);
                key_products.write_part(prime, &values, self.key, columns.clone(), outs, &[]);
                consume(position, companions, [body, mask], columns);
            });
        }
    }
}

/// Rows two by two.
fn pairs_of<'a>(mut rows: impl ExactSizeIterator<Item = &'a mut [u64]>) -> Vec<Vec<&'a mut [u64]>> {
    (0..rows.len() / 2).map(|_| rows.by_ref().take(2).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Backend, Dividend, Mask, SeededPoly, find_ntt_primes, uniform};

    /// At all levels, with special primes left out and with ciphertext primes among them, by both kernel families.
    #[test]
    fn is_a_division_of_key_products() {
        let q = find_ntt_primes(11, 45, 7, &[]).unwrap();
        let p = find_ntt_primes(11, 50, 3, &[]).unwrap();
        for backend in [Backend::Portable, Backend::detect()] {
            let ring = RingContext::with_backend(10, &q, &p, backend).unwrap();
            for (level, digit_limbs, p_limbs) in [(6, 3, 3), (5, 3, 2), (4, 1, 1), (0, 1, 1), (3, 2, 4)] {
                let digit = |d: u8, basis| [d, d + 50].map(|seed| uniform(&ring, basis, Domain::Eval, &[seed; 32]));
                let polys: Vec<[Poly; 2]> = (0..7).map(|d| digit(d, Basis::qp(level, p_limbs.max(3)))).collect();
                let key: Vec<KeyDigit> = (0..7)
                    .map(|d| KeyDigit {
                        body: &polys[d][0],
                        mask: match d {
                            1 => Mask::Seeded(SeededPoly::new([51; 32])),
                            _ => Mask::Resident(&polys[d][1]),
                        },
                    })
                    .collect();
                let [x, y, z] = [100, 101, 102].map(|seed| uniform(&ring, Basis::q(level), Domain::Eval, &[seed; 32]));
                let gadget = Gadget {
                    digit_limbs,
                    p_limbs,
                    key_p_limbs: p_limbs.max(3),
                };
                let [body, mask] = ring.key_products(&x, gadget, &key);
                for kept in 1..=level + 1 {
                    for (addends, galois_element) in [
                        ([Some(&y), None], Some(5)),
                        ([Some(&y), Some(&z)], None),
                        ([None; 2], None),
                    ] {
                        let dividends =
                            [(&body, addends[0]), (&mask, addends[1])].map(|(x, addend)| Dividend { x, addend });
                        let descent = Descent {
                            kept,
                            addends,
                            galois_element,
                        };
                        let expected = ring.divide_each(dividends, kept, galois_element);
                        assert!(
                            ring.switch(&x, gadget, &key, descent) == expected,
                            "{backend:?}, {gadget:?}, level {level} to {kept} limbs, by {galois_element:?}"
                        );
                    }
                }
            }
        }
    }
}
