//! Shape rules that `nn` ops and linear maps share. Shapes include the batch dimension of extent 1.
//!
//! Ensures: no rule overflows or panics, whatever the attributes.

use crate::nn::Pool;

/// No tensor may have more elements than this (2^32, what layouts can address).
const MAX_ELEMENTS: u128 = 1 << 32;

/// Whether `from` broadcasts to `to` in the manner of numpy.
pub fn broadcasts_to(from: &[usize], to: &[usize]) -> bool {
    from.len() <= to.len()
        && from
            .iter()
            .rev()
            .zip(to.iter().rev())
            .all(|(from, to)| from == to || *from == 1)
}

/// Shape of an element-wise op on `a` and `b` under numpy broadcasting.
///
/// # Errors
/// When two extents differ and neither is 1.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let extent = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|axis| match (extent(a, axis), extent(b, axis)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            _ => Err(format!("shapes {a:?} and {b:?} do not broadcast")),
        })
        .collect()
}

/// The shape itself, if a tensor of it can be handled.
///
/// # Errors
/// When it has more than 2^32 elements.
pub fn bounded(shape: Vec<usize>) -> Result<Vec<usize>, String> {
    let n_elements = shape
        .iter()
        .fold(1u128, |product, &extent| product.saturating_mul(extent as u128));
    if n_elements > MAX_ELEMENTS {
        return Err(format!("shape {shape:?} has more than 2^32 elements"));
    }
    Ok(shape)
}

/// Number of positions of a window of `kernel` elements `dilation` apart, moved by `stride` over `extent` elements
/// with `pads` around them.
fn positions(
    extent: usize,
    kernel: usize,
    stride: usize,
    (before, after): (usize, usize),
    dilation: usize,
) -> Result<usize, String> {
    if kernel == 0 || stride == 0 || dilation == 0 {
        return Err("kernel, stride and dilation must be at least 1".into());
    }
    let window = (kernel as u128 - 1) * dilation as u128 + 1;
    let padded = extent as u128 + before as u128 + after as u128;
    if window > padded {
        return Err(format!(
            "a window of {window} does not fit in {padded} (padding included)"
        ));
    }
    Ok(((padded - window) / stride as u128 + 1) as usize)
}

/// Shape of a convolution of `input` [1, C, spatial..] by `weight` [M, C/groups, kernel..].
///
/// # Errors
/// When ranks, channels or window do not fit.
pub fn conv(
    input: &[usize],
    weight: &[usize],
    strides: &[usize],
    pads: &[(usize, usize)],
    dilations: &[usize],
    groups: usize,
) -> Result<Vec<usize>, String> {
    let rank = input.len();
    if !(3..=4).contains(&rank) || weight.len() != rank {
        return Err(format!(
            "convolution is 1-D or 2-D; found input {input:?} and weight {weight:?}"
        ));
    }
    let n_spatial = rank - 2;
    if strides.len() != n_spatial || pads.len() != n_spatial || dilations.len() != n_spatial {
        return Err(format!("strides, pads and dilations must have {n_spatial} entries"));
    }
    if groups == 0 || weight[1].checked_mul(groups) != Some(input[1]) || !weight[0].is_multiple_of(groups) {
        return Err(format!(
            "{} channels in {groups} groups do not fit weight {weight:?}",
            input[1]
        ));
    }
    let mut shape = vec![input[0], weight[0]];
    for axis in 0..n_spatial {
        let extent = input[axis + 2];
        shape.push(positions(
            extent,
            weight[axis + 2],
            strides[axis],
            pads[axis],
            dilations[axis],
        )?);
    }
    bounded(shape)
}

/// Shape of a pooling over `input` [1, C, spatial..].
///
/// # Errors
/// When ranks or window do not fit.
pub fn pool(input: &[usize], window: &Pool) -> Result<Vec<usize>, String> {
    let n_spatial = window.kernel.len();
    if input.len() != n_spatial + 2 || window.strides.len() != n_spatial || window.pads.len() != n_spatial {
        return Err(format!(
            "a pool over {n_spatial} dimensions does not fit input {input:?}"
        ));
    }
    let mut shape = input[..2].to_vec();
    for axis in 0..n_spatial {
        let (kernel, stride, pads) = (window.kernel[axis], window.strides[axis], window.pads[axis]);
        if pads.0 >= kernel || pads.1 >= kernel {
            return Err(format!("padding {pads:?} is not smaller than the window {kernel}"));
        }
        shape.push(positions(input[axis + 2], kernel, stride, pads, 1)?);
    }
    bounded(shape)
}

