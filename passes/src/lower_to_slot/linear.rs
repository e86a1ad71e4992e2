//! Linear `nn` ops as linear maps, with the constant that they add.

use super::form::Form;
use crate::error::PassError;
use aphelion_ir::nn::{Nn, NnOp};
use aphelion_ir::slot::{LinearMap, SparseMatrix};
use aphelion_ir::{ConstRef, ConstantPool, Graph, Origin, Tensor, ValueId};

/// What a linear op computes: `map(x) + bias`.
pub struct Linear {
    /// The operand.
    pub x: ValueId,
    /// The map.
    pub map: LinearMap,
    /// A constant of the map's output shape.
    pub bias: Option<Form>,
}

/// `op` as a linear map of one operand. None when it is not linear, or its weights are not constant.
pub fn linear_map(
    op: &NnOp,
    graph: &Graph<Nn>,
    forms: &[Option<Form>],
    constants: &mut ConstantPool,
    origin: &Origin,
) -> Result<Option<Linear>, PassError> {
    let shape = |x: &ValueId| graph.ty(*x).shape.clone();
    let constant = |x: &ValueId| forms[x.index()].as_ref().and_then(Form::as_constant);
    let only = |x: &ValueId, map: LinearMap| Ok(Some(Linear { x: *x, map, bias: None }));
    match op {
        NnOp::Conv {
            x,
            weight,
            bias,
            strides,
            pads,
            dilations,
            groups,
        } => {
            let Some(weight) = constant(weight) else {
                return Ok(None);
            };
            let map = LinearMap::Conv {
                input: shape(x),
                weight: constants.insert(&weight.name.0, weight.tensor.clone()),
                strides: strides.clone(),
                pads: pads.clone(),
                dilations: dilations.clone(),
                groups: *groups,
            };
            let bias = match bias {
                Some(bias) => match constant(bias) {
                    Some(bias) => {
                        let mut per_channel = vec![1; shape(x).len() - 1];
                        per_channel[0] = bias.tensor.len();
                        let tensor = bias.tensor.reshaped(per_channel)?;
                        let output = super::form::shapes(&map, constants, origin)?.1;
                        Some(constant_form(&bias.name, tensor, output, origin))
                    }
                    None => return Ok(None),
                },
                None => None,
            };
            Ok(Some(Linear { x: *x, map, bias }))
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
            let Some(mut linear) = matrix_product(*a, *b, (*trans_a, *trans_b), graph, &constant, constants) else {
                return Ok(None);
            };
            let (_, output) = super::form::shapes(&linear.map, constants, origin)?;
            let factor = |by: f64| LinearMap::Factor {
                shape: output.clone(),
                by,
            };
            if *alpha != 1.0 {
                linear.map = super::form::compose(&linear.map, &factor(*alpha));
            }
            if let Some(c) = c {
                let Some(c) = constant(c) else {
                    return Ok(None);
                };
                let bias = constant_form(&c.name, c.tensor.clone(), output.clone(), origin);
                linear.bias = Some(match *beta {
                    1.0 => bias,
                    beta => bias.then(&factor(beta), constants, origin)?,
                });
            }
            Ok(Some(linear))
        }
        NnOp::MatMul { a, b } => Ok(matrix_product(*a, *b, (false, false), graph, &constant, constants)),
        NnOp::Neg { x } => only(
            x,
            LinearMap::Factor {
                shape: shape(x),
                by: -1.0,
            },
        ),
        NnOp::Div { a, b } => {
            let Some(divisor) = constant(b) else {
                return Ok(None);
            };
            let inverse: Vec<f64> = divisor.tensor.to_vec()?.iter().map(|value| 1.0 / value).collect();
            if inverse.iter().any(|value| !value.is_finite()) {
                return Err(PassError::unsupported(origin, "the divisor is zero"));
            }
            let inverse = Tensor::from_f64(divisor.tensor.shape().to_vec(), inverse);
            let shape = shape(a);
            if !aphelion_ir::shape::broadcasts_to(inverse.shape(), &shape) {
                let message = "a quotient larger than its dividend is not supported; multiply by the inverse";
                return Err(PassError::unsupported(origin, message));
            }
            only(a, scale_by(&inverse, &divisor.name, &shape, constants)?)
        }
        NnOp::BatchNorm {
            x,
            scale,
            bias,
            mean,
            var,
            epsilon,
        } => {
            let parameters = [scale, bias, mean, var].map(constant);
            let [Some(scale), Some(bias), Some(mean), Some(var)] = parameters else {
                return Ok(None);
            };
            let mut per_channel = vec![1; shape(x).len() - 1];
            per_channel[0] = scale.tensor.len();
            let (scales, biases) = (scale.tensor.to_vec()?, bias.tensor.to_vec()?);
            let (means, vars) = (mean.tensor.to_vec()?, var.tensor.to_vec()?);
            let slope: Vec<f64> = scales
                .iter()
                .zip(vars)
                .map(|(s, var)| s / (var + epsilon).sqrt())
                .collect();
            let shift = (0..slope.len()).map(|c| biases[c] - means[c] * slope[c]).collect();
            let map = scale_by(
                &Tensor::from_f64(per_channel.clone(), slope),
                &scale.name,
                &shape(x),
                constants,
            )?;
            let bias = constant_form(&bias.name, Tensor::from_f64(per_channel, shift), shape(x), origin);
            Ok(Some(Linear {
                x: *x,
                map,
                bias: Some(bias),
            }))
        }
        NnOp::AvgPool { x, window } => only(
            x,
            LinearMap::AvgPool {
                input: shape(x),
                window: window.clone(),
            },
        ),
        NnOp::ReduceMean { x, axes, keep_dims } | NnOp::ReduceSum { x, axes, keep_dims } => only(
            x,
            LinearMap::Reduce {
                input: shape(x),
                axes: axes.clone(),
                keep_dims: *keep_dims,
                mean: matches!(op, NnOp::ReduceMean { .. }),
            },
        ),
        NnOp::Reshape { x, shape: output } => only(
            x,
            LinearMap::Reshape {
                input: shape(x),
                output: output.clone(),
            },
        ),
        NnOp::Transpose { x, perm } => only(
            x,
            LinearMap::Transpose {
                input: shape(x),
                perm: perm.clone(),
            },
        ),
        NnOp::Slice { x, starts, steps, lens } => only(
            x,
            LinearMap::Slice {
                input: shape(x),
                starts: starts.clone(),
                steps: steps.clone(),
                lens: lens.clone(),
            },
        ),
        NnOp::Pad { x, pads, value } => {
            let map = LinearMap::Pad {
                input: shape(x),
                pads: pads.clone(),
            };
            let bias = if *value == 0.0 {
                None
            } else {
                let matrix = SparseMatrix::new(&map, constants)?;
                let inside = matrix.apply(&vec![*value; graph.ty(*x).len()]);
                let border = inside.iter().map(|inside| value - inside).collect();
                let tensor = Tensor::from_f64(matrix.output.clone(), border);
                Some(constant_form(&ConstRef::new("border"), tensor, matrix.output, origin))
            };
            Ok(Some(Linear { x: *x, map, bias }))
        }
        NnOp::Input { .. }
        | NnOp::Constant { .. }
        | NnOp::Add { .. }
        | NnOp::Sub { .. }
        | NnOp::Mul { .. }
        | NnOp::Pow { .. }
        | NnOp::Apply { .. }
        | NnOp::PRelu { .. }
        | NnOp::Poly { .. }
        | NnOp::MaxPool { .. }
        | NnOp::Concat { .. }
        | NnOp::Softmax { .. } => Ok(None),
    }
}

