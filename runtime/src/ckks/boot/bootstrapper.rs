//! Runs a planned bootstrap: slots_to_coeffs, mod_raise, trace, coeffs_to_slots, eval_mod.
//!
//! Assumes keys made for the plan's request. Ensures the message again, at the plan's output level and its canonical scale.

use std::sync::Arc;

use super::cost::{SwitchShape, TransformCounts};
use super::mod_raise::{mod_raise_traced, mod_raise_transformed, raised_encoding};
use super::plan::{BootstrapPlan, Content, PlannedTransform, switch_shape};
use super::profile::{StageTime, Stopwatch};
use super::trace::trace_from;
use crate::ckks::Ciphertext;
use crate::ckks::encoding::Encoder;
use crate::ckks::eval::{DiagonalEncoding, EncodedDiagonals, Evaluator, RawDiagonals};
use crate::ckks::keys::{EncapsulationKeys, EvaluationKeys};
use crate::ckks::linear::LinearTransform;
use crate::ckks::params::Parameters;
use crate::error::{Error, Result};
use crate::ring::{Basis, Poly};

/// One factor with its diagonals encoded.
struct Factor {
    shape: LinearTransform,
    diagonals: EncodedDiagonals,
    level: usize,
}

impl Factor {
    /// Encodes a factor for inputs of this scale.
    fn new(evaluator: &Evaluator, encoder: &Encoder, planned: PlannedTransform, input_scale: f64) -> Result<Self> {
        let encoding = evaluator.diagonal_encoding(&planned.shape, planned.level, input_scale)?;
        Self::encoded(encoder, planned, &encoding)
    }

    fn encoded(encoder: &Encoder, planned: PlannedTransform, encoding: &DiagonalEncoding) -> Result<Self> {
        let diagonals = RawDiagonals::new(encoder, &planned.shape, &planned.values).encode(encoding)?;
        Ok(Self {
            shape: planned.shape,
            diagonals,
            level: planned.level,
        })
    }

    fn apply(&self, evaluator: &Evaluator, input: &Ciphertext) -> Result<Vec<Ciphertext>> {
        evaluator.linear_transform(&[input], &self.shape, &self.diagonals, self.level)
    }
}

/// Everything a bootstrap needs, made once.
pub struct Bootstrapper {
    plan: BootstrapPlan,
    evaluator: Arc<Evaluator>,
    encapsulation: Arc<EncapsulationKeys>,
    switch: SwitchShape,
    slots_to_coeffs: Vec<Factor>,
    /// The factor of coeffs_to_slots that is applied while raising, with how its diagonals are encoded.
    raised: Option<(Factor, DiagonalEncoding)>,
    /// The others.
    coeffs_to_slots: Vec<Factor>,
    /// Yields the real and the imaginary parts where they were reduced side by side.
    take_halves_apart: Option<Factor>,
    /// X^(N/2), which is i in every slot.
    unit_i: Poly,
}

