//! Matrix products.

use super::layout;
use rayon::prelude::*;

/// Products below this many multiplications are not worth a second thread.
const PARALLEL_WORK: usize = 1 << 16;

/// `A' B'` for matrices with their shapes, transposed where the flag says so.
pub(super) fn gemm(
    (a, a_shape, trans_a): (&[f64], &[usize], bool),
    (b, b_shape, trans_b): (&[f64], &[usize], bool),
) -> Vec<f64> {
    if trans_a {
        let transposed = layout::transpose(a, a_shape, &[1, 0]);
        return gemm((&transposed, &[a_shape[1], a_shape[0]], false), (b, b_shape, trans_b));
    }
    let n_columns = if trans_b { b_shape[0] } else { b_shape[1] };
    let mut out = vec![0.0; a_shape[0] * n_columns];
    if trans_b {
        product_transposed(a, b, a_shape[1], n_columns, &mut out);
    } else {
        product(a, b, a_shape[1], n_columns, &mut out);
    }
    out
}

/// Matrix product with leading dimensions broadcast to those of `out_shape`.
pub(super) fn matmul(
    (a, a_shape): (&[f64], &[usize]),
    (b, b_shape): (&[f64], &[usize]),
    out_shape: &[usize],
) -> Vec<f64> {
    let leading = &out_shape[..out_shape.len() - 2];
    let expand = |shape: &[usize]| [leading, &shape[shape.len() - 2..]].concat();
    let (a_full, b_full) = (expand(a_shape), expand(b_shape));
    let (a, b) = (
        layout::broadcast(a, a_shape, &a_full),
        layout::broadcast(b, b_shape, &b_full),
    );
    let (rows, inner) = (a_full[leading.len()], a_full[leading.len() + 1]);
    let columns = b_full[leading.len() + 1];
    let mut out = vec![0.0; out_shape.iter().product()];
    for matrix in 0..leading.iter().product() {
        product(
            &a[matrix * rows * inner..][..rows * inner],
            &b[matrix * inner * columns..][..inner * columns],
            inner,
            columns,
            &mut out[matrix * rows * columns..][..rows * columns],
        );
    }
    out
}

/// `out = A B` with A [_, inner] and B [inner, columns]; `out` comes zeroed.
fn product(a: &[f64], b: &[f64], inner: usize, columns: usize, out: &mut [f64]) {
    if inner == 0 || columns == 0 {
        return;
    }
    let row = |(out, a): (&mut [f64], &[f64])| {
        for (&a, b) in a.iter().zip(b.chunks_exact(columns)) {
            for (out, &b) in out.iter_mut().zip(b) {
                *out += a * b;
            }
        }
    };
    if a.len() * columns < PARALLEL_WORK {
        out.chunks_exact_mut(columns).zip(a.chunks_exact(inner)).for_each(row);
    } else {
        (out.par_chunks_exact_mut(columns).zip(a.par_chunks_exact(inner))).for_each(row);
    }
}

/// `out = A B'` with A [_, inner] and B [columns, inner].
fn product_transposed(a: &[f64], b: &[f64], inner: usize, columns: usize, out: &mut [f64]) {
    if inner == 0 {
        return;
    }
    for (out, a) in out.chunks_exact_mut(columns.max(1)).zip(a.chunks_exact(inner)) {
        if inner * columns < PARALLEL_WORK {
            out.iter_mut()
                .zip(b.chunks_exact(inner))
                .for_each(|(out, b)| *out = dot(a, b));
        } else {
            (out.par_iter_mut().zip(b.par_chunks_exact(inner))).for_each(|(out, b)| *out = dot(a, b));
        }
    }
}

/// Eight interleaved sums, so that the additions do not wait for each other.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f64 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(a, b)| a * b)
        .sum();
    let mut sums = [0.0; 8];
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + tail
}
