//! Raising the modulus: from q_0 to the whole chain.
//!
//! Assumes a ciphertext of two parts at level 0. Ensures one at the asked level whose coefficients are m + q_0 I for the
//! message's coefficients m, with |I| bounded by half the ephemeral secret's Hamming weight plus one; see `failure` for
//! how far it really reaches. Adds the noise of two key switches, far below that of the message.
//! Source: Cheon, Han, Kim, Kim, Song, "Bootstrapping for Approximate Homomorphic Encryption", EUROCRYPT 2018.

use crate::ckks::Ciphertext;
use crate::ckks::keys::EncapsulationKeys;
use crate::ckks::params::Parameters;
use crate::error::{Error, Result};
use crate::ring::{Basis, Poly};

/// The raised ciphertext, with the scale it had.
///
/// # Errors
/// [`Error::DegreeMismatch`] for more than two parts, [`Error::LevelTooHigh`] for a level
/// above the keys'.
pub fn mod_raise(
    params: &Parameters,
    keys: &EncapsulationKeys,
    ciphertext: &Ciphertext,
    level: usize,
) -> Result<Ciphertext> {
    ciphertext.check_parts("mod_raise", 2)?;
    if level > keys.level() {
        return Err(Error::LevelTooHigh {
            what: "mod_raise",
            level,
            max: keys.level(),
        });
    }
    let [c0, c1] = keys.to_sparse(ciphertext.parts());
    let lift = |part: &Poly, basis| {
        let modulus = part.modulus(0);
        let centred: Vec<i64> = part.limb(0).iter().map(|x| modulus.to_signed(*x)).collect();
        let mut raised = Poly::from_signed(params.ring(), basis, &centred);
        raised.to_eval();
        raised
    };
    let [mut body, mask] = keys.to_dense(params, &lift(&c1, EncapsulationKeys::raised_basis(params, level)));
    body.add_assign(&lift(&c0, Basis::q(level)));
    Ok(Ciphertext::computed(
        vec![body, mask],
        ciphertext.scale(),
        ciphertext.slots(),
    ))
}
