//! A circuit's levels by size, before any prime is looked for: what the planner compares.

use std::f64::consts::TAU;

use super::cost::{SwitchShape, TransformCounts};
use super::embedding::run_lengths;
use super::eval_mod::EvalMod;
use super::failure::least_reach;
use super::plan::{BootstrapCircuit, BootstrapRequest, Content};
use super::precision::{FactorNoise, Gains, NoiseInputs, Precision, precision};
use super::sine::sine_error;
use crate::ckks::keys::RAISED_MARGIN;
use crate::ckks::params::{
    ChainRequest, KEY_SWITCH_MARGIN_BITS, ParametersLiteral, Security, UpperLevel, level_gadgets, max_log_qp,
    special_limbs_beyond,
};
use crate::error::{Error, Result};

/// Largest log2 of a special prime that the choice of primes can rely on.
const MAX_LOG_SPECIAL: f64 = 49.99;
/// Largest log2 of a ciphertext prime: as many special primes as a digit has then exceed it by some bits, without which
/// the noise of key switches would be ten times that of a rescale.
pub(super) const MAX_LOG_PRIME: f64 = 49.3;
/// Bits that the diagonals of coeffs_to_slots have beyond what makes their rounding as large as the results'.
const PLAIN_MARGIN: f64 = 2.0;
/// Bits of the masks that take real and imaginary parts apart, beyond the wanted ones.
const MASK_MARGIN: f64 = 8.0;
/// Bits by which the scale of the result exceeds the message's before those masks.
const MASK_GUARD: f64 = 1.0;
/// Digits where nothing has to be secure.
const INSECURE_DIGITS: usize = 5;

/// Levels of a circuit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sketch {
    /// Levels of the reduction, its input's first.
    pub ladder: Vec<usize>,
    /// log2 of the reduction's scales, by depth.
    log_scales: Vec<f64>,
    /// All levels above those left to the caller, lowest first.
    upper: Vec<UpperLevel>,
    /// log2 of all ciphertext primes, from q_0 up.
    log_primes: Vec<f64>,
}

/// The largest multiple of q_0 to provide for.
pub(super) fn reach(request: &BootstrapRequest, circuit: &BootstrapCircuit) -> usize {
    let share = (-circuit.log_ratio).exp2();
    least_reach(
        circuit.ephemeral_weight,
        1 << request.log_n,
        circuit.failure_log2,
        share,
    )
}

/// Error of the cosine's series that the wanted bits allow, at the end of the double angles: relative to the largest sine a
/// 2 pi-th of the wanted precision.
fn tolerance(request: &BootstrapRequest, circuit: &BootstrapCircuit) -> f64 {
    (-request.bits - circuit.log_ratio).exp2()
}

/// The reduction of a circuit.
pub(super) fn reduction(request: &BootstrapRequest, circuit: &BootstrapCircuit) -> Result<EvalMod> {
    EvalMod::new(
        reach(request, circuit),
        circuit.log_ratio.exp2(),
        circuit.doublings,
        circuit.arcsine_degree,
        tolerance(request, circuit) / (2.0 * circuit.doublings as f64).exp2(),
    )
}

impl Sketch {
    pub(super) fn new(request: &BootstrapRequest, circuit: &BootstrapCircuit, eval_mod: &EvalMod) -> Self {
        let output = circuit.output_level(request);
        let smallest = f64::from(request.log_n + 8);
        let mut upper = Vec::new();

        // The scale of the message where the reduction ends.
        let mut log_reduced = request.log_scale;
        if circuit.takes_halves_apart {
            log_reduced += MASK_GUARD;
            upper.push(UpperLevel {
                log_prime: (request.bits + MASK_MARGIN + MASK_GUARD).clamp(smallest, MAX_LOG_PRIME),
                log_scale: log_reduced,
            });
        }

        // The reduction: from the end, where 2 pi m / q_0 must have a scale that makes it m at the message's.
        let depth = eval_mod.depth();
        let mut log_scales = vec![log_reduced + circuit.log_ratio - TAU.log2()];
        let mut ladder = vec![output + upper.len()];
        for _ in 0..depth {
            let log_scale = (circuit.log_reduction_prime + log_scales[log_scales.len() - 1]) / 2.0;
            log_scales.push(log_scale);
            upper.push(UpperLevel {
                log_prime: circuit.log_reduction_prime,
                log_scale,
            });
            ladder.push(output + upper.len());
        }
        ladder.reverse();
        log_scales.reverse();

        // coeffs_to_slots: the scale goes evenly from that of the raised ciphertext to that of the reduction.
        let raised = raised_scale(request, circuit, eval_mod);
        let factors = &circuit.coeffs_to_slots;
        let count = factors.len() as f64;
        for (i, stages) in factors.iter().rev().enumerate() {
            let between = |part: f64| log_scales[0] + (raised - log_scales[0]) * part / count;
            let (above, below) = (between(i as f64 + 1.0), between(i as f64));
            // Where the rounding of the diagonals is as large as that of the result.
            let log_slots = (request.slots as f64).log2();
            let plain = log_scales[0] - f64::from(request.log_n) + *stages as f64 + log_slots / 2.0 - 3.0;
            upper.push(UpperLevel {
                log_prime: (plain + PLAIN_MARGIN + above - below).clamp(smallest, MAX_LOG_PRIME),
                log_scale: above,
            });
        }
        let mut log_primes = vec![request.log_scale + circuit.log_ratio];
        log_primes.resize(output + 1, request.log_scale);
        log_primes.extend(upper.iter().map(|level| level.log_prime));
        Self {
            ladder,
            log_scales,
            upper,
            log_primes,
        }
    }

