//! A planned bootstrap: the parameters it needs and what happens at which level.
//!
//! Chain, from the bottom: the levels of slots_to_coeffs, which belong to the caller as much as those above them; the levels
//! left to the caller; one for taking real and imaginary parts apart, where the circuit has it; the ladder of the reduction;
//! the levels of coeffs_to_slots. Ensures that every step's canonical scale is the one the step needs, so that every linear
//! transform and every polynomial lands exactly.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cost::{SwitchShape, TransformCounts};
use super::embedding::{
    DiagonalMatrix, UNIT_I, coeffs_to_slots_factors, halves, max_factors, run_lengths, slots_to_coeffs_factors,
};
use super::eval_mod::EvalMod;
use super::failure::failure_log2;
use super::limits;
use super::mod_raise::raised_steps;
use super::precision::{Gains, Precision, StageNoise};
use super::sketch::{Sketch, reach, reduction, slots_to_coeffs_costs};
use super::start::{Raising, Start};
use super::trace::trace_steps;
use crate::ckks::encoding::{Complex64, SpecialFft};
use crate::ckks::keys::{EncapsulationRequest, KeyRequest, RAISED_MARGIN};
use crate::ckks::linear::{DiagonalIdx, LinearTransform};
use crate::ckks::params::{Parameters, ParametersLiteral, SecretDistribution, Security, special_limbs_beyond};
use crate::error::Result;

/// What the slots hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Real numbers.
    Real,
    /// Complex numbers, or two real vectors: one reduction for both parts where the circuit takes halves apart and there are
    /// at most N/4 slots, otherwise two.
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
    /// Levels left to the caller between two bootstraps: from the result's down to the one that the next starts at.
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
    /// log2 of the primes of the reduction.
    pub log_reduction_prime: f64,
    /// Whether a level is set aside for taking real and imaginary parts apart after a reduction of both side by side.
    pub takes_halves_apart: bool,
    /// Butterfly stages of each factor of the coefficients-to-slots transform, a level each: as many as the logarithm of the slots
    /// in all.
    pub coeffs_to_slots: Vec<usize>,
    /// Factors of the slots-to-coefficients transform, a level each.
    pub slots_to_coeffs: usize,
    /// Digits of the key switch; `None` for the fewest that are secure.
    pub digits: Option<usize>,
    /// The secret.
    pub secret: SecretDistribution,
    /// Hamming weight of the ephemeral secret.
    pub ephemeral_weight: usize,
    /// Bound on the probability that a bootstrap fails: log2.
    pub failure_log2: f64,
}

impl BootstrapCircuit {
    /// The level of the result.
    pub(super) fn output_level(&self, request: &BootstrapRequest) -> usize {
        request.levels + self.slots_to_coeffs
    }

    /// Whether real and imaginary parts of the coefficients go side by side into one ciphertext.
    pub(super) fn packs(&self, request: &BootstrapRequest) -> bool {
        request.content == Content::Complex && self.takes_halves_apart && request.slots < 1 << (request.log_n - 1)
    }
}

/// One factor of a linear transform.
#[derive(Debug, Clone)]
pub(super) struct PlannedTransform {
    pub shape: LinearTransform,
    pub values: BTreeMap<DiagonalIdx, Vec<Complex64>>,
    pub level: usize,
}

/// A planned bootstrap.
#[derive(Debug, Clone, PartialEq)]
pub struct BootstrapPlan {
    request: BootstrapRequest,
    circuit: BootstrapCircuit,
    /// What the chain was made for.
    chain: BootstrapRequest,
    sketch: Sketch,
    literal: ParametersLiteral,
    reach: usize,
    eval_mod: EvalMod,
    precision: Precision,
    slots_to_coeffs: usize,
    /// Stages of each factor.
    coeffs_to_slots: Vec<usize>,
    start: Start,
}

