//! Affine forms: a tensor as a sum of linear maps of sources, plus a constant. Chains of linear ops only grow forms;
//! nothing is computed until a form is materialised.

use aphelion_ir::slot::{LinearMap, SparseMatrix};
use aphelion_ir::{ConstRef, ConstantPool, IrError, Origin, Tensor};

/// Index of a stage: a value that exists in slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId(pub usize);

/// A linear map of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The source, in units of the model.
    pub source: StageId,
    /// From the source's shape to the form's.
    pub map: LinearMap,
}

/// The constant part of a form.
#[derive(Clone, Debug)]
pub struct Constant {
    /// What it is called, or is to be called in the pool.
    pub name: ConstRef,
    /// Its values; broadcasts to the form's shape.
    pub tensor: Tensor,
}

/// `sum of map(source) + constant`, in units of the model.
#[derive(Clone, Debug)]
pub struct Form {
    /// Shape of the tensor.
    pub shape: Vec<usize>,
    /// Terms; of different sources, or with maps that are better not merged.
    pub terms: Vec<Term>,
    /// Constant part; none is zero.
    pub constant: Option<Constant>,
    /// The op that a diagnostic should name: the heaviest of the chain.
    pub origin: Origin,
}

impl Form {
    /// A source itself.
    pub fn source(source: StageId, shape: &[usize], origin: &Origin) -> Self {
        let map = LinearMap::Identity { shape: shape.to_vec() };
        Form {
            shape: shape.to_vec(),
            terms: vec![Term { source, map }],
            constant: None,
            origin: origin.clone(),
        }
    }

    /// A constant tensor.
    pub fn constant(name: ConstRef, tensor: Tensor, origin: &Origin) -> Self {
        Form {
            shape: tensor.shape().to_vec(),
            terms: Vec::new(),
            constant: Some(Constant { name, tensor }),
            origin: origin.clone(),
        }
    }

    /// The constant, if the form is nothing else.
    pub fn as_constant(&self) -> Option<&Constant> {
        self.constant.as_ref().filter(|_| self.terms.is_empty())
    }

    /// The source, if the form is nothing else.
    pub fn as_source(&self) -> Option<StageId> {
        match (self.terms.as_slice(), &self.constant) {
            ([term], None) if is_identity(&term.map) => Some(term.source),
            _ => None,
        }
    }

    /// The source and the map, if the form only moves the elements of one source, each to one place.
    pub fn as_permuted_source(&self) -> Option<&Term> {
        match (self.terms.as_slice(), &self.constant) {
            ([term], None) if is_permutation(&term.map) => Some(term),
            _ => None,
        }
    }

    /// Whether a convolution or dense layer is part of the form.
    pub fn is_heavy(&self) -> bool {
        self.terms.iter().any(|term| is_heavy(&term.map))
    }

    /// The form after a linear map, with the op that the map stands for.
    pub fn then(&self, map: &LinearMap, constants: &ConstantPool, origin: &Origin) -> Result<Form, IrError> {
        let (_, shape) = shapes(map, constants, origin)?;
        let constant = match &self.constant {
            Some(constant) => {
                let full = constant.tensor.broadcast_to(&self.shape)?;
                let values = SparseMatrix::new(map, constants)?.apply(&full);
                Some(Constant {
                    name: constant.name.clone(),
                    tensor: Tensor::from_f64(shape.clone(), values),
                })
            }
            None => None,
        };
        let after = |term: &Term| Term {
            source: term.source,
            map: compose(&term.map, map),
        };
        Ok(Form {
            shape,
            terms: self.terms.iter().map(after).collect(),
            constant,
            origin: if is_heavy(map) || !self.is_heavy() {
                origin.clone()
            } else {
                self.origin.clone()
            },
        })
    }

