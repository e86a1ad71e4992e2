//! How far the multiples of q_0 reach after raising the modulus, and how likely they reach further than planned for.
//!
//! A ciphertext c modulo q_0 under a secret of Hamming weight h, read as integers, decrypts to m + q_0 I, and c_0 lies within
//! q_0 / 2: each coefficient of I is (c_1 s - m) / q_0, rounded, where c_1 s / q_0 is a sum of h numbers uniform on
//! [-1/2, 1/2] (pseudo-random ones, as c_1 is). So |I| exceeds K where that sum exceeds K + 1/2 less the message's share of q_0.
//! The tail of such sums is Irwin and Hall's, an alternating sum; towards the middle, where doubles cannot hold it, Chernoff's
//! bound stands in.
//! Source: Bossuat, Troncoso-Pastoriza, Hubaux, "Bootstrapping for Approximate Homomorphic Encryption with Negligible
//! Failure-Probability by Using Sparse-Secret Encapsulation", ACNS 2022, section 5.

/// Least part of the largest term that an alternating sum of doubles must keep to be believed.
const BELIEVED: f64 = 1e-6;

/// log2 of a bound on the probability that any of `coefficients` multiples exceeds `reach`, for messages of up to `share` of q_0.
pub(super) fn failure_log2(hamming_weight: usize, coefficients: usize, reach: usize, share: f64) -> f64 {
    let bound = reach as f64 + 0.5 - share;
    let tail = irwin_hall_tail_log2(hamming_weight, bound).unwrap_or_else(|| chernoff_log2(hamming_weight, bound));
    tail + 1.0 + (coefficients as f64).log2()
}

/// The least integer K with failure probability at most 2^`target_log2`.
pub(super) fn least_reach(hamming_weight: usize, coefficients: usize, target_log2: f64, share: f64) -> usize {
    // The sum cannot exceed half its number of terms.
    let most = hamming_weight / 2 + 1;
    (1..most)
        .find(|reach| failure_log2(hamming_weight, coefficients, *reach, share) <= target_log2)
        .unwrap_or(most)
}

/// log2 of the probability that a sum of numbers uniform on [-1/2, 1/2] exceeds `bound`; `None` where rounding hides it.
fn irwin_hall_tail_log2(terms: usize, bound: f64) -> Option<f64> {
    let room = terms as f64 / 2.0 - bound;
    if room <= 0.0 {
        return Some(f64::NEG_INFINITY);
    }
    let (mut sum, mut largest, mut binomial) = (0.0f64, 0.0f64, 1.0);
    for k in 0..=room as usize {
        // Powers of the room are taken relative to its own, the first.
        let term = binomial * (1.0 - k as f64 / room).powi(terms as i32);
        sum += if k % 2 == 0 { term } else { -term };
        largest = largest.max(term);
        binomial *= (terms - k) as f64 / (k + 1) as f64;
    }
    let log_factorial: f64 = (1..=terms).map(|i| (i as f64).log2()).sum();
    (sum > BELIEVED * largest).then(|| sum.log2() + terms as f64 * room.log2() - log_factorial)
}

/// Chernoff's bound on the same.
fn chernoff_log2(terms: usize, bound: f64) -> f64 {
    // E exp(t u) = sinh(t/2) / (t/2) for u uniform on [-1/2, 1/2].
    let exponent = |t: f64| terms as f64 * ((t / 2.0).sinh() / (t / 2.0)).ln() - t * bound;
    let best = (1..4000).map(|i| exponent(f64::from(i) * 0.01)).fold(0.0, f64::min);
    best / std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_that_of_the_sum() {
        // Of two numbers: P(u + v > x) = (1 - x)^2 / 2.
        assert!((irwin_hall_tail_log2(2, 0.25).unwrap() - (0.75f64 * 0.75 / 2.0).log2()).abs() < 1e-12);
        // Of twelve, the variance is one: P(sum > 3) is near that of a Gaussian number, 1.35e-3, with thinner tails.
        let twelve = irwin_hall_tail_log2(12, 3.0).unwrap().exp2();
        assert!((1.0e-3..1.3e-3).contains(&twelve), "{twelve}");
        assert_eq!(irwin_hall_tail_log2(16, 8.0), Some(f64::NEG_INFINITY));
        assert_eq!(irwin_hall_tail_log2(192, 1.0), None);
    }

    #[test]
    fn chernoffs_bound_lies_just_above_the_tail() {
        for terms in [16, 32] {
            for bound in [4.0, 5.0, 6.0, 7.5] {
                let (tail, above) = (irwin_hall_tail_log2(terms, bound).unwrap(), chernoff_log2(terms, bound));
                assert!((tail..tail + 4.5).contains(&above), "{terms}, {bound}: {tail} {above}");
            }
        }
    }

    #[test]
    fn reach_grows_with_the_demand_up_to_what_is_possible() {
        let reach = |target| least_reach(32, 1 << 16, target, 1.0 / 32.0);
        assert!((9..=10).contains(&reach(-10.0)), "{}", reach(-10.0));
        assert_eq!(reach(-40.0), 12);
        assert_eq!(reach(-1000.0), 16);
        let failure = |share| failure_log2(32, 1 << 16, 12, share);
        assert!(failure(0.0) < failure(0.1) && failure(0.1) < -40.0);
    }
}
