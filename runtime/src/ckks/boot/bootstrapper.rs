//! Runs a planned bootstrap: mod_raise, trace, coeffs_to_slots, eval_mod, slots_to_coeffs.
//!
//! Assumes keys made for the plan's request. Ensures the message again, at the plan's output level and its canonical scale.

use std::sync::Arc;

use super::mod_raise::mod_raise;
use super::plan::{BootstrapPlan, Content, PlannedTransform};
use super::trace::trace;
use crate::ckks::Ciphertext;
use crate::ckks::encoding::Encoder;
use crate::ckks::eval::{EncodedDiagonals, Evaluator, RawDiagonals};
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
        let diagonals = RawDiagonals::new(encoder, &planned.shape, &planned.values).encode(&encoding)?;
        Ok(Self {
            shape: planned.shape,
            diagonals,
            level: planned.level,
        })
    }

    fn apply(&self, evaluator: &Evaluator, input: &Ciphertext) -> Result<Ciphertext> {
        let mut outputs = evaluator.linear_transform(&[input], &self.shape, &self.diagonals, self.level)?;
        Ok(outputs.swap_remove(0))
    }
}

/// Everything a bootstrap needs, made once.
pub struct Bootstrapper {
    plan: BootstrapPlan,
    evaluator: Arc<Evaluator>,
    encapsulation: Arc<EncapsulationKeys>,
    coeffs_to_slots: Vec<Factor>,
    slots_to_coeffs: Vec<Factor>,
    /// Declared scale of the reduction's result.
    reduced_scale: f64,
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
        let encapsulation = evaluator
            .keys()
            .encapsulation(plan.circuit().ephemeral_weight, plan.raised_level())?;
        let encapsulation = Arc::clone(encapsulation);
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
        let coeffs_to_slots = factors(plan.coeffs_to_slots()?, plan.raised_scale(&params))?;
        // 2 pi m / q_0 at the ladder's scale is m at this one.
        let bottom = *plan.ladder().last().unwrap_or(&0);
        let reduced_scale = params.scale(bottom) * std::f64::consts::TAU * params.scale(0) / params.q()[0] as f64;
        let slots_to_coeffs = factors(plan.slots_to_coeffs()?, reduced_scale)?;
        let mut monomial = vec![0; params.n()];
        monomial[params.n() / 2] = 1;
        let mut unit_i = Poly::from_signed(params.ring(), Basis::q(plan.ladder()[0]), &monomial);
        unit_i.to_eval();
        Ok(Self {
            plan,
            encapsulation,
            coeffs_to_slots,
            slots_to_coeffs,
            reduced_scale,
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
        let factors = self.coeffs_to_slots.iter().chain(&self.slots_to_coeffs);
        factors.map(|factor| factor.diagonals.memory_bytes()).sum()
    }

    /// The same values, of magnitude up to one, at [`BootstrapPlan::output_level`] and its canonical scale. Under a plan for
    /// real content imaginary parts are lost.
    ///
    /// # Errors
    /// [`Error::SlotMismatch`] for another slot count than the plan's, [`Error::DegreeMismatch`] for more than two parts,
    /// [`Error::ScaleMismatch`] for a ciphertext at level 0 that has not its canonical scale; missing keys.
    pub fn bootstrap(&self, ciphertext: &Ciphertext) -> Result<Ciphertext> {
        self.bootstrap_times(1.0, ciphertext)
    }

    /// The message times `factor`, which the reduction's scale takes in.
    fn bootstrap_times(&self, factor: f64, ciphertext: &Ciphertext) -> Result<Ciphertext> {
        let raised = self.raise(ciphertext)?;
        let parts = self.to_slots(raised)?;
        let reduced = parts
            .iter()
            .map(|part| {
                let ladder = self.plan.ladder();
                let scale = factor * self.evaluator.params().scale(ladder[ladder.len() - 1]);
                self.plan.eval_mod().evaluate(&self.evaluator, part, ladder, scale)
            })
            .collect::<Result<Vec<_>>>()?;
        self.to_coeffs(reduced)
    }

    /// Two real ciphertexts through one bootstrap planned for complex content.
    ///
    /// # Errors
    /// As [`Bootstrapper::bootstrap`]; [`Error::InvalidParameter`] for a plan for real content; operands that cannot be
    /// added.
    pub fn bootstrap_pair(&self, a: &Ciphertext, b: &Ciphertext) -> Result<[Ciphertext; 2]> {
        if self.plan.request().content == Content::Real {
            let reason = "two real ciphertexts need a plan for complex content".into();
            return Err(Error::InvalidParameter {
                name: "content",
                reason,
            });
        }
        let evaluator = &self.evaluator;
        let (a, b) = (self.at_bottom(a)?, self.at_bottom(b)?);
        // Adding and subtracting the conjugate doubles.
        let sum = self.bootstrap_times(0.5, &evaluator.add(&a, &self.times_i(&b, 1))?)?;
        let conjugate = evaluator.conjugate(&sum)?;
        Ok([
            evaluator.add(&sum, &conjugate)?,
            self.times_i(&evaluator.sub(&sum, &conjugate)?, -1),
        ])
    }

    /// At level 0 and its canonical scale.
    fn at_bottom(&self, ciphertext: &Ciphertext) -> Result<Ciphertext> {
        self.evaluator.adjust_to(ciphertext, 0)
    }

    /// To the top of the chain, traced onto the message's subring, at the scale that the transforms expect.
    fn raise(&self, ciphertext: &Ciphertext) -> Result<Ciphertext> {
        let (found, slots) = (ciphertext.slots(), self.plan.request().slots);
        if found != slots {
            return Err(Error::SlotMismatch {
                what: "bootstrap",
                left: found,
                right: slots,
            });
        }
        ciphertext.check_parts("bootstrap", 2)?;
        let params = self.evaluator.params();
        let bottom = self.at_bottom(ciphertext)?;
        let raised = mod_raise(params, &self.encapsulation, &bottom, self.plan.raised_level())?;
        let mut traced = trace(&self.evaluator, raised)?;
        traced.set_scale(self.plan.raised_scale(params));
        traced.slots = self.plan.reduced_slots();
        Ok(traced)
    }

    /// Coefficients to slots: one ciphertext, or two where real and imaginary parts need one each.
    fn to_slots(&self, raised: Ciphertext) -> Result<Vec<Ciphertext>> {
        let evaluator = &self.evaluator;
        let w = self
            .coeffs_to_slots
            .iter()
            .try_fold(raised, |ct, factor| factor.apply(evaluator, &ct))?;
        let conjugate = evaluator.conjugate(&w)?;
        let mut parts = vec![evaluator.add(&w, &conjugate)?];
        if self.plan.request().content == Content::Complex && !self.plan.is_packed() {
            parts.push(self.times_i(&evaluator.sub(&w, &conjugate)?, -1));
        }
        Ok(parts)
    }

    /// Slots to coefficients, from the reduced real and imaginary parts.
    fn to_coeffs(&self, reduced: Vec<Ciphertext>) -> Result<Ciphertext> {
        let evaluator = &self.evaluator;
        let mut parts = reduced.into_iter();
        let mut w = parts.next().ok_or(Error::InvalidLinearTransform {
            reason: "there is nothing to transform".into(),
        })?;
        for part in parts {
            w = evaluator.add(&w, &self.times_i(&part, 1))?;
        }
        w.set_scale(self.reduced_scale);
        let mut z = self
            .slots_to_coeffs
            .iter()
            .try_fold(w, |ct, factor| factor.apply(evaluator, &ct))?;
        z.slots = self.plan.request().slots;
        if self.plan.request().content == Content::Real {
            let conjugate = evaluator.conjugate(&z)?;
            evaluator.add_in_place(&mut z, &conjugate)?;
        }
        Ok(z)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::boot::{BootstrapCircuit, BootstrapRequest};
    use crate::ckks::encoding::Complex64;
    use crate::ckks::keys::SecretKey;
    use crate::ckks::params::Security;
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
            wide_steps: 0,
            coeffs_to_slots: 2,
            slots_to_coeffs: 2,
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
        assert!(mod_raise(&params, keys, &ciphertext, plan.raised_level() + 1).is_err());
    }

    #[test]
    fn the_trace_keeps_the_message_and_drops_the_rest() {
        let mut setup = setup(64, Content::Complex);
        let params = Arc::clone(setup.bootstrapper.evaluator.params());
        let level = setup.bootstrapper.plan.raised_level();
        let ciphertext = setup.encrypt(&message(256), level, 2f64.powi(45));
        let before = setup.coefficients(&ciphertext);
        let mut sparse = ciphertext;
        sparse.slots = 64;
        let after = setup.coefficients(&trace(&setup.bootstrapper.evaluator, sparse).unwrap());
        assert_eq!(super::super::trace_steps(64, params.max_slots()), [64, 128]);
        for (i, (before, after)) in before.iter().zip(after).enumerate() {
            let expected = if i % 4 == 0 { 4.0 * before } else { 0.0 };
            assert!((after - expected).abs() < 2f64.powi(12), "{i}: {after} {expected}");
        }
    }

    #[test]
    fn transforms_go_to_slots_and_back() {
        for (slots, content) in [(256, Content::Real), (256, Content::Complex), (64, Content::Complex)] {
            let mut setup = setup(slots, content);
            let plan = setup.bootstrapper.plan.clone();
            let params = Arc::clone(setup.bootstrapper.evaluator.params());
            let mut values = message(slots);
            if content == Content::Real {
                values.iter_mut().for_each(|value| value.im = 0.0);
            }
            let scale = plan.raised_scale(&params);
            let gap = params.max_slots() / slots;
            let mut input = setup.encrypt(&values, plan.raised_level(), scale);
            // One coefficient in `gap` belongs to the message, bit-reversed among the slots.
            let coefficients = setup.coefficients(&input);
            input.slots = plan.reduced_slots();
            let parts = setup.bootstrapper.to_slots(input).unwrap();
            let half = |part: usize, j: usize| {
                let index = j.reverse_bits() >> (usize::BITS - slots.trailing_zeros());
                2.0 * coefficients[(index + part * slots) * gap] / scale
            };
            let found: Vec<Vec<Complex64>> = parts.iter().map(|part| setup.decrypt(part)).collect();
            let found: Vec<f64> = found.concat().iter().map(|value| value.re).collect();
            for (position, found) in found.iter().enumerate() {
                let expected = half(position / slots, position % slots);
                assert!(
                    (found - expected).abs() < 1e-7,
                    "{content:?} {position}: {found} {expected}"
                );
            }
            // Back: at the reduction's end, with the reduced scale standing for what the transforms took away.
            let bottom = plan.ladder()[plan.ladder().len() - 1];
            let reduced: Vec<Ciphertext> = found
                .chunks(plan.reduced_slots())
                .map(|half| {
                    let half: Vec<_> = half.iter().map(|value| Complex64::from(value / 2.0)).collect();
                    setup.encrypt(&half, bottom, setup.bootstrapper.reduced_scale)
                })
                .collect();
            let result = setup.bootstrapper.to_coeffs(reduced).unwrap();
            let level = plan.output_level();
            assert_eq!((result.level(), result.scale()), (level, params.scale(level)));
            for (found, expected) in setup.decrypt(&result).iter().zip(&values) {
                assert!((*found - *expected).abs() < 1e-6, "{content:?}: {found:?} {expected:?}");
            }
        }
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
        let result = plan
            .eval_mod()
            .evaluate(evaluator, &input, &ladder, params.scale(bottom))
            .unwrap();
        assert_eq!((result.level(), result.scale()), (bottom, params.scale(bottom)));
        for (found, m) in setup.decrypt(&result).iter().zip(&small) {
            let expected = (std::f64::consts::TAU * m).sin();
            assert!((found.re - expected).abs() < 1e-6, "{found:?} {expected}");
        }
        assert!(plan.eval_mod().evaluate(evaluator, &input, &ladder[1..], 1.0).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut setup = setup(64, Content::Real);
        let params = Arc::clone(setup.bootstrapper.evaluator.params());
        let other = setup.encrypt(&message(32), 0, params.scale(0));
        assert!(matches!(
            setup.bootstrapper.bootstrap(&other),
            Err(Error::SlotMismatch { .. })
        ));
        let scaled = setup.encrypt(&message(64), 0, params.scale(0) * 1.5);
        assert!(matches!(
            setup.bootstrapper.bootstrap(&scaled),
            Err(Error::ScaleMismatch { .. })
        ));
        let pair = setup.encrypt(&message(64), 0, params.scale(0));
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
