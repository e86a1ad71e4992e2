//! Values that still wait for something: relinearisation, rescale, rotate-and-sum, additions of plaintexts.
//!
//! Postponing these over sums is what makes one relinearisation, one rescale and one rotate-and-sum serve a whole sum
//! of products: all of them are linear.

use crate::PassError;
use aphelion_ir::ckks::{Ckks, CkksOp};
use aphelion_ir::slot::{Layout, PlainTensor};
use aphelion_ir::{Graph, Origin, ValueId};

/// A plaintext that is added once the rest is done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Addend {
    Plain(PlainTensor, Layout),
    Scalar(f64),
}

impl Addend {
    fn negated(&self) -> Addend {
        match self {
            Addend::Plain(plain, layout) => Addend::Plain(
                PlainTensor {
                    value: plain.value.clone(),
                    factor: -plain.factor,
                },
                layout.clone(),
            ),
            Addend::Scalar(by) => Addend::Scalar(-by),
        }
    }
}

/// `fold(rescale(relinearize(core))) + addends`, each step where it is due.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lazy {
    pub(super) core: ValueId,
    pub(super) fold: Vec<usize>,
    pub(super) addends: Vec<Addend>,
}

impl Lazy {
    pub(super) fn new(core: ValueId) -> Self {
        Lazy {
            core,
            fold: Vec::new(),
            addends: Vec::new(),
        }
    }

    /// Whether the value is a product that waits for its rescale.
    pub(super) fn is_product(&self, graph: &Graph<Ckks>) -> bool {
        graph.ty(self.core).scale_power == 2
    }

    /// Whether `self + other` can be formed before either is finished.
    pub(super) fn adds_to(&self, other: &Lazy, graph: &Graph<Ckks>) -> bool {
        self.is_product(graph)
            && other.is_product(graph)
            && self.fold == other.fold
            && graph.ty(self.core).level == graph.ty(other.core).level
    }

    /// `self + other`, or `self - other`; both are products with equal folds and levels.
    pub(super) fn sum(
        &self,
        other: &Lazy,
        subtract: bool,
        graph: &mut Graph<Ckks>,
        origin: &Origin,
    ) -> Result<Lazy, PassError> {
        let (a, b) = (self.core, other.core);
        let op = if subtract {
            CkksOp::Sub { a, b }
        } else {
            CkksOp::Add { a, b }
        };
        let others = other.addends.iter();
        let others = others.map(|addend| if subtract { addend.negated() } else { addend.clone() });
        Ok(Lazy {
            core: graph.push(op, origin.clone())?,
            fold: self.fold.clone(),
            addends: self.addends.iter().cloned().chain(others).collect(),
        })
    }

    /// `-self`.
    pub(super) fn negated(&self, graph: &mut Graph<Ckks>, origin: &Origin) -> Result<Lazy, PassError> {
        Ok(Lazy {
            core: graph.push(CkksOp::Neg { x: self.core }, origin.clone())?,
            fold: self.fold.clone(),
            addends: self.addends.iter().map(Addend::negated).collect(),
        })
    }

    /// Does what is due: the rotate-and-sum and the additions come after the rescale, where there is one limb less.
    pub(super) fn finish(&self, graph: &mut Graph<Ckks>, origin: &Origin) -> Result<ValueId, PassError> {
        let mut x = self.core;
        if graph.ty(x).degree == 2 {
            x = graph.push(CkksOp::Relinearize { x }, origin.clone())?;
        }
        if graph.ty(x).scale_power == 2 {
            x = graph.push(CkksOp::Rescale { x }, origin.clone())?;
        }
        for &by in &self.fold {
            let rotated = graph.push(CkksOp::Rotate { x, by }, origin.clone())?;
            x = graph.push(CkksOp::Add { a: x, b: rotated }, origin.clone())?;
        }
        for addend in &self.addends {
            let op = match addend.clone() {
                Addend::Plain(value, layout) => CkksOp::AddPlain { x, value, layout },
                Addend::Scalar(by) => CkksOp::AddScalar { x, by },
            };
            x = graph.push(op, origin.clone())?;
        }
        Ok(x)
    }
}
