//! The choice of a circuit: the cheapest that keeps the wanted bits within the security bound.
//!
//! Assumes nothing but the request. Ensures expected bits of at least the wanted ones. Method: all combinations of message
//! ratio, arcsine degree, double angles and wide steps of the reduction are priced by their key switches, level by level; the
//! cheapest whose chain fits is taken, ties going to the first in order.

use super::plan::{BootstrapCircuit, BootstrapPlan, BootstrapRequest, Content};
use super::sketch::{MAX_LOG_PRIME, Sketch, reduction};
use crate::error::{Error, Result};

/// Hamming weight of the ephemeral secret: the one whose security is listed.
const EPHEMERAL_WEIGHT: usize = 32;
/// Failure probability per bootstrap.
const FAILURE_LOG2: f64 = -40.0;
/// A product over one limb, in transforms of it.
const PRODUCT_WEIGHT: f64 = 0.15;
/// Butterfly stages that one factor of a transform holds at most.
const STAGES_PER_FACTOR: usize = 5;

impl BootstrapPlan {
    /// The cheapest plan for a request.
    ///
    /// # Errors
    /// [`Error::InvalidSlots`]; [`Error::InvalidParameter`] when no circuit offers what is asked for: ask for fewer levels
    /// or bits, or a larger ring.
    pub fn new(request: &BootstrapRequest) -> Result<Self> {
        let mut best: Option<(f64, BootstrapCircuit)> = None;
        let mut most_bits = f64::NEG_INFINITY;
        let factors = (request.slots.max(2).trailing_zeros() as usize).div_ceil(STAGES_PER_FACTOR);
        for (log_ratio, arcsine_degree, doublings) in reductions(request) {
            let mut circuit = BootstrapCircuit {
                log_ratio,
                arcsine_degree,
                doublings,
                wide_steps: 0,
                coeffs_to_slots: factors,
                slots_to_coeffs: factors,
                ephemeral_weight: EPHEMERAL_WEIGHT,
                failure_log2: FAILURE_LOG2,
            };
            let eval_mod = reduction(request, &circuit)?;
            for wide_steps in 0..=eval_mod.depth() {
                // As many factors either way: then both transforms rotate by the same steps.
                for factors in factors..=factors + 1 {
                    circuit.wide_steps = wide_steps;
                    circuit.coeffs_to_slots = factors;
                    circuit.slots_to_coeffs = factors;
                    let sketch = Sketch::new(request, &circuit, eval_mod.clone())?;
                    let Some(cost) = cost(&sketch, request, &circuit) else {
                        continue;
                    };
                    most_bits = most_bits.max(sketch.expected_bits[0]);
                    let is_cheapest = best.as_ref().is_none_or(|(least, _)| cost < *least);
                    if sketch.expected_bits[0] >= request.bits && is_cheapest {
                        best = Some((cost, circuit.clone()));
                    }
                }
            }
        }
        let Some((_, circuit)) = best else {
            let reason = if most_bits.is_finite() {
                format!(
                    "{}: no secure circuit at N = 2^{} with {} levels left keeps more than {most_bits:.1}",
                    request.bits, request.log_n, request.levels
                )
            } else {
                format!(
                    "no secure circuit at N = 2^{} leaves {} levels: ask for fewer or a larger ring",
                    request.log_n, request.levels
                )
            };
            return Err(Error::InvalidParameter {
                name: "bootstrap",
                reason,
            });
        };
        Self::with_circuit(request, &circuit)
    }
}

/// Work of one bootstrap, in passes over one limb that cost as much as its transform. `None` for an insecure chain.
fn cost(sketch: &Sketch, request: &BootstrapRequest, circuit: &BootstrapCircuit) -> Option<f64> {
    let (width, special) = sketch.digits(request, circuit)?;
    // Raising all digits, their products with the key, and bringing two parts down.
    let switch = |level: usize| {
        let limbs = (level + 1 + special) as f64;
        limbs * ((level + 1).div_ceil(width) as f64 * (1.0 + 2.0 * PRODUCT_WEIGHT) + 2.0)
    };
    let stages = request.slots.trailing_zeros() as usize;
    let transforms = |factors: usize, top: usize| -> f64 {
        (0..factors)
            .map(|i| {
                let radix = 1usize << (stages / factors + usize::from(i < stages % factors));
                // The best split of 2 * radix diagonals into baby and giant steps.
                let steps = 2.0 * (2.0 * radix as f64).sqrt() - 2.0;
                let products = 4.0 * PRODUCT_WEIGHT * (radix * (top - i + 1 + special)) as f64;
                steps * switch(top - i) + products
            })
            .sum()
    };
    let (ladder, bottom) = (&sketch.ladder, request.levels);
    let reductions = match request.content {
        Content::Complex if 2 * request.slots == 1 << request.log_n => 2.0,
        _ => 1.0,
    };
    let middle = (ladder[0] + ladder[ladder.len() - 1]) / 2;
    Some(
        transforms(circuit.coeffs_to_slots, ladder[0] + circuit.coeffs_to_slots)
            + transforms(circuit.slots_to_coeffs, bottom + circuit.slots_to_coeffs)
            + reductions * sketch.eval_mod.relinearizations() as f64 * switch(middle),
    )
}

/// Message ratio, arcsine degree, double angles.
fn reductions(request: &BootstrapRequest) -> impl Iterator<Item = (f64, usize, usize)> {
    let log_scale = request.log_scale;
    let ratios = (4..=9)
        .map(f64::from)
        .filter(move |ratio| log_scale + ratio <= MAX_LOG_PRIME);
    ratios.flat_map(move |ratio| {
        [1, 3, 5, 7]
            .into_iter()
            .flat_map(move |degree| (0..=4).map(move |doublings| (ratio, degree, doublings)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::params::{Parameters, Security};

    fn request(log_n: u32, slots: usize, levels: usize, bits: f64) -> BootstrapRequest {
        BootstrapRequest {
            log_n,
            slots,
            content: Content::Real,
            bits,
            levels,
            log_scale: 40.0,
            security: Security::Classical128,
        }
    }

    #[test]
    fn plans_are_secure_and_keep_what_is_asked() {
        for (slots, levels, bits) in [
            (1 << 15, 14, 20.0),
            (1 << 15, 14, 15.0),
            (1 << 12, 14, 20.0),
            (1 << 15, 8, 21.5),
        ] {
            let plan = BootstrapPlan::new(&request(16, slots, levels, bits)).unwrap();
            assert_eq!(plan.output_level(), levels);
            assert!(plan.expected_bits()[0] >= bits);
            assert!(plan.failure_log2() <= FAILURE_LOG2);
            assert!(Parameters::new(plan.literal().clone()).is_ok(), "{:?}", plan.circuit());
        }
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        for (levels, bits) in [(30, 15.0), (14, 40.0)] {
            let refused = BootstrapPlan::new(&request(16, 1 << 15, levels, bits)).unwrap_err();
            assert!(
                matches!(refused, Error::InvalidParameter { name: "bootstrap", .. }),
                "{refused}"
            );
        }
    }
}
