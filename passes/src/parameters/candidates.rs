//! Parameter sets that hold a program and are secure, before cost and precision decide among them.

use super::gadgets::with_gadgets;
use crate::PassError;
use aphelion_ir::ckks::{ParameterSpec, Secret};
use aphelion_runtime::ckks::params::{KEY_SWITCH_MARGIN_BITS, SecretDistribution, max_log_qp};

/// Ring degrees that are tried, as log2.
const LOG_N: std::ops::RangeInclusive<u32> = 12..=16;
/// Smallest ring without security, as log2: what the vector kernels take.
const MIN_INSECURE_LOG_N: u32 = 10;
/// Scales that are tried, in bits, where the ring has primes of that size. Below, no ring leaves useful precision.
const LOG_SCALE: std::ops::RangeInclusive<u32> = 24..=44;
/// Bits of q_0 beyond the scale: one for the sign, and two because slots may reach 2 where that saves a level, and results
/// may leave the (widened) calibrated range by another factor of 2 before they wrap around.
const HEADROOM_BITS: u32 = 3;
/// Bits of the largest prime; every prime lies strictly below 2^50, and the one nearest to 2^49.99 may miss by little.
pub(super) const MAX_PRIME_BITS: f64 = 49.99;
/// A chain takes its primes from this window around the scale, relative to it.
const PRIME_WINDOW: f64 = 0.125;
/// What primes that miss their nominal size may add to log2(QP).
const PRIME_SLACK_BITS: f64 = 1.0;

/// What a program asks of its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Levels.
    pub(super) levels: u32,
    /// Slots.
    pub(super) slots: usize,
    /// Ring degree to use, as log2.
    pub(super) log_n: Option<u32>,
    /// Whether security does not matter.
    pub(super) insecure: bool,
}

impl Request {
    /// For every ring and digit count, the set with the largest scale that is secure.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn candidates(&self) -> Result<Vec<ParameterSpec>, PassError> {
        let rings = self.rings()?;
        let mut candidates = Vec::new();
        for &log_n in &rings {
            for digit_primes in 1..=self.levels + 1 {
                let dnum = (self.levels + 1).div_ceil(digit_primes);
                // Another width with as many digits is the same set with larger special primes.
                if (self.levels + 1).div_ceil(dnum) == digit_primes {
                    let spec = |log_scale| spec(log_n, self.levels, log_scale, dnum);
                    let fits = |spec: &ParameterSpec| log_qp(spec) <= self.bound(log_n);
                    candidates.extend(log_scales(log_n, self.levels).rev().map(spec).find(fits));
                }
            }
        }
        if candidates.is_empty() {
            return Err(self.too_deep(&rings));
        }
        Ok(candidates)
    }

    fn rings(&self) -> Result<Vec<u32>, PassError> {
        let least = (2 * self.slots as u64).next_power_of_two().trailing_zeros();
        if let Some(log_n) = self.log_n {
            if log_n < least {
                return Err(PassError::Infeasible(format!(
                    "{} slots do not fit a ring of degree 2^{log_n}: use at least 2^{least}",
                    self.slots
                )));
            }
            return Ok(vec![log_n]);
        }
        if self.insecure {
            return Ok(vec![least.max(MIN_INSECURE_LOG_N)]);
        }
        let rings: Vec<u32> = LOG_N.filter(|log_n| *log_n >= least).collect();
        if rings.is_empty() {
            return Err(PassError::Infeasible(format!(
                "{} slots do not fit the largest ring, of degree 2^{}: pack into more ciphertexts",
                self.slots,
                LOG_N.end()
            )));
        }
        Ok(rings)
    }

    /// Largest log2(QP) of a ring.
    fn bound(&self, log_n: u32) -> f64 {
        if self.insecure {
            return f64::INFINITY;
        }
        max_log_qp(log_n, SecretDistribution::UniformTernary).map_or(0.0, |bound| f64::from(bound) - PRIME_SLACK_BITS)
    }

    fn too_deep(&self, rings: &[u32]) -> PassError {
        let log_n = rings.iter().copied().max().unwrap_or(*LOG_N.end());
        let least_scale = |levels: u32| *log_scales(log_n, levels).start();
        let fits = |levels: &u32| {
            let spec = spec(log_n, *levels, least_scale(*levels), levels + 1);
            log_qp(&spec) <= self.bound(log_n)
        };
        let most = (0..self.levels).rev().find(fits).unwrap_or(0);
        PassError::Infeasible(format!(
            "the program needs {} levels, {} more than the {most} that a ring of degree 2^{log_n} has at 128-bit \
             security, even with a scale of only {} bits",
            self.levels,
            self.levels - most,
            least_scale(most)
        ))
    }
}

