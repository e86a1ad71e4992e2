//! Ops that move elements and compute nothing. All are strided walks over a row-major tensor.
//!
//! Assumes: shapes were checked by the type rules.

use std::borrow::Cow;

/// Distance in memory between neighbours along every axis of a row-major tensor.
fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis] as isize;
    }
    strides
}

/// Visits `base + sum of index[axis] strides[axis]` for every index of `shape`, row-major.
fn walk(base: isize, strides: &[isize], shape: &[usize], visit: &mut impl FnMut(usize)) {
    match (strides, shape) {
        ([stride, strides @ ..], [extent, shape @ ..]) => {
            for i in 0..*extent {
                walk(base + i as isize * stride, strides, shape, visit);
            }
        }
        _ => visit(base as usize),
    }
}

/// Elements of `x` along a strided walk over `shape`.
fn gather(x: &[f64], base: isize, strides: &[isize], shape: &[usize]) -> Vec<f64> {
    let mut out = Vec::with_capacity(shape.iter().product());
    walk(base, strides, shape, &mut |offset| out.push(x[offset]));
    out
}

/// `x` repeated to shape `to` in the manner of numpy.
pub(super) fn broadcast<'a>(x: &'a [f64], from: &[usize], to: &[usize]) -> Cow<'a, [f64]> {
    if from == to {
        return Cow::Borrowed(x);
    }
    let mut strides = vec![0; to.len() - from.len()];
    strides.extend(
        row_major(from)
            .iter()
            .zip(from)
            .map(|(s, n)| if *n == 1 { 0 } else { *s }),
    );
    Cow::Owned(gather(x, 0, &strides, to))
}

pub(super) fn transpose(x: &[f64], shape: &[usize], perm: &[usize]) -> Vec<f64> {
    let strides = row_major(shape);
    let permuted: Vec<_> = perm.iter().map(|&axis| strides[axis]).collect();
    let extents: Vec<_> = perm.iter().map(|&axis| shape[axis]).collect();
    gather(x, 0, &permuted, &extents)
}

pub(super) fn slice(x: &[f64], shape: &[usize], starts: &[usize], steps: &[i64], lens: &[usize]) -> Vec<f64> {
    let strides = row_major(shape);
    let base = starts.iter().zip(&strides).map(|(start, s)| *start as isize * s).sum();
    let stepped: Vec<_> = strides.iter().zip(steps).map(|(s, step)| s * *step as isize).collect();
    gather(x, base, &stepped, lens)
}

pub(super) fn pad(x: &[f64], shape: &[usize], pads: &[(usize, usize)], value: f64) -> Vec<f64> {
    let padded: Vec<_> = shape
        .iter()
        .zip(pads)
        .map(|(n, (before, after))| n + before + after)
        .collect();
    let strides = row_major(&padded);
    let base = pads
        .iter()
        .zip(&strides)
        .map(|((before, _), s)| *before as isize * s)
        .sum();
    let mut out = vec![value; padded.iter().product()];
    let mut source = x.iter();
    walk(base, &strides, shape, &mut |offset| {
        if let Some(element) = source.next() {
            out[offset] = *element;
        }
    });
    out
}

pub(super) fn concat(parts: &[(&[f64], &[usize])], axis: usize) -> Vec<f64> {
    let n_outer: usize = parts[0].1[..axis].iter().product();
    let mut out = Vec::with_capacity(parts.iter().map(|(x, _)| x.len()).sum());
    for outer in 0..n_outer {
        for (x, shape) in parts {
            let run: usize = shape[axis..].iter().product();
            out.extend_from_slice(&x[outer * run..(outer + 1) * run]);
        }
    }
    out
}
