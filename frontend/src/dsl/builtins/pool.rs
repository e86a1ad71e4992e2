//! Pools and reductions.

use crate::dsl::call::{Call, Given};
use crate::dsl::diagnostics::Reported;
use aphelion_ir::ValueId;
use aphelion_ir::nn::{NnOp, Pool};

pub(super) fn avg_pool(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, size, stride, pad, count_include_pad] = call.take();
    let (x, mut window) = window(call, &x, &size, &stride, &pad)?;
    window.count_include_pad = call.switch(&count_include_pad)?;
    Ok(NnOp::AvgPool { x, window })
}

pub(super) fn max_pool(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, size, stride, pad] = call.take();
    let (x, window) = window(call, &x, &size, &stride, &pad)?;
    Ok(NnOp::MaxPool { x, window })
}

/// The window of a pool; it moves by its own size unless a stride is given.
fn window(
    call: &mut Call<'_, '_, '_>,
    x: &Given,
    size: &Given,
    stride: &Given,
    pad: &Given,
) -> Result<(ValueId, Pool), Reported> {
    let value = call.tensor(x)?;
    let n_spatial = call.shape(value).len().saturating_sub(2);
    let kernel = call.counts(size, n_spatial)?;
    let strides = if Call::is_given(stride) {
        call.counts(stride, n_spatial)?
    } else {
        kernel.clone()
    };
    let pads = call.pads(pad, n_spatial)?;
    let window = Pool {
        kernel,
        strides,
        pads,
        count_include_pad: false,
    };
    Ok((value, window))
}

pub(super) fn global_avg_pool(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [given] = call.take();
    let x = call.tensor(&given)?;
    let rank = call.shape(x).len();
    if rank < 3 {
        return Err(call.wrong(&given, "a tensor [1, channels, spatial ..]"));
    }
    Ok(NnOp::ReduceMean {
        x,
        axes: (2..rank).collect(),
        keep_dims: true,
    })
}

pub(super) fn mean(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let (x, axes, keep_dims) = reduction(call)?;
    Ok(NnOp::ReduceMean { x, axes, keep_dims })
}

pub(super) fn sum(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let (x, axes, keep_dims) = reduction(call)?;
    Ok(NnOp::ReduceSum { x, axes, keep_dims })
}

fn reduction(call: &mut Call<'_, '_, '_>) -> Result<(ValueId, Vec<usize>, bool), Reported> {
    let [x, axes, keep_dims] = call.take();
    let x = call.tensor(&x)?;
    let rank = call.shape(x).len();
    Ok((x, call.axes(&axes, rank)?, call.switch(&keep_dims)?))
}
