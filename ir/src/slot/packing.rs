//! Tensors into slots and back, as a layout places them: the reference for what encoders and interpreters do.

use super::{Layout, PlainTensor};
use crate::constant::ConstantPool;
use crate::error::IrError;

impl Layout {
    /// Slot contents, per ciphertext, that hold `tensor` (row-major): repeated with the period, zero elsewhere.
    ///
    /// # Panics
    /// When `tensor` has not as many elements as the layout.
    pub fn pack(&self, tensor: &[f64]) -> Vec<Vec<f64>> {
        assert_eq!(tensor.len(), self.n_elements(), "elements of {:?}", self.shape);
        let mut contents = vec![vec![0.0; self.slots]; self.cts];
        for (address, value) in self.addresses().into_iter().zip(tensor) {
            let (ct, first) = (address as usize / self.period, address as usize % self.period);
            for slot in (first..self.slots).step_by(self.period) {
                contents[ct][slot] = *value;
            }
        }
        contents
    }

    /// The tensor (row-major) that slot contents hold, read from the first period.
    ///
    /// # Panics
    /// When `contents` has fewer ciphertexts or slots than the layout.
    pub fn unpack(&self, contents: &[Vec<f64>]) -> Vec<f64> {
        let read = |address: u32| contents[address as usize / self.period][address as usize % self.period];
        self.addresses().into_iter().map(read).collect()
    }
}

impl PlainTensor {
    /// The elements for a value of shape `shape`, row-major, with the factor applied.
    ///
    /// # Errors
    /// When the constant is missing, unreadable, or does not broadcast to `shape`.
    pub fn values(&self, shape: &[usize], constants: &ConstantPool) -> Result<Vec<f64>, IrError> {
        let values = constants.get(&self.value)?.broadcast_to(shape);
        let values = values.map_err(|message| IrError::constant(&self.value.0, message.to_string()))?;
        Ok(values.into_iter().map(|value| self.factor * value).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constant::Tensor;
    use crate::slot::{Digit, Unused};

    #[test]
    fn packing_repeats_with_the_period_and_unpacks() {
        let digit = |axis, extent, stride| Digit { axis, extent, stride };
        let layout = Layout::with_digits(&[2, 2], 16, vec![digit(0, 2, 4), digit(1, 2, 2)], Unused::Zero {});
        let contents = layout.pack(&[1.0, 2.0, 3.0, 4.0]);
        let period = [1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0];
        assert_eq!(contents, vec![[period, period].concat()]);
        assert_eq!(layout.unpack(&contents), [1.0, 2.0, 3.0, 4.0]);
        let several = Layout::dense(&[3, 8], 16);
        let tensor: Vec<f64> = (0..24).map(f64::from).collect();
        assert_eq!(several.pack(&tensor)[1][7], 23.0);
        assert_eq!(several.unpack(&several.pack(&tensor)), tensor);
    }

    #[test]
    fn plain_tensors_broadcast_like_numpy() {
        let mut constants = ConstantPool::default();
        let value = constants.insert("b", Tensor::from_f64(vec![2, 1], vec![1.0, 2.0]));
        let plain = PlainTensor { value, factor: 0.5 };
        let values = plain.values(&[1, 2, 3], &constants).expect("broadcasts");
        assert_eq!(values, [0.5, 0.5, 0.5, 1.0, 1.0, 1.0]);
        assert!(plain.values(&[3, 3], &constants).is_err());
    }
}