/// Scales for which the ring has enough primes: of the integers near 2^s that are 1 mod 2N, one in ln(2^s) / 2 is prime.
fn log_scales(log_n: u32, levels: u32) -> std::ops::RangeInclusive<u32> {
    let n_primes = |log_scale: u32| {
        let window = f64::from(log_scale).exp2() * PRIME_WINDOW;
        window / (f64::from(log_n).exp2() * f64::from(log_scale) * std::f64::consts::LN_2)
    };
    let least = LOG_SCALE
        .into_iter()
        .find(|log_scale| n_primes(*log_scale) >= f64::from(levels + 4));
    least.unwrap_or(*LOG_SCALE.end())..=*LOG_SCALE.end()
}

/// The set with these choices; special primes as the runtime's chain has them.
fn spec(log_n: u32, levels: u32, log_scale: u32, dnum: u32) -> ParameterSpec {
    let log_q0 = log_scale + HEADROOM_BITS;
    let digit_primes = (levels + 1).div_ceil(dnum);
    let widest_digit = f64::from(log_q0 + (digit_primes - 1) * log_scale);
    let n_special = (widest_digit / MAX_PRIME_BITS).ceil();
    let log_special = ((widest_digit + KEY_SWITCH_MARGIN_BITS) / n_special).min(MAX_PRIME_BITS);
    with_gadgets(ParameterSpec {
        log_n,
        max_level: levels,
        log_scale,
        log_q0,
        dnum,
        log_special: log_special.ceil() as u32,
        n_special: n_special as u32,
        gadgets: None,
        secret: Secret::UniformTernary {},
        bootstrap: None,
    })
}

/// log2(QP), rounded up.
fn log_qp(spec: &ParameterSpec) -> f64 {
    f64::from(spec.log_q0 + spec.max_level * spec.log_scale + spec.n_special * spec.log_special)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::parameters::literal;
    use aphelion_runtime::ckks::params::{Parameters, Security};

    pub(in crate::parameters) fn request(levels: u32) -> Request {
        Request {
            levels,
            slots: 4096,
            log_n: None,
            insecure: false,
        }
    }

    #[test]
    fn every_candidate_is_accepted_by_the_runtime() {
        for levels in [1, 5, 13, 30] {
            for spec in request(levels).candidates().expect("feasible") {
                let params = Parameters::new(literal(&spec, Security::Classical128).expect("primes exist"));
                let params = params.unwrap_or_else(|error| panic!("{spec:?}: {error}"));
                assert!(params.security_bits().is_some_and(|bits| bits >= 128.0));
                assert_eq!(params.max_level(), levels as usize);
                assert_eq!(params.p().len(), spec.n_special as usize);
                assert!((params.p()[0] as f64).log2() <= f64::from(spec.log_special) + 0.01);
                assert!(params.q().iter().chain(params.p()).all(|prime| *prime < 1 << 50));
            }
        }
    }

    #[test]
    fn five_levels_fit_the_ring_of_an_mlp() {
        // 32 + 5 * 29 + 36 <= 213, one below the bound of N = 2^13.
        let candidates = request(5).candidates().expect("feasible");
        let smallest = candidates.iter().filter(|spec| spec.log_n == 13);
        let best = smallest.max_by_key(|spec| spec.log_scale).expect("2^13 suffices");
        assert_eq!(best.log_scale, 29, "{best:?}");
        assert!(candidates.iter().all(|spec| spec.log_n >= 13));
    }

    #[test]
    fn infeasible_requests_say_by_how_much() {
        let error = request(90).candidates().unwrap_err().to_string();
        assert!(error.contains("needs 90 levels, 35 more than the 55"), "{error}");
        let fixed = Request {
            log_n: Some(12),
            ..request(1)
        };
        assert!(fixed.candidates().unwrap_err().to_string().contains("at least 2^13"));
        let insecure = Request {
            insecure: true,
            ..request(90)
        };
        assert!(
            insecure
                .candidates()
                .is_ok_and(|specs| specs.iter().all(|spec| spec.log_n == 13))
        );
        let wide = Request {
            slots: 1 << 17,
            ..request(1)
        };
        assert!(wide.candidates().is_err());
    }
}