impl BootstrapPlan {
    /// The plan for a chosen circuit.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a circuit that cannot be, [`Error::Insecure`] when no number of digits keeps the
    /// chain within the security asked for.
    pub fn with_circuit(request: &BootstrapRequest, circuit: &BootstrapCircuit) -> Result<Self> {
        limits::check(request, circuit)?;
        let eval_mod = reduction(request, circuit)?;
        let sketch = Sketch::new(request, circuit, &eval_mod);
        let literal = sketch.choose_primes(request, circuit)?;
        Self::on_chain(request, request, circuit, &eval_mod, &sketch, &literal)
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
        limits::check_slots(&request)?;
        Self::on_chain(
            &request,
            &self.chain,
            &self.circuit,
            &self.eval_mod,
            &self.sketch,
            &self.literal,
        )
    }

    fn on_chain(
        request: &BootstrapRequest,
        chain: &BootstrapRequest,
        circuit: &BootstrapCircuit,
        eval_mod: &EvalMod,
        sketch: &Sketch,
        literal: &ParametersLiteral,
    ) -> Result<Self> {
        let gains = Gains::new(eval_mod, circuit.ephemeral_weight, circuit.log_ratio.exp2());
        let precision =
            |to_coeffs, to_slots: &[usize]| sketch.precision(request, circuit, (to_coeffs, to_slots), eval_mod, &gains);
        let shape = switch_shape(literal);
        let raising = Raising {
            request,
            shape: &shape,
            special: raising_special(literal),
            bottom: sketch.ladder[0],
        };
        let mut slots_to_coeffs = circuit.slots_to_coeffs.min(max_factors(request.slots));
        let mut coeffs_to_slots = circuit.coeffs_to_slots.clone();
        if request != chain {
            // As many as are cheapest and keep the wanted bits: each factor takes its part of what the scales must fall.
            let costs = slots_to_coeffs_costs(request, &shape, slots_to_coeffs)
                .into_iter()
                .enumerate();
            let cheapest = costs.min_by(|(_, a), (_, b)| a.total_cmp(b));
            slots_to_coeffs = cheapest.map_or(slots_to_coeffs, |(index, _)| index + 1);
            let most = coeffs_to_slots.len().min(max_factors(request.slots));
            let mut splits: Vec<(f64, Vec<usize>)> = (1..=most).map(|factors| raising.split(factors)).collect();
            coeffs_to_slots = splits[most - 1].1.clone();
            splits.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            for (_, split) in splits {
                if precision(slots_to_coeffs, &split)?.bits[0] >= request.bits {
                    coeffs_to_slots = split;
                    break;
                }
            }
        }
        let raised = sketch.ladder[0] + coeffs_to_slots.len();
        let (_, start) = raising.start(coeffs_to_slots[0], raised);
        Ok(Self {
            request: *request,
            circuit: circuit.clone(),
            chain: *chain,
            precision: precision(slots_to_coeffs, &coeffs_to_slots)?,
            sketch: sketch.clone(),
            literal: literal.clone(),
            reach: reach(request, circuit),
            eval_mod: eval_mod.clone(),
            slots_to_coeffs,
            coeffs_to_slots,
            start,
        })
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
        &self.sketch.ladder
    }

    /// The level ciphertexts are raised to: the highest, unless so few slots are transformed in fewer factors.
    #[must_use]
    pub fn raised_level(&self) -> usize {
        self.ladder()[0] + self.coeffs_to_slots.len()
    }

    /// The level of the result.
    #[must_use]
    pub fn output_level(&self) -> usize {
        self.circuit.output_level(&self.request)
    }

    /// The level that a bootstrap starts at: a level for each factor of slots_to_coeffs. Ciphertexts above it lose their
    /// higher limbs first; those below cannot be bootstrapped.
    #[must_use]
    pub fn input_level(&self) -> usize {
        self.slots_to_coeffs
    }

    /// Expected bits of the worst number, which nine runs in ten keep, and of the mean error.
    #[must_use]
    pub fn expected_bits(&self) -> [f64; 2] {
        self.precision.bits
    }

    /// log2 of the standard deviation of the error that a bootstrap adds to each real number.
    #[must_use]
    pub fn log_error(&self) -> f64 {
        self.precision.log_deviation
    }

    /// What each part of a bootstrap adds to that error.
    #[must_use]
    pub fn stage_noise(&self) -> &[StageNoise] {
        &self.precision.stages
    }

