//! A circuit's levels by size, before any prime is looked for: what the planner compares.

use super::eval_mod::EvalMod;
use super::failure::least_reach;
use super::plan::{BootstrapCircuit, BootstrapRequest, Content};
use super::precision::{NoiseInputs, expected_bits};
use super::sine::sine_error;
use crate::ckks::params::{
    ChainRequest, KEY_SWITCH_MARGIN_BITS, ParametersLiteral, SecretDistribution, Security, UpperLevel, max_log_qp,
};
use crate::error::{Error, Result};

/// Largest log2 of a special prime that the choice of primes can rely on.
const MAX_LOG_SPECIAL: f64 = 49.99;
/// Largest log2 of a ciphertext prime: as many special primes as a digit has then exceed it by some bits, without which
/// the noise of key switches would be ten times that of a rescale.
pub(super) const MAX_LOG_PRIME: f64 = 49.3;
/// log2 of the reduction's scale where a step drops one prime.
const NARROW_SCALE: f64 = MAX_LOG_PRIME - 0.05;
/// log2 of the scale of the reduction's input, before a wide step: the input carries the noise of a key switch that no
/// rescale has divided. Its square must stay below the largest constant that can be added.
const WIDE_INPUT_SCALE: f64 = 62.0;
/// Bits by which the scale falls from one wide step to the next, as the noise of higher powers is magnified less.
const WIDE_TAPER: f64 = 2.0;
/// log2 of the least scale of a wide step.
const LEAST_WIDE_SCALE: f64 = 54.0;
/// log2 of the scale of the diagonals of coeffs_to_slots.
const PLAIN_SCALE: f64 = 53.0;
/// log2 of the scale that diagonals of slots_to_coeffs are encoded at, beyond the wanted bits.
const PLAIN_MARGIN: f64 = 17.0;
/// Digits where nothing has to be secure.
const INSECURE_DIGITS: usize = 5;

const SECRET: SecretDistribution = SecretDistribution::UniformTernary;

/// Levels and expectations of a circuit.
pub(super) struct Sketch {
    pub eval_mod: EvalMod,
    /// Levels of the reduction, its input's first.
    pub ladder: Vec<usize>,
    /// All levels above those left to the caller, lowest first.
    pub upper: Vec<UpperLevel>,
    /// Bits of the worst slot and of the mean error.
    pub expected_bits: [f64; 2],
}

/// The largest multiple of q_0 to provide for.
pub(super) fn reach(request: &BootstrapRequest, circuit: &BootstrapCircuit) -> usize {
    least_reach(circuit.ephemeral_weight, 1 << request.log_n, circuit.failure_log2)
}