    /// The sum of forms of equal shapes.
    pub fn plus(&self, other: &Form, origin: &Origin) -> Result<Form, IrError> {
        let mut terms = self.terms.clone();
        for term in &other.terms {
            // Two maps of one source are one matrix, unless one of them costs nothing on its own.
            let merges = |own: &&mut Term| {
                own.source == term.source && (is_element_wise(&own.map) == is_element_wise(&term.map))
            };
            match terms.iter_mut().find(merges) {
                Some(own) => own.map = sum(&own.map, &term.map),
                None => terms.push(term.clone()),
            }
        }
        let constant = match (&self.constant, &other.constant) {
            (Some(a), Some(b)) => {
                let (left, right) = (a.tensor.broadcast_to(&self.shape)?, b.tensor.broadcast_to(&self.shape)?);
                let values = left.iter().zip(right).map(|(a, b)| a + b).collect();
                Some(Constant {
                    name: a.name.clone(),
                    tensor: Tensor::from_f64(self.shape.clone(), values),
                })
            }
            (one, other) => one.clone().or_else(|| other.clone()),
        };
        let heavier = [self, other].into_iter().find(|form| form.is_heavy());
        Ok(Form {
            shape: self.shape.clone(),
            terms,
            constant,
            origin: heavier.map_or(origin, |form| &form.origin).clone(),
        })
    }
}

/// Shapes of a map, with an error that names the op.
pub fn shapes(map: &LinearMap, constants: &ConstantPool, origin: &Origin) -> Result<(Vec<usize>, Vec<usize>), IrError> {
    map.shapes(constants)
        .map_err(|message| IrError::interpret(origin, message))
}

/// `second` after `first`, without nesting; identities vanish, neighbouring factors and reshapes merge.
pub fn compose(first: &LinearMap, second: &LinearMap) -> LinearMap {
    let mut maps = flat(first);
    for map in flat(second) {
        match (maps.last_mut(), &map) {
            (Some(LinearMap::Factor { by, .. }), LinearMap::Factor { by: more, .. }) => *by *= more,
            (Some(LinearMap::Reshape { output, .. }), LinearMap::Reshape { output: later, .. }) => {
                *output = later.clone();
            }
            _ => maps.push(map),
        }
    }
    if let [LinearMap::Reshape { input, output }] = maps.as_slice()
        && input == output
    {
        return LinearMap::Identity { shape: input.clone() };
    }
    match maps.len() {
        0 => second.clone(),
        1 => maps.swap_remove(0),
        _ => LinearMap::Compose { maps },
    }
}

/// The maps of a composition, without identities.
fn flat(map: &LinearMap) -> Vec<LinearMap> {
    match map {
        LinearMap::Compose { maps } => maps.iter().flat_map(flat).collect(),
        map if is_identity(map) => Vec::new(),
        map => vec![map.clone()],
    }
}

fn sum(a: &LinearMap, b: &LinearMap) -> LinearMap {
    let parts = |map: &LinearMap| match map {
        LinearMap::Sum { maps } => maps.clone(),
        map => vec![map.clone()],
    };
    LinearMap::Sum {
        maps: [parts(a), parts(b)].concat(),
    }
}

/// Whether all of the parts of a composition or sum satisfy `leaf`.
fn all(map: &LinearMap, leaf: &dyn Fn(&LinearMap) -> bool) -> bool {
    match map {
        LinearMap::Compose { maps } | LinearMap::Sum { maps } => maps.iter().all(|map| all(map, leaf)),
        map => leaf(map),
    }
}

/// Whether the map returns its operand.
pub fn is_identity(map: &LinearMap) -> bool {
    match map {
        LinearMap::Identity { .. } => true,
        LinearMap::Factor { by, .. } => *by == 1.0,
        LinearMap::Reshape { input, output } => input == output,
        LinearMap::Compose { maps } => maps.iter().all(is_identity),
        _ => false,
    }
}

/// Whether every output is a multiple of the input at the same index.
pub fn is_element_wise(map: &LinearMap) -> bool {
    all(map, &|leaf| {
        is_identity(leaf) || matches!(leaf, LinearMap::Factor { .. } | LinearMap::Diagonal { .. })
    })
}

/// Whether the map only moves elements, each to one place.
pub fn is_permutation(map: &LinearMap) -> bool {
    match map {
        LinearMap::Compose { maps } => maps.iter().all(is_permutation),
        LinearMap::Reshape { .. } | LinearMap::Transpose { .. } => true,
        map => is_identity(map),
    }
}

/// Whether the map mixes many elements by weights.
pub fn is_heavy(map: &LinearMap) -> bool {
    !all(map, &|leaf| {
        !matches!(leaf, LinearMap::Conv { .. } | LinearMap::Dense { .. })
    })
}
