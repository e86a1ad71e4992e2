//! Shape rules of `nn`.

use super::{Nn, NnOp, TensorType};
use crate::graph::{Graph, ValueId};
use crate::shape;

pub(super) fn infer(graph: &Graph<Nn>, op: &NnOp) -> Result<TensorType, String> {
    let of = |value: &ValueId| graph.ty(*value).shape.as_slice();
    let shape = match op {
        NnOp::Input { shape, .. } => {
            if shape.contains(&0) {
                return Err(format!("the input shape {shape:?} has an extent of 0"));
            }
            shape::bounded(shape.clone())?
        }
        NnOp::Constant { value } => graph
            .constants
            .get(value)
            .map_err(|error| error.to_string())?
            .shape()
            .to_vec(),
        NnOp::Conv {
            x,
            weight,
            bias,
            strides,
            pads,
            dilations,
            groups,
        } => {
            let out = shape::conv(of(x), of(weight), strides, pads, dilations, *groups)?;
            match bias {
                Some(bias) if of(bias) != [out[1]] => {
                    return Err(format!("expected a bias of shape [{}], found {:?}", out[1], of(bias)));
                }
                _ => out,
            }
        }
        NnOp::Gemm {
            a,
            b,
            c,
            trans_a,
            trans_b,
            ..
        } => {
            let matrix = |value: &ValueId, transposed: bool| match *of(value) {
                [rows, columns] if transposed => Ok([columns, rows]),
                [rows, columns] => Ok([rows, columns]),
                _ => Err(format!("gemm needs matrices, found shape {:?}", of(value))),
            };
            let out = shape::matmul(&matrix(a, *trans_a)?, &matrix(b, *trans_b)?)?;
            match c {
                Some(c) if !shape::broadcasts_to(of(c), &out) => {
                    return Err(format!("C of shape {:?} does not broadcast to {out:?}", of(c)));
                }
                _ => out,
            }
        }
        NnOp::MatMul { a, b } => shape::matmul(of(a), of(b))?,
        NnOp::Add { a, b } | NnOp::Sub { a, b } | NnOp::Mul { a, b } | NnOp::Div { a, b } => {
            shape::bounded(shape::broadcast(of(a), of(b))?)?
        }
        NnOp::Pow { exponent: 0, .. } => return Err("the exponent must be at least 1".into()),
        NnOp::Neg { x } | NnOp::Pow { x, .. } | NnOp::Apply { x, .. } | NnOp::Poly { x, .. } => of(x).to_vec(),
        NnOp::BatchNorm {
            x,
            scale,
            bias,
            mean,
            var,
            ..
        } => {
            let Some(&channels) = of(x).get(1) else {
                return Err(format!(
                    "batch normalisation needs a channel dimension, found shape {:?}",
                    of(x)
                ));
            };
            if let Some(value) = [scale, bias, mean, var]
                .into_iter()
                .find(|value| of(value) != [channels])
            {
                return Err(format!(
                    "expected parameters of shape [{channels}], found {:?}",
                    of(value)
                ));
            }
            of(x).to_vec()
        }
        NnOp::PRelu { x, slope } => {
            if !shape::broadcasts_to(of(slope), of(x)) {
                return Err(format!(
                    "slope of shape {:?} does not broadcast to {:?}",
                    of(slope),
                    of(x)
                ));
            }
            of(x).to_vec()
        }
        NnOp::AvgPool { x, window } | NnOp::MaxPool { x, window } => shape::pool(of(x), window)?,
        NnOp::ReduceMean { x, axes, keep_dims } | NnOp::ReduceSum { x, axes, keep_dims } => {
            shape::reduce(of(x), axes, *keep_dims)?
        }
        NnOp::Reshape { x, shape } => shape::reshape(of(x), shape)?,
        NnOp::Transpose { x, perm } => shape::transpose(of(x), perm)?,
        NnOp::Pad { x, pads, .. } => shape::pad(of(x), pads)?,
        NnOp::Concat { xs, axis } => {
            let first = of(xs.first().ok_or("nothing to concatenate")?);
            let mut out = first.to_vec();
            if *axis >= out.len() {
                return Err(format!("axis {axis} is outside of shape {first:?}"));
            }
            for x in &xs[1..] {
                let mut other = of(x).to_vec();
                if other.len() != out.len() {
                    return Err(format!("shapes {first:?} and {other:?} differ in rank"));
                }
                out[*axis] += std::mem::replace(&mut other[*axis], first[*axis]);
                if other != first {
                    return Err(format!(
                        "shapes {first:?} and {:?} differ outside of axis {axis}",
                        of(x)
                    ));
                }
            }
            shape::bounded(out)?
        }
        NnOp::Slice { x, starts, steps, lens } => shape::slice(of(x), starts, steps, lens)?,
        NnOp::Softmax { x, axis } => {
            if *axis >= of(x).len() {
                return Err(format!("axis {axis} is outside of shape {:?}", of(x)));
            }
            of(x).to_vec()
        }
    };
    Ok(TensorType { shape })
}
