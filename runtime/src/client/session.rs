//! Makes keys, encrypts inputs and reads results as a plan's client part says.

use std::sync::Arc;

use rayon::prelude::*;

use crate::ckks::encoding::Encoder;
use crate::ckks::keys::{EvaluationKeys, SecretKey};
use crate::ckks::params::Parameters;
use crate::ckks::{Ciphertext, Plaintext};
use crate::error::{Error, Result};
use crate::plan::ClientPart;
use crate::plan::client::check_parameters;
use crate::ring::SecretRng;

/// Imaginary part of a slot above which a result is not what the plan computes. Programs are real and slots hold values of
/// magnitude 2 at most, so that noise of this size would leave no precision; under a wrong key, imaginary parts are as large
/// as the modulus allows.
const MAX_IMAGINARY: f64 = 0.25;

/// Values of an input that leave the interval the plan was made for.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeWarning {
    /// Name of the input.
    pub input: String,
    /// The interval (low, high).
    pub range: (f64, f64),
    /// Smallest and largest value found.
    pub found: (f64, f64),
    /// How many values lie outside.
    pub outside: usize,
}

/// A plan from the client's side.
pub struct Client {
    part: ClientPart,
    params: Arc<Parameters>,
    encoder: Encoder,
}

impl Client {
    /// Checks the parameters and builds their tables.
    ///
    /// # Errors
    /// When the client part or its parameters are invalid.
    pub fn new(part: ClientPart) -> Result<Self> {
        part.check()?;
        let params = Parameters::new(part.parameters.clone())?;
        let encoder = Encoder::new(&params);
        Ok(Self { part, params, encoder })
    }

    /// The plan's client part.
    #[must_use]
    pub fn part(&self) -> &ClientPart {
        &self.part
    }

    /// The encryption parameters.
    #[must_use]
    pub fn params(&self) -> &Arc<Parameters> {
        &self.params
    }

    /// A new secret key.
    #[must_use]
    pub fn secret_key(&self, rng: &mut SecretRng) -> SecretKey {
        SecretKey::generate(&self.params, rng)
    }

    /// All evaluation keys that the server needs.
    ///
    /// # Errors
    /// When the secret belongs to other parameters.
    pub fn evaluation_keys(&self, secret: &SecretKey, rng: &mut SecretRng) -> Result<EvaluationKeys> {
        self.check_key(secret)?;
        secret.evaluation_keys(&self.part.keys, rng)
    }

    /// Encrypts one sample: row-major values for every input of the plan, in its order. Returns the ciphertexts of all
    /// inputs in turn.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for values that do not fit; [`Error::EncodeOverflow`] for values far too large.
    pub fn encrypt(&self, secret: &SecretKey, values: &[Vec<f64>], rng: &mut SecretRng) -> Result<Vec<Ciphertext>> {
        self.check_key(secret)?;
        if values.len() != self.part.inputs.len() {
            return Err(Error::InvalidInput {
                reason: format!("{} tensors for {} inputs", values.len(), self.part.inputs.len()),
            });
        }
        let mut ciphertexts = Vec::new();
        for (port, values) in self.part.inputs.iter().zip(values) {
            let packed = port.packing.pack(values, port.scale).map_err(|error| match error {
                Error::InvalidInput { reason } => Error::InvalidInput {
                    reason: format!("`{}`: {reason}", port.name),
                },
                other => other,
            })?;
            let scale = self.params.scale(port.level);
            for slots in packed {
                let plaintext = self.encoder.encode(&slots, slots.len(), port.level, scale)?;
                ciphertexts.push(secret.encrypt(&plaintext, rng)?);
            }
        }
        Ok(ciphertexts)
    }

