//! Which requests and circuits are worth looking at: everything else is refused before anything is computed from it, since
//! plans come from outside.

use super::plan::{BootstrapCircuit, BootstrapRequest};
use crate::ckks::keys::log_special;
use crate::ckks::params::{MAX_LOG_N, MAX_PRIMES, MIN_LOG_N, SecretDistribution, Security, max_log_qp};
use crate::error::{Error, Result};

/// Largest Hamming weight of an ephemeral secret; a sparser one is the point of having it.
const MAX_EPHEMERAL_WEIGHT: usize = 256;
/// Largest degree of an arcsine; its interpolation is unstable far below.
const MAX_ARCSINE_DEGREE: usize = 15;
/// Most double-angle steps.
const MAX_DOUBLINGS: usize = 8;
/// Largest log2 of a scale, of a message ratio, and most bits.
const MAX_LOG: f64 = 62.0;

/// Checks ranges.
pub(super) fn check(request: &BootstrapRequest, circuit: &BootstrapCircuit) -> Result<()> {
    let refuse = |name, reason: String| Err(Error::InvalidParameter { name, reason });
    if !(MIN_LOG_N..=MAX_LOG_N).contains(&request.log_n) {
        let reason = format!("{}, expected {MIN_LOG_N} to {MAX_LOG_N}", request.log_n);
        return refuse("log_n", reason);
    }
    check_slots(request)?;
    for (name, value, low, high) in [
        ("bits", request.bits, 0.0, MAX_LOG),
        ("log_scale", request.log_scale, 1.0, MAX_LOG),
        ("log_ratio", circuit.log_ratio, 1.0, MAX_LOG),
        ("log_reduction_prime", circuit.log_reduction_prime, 1.0, MAX_LOG),
        ("failure_log2", circuit.failure_log2, -1000.0, 0.0),
    ] {
        if !(low..=high).contains(&value) {
            return refuse(name, format!("{value}, expected {low} to {high}"));
        }
    }
    let secret_weight = match circuit.secret {
        SecretDistribution::UniformTernary => 1,
        SecretDistribution::SparseTernary { hamming_weight } => hamming_weight,
    };
    let stages = request.log_n as usize - 1;
    for (name, count, low, high) in [
        ("levels", request.levels, 0, MAX_PRIMES),
        ("slots_to_coeffs", circuit.slots_to_coeffs, 1, stages),
        ("digits", circuit.digits.unwrap_or(1), 1, MAX_PRIMES),
        ("arcsine_degree", circuit.arcsine_degree, 1, MAX_ARCSINE_DEGREE),
        ("doublings", circuit.doublings, 0, MAX_DOUBLINGS),
        ("secret", secret_weight, 1, 1 << request.log_n),
        ("ephemeral_weight", circuit.ephemeral_weight, 1, MAX_EPHEMERAL_WEIGHT),
    ] {
        if !(low..=high).contains(&count) {
            return refuse(name, format!("{count}, expected {low} to {high}"));
        }
    }
    let wanted = request.slots.trailing_zeros() as usize;
    let split = &circuit.coeffs_to_slots;
    if split.len() > wanted
        || split.contains(&0)
        || split.iter().try_fold(0, |sum: usize, next| sum.checked_add(*next)) != Some(wanted)
    {
        return refuse("coeffs_to_slots", format!("{split:?}, expected {wanted} stages in all"));
    }
    check_ephemeral(request, circuit)
}

/// Checks that the ephemeral secret, which lives modulo q_0 and one special prime, is as secure as was asked.
pub(super) fn check_ephemeral(request: &BootstrapRequest, circuit: &BootstrapCircuit) -> Result<()> {
    if request.security == Security::None {
        return Ok(());
    }
    let secret = SecretDistribution::SparseTernary {
        hamming_weight: circuit.ephemeral_weight,
    };
    let max_log_qp = max_log_qp(request.log_n, secret)?;
    let log_q0 = request.log_scale + circuit.log_ratio;
    let log_qp = log_q0 + log_special(log_q0);
    if log_qp <= f64::from(max_log_qp) {
        return Ok(());
    }
    Err(Error::Insecure {
        log_n: request.log_n,
        log_qp,
        max_log_qp,
        secret: secret.to_string(),
    })
}

/// Checks the slot count of a request whose ring degree is in range.
pub(super) fn check_slots(request: &BootstrapRequest) -> Result<()> {
    let max = 1usize << (request.log_n - 1);
    if request.slots.is_power_of_two() && (2..=max).contains(&request.slots) {
        Ok(())
    } else {
        Err(Error::InvalidSlots {
            slots: request.slots,
            max,
        })
    }
}
