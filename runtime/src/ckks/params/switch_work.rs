//! Work of a hybrid key switch and of what is built on it, in transforms of one limb: what choices of digits are compared by.
//!
//! Assumes key switching as `ring` does it; see runtime/README.md for the counts. Ensures nothing about seconds: other
//! passes over a limb are weighted as they were measured beside transforms at N = 2^16.

/// A multiply-add of the base conversion over one limb.
const CONVERSION: f64 = 0.06;
/// A product of two limbs that come from memory, added to a sum in cache.
const PRODUCT: f64 = 0.45;
/// An automorphism of one limb.
const AUTOMORPHISM: f64 = 0.5;

/// The key switch at one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SwitchWork {
    /// Limbs of what is switched.
    limbs: usize,
    /// Primes of every digit but perhaps the last.
    digit_primes: usize,
    /// Special primes in use.
    special: usize,
}

impl SwitchWork {
    /// The key switch at `level` with digits of so many primes and so many special primes.
    pub(crate) fn new(level: usize, digit_primes: usize, special: usize) -> Self {
        Self {
            limbs: level + 1,
            digit_primes,
            special,
        }
    }

    /// Limbs of what is raised.
    pub(crate) fn raised_limbs(&self) -> usize {
        self.limbs + self.special
    }

    /// Digits.
    pub(crate) fn digits(&self) -> usize {
        self.limbs.div_ceil(self.digit_primes)
    }

    /// Raising all digits of a polynomial.
    fn decompose(&self) -> f64 {
        let (limbs, digits) = (self.raised_limbs(), self.digits());
        let width = self.digit_primes.min(self.limbs);
        (digits * limbs) as f64 + CONVERSION * (digits * (width + 1) * (limbs - width)) as f64
    }

    /// Products of raised digits with a key.
    fn products(&self) -> f64 {
        PRODUCT * (2 * self.digits() * self.raised_limbs()) as f64
    }

    /// Division of one polynomial by the special primes.
    fn division(&self) -> f64 {
        self.raised_limbs() as f64 + CONVERSION * ((self.special + 1) * self.limbs) as f64
    }

    /// A whole key switch.
    pub(crate) fn switch(&self) -> f64 {
        self.decompose() + self.products() + 2.0 * self.division()
    }

    /// A linear transform with this many rotated inputs, rotations of sums, and diagonals.
    pub(crate) fn transform(&self, babies: usize, giants: usize, diagonals: usize) -> f64 {
        let limbs = self.raised_limbs() as f64;
        let baby = self.products() + 2.0 * AUTOMORPHISM * limbs;
        let giant = self.decompose() + self.division() + baby;
        self.decompose()
            + babies as f64 * baby
            + giants as f64 * giant
            + 2.0 * PRODUCT * diagonals as f64 * limbs
            + 2.0 * self.division()
    }
}
