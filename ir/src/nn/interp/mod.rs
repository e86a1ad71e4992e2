//! Cleartext interpreter of `nn`: every op in double precision, as ONNX defines it.
//!
//! Assumes: the graph is valid (every op was accepted by [`Graph::push`] or [`Graph::verify`]).
//! Ensures: the same inputs give the same bits, whatever the number of threads; a value that is not finite is an
//! error that names the op, never a result.
//!
//! One file per family: [`conv`], [`matmul`], [`pointwise`], [`pool`], [`reduce`], [`layout`] (moves elements about).

mod conv;
mod layout;
mod matmul;
mod pointwise;
mod pool;
mod reduce;

use super::{Nn, NnOp};
use crate::dialect::Op;
use crate::error::IrError;
use crate::graph::{Graph, Node, ValueId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every value of a graph by index, row-major. Runs share what they have in common.
pub type Values = Vec<Arc<Vec<f64>>>;

/// May give the result of an op, by its value and first operand's content, in place of what the op computes.
pub type StandIn<'a> = dyn Fn(ValueId, &[f64]) -> Option<Vec<f64>> + Sync + 'a;

/// Evaluates `graph` on `inputs` (by name, row-major) and returns its outputs in order, row-major.
///
/// For many samples, prepare an [`Interpreter`] once.
///
/// # Errors
/// As [`Interpreter::new`] and [`Interpreter::evaluate`].
pub fn evaluate(graph: &Graph<Nn>, inputs: &BTreeMap<String, Vec<f64>>) -> Result<Vec<Vec<f64>>, IrError> {
    Interpreter::new(graph)?.evaluate(inputs)
}

/// A graph whose constants are loaded, ready to be evaluated on many samples, from several threads at once.
pub struct Interpreter<'a> {
    graph: &'a Graph<Nn>,
    /// Per value: what it is, where it depends on no input.
    fixed: Vec<Option<Arc<Vec<f64>>>>,
    live: Vec<bool>,
}

impl<'a> Interpreter<'a> {
    /// Loads the constants, and computes all that depends on nothing else.
    ///
    /// # Errors
    /// When a constant cannot be read, or such a computation does not give finite numbers.
    pub fn new(graph: &'a Graph<Nn>) -> Result<Self, IrError> {
        let mut interpreter = Interpreter {
            graph,
            fixed: vec![None; graph.len()],
            live: graph.live(),
        };
        for (id, node) in graph.iter() {
            let value = match &node.op {
                NnOp::Input { .. } => continue,
                NnOp::Constant { value } => graph.constants.get(value)?.to_vec()?,
                op => {
                    let fixed = |operand: ValueId| interpreter.fixed[operand.index()].as_ref();
                    if op.operands().into_iter().any(|x| fixed(x).is_none()) {
                        continue;
                    }
                    compute(graph, id, &|operand| {
                        fixed(operand).map_or(&[], |value| value.as_slice())
                    })
                }
            };
            check_finite(node, &value)?;
            interpreter.fixed[id.index()] = Some(Arc::new(value));
        }
        Ok(interpreter)
    }

    /// The outputs in order, row-major. Computes only what they depend on.
    ///
    /// # Errors
    /// When an input is missing, unknown, of another length than its shape asks for or not finite, or when an op
    /// yields a value that is not finite.
    pub fn evaluate(&self, inputs: &BTreeMap<String, Vec<f64>>) -> Result<Vec<Vec<f64>>, IrError> {
        let values = self.run(inputs, &|id| self.live[id.index()])?;
        let output = |value: ValueId| values[value.index()].to_vec();
        Ok(self.graph.outputs().iter().map(|result| output(result.value)).collect())
    }

    /// Every value by index, row-major.
    ///
    /// # Errors
    /// As [`Interpreter::evaluate`].
    pub fn evaluate_all(&self, inputs: &BTreeMap<String, Vec<f64>>) -> Result<Values, IrError> {
        self.run(inputs, &|_| true)
    }

    /// Every value by index, where those before `first` are as in `known`, which an earlier evaluation on the same inputs
    /// gave. From there on, `stand_in` may give results in place of ops.
    ///
    /// # Errors
    /// When an op or `stand_in` yields a value that is not finite.
    pub fn evaluate_from(
        &self,
        known: &[Arc<Vec<f64>>],
        first: ValueId,
        stand_in: &StandIn<'_>,
    ) -> Result<Values, IrError> {
        let mut values: Values = known[..first.index()].to_vec();
        for (id, node) in self.graph.iter().skip(first.index()) {
            let value = match (&self.fixed[id.index()], &node.op) {
                (Some(value), _) => value.clone(),
                (None, NnOp::Input { .. }) => known[id.index()].clone(),
                (None, op) => {
                    let operand = op.operands().first().map(|x| values[x.index()].as_slice());
                    let given = operand.and_then(|operand| stand_in(id, operand));
                    let value = given.unwrap_or_else(|| compute(self.graph, id, &|x| values[x.index()].as_slice()));
                    check_finite(node, &value)?;
                    Arc::new(value)
                }
            };
            values.push(value);
        }
        Ok(values)
    }

    fn run(&self, inputs: &BTreeMap<String, Vec<f64>>, wanted: &dyn Fn(ValueId) -> bool) -> Result<Values, IrError> {
        self.check_names(inputs)?;
        let nothing = Arc::new(Vec::new());
        let mut values: Values = Vec::with_capacity(self.graph.len());
        for (id, node) in self.graph.iter() {
            let value = match (&self.fixed[id.index()], &node.op) {
                (Some(value), _) => value.clone(),
                (None, NnOp::Input { name, .. }) => Arc::new(input(node, name, inputs)?),
                (None, _) if !wanted(id) => nothing.clone(),
                (None, _) => {
                    let computed = compute(self.graph, id, &|operand| values[operand.index()].as_slice());
                    check_finite(node, &computed)?;
                    Arc::new(computed)
                }
            };
            values.push(value);
        }
        Ok(values)
    }

