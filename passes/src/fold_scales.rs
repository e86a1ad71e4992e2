//! Scale folding: factors per channel that follow a value go into the weights of the convolutions that read it, and
//! through sums to what is added.
//! In:     `nn`, verified; constants folded.       Out: no convolution with constant weights reads a product with factors
//!         per channel; no such product has a sum as its operand that nobody else reads.
//! Method: one forward scan carries factors symbolically. A convolution takes those of its input into its weights, zero
//!         padding being zero under any factor; a sum hands those that follow it to both operands, where affine folding
//!         finds the linear op before. What is left is written down at every reader.
//! Source: as scales move between layers in Nagel et al. (ICCV 2019, section 4.1), here exactly and for polynomials too.
//! Cost:   O(ops + weights) time and space; below 10 ms on ResNet-20.
//! Counts: folded_scales (convolutions that took factors), moved_scales (sums that handed factors on).
//! Limits: factors per channel of values with a channel dimension; uniform factors stay where they are.

use crate::nn_rewrite::{constant, constant_name, drop_dead_ops, finish, push_constant};
use crate::{PassCx, PassError, Stats};
use aphelion_ir::nn::{Nn, NnOp};
use aphelion_ir::{Graph, IrError, Node, Op, Origin, Rewriter, Tensor, ValueId};
use std::collections::BTreeMap;

/// Runs the pass; see the file's header.
///
/// # Errors
/// When a constant cannot be read.
pub fn run(_cx: &PassCx, graph: Graph<Nn>) -> Result<(Graph<Nn>, Stats), PassError> {
    let mut n_uses: Vec<usize> = graph.users().iter().map(Vec::len).collect();
    for output in graph.outputs() {
        n_uses[output.value.index()] += 1;
    }
    let mut scan = Scan {
        source: &graph,
        rewriter: Rewriter::new(&graph),
        scaled: BTreeMap::new(),
        n_uses,
        stats: Stats::default(),
    };
    for (id, node) in graph.iter() {
        scan.visit(id, node)?;
    }
    for output in graph.outputs() {
        let value = scan.written(output.value)?;
        scan.rewriter.replace(output.value, value);
    }
    let Scan { rewriter, stats, .. } = scan;
    Ok((drop_dead_ops(&finish(rewriter))?, stats))
}

/// `base` times one factor per channel.
#[derive(Clone)]
struct Scaled {
    base: ValueId,
    factors: Vec<f64>,
    origin: Origin,
}

struct Scan<'a> {
    source: &'a Graph<Nn>,
    rewriter: Rewriter<'a, Nn>,
    /// By value of the source, not written down yet; bases are values of the source.
    scaled: BTreeMap<ValueId, Scaled>,
    n_uses: Vec<usize>,
    stats: Stats,
}

