//! The client's part of a plan: all that is needed to make keys, encrypt inputs and read results.

use serde::{Deserialize, Serialize};

use super::packing::Packing;
use crate::ckks::keys::KeyRequest;
use crate::ckks::params::ParametersLiteral;
use crate::error::{Error, Result};

/// Which model a plan was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelInfo {
    /// Name of the model.
    pub name: String,
    /// BLAKE3 of the model file in hexadecimal digits.
    pub hash: String,
}

/// An input the client encrypts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputPort {
    /// Name of the input, as the model spells it.
    pub name: String,
    /// Where its elements go.
    pub packing: Packing,
    /// Slots hold values divided by this positive factor.
    pub scale: f64,
    /// Level to encrypt at.
    pub level: usize,
    /// The interval (low, high) the plan was made for, if known: outside it results may be wrong.
    pub range: Option<(f64, f64)>,
}

/// A result the client decrypts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputPort {
    /// Name of the result, as the model spells it.
    pub name: String,
    /// Where its elements are.
    pub packing: Packing,
    /// Values are slots multiplied by this factor.
    pub scale: f64,
    /// What is left to do in the clear, in order.
    pub client_ops: Vec<ClientOp>,
}

/// Work on a decrypted result that needs no secrecy from the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientOp {
    /// Softmax along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
}

impl ClientOp {
    /// Applies the op to a row-major tensor of `shape`. O(elements).
    pub fn apply(&self, shape: &[usize], values: &mut [f64]) {
        match self {
            Self::Softmax { axis } => {
                let inner: usize = shape[axis + 1..].iter().product();
                let extent = shape[*axis];
                for block in values.chunks_mut(extent * inner) {
                    for offset in 0..inner {
                        softmax_strided(block, offset, inner, extent);
                    }
                }
            }
        }
    }

    fn check(&self, place: &str, shape: &[usize]) -> Result<()> {
        match self {
            Self::Softmax { axis } if *axis < shape.len() => Ok(()),
            Self::Softmax { axis } => Err(Error::InvalidPlan {
                place: place.to_string(),
                reason: format!("softmax along axis {axis} of shape {shape:?}"),
            }),
        }
    }
}

fn softmax_strided(values: &mut [f64], offset: usize, stride: usize, extent: usize) {
    let index = |i: usize| offset + i * stride;
    let largest = (0..extent).map(|i| values[index(i)]).fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for i in 0..extent {
        values[index(i)] = (values[index(i)] - largest).exp();
        sum += values[index(i)];
    }
    for i in 0..extent {
        values[index(i)] /= sum;
    }
}

/// All that the client needs of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientPart {
    /// The model.
    pub model: ModelInfo,
    /// Encryption parameters with explicit primes.
    pub parameters: ParametersLiteral,
    /// Samples that one run takes. Where there are several, every tensor has a first axis of this extent.
    #[serde(default = "one")]
    pub batch: usize,
    /// Inputs in the program's order.
    pub inputs: Vec<InputPort>,
    /// Results in the program's order.
    pub outputs: Vec<OutputPort>,
    /// Evaluation keys to make, each at the highest level of its use in a band.
    pub keys: KeyRequest,
}

fn one() -> usize {
    1
}

