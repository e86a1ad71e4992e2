//! Base conversion: residues modulo a set of source primes to residues modulo target primes.
//!
//! With `B` the product of the sources, `x` the centred representative in `[-B/2, B/2)` and `y_i = [x * (B/b_i)^-1]_{b_i}`,
//! `x = sum_i y_i * (B/b_i) - v * B` with `v = round(sum_i y_i / b_i)`. The sum is accumulated without reductions and reduced
//! once per target.
//! Error:  v is computed in double precision with k sources to within k * 2^-51, so the result is exact unless x lies within
//!         that share of B from +-B/2, where it may come out as the representative on the other side (x -+ B): off by a
//!         multiple of B, with |result| <= B/2 * (1 + k * 2^-50).
//! Source: Halevi, Polyakov, Shoup, "An improved RNS variant of the BFV homomorphic encryption scheme", CT-RSA 2019, section 2.2.
//! Cost:   per coefficient, k products by constants, then (k + 1) multiply-adds and one reduction per target. Tiles of columns
//!         keep the scaled sources in the first-level cache: each source word is read once, each target word written once.

use rayon::prelude::*;

use super::kernels::{self, ConversionSource};
use super::modulus::{Modulus, ShoupFactor};
use super::{AlignedBuffer, Backend};

/// Columns whose scaled sources stay in the first-level cache while all targets are computed from them.
const TILE: usize = 512;
/// Columns of one parallel task.
const TASK: usize = 4096;

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

    /// Writes the limbs of all targets from those of all sources, both in coefficient form, parallel over columns.
    ///
    /// Requires: `sources[i]` in [0, b_i).   Ensures: `targets[j]` in [0, t_j), the centred representative (see the module).
    /// Why:      y_i < 2^50 and v <= k: the sum of k + 1 products below 2^100 fits the kernels' accumulators.
    pub fn convert(&self, sources: &[&[u64]], targets: Vec<&mut [u64]>) {
        assert_eq!((sources.len(), targets.len()), (self.sources.len(), self.targets.len()));
        let n = sources[0].len();
        assert!(sources.iter().all(|limb| limb.len() == n) && targets.iter().all(|limb| limb.len() == n));
        let width = TASK.min(n);
        let mut tasks: Vec<Vec<&mut [u64]>> = (0..n / width).map(|_| Vec::with_capacity(targets.len())).collect();
        for limb in targets {
            for (task, columns) in tasks.iter_mut().zip(limb.chunks_exact_mut(width)) {
                task.push(columns);
            }
        }
        let run = |(i, columns)| self.convert_columns(sources, i * width, width, columns);
        if tasks.len() == 1 {
            tasks.into_iter().enumerate().for_each(run);
        } else {
            tasks.into_par_iter().enumerate().for_each(run);
        }
    }

    fn convert_columns(&self, sources: &[&[u64]], first: usize, width: usize, mut targets: Vec<&mut [u64]>) {
        let tile = TILE.min(width);
        let mut scaled = AlignedBuffer::zeroed((sources.len() + 1) * tile);
        for start in (0..width).step_by(tile) {
            let limbs: Vec<&[u64]> = sources.iter().map(|limb| &limb[first + start..][..tile]).collect();
            kernels::scale_and_round(self.backend, &self.sources, &limbs, &mut scaled);
            for (target, out) in self.targets.iter().zip(&mut targets) {
                let out = &mut out[start..][..tile];
                kernels::weighted_sum(self.backend, &target.modulus, out, &scaled, &target.weights);
            }
        }
    }
}
