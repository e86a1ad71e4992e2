//! The hybrid key switch of a parameter set: digits and special primes in use at every level.
//!
//! Assumes what the runtime does: digits of consecutive primes, and special primes whose product exceeds the largest digit of a level
//! by [`MARGIN_BITS`], or by as much as all of them exceed the largest of the whole chain. Ensures the runtime's counts where the
//! parameters list them ([`LevelGadgets`]); without a list, digits are equally wide at all levels, and the counts are those of that choice up to
//! `max_level` unless a product lies within a fraction of a bit of the bound; above, where a bootstrap has primes of its own, those
//! are taken as the largest there are.

use super::{LevelGadgets, ParameterSpec};

/// log2 of how far the special primes in use exceed the largest digit.
const MARGIN_BITS: f64 = 4.0;
/// log2 of the largest prime.
const MAX_LOG_PRIME: f64 = 49.99;

/// Digits and special primes under given parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySwitchSpec {
    log_scale: f64,
    log_q0: f64,
    max_level: u32,
    /// Of the whole chain.
    digit_primes: u32,
    n_special: u32,
    /// log2 of every special prime.
    log_special: f64,
    gadgets: Option<LevelGadgets>,
}

impl KeySwitchSpec {
    /// The key switch of `spec`.
    pub fn new(spec: &ParameterSpec) -> Self {
        let mut found = KeySwitchSpec {
            log_scale: f64::from(spec.log_scale),
            log_q0: f64::from(spec.log_q0),
            max_level: spec.max_level,
            digit_primes: spec.digit_primes(),
            n_special: spec.n_special,
            log_special: f64::from(spec.log_special).min(MAX_LOG_PRIME),
            gadgets: spec.gadgets.clone(),
        };
        if spec.bootstrap.is_none() {
            // The chain is known, and its special primes are no larger than it takes.
            let needed = found.largest_digit(spec.max_level) + MARGIN_BITS;
            found.log_special = found.log_special.min(needed / f64::from(spec.n_special));
        }
        found
    }

    /// Primes of every digit at `level` but perhaps the last.
    pub fn digit_primes(&self, level: u32) -> u32 {
        let listed = self.gadgets.as_ref().and_then(|it| it.digit_primes.get(level as usize));
        listed.map_or(self.digit_primes, |width| (*width).max(1))
    }

    /// Digits in use at `level`.
    pub fn digits(&self, level: u32) -> u32 {
        (level + 1).div_ceil(self.digit_primes(level))
    }

    /// Primes of each digit at `level`.
    pub fn digit_widths(&self, level: u32) -> impl Iterator<Item = u32> {
        let (width, n_primes) = (self.digit_primes(level), level + 1);
        let starts = (0..n_primes).step_by(width as usize);
        starts.map(move |start| width.min(n_primes - start))
    }

    /// log2 of each digit's size at `level`.
    pub fn log_digits(&self, level: u32) -> impl Iterator<Item = f64> {
        let digit_primes = self.digit_primes(level);
        let digit = move |(number, width): (u32, u32)| {
            let start = number * digit_primes;
            self.log_product(start, start + width)
        };
        (0..).zip(self.digit_widths(level)).map(digit)
    }

    /// Special primes in use at `level`.
    pub fn special_primes(&self, level: u32) -> u32 {
        let listed = self.gadgets.as_ref().and_then(|it| it.n_special.get(level as usize));
        listed.copied().unwrap_or_else(|| {
            let needed = (self.largest_digit(level) + MARGIN_BITS) / self.log_special;
            // What is all of them at the top must not be one more by rounding.
            ((needed - 1e-6).ceil() as u32).clamp(1, self.n_special.max(1))
        })
    }

    /// log2 of the product of the special primes in use at `level`, at least: of further ones than the chain's own only what they
    /// are chosen by is known.
    pub fn log_special_modulus(&self, level: u32) -> f64 {
        let own = f64::from(self.special_primes(level).min(self.n_special)) * self.log_special;
        if self.special_primes(level) <= self.n_special {
            return own;
        }
        let all = f64::from(self.n_special) * self.log_special;
        let widest = self.log_product(0, self.digit_primes.min(self.max_level + 1));
        own.max(self.largest_digit(level) + MARGIN_BITS.min(all - widest))
    }

    fn largest_digit(&self, level: u32) -> f64 {
        self.log_digits(level).fold(0.0, f64::max)
    }

    /// log2 of the product of the primes `q_start..q_end`, at least one.
    fn log_product(&self, start: u32, end: u32) -> f64 {
        let above = end - end.min(start.max(self.max_level + 1));
        let bottom = u32::from(start == 0);
        let between = end - start - above - bottom;
        f64::from(bottom) * self.log_q0 + f64::from(between) * self.log_scale + f64::from(above) * MAX_LOG_PRIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ckks::{BootstrapSpec, Secret};

    #[test]
    fn special_primes_follow_the_largest_digit() {
        let spec = ParameterSpec {
            log_n: 16,
            max_level: 14,
            log_scale: 40,
            log_q0: 48,
            dnum: 5,
            log_special: 50,
            n_special: 7,
            gadgets: None,
            secret: Secret::UniformTernary {},
            bootstrap: Some(BootstrapSpec {
                slots: 1 << 15,
                pairs: true,
                bits: 20.0,
                levels: 14,
                input_level: 3,
                total_levels: 31,
                log_error: -24.0,
            }),
        };
        let switch = KeySwitchSpec::new(&spec);
        let counts =
            |levels: std::ops::Range<u32>| levels.map(|level| switch.special_primes(level)).collect::<Vec<_>>();
        // 48, 88, 128, .. 288 bits and 4 more in primes of 49.99
        assert_eq!(counts(0..8), [2, 2, 3, 4, 5, 6, 6, 6]);
        assert_eq!(counts(14..22), [6, 6, 6, 6, 6, 6, 7, 7]);
        assert_eq!(counts(30..32), [7, 7]);
        assert_eq!(switch.digit_widths(15).collect::<Vec<_>>(), [7, 7, 2]);
        let sizes: Vec<f64> = switch.log_digits(16).collect();
        assert_eq!(sizes, [288.0, 280.0, 40.0 + 2.0 * MAX_LOG_PRIME]);
        // without a bootstrap, primes as large as the widest digit needs: (48 + 3 * 40 + 4) / 4 = 43
        let spec = ParameterSpec {
            max_level: 15,
            dnum: 4,
            log_special: 43,
            n_special: 4,
            bootstrap: None,
            ..spec
        };
        let switch = KeySwitchSpec::new(&spec);
        let counts: Vec<u32> = (0..16).map(|level| switch.special_primes(level)).collect();
        assert_eq!(counts[..4], [2, 3, 4, 4]);
        assert!(counts[4..].iter().all(|count| *count == 4));
        assert_eq!(switch.log_special_modulus(15), 172.0);
        // what is listed holds, and further special primes exceed digits by as much as the chain's own
        let mut listed = LevelGadgets {
            digit_primes: vec![4; 16],
            n_special: vec![4; 16],
        };
        (listed.digit_primes[11], listed.n_special[11]) = (6, 6);
        let listed = KeySwitchSpec::new(&ParameterSpec {
            gadgets: Some(listed),
            ..spec
        });
        assert_eq!((listed.digits(11), listed.special_primes(11)), (2, 6));
        assert_eq!(listed.digit_widths(11).collect::<Vec<_>>(), [6, 6]);
        assert_eq!(listed.log_special_modulus(11), 48.0 + 5.0 * 40.0 + 4.0);
        assert_eq!((listed.digits(12), listed.special_primes(12)), (4, 4));
    }
}
