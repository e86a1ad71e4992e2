//! Primes that carry a negacyclic transform: `q = 1 (mod 2N)`, `q < 2^50`.

use super::{MAX_MODULUS_BITS, RingError};

/// Deterministic Miller-Rabin for every `u64`: the first twelve prime bases suffice below 3.3 * 10^24
/// (Sorenson and Webster, "Strong pseudoprimes to twelve prime bases", Math. Comp. 2017).
pub fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 {
        return false;
    }
    for p in BASES {
        if n.is_multiple_of(p) {
            return n == p;
        }
    }
    let mul = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(n)) as u64;
    let pow = |mut base: u64, mut exponent: u64| {
        let mut acc = 1;
        while exponent > 0 {
            if exponent & 1 == 1 {
                acc = mul(acc, base);
            }
            base = mul(base, base);
            exponent >>= 1;
        }
        acc
    };
    let twos = (n - 1).trailing_zeros();
    let odd = (n - 1) >> twos;
    BASES.iter().all(|&base| {
        let mut x = pow(base, odd);
        if x == 1 || x == n - 1 {
            return true;
        }
        (1..twos).any(|_| {
            x = mul(x, x);
            x == n - 1
        })
    })
}

/// The `count` largest primes `q` with exactly `bits` bits, `q = 1 (mod 2^log_2n)`, none of them in `exclude`, in falling order.
pub fn find_ntt_primes(log_2n: u32, bits: u32, count: usize, exclude: &[u64]) -> Result<Vec<u64>, RingError> {
    let mut found = Vec::with_capacity(count.min(1024));
    if (log_2n + 1..=MAX_MODULUS_BITS).contains(&bits) {
        let step = 1u64 << log_2n;
        let mut candidate = (1u64 << bits) - step + 1;
        while found.len() < count && candidate >> (bits - 1) == 1 {
            if is_prime(candidate) && !exclude.contains(&candidate) {
                found.push(candidate);
            }
            candidate -= step;
        }
    }
    if found.len() < count {
        return Err(RingError::NotEnoughPrimes {
            bits,
            log_2n,
            found: found.len(),
            wanted: count,
        });
    }
    Ok(found)
}

/// The prime `q = 1 (mod 2^log_2n)`, `q < 2^50`, not in `exclude`, that lies nearest to `target` (the smaller one of a tie).
pub fn nearest_prime(target: f64, log_2n: u32, exclude: &[u64]) -> Result<u64, RingError> {
    let limit = 1u64 << MAX_MODULUS_BITS;
    let missing = RingError::NotEnoughPrimes {
        bits: target.max(1.0).log2().round() as u32,
        log_2n,
        found: 0,
        wanted: 1,
    };
    if !target.is_finite() || target < 2.0 || target > limit as f64 || log_2n >= MAX_MODULUS_BITS {
        return Err(missing);
    }
    let step = 1u64 << log_2n;
    let fits = |q: u64| is_prime(q) && !exclude.contains(&q);
    let centre = (target as u64 >> log_2n) * step + 1;
    let (mut below, mut above) = (Some(centre), Some(centre + step));
    loop {
        let below_is_nearer = match (below, above) {
            (Some(low), Some(high)) => target - low as f64 <= high as f64 - target,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return Err(missing),
        };
        let side = if below_is_nearer { &mut below } else { &mut above };
        if let Some(candidate) = *side {
            if candidate > 2 && candidate < limit && fits(candidate) {
                return Ok(candidate);
            }
            *side = if below_is_nearer {
                candidate.checked_sub(step).filter(|&low| low > 2)
            } else {
                Some(candidate + step).filter(|&high| high < limit)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primality_matches_trial_division_and_known_values() {
        let by_division = |n: u64| n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
        for n in 0..5000 {
            assert_eq!(is_prime(n), by_division(n), "{n}");
        }
        assert!(is_prime(18_446_744_073_709_551_557));
        for pseudoprime in [3_215_031_751, 3_825_123_056_546_413_051, u64::MAX] {
            assert!(!is_prime(pseudoprime));
        }
    }

    #[test]
    fn found_primes_have_the_asked_form() {
        let primes = find_ntt_primes(17, 50, 20, &[]).unwrap();
        for pair in primes.windows(2) {
            assert!(pair[0] > pair[1]);
        }
        for &q in &primes {
            assert!(is_prime(q) && q % (1 << 17) == 1 && q >> 49 == 1);
        }
        let rest = find_ntt_primes(17, 50, 19, &primes[..1]).unwrap();
        assert_eq!(rest, primes[1..]);
        assert!(matches!(
            find_ntt_primes(17, 18, 3, &[]),
            Err(RingError::NotEnoughPrimes { .. })
        ));
        assert!(find_ntt_primes(17, 51, 1, &[]).is_err());
    }

    #[test]
    fn nearest_prime_is_nearest() {
        let step = 1u64 << 12;
        for target in [2f64.powi(30), 2f64.powi(40) * 1.0001, 2f64.powi(50) - 1.0, 40962.0] {
            let q = nearest_prime(target, 12, &[]).unwrap();
            let distance = (q as f64 - target).abs();
            let mut candidate = q % step;
            let low = ((target - distance) as u64).saturating_sub(1);
            candidate += low / step * step;
            while (candidate as f64) < target + distance {
                assert!((candidate as f64 - target).abs() >= distance || !is_prime(candidate) || candidate >> 50 != 0);
                candidate += step;
            }
            assert_ne!(nearest_prime(target, 12, &[q]).unwrap(), q);
        }
        assert!(nearest_prime(f64::NAN, 12, &[]).is_err());
        assert!(nearest_prime(2f64.powi(51), 12, &[]).is_err());
    }
}