impl Bootstrapper {
    /// Encodes the linear transforms of a plan.
    ///
    /// # Errors
    /// [`Error::ParameterMismatch`] for keys of other parameters than the plan's, [`Error::MissingEncapsulationKeys`].
    pub fn new(plan: BootstrapPlan, evaluator: Arc<Evaluator>) -> Result<Self> {
        let params = Arc::clone(evaluator.params());
        if params.literal() != plan.literal() {
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(Error::ParameterMismatch {
                object: "a bootstrap plan",
                expected: hex(params.fingerprint()),
                found: hex(Parameters::new(plan.literal().clone())?.fingerprint()),
            });
        }
        let weight = plan.circuit().ephemeral_weight;
        let request = plan.key_request()?.encapsulation;
        let request = request.ok_or(Error::MissingEncapsulationKeys { hamming_weight: weight })?;
        let encapsulation = Arc::clone(evaluator.keys().encapsulation(&request)?);
        let encoder = Encoder::new(&params);
        let factors = |planned: Vec<PlannedTransform>, mut scale: f64| -> Result<Vec<Factor>> {
            planned
                .into_iter()
                .map(|planned| {
                    let level = planned.level;
                    let factor = Factor::new(&evaluator, &encoder, planned, scale)?;
                    scale = params.scale(level - 1);
                    Ok(factor)
                })
                .collect()
        };
        let slots_to_coeffs = factors(plan.slots_to_coeffs()?, params.scale(plan.input_level()))?;
        let (raised_level, mut scale) = (plan.raised_level(), plan.raised_scale(&params));
        let mut raised = None;
        if let Some(planned) = plan.raised_factor()? {
            let encoding = raised_encoding(&params, raised_level, evaluator.plain_scale(raised_level, scale)?);
            raised = Some((Factor::encoded(&encoder, planned, &encoding)?, encoding));
            scale = params.scale(raised_level - 1);
        }
        let coeffs_to_slots = factors(plan.coeffs_to_slots()?, scale)?;
        let halves = plan.take_halves_apart()?.into_iter().collect();
        let take_halves_apart = factors(halves, params.scale(plan.output_level() + 1))?.pop();
        let mut monomial = vec![0; params.n()];
        monomial[params.n() / 2] = 1;
        let mut unit_i = Poly::from_signed(params.ring(), Basis::q(plan.ladder()[0]), &monomial);
        unit_i.to_eval();
        Ok(Self {
            switch: switch_shape(plan.literal()),
            plan,
            encapsulation,
            slots_to_coeffs,
            raised,
            coeffs_to_slots,
            take_halves_apart,
            unit_i,
            evaluator,
        })
    }

