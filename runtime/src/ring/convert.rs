//! Base conversion: residues modulo a set of source primes to residues modulo target primes.
//!
//! With `B` the product of the sources, `x` the centred representative in `[-B/2, B/2)` and `y_i = [x * (B/b_i)^-1]_{b_i}`,
//! `x = sum_i y_i * (B/b_i) - v * B` with `v = round(sum_i y_i / b_i)`. The sum is accumulated without reductions and reduced
//! once per target.
//! Error:  v is computed in double precision with k sources to within k * 2^-51, so the result is exact unless x lies within
//!         that share of B from +-B/2, where it may come out as the representative on the other side (x -+ B): off by a
//!         multiple of B, with |result| <= B/2 * (1 + k * 2^-50).
//! Source: Halevi, Polyakov, Shoup, "An improved RNS variant of the BFV homomorphic encryption scheme", CT-RSA 2019, section 2.2.
//! Cost:   per coefficient, k products by constants, then (k + 1) multiply-adds and one reduction per target.

use super::Backend;
use super::modulus::{Modulus, ShoupFactor};

/// Constants for one pair of prime sets.
#[derive(Debug)]
pub struct BaseConverter {
    sources: Vec<Source>,
    targets: Vec<Target>,
}

#[derive(Debug)]
struct Source {
    modulus: Modulus,
    /// (B/b_i)^-1 mod b_i.
    punctured_inverse: ShoupFactor,
    /// 1 / b_i.
    reciprocal: f64,
}

#[derive(Debug)]
struct Target {
    modulus: Modulus,
    /// B/b_i mod t for each source, then -B mod t.
    weights: Vec<u64>,
}

impl BaseConverter {
    /// Tables for distinct primes; at least one source.
    pub fn new(sources: &[Modulus], targets: &[Modulus], backend: Backend) -> Self {
        assert!(
            !sources.is_empty() && sources.len() < 1 << 10,
            "a conversion has 1 to 1023 sources"
        );
        let _ = backend;
        let product_except = |skip: Option<usize>, m: &Modulus| {
            let others = sources.iter().enumerate().filter(|&(i, _)| Some(i) != skip);
            others.fold(1 % m.value(), |acc, (_, b)| m.mul(acc, m.reduce(b.value())))
        };
        let source = |(i, b): (usize, &Modulus)| Source {
            modulus: *b,
            punctured_inverse: b.shoup(b.inv(product_except(Some(i), b))),
            reciprocal: 1.0 / b.value() as f64,
        };
        let target = |t: &Modulus| {
            let mut weights: Vec<u64> = (0..sources.len()).map(|i| product_except(Some(i), t)).collect();
            weights.push(t.neg(product_except(None, t)));
            Target { modulus: *t, weights }
        };
        Self {
            sources: sources.iter().enumerate().map(source).collect(),
            targets: targets.iter().map(target).collect(),
        }
    }

    /// How many source primes there are.
    pub fn source_count(&self) -> usize {
        self.sources.len()
    }

    /// How many target primes there are.
    pub fn target_count(&self) -> usize {
        self.targets.len()
    }

    /// First half of the conversion: writes `y_0, ..., y_{k-1}, v` (k + 1 rows of n) from the k source limbs.
    ///
    /// Requires: `limbs[i]` in [0, b_i), coefficients.   Ensures: row i in [0, b_i), row k in [0, k].
    pub fn prepare(&self, limbs: &[&[u64]], rows: &mut [u64]) {
        assert_eq!(limbs.len(), self.sources.len());
        let n = limbs[0].len();
        assert_eq!(rows.len(), (limbs.len() + 1) * n);
        let (scaled, quotients) = rows.split_at_mut(limbs.len() * n);
        for (j, quotient) in quotients.iter_mut().enumerate() {
            let mut v = 0.5f64;
            for (i, source) in self.sources.iter().enumerate() {
                let y = source.modulus.mul_shoup(limbs[i][j], source.punctured_inverse);
                scaled[i * n + j] = y;
                v += y as f64 * source.reciprocal;
            }
            *quotient = v as u64;
        }
    }

    /// Second half: one target limb from the rows of [`Self::prepare`].
    ///
    /// Requires: rows as made by `prepare`, `out.len()` equal to one row.   Ensures: out in [0, t), coefficients.
    /// Why:      the sum of k + 1 <= 2^10 products below 2^100 is below 2^110.
    pub fn convert(&self, target: usize, rows: &[u64], out: &mut [u64]) {
        let Target { modulus, weights } = &self.targets[target];
        let n = out.len();
        assert_eq!(rows.len(), weights.len() * n);
        for (j, out) in out.iter_mut().enumerate() {
            let sum: u128 = weights
                .iter()
                .enumerate()
                .map(|(i, &w)| u128::from(rows[i * n + j]) * u128::from(w))
                .sum();
            *out = modulus.reduce_wide(sum);
        }
    }
}