impl Scan<'_> {
    fn visit(&mut self, id: ValueId, node: &Node<Nn>) -> Result<(), PassError> {
        if let NnOp::Mul { a, b } = &node.op {
            for (x, by) in [(*a, *b), (*b, *a)] {
                if let Some(factors) = self.factors(by, x, node)? {
                    let scaled = self.then(x, &factors, &node.origin);
                    self.scaled.insert(id, scaled);
                    return Ok(());
                }
            }
        }
        if let NnOp::Conv { x, weight, groups, .. } = &node.op
            && let (Some(scaled), Some(tensor)) = (self.scaled.get(x).cloned(), constant(self.source, *weight)?)
        {
            let weight = self.scaled_weight(tensor, &scaled.factors, *groups, &node.origin)?;
            let (base, mut op) = (self.rewriter.get(scaled.base), node.op.clone());
            op.map_operands(&mut |operand| {
                if operand == *x {
                    base
                } else {
                    self.rewriter.get(operand)
                }
            });
            if let NnOp::Conv { weight: old, .. } = &mut op {
                *old = weight;
            }
            let value = self.rewriter.target.push(op, node.origin.clone())?;
            self.rewriter.replace(id, value);
            self.stats.add("folded_scales", 1.0);
            return Ok(());
        }
        let mut operands = BTreeMap::new();
        for operand in node.op.operands() {
            operands.insert(operand, self.written(operand)?);
        }
        let mut op = node.op.clone();
        op.map_operands(&mut |operand| operands[&operand]);
        let value = self.rewriter.target.push(op, node.origin.clone())?;
        self.rewriter.replace(id, value);
        Ok(())
    }

    /// What the constant `by` multiplies every channel of `x` by, if it does so in `node`, and not all by the same.
    fn factors(&self, by: ValueId, x: ValueId, node: &Node<Nn>) -> Result<Option<Vec<f64>>, IrError> {
        let Some(tensor) = constant(self.source, by)? else {
            return Ok(None);
        };
        let shape = &node.ty.shape;
        let skipped = shape.len().saturating_sub(tensor.shape().len());
        let is_flat = (tensor.shape().iter().enumerate()).all(|(axis, extent)| *extent == 1 || axis + skipped == 1);
        let is_per_channel =
            is_flat && self.source.ty(x).shape == *shape && shape.len() > 2 && tensor.len() == shape[1];
        let is_variable = constant(self.source, x)?.is_none();
        Ok(if is_per_channel && is_variable {
            Some(tensor.to_vec()?)
        } else {
            None
        })
    }

    /// `x` of the source times `factors`, as a multiple of what is written down.
    fn then(&self, x: ValueId, factors: &[f64], origin: &Origin) -> Scaled {
        match self.scaled.get(&x) {
            Some(before) => Scaled {
                base: before.base,
                factors: before.factors.iter().zip(factors).map(|(a, b)| a * b).collect(),
                origin: origin.clone(),
            },
            None => Scaled {
                base: x,
                factors: factors.to_vec(),
                origin: origin.clone(),
            },
        }
    }

    /// The value of the new graph for `id` of the source.
    fn written(&mut self, id: ValueId) -> Result<ValueId, PassError> {
        let Some(scaled) = self.scaled.get(&id).cloned() else {
            return Ok(self.rewriter.get(id));
        };
        let is_only_use = self.n_uses[id.index()] == 1;
        let value = self.multiplied(&scaled, is_only_use)?;
        self.rewriter.replace(id, value);
        Ok(value)
    }

    fn multiplied(&mut self, scaled: &Scaled, is_only_use: bool) -> Result<ValueId, PassError> {
        let origin = &scaled.origin;
        let one_reader = is_only_use && self.n_uses[scaled.base.index()] == 1;
        if let (true, NnOp::Add { a, b }) = (one_reader, self.source.op(scaled.base)) {
            let shape = |x: &ValueId| &self.source.ty(*x).shape;
            let is_sum = shape(a) == shape(b) && constant(self.source, *a)?.is_none();
            if is_sum && constant(self.source, *b)?.is_none() {
                let (left, right) = (
                    self.then(*a, &scaled.factors, origin),
                    self.then(*b, &scaled.factors, origin),
                );
                let (a, b) = (self.multiplied(&left, true)?, self.multiplied(&right, true)?);
                self.stats.add("moved_scales", 1.0);
                return Ok(self.rewriter.target.push(NnOp::Add { a, b }, origin.clone())?);
            }
        }
        let a = self.rewriter.get(scaled.base);
        if scaled.factors.iter().all(|factor| *factor == 1.0) {
            return Ok(a);
        }
        let mut shape = vec![1; self.source.ty(scaled.base).shape.len()];
        shape[1] = scaled.factors.len();
        let tensor = Tensor::from_f64(shape, scaled.factors.clone());
        let b = push_constant(
            &mut self.rewriter.target,
            &constant_name(origin, "scale"),
            tensor,
            origin,
        )?;
        Ok(self.rewriter.target.push(NnOp::Mul { a, b }, origin.clone())?)
    }

    /// Weights [M, C/groups, ..] with those of every input channel times its factor.
    fn scaled_weight(
        &mut self,
        weight: &Tensor,
        factors: &[f64],
        groups: usize,
        origin: &Origin,
    ) -> Result<ValueId, IrError> {
        let shape = weight.shape();
        let n_taps: usize = shape[2..].iter().product();
        let (per_group, out_per_group) = (shape[1], shape[0] / groups);
        let channel = |index: usize| {
            let (out, inner) = (index / (per_group * n_taps), index / n_taps % per_group);
            out / out_per_group * per_group + inner
        };
        let values = weight.to_vec()?;
        let scaled = (values.iter().enumerate())
            .map(|(index, w)| w * factors[channel(index)])
            .collect();
        let tensor = Tensor::from_f64(shape.to_vec(), scaled);
        push_constant(
            &mut self.rewriter.target,
            &constant_name(origin, "weight"),
            tensor,
            origin,
        )
    }
}
