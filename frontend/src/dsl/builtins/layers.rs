//! Layers with weights: convolution, linear maps, batch normalisation.

use crate::dsl::call::Call;
use crate::dsl::diagnostics::Reported;
use aphelion_ir::nn::NnOp;

pub(super) fn conv(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, weight, bias, stride, pad, dilation, groups] = call.take();
    let value = call.tensor(&x)?;
    let n_spatial = call.shape(value).len().saturating_sub(2);
    Ok(NnOp::Conv {
        x: value,
        weight: call.tensor(&weight)?,
        bias: call.optional_tensor(&bias)?,
        strides: call.counts(&stride, n_spatial)?,
        pads: call.pads(&pad, n_spatial)?,
        dilations: call.counts(&dilation, n_spatial)?,
        groups: call.count(&groups)?,
    })
}

/// x W' + b with W [out, in]: a `gemm` for matrices, else a `matmul` by the transposed weight.
pub(super) fn linear(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, weight, bias] = call.take();
    let a = call.tensor(&x)?;
    let b = call.tensor(&weight)?;
    let c = call.optional_tensor(&bias)?;
    if call.shape(a).len() == 2 {
        return Ok(NnOp::Gemm {
            a,
            b,
            c,
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: true,
        });
    }
    let transposed = call.push(NnOp::Transpose { x: b, perm: vec![1, 0] })?;
    let product = NnOp::MatMul { a, b: transposed };
    match c {
        None => Ok(product),
        Some(c) => {
            let product = call.push(product)?;
            Ok(NnOp::Add { a: product, b: c })
        }
    }
}

pub(super) fn matmul(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [a, b] = call.take();
    Ok(NnOp::MatMul {
        a: call.tensor(&a)?,
        b: call.tensor(&b)?,
    })
}

pub(super) fn batch_norm(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, weight, bias, mean, var, epsilon] = call.take();
    let number = call.number(&epsilon)?;
    if number < 0.0 {
        return Err(call.wrong(&epsilon, "a number of at least 0"));
    }
    Ok(NnOp::BatchNorm {
        x: call.tensor(&x)?,
        scale: call.tensor(&weight)?,
        bias: call.tensor(&bias)?,
        mean: call.tensor(&mean)?,
        var: call.tensor(&var)?,
        epsilon: number,
    })
}
