//! Encapsulation keys on the wire.
//!
//! Payload: Hamming weight u32, level u16, then seed and body of the key to the sparse secret (over q_0 and its own special
//! prime, which the parameters determine), then seed and body of the key back.

use std::sync::Arc;

use super::frame::{Frame, Kind, Reader};
use super::poly::{poly_bytes, read_poly, write_poly};
use crate::ckks::keys::{EncapsulationKeys, KeySwitchKey, encapsulation_literal};
use crate::ckks::params::Parameters;
use crate::error::Result;

/// An upper bound on the payload: no limb is wider than a word.
pub(super) fn max_encapsulation_bytes(params: &Parameters) -> usize {
    let limbs = params.q().len() + params.p().len() + 2;
    4 + 2 + 2 * 32 + limbs * params.n() * size_of::<u64>()
}

impl EncapsulationKeys {
    /// The keys as bytes.
    #[must_use]
    pub fn to_bytes(&self, params: &Parameters) -> Vec<u8> {
        let dense_bytes = poly_bytes(params.ring(), self.to_dense.basis());
        let mut payload = Vec::with_capacity(70 + dense_bytes + 2 * params.n() * size_of::<u64>());
        payload.extend_from_slice(&(self.hamming_weight() as u32).to_le_bytes());
        payload.extend_from_slice(&(self.level() as u16).to_le_bytes());
        payload.extend_from_slice(&self.to_sparse.seed);
        for body in &self.to_sparse.bodies {
            write_poly(&mut payload, body);
        }
        payload.extend_from_slice(&self.seed);
        write_poly(&mut payload, &self.to_dense);
        Frame {
            kind: Kind::EncapsulationKeys,
            fingerprint: *params.fingerprint(),
            payload: &payload,
        }
        .to_bytes()
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// [`crate::error::Error::Malformed`], [`crate::error::Error::ParameterMismatch`],
    /// [`crate::error::Error::LevelTooHigh`]; [`crate::error::Error::Insecure`] and
    /// [`crate::error::Error::SecurityUnknown`] for a sparse secret that the parameters do not allow.
    pub fn from_bytes(params: &Arc<Parameters>, bytes: &[u8]) -> Result<Self> {
        let frame = Frame::parse(bytes, Kind::EncapsulationKeys)?;
        frame.check_fingerprint(params)?;
        let mut reader = Reader::new(Kind::EncapsulationKeys.name(), frame.payload);
        let hamming_weight = reader.u32()? as usize;
        let level = usize::from(reader.u16()?);
        params.check_level("encapsulation keys", level)?;
        let sparse = Parameters::new(encapsulation_literal(params, hamming_weight)?)?;
        let sparse_seed = reader.array()?;
        let sparse_body = read_poly(&mut reader, sparse.ring(), sparse.raised_basis(0))?;
        let seed = reader.array()?;
        let body = read_poly(
            &mut reader,
            params.ring(),
            EncapsulationKeys::raised_basis(params, level),
        )?;
        reader.finish()?;
        Ok(Self {
            to_sparse: KeySwitchKey::new(sparse_seed, 0, vec![sparse_body]),
            sparse,
            to_dense: body,
            seed,
        })
    }
}
