//! [`NttTable`]: one prime's roots and the two transforms.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::ifma;
use super::{Ahead, LOG_N_RANGE, portable};
use crate::ring::{Backend, Modulus, RingError, ShoupFactor, kernels};

/// Words of a vector, by which interleaved coefficients are dealt out.
const VECTOR: usize = 8;

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
        self.finish_forward(&mut [values], self.n, false, &[], |_, _| {});
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
            Twiddles::Ifma(twiddles) => self.n >> twiddles.log_parts(),
        }
    }

    /// Length of the leaves that the second pass leaves of a part; a leaf is finished in the first-level cache.
    pub(crate) fn leaf(&self) -> usize {
        match &self.twiddles {
            Twiddles::Portable(_) => self.n,
            #[cfg(target_arch = "x86_64")]
            Twiddles::Ifma(twiddles) => self.part() >> twiddles.log_leaves_per_part(),
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

    /// The second pass of [`Self::forward`] on part number `part`.
    pub(crate) fn forward_middle(&self, part: usize, values: &mut [u64]) {
        match &self.twiddles {
            Twiddles::Portable(_) => {}
            #[cfg(target_arch = "x86_64")]
            Twiddles::Ifma(twiddles) => ifma::forward_middle(&self.modulus, twiddles, part, values),
        }
    }

    /// The rest of [`Self::forward`] on leaf number `leaf`, counted over all parts. Meanwhile `soon` is brought closer: limbs of the
    /// length of the leaf, and perhaps one more.
    fn forward_leaf(&self, leaf: usize, values: &mut [u64], lazily: bool, soon: (&[&[u64]], &[u64])) {
        match &self.twiddles {
            Twiddles::Portable(twiddles) => portable::forward(&self.modulus, twiddles, values),
            #[cfg(target_arch = "x86_64")]
            Twiddles::Ifma(twiddles) => ifma::forward_leaf(&self.modulus, twiddles, leaf, values, lazily, soon),
        }
    }

    /// If transforms may be finished lazily: a multiple m of q, so that the low 52 bits of a word are those of a value below m, which
    /// is the evaluation modulo q, and m + q and 6q are at most 2^52.
    pub(crate) fn lazy_bound(&self) -> Option<u64> {
        match &self.twiddles {
            Twiddles::Portable(_) => None,
            #[cfg(target_arch = "x86_64")]
            Twiddles::Ifma(_) => ifma::lazy_bound(&self.modulus, self.n),
        }
    }

    /// What is left of [`Self::forward`] after its first pass, on several limbs of this prime: leaf by leaf, so that they share
    /// the reading of the factors. `consume` gets the limbs whenever `width` more words of them are done (a power of two, at most
    /// n; a leaf at least), with their place; the limbs `with` that it reads besides are brought to the second-level cache meanwhile.
    /// If it takes them `lazily`, see [`Self::lazy_bound`].
    pub(crate) fn finish_forward(
        &self,
        limbs: &mut [&mut [u64]],
        width: usize,
        lazily: bool,
        with: &[&[u64]],
        mut consume: impl FnMut(&mut [&mut [u64]], Range<usize>),
    ) {
        let (part, leaf) = (self.part(), self.leaf());
        let width = width.max(leaf);
        let share = with.len().div_ceil(limbs.len().max(1)).max(1);
        let mut soon = Vec::with_capacity(share);
        for start in (0..self.n).step_by(leaf) {
            if start.is_multiple_of(part) {
                for limb in limbs.iter_mut() {
                    self.forward_middle(start / part, &mut limb[start..start + part]);
                }
            }
            let end = start + leaf;
            let mut shares = with.chunks(share);
            for limb in limbs.iter_mut() {
                let (values, rest) = limb[start..].split_at_mut(leaf);
                soon.clear();
                soon.extend(shares.next().unwrap_or_default().iter().map(|other| &other[start..end]));
                // the same leaf of the next part, whose second pass would wait for it
                let next = rest.get(part - leaf..part).unwrap_or_default();
                self.forward_leaf(start / leaf, values, lazily, (&soon, next));
            }
            if end.is_multiple_of(width) {
                consume(limbs, end - width..end);
            }
        }
    }

    /// Columns of the first pass: interleaved coefficients come in so many runs, of a vector of each part.
    pub(crate) fn columns(&self) -> usize {
        self.part() / VECTOR
    }

    /// Requires: x in [0, q) in evaluation order; w a factor of q.
    /// Ensures:  out in [0, q), w times the coefficients, interleaved: run c has words 8c to 8c + 7 of every part, part by part.
    ///           The content of `scratch` is lost.
    pub(crate) fn inverse_interleaved(&self, x: &[u64], scratch: &mut [u64], out: &mut [u64], w: ShoupFactor) {
        assert!([x.len(), scratch.len(), out.len()] == [self.n; 3]);
        match &self.twiddles {
            Twiddles::Portable(twiddles) => {
                out.copy_from_slice(x);
                portable::inverse(&self.modulus, twiddles, out);
                kernels::mul_shoup(self.backend, &self.modulus, out, w);
            }
            #[cfg(target_arch = "x86_64")]
            Twiddles::Ifma(twiddles) => ifma::inverse_interleaved(&self.modulus, twiddles, x, scratch, out, w),
        }
    }

    /// Requires: rows of words below 2^50, interleaved, as many as weights, which are factors of q.
    /// Ensures:  these columns of `out` are those of the transform of `sum_k rows[k] * weights[k]` after its first pass.
    pub(crate) fn start_sums(
        &self,
        rows: &[&[u64]],
        weights: &[ShoupFactor],
        out: &mut [u64],
        columns: Range<usize>,
        ahead: &Ahead,
    ) {
        assert!(out.len() == self.n && rows.len() == weights.len());
        match &self.twiddles {
            Twiddles::Portable(_) => portable::weighted_sum(&self.modulus, rows, weights, out, words_of(columns)),
            #[cfg(target_arch = "x86_64")]
            Twiddles::Ifma(twiddles) => ifma::start_sums(&self.modulus, twiddles, rows, weights, out, columns, ahead),
        }
    }

    /// Requires: row in [0, b) for the odd modulus b of `source`, interleaved.
    /// Ensures:  these columns of `out` are those of the transform of the centred residues after its first pass.
    pub(crate) fn start_lifted(&self, row: &[u64], source: &Modulus, out: &mut [u64], columns: Range<usize>) {
        assert!(row.len() == self.n && out.len() == self.n);
        match &self.twiddles {
            Twiddles::Portable(_) => portable::lift(&self.modulus, row, source, out, words_of(columns)),
            #[cfg(target_arch = "x86_64")]
            Twiddles::Ifma(twiddles) => ifma::start_lifted(&self.modulus, twiddles, row, source, out, columns),
        }
    }
}

/// The words of columns when there is one part.
fn words_of(columns: Range<usize>) -> Range<usize> {
    columns.start * VECTOR..columns.end * VECTOR
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::modulus::MASK52;
    use crate::ring::{evaluation_exponents, find_ntt_primes, nearest_prime};
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

    /// A prime for each reduction period of the vector kernels.
    fn primes_of_all_periods(log_n: u32) -> Vec<u64> {
        let smallest = f64::from(log_n + 8).max(20.0);
        let bits = [
            smallest, 40.0, 45.0, 46.0, 47.0, 48.0, 48.3, 48.6, 49.0, 49.3, 49.6, 50.0,
        ];
        let prime = |bits: f64| nearest_prime(bits.exp2() - 1.0, log_n + 1, &[]).unwrap();
        bits.into_iter().map(prime).collect()
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
            for (seed, q) in (0..).zip(primes_of_all_periods(log_n)) {
                let portable = NttTable::new(log_n, q, Backend::Portable).unwrap();
                let detected = NttTable::new(log_n, q, Backend::detect()).unwrap();
                let n = portable.n();
                let alternating = (0..n).map(|i| if i % 2 == 0 { q - 1 } else { 0 }).collect();
                let mut impulse = vec![0; n];
                impulse[n - 1] = q - 1;
                let random = random_values(q, n, seed);
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
    fn interleaved_transforms_undo_each_other_and_convert() {
        for log_n in 6..=17 {
            for q in primes_of_all_periods(log_n) {
                let primes = [q, nearest_prime(q as f64, log_n + 1, &[q]).unwrap()];
                let tables = |backend| [primes[0], primes[1]].map(|q| NttTable::new(log_n, q, backend).unwrap());
                let ([table, other], n) = (tables(Backend::detect()), 1 << log_n);
                let m = table.modulus();
                let whole = 0..table.columns();
                // lazily where that is possible, and not
                let finish = |mut values: Vec<u64>| {
                    let mut lazy = values.clone();
                    table.finish_forward(&mut [&mut values], n, false, &[], |_, _| {});
                    if let Some(bound) = table.lazy_bound() {
                        assert!(bound % q == 0 && bound + q <= 1 << 52 && 6 * q <= 1 << 52);
                        table.finish_forward(&mut [&mut lazy], n, true, &[], |_, _| {});
                        lazy.iter_mut().for_each(|x| *x &= MASK52);
                        assert!(lazy.iter().all(|&x| x < bound), "log_n {log_n}, q {q}");
                        assert!(
                            lazy.iter().zip(&values).all(|(x, y)| x % q == *y),
                            "log_n {log_n}, q {q}"
                        );
                    }
                    values
                };
                let x = random_values(q, n, 1);
                let (mut scratch, mut row, mut out) = (vec![0; n], vec![0; n], vec![0; n]);
                table.inverse_interleaved(&x, &mut scratch, &mut row, m.shoup(5));
                table.start_sums(
                    &[&row],
                    &[m.shoup(m.inv(5))],
                    &mut out,
                    whole.clone(),
                    &Ahead::default(),
                );
                assert!(finish(out.clone()) == x, "log_n {log_n}, q {q}");
                // sums of more products than fit, at the end of their range: all coefficients are one number
                let constant = vec![(1u64 << 50) - 1; n];
                for terms in [2, 14, 15, 30] {
                    let half = whole.end / 2;
                    let (rows, weights) = (vec![constant.as_slice(); terms], vec![m.shoup(q - 1); terms]);
                    for columns in [0..half, half..whole.end] {
                        table.start_sums(&rows, &weights, &mut out, columns, &Ahead::default());
                    }
                    let sum = m.neg(m.mul(m.reduce(terms as u64), m.reduce(constant[0])));
                    let mut expected = vec![sum; n];
                    table.forward(&mut expected);
                    assert!(finish(out.clone()) == expected, "log_n {log_n}, q {q}, {terms} terms");
                }
                let b = other.modulus().value();
                for residue in [0, 1, b / 2, b / 2 + 1, b - 1] {
                    table.start_lifted(&vec![residue; n], other.modulus(), &mut out, whole.clone());
                    let below = residue > b / 2;
                    let mut expected = vec![
                        if below {
                            m.neg(m.reduce(b - residue))
                        } else {
                            m.reduce(residue)
                        };
                        n
                    ];
                    table.forward(&mut expected);
                    assert!(
                        finish(out.clone()) == expected,
                        "log_n {log_n}, q {q}, residue {residue}"
                    );
                }
                let by_family = [Backend::Portable, Backend::detect()].map(|backend| {
                    let [table, other] = tables(backend);
                    let (mut row, mut limbs) = (vec![0; n], [vec![0; n], vec![0; n]]);
                    other.inverse_interleaved(
                        &random_values(b, n, 2),
                        &mut vec![0; n],
                        &mut row,
                        other.modulus().shoup(1),
                    );
                    let [lifted, sums] = &mut limbs;
                    table.start_lifted(&row, other.modulus(), lifted, 0..table.columns());
                    table.start_sums(
                        &[&row, &row],
                        &[q - 1, q / 3].map(|weight| table.modulus().shoup(weight)),
                        sums,
                        0..table.columns(),
                        &Ahead::default(),
                    );
                    table.finish_forward(&mut [lifted, sums], 64, false, &[&row], |_, _| {});
                    limbs
                });
                assert!(by_family[0] == by_family[1], "log_n {log_n}, q {q}");
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
