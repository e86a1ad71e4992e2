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
//! Cost:   per coefficient, k products and sums in double precision once ([`BaseConverter::round`]), then (k + 1) multiply-adds
//!         and one reduction per target ([`BaseConverter::start`]); the products by constants are part of the inverse transforms.

use std::ops::Range;

use super::kernels::{self, ConversionSource};
use super::modulus::{Modulus, ShoupFactor};
use super::{Ahead, Backend, NttTable};

/// Constants for one pair of prime sets.
#[derive(Debug)]
pub struct BaseConverter {
    backend: Backend,
    sources: Vec<ConversionSource>,
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Target {
    /// B/b_i mod t for each source, then -B mod t.
    weights: Vec<ShoupFactor>,
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
            let punctured = (0..sources.len()).map(|i| product_except(Some(i), t));
            let weights = punctured
                .chain([t.neg(product)])
                .map(|weight| t.shoup(weight))
                .collect();
            let product_inverse = if product == 0 {
                ShoupFactor::default()
            } else {
                t.shoup(t.inv(product))
            };
            Target {
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

    /// What coefficients of source i are multiplied by on their way to `y_i`; 1 with a single source.
    pub fn scaling(&self, i: usize) -> ShoupFactor {
        self.sources[i].punctured_inverse
    }

    /// First half: the quotients v from the same columns of `y_0..y_{k-1}`.
    ///
    /// Requires: `limbs[i]` in [0, b_i).   Ensures: quotients in [0, k].
    pub fn round(&self, limbs: &[&[u64]], quotients: &mut [u64]) {
        assert!(limbs.len() == self.sources.len() && limbs.iter().all(|limb| limb.len() == quotients.len()));
        kernels::round_quotients(self.backend, &self.sources, limbs, quotients);
    }

    /// Second half: some columns of one target's limb, `table` its transform, after the first pass of that transform. The rows
    /// are `y_0..y_{k-1}, v`, interleaved as [`NttTable::inverse_interleaved`] does it, or `y_0` alone.
    ///
    /// Ensures: the transform of the centred representative (see the module), as far as its first pass.
    /// Why:     y_i < 2^50 and v <= k: the sum of k + 1 products below 2^100 fits the kernels' accumulators.
    pub(super) fn start(
        &self,
        table: &NttTable,
        rows: &[&[u64]],
        target: usize,
        out: &mut [u64],
        columns: Range<usize>,
        ahead: &Ahead,
    ) {
        match (self.sources.as_slice(), rows) {
            ([source], [row]) => table.start_lifted(row, &source.modulus, out, columns),
            _ => table.start_sums(rows, &self.targets[target].weights, out, columns, ahead),
        }
    }
}
