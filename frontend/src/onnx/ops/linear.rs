//! Matrix products and batch normalisation.

use crate::onnx::node::Node;
use crate::onnx::value::Value;
use aphelion_ir::ValueId;
use aphelion_ir::nn::NnOp;

pub(super) fn gemm(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (alpha, beta) = (node.float("alpha", 1.0)?, node.float("beta", 1.0)?);
    let (trans_a, trans_b) = (node.int("transA", 0)? != 0, node.int("transB", 0)? != 0);
    let (a, b, c) = (node.value(0)?, node.value(1)?, node.optional_value(2)?);
    node.emit(NnOp::Gemm {
        a,
        b,
        c,
        alpha,
        beta,
        trans_a,
        trans_b,
    })
}

/// As numpy's matmul: a vector is a row on the left, a column on the right, and that dimension goes away again.
pub(super) fn matmul(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (a_shape, b_shape) = (node.shape(0)?, node.shape(1)?);
    let (mut a, mut b) = (node.value(0)?, node.value(1)?);
    if let [n] = *a_shape {
        a = reshape(node, a, vec![1, n])?;
    }
    if let [n] = *b_shape {
        b = reshape(node, b, vec![n, 1])?;
    }
    let product = node.push(NnOp::MatMul { a, b })?;
    let mut shape = node.shape_of(product);
    if b_shape.len() == 1 {
        shape.pop();
    }
    if a_shape.len() == 1 {
        shape.remove(shape.len() - if b_shape.len() == 1 { 1 } else { 2 });
    }
    Ok(vec![Value::Node(reshape(node, product, shape)?)])
}

fn reshape(node: &mut Node<'_>, x: ValueId, shape: Vec<usize>) -> Result<ValueId, String> {
    if node.shape_of(x) == shape {
        Ok(x)
    } else {
        node.push(NnOp::Reshape { x, shape })
    }
}

pub(super) fn batch_norm(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    if node.int("training_mode", 0)? != 0 {
        return Err("training mode is not supported; export the model for inference".into());
    }
    if node.int("spatial", 1)? != 1 {
        return Err("statistics per activation (`spatial` = 0) are not supported".into());
    }
    let epsilon = node.float("epsilon", 1e-5)?;
    let [x, scale, bias, mean, var] = [
        node.value(0)?,
        node.value(1)?,
        node.value(2)?,
        node.value(3)?,
        node.value(4)?,
    ];
    node.emit(NnOp::BatchNorm {
        x,
        scale,
        bias,
        mean,
        var,
        epsilon,
    })
}
