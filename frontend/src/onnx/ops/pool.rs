//! Pools.

use super::window::{Window, extents};
use crate::onnx::node::Node;
use crate::onnx::value::Value;
use aphelion_ir::nn::{NnOp, Pool};

/// The pool of `node`, padded for `ceil_mode`. Padding that `ceil_mode` adds at the end is in `pads`, and in the
/// second result by itself.
fn pool(node: &Node<'_>) -> Result<(Pool, Vec<usize>), String> {
    let input = node.shape(0)?;
    let kernel = extents("kernel_shape", node.ints_attr("kernel_shape")?.unwrap_or(&[]), 1)?;
    if kernel.is_empty() || input.len() != kernel.len() + 2 {
        return Err(format!("a window of extents {kernel:?} does not fit input {input:?}"));
    }
    let mut window = Window::new(node, &input[2..], &kernel)?;
    if window.dilations.iter().any(|dilation| *dilation != 1) {
        return Err("dilated pools are not supported".into());
    }
    let mut added = vec![0; kernel.len()];
    if node.int("ceil_mode", 0)? != 0 {
        for axis in 0..kernel.len() {
            let (before, after) = window.pads[axis];
            added[axis] = ceil_padding(input[axis + 2], kernel[axis], window.strides[axis], (before, after));
            window.pads[axis].1 += added[axis];
        }
    }
    let pool = Pool {
        kernel,
        strides: window.strides,
        pads: window.pads,
        count_include_pad: false,
    };
    Ok((pool, added))
}

/// What `ceil_mode` adds at the end: room for one more position, if that begins inside of the input or the padding
/// before it.
fn ceil_padding(extent: usize, kernel: usize, stride: usize, (before, after): (usize, usize)) -> usize {
    let padded = extent + before + after;
    let Some(room) = padded.checked_sub(kernel) else {
        return 0;
    };
    let next = (room / stride + 1) * stride;
    if room.is_multiple_of(stride) || next >= extent + before {
        0
    } else {
        next - room
    }
}

pub(super) fn average_pool(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (mut window, added) = pool(node)?;
    let mut x = node.value(0)?;
    let is_padded = |window: &Pool| {
        window
            .pads
            .iter()
            .zip(&added)
            .any(|((before, after), added)| before + after > *added)
    };
    if node.int("count_include_pad", 0)? != 0 && is_padded(&window) {
        if added.iter().all(|added| *added == 0) {
            window.count_include_pad = true;
        } else {
            // Padding counts, what ceil_mode adds to it does not: the former becomes an op of its own.
            let explicit = window
                .pads
                .iter()
                .zip(&added)
                .map(|((before, after), added)| (*before, after - added));
            let pads = [(0, 0); 2].into_iter().chain(explicit).collect();
            x = node.push(NnOp::Pad { x, pads, value: 0.0 })?;
            window.pads = added.iter().map(|added| (0, *added)).collect();
        }
    }
    node.emit(NnOp::AvgPool { x, window })
}

pub(super) fn max_pool(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let (window, _) = pool(node)?;
    let x = node.value(0)?;
    node.emit(NnOp::MaxPool { x, window })
}

pub(super) fn global_average_pool(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let rank = node.shape(0)?.len();
    if rank < 3 {
        return Err("it needs at least one spatial dimension".into());
    }
    let x = node.value(0)?;
    node.emit(NnOp::ReduceMean {
        x,
        axes: (2..rank).collect(),
        keep_dims: true,
    })
}

pub(super) fn global_max_pool(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let shape = node.shape(0)?;
    let Some(kernel) = shape.get(2..).filter(|spatial| !spatial.is_empty()) else {
        return Err("it needs at least one spatial dimension".into());
    };
    let x = node.value(0)?;
    let window = Pool {
        kernel: kernel.to_vec(),
        strides: vec![1; kernel.len()],
        pads: vec![(0, 0); kernel.len()],
        count_include_pad: false,
    };
    node.emit(NnOp::MaxPool { x, window })
}