/// Error of the cosine's series that the wanted bits allow, at the end of the double angles.
fn tolerance(request: &BootstrapRequest, circuit: &BootstrapCircuit) -> f64 {
    (-request.bits - circuit.log_ratio - f64::from(request.log_n) / 2.0 - 3.0).exp2()
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
    pub(super) fn new(request: &BootstrapRequest, circuit: &BootstrapCircuit, eval_mod: EvalMod) -> Result<Self> {
        let ratio = circuit.log_ratio.exp2();
        let log_scales = reduction_scales(&eval_mod, circuit.wide_steps);
        let (upper, ladder) = upper_levels(request, circuit, &eval_mod, &log_scales);
        let expected_bits = expected_bits(&NoiseInputs {
            log_n: request.log_n,
            slots: request.slots,
            mirrored: request.content == Content::Real,
            hamming_weight: SECRET.hamming_weight(1 << request.log_n),
            log_scales: &log_scales,
            width: eval_mod.width(),
            cosine_depth: eval_mod.cosine().depth(),
            doublings: circuit.doublings,
            ratio,
            log_reduced_scale: log_scales[eval_mod.depth()] + std::f64::consts::TAU.log2() - circuit.log_ratio,
            log_scale: request.log_scale,
            sine_error: sine_error(ratio, circuit.arcsine_degree)?,
            tolerance: tolerance(request, circuit),
        });
        Ok(Self {
            eval_mod,
            ladder,
            upper,
            expected_bits,
        })
    }

    /// log2 of the primes from q_0 up, as asked for.
    fn log_primes(&self, request: &BootstrapRequest, circuit: &BootstrapCircuit) -> Vec<f64> {
        let mut sizes = vec![request.log_scale + circuit.log_ratio];
        sizes.resize(request.levels + 1, request.log_scale);
        sizes.extend(self.upper.iter().map(|level| level.log_prime));
        sizes
    }

    /// Primes per digit and special primes: the widest digits that stay secure. `None` when not even the narrowest do.
    pub(super) fn digits(&self, request: &BootstrapRequest, circuit: &BootstrapCircuit) -> Option<(usize, usize)> {
        let sizes = self.log_primes(request, circuit);
        let bound = match request.security {
            Security::Classical128 => f64::from(max_log_qp(request.log_n, SECRET).ok()?),
            Security::None => f64::INFINITY,
        };
        let log_q: f64 = sizes.iter().sum();
        (1..=sizes.len().div_ceil(2)).rev().find_map(|width| {
            let widest = sizes
                .chunks(width)
                .map(|digit| digit.iter().sum::<f64>())
                .fold(0.0, f64::max);
            let special = ((widest - 0.2) / MAX_LOG_SPECIAL).ceil();
            let log_p = (widest + KEY_SWITCH_MARGIN_BITS).min(special * MAX_LOG_SPECIAL);
            let fits = match request.security {
                Security::Classical128 => log_q + log_p <= bound,
                Security::None => sizes.len().div_ceil(width) >= INSECURE_DIGITS || width == 1,
            };
            fits.then_some((width, special as usize))
        })
    }

    /// The chain, with the fewest digits that stay secure.
    pub(super) fn choose_primes(
        &self,
        request: &BootstrapRequest,
        circuit: &BootstrapCircuit,
    ) -> Result<ParametersLiteral> {
        let sizes = self.log_primes(request, circuit);
        let bound = match request.security {
            Security::Classical128 => max_log_qp(request.log_n, SECRET)?,
            Security::None => u32::MAX,
        };
        let log_product = |primes: &[u64]| primes.iter().map(|prime| (*prime as f64).log2()).sum::<f64>();
        let insecure = |log_qp| Error::Insecure {
            log_n: request.log_n,
            log_qp,
            max_log_qp: bound,
            secret: SECRET.to_string(),
        };
        let Some((mut width, _)) = self.digits(request, circuit) else {
            return Err(insecure(sizes.iter().sum::<f64>() + MAX_LOG_SPECIAL));
        };
        loop {
            let chain = ChainRequest {
                log_n: request.log_n,
                levels: request.levels,
                log_scale: request.log_scale,
                log_q0: request.log_scale + circuit.log_ratio,
                dnum: sizes.len().div_ceil(width),
                secret: SECRET,
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

/// log2 of the reduction's scale by depth.
fn reduction_scales(eval_mod: &EvalMod, wide_steps: usize) -> Vec<f64> {
    (0..=eval_mod.depth())
        .map(|depth| {
            if depth >= wide_steps {
                NARROW_SCALE
            } else {
                (WIDE_INPUT_SCALE - WIDE_TAPER * depth as f64).max(LEAST_WIDE_SCALE)
            }
        })
        .collect()
}

/// All levels above those left to the caller, lowest first, and the ladder.
fn upper_levels(
    request: &BootstrapRequest,
    circuit: &BootstrapCircuit,
    eval_mod: &EvalMod,
    log_scales: &[f64],
) -> (Vec<UpperLevel>, Vec<usize>) {
    let mut upper = Vec::new();
    let smallest = f64::from(request.log_n + 8);
    let stages = f64::from(request.slots.trailing_zeros());

    // slots_to_coeffs: noise before a factor of r stages is multiplied by 2^(r/2).
    let reduced_scale = log_scales[eval_mod.depth()] + (std::f64::consts::TAU).log2() - circuit.log_ratio;
    let per_factor = stages / circuit.slots_to_coeffs as f64 / 2.0;
    let mut scale_below = request.log_scale;
    for i in 1..=circuit.slots_to_coeffs {
        let is_first_applied = i == circuit.slots_to_coeffs;
        let effective = if is_first_applied {
            reduced_scale
        } else {
            scale_below + per_factor + if i == 1 { 1.0 } else { 0.0 }
        };
        let log_plain = request.bits + PLAIN_MARGIN;
        let log_prime = (log_plain + effective - scale_below).clamp(smallest, MAX_LOG_PRIME);
        let log_scale = if is_first_applied {
            log_scales[eval_mod.depth()]
        } else {
            effective
        };
        upper.push(UpperLevel { log_prime, log_scale });
        scale_below = effective;
    }

    let mut ladder = vec![request.levels + upper.len()];
    for depth in (0..eval_mod.depth()).rev() {
        let dropped = 2.0 * log_scales[depth] - log_scales[depth + 1];
        let primes = if dropped <= MAX_LOG_PRIME { 1 } else { 2 };
        for _ in 0..primes {
            upper.push(UpperLevel {
                log_prime: dropped / f64::from(primes),
                log_scale: log_scales[depth],
            });
        }
        ladder.push(request.levels + upper.len());
    }
    ladder.reverse();

    // coeffs_to_slots: the scale goes evenly from that of the raised ciphertext to that of the reduction.
    let raised = 1.0 + request.log_scale + circuit.log_ratio + eval_mod.width().log2();
    let count = circuit.coeffs_to_slots as f64;
    for i in 0..circuit.coeffs_to_slots {
        let above = log_scales[0] + (raised - log_scales[0]) * (i + 1) as f64 / count;
        let below = log_scales[0] + (raised - log_scales[0]) * i as f64 / count;
        upper.push(UpperLevel {
            log_prime: (PLAIN_SCALE + above - below).clamp(smallest, MAX_LOG_PRIME),
            log_scale: above,
        });
    }
    (upper, ladder)
}