    /// A bootstrapper with an evaluator of its own.
    ///
    /// # Errors
    /// As [`Bootstrapper::new`].
    pub fn with_keys(plan: BootstrapPlan, keys: EvaluationKeys) -> Result<Self> {
        Self::new(plan, Arc::new(Evaluator::new(keys)))
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &BootstrapPlan {
        &self.plan
    }

    /// The evaluator in use.
    #[must_use]
    pub fn evaluator(&self) -> &Arc<Evaluator> {
        &self.evaluator
    }

    /// Bytes of all encoded diagonals in memory.
    #[must_use]
    pub fn diagonal_bytes(&self) -> usize {
        let raised = self.raised.iter().map(|(factor, _)| factor);
        let factors = self.coeffs_to_slots.iter().chain(&self.slots_to_coeffs);
        raised
            .chain(factors)
            .chain(&self.take_halves_apart)
            .map(|factor| factor.diagonals.memory_bytes())
            .sum()
    }

    /// The same values, of magnitude up to one, at [`BootstrapPlan::output_level`] and its canonical scale. Under a plan for
    /// real content imaginary parts are lost.
    ///
    /// # Errors
    /// [`Error::SlotMismatch`] for another slot count than the plan's, [`Error::DegreeMismatch`] for more than two parts,
    /// [`Error::LevelTooLow`] below [`BootstrapPlan::input_level`], [`Error::ScaleMismatch`] for a ciphertext at that level
    /// that has not its canonical scale; missing keys.
    pub fn bootstrap(&self, ciphertext: &Ciphertext) -> Result<Ciphertext> {
        Ok(self.bootstrap_profiled(ciphertext)?.0)
    }

    /// As [`Bootstrapper::bootstrap`], with the time that every stage took.
    ///
    /// # Errors
    /// As [`Bootstrapper::bootstrap`].
    pub fn bootstrap_profiled(&self, ciphertext: &Ciphertext) -> Result<(Ciphertext, Vec<StageTime>)> {
        let mut watch = Stopwatch::start();
        let parts = self.refresh(self.at_input(ciphertext)?, &mut watch)?;
        let [re, im] = &parts[..] else {
            return Ok((first(parts)?, watch.into_stages()));
        };
        Ok((self.evaluator.add(re, &self.times_i(im, 1))?, watch.into_stages()))
    }

    /// Two real ciphertexts through one bootstrap planned for complex content.
    ///
    /// # Errors
    /// As [`Bootstrapper::bootstrap`]; [`Error::InvalidParameter`] for a plan for real content; operands that cannot be
    /// added.
    pub fn bootstrap_pair(&self, a: &Ciphertext, b: &Ciphertext) -> Result<[Ciphertext; 2]> {
        Ok(self.bootstrap_pair_profiled(a, b)?.0)
    }

    /// As [`Bootstrapper::bootstrap_pair`], with the time that every stage took.
    ///
    /// # Errors
    /// As [`Bootstrapper::bootstrap_pair`].
    pub fn bootstrap_pair_profiled(&self, a: &Ciphertext, b: &Ciphertext) -> Result<([Ciphertext; 2], Vec<StageTime>)> {
        let need_complex = || Error::InvalidParameter {
            name: "content",
            reason: "two real ciphertexts need a plan for complex content".into(),
        };
        if self.plan.request().content == Content::Real {
            return Err(need_complex());
        }
        let (a, b) = (self.at_input(a)?, self.at_input(b)?);
        let both = self.evaluator.add(&a, &self.times_i(&b, 1))?;
        let mut watch = Stopwatch::start();
        let parts = self.refresh(both, &mut watch)?;
        Ok((parts.try_into().map_err(|_| need_complex())?, watch.into_stages()))
    }

    /// At the level of the first transform and its canonical scale.
    fn at_input(&self, ciphertext: &Ciphertext) -> Result<Ciphertext> {
        let (found, slots) = (ciphertext.slots(), self.plan.request().slots);
        if found != slots {
            return Err(Error::SlotMismatch {
                what: "bootstrap",
                left: found,
                right: slots,
            });
        }
        ciphertext.check_parts("bootstrap", 2)?;
        self.evaluator.adjust_to(ciphertext, self.plan.input_level())
    }

    /// The real part, and with complex content the imaginary part, of a ciphertext at the input level.
    fn refresh(&self, input: Ciphertext, watch: &mut Stopwatch) -> Result<Vec<Ciphertext>> {
        let coefficients = self.run((&self.slots_to_coeffs, 1), input, "slots_to_coeffs", watch)?;
        let raised = self.raise(&coefficients, watch)?;
        let parts = self.to_slots(raised, watch)?;
        self.reduce(parts, watch)
    }

    /// One factor after the other, numbered from `first_number` on.
    fn run(
        &self,
        (factors, first_number): (&[Factor], usize),
        input: Ciphertext,
        what: &str,
        watch: &mut Stopwatch,
    ) -> Result<Ciphertext> {
        let mut value = input;
        for (number, factor) in (first_number..).zip(factors) {
            value = first(factor.apply(&self.evaluator, &value)?)?;
            self.lap_factor(factor, format!("{what}, factor {number}"), watch);
        }
        Ok(value)
    }

    fn lap_factor(&self, factor: &Factor, what: String, watch: &mut Stopwatch) {
        let counts = TransformCounts::of(&factor.shape);
        let transforms = self.switch.transform_transforms(&counts, factor.level);
        watch.lap(what, factor.level, factor.shape.key_switches(), transforms);
    }

    /// To the top of the chain, traced onto the message's subring, at the scale that the transforms expect; and through the first
    /// of them where that is part of raising.
    fn raise(&self, bottom: &Ciphertext, watch: &mut Stopwatch) -> Result<Ciphertext> {
        let (params, keys) = (self.evaluator.params(), &self.encapsulation);
        let (level, log_traced) = (self.plan.raised_level(), self.plan.start().log_traced);
        let limbs = params.ring().limb_count(EncapsulationKeys::raised_basis(params, level));
        if let Some((factor, encoding)) = &self.raised {
            let transform = (&factor.shape, &factor.diagonals);
            let raised = mod_raise_transformed(params, keys, bottom, log_traced, transform, encoding)?;
            let rotations = factor.shape.diagonals().len() << log_traced;
            watch.lap("mod_raise and factor 1", 0, 1 + rotations, 3 * limbs + level);
            return Ok(raised);
        }
        let mut raised = mod_raise_traced(params, keys, bottom, level, log_traced)?;
        watch.lap("mod_raise", 0, 1 + (1 << log_traced), 3 * limbs + level + 1);
        let steps = self.plan.trace_steps().len();
        raised = trace_from(&self.evaluator, raised, params.max_slots() >> log_traced)?;
        raised.set_scale(self.plan.raised_scale(params));
        raised.slots = self.plan.reduced_slots();
        watch.lap("trace", level, steps, steps * self.switch.switch_transforms(level));
        Ok(raised)
    }

    /// Coefficients to slots: one ciphertext, or two where real and imaginary parts need one each.
    fn to_slots(&self, raised: Ciphertext, watch: &mut Stopwatch) -> Result<Vec<Ciphertext>> {
        let evaluator = &self.evaluator;
        let first_number = 1 + usize::from(self.raised.is_some());
        let w = self.run((&self.coeffs_to_slots, first_number), raised, "coeffs_to_slots", watch)?;
        let conjugate = evaluator.conjugate(&w)?;
        let mut parts = vec![evaluator.add(&w, &conjugate)?];
        if self.plan.request().content == Content::Complex && !self.plan.is_packed() {
            parts.push(self.times_i(&evaluator.sub(&w, &conjugate)?, -1));
        }
        watch.lap("conjugation", w.level(), 1, self.switch.switch_transforms(w.level()));
        Ok(parts)
    }

    /// The reduction, at the output level.
    fn reduce(&self, parts: Vec<Ciphertext>, watch: &mut Stopwatch) -> Result<Vec<Ciphertext>> {
        let (evaluator, params, plan) = (&self.evaluator, self.evaluator.params(), &self.plan);
        let ladder = plan.ladder();
        let (count, bottom, output) = (parts.len(), ladder[ladder.len() - 1], plan.output_level());
        // 2 pi m / q_0 at this scale is m at the message's.
        let message_scale = params.scale(if plan.is_packed() { bottom } else { output });
        let scale = message_scale * params.q()[0] as f64 / (std::f64::consts::TAU * params.scale(0));
        let mut ended = |what: &'static str, depths: Vec<usize>| {
            let transforms = depths.iter().map(|depth| self.switch.switch_transforms(ladder[*depth]));
            let level = depths.first().map_or(bottom, |depth| ladder[*depth]);
            watch.lap(what, level, count * depths.len(), count * transforms.sum::<usize>());
        };
        let mut reduced = plan
            .eval_mod()
            .evaluate_timed(evaluator, parts, ladder, scale, &mut ended)?;
        reduced.iter_mut().for_each(|part| part.set_scale(message_scale));
        let mut parts = match &self.take_halves_apart {
            None => reduced
                .iter()
                .map(|part| evaluator.drop_level(part, output))
                .collect::<Result<Vec<_>>>()?,
            Some(factor) => {
                let parts = factor.apply(evaluator, &first(reduced)?)?;
                self.lap_factor(factor, "halves apart".into(), watch);
                parts
            }
        };
        parts.iter_mut().for_each(|part| part.slots = plan.request().slots);
        Ok(parts)
    }

