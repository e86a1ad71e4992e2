//! [`NttTable`]: one prime's roots and the two transforms.

#[cfg(target_arch = "x86_64")]
use super::ifma;
use super::{LOG_N_RANGE, portable};
use crate::ring::{Backend, Modulus, RingError};

/// One prime with what its transforms of size `n` need.
#[derive(Debug)]
pub struct NttTable {
    modulus: Modulus,
    n: usize,
    root: u64,
    backend: Backend,
    twiddles: Twiddles,
}

/// Twiddle factors in the layout of one kernel family.
#[derive(Debug)]
enum Twiddles {
    Portable(portable::Twiddles),
    #[cfg(target_arch = "x86_64")]
    Ifma(ifma::Twiddles),
}

impl NttTable {
    /// Tables for `n = 2^log_n` and the prime `q`, run by `backend`.
    pub fn new(log_n: u32, q: u64, backend: Backend) -> Result<Self, RingError> {
        if !LOG_N_RANGE.contains(&log_n) {
            return Err(RingError::UnsupportedDegree {
                log_n,
                min: *LOG_N_RANGE.start(),
                max: *LOG_N_RANGE.end(),
            });
        }
        let modulus = Modulus::new(q)?;
        let n = 1usize << log_n;
        let two_n = 2 * n as u64;
        let root = modulus
            .primitive_root(two_n)
            .ok_or(RingError::NotNttFriendly { modulus: q, two_n })?;
        Ok(Self::with_root(modulus, n, root, backend))
    }

    /// Tables for polynomials in `X^(N/n)` of this ring: of size `n`, the root being `psi^(N/n)`.
    pub(crate) fn for_subring(&self, n: usize) -> Self {
        assert!(LOG_N_RANGE.contains(&n.trailing_zeros()) && n <= self.n);
        let root = self.modulus.pow(self.root, (self.n / n) as u64);
        Self::with_root(self.modulus, n, root, self.backend)
    }