    /// log2 of a bound on the probability that a bootstrap returns garbage: that a multiple of q_0 reaches beyond the
    /// cosine's interval.
    #[must_use]
    pub fn failure_log2(&self) -> f64 {
        let n = 1usize << self.request.log_n;
        let share = (-self.circuit.log_ratio).exp2();
        failure_log2(self.circuit.ephemeral_weight, n, self.reach, share)
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
        self.circuit.packs(&self.request)
    }

    /// Every key a [`super::Bootstrapper`] needs.
    ///
    /// # Errors
    /// [`Error::InvalidLinearTransform`] never, for a checked plan.
    pub fn key_request(&self) -> Result<KeyRequest> {
        let mut keys = KeyRequest::default();
        for (_, request) in self.keys_by_use()? {
            keys.merge(&request);
        }
        Ok(keys)
    }

    /// The keys of each part of a bootstrap. Parts share keys, at the highest level of a band that any of them needs.
    ///
    /// # Errors
    /// As [`BootstrapPlan::key_request`].
    pub fn keys_by_use(&self) -> Result<Vec<(&'static str, KeyRequest)>> {
        let request_for = |add: &dyn Fn(&mut KeyRequest)| {
            let mut keys = KeyRequest::default();
            add(&mut keys);
            keys
        };
        let transforms = |transforms: Vec<PlannedTransform>| {
            request_for(&|keys| {
                for transform in &transforms {
                    keys.add_rotations(&transform.shape.rotations(transform.level));
                }
            })
        };
        let top = self.ladder()[0];
        let mut encapsulation = EncapsulationRequest::new(self.circuit.ephemeral_weight, self.raised_level());
        let babies = match self.raised_factor()? {
            Some(factor) => factor.shape.diagonals().iter().map(|idx| idx.baby).collect(),
            None => vec![0],
        };
        for step in raised_steps(self.max_slots(), self.start.log_traced, &babies) {
            encapsulation.add_rotation(step, self.raised_level());
        }
        Ok(vec![
            (
                "eval_mod",
                request_for(&|keys| {
                    let depths = self.eval_mod.relinearization_depths();
                    depths.iter().for_each(|depth| keys.add_relin(self.ladder()[*depth]));
                }),
            ),
            ("conjugation", request_for(&|keys| keys.add_conjugation(top))),
            ("mod_raise", request_for(&|keys| keys.add_encapsulation(&encapsulation))),
            (
                "trace",
                request_for(&|keys| {
                    for step in self.trace_steps() {
                        keys.add_rotation(step, self.raised_level());
                    }
                }),
            ),
            ("coeffs_to_slots", transforms(self.coeffs_to_slots()?)),
            ("slots_to_coeffs", transforms(self.slots_to_coeffs()?)),
            ("merge", transforms(self.take_halves_apart()?.into_iter().collect())),
        ])
    }

    /// Slots of the ring.
    fn max_slots(&self) -> usize {
        1 << (self.request.log_n - 1)
    }

    /// Butterfly stages of each factor of coefficients-to-slots.
    pub(super) fn stages_to_slots(&self) -> &[usize] {
        &self.coeffs_to_slots
    }

    /// Those of the factors after raising.
    pub(crate) fn ordinary_stages(&self) -> &[usize] {
        &self.coeffs_to_slots[usize::from(self.start.transforms)..]
    }

    /// Special primes of keys from the ephemeral secret.
    pub(super) fn raising_special(&self) -> usize {
        raising_special(&self.literal)
    }

    /// What is done while raising.
    pub(super) fn start(&self) -> Start {
        self.start
    }

    /// The steps of the trace that follow raising.
    pub(super) fn trace_steps(&self) -> Vec<usize> {
        trace_steps(self.request.slots, self.max_slots() >> self.start.log_traced)
    }

