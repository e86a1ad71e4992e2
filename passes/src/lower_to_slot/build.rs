//! nn graph -> stages: chains of linear ops become affine forms, every other op a stage; norms are settled.

use super::form::{Form, StageId, Term, compose, is_element_wise, is_heavy, is_identity, is_permutation};
use super::linear::{linear_map, scale_by};
use super::scaling::Scalings;
use super::stage::{Scaling, Stage, StageKind, StageOutput, Stages};
use crate::error::PassError;
use aphelion_ir::nn::{Nn, NnOp};
use aphelion_ir::slot::{Basis, LinearMap, Pattern, Polynomial};
use aphelion_ir::{ConstRef, ConstantPool, Graph, Node, Op, Origin, Tensor, ValueId};

/// A heavy op is fused into the chain before it if that multiplies the non-zeros by no more than this: what a level
/// is worth in work.
const MAX_FUSION_GROWTH: f64 = 1.5;

/// The stages of `graph`, and the constants with those that folding made.
///
/// # Errors
/// All ops that cannot be lowered, and all values whose range is needed and not known.
pub fn stages(graph: &Graph<Nn>) -> Result<(Stages, ConstantPool), PassError> {
    let mut builder = Builder {
        graph,
        scalings: Scalings::new(graph),
        constants: graph.constants.clone(),
        stages: Vec::new(),
        forms: vec![None; graph.len()],
        n_users: graph.users().iter().map(Vec::len).collect(),
    };
    let live = graph.live();
    let mut problems = Vec::new();
    let mut softmax = vec![None; graph.len()];
    let mut n_values = 0;
    for (id, node) in graph.iter() {
        let is_input = matches!(node.op, NnOp::Input { .. });
        let known = |operand: &ValueId| builder.forms[operand.index()].is_some();
        if !(live[id.index()] || is_input) || !node.op.operands().iter().all(known) {
            continue;
        }
        if let (NnOp::Softmax { x, axis }, 0) = (&node.op, builder.n_users[id.index()]) {
            softmax[id.index()] = Some((*x, *axis));
            continue;
        }
        n_values += usize::from(!matches!(node.op, NnOp::Constant { .. } | NnOp::Input { .. }));
        match builder.lower(id, node) {
            Ok(form) => builder.forms[id.index()] = Some(form),
            Err(problem) => problems.push(problem),
        }
    }
    let mut outputs = Vec::new();
    for output in graph.outputs() {
        let (value, axis) = match softmax[output.value.index()] {
            Some((x, axis)) => (x, Some(axis)),
            None => (output.value, None),
        };
        if builder.forms[value.index()].is_none() {
            continue;
        }
        match builder.output_stage(value) {
            Ok(stage) => outputs.push(StageOutput {
                name: output.name.clone(),
                stage,
                softmax: axis,
            }),
            Err(problem) => problems.push(problem),
        }
    }
    if let Some(problem) = PassError::several(problems) {
        return Err(problem);
    }
    let n_stages = builder
        .stages
        .iter()
        .filter(|stage| !matches!(stage.kind, StageKind::Input { .. }))
        .count();
    let stages = Stages {
        stages: builder.stages,
        outputs,
        n_fused: usize::saturating_sub(n_values, n_stages),
    };
    Ok((stages, builder.constants))
}

struct Builder<'a> {
    graph: &'a Graph<Nn>,
    scalings: Scalings,
    constants: ConstantPool,
    stages: Vec<Stage>,
    /// Per value of the graph: what it is. None where lowering failed.
    forms: Vec<Option<Form>>,
    n_users: Vec<usize>,
}

