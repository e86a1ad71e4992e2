//! [`Combination`]: products and multiples of ciphertexts summed in one pass over memory.

use std::sync::Arc;

use rayon::prelude::*;

use super::kernels::{Before, Destination, Streams};
use super::poly::SERIAL_WORDS;
use super::rows::columns_of;
use super::{Basis, CompactLimb, Domain, Evaluations, Poly, RingContext, kernels};

/// Words of a limb worked on at a time: the sums and a few operands stay in the first-level cache.
const COLUMNS: usize = 1024;

/// `sum of a * b over the products + sum of c * x over the multiples + constant`, where a ciphertext `a_0 + a_1 s` is given by its
/// parts, in evaluation form. A product twice in the list counts twice.
#[derive(Default)]
pub struct Combination<'a> {
    /// Ciphertexts to multiply with each other.
    pub products: Vec<[[&'a Poly; 2]; 2]>,
    /// Ciphertexts with the integers to multiply them with.
    pub multiples: Vec<([&'a Poly; 2], i128)>,
    /// What to add to every evaluation of the first part.
    pub constant: i128,
}

/// The factors of one part of the products, in one limb.
type Factors<'a> = (Vec<CompactLimb<'a>>, Vec<[&'a [u64]; 1]>);

impl Combination<'_> {
    /// The sum by powers of s, over `basis`: three parts if there are products, two otherwise. Operands may have more limbs.
    pub fn evaluate(&self, ring: &Arc<RingContext>, basis: Basis) -> Vec<Poly> {
        let count = if self.products.is_empty() { 2 } else { 3 };
        let mut parts: Vec<Poly> = (0..count).map(|_| Poly::uninit(ring, basis, Domain::Eval)).collect();
        let limbs = columns_of(parts.iter_mut().map(|part| part.limbs_mut()));
        let run = |(limb, mut outs): (usize, Vec<&mut [u64]>)| {
            let prime = ring.prime_index(basis, limb);
            let m = ring.modulus(prime);
            let factors = self.factors(prime);
            let weights: Vec<u64> = self.multiples.iter().map(|(_, c)| m.from_signed_wide(*c)).collect();
            let rows = [0, 1].map(|part| -> Vec<&[u64]> {
                let parts = self.multiples.iter().map(|(x, _)| x[part]);
                parts.map(|part| part.evaluations(prime).words).collect()
            });
            let constant = m.from_signed_wide(self.constant);
            for start in (0..ring.n()).step_by(COLUMNS) {
                let columns = start..(start + COLUMNS).min(ring.n());
                for (part, out) in outs.iter_mut().enumerate() {
                    let rows = rows.get(part).map_or(&[][..], Vec::as_slice);
                    let (x, y) = &factors[part];
                    if rows.is_empty() && x.is_empty() {
                        out[columns.clone()].fill(0);
                    }
                    if !rows.is_empty() {
                        kernels::weighted_sum(ring.backend(), m, out, rows, &weights, columns.clone());
                    }
                    if !x.is_empty() {
                        let before = match rows.is_empty() {
                            true => Before::Nothing(Destination::Cache),
                            false => Before::Sums,
                        };
                        kernels::inner_products(
                            ring.backend(),
                            m,
                            [&mut **out],
                            x,
                            y,
                            columns.clone(),
                            (before, Streams::OF_MEMORY),
                        );
                    }
                    if part == 0 && constant != 0 {
                        out[columns.clone()].iter_mut().for_each(|x| *x = m.add(*x, constant));
                    }
                }
            }
        };
        if limbs.len() * ring.n() <= SERIAL_WORDS {
            limbs.into_iter().enumerate().for_each(run);
        } else {
            limbs.into_par_iter().enumerate().for_each(run);
        }
        parts
    }

    /// What multiplies what in each part of the products.
    fn factors(&self, prime: usize) -> [Factors<'_>; 3] {
        let mut factors: [Factors<'_>; 3] = Default::default();
        for [a, b] in &self.products {
            for (part, i, j) in [(0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1)] {
                factors[part].0.push(a[i].evaluations(prime));
                factors[part].1.push([b[j].evaluations(prime).words]);
            }
        }
        factors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{find_ntt_primes, uniform};

    #[test]
    fn a_combination_is_the_sum_of_its_terms() {
        let primes = find_ntt_primes(8, 49, 4, &[]).unwrap();
        let ring = RingContext::new(7, &primes[..3], &primes[3..]).unwrap();
        let random = |seed| uniform(&ring, Basis::q(2), Domain::Eval, &[seed; 32]);
        let polys: Vec<Poly> = (0..6).map(random).collect();
        let [a, b, c] = [0, 2, 4].map(|i| [&polys[i], &polys[i + 1]]);
        let basis = Basis::q(1);
        let product = |x: &Poly, y: &Poly| Poly::inner_product(basis, &[x], &[y]);
        let scaled = |x: &Poly, c: i128| {
            let mut x = x.restricted(basis);
            x.mul_integer(c);
            x
        };
        let constant = |c: i128| {
            let mut ones = Poly::zeros(&ring, basis, Domain::Eval);
            ones.data_mut().fill(1);
            scaled(&ones, c)
        };
        let (large, negative) = (1i128 << 100, -77);
        for n_products in 0..3 {
            for n_multiples in 0..3 {
                let combination = Combination {
                    products: [[a, b], [c, a]][..n_products].to_vec(),
                    multiples: [(b, large), (c, negative)][..n_multiples].to_vec(),
                    constant: -5,
                };
                let found = combination.evaluate(&ring, basis);
                let mut expected = vec![Poly::zeros(&ring, basis, Domain::Eval); if n_products == 0 { 2 } else { 3 }];
                expected[0].add_assign(&constant(-5));
                for [x, y] in &combination.products {
                    for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                        expected[i + j].add_assign(&product(x[i], y[j]));
                    }
                }
                for (x, c) in &combination.multiples {
                    (0..2).for_each(|part| expected[part].add_assign(&scaled(x[part], *c)));
                }
                assert!(found == expected, "{n_products} products, {n_multiples} multiples");
            }
        }
    }
}
