//! Where the elements of a tensor lie in the slots of ciphertexts.
//!
//! Element -> address is affine in the digits of the index: every axis is written in mixed radix, every digit has a
//! stride. Address `a` is slot `a mod period` of ciphertext `a div period`; contents repeat with the period.
//! Assumes nothing of a packing that was read; [`Packing::check`] ensures that addresses are distinct and in range, at
//! a cost of O(slots) time and memory.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// No packing may span more slots than this, so that checking one takes bounded memory.
const MAX_ADDRESSES: usize = 1 << 24;
/// No tensor has more axes than this, and none of its axes more digits of two values or more: checks take time linear in the
/// packing's size.
const MAX_AXES: usize = 64;
/// No tensor may take more ciphertexts than this.
const MAX_CIPHERTEXTS: usize = 1 << 12;

/// One digit of an axis in mixed radix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digit {
    /// Axis of the tensor.
    pub axis: usize,
    /// Number of values the digit takes; at least 2.
    pub extent: usize,
    /// Slots between neighbours in this digit.
    pub stride: usize,
}

/// Placement of a tensor in slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packing {
    /// Shape of the tensor, outermost axis first.
    pub shape: Vec<usize>,
    /// Slots per ciphertext, a power of two.
    pub slots: usize,
    /// Contents repeat with this period, a power of two that divides `slots`; `slots` if there are several ciphertexts.
    pub period: usize,
    /// Number of ciphertexts.
    pub ciphertexts: usize,
    /// Digits by axis, most significant first within an axis; axes of extent 1 need none.
    pub digits: Vec<Digit>,
}

