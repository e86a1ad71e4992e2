//! Polynomials of ciphertexts by the plans of [`crate::ckks::polynomial`].
//!
//! Assumes an input in the interval of the basis ([-1, 1] for Chebyshev) and `plan.depth()` levels. Ensures a result
//! `plan.depth()` levels lower whose scale is the asked one to within a double's precision: every coefficient is an
//! integer constant that carries whatever scale its power lacks, so that no level is spent on matching scales and
//! powers may keep the scales their products happen to have.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Evaluator;
use super::multiply::Products;
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
        let factors = [self.get(step.left), self.get(step.right)];
        let scale = factors[0].scale() * factors[1].scale();
        // T_m = 2 T_l T_r - T_d
        let (products, multiples, constant) = match step.difference {
            None => (Products::Once(&[factors]), vec![], 0.0),
            Some(0) => (Products::Doubled(&[factors]), vec![], -1.0),
            Some(difference) => (Products::Doubled(&[factors]), vec![(self.get(difference), -1.0)], 0.0),
        };
        let target = (level, scale, self.input.slots());
        let mut product = evaluator.combine(products, &multiples, constant, target)?;
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
        let products = products?;
        let products: Vec<[&Ciphertext; 2]> = products.iter().map(|(quotient, giant)| [quotient, *giant]).collect();
        let terms = sum.leaf.terms.iter();
        let multiples: Vec<(&Ciphertext, f64)> = terms.map(|(index, c)| (self.get(*index), *c)).collect();
        let target = (level, unscaled, self.input.slots());
        let mut result = evaluator.combine(Products::Once(&products), &multiples, sum.leaf.constant, target)?;
        evaluator.relinearize_rescale_to(&mut result, result_level)?;
        result.set_scale(scale);
        Ok(result)
    }
}
