//! The canonical embedding of the real subring: evaluation at the powers of five of a 4n-th root of unity, and back.
//!
//! Assumes 1 <= n <= the table's size, a power of two. Ensures, for w the vector of n complex coefficients
//! w_i = a_i + i*a_{i+n} of a real polynomial a of degree < 2n and zeta = exp(2*pi*i/4n),
//! `forward`: z_j = a(zeta^{5^j}), and `inverse` undoes it. Relative error about log2(n) * 2^-53.
//!
//! Source: Cheon, Han, Kim, Kim, Song, "Bootstrapping for Approximate Homomorphic Encryption", EUROCRYPT 2018,
//! section 5.3 (the FFT-like factorisation over the rotation group <5>). Roots are kept per stage, contiguous.

/// A complex number in double precision.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Complex64 {
    /// Real part.
    pub re: f64,
    /// Imaginary part.
    pub im: f64,
}

impl Complex64 {
    /// The number `re + i * im`.
    #[must_use]
    pub const fn new(re: f64, im: f64) -> Self {
        Self { re, im }
    }

    /// Complex conjugate.
    #[must_use]
    pub const fn conj(self) -> Self {
        Self {
            re: self.re,
            im: -self.im,
        }
    }

    /// Absolute value.
    #[must_use]
    pub fn abs(self) -> f64 {
        self.re.hypot(self.im)
    }
}

impl From<f64> for Complex64 {
    fn from(re: f64) -> Self {
        Self { re, im: 0.0 }
    }
}

impl std::ops::Add for Complex64 {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            re: self.re + other.re,
            im: self.im + other.im,
        }
    }
}

impl std::ops::Sub for Complex64 {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            re: self.re - other.re,
            im: self.im - other.im,
        }
    }
}

impl std::ops::Mul for Complex64 {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self {
            re: self.re * other.re - self.im * other.im,
            im: self.re * other.im + self.im * other.re,
        }
    }
}

impl std::ops::Mul<f64> for Complex64 {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self {
            re: self.re * factor,
            im: self.im * factor,
        }
    }
}

/// Roots of unity for every transform length up to the one it was built for. Shared, read-only.
pub struct SpecialFft {
    /// `stages[s]` serves blocks of length `2^(s+1)`: entry j is exp(2*pi*i * (5^j mod 4*len) / (4*len)), j < len/2.
    stages: Vec<Vec<Complex64>>,
}

impl SpecialFft {
    /// Tables for transforms of up to `max_slots` complex values, a power of two.
    #[must_use]
    pub fn new(max_slots: usize) -> Self {
        assert!(
            max_slots.is_power_of_two(),
            "slot counts are checked to be powers of two before tables are built"
        );
        let stages = (1..=max_slots.trailing_zeros())
            .map(|log_len| {
                let len = 1usize << log_len;
                let period = 4 * len;
                let mut exponent = 1usize;
                (0..len / 2)
                    .map(|_| {
                        let angle = std::f64::consts::TAU * exponent as f64 / period as f64;
                        exponent = exponent * 5 % period;
                        Complex64::new(angle.cos(), angle.sin())
                    })
                    .collect()
            })
            .collect();
        Self { stages }
    }

    /// Largest length served.
    #[must_use]
    pub fn max_slots(&self) -> usize {
        1 << self.stages.len()
    }

    /// The roots of the stage that combines halves of length 2^`stage`: entry j multiplies the second half's j-th value.
    #[must_use]
    pub fn stage_roots(&self, stage: usize) -> &[Complex64] {
        &self.stages[stage]
    }

    /// Coefficients to slot values, in place.
    pub fn forward(&self, values: &mut [Complex64]) {
        let log_n = self.check_length(values.len());
        bit_reverse(values);
        for roots in &self.stages[..log_n] {
            let half = roots.len();
            for block in values.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                for ((x, y), root) in low.iter_mut().zip(high).zip(roots) {
                    let (u, v) = (*x, *y * *root);
                    *x = u + v;
                    *y = u - v;
                }
            }
        }
    }

    /// Slot values to coefficients, in place; divides by the length.
    pub fn inverse(&self, values: &mut [Complex64]) {
        let log_n = self.check_length(values.len());
        for roots in self.stages[..log_n].iter().rev() {
            let half = roots.len();
            for block in values.chunks_exact_mut(2 * half) {
                let (low, high) = block.split_at_mut(half);
                for ((x, y), root) in low.iter_mut().zip(high).zip(roots) {
                    let (u, v) = (*x, *y);
                    *x = u + v;
                    *y = (u - v) * root.conj();
                }
            }
        }
        bit_reverse(values);
        let factor = 1.0 / values.len() as f64;
        for value in values {
            *value = *value * factor;
        }
    }

    fn check_length(&self, len: usize) -> usize {
        assert!(
            len.is_power_of_two() && len <= self.max_slots(),
            "length {len} has no table"
        );
        len.trailing_zeros() as usize
    }
}

fn bit_reverse(values: &mut [Complex64]) {
    let shift = usize::BITS - values.len().trailing_zeros();
    if values.len() > 1 {
        for i in 0..values.len() {
            let j = i.reverse_bits() >> shift;
            if i < j {
                values.swap(i, j);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(n: usize) -> Vec<Complex64> {
        (0..n)
            .map(|i| Complex64::new((i as f64 * 0.7).sin(), (i as f64 * 1.3).cos()))
            .collect()
    }

    #[test]
    fn forward_evaluates_at_powers_of_five() {
        for n in [1usize, 2, 4, 16, 64] {
            let fft = SpecialFft::new(64);
            let coeffs = sample(n);
            let mut slots = coeffs.clone();
            fft.forward(&mut slots);
            let mut exponent = 1usize;
            for slot in slots {
                let mut expected = Complex64::default();
                for i in 0..2 * n {
                    let a = if i < n { coeffs[i].re } else { coeffs[i - n].im };
                    let angle = std::f64::consts::TAU * (i * exponent % (4 * n)) as f64 / (4 * n) as f64;
                    expected = expected + Complex64::new(angle.cos(), angle.sin()) * a;
                }
                assert!((slot - expected).abs() < 1e-11, "n = {n}");
                exponent = exponent * 5 % (4 * n);
            }
        }
    }

    #[test]
    fn inverse_undoes_forward() {
        let fft = SpecialFft::new(1 << 14);
        for log_n in 0..=14 {
            let original = sample(1 << log_n);
            let mut values = original.clone();
            fft.inverse(&mut values);
            fft.forward(&mut values);
            let worst = values
                .iter()
                .zip(&original)
                .map(|(a, b)| (*a - *b).abs())
                .fold(0.0, f64::max);
            assert!(worst < 1e-13, "length {}: {worst}", 1 << log_n);
        }
    }
}
