//! What it costs to evaluate a polynomial on a ciphertext at optimal depth.
//!
//! The count is that of the baby-step giant-step evaluation of Bossuat, Mouchet, Troncoso-Pastoriza and Hubaux
//! (EUROCRYPT 2021, algorithm 1): baby steps T_1..T_{2^l - 1}, giant steps T_{2^l}, T_{2^{l+1}}, .., and p = q T_{2^j} + r
//! recursively. Depth ceil(log2(d + 1)) includes the multiplication by the coefficients, so the leading quotient, which
//! has no level to spare, is split down to where a coefficient still fits before the product.

use serde::{Deserialize, Serialize};

/// Which coefficients of a polynomial are non-zero. A linear term beside an even polynomial and a constant beside an odd
/// one cost nothing, so both count as having that parity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parity {
    /// All coefficients.
    General,
    /// Odd coefficients only.
    Odd,
    /// Even coefficients only.
    Even,
}

/// Cost of an evaluation; the order is depth first, then multiplications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cost {
    /// Levels consumed.
    pub depth: usize,
    /// Products of two ciphertexts.
    pub mults: usize,
}

impl Cost {
    /// Cost of a polynomial of `degree` whose coefficients have `parity`.
    ///
    /// An even polynomial is one of half the degree in T_2.
    pub fn of_polynomial(degree: usize, parity: Parity) -> Self {
        match parity {
            Parity::Even if degree >= 2 => {
                let half = Self::of_polynomial(degree / 2, Parity::General);
                Self {
                    depth: half.depth + 1,
                    mults: half.mults + 1,
                }
            }
            _ => {
                let depth = ceil_log2(degree + 1);
                let mults = (1..=depth.max(1))
                    .map(|l| mults_with_split(degree, depth, l, parity))
                    .min()
                    .unwrap_or(0);
                Self { depth, mults }
            }
        }
    }

    /// Cost of doing `self` and then `next` on its result.
    pub fn then(self, next: Self) -> Self {
        Self {
            depth: self.depth + next.depth,
            mults: self.mults + next.mults,
        }
    }

    /// Cost of doing `self` and `other` side by side.
    pub fn beside(self, other: Self) -> Self {
        Self {
            depth: self.depth.max(other.depth),
            mults: self.mults + other.mults,
        }
    }

    /// Cost of one product of two ciphertexts.
    pub const PRODUCT: Self = Self { depth: 1, mults: 1 };
}

/// ceil(log2(n)) for n >= 1.
fn ceil_log2(n: usize) -> usize {
    n.next_power_of_two().trailing_zeros() as usize
}

/// Products with baby steps below 2^l.
fn mults_with_split(degree: usize, depth: usize, l: usize, parity: Parity) -> usize {
    if degree < 2 {
        return 0;
    }
    let last_baby = degree.min((1 << l) - 1);
    let last_giant = depth - 1;
    let (babies, giants) = match parity {
        // T_2, T_4, .. are needed once each, T_3, T_5, .. once each.
        Parity::Odd => (last_baby.div_ceil(2) - 1, last_giant),
        Parity::General | Parity::Even => (last_baby - 1, (last_giant + 1).saturating_sub(l)),
    };
    babies + giants + recombinations(degree, depth, l)
}

/// Products by giant steps for a polynomial of `degree` that must be done within `depth` levels.
fn recombinations(degree: usize, depth: usize, l: usize) -> usize {
    let fits_as_leaf = degree <= 1 || (degree < 1 << l && ceil_log2(degree) < depth);
    if fits_as_leaf {
        return 0;
    }
    let j = degree.ilog2() as usize;
    let quotient = degree - (1 << j);
    let product = usize::from(quotient > 0);
    product + recombinations(quotient, depth - 1, l) + recombinations((1 << j) - 1, depth, l)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_full_degrees_match_the_published_counts() {
        // Lee, Lee, No, Kim: Minimax approximation of sign function by composite polynomial for homomorphic comparison,
        // IEEE TDSC 2022, table of depth and non-scalar multiplications per odd degree.
        for (degree, depth, mults) in [(3, 2, 2), (7, 3, 5), (15, 4, 8), (31, 5, 12), (63, 6, 17)] {
            assert_eq!(
                Cost::of_polynomial(degree, Parity::Odd),
                Cost { depth, mults },
                "degree {degree}"
            );
        }
    }

    #[test]
    fn even_polynomials_are_cheaper() {
        assert_eq!(Cost::of_polynomial(2, Parity::Even), Cost { depth: 2, mults: 1 });
        assert_eq!(Cost::of_polynomial(6, Parity::Even), Cost { depth: 3, mults: 3 });
        for degree in (2..=62).step_by(2) {
            let (even, general) = (
                Cost::of_polynomial(degree, Parity::Even),
                Cost::of_polynomial(degree, Parity::General),
            );
            assert_eq!(even.depth, general.depth, "degree {degree}");
            assert!(even.mults <= general.mults, "degree {degree}");
        }
    }

    #[test]
    fn small_degrees() {
        assert_eq!(Cost::of_polynomial(0, Parity::General), Cost { depth: 0, mults: 0 });
        assert_eq!(Cost::of_polynomial(1, Parity::General), Cost { depth: 1, mults: 0 });
        assert_eq!(Cost::of_polynomial(2, Parity::General), Cost { depth: 2, mults: 1 });
        assert_eq!(Cost::of_polynomial(3, Parity::General), Cost { depth: 2, mults: 2 });
        assert_eq!(Cost::of_polynomial(4, Parity::General), Cost { depth: 3, mults: 3 });
    }
}