/// The map that multiplies by a constant.
pub fn scale_by(
    tensor: &Tensor,
    name: &ConstRef,
    shape: &[usize],
    constants: &mut ConstantPool,
) -> Result<LinearMap, PassError> {
    let shape = shape.to_vec();
    if tensor.len() == 1 {
        let by = tensor.to_vec()?[0];
        return Ok(LinearMap::Factor { shape, by });
    }
    let by = constants.insert(&name.0, tensor.clone());
    Ok(LinearMap::Diagonal { shape, by })
}

fn constant_form(name: &ConstRef, tensor: Tensor, shape: Vec<usize>, origin: &Origin) -> Form {
    Form {
        shape,
        ..Form::constant(name.clone(), tensor, origin)
    }
}

/// A matrix product one of whose factors is a constant of rank 2 (or has leading extents of 1).
fn matrix_product<'a>(
    a: ValueId,
    b: ValueId,
    (trans_a, trans_b): (bool, bool),
    graph: &Graph<Nn>,
    constant: &dyn Fn(&ValueId) -> Option<&'a super::form::Constant>,
    constants: &mut ConstantPool,
) -> Option<Linear> {
    let mut weight = |value: &super::form::Constant| {
        let shape = value.tensor.shape();
        let (leading, matrix) = shape.split_at(shape.len().checked_sub(2)?);
        if leading.iter().any(|extent| *extent != 1) {
            return None;
        }
        let tensor = value.tensor.reshaped(matrix.to_vec()).ok()?;
        Some(constants.insert(&value.name.0, tensor))
    };
    let swap = |shape: &[usize]| {
        let mut perm: Vec<usize> = (0..shape.len()).collect();
        perm.swap(shape.len() - 1, shape.len() - 2);
        LinearMap::Transpose {
            input: shape.to_vec(),
            perm,
        }
    };
    let swapped = |mut shape: Vec<usize>| {
        let rank = shape.len();
        shape.swap(rank - 1, rank - 2);
        shape
    };
    // x W with W constant acts on the last axis; W x is (x' W')'.
    let (x, maps) = if let Some(value) = constant(&b) {
        let shape = graph.ty(a).shape.clone();
        let mut maps = Vec::new();
        let input = if trans_a {
            maps.push(swap(&shape));
            swapped(shape)
        } else {
            shape
        };
        maps.push(LinearMap::Dense {
            input,
            weight: weight(value)?,
            transposed: trans_b,
        });
        (a, maps)
    } else {
        let value = constant(&a)?;
        let shape = graph.ty(b).shape.clone();
        let mut maps = Vec::new();
        let input = if trans_b {
            shape
        } else {
            maps.push(swap(&shape));
            swapped(shape)
        };
        let weight = weight(value)?;
        let dense = LinearMap::Dense {
            input,
            weight,
            transposed: !trans_a,
        };
        let (_, output) = dense.shapes(constants).ok()?;
        maps.extend([dense, swap(&output)]);
        (b, maps)
    };
    let map = maps.into_iter().reduce(|map, next| super::form::compose(&map, &next))?;
    Some(Linear { x, map, bias: None })
}
