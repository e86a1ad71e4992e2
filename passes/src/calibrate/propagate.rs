//! Interval propagation: bounds of every element of every value, from bounds of the inputs.
//!
//! Ensures: for inputs within their intervals, every value lies within its interval.
//! Method: linear ops run in the interpreter, on centres with their weights and on radii with the weights' magnitudes,
//! which is exact for constant weights and a bound for the product of two values; monotone ops run on both ends; the
//! rest is interval arithmetic element by element.

use super::interval::{Interval, ROUNDING};
use crate::PassError;
use aphelion_ir::nn::{Nn, NnOp, evaluate};
use aphelion_ir::{ConstantPool, Graph, IrError, Node, Op, Origin, ValueId};
use std::collections::BTreeMap;

/// Bounds of the elements of one value.
#[derive(Clone)]
struct Bounds {
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Bounds {
    fn exact(values: Vec<f64>) -> Self {
        Bounds {
            low: values.clone(),
            high: values,
        }
    }

    fn of(elements: impl Iterator<Item = Interval>) -> Self {
        let (low, high) = elements.map(|element| (element.low, element.high)).unzip();
        Bounds { low, high }
    }

    fn elements(&self) -> impl Iterator<Item = Interval> {
        self.low
            .iter()
            .zip(&self.high)
            .map(|(low, high)| Interval::new(*low, *high))
    }

    fn hull(&self) -> Interval {
        self.elements().fold(Interval::EMPTY, Interval::union)
    }

    fn centre(&self) -> Vec<f64> {
        self.elements()
            .map(|element| 0.5 * element.low + 0.5 * element.high)
            .collect()
    }

    fn magnitude(&self) -> Vec<f64> {
        self.elements()
            .map(|element| element.low.abs().max(element.high.abs()))
            .collect()
    }

    fn radius(&self) -> Vec<f64> {
        self.elements()
            .map(|element| 0.5 * element.high - 0.5 * element.low)
            .collect()
    }
}

/// The interval of every value of `graph`, by index, for inputs (by name) whose elements lie in `inputs`.
///
/// # Errors
/// [`PassError::BadInput`] for an input without interval, and for a function that is not defined on all of the interval
/// that reaches it.
pub fn propagate(graph: &Graph<Nn>, inputs: &BTreeMap<String, Interval>) -> Result<Vec<Interval>, PassError> {
    let mut bounds: Vec<Bounds> = Vec::with_capacity(graph.len());
    for (_, node) in graph.iter() {
        let next = match &node.op {
            NnOp::Input { name, .. } => {
                let interval = inputs
                    .get(name)
                    .copied()
                    .ok_or_else(|| PassError::BadInput(format!("no interval is given for the input `{name}`")))?;
                Bounds::of(std::iter::repeat_n(interval, node.ty.len()))
            }
            NnOp::Constant { value } => Bounds::exact(graph.constants.get(value)?.to_vec()?),
            _ => Step {
                graph,
                node,
                bounds: &bounds,
            }
            .bounds()?,
        };
        bounds.push(next);
    }
    Ok(bounds.iter().map(Bounds::hull).collect())
}

/// One op under propagation.
struct Step<'a> {
    graph: &'a Graph<Nn>,
    node: &'a Node<Nn>,
    bounds: &'a [Bounds],
}

