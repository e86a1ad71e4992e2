//! Ciphertexts on the wire. A fresh one from the secret key carries the seed of c_1 in place of c_1.
//!
//! Payload: parts u8, seeded u8, level u16, slots u32, scale f64, then the seed if seeded, then c_0 and the others.

use std::sync::Arc;

use super::frame::{Frame, Kind, Reader};
use super::poly::{poly_bytes, read_poly, write_poly};
use crate::ckks::Ciphertext;
use crate::ckks::params::Parameters;
use crate::error::Result;
use crate::ring::{Basis, Domain, uniform};

impl Ciphertext {
    /// The ciphertext as bytes.
    #[must_use]
    pub fn to_bytes(&self, params: &Parameters) -> Vec<u8> {
        let written = if self.seed.is_some() {
            &self.parts[..1]
        } else {
            &self.parts[..]
        };
        let mut payload = Vec::with_capacity(48 + written.len() * poly_bytes(params.ring(), self.basis()));
        payload.extend_from_slice(&[self.parts.len() as u8, u8::from(self.seed.is_some())]);
        payload.extend_from_slice(&(self.level() as u16).to_le_bytes());
        payload.extend_from_slice(&(self.slots as u32).to_le_bytes());
        payload.extend_from_slice(&self.scale.to_le_bytes());
        payload.extend_from_slice(self.seed.as_ref().map_or(&[], |seed| &seed[..]));
        for part in written {
            write_poly(&mut payload, part);
        }
        Frame {
            kind: Kind::Ciphertext,
            fingerprint: *params.fingerprint(),
            payload: &payload,
        }
        .to_bytes()
    }

    /// Reads a ciphertext.
    ///
    /// # Errors
    /// [`crate::error::Error::Malformed`], [`crate::error::Error::ParameterMismatch`], and a level or slot count that the
    /// parameters do not have.
    pub fn from_bytes(params: &Arc<Parameters>, bytes: &[u8]) -> Result<Self> {
        let frame = Frame::parse(bytes, Kind::Ciphertext)?;
        frame.check_fingerprint(params)?;
        let mut reader = Reader::new(Kind::Ciphertext.name(), frame.payload);
        let (count, seeded) = match (reader.u8()?, reader.u8()?) {
            (count @ 2..=3, 0) => (count, false),
            (2, 1) => (2, true),
            (count, seeded) => {
                return Err(reader.malformed_at(0, format!("{count} parts with seed flag {seeded}")));
            }
        };
        let level = usize::from(reader.u16()?);
        params.check_level("ciphertext", level)?;
        let slots = reader.u32()? as usize;
        params.check_slots(slots)?;
        let scale = reader.f64()?;
        if !(scale > 0.0 && scale.log2() < params.log_q(level)) {
            return Err(reader.malformed_at(8, format!("scale {scale} does not fit level {level}")));
        }
        let basis = Basis::q(level);
        let seed = if seeded { Some(reader.array()?) } else { None };
        let written = if seeded { 1 } else { count };
        let mut parts = (0..written)
            .map(|_| read_poly(&mut reader, params.ring(), basis))
            .collect::<Result<Vec<_>>>()?;
        reader.finish()?;
        parts.extend(
            seed.as_ref()
                .map(|seed| uniform(params.ring(), basis, Domain::Eval, seed)),
        );
        Ok(Self {
            parts,
            scale,
            slots,
            seed,
        })
    }
}
