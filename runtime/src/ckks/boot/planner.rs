//! The choice of a circuit: the cheapest that keeps the wanted bits within the security bound.
//!
//! Assumes nothing but the request. Ensures expected bits of at least the wanted ones. Method: all combinations of message
//! ratio, arcsine degree and double angles, of numbers of factors, and of digits are priced by their key switches, level by
//! level, each with the smallest primes of the reduction that keep the bits; the cheapest whose chain fits is taken, ties
//! going to the first in order.

use super::cost::SwitchShape;
use super::embedding::run_lengths;
use super::eval_mod::EvalMod;
use super::limits;
use super::plan::{BootstrapCircuit, BootstrapPlan, BootstrapRequest, Content};
use super::precision::Gains;
use super::sine::sine_error;
use super::sketch::{MAX_LOG_PRIME, Sketch, reduction, slots_to_coeffs_costs};
use super::start::Raising;
use crate::ckks::params::SecretDistribution;
use crate::error::{Error, Result};

/// Hamming weight of the ephemeral secret: the one whose security is listed.
const EPHEMERAL_WEIGHT: usize = 32;
/// Hamming weight of a sparse main secret: the one whose security is listed.
const SPARSE_WEIGHT: usize = 192;
/// Failure probability per bootstrap.
const FAILURE_LOG2: f64 = -40.0;
/// Most butterfly stages that one factor of a transform holds.
const STAGES_PER_FACTOR: usize = 6;
/// Most factors of a transform, but where stages demand more.
const MAX_FACTORS: usize = 4;

