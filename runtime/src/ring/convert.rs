//! Base conversion: residues modulo a set of source primes to residues modulo target primes.
//!
//! With `B` the product of the sources, `x` the centred representative in `[-B/2, B/2)` and `y_i = [x * (B/b_i)^-1]_{b_i}`,
//! `x = sum_i y_i * (B/b_i) - v * B` with `v = round(sum_i y_i / b_i)`. The sum is accumulated without reductions and reduced
//! once per target.
//! Error:  v is computed in double precision with k sources to within k * 2^-51, so the result is exact unless x lies within
//!         that share of B from +-B/2, where it may come out as the representative on the other side (x -+ B): off by a
//!         multiple of B, with |result| <= B/2 * (1 + k * 2^-50).
//! Source: Halevi, Polyakov, Shoup, "An improved RNS variant of the BFV homomorphic encryption scheme", CT-RSA 2019, section 2.2.
//!         With one source, `y_0 = x`, the centred representative is exact and no quotients are kept.
//! Cost:   per coefficient, k products by constants once ([`BaseConverter::scale`]), then (k + 1) multiply-adds and one reduction
//!         per target ([`BaseConverter::convert`]). `fused` runs it with the transforms around it.

use std::ops::Range;

use super::Backend;
use super::kernels::{self, ConversionSource};
use super::modulus::{Modulus, ShoupFactor};

/// How many limbs to convert, transform and finish together, for a conversion from `sources` primes: more limbs share the
/// reading of the sources, fewer stay in the second-level cache.
pub(super) fn limbs_per_group(sources: usize) -> usize {
    match sources {
        0..=1 => 1,
        2..=3 => 2,
        _ => 4,
    }
}

/// Turns rows of items into columns: `out[c]` has item c of every row.
pub(super) fn columns_of<T>(rows: impl Iterator<Item = impl Iterator<Item = T>>) -> Vec<Vec<T>> {
    let mut columns: Vec<Vec<T>> = Vec::new();
    for row in rows {
        for (c, item) in row.enumerate() {
            if columns.len() == c {
                columns.push(Vec::new());
            }
            columns[c].push(item);
        }
    }
    columns
}

/// Constants for one pair of prime sets.
#[derive(Debug)]
pub struct BaseConverter {
    backend: Backend,
    sources: Vec<ConversionSource>,
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    modulus: Modulus,
    /// B/b_i mod t for each source, then -B mod t.
    weights: Vec<u64>,
    /// B^-1 mod t; 0 when t is one of the sources.
    product_inverse: ShoupFactor,
}

impl BaseConverter {
    /// Tables for distinct primes; at least one source. A target among the sources is allowed.
    pub fn new(sources: &[Modulus], targets: &[Modulus], backend: Backend) -> Self {
        assert!(
            !sources.is_empty() && sources.len() < 1 << 10,
            "a conversion has 1 to 1023 sources"
        );
        let product_except = |skip: Option<usize>, m: &Modulus| {
            let others = sources.iter().enumerate().filter(|&(i, _)| Some(i) != skip);
            others.fold(1, |acc, (_, b)| m.mul(acc, m.reduce(b.value())))
        };
        let source = |(i, b): (usize, &Modulus)| ConversionSource {
            modulus: *b,
            punctured_inverse: b.shoup(b.inv(product_except(Some(i), b))),
            reciprocal: 1.0 / b.value() as f64,
        };
        let target = |t: &Modulus| {
            let product = product_except(None, t);
            let mut weights: Vec<u64> = (0..sources.len()).map(|i| product_except(Some(i), t)).collect();
            weights.push(t.neg(product));
            let product_inverse = if product == 0 {
                ShoupFactor::default()
            } else {
                t.shoup(t.inv(product))
            };
            Target {
                modulus: *t,
                weights,
                product_inverse,
            }
        };
        Self {
            backend,
            sources: sources.iter().enumerate().map(source).collect(),
            targets: targets.iter().map(target).collect(),
        }
    }

    /// The inverse of the product of all sources modulo a target; 0 when the target is one of the sources.
    pub fn product_inverse(&self, target: usize) -> ShoupFactor {
        self.targets[target].product_inverse
    }

    /// First half: scales source limbs (coefficients, any columns) in place to `y_0..y_{k-1}` and writes the quotients v.
    ///
    /// Requires: `limbs[i]` in [0, b_i).   Ensures: `limbs[i]` in [0, b_i), quotients in [0, k]; with one source, nothing changes.
    pub fn scale(&self, limbs: &mut [&mut [u64]], quotients: &mut [u64]) {
        assert_eq!(limbs.len(), self.sources.len());
        assert!(limbs.iter().all(|limb| limb.len() == quotients.len()));
        if limbs.len() > 1 {
            kernels::scale_and_round(self.backend, &self.sources, limbs, quotients);
        }
    }

    /// Second half: some columns of one target's limb, coefficients, from the rows `y_0..y_{k-1}, v` made by [`Self::scale`].
    /// Columns in whole runs of 32.
    ///
    /// Ensures: words in [0, t), the centred representative (see the module).
    /// Why:     y_i < 2^50 and v <= k: the sum of k + 1 products below 2^100 fits the kernels' accumulators.
    pub fn convert(&self, rows: &[&[u64]], target: usize, out: &mut [u64], columns: Range<usize>) {
        assert_eq!(rows.len(), self.sources.len() + 1);
        let Target { modulus, weights, .. } = &self.targets[target];
        match self.sources.as_slice() {
            [source] => {
                let (out, x) = (&mut out[columns.clone()], &rows[0][columns]);
                kernels::lift(self.backend, modulus, out, x, &source.modulus);
            }
            _ => kernels::weighted_sum(self.backend, modulus, out, rows, weights, columns),
        }
    }
}
