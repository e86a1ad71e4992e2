//! Polynomials of ciphertexts by the plans of [`crate::ckks::polynomial`].
//!
//! Assumes an input in the interval of the basis ([-1, 1] for Chebyshev) and `plan.depth()` levels. Ensures a result
//! `plan.depth()` levels lower whose scale is the asked one to within a double's precision: every coefficient is an
//! integer constant that carries whatever scale its power lacks, so that no level is spent on matching scales and
//! powers may keep the scales their products happen to have.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Evaluator;
use crate::ckks::Ciphertext;
use crate::ckks::polynomial::{PolynomialPlan, PowerStep, Sum, power_depth};
use crate::error::{Error, Result};

impl Evaluator {
    /// p(ct), `plan.depth()` levels lower at the canonical scale of that level.
    ///
    /// # Errors
    /// [`Error::LevelTooLow`] without enough levels, [`Error::DegreeMismatch`] for an input that is not relinearised,
    /// a missing relinearisation key at the input's level.
    pub fn poly_eval(&self, ct: &Ciphertext, plan: &PolynomialPlan) -> Result<Ciphertext> {
        let level = self.level_after("poly_eval", ct, plan.depth())?;
        self.poly_eval_to_scale(ct, plan, self.params().scale(level))
    }

    /// p(ct) with the given scale instead of the canonical one.
    ///
    /// # Errors
    /// As [`Evaluator::poly_eval`].
    pub fn poly_eval_to_scale(&self, ct: &Ciphertext, plan: &PolynomialPlan, scale: f64) -> Result<Ciphertext> {
        let last = self.level_after("poly_eval", ct, plan.depth())?;
        let ladder: Vec<usize> = (last..=ct.level()).rev().collect();
        self.poly_eval_on_ladder(ct, plan, &ladder, scale)
    }

    /// p(ct) where depth d lies at level `ladder[d]`, so that a step may divide by several primes: this is how scales
    /// beyond the largest prime are had. `ladder[0]` is the input's level, the result is at `ladder[plan.depth()]` with
    /// the given scale.
    ///
    /// # Errors
    /// [`Error::InvalidPolynomial`] for a ladder that is too short, does not fall, or starts elsewhere; otherwise as
    /// [`Evaluator::poly_eval`].
    pub fn poly_eval_on_ladder(
        &self,
        ct: &Ciphertext,
        plan: &PolynomialPlan,
        ladder: &[usize],
        scale: f64,
    ) -> Result<Ciphertext> {
        ct.check_parts("poly_eval", 2)?;
        if ladder.len() <= plan.depth() || ladder[0] != ct.level() || !ladder.is_sorted_by(|a, b| a > b) {
            let reason = format!(
                "levels {ladder:?} for an input at level {} and depth {}: expected falling levels from the input's on",
                ct.level(),
                plan.depth()
            );
            return Err(Error::InvalidPolynomial { reason });
        }
        let powers = Powers::compute(self, ct, plan.powers(), ladder)?;
        powers.evaluate(plan.root(), scale)
    }

    /// The same polynomial of several ciphertexts, in parallel.
    ///
    /// # Errors
    /// As [`Evaluator::poly_eval`].
    pub fn poly_eval_many(&self, cts: &[Ciphertext], plan: &PolynomialPlan) -> Result<Vec<Ciphertext>> {
        cts.par_iter().map(|ct| self.poly_eval(ct, plan)).collect()
    }

    fn level_after(&self, what: &'static str, ct: &Ciphertext, depth: usize) -> Result<usize> {
        ct.level().checked_sub(depth).ok_or(Error::LevelTooLow {
            what,
            level: ct.level(),
            needed: depth,
        })
    }
}

/// The powers of one input, by index; index 1 is the input.
struct Powers<'a> {
    evaluator: &'a Evaluator,
    input: &'a Ciphertext,
    /// Level by depth.
    ladder: &'a [usize],
    computed: BTreeMap<usize, Ciphertext>,
}

impl<'a> Powers<'a> {
    /// Runs the steps, those of equal depth in parallel: each needs only powers of smaller depth.
    fn compute(
        evaluator: &'a Evaluator,
        input: &'a Ciphertext,
        steps: &[PowerStep],
        ladder: &'a [usize],
    ) -> Result<Self> {
        let mut powers = Self {
            evaluator,
            input,
            ladder,
            computed: BTreeMap::new(),
        };
        for group in steps.chunk_by(|a, b| power_depth(a.index) == power_depth(b.index)) {
            let computed: Result<Vec<_>> = group
                .par_iter()
                .map(|step| Ok((step.index, powers.step(step)?)))
                .collect();
            powers.computed.extend(computed?);
        }
        Ok(powers)
    }

    fn get(&self, index: usize) -> &Ciphertext {
        if index == 1 { self.input } else { &self.computed[&index] }
    }

    fn step(&self, step: &PowerStep) -> Result<Ciphertext> {
        let evaluator = self.evaluator;
        let depth = power_depth(step.index);
        let level = self.ladder[depth - 1];
        let mut product = evaluator.tensor(self.get(step.left), self.get(step.right), level)?;
        if let Some(difference) = step.difference {
            evaluator.double_in_place(&mut product);
            if difference == 0 {
                evaluator.add_scalar_in_place(&mut product, -1.0)?;
            } else {
                evaluator.accumulate_scaled(&mut product, self.get(difference), -1.0)?;
            }
        }
        evaluator.relinearize_rescale_to(&mut product, self.ladder[depth])?;
        Ok(product)
    }

    /// The sum's value at `scale`, at the level its depth says.
    fn evaluate(&self, sum: &Sum, scale: f64) -> Result<Ciphertext> {
        let evaluator = self.evaluator;
        let (level, result_level) = (self.ladder[sum.depth - 1], self.ladder[sum.depth]);
        let unscaled = scale * evaluator.divisor(level, result_level);
        let products: Result<Vec<_>> = sum
            .products
            .par_iter()
            .map(|product| {
                let giant = self.get(product.giant);
                Ok((self.evaluate(&product.quotient, unscaled / giant.scale())?, giant))
            })
            .collect();
        let mut products = products?.into_iter();
        let mut result = match products.next() {
            Some((quotient, giant)) => evaluator.tensor(&quotient, giant, level)?,
            None => Ciphertext::zero(evaluator.params(), 2, level, unscaled, self.input.slots()),
        };
        // The product's scale differs from this by rounding in the last place only.
        result.set_scale(unscaled);
        for (quotient, giant) in products {
            evaluator.accumulate_tensor(&mut result, &quotient, giant)?;
        }
        for (index, coefficient) in &sum.leaf.terms {
            evaluator.accumulate_scaled(&mut result, self.get(*index), *coefficient)?;
        }
        if sum.leaf.constant != 0.0 {
            evaluator.add_scalar_in_place(&mut result, sum.leaf.constant)?;
        }
        evaluator.relinearize_rescale_to(&mut result, result_level)?;
        result.set_scale(scale);
        Ok(result)
    }
}
