//! Pooling. Windows are boxes, so sums and maxima go axis by axis.

use crate::nn::Pool;

/// One spatial axis of a window, and what lies around it.
struct Axis {
    n_outer: usize,
    extent: usize,
    n_inner: usize,
    positions: Vec<std::ops::Range<usize>>,
}

/// The axes of `window` over a tensor of `shape`, in order; each sees the earlier ones already pooled.
fn axes(shape: &[usize], window: &Pool) -> Vec<Axis> {
    let mut shape = shape.to_vec();
    let mut axes = Vec::with_capacity(window.kernel.len());
    for (spatial, &kernel) in window.kernel.iter().enumerate() {
        let (axis, stride, (before, after)) = (spatial + 2, window.strides[spatial], window.pads[spatial]);
        let extent = shape[axis];
        let n_positions = (extent + before + after - kernel) / stride + 1;
        let position = |o: usize| (o * stride).saturating_sub(before)..(o * stride + kernel - before).min(extent);
        axes.push(Axis {
            n_outer: shape[..axis].iter().product(),
            extent,
            n_inner: shape[axis + 1..].iter().product(),
            positions: (0..n_positions).map(position).collect(),
        });
        shape[axis] = n_positions;
    }
    axes
}

/// Combines the elements of every window along one axis, starting from `start`.
fn along(x: &[f64], axis: &Axis, start: f64, combine: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let mut out = vec![start; axis.n_outer * axis.positions.len() * axis.n_inner];
    let mut rows = out.chunks_exact_mut(axis.n_inner.max(1));
    for x in x.chunks_exact((axis.extent * axis.n_inner).max(1)) {
        for (position, row) in axis.positions.iter().zip(&mut rows) {
            for x in x[position.start * axis.n_inner..position.end * axis.n_inner].chunks_exact(axis.n_inner.max(1)) {
                row.iter_mut().zip(x).for_each(|(out, x)| *out = combine(*out, *x));
            }
        }
    }
    out
}

/// Mean over every window; padding counts as elements of value 0 when `count_include_pad`, else not at all.
pub(super) fn average(x: &[f64], shape: &[usize], window: &Pool) -> Vec<f64> {
    let mut sums = x.to_vec();
    for (axis, kernel) in axes(shape, window).iter().zip(&window.kernel) {
        sums = along(&sums, axis, 0.0, |sum, x| sum + x);
        let mut rows = sums.chunks_exact_mut(axis.n_inner.max(1));
        for _ in 0..axis.n_outer {
            for (position, row) in axis.positions.iter().zip(&mut rows) {
                let count = if window.count_include_pad {
                    *kernel
                } else {
                    position.len()
                };
                row.iter_mut().for_each(|sum| *sum /= count as f64);
            }
        }
    }
    sums
}

/// Maximum over every window; padding never wins.
pub(super) fn maximum(x: &[f64], shape: &[usize], window: &Pool) -> Vec<f64> {
    let fold = |x: Vec<f64>, axis: &Axis| along(&x, axis, f64::NEG_INFINITY, f64::max);
    axes(shape, window).iter().fold(x.to_vec(), fold)
}
