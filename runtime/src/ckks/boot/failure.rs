//! How far the multiples of q_0 reach after raising the modulus, and how likely they reach further than planned for.
//!
//! A ciphertext modulo q_0 under a secret of Hamming weight h, read as integers, decrypts to m + q_0 I where each
//! coefficient of I is a sum of h + 1 numbers uniform on [-1/2, 1/2], rounded. Chernoff's bound on that sum is exact
//! enough here (within a few bits) and errs on the safe side.
//! Source: Bossuat, Troncoso-Pastoriza, Hubaux, "Bootstrapping for Approximate Homomorphic Encryption with Negligible
//! Failure-Probability by Using Sparse-Secret Encapsulation", ACNS 2022, section 5.

/// log2 of a bound on the probability that any of `coefficients` exceeds `reach` in magnitude.
pub(super) fn failure_log2(hamming_weight: usize, coefficients: usize, reach: f64) -> f64 {
    let terms = (hamming_weight + 1) as f64;
    // E exp(t u) = sinh(t/2) / (t/2) for u uniform on [-1/2, 1/2].
    let exponent = |t: f64| terms * ((t / 2.0).sinh() / (t / 2.0)).ln() - t * reach;
    let best = (1..4000).map(|i| exponent(f64::from(i) * 0.01)).fold(0.0, f64::min);
    best / std::f64::consts::LN_2 + 1.0 + (coefficients as f64).log2()
}

/// The least integer K with failure probability at most 2^`target_log2`.
pub(super) fn least_reach(hamming_weight: usize, coefficients: usize, target_log2: f64) -> usize {
    (1..=hamming_weight / 2 + 1)
        .find(|reach| failure_log2(hamming_weight, coefficients, *reach as f64 + 0.5) <= target_log2)
        // The sum cannot exceed half its number of terms.
        .unwrap_or(hamming_weight / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_lie_just_above_the_exact_tail() {
        // Sixteen uniform numbers: P(|sum| > 4) = 5.2e-4 by the Irwin-Hall distribution.
        let irwin_hall_tail = |n: u32, x: f64| {
            let at = x + f64::from(n) / 2.0;
            let mut sum = 0.0;
            let mut binomial = 1.0;
            for k in 0..=n {
                let base = f64::from(n) - at - f64::from(k);
                if base > 0.0 {
                    let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
                    sum += sign * binomial * base.powi(n as i32);
                }
                binomial *= f64::from(n - k) / f64::from(k + 1);
            }
            2.0 * sum / (1..=n).map(f64::from).product::<f64>()
        };
        for x in [3.0, 4.0, 5.0, 6.0] {
            let exact = irwin_hall_tail(16, x).log2();
            let bound = failure_log2(15, 1, x);
            assert!(bound >= exact && bound < exact + 4.0, "{x}: {bound} {exact}");
        }
    }

    #[test]
    fn reach_grows_with_the_demand_up_to_what_is_possible() {
        let reach = |target| least_reach(32, 1 << 16, target);
        assert!((9..=11).contains(&reach(-10.0)), "{}", reach(-10.0));
        assert!((12..=15).contains(&reach(-50.0)), "{}", reach(-50.0));
        assert_eq!(reach(-1000.0), 17);
    }
}
