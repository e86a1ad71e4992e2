//! Linear maps between tensors, as structured terms: what a `linear` op computes, whatever the layouts.
//!
//! Every variant is a sparse matrix from the flattened input to the flattened output; rows are enumerated lazily, so
//! that nothing is ever densified.

mod matrix;
mod pattern;
mod relation;
mod rows;

pub use matrix::SparseMatrix;
pub use pattern::Pattern;
pub(super) use pattern::PatternForm;
pub(super) use relation::{Product, Relation};
pub use rows::{RowCursor, Rows};

use crate::attr_enum;
use crate::constant::{ConstRef, ConstantPool};
use crate::error::IrError;
use crate::nn::Pool;
use crate::origin::Origin;
use crate::shape;

attr_enum! {
    /// A linear map of tensors. Shapes include the batch dimension of extent 1.
    pub enum LinearMap {
        #[doc = "out = x"]
        Identity "identity" { shape: Vec<usize> }
        #[doc = "out = by * x"]
        Factor "factor" { shape: Vec<usize>, by: f64 }
        #[doc = "out = by * x, element-wise; `by` broadcasts to the shape in the manner of numpy"]
        Diagonal "diagonal" { shape: Vec<usize>, by: ConstRef }
        #[doc = "convolution with `weight` [M, C/groups, kernel..] of x [1, C, spatial..], as `nn.conv` without bias"]
        Conv "conv" { input: Vec<usize>, weight: ConstRef, strides: Vec<usize>, pads: Vec<(usize, usize)>, dilations: Vec<usize>, groups: usize }
        #[doc = "out[.., m] = sum over k of weight[k, m] x[.., k]; weight is [K, M], or [M, K] when `transposed`; acts on the last axis"]
        Dense "dense" { input: Vec<usize>, weight: ConstRef, transposed: bool }
        #[doc = "average over a window, as `nn.avg_pool`"]
        AvgPool "avg_pool" { input: Vec<usize>, window: Pool }
        #[doc = "sum over axes, which keep extent 1 when `keep_dims`; divided by the number of summands when `mean`"]
        Reduce "reduce" { input: Vec<usize>, axes: Vec<usize>, keep_dims: bool, mean: bool }
        #[doc = "the same elements in row-major order under another shape"]
        Reshape "reshape" { input: Vec<usize>, output: Vec<usize> }
        #[doc = "out axis i is x axis perm[i]"]
        Transpose "transpose" { input: Vec<usize>, perm: Vec<usize> }
        #[doc = "zeros before and after every axis"]
        Pad "pad" { input: Vec<usize>, pads: Vec<(usize, usize)> }
        #[doc = "out[i..] = x[start + step i ..]"]
        Slice "slice" { input: Vec<usize>, starts: Vec<usize>, steps: Vec<i64>, lens: Vec<usize> }
        #[doc = "the same map on each of n tensors, which lie along a new first axis"]
        Each "each" { n: usize, map: Box<LinearMap> }
        #[doc = "maps applied one after the other, the first one first; at least one"]
        Compose "compose" { maps: Vec<LinearMap> }
        #[doc = "sum of maps of equal shapes; at least one"]
        Sum "sum" { maps: Vec<LinearMap> }
    }
}

impl LinearMap {
    /// Shapes of input and output.
    ///
    /// # Errors
    /// When a weight is missing, or shapes do not fit each other.
    pub fn shapes(&self, constants: &ConstantPool) -> Result<(Vec<usize>, Vec<usize>), String> {
        let weight_shape = |name: &ConstRef| match constants.get(name) {
            Ok(tensor) => Ok(tensor.shape().to_vec()),
            Err(error) => Err(error.to_string()),
        };
        let (input, output) = match self {
            LinearMap::Identity { shape } | LinearMap::Factor { shape, .. } => (shape, shape.clone()),
            LinearMap::Diagonal { shape, by } => {
                let by_shape = weight_shape(by)?;
                if !shape::broadcasts_to(&by_shape, shape) {
                    return Err(format!("factors of shape {by_shape:?} do not broadcast to {shape:?}"));
                }
                (shape, shape.clone())
            }
            LinearMap::Conv {
                input,
                weight,
                strides,
                pads,
                dilations,
                groups,
            } => (
                input,
                shape::conv(input, &weight_shape(weight)?, strides, pads, dilations, *groups)?,
            ),
            LinearMap::Dense {
                input,
                weight,
                transposed,
            } => (input, shape::dense(input, &weight_shape(weight)?, *transposed)?),
            LinearMap::AvgPool { input, window } => (input, shape::pool(input, window)?),
            LinearMap::Reduce {
                input, axes, keep_dims, ..
            } => (input, shape::reduce(input, axes, *keep_dims)?),
            LinearMap::Reshape { input, output } => (input, shape::reshape(input, output)?),
            LinearMap::Transpose { input, perm } => (input, shape::transpose(input, perm)?),
            LinearMap::Pad { input, pads } => (input, shape::pad(input, pads)?),
            LinearMap::Slice {
                input,
                starts,
                steps,
                lens,
            } => (input, shape::slice(input, starts, steps, lens)?),
            LinearMap::Each { n, map } => {
                if *n == 0 {
                    return Err("a map on each of no tensors".into());
                }
                let (input, output) = map.shapes(constants)?;
                return Ok(([&[*n], input.as_slice()].concat(), [&[*n], output.as_slice()].concat()));
            }
            LinearMap::Compose { maps } => {
                let (input, mut output) = maps.first().ok_or("a composition of no maps")?.shapes(constants)?;
                for map in &maps[1..] {
                    let (next_input, next_output) = map.shapes(constants)?;
                    if next_input != output {
                        return Err(format!(
                            "composed map takes {next_input:?}, the one before yields {output:?}"
                        ));
                    }
                    output = next_output;
                }
                return Ok((input, output));
            }
            LinearMap::Sum { maps } => {
                let shapes = maps.first().ok_or("a sum of no maps")?.shapes(constants)?;
                for map in &maps[1..] {
                    let other = map.shapes(constants)?;
                    if other != shapes {
                        return Err(format!("summed maps have shapes {shapes:?} and {other:?}"));
                    }
                }
                return Ok(shapes);
            }
        };
        Ok((input.clone(), output))
    }
}

/// Shapes of input and output of a map, with an error of the kind that enumeration gives.
fn checked_shapes(map: &LinearMap, constants: &ConstantPool) -> Result<(Vec<usize>, Vec<usize>), IrError> {
    map.shapes(constants)
        .map_err(|message| IrError::interpret(&Origin::new("", "linear map"), message))
}
