//! Polynomials of ciphertexts.
//!
//! Without noise, by the polynomial's own scheme. With noise, by its basis elements: each is a product of two lower ones
//! and carries the errors of one relinearisation and one rescale on top of theirs; the sum carries those of its own
//! rescale. The encrypted evaluation multiplies by the same basis elements in another order, with errors of the same
//! size.

use super::errors::Errors;
use super::{Contents, map, zip};
use crate::ckks::noise::NoiseModel;
use crate::slot::{Basis, Polynomial};

/// `poly` of `x`, evaluated from level `at` on.
pub(super) fn apply(poly: &Polynomial, x: &Contents, at: u32, errors: &mut Errors) -> Contents {
    if !errors.are_on() {
        return x.iter().map(|ct| poly.eval_all(ct)).collect();
    }
    let mut powers = vec![map(x, |_| 1.0), x.clone()];
    for index in 2..poly.coeffs.len() {
        let left = if index.is_power_of_two() {
            index / 2
        } else {
            1 << index.ilog2()
        };
        let product = zip(&powers[left], &powers[index - left], |a, b| a * b);
        let level = at.saturating_sub(index.next_power_of_two().trailing_zeros() - 1);
        let product = errors.add(product, |model, slots| {
            model.key_switch(slots, level, 2) + model.rescale(slots)
        });
        powers.push(match poly.basis {
            Basis::Monomial {} => product,
            Basis::Chebyshev {} => zip(&product, &powers[2 * left - index], |ab, c| 2.0 * ab - c),
        });
    }
    let mut sum = map(x, |_| 0.0);
    for (power, coefficient) in powers.iter().zip(&poly.coeffs) {
        sum = zip(&sum, power, |sum, power| sum + coefficient * power);
    }
    errors.add(sum, NoiseModel::rescale)
}
