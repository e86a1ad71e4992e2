//! Reduction modulo q_0 of every slot: a cosine, double angles, an arcsine.
//!
//! Assumes slots (m / q_0 + I) / W with |I| <= K, |m / q_0| <= 1 / ratio, W = [`EvalMod::width`], at the first level of the
//! ladder. Ensures slots 2 pi m / q_0 at the last level, with the asked scale. A step of the ladder may drop several
//! primes: the slots' noise is multiplied by up to 2 pi W on its way, so the first steps need scales beyond one prime.
//! Sources: see `sine`.

use std::f64::consts::TAU;

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

    /// Runs on a ciphertext at level `ladder[0]`; the result is at `ladder[depth]`, at `scale`.
    ///
    /// # Errors
    /// As [`Evaluator::poly_eval_on_ladder`].
    pub fn evaluate(&self, evaluator: &Evaluator, y: &Ciphertext, ladder: &[usize], scale: f64) -> Result<Ciphertext> {
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
        let shifted = evaluator.add_scalar(y, -0.25 / self.width)?;
        let mut c = evaluator.poly_eval_on_ladder(&shifted, &self.cosine, &ladder[..=depth], first_scale)?;
        for level in &ladder[depth + 1..=sine_at] {
            c = evaluator.square(&c)?;
            c = evaluator.mul_integer(&c, 2);
            evaluator.add_scalar_in_place(&mut c, -1.0)?;
            evaluator.relinearize_rescale_to(&mut c, *level)?;
        }
        c.set_scale(sine_scale);
        match &self.arcsine {
            None => Ok(c),
            Some(plan) => evaluator.poly_eval_on_ladder(&c, plan, &ladder[sine_at..], scale),
        }
    }
}