    fn with_root(modulus: Modulus, n: usize, root: u64, backend: Backend) -> Self {
        let powers: Vec<u64> = std::iter::successors(Some(1), |&p| Some(modulus.mul(p, root)))
            .take(n)
            .collect();
        let twiddles = match backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Ifma(token) => Twiddles::Ifma(ifma::Twiddles::new(token, &modulus, &powers)),
            _ => Twiddles::Portable(portable::Twiddles::new(&modulus, &powers)),
        };
        Self {
            modulus,
            n,
            root,
            backend,
            twiddles,
        }
    }

    /// The prime.
    pub fn modulus(&self) -> &Modulus {
        &self.modulus
    }

    /// The ring degree N.
    pub fn n(&self) -> usize {
        self.n
    }

    /// psi, the primitive 2N-th root of unity behind the evaluations.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Requires: n values in [0, q), coefficients in natural order.
    /// Ensures:  n values in [0, q), value j is p(psi^e(j)), e as in [`super::evaluation_exponents`].
    pub fn forward(&self, values: &mut [u64]) {
        assert_eq!(values.len(), self.n);
        self.forward_top(values);
        for (part, values) in values.chunks_exact_mut(self.part()).enumerate() {
            self.forward_below(part, values);
        }
    }

    /// Requires: n values in [0, q) in evaluation order.   Ensures: the coefficients, in [0, q), in natural order.
    pub fn inverse(&self, values: &mut [u64]) {
        assert_eq!(values.len(), self.n);
        match &self.twiddles {
            Twiddles::Portable(twiddles) => portable::inverse(&self.modulus, twiddles, values),
            #[cfg(target_arch = "x86_64")]
            Twiddles::Ifma(twiddles) => ifma::inverse(&self.modulus, twiddles, values),
        }
    }

    /// Length of the parts that the first pass of a forward transform leaves, each to be finished on its own.
    pub(crate) fn part(&self) -> usize {
        match &self.twiddles {
            Twiddles::Portable(_) => self.n,
            #[cfg(target_arch = "x86_64")]
            Twiddles::Ifma(twiddles) => self.n >> ifma::log_parts(twiddles),
        }
    }

    /// The first pass of [`Self::forward`].
    pub(crate) fn forward_top(&self, values: &mut [u64]) {
        match &self.twiddles {
            Twiddles::Portable(_) => {}
            #[cfg(target_arch = "x86_64")]
            Twiddles::Ifma(twiddles) => ifma::forward_top(&self.modulus, twiddles, values),
        }
    }

    /// The rest of [`Self::forward`] on part number `part`.
    pub(crate) fn forward_below(&self, part: usize, values: &mut [u64]) {
        match &self.twiddles {
            Twiddles::Portable(twiddles) => portable::forward(&self.modulus, twiddles, values),
            #[cfg(target_arch = "x86_64")]
            Twiddles::Ifma(twiddles) => ifma::forward_below(&self.modulus, twiddles, part, values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{evaluation_exponents, find_ntt_primes};
    use proptest::prelude::*;

    fn random_values(q: u64, n: usize, seed: u64) -> Vec<u64> {
        let mut state = seed;
        let step = |s: &mut u64| {
            *s = s
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (*s >> 11) % q
        };
        (0..n).map(|_| step(&mut state)).collect()
    }

    #[test]
    fn forward_evaluates_at_the_stated_exponents() {
        for (log_n, bits) in [(6, 20), (7, 49), (8, 50)] {
            let q = find_ntt_primes(log_n + 1, bits, 1, &[]).unwrap()[0];
            let table = NttTable::new(log_n, q, Backend::detect()).unwrap();
            let m = table.modulus();
            let coefficients = random_values(q, table.n(), 1);
            let mut values = coefficients.clone();
            table.forward(&mut values);
            for (e, &value) in evaluation_exponents(table.n()).zip(&values) {
                let point = m.pow(table.root(), u64::from(e));
                let direct = coefficients.iter().rev().fold(0, |acc, &c| m.mul_add(acc, point, c));
                assert_eq!(value, direct);
            }
        }
    }

    #[test]
    fn kernel_families_agree_on_random_and_extreme_values() {
        for log_n in 6..=17 {
            // one prime for each reduction period of the vector kernels
            for bits in [(log_n + 2).max(20), 40, 45, 46, 47, 48, 49, 50] {
                let q = find_ntt_primes(log_n + 1, bits, 1, &[]).unwrap()[0];
                let portable = NttTable::new(log_n, q, Backend::Portable).unwrap();
                let detected = NttTable::new(log_n, q, Backend::detect()).unwrap();
                let n = portable.n();
                let alternating = (0..n).map(|i| if i % 2 == 0 { q - 1 } else { 0 }).collect();
                let mut impulse = vec![0; n];
                impulse[n - 1] = q - 1;
                let random = random_values(q, n, u64::from(bits));
                for input in [vec![0; n], vec![1; n], vec![q - 1; n], alternating, impulse, random] {
                    let (mut expected, mut found) = (input.clone(), input.clone());
                    portable.forward(&mut expected);
                    detected.forward(&mut found);
                    assert!(expected == found, "forward, log_n {log_n}, q {q}");
                    let mut expected = input.clone();
                    portable.inverse(&mut expected);
                    detected.inverse(&mut found);
                    assert!(found == input, "round trip, log_n {log_n}, q {q}");
                    found.copy_from_slice(&input);
                    detected.inverse(&mut found);
                    assert!(expected == found, "inverse, log_n {log_n}, q {q}");
                }
            }
        }
    }

    #[test]
    fn refuses_wrong_sizes_and_primes() {
        assert!(matches!(
            NttTable::new(5, 193, Backend::Portable),
            Err(RingError::UnsupportedDegree { .. })
        ));
        assert!(matches!(
            NttTable::new(18, 193, Backend::Portable),
            Err(RingError::UnsupportedDegree { .. })
        ));
        assert!(matches!(
            NttTable::new(6, 193, Backend::Portable),
            Err(RingError::NotNttFriendly { .. })
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn inverse_undoes_forward_and_products_are_negacyclic(log_n in 6u32..=12, bits in 20u32..=50, seed: u64) {
            let q = find_ntt_primes(log_n + 1, bits, 1, &[]).unwrap()[0];
            let table = NttTable::new(log_n, q, Backend::detect()).unwrap();
            let m = table.modulus();
            let n = table.n();
            let a = random_values(q, n, seed);
            let mut values = a.clone();
            table.forward(&mut values);
            // times X^k: a rotation with a sign
            let k = (seed % n as u64) as usize;
            for (e, v) in evaluation_exponents(n).zip(values.iter_mut()) {
                *v = m.mul(*v, m.pow(table.root(), u64::from(e) * k as u64));
            }
            table.inverse(&mut values);
            for i in 0..n {
                let expected = if i >= k { a[i - k] } else { m.neg(a[i + n - k]) };
                prop_assert_eq!(values[i], expected);
            }
        }
    }
}
