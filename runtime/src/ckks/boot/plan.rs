//! A planned bootstrap: the parameters it needs and what happens at which level.
//!
//! Chain, from the top: `coeffs_to_slots` levels, the ladder of the reduction, `slots_to_coeffs` levels, then the levels left
//! to the caller. Ensures that every step's canonical scale is the one the step needs, so that every linear transform and
//! every polynomial lands exactly.

use serde::{Deserialize, Serialize};

use super::embedding::{DiagonalMatrix, UNIT_I, coeffs_to_slots_factors, halves, max_factors, slots_to_coeffs_factors};
use super::eval_mod::EvalMod;
use super::failure::failure_log2;
use super::limits;
use super::sketch::{Sketch, reach, reduction};
use super::trace::trace_steps;
use crate::ckks::encoding::{Complex64, SpecialFft};
use crate::ckks::keys::KeyRequest;
use crate::ckks::linear::{DiagonalIdx, LinearTransform};
use crate::ckks::params::{Parameters, ParametersLiteral, Security};
use crate::error::{Error, Result};

/// What the slots hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Real numbers: one reduction of half the coefficients, which determine the others.
    Real,
    /// Complex numbers, or two real vectors: one reduction up to N/4 slots, two for N/2.
    Complex,
}

/// What a bootstrap must offer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapRequest {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Slots of the message, of magnitude up to one.
    pub slots: usize,
    /// Kind of message.
    pub content: Content,
    /// Bits wanted of the worst slot.
    pub bits: f64,
    /// Levels wanted above level 0 afterwards.
    pub levels: usize,
    /// log2 of their scale.
    pub log_scale: f64,
    /// Required security.
    pub security: Security,
}

/// How a bootstrap is to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapCircuit {
    /// log2 of q_0 over the scale.
    pub log_ratio: f64,
    /// Degree of the arcsine, 1 for none.
    pub arcsine_degree: usize,
    /// Double-angle steps.
    pub doublings: usize,
    /// First steps of the reduction that drop two primes each, for a scale beyond the largest prime.
    pub wide_steps: usize,
    /// Factors of the coefficients-to-slots transform, a level each.
    pub coeffs_to_slots: usize,
    /// Factors of the slots-to-coefficients transform, a level each.
    pub slots_to_coeffs: usize,
    /// Hamming weight of the ephemeral secret.
    pub ephemeral_weight: usize,
    /// Bound on the probability that a bootstrap fails: log2.
    pub failure_log2: f64,
}

/// One factor of a linear transform.
#[derive(Debug, Clone)]
pub(super) struct PlannedTransform {
    pub shape: LinearTransform,
    pub values: std::collections::BTreeMap<DiagonalIdx, Vec<Complex64>>,
    pub level: usize,
}

/// A planned bootstrap.
#[derive(Debug, Clone, PartialEq)]
pub struct BootstrapPlan {
    request: BootstrapRequest,
    circuit: BootstrapCircuit,
    literal: ParametersLiteral,
    reach: usize,
    eval_mod: EvalMod,
    ladder: Vec<usize>,
    expected_bits: [f64; 2],
}

impl BootstrapPlan {
    /// The plan for a chosen circuit.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a circuit that cannot be, [`Error::Insecure`] when no number of digits keeps the
    /// chain within the security asked for.
    pub fn with_circuit(request: &BootstrapRequest, circuit: &BootstrapCircuit) -> Result<Self> {
        limits::check(request, circuit)?;
        let max_slots = 1usize << (request.log_n - 1);
        if !request.slots.is_power_of_two() || !(2..=max_slots).contains(&request.slots) {
            return Err(Error::InvalidSlots {
                slots: request.slots,
                max: max_slots,
            });
        }
        for (name, count) in [
            ("coeffs_to_slots", circuit.coeffs_to_slots),
            ("slots_to_coeffs", circuit.slots_to_coeffs),
        ] {
            let most = request.log_n as usize - 1;
            if !(1..=most).contains(&count) {
                let reason = format!("{count} factors, expected 1 to {most}");
                return Err(Error::InvalidParameter { name, reason });
            }
        }
        let sketch = Sketch::new(request, circuit, reduction(request, circuit)?)?;
        Ok(Self {
            request: *request,
            circuit: circuit.clone(),
            literal: sketch.choose_primes(request, circuit)?,
            reach: reach(request, circuit),
            eval_mod: sketch.eval_mod,
            ladder: sketch.ladder,
            expected_bits: sketch.expected_bits,
        })
    }

    /// The same circuit and parameters for another slot count or kind of message.
    ///
    /// # Errors
    /// [`Error::InvalidSlots`].
    pub fn for_slots(&self, slots: usize, content: Content) -> Result<Self> {
        let request = BootstrapRequest {
            slots,
            content,
            ..self.request
        };
        let mut plan = Self::with_circuit(&request, &self.circuit)?;
        plan.literal = self.literal.clone();
        Ok(plan)
    }

    /// What was asked for.
    #[must_use]
    pub fn request(&self) -> &BootstrapRequest {
        &self.request
    }

    /// How it is done.
    #[must_use]
    pub fn circuit(&self) -> &BootstrapCircuit {
        &self.circuit
    }

