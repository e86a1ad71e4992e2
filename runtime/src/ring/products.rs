//! Sums of products of evaluations: one factor may be compact, and several sums that share factors are made together.

use std::sync::Arc;

use rayon::prelude::*;

use super::kernels::{Before, Destination, Streams};
use super::poly::SERIAL_WORDS;
use super::rows::columns_of;
use super::{Basis, CompactLimb, Domain, Evaluations, Poly, kernels};

/// Words of a limb worked on at a time when several sums share factors: the shared factors stay in the second-level cache.
const COLUMNS: usize = 1024;

/// The sums `sum_d x[d] * y[d][o]`, one for each o.
pub struct SumOfProducts<'a, X, const OUTS: usize> {
    /// The sums so far: `None` for zero. The basis is that of the run.
    pub sums: Option<[Poly; OUTS]>,
    /// What to add: x, and y for each o.
    pub terms: Vec<(&'a X, [&'a Poly; OUTS])>,
}

/// The factors of one limb.
type Factors<'a, const OUTS: usize> = (Vec<CompactLimb<'a>>, Vec<[&'a [u64]; OUTS]>);

impl<X: Evaluations, const OUTS: usize> SumOfProducts<'_, X, OUTS> {
    /// Adds the terms of each group to its sums, over `basis` and in evaluation form, and takes them away. Factors may have more
    /// limbs than the sums (limbs are matched by prime). A group without terms keeps what it has.
    ///
    /// Prime by prime and a few words at a time, so that factors of several groups are read from memory once.
    pub fn run(basis: Basis, groups: &mut [Self]) {
        let mut groups: Vec<&mut Self> = groups.iter_mut().filter(|group| !group.terms.is_empty()).collect();
        let Some(ring) = groups.first().map(|group| Arc::clone(group.terms[0].1[0].ring())) else {
            return;
        };
        let before = |group: &&mut Self| match group.sums {
            None => Before::Nothing(Destination::Cache),
            Some(_) => Before::Sums,
        };
        let before: Vec<Before> = groups.iter().map(before).collect();
        let terms: Vec<_> = groups
            .iter_mut()
            .map(|group| std::mem::take(&mut group.terms))
            .collect();
        let sums = groups.iter_mut().flat_map(|group| {
            let new = || std::array::from_fn(|_| Poly::uninit(&ring, basis, Domain::Eval));
            group.sums.get_or_insert_with(new)
        });
        let limbs = columns_of(sums.map(|sum| {
            assert_eq!((sum.basis(), sum.domain()), (basis, Domain::Eval));
            sum.limbs_mut()
        }));
        let run = |(limb, mut outs): (usize, Vec<&mut [u64]>)| {
            let prime = ring.prime_index(basis, limb);
            let factors: Vec<Factors<OUTS>> = terms.iter().map(|terms| factors_of(terms, prime)).collect();
            let columns = if factors.len() == 1 {
                ring.n()
            } else {
                COLUMNS.min(ring.n())
            };
            for start in (0..ring.n()).step_by(columns) {
                for (((x, y), outs), &before) in factors.iter().zip(outs.as_chunks_mut::<OUTS>().0).zip(&before) {
                    let outs = outs.each_mut().map(|out| &mut **out);
                    let range = start..start + columns;
                    kernels::inner_products(
                        ring.backend(),
                        ring.modulus(prime),
                        outs,
                        x,
                        y,
                        range,
                        (before, Streams::OF_MEMORY),
                    );
                }
            }
        };
        if limbs.len() * ring.n() <= SERIAL_WORDS {
            limbs.into_iter().enumerate().for_each(run);
        } else {
            limbs.into_par_iter().enumerate().for_each(run);
        }
    }
}

fn factors_of<'a, X: Evaluations, const OUTS: usize>(
    terms: &[(&'a X, [&'a Poly; OUTS])],
    prime: usize,
) -> Factors<'a, OUTS> {
    let y = |polys: [&'a Poly; OUTS]| {
        polys.map(|poly| {
            assert_eq!(poly.domain(), Domain::Eval);
            poly.limb_of_prime(prime)
        })
    };
    terms.iter().map(|(x, polys)| (x.evaluations(prime), y(*polys))).unzip()
}

impl Poly {
    /// The sums `sum_d x[d] * y[d][o]` over `basis`, one for each o, evaluation form, one reduction per 14 terms. Operands may
    /// have more limbs than the result (limbs are matched by prime): this is how keys stored at a higher level are used.
    pub fn inner_products<X: Evaluations, const OUTS: usize>(
        basis: Basis,
        x: &[&X],
        y: &[[&Self; OUTS]],
    ) -> [Self; OUTS] {
        assert!(!x.is_empty() && x.len() == y.len());
        let mut group = [SumOfProducts {
            sums: None,
            terms: x.iter().copied().zip(y.iter().copied()).collect(),
        }];
        SumOfProducts::run(basis, &mut group);
        let [group] = group;
        group
            .sums
            .unwrap_or_else(|| unreachable!("a group with terms has sums"))
    }

    /// The sum `sum_d x[d] * y[d]`; see [`Self::inner_products`].
    pub fn inner_product<X: Evaluations>(basis: Basis, x: &[&X], y: &[&Self]) -> Self {
        let y: Vec<[&Self; 1]> = y.iter().map(|&poly| [poly]).collect();
        let [out] = Self::inner_products(basis, x, &y);
        out
    }
}
