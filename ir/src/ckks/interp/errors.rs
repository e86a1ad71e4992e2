//! The errors that one op adds to slots, and the range that its result must stay in.

use super::Contents;
use crate::ckks::CipherType;
use crate::ckks::noise::{Gaussian, NoiseModel};
use crate::graph::ValueId;

/// A model and a source of samples; without them nothing is added.
pub(super) struct Errors {
    source: Option<(NoiseModel, Gaussian)>,
    slots: usize,
}

impl Errors {
    /// The errors of the op that yields `id`.
    pub(super) fn new(noise: Option<(NoiseModel, u64)>, id: ValueId, slots: usize) -> Self {
        let source = noise.map(|(model, seed)| (model, Gaussian::new(seed, u64::from(id.0))));
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

    /// `value` with errors of a variance of its own in every slot.
    pub(super) fn add_each(&mut self, mut value: Contents, variances: &Contents) -> Contents {
        if let Some((_, gaussian)) = &mut self.source {
            for (x, variance) in value.iter_mut().flatten().zip(variances.iter().flatten()) {
                *x += variance.sqrt() * gaussian.sample();
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

    /// Fails with `message` where errors are added.
    pub(super) fn refuse(&self, message: &str) -> Result<(), String> {
        match &self.source {
            Some(_) => Err(message.into()),
            None => Ok(()),
        }
    }

    /// Slots must be finite and, where errors are added, not wrap around the modulus.
    pub(super) fn check_range(&self, ty: &CipherType, value: &Contents) -> Result<(), String> {
        if !value.iter().flatten().all(|x| x.is_finite()) {
            return Err("a slot is not finite".into());
        }
        let Some((model, _)) = &self.source else { return Ok(()) };
        let largest = value.iter().flatten().fold(0.0f64, |largest, x| largest.max(x.abs()));
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
