//! [`Quotients`]: the second half of a division, from the limbs that are divided away to those that are kept.
//!
//! A kept limb is converted, transformed and subtracted from what is divided, scaled, and permuted on the way to memory, some words
//! at a time: what is divided may be made just before.

use std::ops::Range;
use std::sync::Arc;

use super::kernels::{Destination, Difference};
use super::modulus::ShoupFactor;
use super::rows::{Rows, SourceLimb, Sources};
use super::{AutomorphismTable, BaseConverter, Basis, Domain, Poly, RingContext, kernels};

/// Limbs of a quotient worked on together: two of 2^16 words are what the second-level cache holds.
pub(super) const LIMBS_PER_GROUP: usize = 2;

/// What is divided, but for its limbs.
#[derive(Clone, Copy)]
pub(super) struct Division<'a, const COUNT: usize> {
    /// The primes of each dividend.
    pub(super) basis: Basis,
    /// How many ciphertext primes the quotients have.
    pub(super) kept: usize,
    /// P times this counts to each dividend, P the product of its special primes; over the primes that are kept at least.
    pub(super) addends: [Option<&'a Poly>; COUNT],
    /// The automorphism of the quotients.
    pub(super) galois_element: Option<u64>,
}

/// Quotients of several polynomials over the same basis.
pub(super) struct Quotients<'a, const COUNT: usize> {
    ring: &'a RingContext,
    division: Division<'a, COUNT>,
    converter: Arc<BaseConverter>,
    sources: Sources<'a>,
    automorphism: Option<Arc<AutomorphismTable>>,
    destination: Destination,
}

impl<'a, const COUNT: usize> Quotients<'a, COUNT> {
    /// From the limbs that are divided away, of each dividend all from `kept` on.
    pub(super) fn new(ring: &'a RingContext, division: Division<'a, COUNT>, divided: [Vec<&[u64]>; COUNT]) -> Self {
        let Division {
            basis,
            kept,
            addends,
            galois_element,
        } = division;
        for addend in addends.into_iter().flatten() {
            assert!(basis.is_raised() && addend.domain() == Domain::Eval);
        }
        assert!(kept > 0, "the last ciphertext prime cannot be divided away");
        assert!(kept <= basis.q_limbs && kept < ring.limb_count(basis));
        let primes = ring.prime_indices(basis);
        let (targets, sources) = primes.split_at(kept);
        let converter = ring.converter(sources, targets);
        let conversions = divided.into_iter().zip(addends).map(|(limbs, addend)| {
            let source = |(i, (&prime, values))| {
                // the special primes divide P
                let addend = addend.filter(|_| kept + i < basis.q_limbs);
                let special = |prime| ring.modulus(prime).shoup(ring.special_modulus(basis.p_limbs, prime));
                SourceLimb {
                    prime,
                    values,
                    plus: addend.map(|addend| (addend.limb_of_prime(prime), special(prime))),
                    factor: None,
                }
            };
            assert_eq!(limbs.len(), sources.len());
            let limbs = sources.iter().zip(limbs).enumerate().map(source).collect();
            (Arc::clone(&converter), limbs)
        });
        Self {
            ring,
            division,
            sources: Sources::new(ring, conversions.collect()),
            converter,
            automorphism: galois_element.map(|element| ring.automorphism(element)),
            destination: Destination::of_words(COUNT * kept * ring.n()),
        }
    }

    /// Some limbs of quotient i, and the rows to write, as the first pass of the remainder's transform leaves them.
    pub(super) fn start<'b>(&self, i: usize, rows: impl Iterator<Item = (usize, &'b mut [u64])>) {
        let mut rows: Vec<_> = rows.map(|(limb, row)| (limb, limb, row)).collect();
        self.sources.of(i).start(&mut rows);
    }

    /// What of a limb of dividend i is in memory only and worth fetching before it is finished.
    pub(super) fn limb_to_fetch(&self, i: usize, limb: usize) -> Option<&'a [u64]> {
        self.division.addends[i].map(|addend| addend.limb_of_prime(limb))
    }

    /// Whether limbs are started where they are to be in the end.
    pub(super) fn are_in_place(&self) -> bool {
        self.automorphism.is_none() && self.destination == Destination::Cache
    }

    /// Some columns of a limb of quotient i, `x` those of the dividend. `row` has the transform of the remainder, lazy if the
    /// prime's table says so; the quotient goes to `out`, or its place if there is none.
    pub(super) fn finish(
        &self,
        (i, limb): (usize, usize),
        columns: Range<usize>,
        x: &[u64],
        row: &mut [u64],
        out: Option<&mut [u64]>,
    ) {
        let (ring, table, w) = (self.ring, self.ring.table(limb), self.converter.product_inverse(limb));
        let (backend, m) = (ring.backend(), table.modulus());
        let bound = table.lazy_bound().unwrap_or(m.value());
        let addend: Option<(&[u64], ShoupFactor)> = self.limb_to_fetch(i, limb).map(|addend| {
            let special = ring.special_modulus(self.division.basis.p_limbs, limb);
            (&addend[columns.clone()], m.shoup(m.mul(special, w.value)))
        });
        let divide = |out: &mut [u64], y: Option<&[u64]>, destination| {
            let difference = Difference { x, y, bound };
            kernels::sub_then_mul_shoup(backend, m, out, difference, w, addend, destination);
        };
        let row = &mut row[columns.clone()];
        match (out, &self.automorphism) {
            (None, _) => divide(row, None, Destination::Cache),
            (Some(out), None) => divide(&mut out[columns], Some(row), self.destination),
            (Some(out), Some(automorphism)) => {
                divide(row, None, Destination::Cache);
                let (place, moves) = automorphism.moves_of(columns);
                kernels::permute(backend, &mut out[place], row, moves, self.destination);
            }
        }
    }
}

/// Where a limb of a quotient is made.
pub(super) struct Place<'a> {
    /// What it is started in.
    pub(super) row: &'a mut [u64],
    /// Where it is to be in the end, unless that is the same.
    pub(super) out: Option<&'a mut [u64]>,
}

impl<'a> Place<'a> {
    /// Places of some limbs: in the rows if there are any (as many as limbs), on the way to `outs`; else there.
    pub(super) fn of_limbs(rows: &'a mut Option<Rows>, outs: Vec<&'a mut [u64]>) -> Vec<Self> {
        match rows {
            None => outs.into_iter().map(|row| Place { row, out: None }).collect(),
            Some(rows) => {
                let place = |(row, out)| Place { row, out: Some(out) };
                rows.iter_mut().zip(outs).map(place).collect()
            }
        }
    }
}