impl Packing {
    /// Number of tensor elements.
    #[must_use]
    pub fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Checks the documented properties; `place` names the packing in the message.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] with what is violated.
    pub fn check(&self, place: &str) -> Result<()> {
        let invalid = |reason: String| {
            Err(Error::InvalidPlan {
                place: place.to_string(),
                reason,
            })
        };
        let periods_fit = self.slots.is_power_of_two() && self.period.is_power_of_two() && self.period <= self.slots;
        if !periods_fit || (self.ciphertexts != 1 && self.period != self.slots) {
            return invalid(format!(
                "{} ciphertexts of {} slots with period {}: both must be powers of two, the period not above the slots \
                 and equal to them when there are several ciphertexts",
                self.ciphertexts, self.slots, self.period
            ));
        }
        let n_elements = self
            .shape
            .iter()
            .try_fold(1usize, |product, extent| product.checked_mul(*extent));
        let capacity = self
            .period
            .checked_mul(self.ciphertexts)
            .filter(|capacity| *capacity <= MAX_ADDRESSES && self.ciphertexts <= MAX_CIPHERTEXTS);
        let (Some(n_elements), Some(capacity)) = (n_elements, capacity) else {
            return invalid("too large to address".into());
        };
        if n_elements == 0 || n_elements > capacity {
            return invalid(format!("{n_elements} elements in {capacity} slots"));
        }
        if self.shape.len() > MAX_AXES || self.digits.len() > MAX_AXES * usize::BITS as usize {
            return invalid(format!("{} axes in {} digits", self.shape.len(), self.digits.len()));
        }
        if let Some(digit) = self.digits.iter().find(|digit| digit.extent < 2) {
            return invalid(format!("{digit:?} takes less than two values"));
        }
        for (axis, &extent) in self.shape.iter().enumerate() {
            let mut digits = self.digits.iter().filter(|digit| digit.axis == axis);
            let range = digits.try_fold(1usize, |product, digit| product.checked_mul(digit.extent));
            if range.is_none_or(|range| range < extent) {
                return invalid(format!("the digits of axis {axis} do not cover its extent {extent}"));
            }
        }
        let outside = |digit: &&Digit| digit.axis >= self.shape.len() || digit.stride >= capacity;
        if let Some(digit) = self.digits.iter().find(outside) {
            return invalid(format!("{digit:?} is outside the tensor or the slots"));
        }
        let mut taken = vec![false; capacity];
        for address in self.addresses() {
            match taken.get_mut(address) {
                None => return invalid(format!("address {address} is outside the {capacity} slots")),
                Some(slot) if *slot => return invalid(format!("two elements share address {address}")),
                Some(slot) => *slot = true,
            }
        }
        Ok(())
    }

    /// Address of every element in row-major order.
    fn addresses(&self) -> Vec<usize> {
        let mut addresses = vec![0usize];
        for (axis, &extent) in self.shape.iter().enumerate() {
            let steps: Vec<usize> = (0..extent).map(|index| self.axis_address(axis, index)).collect();
            addresses = addresses
                .iter()
                .flat_map(|base| steps.iter().map(move |step| base.saturating_add(*step)))
                .collect();
        }
        addresses
    }

    fn axis_address(&self, axis: usize, mut index: usize) -> usize {
        let mut address = 0usize;
        for digit in self.digits.iter().rev().filter(|digit| digit.axis == axis) {
            address = address.saturating_add((index % digit.extent).saturating_mul(digit.stride));
            index /= digit.extent;
        }
        address
    }

    /// The slots of every ciphertext for a row-major tensor divided by `scale`; unused slots are zero.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a wrong number of values and for a value that is not finite.
    pub fn pack(&self, values: &[f64], scale: f64) -> Result<Vec<Vec<f64>>> {
        if values.len() != self.n_elements() {
            return Err(Error::InvalidInput {
                reason: format!("{} values for a tensor of shape {:?}", values.len(), self.shape),
            });
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::InvalidInput {
                reason: format!("element {index} is {}, not a finite number", values[index]),
            });
        }
        let mut slots = vec![vec![0.0; self.slots]; self.ciphertexts];
        for (address, value) in self.addresses().into_iter().zip(values) {
            slots[address / self.period][address % self.period] = value / scale;
        }
        for vector in &mut slots {
            for start in (self.period..self.slots).step_by(self.period) {
                vector.copy_within(..self.period, start);
            }
        }
        Ok(slots)
    }

    /// The row-major tensor in the slots of its ciphertexts, multiplied by `scale`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when there are too few ciphertexts or slots.
    pub fn unpack(&self, slots: &[Vec<f64>], scale: f64) -> Result<Vec<f64>> {
        if slots.len() != self.ciphertexts || slots.iter().any(|vector| vector.len() < self.period) {
            return Err(Error::InvalidInput {
                reason: format!(
                    "{} vectors of slots where {} of {} are expected",
                    slots.len(),
                    self.ciphertexts,
                    self.slots
                ),
            });
        }
        let at = |address: usize| slots[address / self.period][address % self.period] * scale;
        Ok(self.addresses().into_iter().map(at).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A [2, 3] tensor with rows 16 apart and columns 2 apart.
    fn gapped() -> Packing {
        let digit = |axis, extent, stride| Digit { axis, extent, stride };
        Packing {
            shape: vec![2, 3],
            slots: 64,
            period: 32,
            ciphertexts: 1,
            digits: vec![digit(0, 2, 16), digit(1, 3, 2)],
        }
    }

    #[test]
    fn elements_land_at_their_addresses_and_repeat() {
        let slots = gapped().pack(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2.0).unwrap();
        assert_eq!(slots.len(), 1);
        assert_eq!(
            [slots[0][0], slots[0][2], slots[0][4], slots[0][16]],
            [0.5, 1.0, 1.5, 2.0]
        );
        assert_eq!(slots[0][..32], slots[0][32..]);
        assert_eq!(slots[0].iter().filter(|value| **value != 0.0).count(), 12);
    }

    #[test]
    fn wrong_packings_are_refused() {
        let broken = |change: &dyn Fn(&mut Packing)| {
            let mut packing = gapped();
            change(&mut packing);
            packing.check("test").unwrap_err().to_string()
        };
        assert!(broken(&|p| p.slots = 48).contains("powers of two"));
        assert!(broken(&|p| p.digits[1].stride = 8).contains("share address"));
        assert!(broken(&|p| p.digits[0].stride = 31).contains("outside the 32 slots"));
        assert!(broken(&|p| p.shape = vec![usize::MAX, 2]).contains("too large"));
        assert!(broken(&|p| p.digits.truncate(1)).contains("do not cover"));
        assert!(broken(&|p| p.digits[0].extent = 1).contains("less than two values"));
        assert!(broken(&|p| p.digits[0].extent = 0).contains("less than two values"));
        assert!(broken(&|p| p.digits = vec![p.digits[0]; 1 << 16]).contains("65536 digits"));
        assert!(broken(&|p| p.shape = vec![1; 1 << 16]).contains("65536 axes"));
        assert!(gapped().pack(&[1.0; 5], 1.0).is_err());
        assert!(gapped().pack(&[f64::NAN; 6], 1.0).is_err());
    }

    proptest! {
        #[test]
        fn unpacking_inverts_packing(values in prop::collection::vec(-1e3f64..1e3, 6)) {
            let packing = gapped();
            packing.check("test").unwrap();
            let slots = packing.pack(&values, 1.0).unwrap();
            prop_assert_eq!(packing.unpack(&slots, 1.0).unwrap(), values);
        }
    }
}