    /// Decrypts one sample: the ciphertexts of all outputs in turn. Returns the row-major values of every output, with
    /// the client's ops applied. Whoever may choose ciphertexts must not see these values, see
    /// [`Client::decrypt_flooded`].
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a wrong number of ciphertexts; [`Error::ParameterMismatch`].
    pub fn decrypt(&self, secret: &SecretKey, ciphertexts: &[Ciphertext]) -> Result<Vec<Vec<f64>>> {
        self.check_results(secret, ciphertexts)?;
        let decode = |ciphertext: &Ciphertext| self.decode_real(&secret.decrypt(ciphertext));
        self.unpack(ciphertexts.par_iter().map(decode).collect::<Result<_>>()?)
    }

    /// Slots of a decrypted result, whose imaginary parts must be noise.
    fn decode_real(&self, plaintext: &Plaintext) -> Result<Vec<f64>> {
        let slots = self.encoder.decode_complex(plaintext);
        let imaginary = slots.iter().fold(0.0f64, |most, slot| most.max(slot.im.abs()));
        if imaginary > MAX_IMAGINARY {
            return Err(Error::NotUnderThisKey { imaginary });
        }
        Ok(slots.into_iter().map(|slot| slot.re).collect())
    }

    /// As [`Client::decrypt`], with noise uniform in [-2^bits, 2^bits) on every coefficient, for values that leave the
    /// client: see [`SecretKey::decrypt_flooded`] for what it costs and protects.
    ///
    /// # Errors
    /// As [`Client::decrypt`]; [`Error::EncodeOverflow`] for more noise than the modulus holds.
    pub fn decrypt_flooded(
        &self,
        secret: &SecretKey,
        ciphertexts: &[Ciphertext],
        bits: u32,
        rng: &mut SecretRng,
    ) -> Result<Vec<Vec<f64>>> {
        self.check_results(secret, ciphertexts)?;
        let mut slots = Vec::with_capacity(ciphertexts.len());
        for ciphertext in ciphertexts {
            self.decode_real(&secret.decrypt(ciphertext))?;
            slots.push(self.encoder.decode(&secret.decrypt_flooded(ciphertext, bits, rng)?));
        }
        self.unpack(slots)
    }

    fn check_results(&self, secret: &SecretKey, ciphertexts: &[Ciphertext]) -> Result<()> {
        self.check_key(secret)?;
        let expected: usize = self.part.outputs.iter().map(|port| port.packing.ciphertexts).sum();
        if ciphertexts.len() != expected {
            return Err(Error::InvalidInput {
                reason: format!(
                    "{} ciphertexts of a result, the plan yields {expected}",
                    ciphertexts.len()
                ),
            });
        }
        Ok(())
    }

    /// The tensors in the slots of all outputs' ciphertexts in turn.
    fn unpack(&self, slots: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>> {
        let mut slots = slots.into_iter();
        let mut outputs = Vec::with_capacity(self.part.outputs.len());
        for port in &self.part.outputs {
            let own: Vec<Vec<f64>> = slots.by_ref().take(port.packing.ciphertexts).collect();
            let mut values = port.packing.unpack(&own, port.scale)?;
            for op in &port.client_ops {
                op.apply(&port.packing.shape, &mut values);
            }
            outputs.push(values);
        }
        Ok(outputs)
    }

    /// Inputs of one sample that leave the interval the plan was made for; where no interval is known, none does.
    #[must_use]
    pub fn check_ranges(&self, values: &[Vec<f64>]) -> Vec<RangeWarning> {
        let inputs = self.part.inputs.iter().zip(values);
        inputs
            .filter_map(|(port, values)| {
                let (low, high) = port.range?;
                let outside = values.iter().filter(|value| !(low..=high).contains(*value)).count();
                let found = values
                    .iter()
                    .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                        (low.min(*value), high.max(*value))
                    });
                (outside > 0).then(|| RangeWarning {
                    input: port.name.clone(),
                    range: (low, high),
                    found,
                    outside,
                })
            })
            .collect()
    }

    fn check_key(&self, secret: &SecretKey) -> Result<()> {
        check_parameters("the secret key", &self.part.parameters, secret.params().literal())
    }
}
