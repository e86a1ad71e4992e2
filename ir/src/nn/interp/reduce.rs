//! Reductions over whole axes, and softmax.

/// Splits `shape` at `axis` into the number of elements before, along and after it.
fn split(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    let product = |extents: &[usize]| extents.iter().product();
    (product(&shape[..axis]), shape[axis], product(&shape[axis + 1..]))
}

pub(super) fn sum(x: &[f64], shape: &[usize], axes: &[usize]) -> Vec<f64> {
    let (mut x, mut shape) = (x.to_vec(), shape.to_vec());
    for &axis in axes {
        let (n_outer, extent, n_inner) = split(&shape, axis);
        let mut sums = vec![0.0; n_outer * n_inner];
        for (row, x) in x
            .chunks_exact(n_inner.max(1))
            .enumerate()
            .map(|(i, x)| (i / extent.max(1), x))
        {
            sums[row * n_inner..][..n_inner]
                .iter_mut()
                .zip(x)
                .for_each(|(sum, x)| *sum += x);
        }
        shape[axis] = 1;
        x = sums;
    }
    x
}

pub(super) fn mean(x: &[f64], shape: &[usize], axes: &[usize]) -> Vec<f64> {
    let sums = sum(x, shape, axes);
    let count = x.len() as f64 / sums.len() as f64;
    sums.into_iter().map(|sum| sum / count).collect()
}

/// `exp(x) / sum of exp(x)` along `axis`, shifted by the maximum so that nothing overflows.
pub(super) fn softmax(x: &[f64], shape: &[usize], axis: usize) -> Vec<f64> {
    let (n_outer, extent, n_inner) = split(shape, axis);
    let mut out = x.to_vec();
    for (outer, inner) in (0..n_outer).flat_map(|outer| (0..n_inner).map(move |inner| (outer, inner))) {
        let index = |i: usize| (outer * extent + i) * n_inner + inner;
        let max = (0..extent).map(|i| x[index(i)]).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = (0..extent).map(|i| (x[index(i)] - max).exp()).sum();
        (0..extent).for_each(|i| out[index(i)] = (x[index(i)] - max).exp() / total);
    }
    out
}
