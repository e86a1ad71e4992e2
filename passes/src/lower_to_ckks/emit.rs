//! Emits `ckks` ops for every `slot` op, at the level that the level assignment gave it.

use super::lazy::{Addend, Lazy};
use super::levels::BootstrapLevels;
use super::polynomials::PolyPlan;
use super::scalars::doublings;
use crate::PassError;
use aphelion_ir::ckks::{Bsgs, Ckks, CkksOp};
use aphelion_ir::slot::{Kernel, Layout, Slot, SlotOp};
use aphelion_ir::{Graph, Node, Op, Origin, ValueId};
use std::collections::BTreeMap;

/// Chooses the baby-step/giant-step plan of a kernel applied to a layout at a level.
pub(super) type PlanBsgs<'a> = dyn Fn(&Kernel, &Layout, u32) -> Result<Bsgs, PassError> + 'a;

pub(super) struct Emitter<'a> {
    source: &'a Graph<Slot>,
    needed: &'a [Option<u32>],
    plan_bsgs: &'a PlanBsgs<'a>,
    n_uses: Vec<usize>,
    target: Graph<Ckks>,
    lazy: Vec<Option<Lazy>>,
    finished: BTreeMap<ValueId, ValueId>,
    dropped: BTreeMap<(ValueId, u32), ValueId>,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(source: &'a Graph<Slot>, needed: &'a [Option<u32>], plan_bsgs: &'a PlanBsgs<'a>) -> Self {
        let mut n_uses = vec![0; source.len()];
        for (id, node) in source.iter() {
            if needed[id.index()].is_some() {
                node.op.operands().iter().for_each(|x| n_uses[x.index()] += 1);
            }
        }
        source
            .outputs()
            .iter()
            .for_each(|output| n_uses[output.value.index()] += 1);
        let mut target = Graph::<Ckks>::new(source.name.clone(), source.constants.clone());
        target.attrs.packing = source.attrs.clone();
        target.attrs.parameters = target.attrs.packing.parameters.take();
        Emitter {
            source,
            needed,
            plan_bsgs,
            n_uses,
            target,
            lazy: vec![None; source.len()],
            finished: BTreeMap::new(),
            dropped: BTreeMap::new(),
        }
    }

    /// The whole program.
    pub(super) fn run(mut self) -> Result<Graph<Ckks>, PassError> {
        for (id, node) in self.source.iter() {
            match (self.needed[id.index()], &node.op) {
                (Some(level), _) => self.lazy[id.index()] = Some(self.emit(node, level)?),
                // An input is part of the model's signature even if nothing depends on it.
                (None, SlotOp::Input { .. }) => self.lazy[id.index()] = Some(self.emit(node, 0)?),
                (None, _) => {}
            }
        }
        for output in self.source.outputs() {
            let value = self.at_level(output.value, 0)?;
            self.target.output(output.name.clone(), value);
            self.target
                .attrs
                .output_layouts
                .push(self.source.ty(output.value).clone());
        }
        Ok(self.target)
    }

    fn emit(&mut self, node: &Node<Slot>, level: u32) -> Result<Lazy, PassError> {
        let origin = &node.origin;
        let layout = &node.ty;
        match &node.op {
            SlotOp::Input { name, layout, scale } => self.push(
                CkksOp::Input {
                    name: name.clone(),
                    layout: layout.clone(),
                    scale: *scale,
                    level,
                },
                origin,
            ),
            SlotOp::Add { a, b } => self.sum(*a, *b, false, level, origin),
            SlotOp::Sub { a, b } => self.sum(*a, *b, true, level, origin),
            SlotOp::Neg { x } => {
                if let Some(lazy) = self.postponed(*x, level) {
                    return lazy.negated(&mut self.target, origin);
                }
                let x = self.at_level(*x, level)?;
                self.push(CkksOp::Neg { x }, origin)
            }
            SlotOp::AddPlain { x, value } => {
                self.add_plaintext(*x, Addend::Plain(value.clone(), layout.clone()), level)
            }
            SlotOp::AddScalar { x, by } => self.add_plaintext(*x, Addend::Scalar(*by), level),
            SlotOp::Mul { a, b } => {
                let (a, b) = (self.at_level(*a, level + 1)?, self.at_level(*b, level + 1)?);
                self.push(CkksOp::Mul { a, b }, origin)
            }
            SlotOp::MulPlain { x, value } => {
                let x = self.finished(*x)?;
                let (value, layout, at) = (value.clone(), layout.clone(), level + 1);
                self.push(CkksOp::MulPlain { x, value, layout, at }, origin)
            }
            SlotOp::MulScalar { x, by } if doublings(*by).is_some() => {
                let x = self.at_level(*x, level)?;
                self.double(x, *by, origin).map(Lazy::new)
            }
            SlotOp::MulScalar { x, by } => {
                let x = self.finished(*x)?;
                self.push(
                    CkksOp::MulScalar {
                        x,
                        by: *by,
                        at: level + 1,
                    },
                    origin,
                )
            }
            SlotOp::Rotate { x, by: 0, .. } => self.at_level(*x, level).map(Lazy::new),
            SlotOp::Bootstrap { x } => {
                let Some(levels) = BootstrapLevels::of(self.source) else {
                    return Err(PassError::unsupported(
                        origin,
                        "no parameters were chosen for a bootstrap",
                    ));
                };
                let slots = self.source.ty(*x).period;
                let x = self.at_level(*x, levels.input)?;
                let to = levels.output;
                self.push(CkksOp::Bootstrap { x, to, slots }, origin)
            }
            SlotOp::Rotate { x, by, .. } => {
                let x = self.at_level(*x, level)?;
                self.push(CkksOp::Rotate { x, by: *by }, origin)
            }
            SlotOp::Linear { x, kernel } => {
                let input = self.source.ty(*x).clone();
                let bsgs = (self.plan_bsgs)(kernel, &input, level + 1)?;
                let op = CkksOp::LinearTransform {
                    x: self.finished(*x)?,
                    kernel: kernel.clone(),
                    input,
                    bsgs,
                    at: level + 1,
                };
                Ok(Lazy {
                    fold: kernel.fold.clone(),
                    ..self.push(op, origin)?
                })
            }
            SlotOp::Poly { x, poly } => self.poly(*x, &PolyPlan::new(poly), level, origin),
        }
    }

    fn poly(&mut self, x: ValueId, plan: &PolyPlan, level: u32, origin: &Origin) -> Result<Lazy, PassError> {
        let scalar = |summand: f64| {
            let is_needed = summand != 0.0;
            Vec::from_iter(is_needed.then_some(Addend::Scalar(summand)))
        };
        match *plan {
            PolyPlan::Constant(value) => {
                let x = self.at_level(x, level)?;
                let mut zero = self.push(CkksOp::Sub { a: x, b: x }, origin)?;
                zero.addends = scalar(value);
                Ok(zero)
            }
            PolyPlan::Affine { factor, summand } => {
                let mut product = if doublings(factor).is_some() {
                    let x = self.at_level(x, level)?;
                    self.double(x, factor, origin).map(Lazy::new)?
                } else {
                    let x = self.finished(x)?;
                    let (by, at) = (factor, level + 1);
                    self.push(CkksOp::MulScalar { x, by, at }, origin)?
                };
                product.addends = scalar(summand);
                Ok(product)
            }
            PolyPlan::Square { shift, factor, summand } => {
                let a = self.at_level(x, level + 1)?;
                let mut b = a;
                if shift != 0.0 {
                    b = self
                        .target
                        .push(CkksOp::AddScalar { x: a, by: shift }, origin.clone())?;
                }
                let mut product = self.push(CkksOp::Mul { a, b }, origin)?;
                if factor != 1.0 {
                    let core = product.finish(&mut self.target, origin)?;
                    product = Lazy::new(self.double(core, factor, origin)?);
                }
                product.addends = scalar(summand);
                Ok(product)
            }
            PolyPlan::Quartic {
                shift,
                factor,
                linear,
                summand,
            } => {
                let square = PolyPlan::Square {
                    shift: 0.0,
                    factor: 1.0,
                    summand: 0.0,
                };
                let square = self.poly(x, &square, level + 1, origin)?;
                let a = square.finish(&mut self.target, origin)?;
                let b = match shift == 0.0 {
                    true => a,
                    false => self
                        .push(CkksOp::AddScalar { x: a, by: shift }, origin)?
                        .finish(&mut self.target, origin)?,
                };
                let mut product = self.push(CkksOp::Mul { a, b }, origin)?;
                if factor != 1.0 {
                    let core = product.finish(&mut self.target, origin)?;
                    product = Lazy::new(self.double(core, factor, origin)?);
                }
                if linear != 0.0 {
                    let line = PolyPlan::Affine {
                        factor: linear,
                        summand: 0.0,
                    };
                    let a = product.finish(&mut self.target, origin)?;
                    let b = self.poly(x, &line, level, origin)?.finish(&mut self.target, origin)?;
                    product = self.push(CkksOp::Add { a, b }, origin)?;
                }
                product.addends = scalar(summand);
                Ok(product)
            }
            PolyPlan::Eval {
                factor,
                offset,
                ref poly,
            } => {
                let at = level + poly.depth() as u32;
                let mut x = if factor == 1.0 {
                    self.finished(x)?
                } else {
                    let affine = PolyPlan::Affine {
                        factor,
                        summand: offset,
                    };
                    let mapped = self.poly(x, &affine, at, origin)?;
                    mapped.finish(&mut self.target, origin)?
                };
                if factor == 1.0 && offset != 0.0 {
                    x = self.target.push(CkksOp::AddScalar { x, by: offset }, origin.clone())?;
                }
                let poly = poly.clone();
                self.push(CkksOp::PolyEval { x, poly, at }, origin)
            }
        }
    }

    fn push(&mut self, op: CkksOp, origin: &Origin) -> Result<Lazy, PassError> {
        Ok(Lazy::new(self.target.push(op, origin.clone())?))
    }

    /// `a + b` or `a - b`, before rescaling where both are products and at least one of them is only needed here:
    /// otherwise both are rescaled anyway.
    fn sum(&mut self, a: ValueId, b: ValueId, subtract: bool, level: u32, origin: &Origin) -> Result<Lazy, PassError> {
        if let (Some(left), Some(right)) = (self.lazy_at(a, level), self.lazy_at(b, level)) {
            let single = self.n_uses[a.index()] == 1 || self.n_uses[b.index()] == 1;
            if left.adds_to(&right, &self.target) && (single || a == b) {
                return left.sum(&right, subtract, &mut self.target, origin);
            }
        }
        let (a, b) = (self.at_level(a, level)?, self.at_level(b, level)?);
        let op = if subtract {
            CkksOp::Sub { a, b }
        } else {
            CkksOp::Add { a, b }
        };
        self.push(op, origin)
    }

    fn add_plaintext(&mut self, x: ValueId, addend: Addend, level: u32) -> Result<Lazy, PassError> {
        let mut lazy = match self.postponed(x, level) {
            Some(lazy) => lazy,
            None => Lazy::new(self.at_level(x, level)?),
        };
        lazy.addends.push(addend);
        Ok(lazy)
    }

    /// `sign * 2^n x` by additions.
    fn double(&mut self, mut x: ValueId, by: f64, origin: &Origin) -> Result<ValueId, PassError> {
        let (n, is_negative) = doublings(by).unwrap_or_default();
        for _ in 0..n {
            x = self.target.push(CkksOp::Add { a: x, b: x }, origin.clone())?;
        }
        if is_negative {
            x = self.target.push(CkksOp::Neg { x }, origin.clone())?;
        }
        Ok(x)
    }

    /// The lazy form of `x`, if its finished form is at `level`.
    fn lazy_at(&self, x: ValueId, level: u32) -> Option<Lazy> {
        self.lazy[x.index()]
            .clone()
            .filter(|_| self.needed[x.index()] == Some(level))
    }

    /// As `lazy_at`, if finishing `x` can be left to its only user.
    fn postponed(&self, x: ValueId, level: u32) -> Option<Lazy> {
        self.lazy_at(x, level).filter(|_| self.n_uses[x.index()] == 1)
    }

    /// `x` of degree 1 at the canonical scale of the level it is needed at.
    fn finished(&mut self, x: ValueId) -> Result<ValueId, PassError> {
        if let Some(finished) = self.finished.get(&x) {
            return Ok(*finished);
        }
        let lazy = self.lazy[x.index()]
            .clone()
            .expect("operands of live ops are emitted before them");
        let finished = lazy.finish(&mut self.target, self.source.origin(x))?;
        self.finished.insert(x, finished);
        Ok(finished)
    }

    /// The same at `level`, which is not above the level it is needed at.
    fn at_level(&mut self, x: ValueId, level: u32) -> Result<ValueId, PassError> {
        let finished = self.finished(x)?;
        if self.target.ty(finished).level == level {
            return Ok(finished);
        }
        if let Some(dropped) = self.dropped.get(&(x, level)) {
            return Ok(*dropped);
        }
        let op = CkksOp::DropLevel { x: finished, to: level };
        let dropped = self.target.push(op, self.source.origin(x).clone())?;
        self.dropped.insert((x, level), dropped);
        Ok(dropped)
    }
}
