//! Layers that move elements about.

use crate::dsl::call::Call;
use crate::dsl::diagnostics::Reported;
use aphelion_ir::nn::NnOp;

/// A matrix: the extents before `axis` by those from it on.
pub(super) fn flatten(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, axis] = call.take();
    let x = call.tensor(&x)?;
    let shape = call.shape(x);
    let axis = call.axis(&axis, shape.len())?;
    Ok(NnOp::Reshape {
        x,
        shape: vec![shape[..axis].iter().product(), shape[axis..].iter().product()],
    })
}

/// Another shape; one extent may be -1 and follows from the others.
pub(super) fn reshape(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, given] = call.take();
    let x = call.tensor(&x)?;
    let n_elements: usize = call.shape(x).iter().product();
    let wanted = call.integers(&given)?;
    let n_unknown = wanted.iter().filter(|extent| **extent == -1).count();
    if n_unknown > 1 || wanted.iter().any(|extent| *extent < -1 || *extent == 0) {
        return Err(call.wrong(&given, "a list of extents of at least 1, of which one may be -1"));
    }
    let known = wanted
        .iter()
        .filter(|extent| **extent > 0)
        .try_fold(1usize, |product, &extent| product.checked_mul(extent as usize));
    let Some(known) = known.filter(|known| n_unknown == 0 || n_elements.is_multiple_of(*known)) else {
        return Err(call.wrong(&given, format!("a shape of {n_elements} elements")));
    };
    let extent = |extent: &i64| usize::try_from(*extent).unwrap_or(n_elements / known);
    Ok(NnOp::Reshape {
        x,
        shape: wanted.iter().map(extent).collect(),
    })
}

/// Axes in the order of `perm`, reversed when it is left out.
pub(super) fn transpose(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, perm] = call.take();
    let x = call.tensor(&x)?;
    let rank = call.shape(x).len();
    if !Call::is_given(&perm) {
        return Ok(NnOp::Transpose {
            x,
            perm: (0..rank).rev().collect(),
        });
    }
    let axes = call.integers(&perm)?;
    let axes: Option<Vec<usize>> = axes.iter().map(|axis| usize::try_from(*axis).ok()).collect();
    match axes {
        Some(perm) => Ok(NnOp::Transpose { x, perm }),
        None => Err(call.wrong(&perm, "a list of axes, counted from 0")),
    }
}

pub(super) fn concat(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [given, axis] = call.take();
    let xs = call.tensors(&given)?;
    let Some(&first) = xs.first() else {
        return Err(call.wrong(&given, "a list of at least one tensor"));
    };
    let rank = call.shape(first).len();
    let axis = call.axis(&axis, rank)?;
    Ok(NnOp::Concat { xs, axis })
}

pub(super) fn pad(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, pads, value] = call.take();
    let x = call.tensor(&x)?;
    let rank = call.shape(x).len();
    let pads = call.pads(&pads, rank)?;
    let value = call.number(&value)?;
    Ok(NnOp::Pad { x, pads, value })
}

/// Elements `start`, `start + step`, .. before `end` of one axis; negative positions count from the end of the axis.
pub(super) fn slice(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, axis, first, last, by] = call.take();
    let x = call.tensor(&x)?;
    let shape = call.shape(x);
    let axis = call.axis(&axis, shape.len())?;
    let extent = shape[axis];
    let position = |given: i64| if given < 0 { given + extent as i64 } else { given };
    let start = position(call.integer(&first)?);
    let Some(start) = usize::try_from(start).ok().filter(|start| *start < extent) else {
        return Err(call.wrong(
            &first,
            format!("a position between -{extent} and {}", extent.saturating_sub(1)),
        ));
    };
    let end = match call.optional_integer(&last)? {
        Some(end) => position(end),
        None => extent as i64,
    };
    let Some(end) = usize::try_from(end)
        .ok()
        .filter(|end| (start + 1..=extent).contains(end))
    else {
        return Err(call.wrong(&last, format!("a position after {start} and not beyond {extent}")));
    };
    let step = call.count(&by)?;
    if step == 0 || i64::try_from(step).is_err() {
        return Err(call.wrong(&by, "an integer of at least 1"));
    }
    let (mut starts, mut steps, mut lens) = (vec![0; shape.len()], vec![1; shape.len()], shape);
    starts[axis] = start;
    steps[axis] = step as i64;
    lens[axis] = (end - start).div_ceil(step);
    Ok(NnOp::Slice { x, starts, steps, lens })
}
