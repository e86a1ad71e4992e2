//! Public parameters on the wire.
//!
//! Payload: log_n u8, security u8, secret weight u64 (0 = uniform ternary), dnum u32, log_scale f64, then the counts
//! of q, p and scale resets as u32 each, then the primes as u64 and the resets as (level u32, log_scale f64).

use std::sync::Arc;

use super::frame::{Frame, Kind, Reader};
use crate::ckks::params::{MAX_PRIMES, Parameters, ParametersLiteral, ScaleReset, SecretDistribution, Security};
use crate::error::Result;

impl Parameters {
    /// The public parameters as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let payload = encode_literal(self.literal());
        Frame {
            kind: Kind::Parameters,
            fingerprint: *self.fingerprint(),
            payload: &payload,
        }
        .to_bytes()
    }

    /// Reads and checks parameters.
    ///
    /// # Errors
    /// [`crate::error::Error::Malformed`] for damaged bytes, otherwise as [`Parameters::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Arc<Self>> {
        let frame = Frame::parse(bytes, Kind::Parameters)?;
        let parameters = Self::new(decode_literal(frame.payload)?)?;
        frame.check_fingerprint(&parameters)?;
        Ok(parameters)
    }
}

/// The canonical encoding, which is also what the fingerprint is taken of.
pub(crate) fn encode_literal(literal: &ParametersLiteral) -> Vec<u8> {
    let mut bytes = vec![
        literal.log_n as u8,
        u8::from(literal.security == Security::Classical128),
    ];
    let weight = match literal.secret {
        SecretDistribution::UniformTernary => 0,
        SecretDistribution::SparseTernary { hamming_weight } => hamming_weight as u64,
    };
    bytes.extend_from_slice(&weight.to_le_bytes());
    bytes.extend_from_slice(&(literal.dnum as u32).to_le_bytes());
    bytes.extend_from_slice(&literal.log_scale.to_le_bytes());
    for count in [literal.q.len(), literal.p.len(), literal.scale_resets.len()] {
        bytes.extend_from_slice(&(count as u32).to_le_bytes());
    }
    for prime in literal.q.iter().chain(&literal.p) {
        bytes.extend_from_slice(&prime.to_le_bytes());
    }
    for reset in &literal.scale_resets {
        bytes.extend_from_slice(&(reset.level as u32).to_le_bytes());
        bytes.extend_from_slice(&reset.log_scale.to_le_bytes());
    }
    bytes
}

fn decode_literal(payload: &[u8]) -> Result<ParametersLiteral> {
    let mut reader = Reader::new(Kind::Parameters.name(), payload);
    let log_n = u32::from(reader.u8()?);
    let security = match reader.u8()? {
        0 => Security::None,
        1 => Security::Classical128,
        other => return Err(reader.malformed(format!("unknown security {other}"))),
    };
    let secret = match reader.u64()? {
        0 => SecretDistribution::UniformTernary,
        weight => SecretDistribution::SparseTernary {
            hamming_weight: weight as usize,
        },
    };
    let dnum = reader.u32()? as usize;
    let log_scale = reader.f64()?;
    let mut count = |what: &str| {
        let count = reader.u32()? as usize;
        if count > MAX_PRIMES {
            return Err(reader.malformed(format!("{count} {what}, at most {MAX_PRIMES} are possible")));
        }
        Ok(count)
    };
    let (q_count, p_count, reset_count) = (count("q primes")?, count("special primes")?, count("scale resets")?);
    let q = (0..q_count).map(|_| reader.u64()).collect::<Result<_>>()?;
    let p = (0..p_count).map(|_| reader.u64()).collect::<Result<_>>()?;
    let scale_resets = (0..reset_count)
        .map(|_| {
            Ok(ScaleReset {
                level: reader.u32()? as usize,
                log_scale: reader.f64()?,
            })
        })
        .collect::<Result<_>>()?;
    reader.finish()?;
    Ok(ParametersLiteral {
        log_n,
        q,
        p,
        dnum,
        log_scale,
        scale_resets,
        secret,
        security,
    })
}