    /// What to expect of a bootstrap on these levels, which may be of other slots than they were made for.
    pub(super) fn precision(
        &self,
        request: &BootstrapRequest,
        circuit: &BootstrapCircuit,
        (to_coeffs, to_slots): (usize, &[usize]),
        eval_mod: &EvalMod,
        gains: &Gains,
    ) -> Result<Precision> {
        let stages = request.slots.trailing_zeros() as usize;
        let slots_to_coeffs: Vec<FactorNoise> = run_lengths(stages, to_coeffs)
            .into_iter()
            .rev()
            .map(|stages| FactorNoise {
                stages,
                log_scale: request.log_scale,
                log_plain: request.log_scale,
            })
            .collect();
        // Scales of the levels from the raised ciphertext to the reduction's input.
        let first = circuit.output_level(request) + 1;
        let scale_at = |level: usize| match level {
            _ if level >= first => self.upper[level - first].log_scale,
            _ => request.log_scale,
        };
        let mut level = self.ladder[0] + to_slots.len();
        let mut above = raised_scale(request, circuit, eval_mod);
        let coeffs_to_slots: Vec<FactorNoise> = to_slots
            .iter()
            .map(|&stages| {
                let log_scale = scale_at(level - 1);
                let log_plain = log_scale + self.log_primes[level] - above;
                (above, level) = (log_scale, level - 1);
                FactorNoise {
                    stages,
                    log_scale,
                    log_plain,
                }
            })
            .collect();
        let is_packed = circuit.packs(request);
        let values = match request.content {
            Content::Real => request.slots,
            Content::Complex => 2 * request.slots,
        };
        let shape = self.switch_shape(request, circuit);
        let shape = shape.as_ref();
        let widest = shape.map_or(0.0, |shape| self.widest_digit(shape.digit_primes()));
        let log_p = shape.map_or(0.0, |shape| log_special(widest, shape.special_primes()));
        Ok(precision(
            &NoiseInputs {
                log_n: request.log_n,
                slots: request.slots,
                reduced_slots: if is_packed { 2 * request.slots } else { request.slots },
                values,
                hamming_weight: circuit.secret.hamming_weight(1 << request.log_n),
                ephemeral_weight: circuit.ephemeral_weight,
                log_scale: request.log_scale,
                log_q0: self.log_primes[0],
                log_margin: log_p - widest,
                digits: [to_coeffs, self.ladder[0]].map(|level| shape.map_or(1, |shape| shape.digits_at(level))),
                slots_to_coeffs: &slots_to_coeffs,
                coeffs_to_slots: &coeffs_to_slots,
                log_scales: &self.log_scales,
                merge: is_packed.then(|| {
                    let log_scale = self.upper[0].log_scale;
                    [log_scale, self.upper[0].log_prime + request.log_scale - log_scale]
                }),
                width: eval_mod.width(),
                ratio: circuit.log_ratio.exp2(),
                sine_error: sine_error(circuit.log_ratio.exp2(), circuit.arcsine_degree)?,
            },
            gains,
        ))
    }

    /// Special primes of keys from the ephemeral secret, with those of a shape.
    pub(super) fn raising_special(&self, shape: &SwitchShape) -> usize {
        let count = shape.special_primes();
        let log_each = log_special(self.widest_digit(shape.digit_primes()), count) / count as f64;
        special_limbs_beyond(&vec![log_each; count], self.log_primes[0] + RAISED_MARGIN)
    }

    fn widest_digit(&self, width: usize) -> f64 {
        let digits = self.log_primes.chunks(width);
        digits.map(|digit| digit.iter().sum::<f64>()).fold(0.0, f64::max)
    }