impl Step<'_> {
    fn bounds(&self) -> Result<Bounds, PassError> {
        let of = |x: &ValueId| &self.bounds[x.index()];
        let op = &self.node.op;
        Ok(match op {
            NnOp::Input { .. } | NnOp::Constant { .. } => return Err(self.undefined("as it is a leaf")),
            NnOp::Conv { .. } | NnOp::Gemm { .. } | NnOp::MatMul { .. } => self.bilinear()?,
            NnOp::Add { .. }
            | NnOp::AvgPool { .. }
            | NnOp::MaxPool { .. }
            | NnOp::ReduceMean { .. }
            | NnOp::ReduceSum { .. }
            | NnOp::Reshape { .. }
            | NnOp::Transpose { .. }
            | NnOp::Pad { .. }
            | NnOp::Concat { .. }
            | NnOp::Slice { .. } => self.monotone()?,
            NnOp::Sub { a, b } => {
                let (a, b) = (self.broadcast(*a)?, self.broadcast(*b)?);
                let difference = |(a, b): (Interval, Interval)| Interval::new(a.low - b.high, a.high - b.low);
                rounded(a.elements().zip(b.elements()).map(difference))
            }
            NnOp::Mul { a, b } if a == b => Bounds::of(of(a).elements().map(|x| x.power(2))),
            NnOp::Mul { a, b } => {
                let (a, b) = (self.broadcast(*a)?, self.broadcast(*b)?);
                Bounds::of(a.elements().zip(b.elements()).map(|(a, b)| a.times(b)))
            }
            NnOp::Div { a, b } => {
                let (a, b) = (self.broadcast(*a)?, self.broadcast(*b)?);
                if b.elements().any(|b| b.contains(0.0)) {
                    return Err(self.undefined("as its divisor may be zero"));
                }
                let quotient = |(a, b): (Interval, Interval)| a.times(Interval::new(1.0 / b.high, 1.0 / b.low));
                Bounds::of(a.elements().zip(b.elements()).map(quotient))
            }
            NnOp::Neg { x } => Bounds::of(of(x).elements().map(|x| Interval::new(-x.high, -x.low))),
            NnOp::Pow { x, exponent } => Bounds::of(of(x).elements().map(|x| x.power(*exponent))),
            NnOp::BatchNorm { .. } => self.normalise()?,
            NnOp::Apply { x, func } => {
                let image = |x: Interval| {
                    let place = || format!("on all of [{:.4}, {:.4}]", x.low, x.high);
                    x.image(func).ok_or_else(|| self.undefined(&place()))
                };
                let elements: Vec<Interval> = of(x).elements().map(image).collect::<Result<_, _>>()?;
                Bounds::of(elements.into_iter())
            }
            NnOp::PRelu { x, slope } => {
                let (x, slope) = (self.broadcast(*x)?, self.broadcast(*slope)?);
                let image = |(x, slope): (Interval, Interval)| {
                    let above = Interval::new(x.low.max(0.0), x.high.max(0.0));
                    let below = Interval::new(x.low.min(0.0), x.high.min(0.0)).times(slope);
                    // One part is zero wherever the other is not, so the union holds both.
                    match (x.low >= 0.0, x.high <= 0.0) {
                        (true, _) => above,
                        (_, true) => below,
                        _ => above.union(below),
                    }
                };
                rounded(x.elements().zip(slope.elements()).map(image))
            }
            NnOp::Poly { x, poly } => {
                let hull = of(x).hull();
                let image = hull.image_of_polynomial(poly);
                let image = image.ok_or_else(|| self.undefined("as it is too large there"))?;
                Bounds::of(std::iter::repeat_n(image, self.node.ty.len()))
            }
            NnOp::Softmax { .. } => Bounds::of(std::iter::repeat_n(Interval::new(0.0, 1.0), self.node.ty.len())),
        })
    }

    fn undefined(&self, why: &str) -> PassError {
        PassError::BadInput(format!(
            "{}: `{}` is not defined {why}; narrow the input range (--input-range), or calibrate on samples (--calibrate)",
            self.node.origin,
            self.node.op.mnemonic()
        ))
    }

    /// An op whose elements depend on each operand's elements monotonely, on all of them in the same direction.
    fn monotone(&self) -> Result<Bounds, PassError> {
        let low = self.evaluate(&self.node.op, |operand| operand.low.clone())?;
        let high = self.evaluate(&self.node.op, |operand| operand.high.clone())?;
        let between = |(a, b): (&f64, &f64)| Interval::new(a.min(*b), a.max(*b));
        Ok(rounded(low.iter().zip(&high).map(between)))
    }

    /// A batch normalisation: affine in x, with constants for the rest.
    fn normalise(&self) -> Result<Bounds, PassError> {
        if self.operands()[1..].iter().any(|operand| operand.low != operand.high) {
            let message = "the parameters of a batch normalisation must be constants: export the model for inference";
            return Err(PassError::unsupported(&self.node.origin, message));
        }
        self.monotone()
    }

    /// An op that is linear in its first and in its second operand, plus a third: with centres x0 and radii r,
    /// |a b - a0 b0| <= ra (|b0| + rb) + |a0| rb.
    fn bilinear(&self) -> Result<Bounds, PassError> {
        let centre = self.evaluate(&self.node.op, Bounds::centre)?;
        let op = magnitudes_only(&self.node.op);
        let operands: Vec<&Bounds> = self.operands();
        let at = |index: usize| operands[index];
        let third = |of: fn(&Bounds) -> Vec<f64>| operands.get(2).map(|c| of(c));
        let mut radius = self.evaluate_on(
            &op,
            [at(0).radius(), at(1).magnitude()]
                .into_iter()
                .chain(third(Bounds::radius)),
        )?;
        if at(1).radius().iter().any(|r| *r > 0.0) {
            let centre_a = at(0).centre().iter().map(|x| x.abs()).collect();
            let nothing: fn(&Bounds) -> Vec<f64> = |c| vec![0.0; c.low.len()];
            let by_b = self.evaluate_on(&op, [centre_a, at(1).radius()].into_iter().chain(third(nothing)))?;
            radius.iter_mut().zip(by_b).for_each(|(radius, by_b)| *radius += by_b);
        }
        // Rounding is relative to the magnitudes that are summed, not to the sum.
        let magnitude = self.evaluate(&op, Bounds::magnitude)?;
        let element = |((centre, radius), magnitude): ((&f64, &f64), &f64)| {
            let room = ROUNDING * magnitude;
            Interval::new(centre - radius - room, centre + radius + room)
        };
        Ok(Bounds::of(centre.iter().zip(&radius).zip(&magnitude).map(element)))
    }

    fn operands(&self) -> Vec<&Bounds> {
        let operands = self.node.op.operands();
        operands.into_iter().map(|x| &self.bounds[x.index()]).collect()
    }

    /// The bounds of `x`, repeated to the shape of the op's result.
    fn broadcast(&self, x: ValueId) -> Result<Bounds, PassError> {
        let bounds = &self.bounds[x.index()];
        let shape = &self.node.ty.shape;
        if self.graph.ty(x).shape == *shape {
            return Ok(bounds.clone());
        }
        let repeat = |values: &[f64]| {
            let mut graph = Graph::new("repeat", ConstantPool::default());
            let a = input(&mut graph, 0, &self.graph.ty(x).shape)?;
            let b = input(&mut graph, 1, shape)?;
            evaluate_one(
                graph,
                NnOp::Add { a, b },
                [values.to_vec(), vec![0.0; self.node.ty.len()]],
            )
        };
        Ok(Bounds {
            low: repeat(&bounds.low)?,
            high: repeat(&bounds.high)?,
        })
    }

    /// The result of `op`, which has the operands of this one, on what `part` takes of their bounds.
    fn evaluate(&self, op: &NnOp, part: impl Fn(&Bounds) -> Vec<f64>) -> Result<Vec<f64>, IrError> {
        self.evaluate_on(op, self.operands().into_iter().map(part))
    }

    /// The result of `op`, which has the operands of this one, on `values` in their order.
    fn evaluate_on(&self, op: &NnOp, values: impl IntoIterator<Item = Vec<f64>>) -> Result<Vec<f64>, IrError> {
        let mut graph = Graph::new("step", ConstantPool::default());
        let mut inputs = Vec::new();
        for (index, operand) in op.operands().into_iter().enumerate() {
            inputs.push(input(&mut graph, index, &self.graph.ty(operand).shape)?);
        }
        let mut op = op.clone();
        let mut next = inputs.into_iter();
        op.map_operands(&mut |operand| next.next().unwrap_or(operand));
        evaluate_one(graph, op, values)
    }
}