impl ClientPart {
    /// Shape of the part of a port's tensor that belongs to one sample.
    #[must_use]
    pub fn sample_shape<'a>(&self, packing: &'a Packing) -> &'a [usize] {
        &packing.shape[usize::from(self.batch > 1)..]
    }

    /// The tensors of one run for up to [`ClientPart::batch`] samples, each with a tensor for every input; the last sample
    /// fills the places that are left.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for no samples or too many, and for one of a wrong number of tensors.
    pub fn side_by_side(&self, samples: &[Vec<Vec<f64>>]) -> Result<Vec<Vec<f64>>> {
        let n_tensors = samples
            .iter()
            .find(|sample| sample.len() != self.inputs.len())
            .map(Vec::len);
        let (Some(last), None, true) = (samples.last(), n_tensors, samples.len() <= self.batch) else {
            let reason = match n_tensors {
                Some(found) => format!("{found} tensors for {} inputs", self.inputs.len()),
                None => format!("{} samples for a run that takes {}", samples.len(), self.batch),
            };
            return Err(Error::InvalidInput { reason });
        };
        let places = || samples.iter().chain(std::iter::repeat(last)).take(self.batch);
        let tensor = |input: usize| places().flat_map(|sample| sample[input].clone()).collect();
        Ok((0..self.inputs.len()).map(tensor).collect())
    }

    /// The results of every sample of one run, each with a tensor for every output: [`ClientPart::side_by_side`] undone.
    #[must_use]
    pub fn one_by_one(&self, results: &[Vec<f64>]) -> Vec<Vec<Vec<f64>>> {
        let part = |tensor: &Vec<f64>, place: usize| {
            let n_elements = tensor.len() / self.batch;
            tensor[place * n_elements..(place + 1) * n_elements].to_vec()
        };
        let of_sample = |place: usize| results.iter().map(|tensor| part(tensor, place)).collect();
        (0..self.batch).map(of_sample).collect()
    }

    /// Identifies the plan on everything the client sends: BLAKE3 of this part.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] when a number cannot be written.
    pub fn id(&self) -> Result<[u8; 32]> {
        Ok(*blake3::hash(&super::file::to_json("client", self)?).as_bytes())
    }

    /// Highest level of the parameters.
    #[must_use]
    pub fn max_level(&self) -> usize {
        self.parameters.q.len().saturating_sub(1)
    }

    /// The port of input `name`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] with the names there are.
    pub fn input(&self, name: &str) -> Result<&InputPort> {
        self.inputs.iter().find(|port| port.name == name).ok_or_else(|| {
            let names: Vec<_> = self.inputs.iter().map(|port| port.name.as_str()).collect();
            Error::InvalidInput {
                reason: format!("the plan has no input `{name}`; it has {}", names.join(", ")),
            }
        })
    }

    /// Checks ports, levels and the key manifest. Primes are checked when parameters are made of them.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] with the first finding.
    pub fn check(&self) -> Result<()> {
        let invalid = |place: String, reason: String| Err(Error::InvalidPlan { place, reason });
        let log_n = self.parameters.log_n;
        if self.parameters.q.is_empty() || !(1..=crate::ckks::params::MAX_LOG_N).contains(&log_n) {
            return invalid(
                "parameters".into(),
                format!("{} primes, ring degree 2^{log_n}", self.parameters.q.len()),
            );
        }
        let max_slots = 1usize << (log_n - 1);
        let max_level = self.max_level();
        if self.inputs.is_empty() || self.outputs.is_empty() {
            return invalid("client".into(), "a plan needs at least one input and one output".into());
        }
        let packings = self.inputs.iter().map(|port| &port.packing);
        let mut packings = packings.chain(self.outputs.iter().map(|port| &port.packing));
        let is_batched = |packing: &Packing| self.batch == 1 || packing.shape.first() == Some(&self.batch);
        if self.batch == 0 || !packings.all(is_batched) {
            return invalid(
                "client".into(),
                format!("tensors are not those of {} samples", self.batch),
            );
        }
        for port in &self.inputs {
            let place = format!("input `{}`", port.name);
            check_port(&place, &port.packing, port.scale, max_slots)?;
            if port.level > max_level {
                return invalid(place, format!("level {} of at most {max_level}", port.level));
            }
            if let Some((low, high)) = port.range
                && !(low.is_finite() && high.is_finite() && low <= high)
            {
                return invalid(place, format!("range {low} to {high}"));
            }
        }
        for port in &self.outputs {
            let place = format!("output `{}`", port.name);
            check_port(&place, &port.packing, port.scale, max_slots)?;
            for op in &port.client_ops {
                op.check(&place, &port.packing.shape)?;
            }
        }
        let keys = &self.keys;
        if let Some(step) = keys.rotations.keys().find(|step| **step == 0 || **step >= max_slots) {
            return invalid("keys".into(), format!("rotation by {step} with {max_slots} slots"));
        }
        for (purpose, levels) in keys.uses() {
            if let Some(level) = levels.last().filter(|level| **level > max_level) {
                return invalid(
                    "keys".into(),
                    format!("{purpose} at level {level} of at most {max_level}"),
                );
            }
        }
        if let Some(request) = &keys.encapsulation {
            let n = 1usize << log_n;
            if request.level > max_level || !(1..=n).contains(&request.hamming_weight) {
                return invalid(
                    "keys".into(),
                    format!(
                        "encapsulation of Hamming weight {} of at most {n}, at level {} of at most {max_level}",
                        request.hamming_weight, request.level
                    ),
                );
            }
            let is_wrong = |(step, level): &(usize, usize)| *step >= max_slots || *level > max_level;
            if let Some((step, level)) = request.keys().find(is_wrong) {
                let reason = format!(
                    "rotation by {step} with {max_slots} slots while raising to level {level} of at most {max_level}"
                );
                return invalid("keys".into(), reason);
            }
        }
        Ok(())
    }
}

/// Refuses an object that was made under other parameters than `expected`.
pub(crate) fn check_parameters(
    object: &'static str,
    expected: &ParametersLiteral,
    found: &ParametersLiteral,
) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let fingerprint = |literal| blake3::hash(&crate::ckks::wire::encode_literal(literal)).to_hex()[..32].to_string();
    Err(Error::ParameterMismatch {
        object,
        expected: fingerprint(expected),
        found: fingerprint(found),
    })
}

fn check_port(place: &str, packing: &Packing, scale: f64, max_slots: usize) -> Result<()> {
    if !(scale.is_finite() && scale > 0.0) || packing.slots > max_slots {
        return Err(Error::InvalidPlan {
            place: place.to_string(),
            reason: format!("scale {scale}, {} slots of at most {max_slots}", packing.slots),
        });
    }
    packing.check(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_runs_along_its_axis() {
        let mut values = vec![0.0, 1.0, 0.0, 3.0, 1.0, 0.0];
        ClientOp::Softmax { axis: 1 }.apply(&[1, 3, 2], &mut values);
        for column in 0..2 {
            let sum: f64 = (0..3).map(|row| values[2 * row + column]).sum();
            assert!((sum - 1.0).abs() < 1e-12);
        }
        assert!((values[0] - 1.0 / (2.0 + 1f64.exp())).abs() < 1e-12);
    }
}
