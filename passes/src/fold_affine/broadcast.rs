//! Constant factors and summands that broadcast over a value.
//!
//! Assumes: shapes that are combined broadcast together; the pass checks it against the value's shape first.

use aphelion_ir::{IrError, Tensor, shape};

/// Row-major numbers of a shape that broadcasts to the value they belong to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Coefficients {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Coefficients {
    /// The same number everywhere.
    pub(super) fn uniform(value: f64) -> Self {
        Coefficients {
            shape: Vec::new(),
            values: vec![value],
        }
    }

    pub(super) fn of(tensor: &Tensor) -> Result<Self, IrError> {
        Ok(Coefficients {
            shape: tensor.shape().to_vec(),
            values: tensor.to_vec()?,
        })
    }

    /// One number per channel (dimension 1) of a value of `rank`.
    pub(super) fn per_channel(values: Vec<f64>, rank: usize) -> Self {
        let mut shape = vec![1; rank - 1];
        shape[0] = values.len();
        Coefficients { shape, values }
    }

    pub(super) fn tensor(&self) -> Tensor {
        Tensor::from_f64(self.shape.clone(), self.values.clone())
    }

    pub(super) fn is_all(&self, value: f64) -> bool {
        self.values.iter().all(|x| *x == value)
    }

    pub(super) fn is_finite(&self) -> bool {
        self.values.iter().all(|x| x.is_finite())
    }

    pub(super) fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Coefficients {
            shape: self.shape.clone(),
            values: self.values.iter().map(|x| f(*x)).collect(),
        }
    }

    /// `f` element by element, broadcasting.
    pub(super) fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Result<Self, String> {
        let shape = shape::broadcast(&self.shape, &other.shape)?;
        let (a, b) = (self.expanded(&shape), other.expanded(&shape));
        let values = a.iter().zip(&b).map(|(a, b)| f(*a, *b)).collect();
        Ok(Coefficients { shape, values })
    }

    /// One number per index of `axis` of a value of shape `full`; `None` when they differ along another axis.
    pub(super) fn along(&self, axis: usize, full: &[usize]) -> Option<Vec<f64>> {
        let skipped = full.len() - self.shape.len();
        let varies_elsewhere = (self.shape.iter().enumerate()).any(|(i, extent)| i + skipped != axis && *extent > 1);
        if varies_elsewhere {
            return None;
        }
        match self.values.len() {
            1 => Some(vec![self.values[0]; full[axis]]),
            _ => Some(self.values.clone()),
        }
    }

    /// All elements of a value of shape `full`, row-major.
    fn expanded(&self, full: &[usize]) -> Vec<f64> {
        let skipped = full.len() - self.shape.len();
        let mut strides = vec![0; full.len()];
        let mut stride = 1;
        for axis in (0..self.shape.len()).rev() {
            strides[axis + skipped] = if self.shape[axis] == 1 { 0 } else { stride };
            stride *= self.shape[axis];
        }
        let n_elements = full.iter().product();
        let element = |index: usize| {
            let (mut rest, mut offset) = (index, 0);
            for axis in (0..full.len()).rev() {
                offset += rest % full[axis] * strides[axis];
                rest /= full[axis];
            }
            self.values[offset]
        };
        (0..n_elements).map(element).collect()
    }
}