impl Builder<'_> {
    fn lower(&mut self, id: ValueId, node: &Node<Nn>) -> Result<Form, PassError> {
        let origin = &node.origin;
        match &node.op {
            NnOp::Input { name, shape } => {
                let Scaling { norm, .. } = self.scalings.needed(id, origin)?;
                let stage = self.push(
                    StageKind::Input { name: name.clone() },
                    shape,
                    Scaling { norm, offset: 0.0 },
                    0,
                    origin,
                );
                Ok(Form::source(stage, shape, origin))
            }
            NnOp::Constant { value } => Ok(Form::constant(
                value.clone(),
                self.constants.get(value)?.clone(),
                origin,
            )),
            NnOp::Add { a, b } => self.sum(id, *a, *b, 1.0),
            NnOp::Sub { a, b } => self.sum(id, *a, *b, -1.0),
            NnOp::Mul { a, b } => self.product(id, *a, *b),
            NnOp::Pow { x, exponent } => {
                if *exponent == 1 {
                    return Ok(self.form(*x));
                }
                let (source, permutation) = self.factor(*x)?;
                let power = self.power(source, *exponent, origin);
                self.permuted(power, &permutation, origin)
            }
            NnOp::Poly { x, poly } => self.poly(id, *x, poly),
            NnOp::Concat { xs, axis } => self.concat(id, xs, *axis),
            op => match linear_map(op, self.graph, &self.forms, &mut self.constants, origin)? {
                Some(linear) => {
                    let form = self.operand(linear.x, &linear.map)?;
                    let form = form.then(&linear.map, &self.constants, origin)?;
                    match linear.bias {
                        Some(bias) => Ok(form.plus(&bias, origin)?),
                        None => Ok(form),
                    }
                }
                None => Err(PassError::unsupported(origin, unsupported(op))),
            },
        }
    }

    fn form(&self, value: ValueId) -> Form {
        self.forms[value.index()].clone().unwrap_or_else(|| Form {
            shape: self.graph.ty(value).shape.clone(),
            terms: Vec::new(),
            constant: None,
            origin: self.graph.origin(value).clone(),
        })
    }

    /// The form of an operand of a linear map: computed first if that is better than composing.
    fn operand(&mut self, x: ValueId, map: &LinearMap) -> Result<Form, PassError> {
        let form = self.form(x);
        let is_shared = self.n_users[x.index()] > 1 && form.is_heavy();
        let is_cheap = is_permutation(map) || is_element_wise(map);
        let must_weigh = (is_heavy(map) && form.is_heavy()) || (!is_cheap && form.terms.len() > 1);
        if self.scalings.get(x).is_none() || !(is_shared || must_weigh) {
            return Ok(form);
        }
        let is_worse = is_shared || {
            let n_non_zeros = |map: &LinearMap| Ok::<_, PassError>(Pattern::new(map, &self.constants)?.n_non_zeros());
            let (mut fused, mut apart) = (0, n_non_zeros(map)?);
            for term in &form.terms {
                fused += n_non_zeros(&compose(&term.map, map))?;
                apart += if is_element_wise(&term.map) {
                    0
                } else {
                    n_non_zeros(&term.map)?
                };
            }
            fused as f64 > MAX_FUSION_GROWTH * apart as f64
        };
        if is_worse { self.materialised(x) } else { Ok(form) }
    }

    /// The form of `x`, computed: from now on users read the stage.
    fn materialised(&mut self, x: ValueId) -> Result<Form, PassError> {
        let form = self.form(x);
        let mut scaling = self.scalings.needed(x, self.graph.origin(x))?;
        if !self.scalings.is_exact(x) {
            scaling = self.without_a_level(&form, scaling);
        }
        let stage = self.stage_of(&form, scaling);
        let form = Form::source(stage, &form.shape, &form.origin);
        self.forms[x.index()] = Some(form.clone());
        Ok(form)
    }

    /// A stage with the contents of `form` under `scaling`.
    fn stage_of(&mut self, form: &Form, scaling: Scaling) -> StageId {
        if let Some(stage) = form.as_source()
            && self.stages[stage.0].scaling == scaling
        {
            return stage;
        }
        let is_same = |stage: &Stage| match &stage.kind {
            StageKind::Affine { form: other } => {
                other.constant.is_none()
                    && form.constant.is_none()
                    && other.terms == form.terms
                    && stage.scaling == scaling
            }
            _ => false,
        };
        if let Some(index) = self.stages.iter().position(is_same) {
            return StageId(index);
        }
        let levels = |source: &Stage, map: &LinearMap| {
            source.depth + usize::from(!is_identity(map) || source.scaling.norm != scaling.norm)
        };
        let terms = form
            .terms
            .iter()
            .map(|term| levels(&self.stages[term.source.0], &term.map));
        let depth = terms.max().unwrap_or(0);
        self.push(
            StageKind::Affine { form: form.clone() },
            &form.shape,
            scaling,
            depth,
            &form.origin,
        )
    }

    fn push(&mut self, kind: StageKind, shape: &[usize], scaling: Scaling, depth: usize, origin: &Origin) -> StageId {
        self.stages.push(Stage {
            kind,
            shape: shape.to_vec(),
            scaling,
            depth,
            origin: origin.clone(),
        });
        StageId(self.stages.len() - 1)
    }

    /// A stage for a result, with offset 0.
    fn output_stage(&mut self, value: ValueId) -> Result<StageId, PassError> {
        let form = self.form(value);
        if form.terms.is_empty() {
            let message = "the result does not depend on the input; remove it from the model's outputs";
            return Err(PassError::unsupported(self.graph.origin(value), message));
        }
        if let Some(stage) = form.as_source()
            && self.stages[stage.0].scaling.offset == 0.0
        {
            return Ok(stage);
        }
        let scaling = about_zero(self.scalings.needed(value, self.graph.origin(value))?);
        Ok(self.stage_of(&form, self.without_a_level(&form, scaling)))
    }

    /// `scaling`, or the norm of a source that the form adds as it is, if another norm would take one more level and
    /// slots stay in [-2, 2].
    fn without_a_level(&self, form: &Form, scaling: Scaling) -> Scaling {
        let source = |term: &Term| &self.stages[term.source.0];
        let (as_is, mapped): (Vec<&Term>, Vec<&Term>) = form.terms.iter().partition(|term| is_identity(&term.map));
        let deepest = |terms: &[&Term]| terms.iter().map(|term| source(term).depth).max();
        let takes_a_level = deepest(&as_is) > deepest(&mapped);
        let norms = as_is.iter().filter(|term| Some(source(term).depth) == deepest(&as_is));
        let norm = norms.map(|term| source(term).scaling.norm).fold(0.0, f64::max);
        if takes_a_level && scaling.norm <= 2.0 * norm {
            Scaling { norm, ..scaling }
        } else {
            scaling
        }
    }

    fn sum(&mut self, id: ValueId, a: ValueId, b: ValueId, sign: f64) -> Result<Form, PassError> {
        let origin = self.graph.origin(id);
        let shape = &self.graph.ty(id).shape;
        let (a, mut b) = (self.form(a), self.form(b));
        if sign < 0.0 {
            let negate = LinearMap::Factor {
                shape: b.shape.clone(),
                by: sign,
            };
            b = b.then(&negate, &self.constants, origin)?;
        }
        let (a, b) = (self.broadcast(a, shape, origin)?, self.broadcast(b, shape, origin)?);
        Ok(a.plus(&b, origin)?)
    }

    /// Concatenation: the sum of the parts, each padded with zeros to the whole.
    fn concat(&mut self, id: ValueId, xs: &[ValueId], axis: usize) -> Result<Form, PassError> {
        let origin = self.graph.origin(id);
        let shape = &self.graph.ty(id).shape;
        let mut whole = Form {
            shape: shape.clone(),
            terms: Vec::new(),
            constant: None,
            origin: origin.clone(),
        };
        let mut start = 0;
        for &x in xs {
            let part = self.form(x);
            let mut pads = vec![(0, 0); shape.len()];
            let extent = part.shape[axis];
            pads[axis] = (start, shape[axis] - start - extent);
            start += extent;
            let pad = LinearMap::Pad {
                input: part.shape.clone(),
                pads,
            };
            whole = whole.plus(&part.then(&pad, &self.constants, origin)?, origin)?;
        }
        Ok(whole)
    }

    /// The form repeated to `shape`.
    fn broadcast(&mut self, form: Form, shape: &[usize], origin: &Origin) -> Result<Form, PassError> {
        if form.shape == shape {
            return Ok(form);
        }
        if form.terms.is_empty() {
            // Constants broadcast where they are used.
            return Ok(Form {
                shape: shape.to_vec(),
                ..form
            });
        }
        let map = broadcast_map(&form.shape, shape, &mut self.constants);
        Ok(form.then(&map, &self.constants, origin)?)
    }

    fn product(&mut self, id: ValueId, a: ValueId, b: ValueId) -> Result<Form, PassError> {
        let (graph, origin) = (self.graph, self.graph.origin(id));
        let shape = &graph.ty(id).shape;
        for (constant, x) in [(b, a), (a, b)] {
            if let Some(by) = self.form(constant).as_constant() {
                let by = by.clone();
                let form = self.form(x);
                if let Some(other) = form.as_constant() {
                    let (left, right) = (by.tensor.broadcast_to(shape)?, other.tensor.broadcast_to(shape)?);
                    let values = left.iter().zip(right).map(|(a, b)| a * b).collect();
                    let tensor = Tensor::from_f64(shape.clone(), values);
                    return Ok(Form::constant(by.name, tensor, origin));
                }
                let form = self.broadcast(form, shape, origin)?;
                let map = scale_by(&by.tensor, &by.name, shape, &mut self.constants)?;
                return Ok(form.then(&map, &self.constants, origin)?);
            }
        }
        if a == b {
            let (source, permutation) = self.factor(a)?;
            let square = self.power(source, 2, origin);
            return self.permuted(square, &permutation, origin);
        }
        let mut factors = Vec::new();
        for x in [a, b] {
            let form = self.form(x);
            if form.shape == *shape {
                let form = self.materialised_about_zero(x)?;
                factors.push(form);
            } else {
                let scaling = self.scalings.needed(x, graph.origin(x))?;
                let form = self.broadcast(form, shape, origin)?;
                factors.push(self.stage_of(&form, about_zero(scaling)));
            }
        }
        let product = self.multiply(factors[0], factors[1], origin);
        Ok(Form::source(product, shape, origin))
    }

    fn materialised_about_zero(&mut self, x: ValueId) -> Result<StageId, PassError> {
        let form = self.materialised(x)?;
        let scaling = self.scalings.needed(x, self.graph.origin(x))?;
        Ok(match form.as_source() {
            Some(stage) if self.stages[stage.0].scaling.offset == 0.0 => stage,
            _ => self.stage_of(&form, about_zero(scaling)),
        })
    }

    /// A stage for a factor of an element-wise product, and what moves its elements to where `x` has them.
    fn factor(&mut self, x: ValueId) -> Result<(StageId, LinearMap), PassError> {
        let form = self.form(x);
        if let Some(term) = form.as_permuted_source() {
            let source = &self.stages[term.source.0];
            if source.scaling.offset == 0.0 {
                return Ok((term.source, term.map.clone()));
            }
        }
        let stage = self.materialised_about_zero(x)?;
        Ok((stage, LinearMap::Identity { shape: form.shape }))
    }

    /// A form that reads `stage` through a permutation.
    fn permuted(&self, stage: StageId, permutation: &LinearMap, origin: &Origin) -> Result<Form, PassError> {
        let source = Form::source(stage, &self.stages[stage.0].shape, origin);
        Ok(source.then(permutation, &self.constants, origin)?)
    }

    /// `x^exponent` by squaring, in ceil(log2) levels.
    fn power(&mut self, x: StageId, exponent: u32, origin: &Origin) -> StageId {
        if exponent <= 1 {
            return x;
        }
        let high = self.power(x, exponent.div_ceil(2), origin);
        let low = if exponent.is_multiple_of(2) {
            high
        } else {
            self.power(x, exponent / 2, origin)
        };
        self.multiply(high, low, origin)
    }

    fn multiply(&mut self, a: StageId, b: StageId, origin: &Origin) -> StageId {
        let is_same = |stage: &Stage| matches!(stage.kind, StageKind::Mul { a: x, b: y } if (x, y) == (a, b));
        if let Some(index) = self.stages.iter().position(is_same) {
            return StageId(index);
        }
        let (left, right) = (&self.stages[a.0], &self.stages[b.0]);
        let scaling = Scaling {
            norm: left.scaling.norm * right.scaling.norm,
            offset: 0.0,
        };
        let (depth, shape) = (left.depth.max(right.depth) + 1, left.shape.clone());
        self.push(StageKind::Mul { a, b }, &shape, scaling, depth, origin)
    }

    fn poly(&mut self, id: ValueId, x: ValueId, poly: &Polynomial) -> Result<Form, PassError> {
        let (graph, origin) = (self.graph, self.graph.origin(id));
        if poly.degree() <= 1 {
            let (c0, c1) = (poly.eval(0.0), poly.eval(1.0) - poly.eval(0.0));
            let form = self.form(x);
            let factor = LinearMap::Factor {
                shape: form.shape.clone(),
                by: c1,
            };
            let constant = Form {
                shape: form.shape.clone(),
                ..Form::constant(
                    ConstRef::new(format!("{}.constant", origin.name)),
                    Tensor::scalar(c0),
                    origin,
                )
            };
            return Ok(form.then(&factor, &self.constants, origin)?.plus(&constant, origin)?);
        }
        let argument = match poly.basis {
            Basis::Chebyshev {} => Scaling::centred(poly.low, poly.high),
            Basis::Monomial {} => Scaling::about_zero(poly.low, poly.high),
        };
        let form = self.form(x);
        let (source, permutation) = match form.as_permuted_source() {
            Some(term) if self.stages[term.source.0].scaling == argument => (term.source, term.map.clone()),
            _ if form.as_source().is_none() && self.scalings.get(x) == Some(argument) => {
                let form = self.materialised(x)?;
                (
                    self.stage_of(&form, argument),
                    LinearMap::Identity { shape: form.shape },
                )
            }
            _ => (
                self.stage_of(&form, argument),
                LinearMap::Identity { shape: form.shape },
            ),
        };
        let result = self.scalings.of_poly(id, poly);
        let to_slots = |value: f64| value / result.norm;
        let mut power = 1.0;
        let mut coeffs = Vec::with_capacity(poly.coeffs.len());
        for &coefficient in &poly.coeffs {
            coeffs.push(to_slots(coefficient * power));
            if poly.basis == (Basis::Monomial {}) {
                power *= argument.norm;
            }
        }
        coeffs[0] -= to_slots(result.offset);
        let (low, high) = match poly.basis {
            Basis::Chebyshev {} => (-1.0, 1.0),
            Basis::Monomial {} => (poly.low / argument.norm, poly.high / argument.norm),
        };
        let in_slots = Polynomial {
            basis: poly.basis,
            low,
            high,
            coeffs,
        };
        let (shape, depth) = (
            self.stages[source.0].shape.clone(),
            self.stages[source.0].depth + in_slots.depth(),
        );
        let kind = StageKind::Poly {
            x: source,
            poly: in_slots,
        };
        let stage = self.push(kind, &shape, result, depth, graph.origin(id));
        self.permuted(stage, &permutation, origin)
    }
}

