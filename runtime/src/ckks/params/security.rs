//! How large a modulus each ring degree and secret may carry, and what security a given modulus leaves.
//!
//! Assumes error standard deviation 3.2 and the classical cost model of the cited tables. Ensures that nothing is
//! called 128-bit secure unless a cited row covers it: a sparse secret is judged by the row with the largest listed
//! Hamming weight not above its own, and refused when there is none. The table is `security_table.csv`.

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Security in bits that every non-test parameter set must reach.
pub const REQUIRED_SECURITY_BITS: u32 = 128;

/// How the secret polynomial's coefficients are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SecretDistribution {
    /// Each coefficient is -1, 0 or 1 with probability 1/3.
    UniformTernary,
    /// Exactly `hamming_weight` coefficients are -1 or 1, the others 0.
    SparseTernary {
        /// Number of non-zero coefficients.
        hamming_weight: usize,
    },
}

impl SecretDistribution {
    /// Non-zero coefficients expected in a ring of degree `n`.
    #[must_use]
    pub fn hamming_weight(self, n: usize) -> usize {
        match self {
            Self::UniformTernary => 2 * n / 3,
            Self::SparseTernary { hamming_weight } => hamming_weight,
        }
    }
}

impl fmt::Display for SecretDistribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UniformTernary => f.write_str("a uniform ternary secret"),
            Self::SparseTernary { hamming_weight } => write!(f, "a ternary secret of Hamming weight {hamming_weight}"),
        }
    }
}

/// Whether a parameter set must be secure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Security {
    /// At least 128 bits against classical attacks.
    Classical128,
    /// Unchecked. For tests only: such parameters protect nothing.
    None,
}

struct Row {
    log_n: u32,
    hamming_weight: usize,
    security_bits: u32,
    max_log_qp: u32,
}

static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    include_str!("security_table.csv")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("log_n"))
        .filter_map(|line| {
            let mut fields = line.split(',');
            let mut next = || fields.next()?.trim().parse::<u32>().ok();
            Some(Row {
                log_n: next()?,
                hamming_weight: next()? as usize,
                security_bits: next()?,
                max_log_qp: next()?,
            })
        })
        .collect()
});

/// Rows that may be used for this ring and secret, in falling order of `max_log_qp`.
fn rows(log_n: u32, secret: SecretDistribution) -> Vec<&'static Row> {
    let listed_weight = match secret {
        SecretDistribution::UniformTernary => Some(0),
        SecretDistribution::SparseTernary { hamming_weight } => TABLE
            .iter()
            .filter(|row| row.log_n == log_n && row.hamming_weight > 0 && row.hamming_weight <= hamming_weight)
            .map(|row| row.hamming_weight)
            .max(),
    };
    let mut rows: Vec<_> = TABLE
        .iter()
        .filter(|row| row.log_n == log_n && Some(row.hamming_weight) == listed_weight)
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.max_log_qp));
    rows
}

/// Largest log2(QP) with at least 128 bits of classical security.
///
/// # Errors
/// [`Error::SecurityUnknown`] when no cited row covers the combination.
pub fn max_log_qp(log_n: u32, secret: SecretDistribution) -> Result<u32> {
    rows(log_n, secret)
        .iter()
        .find(|row| row.security_bits >= REQUIRED_SECURITY_BITS)
        .map(|row| row.max_log_qp)
        .ok_or_else(|| Error::SecurityUnknown {
            log_n,
            secret: secret.to_string(),
        })
}

/// Estimated classical security, in bits, of a modulus of `log_qp` bits.
///
/// Between two rows log(bits) is interpolated linearly in log(log2 QP); outside them, bits is taken as inversely
/// proportional to log2(QP), which understates it below the largest listed modulus.
///
/// # Errors
/// [`Error::SecurityUnknown`] when no cited row covers the combination.
pub fn security_bits(log_n: u32, secret: SecretDistribution, log_qp: f64) -> Result<f64> {
    let rows = rows(log_n, secret);
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Err(Error::SecurityUnknown {
            log_n,
            secret: secret.to_string(),
        });
    };
    let scaled = |row: &Row| f64::from(row.security_bits) * f64::from(row.max_log_qp) / log_qp;
    if log_qp >= f64::from(first.max_log_qp) {
        return Ok(scaled(first));
    }
    for pair in rows.windows(2) {
        let (upper, lower) = (pair[0], pair[1]);
        if log_qp >= f64::from(lower.max_log_qp) {
            let position = (log_qp / f64::from(upper.max_log_qp)).ln()
                / (f64::from(lower.max_log_qp) / f64::from(upper.max_log_qp)).ln();
            let ratio = f64::from(lower.security_bits) / f64::from(upper.security_bits);
            return Ok(f64::from(upper.security_bits) * ratio.powf(position));
        }
    }
    Ok(scaled(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_ternary_bounds_are_those_of_the_guidelines() {
        let expected = [
            (10, 26),
            (11, 53),
            (12, 106),
            (13, 214),
            (14, 430),
            (15, 868),
            (16, 1747),
            (17, 3523),
        ];
        for (log_n, bound) in expected {
            assert_eq!(max_log_qp(log_n, SecretDistribution::UniformTernary), Ok(bound));
        }
    }

    #[test]
    fn sparse_secret_uses_the_next_lower_listed_weight() {
        let sparse = |hamming_weight| SecretDistribution::SparseTernary { hamming_weight };
        assert_eq!(max_log_qp(16, sparse(192)), Ok(1553));
        assert_eq!(max_log_qp(16, sparse(1000)), Ok(1553));
        assert_eq!(max_log_qp(16, sparse(191)), Ok(115));
        assert!(matches!(max_log_qp(16, sparse(31)), Err(Error::SecurityUnknown { .. })));
        assert!(matches!(
            max_log_qp(14, sparse(192)),
            Err(Error::SecurityUnknown { .. })
        ));
    }

    #[test]
    fn estimate_meets_the_rows_and_falls_with_the_modulus() {
        let bits = |log_qp| security_bits(15, SecretDistribution::UniformTernary, log_qp).unwrap();
        assert!((bits(868.0) - 128.0).abs() < 1e-9);
        assert!((bits(597.0) - 192.0).abs() < 1e-9);
        assert!((bits(462.0) - 256.0).abs() < 1e-9);
        let mut previous = f64::INFINITY;
        for log_qp in (100..2000).step_by(50) {
            let now = bits(f64::from(log_qp));
            assert!(now < previous);
            previous = now;
        }
    }
}
