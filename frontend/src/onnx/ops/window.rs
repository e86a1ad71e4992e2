//! Windows of convolutions and pools: strides, dilations and padding in all the ways that ONNX writes them.

use crate::onnx::node::Node;

/// Strides, dilations and pads beyond this are nonsense; the bound keeps arithmetic on them from overflowing.
const MAX_ATTRIBUTE: i64 = 1 << 31;

/// A window over the spatial dimensions.
pub(super) struct Window {
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub pads: Vec<(usize, usize)>,
}

/// Extents that are at least `least`.
pub(super) fn extents(name: &str, values: &[i64], least: i64) -> Result<Vec<usize>, String> {
    let extent = |&value: &i64| {
        let is_valid = (least..=MAX_ATTRIBUTE).contains(&value);
        let value = if is_valid { usize::try_from(value).ok() } else { None };
        value.ok_or_else(|| format!("`{name}` = {values:?} has an entry outside of {least} to 2^31"))
    };
    values.iter().map(extent).collect()
}

fn per_axis(node: &Node<'_>, name: &str, n_spatial: usize) -> Result<Vec<usize>, String> {
    let Some(values) = node.ints_attr(name)? else {
        return Ok(vec![1; n_spatial]);
    };
    let values = extents(name, values, 1)?;
    if values.len() == n_spatial {
        Ok(values)
    } else {
        Err(format!(
            "`{name}` has {} entries for {n_spatial} spatial dimensions",
            values.len()
        ))
    }
}

impl Window {
    /// The window of `node`, of `kernel` elements, over spatial extents `input`.
    pub fn new(node: &Node<'_>, input: &[usize], kernel: &[usize]) -> Result<Self, String> {
        let n_spatial = kernel.len();
        if input.len() != n_spatial {
            return Err(format!(
                "a kernel of {n_spatial} dimensions does not fit {} spatial dimensions",
                input.len()
            ));
        }
        let strides = per_axis(node, "strides", n_spatial)?;
        let dilations = per_axis(node, "dilations", n_spatial)?;
        let auto_pad = node.string("auto_pad", "NOTSET")?;
        let same = |at_end: bool| {
            let pad = |axis: usize| same_pads(input[axis], kernel[axis], strides[axis], dilations[axis], at_end);
            (0..n_spatial).map(pad).collect()
        };
        let pads = match auto_pad {
            "NOTSET" | "" => explicit_pads(node, n_spatial)?,
            "VALID" => vec![(0, 0); n_spatial],
            "SAME_UPPER" => same(true),
            "SAME_LOWER" => same(false),
            _ => return Err(format!("`auto_pad` = {auto_pad} is unknown")),
        };
        Ok(Window {
            strides,
            dilations,
            pads,
        })
    }
}

fn explicit_pads(node: &Node<'_>, n_spatial: usize) -> Result<Vec<(usize, usize)>, String> {
    let Some(pads) = node.ints_attr("pads")? else {
        return Ok(vec![(0, 0); n_spatial]);
    };
    let pads = extents("pads", pads, 0)?;
    if pads.len() != 2 * n_spatial {
        return Err(format!(
            "`pads` has {} entries for {n_spatial} spatial dimensions",
            pads.len()
        ));
    }
    let (before, after) = pads.split_at(n_spatial);
    Ok(before.iter().copied().zip(after.iter().copied()).collect())
}

/// Padding for which there are ceil(extent / stride) positions; an odd one goes to the end or to the beginning.
fn same_pads(extent: usize, kernel: usize, stride: usize, dilation: usize, at_end: bool) -> (usize, usize) {
    let reach = kernel.saturating_sub(1).saturating_mul(dilation).saturating_add(1);
    let last = extent.div_ceil(stride).saturating_sub(1).saturating_mul(stride);
    let total = last.saturating_add(reach).saturating_sub(extent);
    let (less, more) = (total / 2, total - total / 2);
    if at_end { (less, more) } else { (more, less) }
}