/// Shape of `input` [.., K] times a matrix [K, M] ([M, K] when `transposed`).
///
/// # Errors
/// When the inner extents differ.
pub fn dense(input: &[usize], weight: &[usize], transposed: bool) -> Result<Vec<usize>, String> {
    let &[rows, columns] = weight else {
        return Err(format!("a dense map needs a matrix, found shape {weight:?}"));
    };
    let (inner, outer) = if transposed { (columns, rows) } else { (rows, columns) };
    match input.split_last() {
        Some((&last, leading)) if last == inner => bounded([leading, &[outer]].concat()),
        _ => Err(format!(
            "input {input:?} does not end in {inner}, as the weight {weight:?} needs"
        )),
    }
}

/// Shape of a matrix product with numpy broadcasting of leading dimensions; both operands have rank >= 2.
///
/// # Errors
/// When the shapes do not fit.
pub fn matmul(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let ([a_leading @ .., rows, a_inner], [b_leading @ .., b_inner, columns]) = (a, b) else {
        return Err(format!(
            "a matrix product needs ranks of at least 2, found {a:?} and {b:?}"
        ));
    };
    if a_inner != b_inner {
        return Err(format!("inner extents of {a:?} and {b:?} differ"));
    }
    bounded([broadcast(a_leading, b_leading)?.as_slice(), &[*rows, *columns]].concat())
}

/// Shape of a reduction over `axes`.
///
/// # Errors
/// When an axis is out of range.
pub fn reduce(input: &[usize], axes: &[usize], keep_dims: bool) -> Result<Vec<usize>, String> {
    if let Some(axis) = axes.iter().find(|axis| **axis >= input.len()) {
        return Err(format!("axis {axis} is outside of shape {input:?}"));
    }
    let is_reduced = |axis: &usize| axes.contains(axis);
    let extent = |axis: usize| if is_reduced(&axis) { 1 } else { input[axis] };
    Ok((0..input.len())
        .filter(|axis| keep_dims || !is_reduced(axis))
        .map(extent)
        .collect())
}

/// `output`, if it has as many elements as `input`.
///
/// # Errors
/// When it has not.
pub fn reshape(input: &[usize], output: &[usize]) -> Result<Vec<usize>, String> {
    let output = bounded(output.to_vec())?;
    if input.iter().product::<usize>() != output.iter().product::<usize>() {
        return Err(format!("{input:?} cannot be reshaped to {output:?}"));
    }
    Ok(output)
}

/// Shape of the permuted axes.
///
/// # Errors
/// When `perm` is no permutation of the axes.
pub fn transpose(input: &[usize], perm: &[usize]) -> Result<Vec<usize>, String> {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..input.len()) {
        return Err(format!("{perm:?} is no permutation of the axes of {input:?}"));
    }
    Ok(perm.iter().map(|&axis| input[axis]).collect())
}

/// Shape with `pads` elements before and after every axis.
///
/// # Errors
/// When the number of pads is not the rank, or the result is too large.
pub fn pad(input: &[usize], pads: &[(usize, usize)]) -> Result<Vec<usize>, String> {
    if pads.len() != input.len() {
        return Err(format!("{} paddings for shape {input:?}", pads.len()));
    }
    let padded = |(extent, (before, after)): (&usize, &(usize, usize))| {
        before
            .checked_add(*after)
            .and_then(|pad| pad.checked_add(*extent))
            .ok_or("padding overflows".to_string())
    };
    bounded(input.iter().zip(pads).map(padded).collect::<Result<_, _>>()?)
}

/// Shape of `x[start + step i ..]` with `lens` elements per axis.
///
/// # Errors
/// When an element lies outside of the input.
pub fn slice(input: &[usize], starts: &[usize], steps: &[i64], lens: &[usize]) -> Result<Vec<usize>, String> {
    let rank = input.len();
    if starts.len() != rank || steps.len() != rank || lens.len() != rank {
        return Err(format!(
            "starts, steps and lens must have {rank} entries for shape {input:?}"
        ));
    }
    for axis in 0..rank {
        if lens[axis] == 0 {
            return Err(format!("the slice is empty along axis {axis}"));
        }
        let last = starts[axis] as i128 + i128::from(steps[axis]) * (lens[axis] as i128 - 1);
        if starts[axis] >= input[axis] || !(0..input[axis] as i128).contains(&last) {
            return Err(format!("the slice leaves axis {axis} of shape {input:?}"));
        }
    }
    Ok(lens.to_vec())
}
