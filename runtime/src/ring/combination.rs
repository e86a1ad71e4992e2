//! [`Combination`]: products and multiples of ciphertexts summed in one pass over memory.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::kernels::{Before, Destination, Streams};
use super::modulus::ShoupFactor;
use super::poly::SERIAL_WORDS;
use super::rows::columns_of;
use super::{Basis, CompactLimb, Domain, Evaluations, Modulus, Poly, RingContext, kernels};

/// Words of a limb worked on at a time: the sums and a few operands stay in the first-level cache.
const COLUMNS: usize = 1024;

/// `sum of a * b over the products + sum of c * x over the multiples + constant`, where a ciphertext `a_0 + a_1 s` is given by its
/// parts, in evaluation form.
#[derive(Default)]
pub struct Combination<'a> {
    /// Ciphertexts to multiply with each other.
    pub products: Vec<[[&'a Poly; 2]; 2]>,
    /// Whether every product counts twice.
    pub doubled_products: bool,
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
        let destination = Destination::of_words(count * ring.limb_count(basis) * ring.n());
        let run = |(limb, mut outs): (usize, Vec<&mut [u64]>)| {
            let limb = Limb::new(self, ring, ring.prime_index(basis, limb));
            let mut sum = AlignedColumns([0; COLUMNS]);
            for start in (0..ring.n()).step_by(COLUMNS) {
                let columns = start..(start + COLUMNS).min(ring.n());
                for (part, out) in outs.iter_mut().enumerate() {
                    let sum = &mut sum.0[..columns.len()];
                    limb.write(part, columns.clone(), sum, (&mut out[columns.clone()], destination));
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
}

/// Sums of one part, in the first-level cache.
#[repr(align(64))]
struct AlignedColumns([u64; COLUMNS]);

/// What is read of one limb.
struct Limb<'a> {
    ring: &'a RingContext,
    m: &'a Modulus,
    /// What multiplies what in each part of the products.
    factors: [Factors<'a>; 3],
    /// All that is multiplied with each other, each once or twice.
    operands: Vec<&'a [u64]>,
    /// The multiples' first and second parts.
    rows: [Vec<&'a [u64]>; 2],
    weights: Vec<u64>,
    constant: u64,
    /// What the sum of all this is multiplied by.
    factor: ShoupFactor,
    /// Whether that is 1 and there are products only.
    is_plain: bool,
}

impl<'a> Limb<'a> {
    fn new(combination: &'a Combination, ring: &'a RingContext, prime: usize) -> Self {
        let m = ring.modulus(prime);
        let mut factors: [Factors<'_>; 3] = Default::default();
        let mut operands = Vec::new();
        for [a, b] in &combination.products {
            let [a, b] = [a, b].map(|x| x.map(|part| part.evaluations(prime)));
            for (part, i, j) in [(0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1)] {
                factors[part].0.push(a[i]);
                factors[part].1.push([b[j].words]);
            }
            operands.extend(a.iter().chain(&b).map(|limb| limb.words));
        }
        // twice the products and the rest is twice the products and half the rest
        let (factor, share) = match combination.doubled_products {
            true => (2, m.inv(2)),
            false => (1, 1),
        };
        let integer = |c: i128| m.mul(m.from_signed_wide(c), share);
        let multiples = &combination.multiples;
        Self {
            ring,
            m,
            factors,
            operands,
            rows: [0, 1].map(|part| {
                multiples
                    .iter()
                    .map(|(x, _)| x[part].evaluations(prime).words)
                    .collect()
            }),
            weights: multiples.iter().map(|(_, c)| integer(*c)).collect(),
            constant: integer(combination.constant),
            factor: m.shoup(factor),
            is_plain: factor == 1 && multiples.is_empty() && combination.constant == 0,
        }
    }

    /// One part's columns: summed in `sum`, then written to `out`.
    fn write(
        &self,
        part: usize,
        columns: Range<usize>,
        sum: &mut [u64],
        (out, destination): (&mut [u64], Destination),
    ) {
        let (backend, m) = (self.ring.backend(), self.m);
        let rows = self.rows.get(part).map_or(&[][..], Vec::as_slice);
        let (x, y) = &self.factors[part];
        if rows.is_empty() && x.is_empty() {
            sum.fill(0);
        }
        if !rows.is_empty() {
            kernels::weighted_sum(backend, m, sum, rows, &self.weights, columns.clone());
        }
        if !x.is_empty() {
            let x: Vec<CompactLimb> = x.iter().map(|x| x.starting_at(columns.start)).collect();
            let y: Vec<[&[u64]; 1]> = y.iter().map(|[y]| [&y[columns.clone()]]).collect();
            // the second part reads all operands
            let next = columns.end..(columns.end + columns.len()).min(self.ring.n());
            let ahead: Vec<&[u64]> = match part {
                1 => self.operands.iter().map(|words| &words[next.clone()]).collect(),
                _ => Vec::new(),
            };
            let streams = Streams::of_cache(&ahead);
            let (into, before) = match (self.is_plain, rows.is_empty()) {
                (true, _) => (&mut *out, Before::Nothing(destination)),
                (false, true) => (&mut *sum, Before::Nothing(Destination::Cache)),
                (false, false) => (&mut *sum, Before::Sums),
            };
            kernels::inner_products(backend, m, [into], &x, &y, 0..columns.len(), (before, streams));
        }
        if self.is_plain {
            return;
        }
        if part == 0 && self.constant != 0 {
            sum.iter_mut().for_each(|x| *x = m.add(*x, self.constant));
        }
        kernels::write_mul_shoup(backend, m, out, sum, self.factor, destination);
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
                let doubled_products = (n_products + n_multiples) % 2 == 1;
                let combination = Combination {
                    products: [[a, b], [c, a]][..n_products].to_vec(),
                    doubled_products,
                    multiples: [(b, large), (c, negative)][..n_multiples].to_vec(),
                    constant: -5,
                };
                let found = combination.evaluate(&ring, basis);
                let mut expected = vec![Poly::zeros(&ring, basis, Domain::Eval); if n_products == 0 { 2 } else { 3 }];
                expected[0].add_assign(&constant(-5));
                for [x, y] in &combination.products {
                    for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                        for _ in 0..=usize::from(doubled_products) {
                            expected[i + j].add_assign(&product(x[i], y[j]));
                        }
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
