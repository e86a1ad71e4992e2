//! Constants: named tensors that all stages of a compilation share, read only when somebody asks for the numbers.

use crate::error::IrError;
use crate::shape;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Reference to a constant by name; printed `@name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConstRef(pub Arc<str>);

impl ConstRef {
    /// Refers to the constant called `name`.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        ConstRef(name.into())
    }
}

impl fmt::Display for ConstRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the values of a lazy tensor, row-major; the error says why it could not.
pub type Load = dyn Fn() -> Result<Vec<f64>, String> + Send + Sync;

#[derive(Clone)]
enum Data {
    F32(Arc<[f32]>),
    F64(Arc<[f64]>),
    Lazy {
        load: Arc<Load>,
        cell: Arc<OnceLock<Result<Vec<f64>, String>>>,
    },
}

/// A constant tensor: a static shape and row-major values. Clones share the values.
#[derive(Clone)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

impl Tensor {
    /// A tensor of 32-bit values.
    ///
    /// # Panics
    /// When the number of values is not the product of `shape`.
    pub fn from_f32(shape: Vec<usize>, values: Vec<f32>) -> Self {
        assert_eq!(
            shape.iter().product::<usize>(),
            values.len(),
            "shape {shape:?} and value count differ"
        );
        Tensor {
            shape,
            data: Data::F32(values.into()),
        }
    }

    /// A tensor of 64-bit values.
    ///
    /// # Panics
    /// When the number of values is not the product of `shape`.
    pub fn from_f64(shape: Vec<usize>, values: Vec<f64>) -> Self {
        assert_eq!(
            shape.iter().product::<usize>(),
            values.len(),
            "shape {shape:?} and value count differ"
        );
        Tensor {
            shape,
            data: Data::F64(values.into()),
        }
    }

    /// A scalar.
    pub fn scalar(value: f64) -> Self {
        Tensor::from_f64(vec![], vec![value])
    }

    /// A tensor whose values are computed or read at first use, once.
    pub fn lazy(shape: Vec<usize>, load: impl Fn() -> Result<Vec<f64>, String> + Send + Sync + 'static) -> Self {
        Tensor {
            shape,
            data: Data::Lazy {
                load: Arc::new(load),
                cell: Arc::new(OnceLock::new()),
            },
        }
    }

    /// Extent of every dimension, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True when some dimension has extent 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when the values are stored in 32 bits.
    pub fn is_f32(&self) -> bool {
        matches!(self.data, Data::F32(_))
    }

    /// All values, row-major, widened to 64 bits.
    ///
    /// # Errors
    /// When a lazy tensor cannot be read, or yields another number of values than its shape has.
    pub fn to_vec(&self) -> Result<Vec<f64>, IrError> {
        match &self.data {
            Data::F32(v) => Ok(v.iter().map(|&x| f64::from(x)).collect()),
            Data::F64(v) => Ok(v.to_vec()),
            Data::Lazy { load, cell } => {
                let n_values = self.len();
                let loaded = cell.get_or_init(|| {
                    let values = load()?;
                    if values.len() == n_values {
                        Ok(values)
                    } else {
                        Err(format!("{} values found, the shape asks for {n_values}", values.len()))
                    }
                });
                loaded.clone().map_err(|message| IrError::constant("<lazy>", message))
            }
        }
    }

    /// All values of the tensor repeated to `shape` in the manner of numpy, row-major.
    ///
    /// # Errors
    /// When a lazy tensor cannot be read, or its shape does not broadcast to `shape`.
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<Vec<f64>, IrError> {
        let values = self.to_vec()?;
        if !shape::broadcasts_to(&self.shape, shape) {
            let message = format!("shape {:?} does not broadcast to {shape:?}", self.shape);
            return Err(IrError::constant("<broadcast>", message));
        }
        // Row-major stride of every axis of `shape` in the constant; zero where it is repeated.
        let mut strides = vec![0; shape.len()];
        let mut stride = 1;
        for (axis, &extent) in self.shape.iter().enumerate().rev() {
            if extent > 1 {
                strides[shape.len() - self.shape.len() + axis] = stride;
            }
            stride *= extent;
        }
        let mut positions = vec![0usize];
        for (&extent, &stride) in shape.iter().zip(&strides) {
            positions = positions
                .iter()
                .flat_map(|base| (0..extent).map(move |index| base + index * stride))
                .collect();
        }
        Ok(positions.into_iter().map(|at| values[at]).collect())
    }

    /// The same values under another shape of the same number of elements.
    ///
    /// # Errors
    /// When the element counts differ.
    pub fn reshaped(&self, shape: Vec<usize>) -> Result<Self, IrError> {
        if shape.iter().product::<usize>() != self.len() {
            return Err(IrError::constant(
                "<reshape>",
                format!("{:?} cannot be viewed as {shape:?}: element counts differ", self.shape),
            ));
        }
        Ok(Tensor {
            shape,
            data: self.data.clone(),
        })
    }

    /// First 16 hexadecimal digits of the BLAKE3 hash over shape and values.
    ///
    /// # Errors
    /// When a lazy tensor cannot be read.
    pub fn fingerprint(&self) -> Result<String, IrError> {
        let mut hasher = blake3::Hasher::new();
        for &extent in &self.shape {
            hasher.update(&(extent as u64).to_le_bytes());
        }
        for value in self.to_vec()? {
            hasher.update(&value.to_bits().to_le_bytes());
        }
        Ok(hasher.finalize().to_hex()[..16].to_string())
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor{:?}", self.shape)
    }
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        let are_shared = match (&self.data, &other.data) {
            (Data::F32(a), Data::F32(b)) => Arc::ptr_eq(a, b),
            (Data::F64(a), Data::F64(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        let are_same = || match (self.to_vec(), other.to_vec()) {
            (Ok(a), Ok(b)) => a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits())),
            _ => false,
        };
        self.shape == other.shape && (are_shared || are_same())
    }
}

/// All constants of a compilation. A clone shares every tensor, so each stage may hold its own pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConstantPool {
    tensors: BTreeMap<ConstRef, Tensor>,
}

impl ConstantPool {
    /// The constant called `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, name: &ConstRef) -> Result<&Tensor, IrError> {
        self.tensors
            .get(name)
            .ok_or_else(|| IrError::constant(&name.0, "no such constant"))
    }

    /// Adds a constant under `name`; when another tensor already has that name, under `name.1`, `name.2`, ...
    /// The same tensor under the same name is stored once.
    pub fn insert(&mut self, name: &str, tensor: Tensor) -> ConstRef {
        let mut candidate = ConstRef::new(name);
        let mut suffix = 0usize;
        while let Some(existing) = self.tensors.get(&candidate) {
            if *existing == tensor {
                return candidate;
            }
            suffix += 1;
            candidate = ConstRef::new(format!("{name}.{suffix}"));
        }
        self.tensors.insert(candidate.clone(), tensor);
        candidate
    }

    /// Constants in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&ConstRef, &Tensor)> {
        self.tensors.iter()
    }

    /// Number of constants.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// True when there are no constants.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }
}