    /// All factors of coefficients-to-slots. The result is twice the real part of what they yield.
    fn all_coeffs_to_slots(&self) -> Vec<DiagonalMatrix> {
        let (slots, width) = (self.request.slots, self.reduced_slots());
        let fft = SpecialFft::new(slots);
        let mut factors = coeffs_to_slots_factors(&fft, slots, width, &self.coeffs_to_slots);
        if self.is_packed()
            && let Some(last) = factors.last_mut()
        {
            // Twice the real part of -i w is twice the imaginary part of w.
            last.scale_rows(halves(width, UNIT_I[1]));
        }
        factors
    }

    /// The first factor of coefficients-to-slots, where it is applied while raising.
    pub(super) fn raised_factor(&self) -> Result<Option<PlannedTransform>> {
        let first = self.all_coeffs_to_slots().into_iter().next();
        let first = first.filter(|_| self.start.transforms).map(DiagonalMatrix::into_babies);
        let planned = first.transpose()?.map(|(shape, values)| PlannedTransform {
            shape,
            values,
            level: self.raised_level(),
        });
        Ok(planned)
    }

    /// The factors of coefficients-to-slots after raising, in order.
    pub(super) fn coeffs_to_slots(&self) -> Result<Vec<PlannedTransform>> {
        let done = usize::from(self.start.transforms);
        let factors = self.all_coeffs_to_slots().split_off(done);
        self.planned(factors, self.raised_level() - done)
    }

    /// The factors of slots-to-coefficients, in order.
    pub(super) fn slots_to_coeffs(&self) -> Result<Vec<PlannedTransform>> {
        let slots = self.request.slots;
        let fft = SpecialFft::new(slots);
        let factors = slots_to_coeffs_factors(
            &fft,
            slots,
            slots,
            &run_lengths(slots.trailing_zeros() as usize, self.slots_to_coeffs),
        );
        self.planned(factors, self.input_level())
    }

    /// Where real and imaginary parts lie side by side: the transform that yields each of them in all slots.
    pub(super) fn take_halves_apart(&self) -> Result<Option<PlannedTransform>> {
        if !self.is_packed() {
            return Ok(None);
        }
        let (slots, width) = (self.request.slots, self.reduced_slots());
        let mut values = BTreeMap::new();
        for (out, baby) in [(0, 0), (0, slots), (1, 0), (1, slots)] {
            // The half in place, or the other one rotated there.
            let is_first = (out == 0) == (baby == 0);
            let mask = (0..width).map(|j| Complex64::from(if (j < slots) == is_first { 1.0 } else { 0.0 }));
            let idx = DiagonalIdx {
                out,
                giant: 0,
                input: 0,
                baby,
            };
            values.insert(idx, mask.collect());
        }
        let shape = LinearTransform::new(width, 1, 2, values.keys().copied().collect(), Vec::new())?;
        Ok(Some(PlannedTransform {
            shape,
            values,
            level: self.output_level() + 1,
        }))
    }

    fn planned(&self, factors: Vec<DiagonalMatrix>, from: usize) -> Result<Vec<PlannedTransform>> {
        let switch = switch_shape(&self.literal);
        factors
            .into_iter()
            .enumerate()
            .map(|(i, factor)| {
                let level = from - i;
                let (shape, values) =
                    factor.into_transform(|shape| switch.transform(&TransformCounts::of(shape), level))?;
                Ok(PlannedTransform { shape, values, level })
            })
            .collect()
    }

    /// Scale under which a raised ciphertext is declared, so that the slots become the reduction's input.
    pub(super) fn raised_scale(&self, params: &Parameters) -> f64 {
        let gap = params.max_slots() / self.request.slots;
        2.0 * gap as f64 * params.q()[0] as f64 * self.eval_mod.width()
    }
}

/// The key switch of a chain.
pub(super) fn switch_shape(literal: &ParametersLiteral) -> SwitchShape {
    SwitchShape {
        gadgets: literal.level_gadgets(),
    }
}

/// Special primes of keys from the ephemeral secret.
fn raising_special(literal: &ParametersLiteral) -> usize {
    let log2 = |prime: &u64| (*prime as f64).log2();
    let special: Vec<f64> = literal.p.iter().map(log2).collect();
    special_limbs_beyond(&special, log2(&literal.q[0]) + RAISED_MARGIN)
}
