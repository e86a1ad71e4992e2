//! Reduction modulo q_0 of every slot: a cosine, double angles, an arcsine.
//!
//! Assumes slots (m / q_0 + I) / W with |I| <= K, |m / q_0| <= 1 / ratio, W = [`EvalMod::width`], at the first level of the
//! ladder. Ensures slots 2 pi m / q_0 at the last level, with the asked scale.
//! Sources: see `sine`.

use std::f64::consts::TAU;

use rayon::prelude::*;

use super::sine::{arcsine, cosine};
use crate::ckks::Ciphertext;
use crate::ckks::eval::Evaluator;
use crate::ckks::polynomial::PolynomialPlan;
use crate::error::{Error, Result};

/// A planned reduction.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalMod {
    width: f64,
    doublings: usize,
    cosine: PolynomialPlan,
    arcsine: Option<PolynomialPlan>,
}

impl EvalMod {
    /// For |I| <= `reach` and messages up to 1 / `ratio` of q_0. The cosine is as close as `tolerance`; `arcsine_degree` 1
    /// means none.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a ratio of 4 or less, where the sine cannot be undone, and an even degree.
    pub fn new(reach: usize, ratio: f64, doublings: usize, arcsine_degree: usize, tolerance: f64) -> Result<Self> {
        if ratio <= 4.0 {
            let reason = format!("{ratio}: q_0 must exceed the scale by more than a factor of 4");
            return Err(Error::InvalidParameter { name: "ratio", reason });
        }
        if arcsine_degree.is_multiple_of(2) {
            let reason = format!("{arcsine_degree}: the arcsine is odd");
            return Err(Error::InvalidParameter {
                name: "arcsine_degree",
                reason,
            });
        }
        let width = reach as f64 + 0.25 + 1.0 / ratio;
        let argument = TAU * width / (doublings as f64).exp2();
        let arcsine = (arcsine_degree > 1)
            .then(|| arcsine(arcsine_degree, TAU / ratio))
            .transpose()?;
        Ok(Self {
            width,
            doublings,
            cosine: PolynomialPlan::new(cosine(argument, tolerance)?),
            arcsine: arcsine.map(PolynomialPlan::new),
        })
    }

    /// What the slots must be divided by.
    #[must_use]
    pub fn width(&self) -> f64 {
        self.width
    }

    /// Double-angle steps.
    #[must_use]
    pub fn doublings(&self) -> usize {
        self.doublings
    }

    /// The polynomial before the double angles.
    #[must_use]
    pub fn cosine(&self) -> &PolynomialPlan {
        &self.cosine
    }

    /// The polynomial after them.
    #[must_use]
    pub fn arcsine(&self) -> Option<&PolynomialPlan> {
        self.arcsine.as_ref()
    }

    /// Steps of the ladder.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.cosine.depth() + self.doublings + self.arcsine.as_ref().map_or(0, PolynomialPlan::depth)
    }

    /// Key switches.
    #[must_use]
    pub fn relinearizations(&self) -> usize {
        let arcsine = self.arcsine.as_ref().map_or(0, PolynomialPlan::relinearizations);
        self.cosine.relinearizations() + self.doublings + arcsine
    }

    /// The depth that each key switch starts at.
    pub(super) fn relinearization_depths(&self) -> Vec<usize> {
        let mut depths = polynomial_relinearizations(&self.cosine, 0);
        let sine_at = self.cosine.depth() + self.doublings;
        depths.extend(self.cosine.depth()..sine_at);
        if let Some(arcsine) = &self.arcsine {
            depths.extend(polynomial_relinearizations(arcsine, sine_at));
        }
        depths
    }

    /// Runs on ciphertexts at level `ladder[0]`, side by side; the results are at `ladder[depth]`, at `scale`.
    ///
    /// # Errors
    /// As [`Evaluator::poly_eval_on_ladder`].
    pub fn evaluate(
        &self,
        evaluator: &Evaluator,
        inputs: Vec<Ciphertext>,
        ladder: &[usize],
        scale: f64,
    ) -> Result<Vec<Ciphertext>> {
        self.evaluate_timed(evaluator, inputs, ladder, scale, &mut |_, _| {})
    }

    /// As [`EvalMod::evaluate`]; tells when a part ends, with the depths that its key switches began at.
    pub(super) fn evaluate_timed(
        &self,
        evaluator: &Evaluator,
        inputs: Vec<Ciphertext>,
        ladder: &[usize],
        scale: f64,
        ended: &mut dyn FnMut(&'static str, Vec<usize>),
    ) -> Result<Vec<Ciphertext>> {
        let depth = self.cosine.depth();
        if ladder.len() != self.depth() + 1 {
            let reason = format!("{} levels for a depth of {}", ladder.len(), self.depth());
            return Err(Error::InvalidPolynomial { reason });
        }
        // The scale after the last double angle: the asked one, or whatever the arcsine gets to see.
        let sine_at = depth + self.doublings;
        let sine_scale = match self.arcsine {
            None => scale,
            Some(_) => evaluator.params().scale(ladder[sine_at]),
        };
        let mut first_scale = sine_scale;
        for step in (depth..sine_at).rev() {
            first_scale = (first_scale * evaluator.divisor(ladder[step], ladder[step + 1])).sqrt();
        }
        let mut values = each(inputs, |mut y| {
            evaluator.add_scalar_in_place(&mut y, -0.25 / self.width)?;
            evaluator.poly_eval_on_ladder(&y, &self.cosine, &ladder[..=depth], first_scale)
        })?;
        ended("eval_mod, cosine", polynomial_relinearizations(&self.cosine, 0));
        values = each(values, |mut c| {
            for level in &ladder[depth + 1..=sine_at] {
                c = evaluator.double_angle(&c)?;
                evaluator.relinearize_rescale_to(&mut c, *level)?;
            }
            c.set_scale(sine_scale);
            Ok(c)
        })?;
        ended("eval_mod, double angles", (depth..sine_at).collect());
        if let Some(plan) = &self.arcsine {
            values = each(values, |c| {
                evaluator.poly_eval_on_ladder(&c, plan, &ladder[sine_at..], scale)
            })?;
            ended("eval_mod, arcsine", polynomial_relinearizations(plan, sine_at));
        }
        Ok(values)
    }
}

fn each(
    inputs: Vec<Ciphertext>,
    step: impl Fn(Ciphertext) -> Result<Ciphertext> + Sync + Send,
) -> Result<Vec<Ciphertext>> {
    inputs.into_par_iter().map(step).collect()
}

/// The depth that each key switch of a polynomial starts at, whose input is at depth `start`.
fn polynomial_relinearizations(plan: &PolynomialPlan, start: usize) -> Vec<usize> {
    let depths = plan.relinearization_depths().into_iter();
    depths.map(|depth| start + depth).collect()
}
