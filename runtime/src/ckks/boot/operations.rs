//! What a bootstrap does, by kind and level: what prices of it are made from.
//!
//! Assumes a checked plan. Ensures that every key switch, linear transform and product is listed once; additions, products
//! with i and the choice of limbs are left out, which together take less than a hundredth of the time.

use super::cost::TransformCounts;
use super::plan::{BootstrapPlan, Content, PlannedTransform};
use crate::ckks::polynomial::{PolynomialPlan, Sum};
use crate::error::Result;

/// Operations of one kind. Levels are those they start at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A ciphertext at the bottom is raised: the two polynomials are written over all primes up to a level and some special ones, rotations
    /// are summed, each a product of two permuted limbs with a key of one digit, and both sums divided.
    Raise {
        /// That level.
        level: usize,
        /// Special primes.
        special: usize,
        /// Rotations, with that by no slots.
        rotations: usize,
        /// Generalised diagonals of a linear transform that the rotations are those of, or 0.
        diagonals: usize,
    },
    /// A whole key switch: raised digits, products, both divisions.
    KeySwitch {
        /// Level.
        level: usize,
    },
    /// A linear transform with its rescale, diagonals encoded beforehand.
    Transform {
        /// Level.
        level: usize,
        /// Generalised diagonals.
        diagonals: usize,
        /// Hoisted rotations of the input.
        babies: usize,
        /// Rotations of partial sums.
        giants: usize,
        /// Ciphertexts that it yields.
        outputs: usize,
    },
    /// A sum of products of ciphertexts and of products with scalars; one relinearisation if there are products of
    /// ciphertexts, and one rescale.
    Products {
        /// Level.
        level: usize,
        /// Products of ciphertexts.
        tensors: usize,
        /// Products with scalars.
        scalars: usize,
    },
}

/// Shapes of the linear transforms of a bootstrap, which take time to find: the same for all plans of equal
/// [`BootstrapPlan::transform_key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformShapes {
    slots_to_coeffs: Vec<TransformCounts>,
    /// Of the factor that is applied while raising.
    raised: Option<TransformCounts>,
    coeffs_to_slots: Vec<TransformCounts>,
    merge: Option<TransformCounts>,
}

impl BootstrapPlan {
    /// What decides the shapes of the linear transforms: slots, kind of message, number and sizes of factors, whether the first is
    /// applied while raising.
    #[must_use]
    pub fn transform_key(&self) -> (usize, bool, usize, Vec<usize>, bool) {
        let is_complex = self.request().content == Content::Complex;
        let stages = self.stages_to_slots().to_vec();
        let transforms = self.start().transforms;
        (self.request().slots, is_complex, self.input_level(), stages, transforms)
    }

    /// The shapes of the linear transforms.
    ///
    /// # Errors
    /// As [`BootstrapPlan::key_request`].
    pub fn transform_shapes(&self) -> Result<TransformShapes> {
        let counts = |planned: Vec<PlannedTransform>| -> Vec<TransformCounts> {
            planned
                .iter()
                .map(|planned| TransformCounts::of(&planned.shape))
                .collect()
        };
        Ok(TransformShapes {
            slots_to_coeffs: counts(self.slots_to_coeffs()?),
            raised: counts(self.raised_factor()?.into_iter().collect()).pop(),
            coeffs_to_slots: counts(self.coeffs_to_slots()?),
            merge: counts(self.take_halves_apart()?.into_iter().collect()).pop(),
        })
    }

    /// All operations of one bootstrap, in order; of a pair for complex content.
    #[must_use]
    pub fn operations(&self, shapes: &TransformShapes) -> Vec<Operation> {
        let (ladder, raised) = (self.ladder(), self.raised_level());
        let transform = |level: usize, counts: &TransformCounts, outputs: usize| Operation::Transform {
            level,
            diagonals: counts.diagonals,
            babies: counts.babies,
            giants: counts.giants,
            outputs,
        };
        let factors = |counts: &[TransformCounts], from: usize| -> Vec<Operation> {
            let each = counts.iter().enumerate();
            each.map(|(i, counts)| transform(from - i, counts, 1)).collect()
        };
        let mut all = factors(&shapes.slots_to_coeffs, self.input_level());
        // To the ephemeral secret at the bottom, and back while raising.
        all.push(Operation::KeySwitch { level: 0 });
        let traced = 1 << self.start().log_traced;
        all.push(Operation::Raise {
            level: raised,
            special: self.raising_special(),
            rotations: traced * shapes.raised.map_or(1, |counts| counts.diagonals),
            diagonals: shapes.raised.map_or(0, |counts| counts.diagonals),
        });
        all.extend(vec![Operation::KeySwitch { level: raised }; self.trace_steps().len()]);
        all.extend(factors(
            &shapes.coeffs_to_slots,
            raised - usize::from(shapes.raised.is_some()),
        ));
        all.push(Operation::KeySwitch { level: ladder[0] });

        let is_two_fold = self.request().content == Content::Complex && !self.is_packed();
        for _ in 0..if is_two_fold { 2 } else { 1 } {
            let eval_mod = self.eval_mod();
            let cosine_depth = eval_mod.cosine().depth();
            let sine_at = cosine_depth + eval_mod.doublings();
            push_polynomial(eval_mod.cosine(), ladder, &mut all);
            for level in &ladder[cosine_depth..sine_at] {
                let (level, tensors, scalars) = (*level, 1, 1);
                all.push(Operation::Products {
                    level,
                    tensors,
                    scalars,
                });
            }
            if let Some(arcsine) = eval_mod.arcsine() {
                push_polynomial(arcsine, &ladder[sine_at..], &mut all);
            }
        }
        if let Some(merge) = &shapes.merge {
            all.push(transform(self.output_level() + 1, merge, 2));
        }
        all
    }
}

/// The products of a polynomial evaluated on a ladder of levels.
fn push_polynomial(plan: &PolynomialPlan, ladder: &[usize], all: &mut Vec<Operation>) {
    for power in plan.powers() {
        let depth = power.index.next_power_of_two().trailing_zeros() as usize;
        all.push(Operation::Products {
            level: ladder[depth - 1],
            tensors: 1,
            scalars: 0,
        });
    }
    push_sum(plan.root(), ladder, all);
}

fn push_sum(sum: &Sum, ladder: &[usize], all: &mut Vec<Operation>) {
    for product in &sum.products {
        push_sum(&product.quotient, ladder, all);
    }
    all.push(Operation::Products {
        level: ladder[sum.depth.saturating_sub(1)],
        tensors: sum.products.len(),
        scalars: sum.leaf.terms.len(),
    });
}