    /// The parameters to make keys under.
    #[must_use]
    pub fn literal(&self) -> &ParametersLiteral {
        &self.literal
    }

    /// The reduction modulo q_0.
    #[must_use]
    pub fn eval_mod(&self) -> &EvalMod {
        &self.eval_mod
    }

    /// Levels of the reduction, its input's first.
    #[must_use]
    pub fn ladder(&self) -> &[usize] {
        &self.ladder
    }

    /// The level ciphertexts are raised to: the highest, unless so few slots are transformed in fewer factors.
    #[must_use]
    pub fn raised_level(&self) -> usize {
        self.ladder[0] + self.circuit.coeffs_to_slots.min(max_factors(self.request.slots))
    }

    /// The level of the result.
    #[must_use]
    pub fn output_level(&self) -> usize {
        self.request.levels
    }

    /// The lowest level a bootstrap can start from; levels above it are dropped.
    #[must_use]
    pub fn input_level(&self) -> usize {
        0
    }

    /// Expected bits of the worst slot and of the mean error.
    #[must_use]
    pub fn expected_bits(&self) -> [f64; 2] {
        self.expected_bits
    }

    /// log2 of a bound on the probability that a bootstrap returns garbage: that a multiple of q_0 reaches beyond the
    /// cosine's interval.
    #[must_use]
    pub fn failure_log2(&self) -> f64 {
        let n = 1usize << self.request.log_n;
        failure_log2(self.circuit.ephemeral_weight, n, self.reach as f64 + 0.5)
    }

    /// Slots of the ciphertexts that are reduced: twice the message's where real and imaginary parts go side by side.
    #[must_use]
    pub fn reduced_slots(&self) -> usize {
        if self.is_packed() {
            2 * self.request.slots
        } else {
            self.request.slots
        }
    }

    /// Whether real and imaginary parts of the coefficients go side by side into one ciphertext.
    pub(super) fn is_packed(&self) -> bool {
        self.request.content == Content::Complex && self.request.slots < 1 << (self.request.log_n - 1)
    }

    /// Every key a [`super::Bootstrapper`] needs.
    ///
    /// # Errors
    /// [`Error::InvalidLinearTransform`] never, for a checked plan.
    pub fn key_request(&self) -> Result<KeyRequest> {
        let mut keys = KeyRequest::default();
        keys.add_relin(self.ladder[0]);
        keys.add_conjugation(self.ladder[0]);
        keys.add_encapsulation(self.circuit.ephemeral_weight, self.raised_level());
        for step in trace_steps(self.request.slots, 1 << (self.request.log_n - 1)) {
            keys.add_rotation(step, self.raised_level());
        }
        for transform in self.coeffs_to_slots()?.iter().chain(&self.slots_to_coeffs()?) {
            for (step, level) in transform.shape.rotations(transform.level) {
                keys.add_rotation(step, level);
            }
        }
        Ok(keys)
    }

    /// The factors of coefficients-to-slots, in order. The result is twice the real part of what they yield.
    pub(super) fn coeffs_to_slots(&self) -> Result<Vec<PlannedTransform>> {
        let (slots, width) = (self.request.slots, self.reduced_slots());
        let fft = SpecialFft::new(slots);
        let mut factors = coeffs_to_slots_factors(&fft, slots, width, self.raised_level() - self.ladder[0]);
        if self.is_packed()
            && let Some(last) = factors.last_mut()
        {
            // Twice the real part of -i w is twice the imaginary part of w.
            last.scale_rows(halves(width, UNIT_I[1]));
        }
        planned(factors, self.raised_level(), Vec::new())
    }

    /// The factors of slots-to-coefficients, in order.
    pub(super) fn slots_to_coeffs(&self) -> Result<Vec<PlannedTransform>> {
        let (slots, width) = (self.request.slots, self.reduced_slots());
        let fft = SpecialFft::new(slots);
        let count = self.circuit.slots_to_coeffs.min(max_factors(slots));
        let mut factors = slots_to_coeffs_factors(&fft, slots, width, count);
        let mut folds = Vec::new();
        if let Some(first) = factors.first_mut() {
            if self.is_packed() {
                first.scale_columns(halves(width, UNIT_I[0]));
                folds.push(slots);
            }
            if self.request.content == Content::Real {
                // Twice the real part is taken at the end: every coefficient but the first stands for two.
                first.scale_columns(|j| Complex64::from(if j == 0 { 0.5 } else { 1.0 }));
            }
        }
        planned(factors, self.output_level() + count, folds)
    }

    /// Scale under which a raised ciphertext is declared, so that the slots become the reduction's input.
    pub(super) fn raised_scale(&self, params: &Parameters) -> f64 {
        let gap = params.max_slots() / self.request.slots;
        2.0 * gap as f64 * params.q()[0] as f64 * self.eval_mod.width()
    }
}

fn planned(factors: Vec<DiagonalMatrix>, from: usize, folds: Vec<usize>) -> Result<Vec<PlannedTransform>> {
    let last = factors.len() - 1;
    factors
        .into_iter()
        .enumerate()
        .map(|(i, factor)| {
            let (shape, values) = factor.into_transform(if i == last { folds.clone() } else { Vec::new() })?;
            Ok(PlannedTransform {
                shape,
                values,
                level: from - i,
            })
        })
        .collect()
}