/// The same without an offset: with the same norm, so that a shift suffices, unless slots would exceed 2.
fn about_zero(scaling: Scaling) -> Scaling {
    let Scaling { norm, offset } = scaling;
    Scaling {
        norm: if offset.abs() <= norm {
            norm
        } else {
            norm + offset.abs()
        },
        offset: 0.0,
    }
}

/// The map that repeats a tensor of shape `from` to shape `to` in the manner of numpy.
fn broadcast_map(from: &[usize], to: &[usize], constants: &mut ConstantPool) -> LinearMap {
    let mut shape = vec![1; to.len() - from.len()];
    shape.extend(from);
    let mut map = LinearMap::Reshape {
        input: from.to_vec(),
        output: shape.clone(),
    };
    let last = to.len().saturating_sub(1);
    for axis in 0..to.len() {
        if shape[axis] == to[axis] {
            continue;
        }
        let mut perm: Vec<usize> = (0..to.len()).collect();
        perm.swap(axis, last);
        let swap = |shape: &[usize]| LinearMap::Transpose {
            input: shape.to_vec(),
            perm: perm.clone(),
        };
        let ones = Tensor::from_f64(vec![1, to[axis]], vec![1.0; to[axis]]);
        let there = swap(&shape);
        shape.swap(axis, last);
        let repeat = LinearMap::Dense {
            input: shape.clone(),
            weight: constants.insert("ones", ones),
            transposed: false,
        };
        shape[last] = to[axis];
        let back = swap(&shape);
        shape.swap(axis, last);
        map = [there, repeat, back].iter().fold(map, |map, next| compose(&map, next));
    }
    map
}

fn unsupported(op: &NnOp) -> String {
    match op {
        NnOp::MaxPool { .. } => {
            "max pooling of encrypted values is not supported; train the model with average pooling"
        }
        NnOp::Softmax { .. } => "softmax is supported as the last op only, where the client computes it; remove it",
        NnOp::Div { .. } => {
            "division by an encrypted value is not supported; divide by a constant, or approximate the inverse"
        }
        NnOp::Apply { .. } => "the activation has no polynomial; run the approximation pass before",
        NnOp::PRelu { .. } => "PRelu has no polynomial; use ReLU or LeakyRelu, which are approximated",
        NnOp::Gemm { .. } | NnOp::MatMul { .. } => {
            "a product of two encrypted matrices is not supported; one of the operands has to be constant"
        }
        NnOp::Conv { .. } => "a convolution with encrypted weights is not supported; the weights have to be constant",
        NnOp::BatchNorm { .. } => "batch normalisation needs constant parameters",
        _ => "the op cannot be computed on encrypted values",
    }
    .into()
}
