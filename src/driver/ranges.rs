//! Whether inputs stay within what a plan was made for, activation by activation, in the clear.

use std::collections::BTreeMap;

use aphelion_passes::calibrate::{RangeExcess, check_ranges};

use super::compile::Compilation;
use super::data::Sample;
use super::error::Result;
use super::model::Model;
use super::observer::Observer;

/// Tells `observer` of every sample that leads an activation out of its interval, and returns how many do.
///
/// # Errors
/// When a sample does not fit the model, or leads so far out that a value becomes infinite.
pub fn check(model: &Model, compilation: &Compilation, samples: &[Sample], observer: &dyn Observer) -> Result<usize> {
    let mut n_outside = 0;
    for (number, sample) in samples.iter().enumerate() {
        let names = model.inputs().into_iter().map(|(name, _)| name.to_string());
        let inputs: BTreeMap<String, Vec<f64>> = names.zip(sample.iter().cloned()).collect();
        let found = check_ranges(&compilation.approximated, &inputs)?;
        n_outside += usize::from(!found.is_empty());
        for excess in &found {
            observer.notice(&text(number, excess));
        }
    }
    Ok(n_outside)
}

fn text(sample: usize, excess: &RangeExcess) -> String {
    format!(
        "sample {sample}: {} leaves [{:.4}, {:.4}] with {} values, from {:.4} to {:.4}, by {:.1} % of its half length: the \
         result may be wrong; calibrate on more samples, or with a larger --range-margin",
        excess.name,
        excess.interval.0,
        excess.interval.1,
        excess.n_outside,
        excess.found.0,
        excess.found.1,
        100.0 * excess.relative()
    )
}
