//! Digits of key switching by level, as the runtime has them.
//!
//! Assumes primes of the sizes that a set asks for, where none are chosen yet. Ensures the runtime's digits and special primes unless a
//! product lies within a fraction of a bit of where they change.

use aphelion_ir::ckks::{LevelGadgets, ParameterSpec};
use aphelion_runtime::ckks::params::{KEY_SWITCH_MARGIN_BITS, LevelGadget, ParametersLiteral, level_gadgets};

use super::candidates::MAX_PRIME_BITS;

/// The set, which has no bootstrap, with the digits of every level.
#[must_use]
pub fn with_gadgets(spec: ParameterSpec) -> ParameterSpec {
    let mut log_q = vec![f64::from(spec.log_scale); spec.max_level as usize + 1];
    log_q[0] = f64::from(spec.log_q0);
    let digit_primes = spec.digit_primes() as usize;
    let widest: f64 = log_q.iter().take(digit_primes).sum();
    let needed = (widest + KEY_SWITCH_MARGIN_BITS) / f64::from(spec.n_special);
    let log_special = needed.min(f64::from(spec.log_special)).min(MAX_PRIME_BITS);
    let gadgets = level_gadgets(&log_q, &vec![log_special; spec.n_special as usize], digit_primes);
    ParameterSpec {
        gadgets: Some(listed(&gadgets)),
        ..spec
    }
}

/// The digits of every level under chosen primes.
pub fn gadgets_of(literal: &ParametersLiteral) -> LevelGadgets {
    listed(&literal.level_gadgets())
}

fn listed(gadgets: &[LevelGadget]) -> LevelGadgets {
    LevelGadgets {
        digit_primes: gadgets.iter().map(|gadget| gadget.digit_primes as u32).collect(),
        n_special: gadgets.iter().map(|gadget| gadget.special as u32).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::candidates::tests::request;
    use crate::parameters::literal;
    use aphelion_runtime::ckks::params::Security;

    #[test]
    fn candidates_have_the_gadgets_of_their_primes() {
        for levels in [1, 5, 13, 30] {
            for spec in request(levels).candidates().expect("feasible") {
                let chosen = literal(&spec, Security::Classical128).expect("primes exist");
                assert_eq!(spec.gadgets, Some(gadgets_of(&chosen)), "{spec:?}");
            }
        }
    }
}