    /// Times i, or -i for a negative sign: exact and free of levels.
    fn times_i(&self, ciphertext: &Ciphertext, sign: i64) -> Ciphertext {
        let mut product = self.evaluator.mul_integer(ciphertext, sign);
        product.each_part(|part| {
            *part = Poly::inner_product(part.basis(), &[&*part], &[&self.unit_i]);
        });
        product
    }
}

fn first(ciphertexts: Vec<Ciphertext>) -> Result<Ciphertext> {
    ciphertexts.into_iter().next().ok_or(Error::InvalidLinearTransform {
        reason: "there is nothing to transform".into(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::ckks::boot::{BootstrapCircuit, BootstrapRequest, mod_raise, trace_steps};
    use crate::ckks::encoding::Complex64;
    use crate::ckks::keys::SecretKey;
    use crate::ckks::params::{SecretDistribution, Security};
    use crate::ring::SecretRng;

    struct Setup {
        secret: SecretKey,
        rng: SecretRng,
        encoder: Encoder,
        bootstrapper: Bootstrapper,
    }

    /// A ring that protects nothing.
    fn setup(slots: usize, content: Content) -> Setup {
        let request = BootstrapRequest {
            log_n: 9,
            slots,
            content,
            bits: 18.0,
            levels: 1,
            log_scale: 40.0,
            security: Security::None,
        };
        let circuit = BootstrapCircuit {
            log_ratio: 8.0,
            arcsine_degree: 1,
            doublings: 3,
            log_reduction_prime: 49.3,
            takes_halves_apart: content == Content::Complex && slots < 256,
            coeffs_to_slots: match slots {
                256 => vec![5, 3],
                4 => vec![1, 1],
                _ => vec![2, slots.trailing_zeros() as usize - 2],
            },
            slots_to_coeffs: 2,
            digits: None,
            secret: SecretDistribution::UniformTernary,
            ephemeral_weight: 16,
            failure_log2: -30.0,
        };
        let plan = BootstrapPlan::with_circuit(&request, &circuit).unwrap();
        let params = Parameters::new(plan.literal().clone()).unwrap();
        let mut rng = SecretRng::from_seed([5; 32]);
        let secret = SecretKey::generate(&params, &mut rng);
        let keys = secret.evaluation_keys(&plan.key_request().unwrap(), &mut rng).unwrap();
        Setup {
            encoder: Encoder::new(&params),
            bootstrapper: Bootstrapper::with_keys(plan, keys).unwrap(),
            secret,
            rng,
        }
    }

    impl Setup {
        fn encrypt(&mut self, values: &[Complex64], level: usize, scale: f64) -> Ciphertext {
            let plaintext = self.encoder.encode_complex(values, values.len(), level, scale).unwrap();
            self.secret.encrypt(&plaintext, &mut self.rng).unwrap()
        }

        fn decrypt(&self, ciphertext: &Ciphertext) -> Vec<Complex64> {
            self.encoder.decode_complex(&self.secret.decrypt(ciphertext))
        }

        fn coefficients(&self, ciphertext: &Ciphertext) -> Vec<f64> {
            let plaintext = self.secret.decrypt(ciphertext);
            let mut poly = plaintext.poly.expanded(plaintext.poly.basis());
            poly.to_coeff();
            poly.to_centered_f64()
        }
    }

    fn message(slots: usize) -> Vec<Complex64> {
        (0..slots)
            .map(|i| Complex64::new((1.3 * i as f64).sin(), (0.7 * i as f64).cos()) * 0.7)
            .collect()
    }

    #[test]
    fn raising_adds_small_multiples_of_q_0() {
        let mut setup = setup(256, Content::Complex);
        let params = Arc::clone(setup.bootstrapper.evaluator.params());
        let ciphertext = setup.encrypt(&message(256), 0, params.scale(0));
        let before = setup.coefficients(&ciphertext);
        let plan = setup.bootstrapper.plan.clone();
        let keys = &setup.bootstrapper.encapsulation;
        let raised = mod_raise(&params, keys, &ciphertext, plan.raised_level()).unwrap();
        assert_eq!((raised.level(), raised.scale()), (plan.raised_level(), params.scale(0)));
        let q_0 = params.q()[0] as f64;
        let mut multiples = 0;
        for (before, after) in before.iter().zip(setup.coefficients(&raised)) {
            let multiple = ((after - before) / q_0).round();
            multiples += usize::from(multiple != 0.0);
            assert!(multiple.abs() <= plan.eval_mod().width());
            let noise = after - before - multiple * q_0;
            assert!(noise.abs() < 2f64.powi(12), "{noise}");
        }
        assert!(multiples > 200, "a dense polynomial of multiples: {multiples}");
        let refused = mod_raise(&params, keys, &ciphertext, plan.raised_level() + 1);
        assert!(matches!(
            refused,
            Err(Error::KeyLevelTooLow { .. } | Error::LevelTooHigh { .. })
        ));
    }

    #[test]
    fn the_trace_keeps_the_message_and_drops_the_rest() {
        let mut setup = setup(64, Content::Complex);
        let params = Arc::clone(setup.bootstrapper.evaluator.params());
        let level = setup.bootstrapper.plan.raised_level();
        let ciphertext = setup.encrypt(&message(256), 0, params.scale(0));
        let keys = &setup.bootstrapper.encapsulation;
        let before = setup.coefficients(&mod_raise(&params, keys, &ciphertext, level).unwrap());
        assert_eq!(trace_steps(64, params.max_slots()), [64, 128]);
        // All steps while raising, or the farther one and then the nearer.
        let start = setup.bootstrapper.plan.start().log_traced;
        for log_traced in 0..=start {
            let mut raised = mod_raise_traced(&params, keys, &ciphertext, level, log_traced).unwrap();
            raised.slots = 64;
            let evaluator = &setup.bootstrapper.evaluator;
            let summed = params.max_slots() >> log_traced;
            let Ok(traced) = trace_from(evaluator, raised, summed) else {
                assert!(log_traced < start);
                continue;
            };
            let after = setup.coefficients(&traced);
            for (i, (before, after)) in before.iter().zip(after).enumerate() {
                let expected = if i % 4 == 0 { 4.0 * before } else { 0.0 };
                assert!((after - expected).abs() < 2f64.powi(14), "{i}: {after} {expected}");
            }
        }
    }

    /// Where the number in a slot goes: one coefficient in `gap`, bit-reversed among the slots.
    fn coefficient_of(slots: usize, gap: usize, j: usize) -> usize {
        (j.reverse_bits() >> (usize::BITS - slots.trailing_zeros())) * gap
    }

    #[test]
    fn slots_become_coefficients() {
        for (slots, content) in [(256, Content::Real), (256, Content::Complex), (64, Content::Complex)] {
            let mut setup = setup(slots, content);
            let (bootstrapper, plan) = (&setup.bootstrapper, setup.bootstrapper.plan.clone());
            let params = Arc::clone(bootstrapper.evaluator.params());
            let level = plan.input_level();
            let input = setup.encrypt(&message(slots), level, params.scale(level));
            let bootstrapper = &setup.bootstrapper;
            let output = bootstrapper
                .run((&bootstrapper.slots_to_coeffs, 1), input, "", &mut Stopwatch::start())
                .unwrap();
            assert_eq!((output.level(), output.scale()), (0, params.scale(0)));
            let coefficients = setup.coefficients(&output);
            let gap = params.max_slots() / slots;
            for (j, z) in message(slots).iter().enumerate() {
                let at = coefficient_of(slots, gap, j);
                let found = Complex64::new(coefficients[at], coefficients[at + params.n() / 2]);
                assert!((found * (1.0 / output.scale()) - *z).abs() < 1e-6, "{content:?} {j}");
            }
        }
    }

    /// Raising is deterministic: what is transformed on the way is what raising alone yields.
    #[test]
    fn coefficients_become_slots() {
        let mut starts = BTreeSet::new();
        for (slots, content) in [
            (256, Content::Real),
            (256, Content::Complex),
            (128, Content::Real),
            (64, Content::Complex),
            (4, Content::Complex),
        ] {
            let mut setup = setup(slots, content);
            let plan = setup.bootstrapper.plan.clone();
            let params = Arc::clone(setup.bootstrapper.evaluator.params());
            let scale = plan.raised_scale(&params);
            let gap = params.max_slots() / slots;
            let input = setup.encrypt(&message(slots), 0, params.scale(0));
            let bootstrapper = &setup.bootstrapper;
            let alone = mod_raise(&params, &bootstrapper.encapsulation, &input, plan.raised_level()).unwrap();
            let coefficients = setup.coefficients(&alone);
            let mut watch = Stopwatch::start();
            let raised = bootstrapper.raise(&input, &mut watch).unwrap();
            let parts = bootstrapper.to_slots(raised, &mut watch).unwrap();
            starts.insert((plan.start().log_traced, plan.start().transforms));
            let found: Vec<Vec<Complex64>> = parts.iter().map(|part| setup.decrypt(part)).collect();
            for (position, found) in found.concat().iter().enumerate() {
                let at = coefficient_of(slots, gap, position % slots) + position / slots * params.n() / 2;
                let expected = 2.0 * gap as f64 * coefficients[at] / scale;
                assert!(
                    (found.re - expected).abs() < 1e-7,
                    "{content:?} {slots} {position}: {found:?} {expected}"
                );
            }
        }
        // A whole trace or part of one, with a factor and without.
        let transforming = starts.iter().filter(|(_, transforms)| *transforms);
        assert!(
            transforming.clone().any(|(log_traced, _)| *log_traced > 0),
            "{starts:?}"
        );
        assert!(starts.len() > transforming.count(), "{starts:?}");
    }

    #[test]
    fn the_reduction_takes_multiples_away() {
        let mut setup = setup(256, Content::Real);
        let plan = setup.bootstrapper.plan.clone();
        let params = Arc::clone(setup.bootstrapper.evaluator.params());
        let (ladder, width) = (plan.ladder().to_vec(), plan.eval_mod().width());
        let small: Vec<f64> = message(256).iter().map(|value| value.re / 256.0).collect();
        let reach = width.floor() as usize;
        let slots: Vec<_> = small
            .iter()
            .enumerate()
            .map(|(i, m)| Complex64::from((m + (i % (2 * reach + 1)) as f64 - reach as f64) / width))
            .collect();
        let input = setup.encrypt(&slots, ladder[0], params.scale(ladder[0]));
        let bottom = ladder[ladder.len() - 1];
        let evaluator = &setup.bootstrapper.evaluator;
        let evaluate = |ladder: &[usize]| {
            let inputs = vec![input.clone()];
            plan.eval_mod()
                .evaluate(evaluator, inputs, ladder, params.scale(bottom))
        };
        let result = evaluate(&ladder).unwrap().swap_remove(0);
        assert_eq!((result.level(), result.scale()), (bottom, params.scale(bottom)));
        for (found, m) in setup.decrypt(&result).iter().zip(&small) {
            let expected = (std::f64::consts::TAU * m).sin();
            assert!((found.re - expected).abs() < 1e-6, "{found:?} {expected}");
        }
        assert!(evaluate(&ladder[1..]).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut setup = setup(64, Content::Real);
        let params = Arc::clone(setup.bootstrapper.evaluator.params());
        let level = setup.bootstrapper.plan.input_level();
        let other = setup.encrypt(&message(32), level, params.scale(level));
        assert!(matches!(
            setup.bootstrapper.bootstrap(&other),
            Err(Error::SlotMismatch { .. })
        ));
        let low = setup.encrypt(&message(64), 0, params.scale(0));
        assert!(matches!(
            setup.bootstrapper.bootstrap(&low),
            Err(Error::LevelTooLow { .. })
        ));
        let scaled = setup.encrypt(&message(64), level, params.scale(level) * 1.5);
        assert!(matches!(
            setup.bootstrapper.bootstrap(&scaled),
            Err(Error::ScaleMismatch { .. })
        ));
        let pair = setup.encrypt(&message(64), level, params.scale(level));
        assert!(setup.bootstrapper.bootstrap_pair(&pair, &pair).is_err());
        let keys = EvaluationKeys::new(&params);
        let plan = setup.bootstrapper.plan.clone();
        let missing = Bootstrapper::with_keys(plan, keys).err().unwrap();
        assert!(matches!(
            missing,
            Error::MissingEncapsulationKeys { hamming_weight: 16 }
        ));
    }
}
