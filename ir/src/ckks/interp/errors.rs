//! The errors that one op adds to slots, and the range that its result must stay in.

use super::Contents;
use crate::ckks::CipherType;
use crate::ckks::gaussian::Gaussian;
use crate::ckks::noise::NoiseModel;
use crate::graph::ValueId;

/// Magnitude that a bootstrap takes in a slot: it is made for 1, and its error grows with the cube.
const BOOTSTRAP_RANGE: f64 = 2.0;

/// A model and a source of samples; without them nothing is added.
pub(super) struct Errors<'a> {
    source: Option<(&'a NoiseModel, Gaussian)>,
    slots: usize,
}

impl<'a> Errors<'a> {
    /// The errors of the op that yields `id`.
    pub(super) fn new(noise: Option<&'a (NoiseModel, u64)>, id: ValueId, slots: usize) -> Self {
        let source = noise.map(|(model, seed)| (model, Gaussian::new(*seed, u64::from(id.0))));
        Errors { source, slots }
    }

    /// `value` with errors of the given variance in every slot.
    pub(super) fn add(&mut self, mut value: Contents, variance: impl Fn(&NoiseModel, usize) -> f64) -> Contents {
        let deviation = self.variance(variance).sqrt();
        if let Some((_, gaussian)) = &mut self.source {
            let slots = value.iter_mut().flatten();
            slots.for_each(|x| *x += deviation * gaussian.sample());
        }
        value
    }

    /// `value` with errors of a standard deviation of its own in every slot, given for one period of every ciphertext.
    pub(super) fn add_each(&mut self, mut value: Contents, deviations: &Contents) -> Contents {
        if let Some((_, gaussian)) = &mut self.source {
            for (ct, deviations) in value.iter_mut().zip(deviations) {
                for (x, deviation) in ct.iter_mut().zip(deviations.iter().cycle()) {
                    *x += deviation * gaussian.sample();
                }
            }
        }
        value
    }

    /// What the model says; 0 without one.
    pub(super) fn variance(&self, variance: impl Fn(&NoiseModel, usize) -> f64) -> f64 {
        self.source
            .as_ref()
            .map_or(0.0, |(model, _)| variance(model, self.slots))
    }

    /// Whether errors are added at all.
    pub(super) fn are_on(&self) -> bool {
        self.source.is_some()
    }

    /// `period` bootstrapped, with the errors of that, and repeated over all `slots`.
    pub(super) fn bootstrap(&mut self, period: &Contents, slots: usize) -> Result<Contents, String> {
        let mut fresh = period.clone();
        if let Some((model, _)) = &self.source {
            let variance = model.bootstrap().ok_or("the parameters are made for no bootstrap")?;
            let largest = largest(period);
            if largest > BOOTSTRAP_RANGE {
                return Err(format!(
                    "a slot holds {largest:.3e} before a bootstrap, which takes magnitudes up to {BOOTSTRAP_RANGE}; widen \
                     the calibrated ranges"
                ));
            }
            fresh = self.add(fresh, |_, _| variance);
        }
        Ok(fresh.iter().map(|ct| ct.repeat(slots / ct.len())).collect())
    }

    /// Slots must be finite and, where errors are added, not wrap around the modulus.
    pub(super) fn check_range(&self, ty: &CipherType, value: &Contents) -> Result<(), String> {
        if !value.iter().flatten().all(|x| x.is_finite()) {
            return Err("a slot is not finite".into());
        }
        let Some((model, _)) = &self.source else { return Ok(()) };
        let largest = largest(value);
        let headroom = model.headroom(ty.level, ty.scale_power);
        if largest.log2() > headroom {
            return Err(format!(
                "a slot holds {largest:.3e}, but there is only room for 2^{headroom:.1} at level {}; widen the \
                 calibrated ranges",
                ty.level
            ));
        }
        Ok(())
    }
}

fn largest(value: &Contents) -> f64 {
    value.iter().flatten().fold(0.0f64, |largest, x| largest.max(x.abs()))
}