    fn check_names(&self, inputs: &BTreeMap<String, Vec<f64>>) -> Result<(), IrError> {
        let names: Vec<&str> = (self.graph.iter())
            .filter_map(|(_, node)| match &node.op {
                NnOp::Input { name, .. } => Some(name.as_str()),
                _ => None,
            })
            .collect();
        match inputs.keys().find(|name| !names.contains(&name.as_str())) {
            Some(unknown) => Err(IrError::interpret(
                &crate::origin::Origin::new(unknown.as_str(), "Input"),
                format!("the model has no such input; it has: {}", names.join(", ")),
            )),
            None => Ok(()),
        }
    }
}

fn input(node: &Node<Nn>, name: &str, inputs: &BTreeMap<String, Vec<f64>>) -> Result<Vec<f64>, IrError> {
    let values = inputs
        .get(name)
        .ok_or_else(|| IrError::interpret(&node.origin, format!("no values given for the input `{name}`")))?;
    if values.len() != node.ty.len() {
        let message = format!(
            "the input `{name}` of shape {:?} needs {} values, found {}",
            node.ty.shape,
            node.ty.len(),
            values.len()
        );
        return Err(IrError::interpret(&node.origin, message));
    }
    check_finite(node, values)?;
    Ok(values.clone())
}

fn check_finite(node: &Node<Nn>, values: &[f64]) -> Result<(), IrError> {
    match values.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(IrError::interpret(
            &node.origin,
            format!("element {index} is {}, which is no finite number", values[index]),
        )),
        None => Ok(()),
    }
}

/// The value of one op; `get` gives the operands' values.
fn compute<'v>(graph: &Graph<Nn>, id: ValueId, get: &dyn Fn(ValueId) -> &'v [f64]) -> Vec<f64> {
    let shape = |value: &ValueId| graph.ty(*value).shape.as_slice();
    let get = |value: &ValueId| get(*value);
    let out = shape(&id);
    match graph.op(id) {
        NnOp::Input { .. } | NnOp::Constant { .. } => unreachable!("leaves are loaded, not computed"),
        NnOp::Conv {
            x,
            weight,
            bias,
            strides,
            pads,
            dilations,
            groups,
        } => {
            let window = conv::Window::new(shape(x), shape(weight), out, strides, pads, dilations, *groups);
            conv::conv(&window, get(x), get(weight), bias.as_ref().map(get))
        }
        NnOp::Gemm {
            a,
            b,
            c,
            alpha,
            beta,
            trans_a,
            trans_b,
        } => {
            let product = matmul::gemm((get(a), shape(a), *trans_a), (get(b), shape(b), *trans_b));
            match c {
                Some(c) => {
                    let c = layout::broadcast(get(c), shape(c), out);
                    product
                        .iter()
                        .zip(c.iter())
                        .map(|(p, c)| alpha * p + beta * c)
                        .collect()
                }
                None => product.iter().map(|p| alpha * p).collect(),
            }
        }
        NnOp::MatMul { a, b } => matmul::matmul((get(a), shape(a)), (get(b), shape(b)), out),
        NnOp::Add { a, b } => pointwise::binary((get(a), shape(a)), (get(b), shape(b)), out, |a, b| a + b),
        NnOp::Sub { a, b } => pointwise::binary((get(a), shape(a)), (get(b), shape(b)), out, |a, b| a - b),
        NnOp::Mul { a, b } => pointwise::binary((get(a), shape(a)), (get(b), shape(b)), out, |a, b| a * b),
        NnOp::Div { a, b } => pointwise::binary((get(a), shape(a)), (get(b), shape(b)), out, |a, b| a / b),
        NnOp::PRelu { x, slope } => pointwise::binary((get(x), shape(x)), (get(slope), shape(slope)), out, |x, s| {
            if x >= 0.0 { x } else { s * x }
        }),
        NnOp::Neg { x } => pointwise::unary(get(x), |x| -x),
        NnOp::Pow { x, exponent } => pointwise::unary(get(x), |x| pointwise::power(x, *exponent)),
        NnOp::Apply { x, func } => pointwise::unary(get(x), |x| func.eval(x)),
        NnOp::Poly { x, poly } => poly.eval_all(get(x)),
        NnOp::BatchNorm {
            x,
            scale,
            bias,
            mean,
            var,
            epsilon,
        } => pointwise::batch_norm((get(x), shape(x)), get(scale), get(bias), get(mean), get(var), *epsilon),
        NnOp::AvgPool { x, window } => pool::average(get(x), shape(x), window),
        NnOp::MaxPool { x, window } => pool::maximum(get(x), shape(x), window),
        NnOp::ReduceMean { x, axes, .. } => reduce::mean(get(x), shape(x), axes),
        NnOp::ReduceSum { x, axes, .. } => reduce::sum(get(x), shape(x), axes),
        NnOp::Softmax { x, axis } => reduce::softmax(get(x), shape(x), *axis),
        NnOp::Reshape { x, .. } => get(x).to_vec(),
        NnOp::Transpose { x, perm } => layout::transpose(get(x), shape(x), perm),
        NnOp::Pad { x, pads, value } => layout::pad(get(x), shape(x), pads, *value),
        NnOp::Concat { xs, axis } => {
            let parts: Vec<_> = xs.iter().map(|x| (get(x), shape(x))).collect();
            layout::concat(&parts, *axis)
        }
        NnOp::Slice { x, starts, steps, lens } => layout::slice(get(x), shape(x), starts, steps, lens),
    }
}