impl BootstrapPlan {
    /// The cheapest plan for a request.
    ///
    /// # Errors
    /// [`Error::InvalidSlots`]; [`Error::Insecure`] in a ring for which no sparse ephemeral secret is listed;
    /// [`Error::InvalidParameter`] when no circuit offers what is asked for: ask for fewer levels
    /// or bits, or a larger ring.
    pub fn new(request: &BootstrapRequest) -> Result<Self> {
        let mut best: Option<(f64, BootstrapCircuit)> = None;
        let mut most_bits = f64::NEG_INFINITY;
        let stages = request.slots.max(2).trailing_zeros() as usize;
        let least = stages.div_ceil(STAGES_PER_FACTOR);
        let counts = least..=MAX_FACTORS.clamp(least, stages);
        let can_pack = request.content == Content::Complex && 2 * request.slots < 1 << request.log_n;
        for (log_ratio, arcsine_degree, doublings) in reductions(request) {
            let mut circuit = BootstrapCircuit {
                log_ratio,
                arcsine_degree,
                doublings,
                log_reduction_prime: MAX_LOG_PRIME,
                takes_halves_apart: can_pack,
                coeffs_to_slots: run_lengths(stages, 1),
                slots_to_coeffs: 1,
                digits: None,
                secret: SecretDistribution::UniformTernary,
                ephemeral_weight: EPHEMERAL_WEIGHT,
                failure_log2: FAILURE_LOG2,
            };
            limits::check_ephemeral(request, &circuit)?;
            if -sine_error(log_ratio.exp2(), arcsine_degree)?[0].log2() < request.bits {
                continue;
            }
            let eval_mod = reduction(request, &circuit)?;
            let gains = Gains::new(&eval_mod, EPHEMERAL_WEIGHT, log_ratio.exp2());
            for secret in secrets(request) {
                for (to_coeffs, to_slots) in counts.clone().flat_map(|a| counts.clone().map(move |b| (a, b))) {
                    circuit.secret = secret;
                    circuit.slots_to_coeffs = to_coeffs;
                    circuit.coeffs_to_slots = run_lengths(stages, to_slots);
                    // No chain costs less than that of the least primes, whose sizes hardly depend on the split.
                    circuit.log_reduction_prime = LEAST_REDUCTION_PRIME;
                    let sketch = Sketch::new(request, &circuit, &eval_mod);
                    let Some((_, shape)) = cheapest_shape(&sketch, request, &circuit, &eval_mod) else {
                        continue;
                    };
                    circuit.coeffs_to_slots = raising(&sketch, request, &shape).split(to_slots).1;
                    let least =
                        cheapest_shape(&Sketch::new(request, &circuit, &eval_mod), request, &circuit, &eval_mod);
                    if least
                        .zip(best.as_ref())
                        .is_some_and(|((cost, _), (best, _))| cost >= *best)
                    {
                        continue;
                    }
                    let (found, bits) = smallest_primes(request, &circuit, &eval_mod, &gains)?;
                    most_bits = most_bits.max(bits);
                    let Some((sketch, log_prime)) = found else {
                        continue;
                    };
                    let shape = cheapest_shape(&sketch, request, &circuit, &eval_mod);
                    if let Some((cost, shape)) = shape
                        && best.as_ref().is_none_or(|(least, _)| cost < *least)
                    {
                        let chosen = BootstrapCircuit {
                            log_reduction_prime: log_prime,
                            digits: Some(shape.digits()),
                            ..circuit.clone()
                        };
                        best = Some((cost, with_largest_primes(request, chosen, cost, &eval_mod)));
                    }
                }
            }
        }
        let Some((_, circuit)) = best else {
            let reason = if most_bits.is_finite() && most_bits < request.bits {
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

/// The secrets to choose from.
fn secrets(request: &BootstrapRequest) -> Vec<SecretDistribution> {
    let sparse = SecretDistribution::SparseTernary {
        hamming_weight: SPARSE_WEIGHT.min(1 << request.log_n),
    };
    vec![SecretDistribution::UniformTernary, sparse]
}

/// The secure chain of least reduction primes that keeps the wanted bits, with their size, and the most bits that any secure
/// chain keeps.
fn smallest_primes(
    request: &BootstrapRequest,
    circuit: &BootstrapCircuit,
    eval_mod: &EvalMod,
    gains: &Gains,
) -> Result<(Option<(Sketch, f64)>, f64)> {
    let factors = (circuit.slots_to_coeffs, &circuit.coeffs_to_slots[..]);
    let circuit_at = |step: usize| BootstrapCircuit {
        log_reduction_prime: MAX_LOG_PRIME - (REDUCTION_PRIME_STEPS - step) as f64,
        ..circuit.clone()
    };
    let sketch_at = |step| Sketch::new(request, &circuit_at(step), eval_mod);
    let bits_at = |step| -> Result<f64> {
        Ok(sketch_at(step)
            .precision(request, &circuit_at(step), factors, eval_mod, gains)?
            .bits[0])
    };
    let is_secure = |step| sketch_at(step).switch_shape(request, circuit).is_some();
    // Larger primes keep more bits, up to where no chain is secure.
    let Some(largest) = (0..=REDUCTION_PRIME_STEPS).rev().find(|step| is_secure(*step)) else {
        return Ok((None, f64::NEG_INFINITY));
    };
    let most_bits = bits_at(largest)?;
    if most_bits < request.bits {
        return Ok((None, most_bits));
    }
    let (mut low, mut high) = (0, largest);
    while low < high {
        let middle = (low + high) / 2;
        if bits_at(middle)? >= request.bits {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let log_prime = circuit_at(high).log_reduction_prime;
    Ok((Some((sketch_at(high), log_prime)), most_bits))
}

/// The circuit with the largest primes of the reduction under which as many digits are secure and cost hardly more than `least`: more
/// bits for the same work.
fn with_largest_primes(
    request: &BootstrapRequest,
    circuit: BootstrapCircuit,
    least: f64,
    eval_mod: &EvalMod,
) -> BootstrapCircuit {
    let larger = (0..REDUCTION_PRIME_STEPS)
        .map(|step| BootstrapCircuit {
            log_reduction_prime: MAX_LOG_PRIME - step as f64,
            ..circuit.clone()
        })
        .take_while(|larger| larger.log_reduction_prime > circuit.log_reduction_prime)
        .find(|larger| {
            let sketch = Sketch::new(request, larger, eval_mod);
            let shape = sketch.switch_shape(request, larger);
            shape.is_some_and(|shape| cost(&sketch, request, larger, eval_mod, &shape) <= (1.0 + MORE_WORK) * least)
        });
    larger.unwrap_or(circuit)
}

/// The digits of least cost, where any are secure.
fn cheapest_shape(
    sketch: &Sketch,
    request: &BootstrapRequest,
    circuit: &BootstrapCircuit,
    eval_mod: &EvalMod,
) -> Option<(f64, SwitchShape)> {
    sketch
        .switch_shapes(request, circuit)
        .map(|shape| (cost(sketch, request, circuit, eval_mod, &shape), shape))
        .min_by(|(a, _), (b, _)| a.total_cmp(b))
}

/// What larger primes of the reduction may cost, of the whole work.
const MORE_WORK: f64 = 0.005;
/// Least log2 of a prime of the reduction to try.
const LEAST_REDUCTION_PRIME: f64 = MAX_LOG_PRIME - REDUCTION_PRIME_STEPS as f64;
/// Sizes tried besides, a bit apart.
const REDUCTION_PRIME_STEPS: usize = 13;

/// Work of one bootstrap, in transforms of one limb.
fn cost(
    sketch: &Sketch,
    request: &BootstrapRequest,
    circuit: &BootstrapCircuit,
    eval_mod: &EvalMod,
    shape: &SwitchShape,
) -> f64 {
    let back = slots_to_coeffs_costs(request, shape, circuit.slots_to_coeffs);
    let forth = raising(sketch, request, shape).cost(&circuit.coeffs_to_slots);
    let reductions = match request.content {
        Content::Complex if !circuit.takes_halves_apart => 2.0,
        _ => 1.0,
    };
    back.last().copied().unwrap_or(0.0)
        + forth
        + shape.switch(sketch.ladder[0])
        + reductions * shape.reduction(eval_mod, &sketch.ladder)
}

/// What the start of coeffs_to_slots depends on.
fn raising<'a>(sketch: &Sketch, request: &'a BootstrapRequest, shape: &'a SwitchShape) -> Raising<'a> {
    Raising {
        request,
        shape,
        special: sketch.raising_special(shape),
        bottom: sketch.ladder[0],
    }
}

/// Message ratio, arcsine degree, double angles.
fn reductions(request: &BootstrapRequest) -> impl Iterator<Item = (f64, usize, usize)> {
    let log_scale = request.log_scale;
    let ratios = (4..=12)
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
        for (slots, levels, bits) in [(1 << 15, 14, 20.0), (1 << 12, 14, 13.0), (1 << 15, 8, 21.0)] {
            let plan = BootstrapPlan::new(&request(16, slots, levels, bits)).unwrap();
            assert_eq!(plan.output_level() - plan.input_level(), levels);
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