/// Appends the input of an op's operand `index`.
fn input(graph: &mut Graph<Nn>, index: usize, shape: &[usize]) -> Result<ValueId, IrError> {
    let op = NnOp::Input {
        name: index.to_string(),
        shape: shape.to_vec(),
    };
    graph.push(op, Origin::default())
}

/// Appends `op` and evaluates it; `values` are those of the graph's inputs.
fn evaluate_one(
    mut graph: Graph<Nn>,
    op: NnOp,
    values: impl IntoIterator<Item = Vec<f64>>,
) -> Result<Vec<f64>, IrError> {
    let result = graph.push(op, Origin::default())?;
    graph.output("result", result);
    let named = |(index, values): (usize, Vec<f64>)| (index.to_string(), values);
    let inputs = values.into_iter().enumerate().map(named).collect();
    Ok(evaluate(&graph, &inputs)?.swap_remove(0))
}

/// The op on magnitudes: factors among its attributes without their signs.
fn magnitudes_only(op: &NnOp) -> NnOp {
    let mut op = op.clone();
    if let NnOp::Gemm { alpha, beta, .. } = &mut op {
        (*alpha, *beta) = (alpha.abs(), beta.abs());
    }
    op
}

fn rounded(elements: impl Iterator<Item = Interval>) -> Bounds {
    Bounds::of(elements.map(Interval::rounded_outwards))
}