    /// Every width of digits that stays secure, widest first, with the special primes it takes.
    pub(super) fn switch_shapes(
        &self,
        request: &BootstrapRequest,
        circuit: &BootstrapCircuit,
    ) -> impl Iterator<Item = SwitchShape> {
        let security = request.security;
        let bound = match request.security {
            Security::Classical128 => max_log_qp(request.log_n, circuit.secret).map_or(0.0, f64::from),
            Security::None => f64::INFINITY,
        };
        let log_q: f64 = self.log_primes.iter().sum();
        let count = self.log_primes.len();
        (1..=count.div_ceil(2))
            .rev()
            // As many digits of a smaller width cost less.
            .filter(move |width| count.div_ceil(count.div_ceil(*width)) == *width)
            .filter_map(move |digit_primes| {
                let widest = self.widest_digit(digit_primes);
                let special = ((widest - 0.2) / MAX_LOG_SPECIAL).ceil();
                let fits = match security {
                    Security::Classical128 => log_q + log_special(widest, special as usize) <= bound,
                    Security::None => count.div_ceil(digit_primes) >= INSECURE_DIGITS.min(count),
                };
                let log_each = log_special(widest, special as usize) / special;
                fits.then(|| SwitchShape {
                    gadgets: level_gadgets(&self.log_primes, &vec![log_each; special as usize], digit_primes),
                })
            })
    }

    /// The digits of the circuit, or where it does not say the widest that stay secure.
    pub(super) fn switch_shape(&self, request: &BootstrapRequest, circuit: &BootstrapCircuit) -> Option<SwitchShape> {
        let is_wanted = |shape: &SwitchShape| circuit.digits.is_none_or(|digits| shape.digits() == digits);
        self.switch_shapes(request, circuit).find(is_wanted)
    }

    /// The chain, in the circuit's number of digits or more where the primes' sizes demand it.
    pub(super) fn choose_primes(
        &self,
        request: &BootstrapRequest,
        circuit: &BootstrapCircuit,
    ) -> Result<ParametersLiteral> {
        let bound = match request.security {
            Security::Classical128 => max_log_qp(request.log_n, circuit.secret)?,
            Security::None => u32::MAX,
        };
        let log_product = |primes: &[u64]| primes.iter().map(|prime| (*prime as f64).log2()).sum::<f64>();
        let insecure = |log_qp| Error::Insecure {
            log_n: request.log_n,
            log_qp,
            max_log_qp: bound,
            secret: circuit.secret.to_string(),
        };
        let Some(shape) = self.switch_shape(request, circuit) else {
            return Err(insecure(self.log_primes.iter().sum::<f64>() + MAX_LOG_SPECIAL));
        };
        let mut width = shape.digit_primes();
        loop {
            let chain = ChainRequest {
                log_n: request.log_n,
                levels: circuit.output_level(request),
                log_scale: request.log_scale,
                log_q0: self.log_primes[0],
                dnum: self.log_primes.len().div_ceil(width),
                secret: circuit.secret,
                security: request.security,
            };
            let literal = ParametersLiteral::choose_with_upper(&chain, &self.upper)?;
            // Primes lie near the sizes asked for, not on them: at the very bound one narrower digit may be needed.
            let log_qp = log_product(&literal.q) + log_product(&literal.p);
            if log_qp <= f64::from(bound) {
                return Ok(literal);
            }
            width -= 1;
            if width == 0 {
                return Err(insecure(log_qp));
            }
        }
    }
}

/// log2 of the product of the special primes that digits of this size get.
fn log_special(widest: f64, special: usize) -> f64 {
    (widest + KEY_SWITCH_MARGIN_BITS).min(special as f64 * MAX_LOG_SPECIAL)
}

/// log2 of the scale that a raised ciphertext is declared to have.
fn raised_scale(request: &BootstrapRequest, circuit: &BootstrapCircuit, eval_mod: &EvalMod) -> f64 {
    let log_gap = f64::from(request.log_n - 1 - request.slots.trailing_zeros());
    1.0 + log_gap + request.log_scale + circuit.log_ratio + eval_mod.width().log2()
}

/// Costs of the numbers of factors from 1 to `most`, of slots_to_coeffs with its last factor at level 1.
pub(super) fn slots_to_coeffs_costs(request: &BootstrapRequest, shape: &SwitchShape, most: usize) -> Vec<f64> {
    let stages = request.slots.trailing_zeros() as usize;
    let cost = |factors: usize| {
        let mut runs = run_lengths(stages, factors);
        runs.reverse();
        factors_cost(&runs, factors - 1, shape, factors)
    };
    (1..=most.min(stages)).map(cost).collect()
}

/// Factors of these stages from level `top` down, one of which holds the longest butterflies and wraps around.
fn factors_cost(runs: &[usize], wrapping: usize, shape: &SwitchShape, top: usize) -> f64 {
    let factors = runs.iter().enumerate().map(|(i, stages)| {
        TransformCounts::splits(*stages, i == wrapping)
            .map(|counts| shape.transform(&counts, top - i))
            .fold(f64::INFINITY, f64::min)
    });
    factors.sum()
}
