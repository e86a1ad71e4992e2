//! Ops that move elements.

use crate::onnx::node::{self, Node};
use crate::onnx::value::Value;
use aphelion_ir::ValueId;
use aphelion_ir::nn::NnOp;

/// Without a permutation, the axes are reversed.
pub(super) fn transpose(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let rank = node.shape(0)?.len();
    let perm = match node.ints_attr("perm")? {
        Some(perm) => perm
            .iter()
            .map(|&axis| node::axis(axis, rank))
            .collect::<Result<_, _>>()?,
        None => (0..rank).rev().collect(),
    };
    let x = node.value(0)?;
    node.emit(NnOp::Transpose { x, perm })
}

/// Amounts and value are attributes before operator set 11, operands since.
pub(super) fn pad(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let mode = node.string("mode", "constant")?;
    if mode != "constant" {
        return Err(format!("`mode` = {mode} is not supported; only `constant` is"));
    }
    let rank = node.shape(0)?.len();
    let amounts = node.ints_attr_or_operand("pads", 1)?.ok_or("the amounts are missing")?;
    let value = node.scalar(2)?.map_or_else(|| node.float("value", 0.0), Ok)?;
    let axes = match node.ints(3)? {
        Some(axes) => axes
            .values
            .iter()
            .map(|&axis| node::axis(axis, rank))
            .collect::<Result<_, _>>()?,
        None => (0..rank).collect::<Vec<_>>(),
    };
    if amounts.len() != 2 * axes.len() {
        return Err(format!("{} amounts for {} axes", amounts.len(), axes.len()));
    }
    let mut pads = vec![(0, 0); rank];
    for (position, axis) in axes.iter().enumerate() {
        let amount = |amount: i64| {
            usize::try_from(amount).map_err(|_| format!("negative amounts are not supported, found {amounts:?}"))
        };
        pads[*axis] = (amount(amounts[position])?, amount(amounts[axes.len() + position])?);
    }
    let x = node.value(0)?;
    node.emit(NnOp::Pad { x, pads, value })
}

pub(super) fn concat(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let axis = node::axis(node.int("axis", 1)?, node.shape(0)?.len())?;
    let xs = (0..node.n_operands())
        .map(|index| node.value(index))
        .collect::<Result<_, _>>()?;
    node.emit(NnOp::Concat { xs, axis })
}

/// Where a slice begins, its step, and its number of elements along one axis.
pub(super) struct Cut {
    pub start: usize,
    pub step: i64,
    pub len: usize,
}

/// The elements `start`, `start + step`, .. before `end` of `extent`; negative positions count from the end, and
/// positions outside are moved to the border.
pub(super) fn cut(extent: usize, start: i64, end: i64, step: i64) -> Result<Cut, String> {
    let n_elements = extent as i128;
    let counted = |position: i64| i128::from(position) + if position < 0 { n_elements } else { 0 };
    let (start, span) = match step {
        0 => return Err("a step is 0".into()),
        _ if extent == 0 => (0, 0),
        1.. => {
            let start = counted(start).clamp(0, n_elements);
            (start, counted(end).clamp(0, n_elements) - start)
        }
        _ => {
            let start = counted(start).clamp(0, n_elements - 1);
            (start, start - counted(end).clamp(-1, n_elements - 1))
        }
    };
    let stride = i128::from(step).abs();
    // A step beyond the extent is never taken.
    let longest = extent.max(1) as i64;
    Ok(Cut {
        start: start as usize,
        step: step.clamp(-longest, longest),
        len: (span.max(0) + stride - 1).div_euclid(stride) as usize,
    })
}

/// Starts, ends, axes and steps are attributes before operator set 10, operands since; one cut per axis of `shape`.
pub(super) fn cuts(node: &Node<'_>, shape: &[usize]) -> Result<Vec<Cut>, String> {
    let starts = node
        .ints_attr_or_operand("starts", 1)?
        .ok_or("the starts are missing")?;
    let ends = node.ints_attr_or_operand("ends", 2)?.ok_or("the ends are missing")?;
    let axes = match node.ints_attr_or_operand("axes", 3)? {
        Some(axes) => axes,
        None => (0..starts.len() as i64).collect(),
    };
    let steps = node.ints(4)?.map_or(vec![1; starts.len()], |steps| steps.values);
    if [ends.len(), axes.len(), steps.len()]
        .iter()
        .any(|len| *len != starts.len())
    {
        return Err("starts, ends, axes and steps differ in number".into());
    }
    node::axes(&axes, shape.len())?;
    let mut cuts = shape.iter().map(|&extent| whole(extent)).collect::<Vec<_>>();
    for (position, &axis) in axes.iter().enumerate() {
        let axis = node::axis(axis, shape.len())?;
        cuts[axis] = cut(shape[axis], starts[position], ends[position], steps[position])?;
    }
    Ok(cuts)
}

fn whole(extent: usize) -> Cut {
    Cut {
        start: 0,
        step: 1,
        len: extent,
    }
}

pub(super) fn slice(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let shape = node.shape(0)?;
    let cuts = cuts(node, &shape)?;
    let x = node.value(0)?;
    Ok(vec![Value::Node(push_slice(node, x, &cuts)?)])
}

fn push_slice(node: &mut Node<'_>, x: ValueId, cuts: &[Cut]) -> Result<ValueId, String> {
    node.push(NnOp::Slice {
        x,
        starts: cuts.iter().map(|cut| cut.start).collect(),
        steps: cuts.iter().map(|cut| cut.step).collect(),
        lens: cuts.iter().map(|cut| cut.len).collect(),
    })
}

/// Slices with the given extents, or with equal ones, of which the last may be smaller.
pub(super) fn split(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let shape = node.shape(0)?;
    let axis = node::axis(node.int("axis", 0)?, shape.len())?;
    let lens = match node.ints_attr_or_operand("split", 1)? {
        Some(lens) => lens
            .iter()
            .map(|&len| usize::try_from(len).map_err(|_| format!("{lens:?} are no extents")))
            .collect::<Result<Vec<_>, _>>()?,
        None => equal_parts(node, shape[axis])?,
    };
    if lens.len() != node.n_outputs() || lens.iter().map(|len| *len as u128).sum::<u128>() != shape[axis] as u128 {
        return Err(format!(
            "extents {lens:?} do not split dimension {axis} of {shape:?} into {} parts",
            node.n_outputs()
        ));
    }
    let x = node.value(0)?;
    let mut start = 0;
    let mut parts = Vec::with_capacity(lens.len());
    for len in lens {
        let mut cuts: Vec<_> = shape.iter().map(|&extent| whole(extent)).collect();
        cuts[axis] = Cut { start, step: 1, len };
        parts.push(Value::Node(push_slice(node, x, &cuts)?));
        start += len;
    }
    Ok(parts)
}

fn equal_parts(node: &Node<'_>, extent: usize) -> Result<Vec<usize>, String> {
    let n_parts = node.n_outputs();
    let declared = node.int("num_outputs", n_parts as i64)?;
    if n_parts == 0 || declared != n_parts as i64 {
        return Err(format!("`num_outputs` = {declared}, the node has {n_parts}"));
    }
    if !node.has_attr("num_outputs") && !extent.is_multiple_of(n_parts) {
        return Err(format!("{extent} elements do not split into {n_parts} equal parts"));
    }
    let part = extent.div_ceil(n_parts);
    let len = |index: usize| part.min(extent.saturating_sub(index * part));
    Ok((0..n_parts).map(len).collect())
}

/// Slices for the runs of evenly spaced indices, joined.
pub(super) fn gather(node: &mut Node<'_>) -> Result<Vec<Value>, String> {
    let shape = node.shape(0)?;
    let axis = node::axis(node.int("axis", 0)?, shape.len())?;
    let indices = node.ints(1)?.ok_or("the indices are missing")?;
    let positions = (indices.values.iter())
        .map(|&index| node::axis(index, shape[axis]).map_err(|_| format!("index {index} is outside of {shape:?}")))
        .collect::<Result<Vec<_>, _>>()?;
    let x = node.value(0)?;
    let mut parts = Vec::new();
    let mut rest = positions.as_slice();
    while !rest.is_empty() {
        let (run, after) = even_run(rest);
        let mut cuts: Vec<_> = shape.iter().map(|&extent| whole(extent)).collect();
        cuts[axis] = run;
        parts.push(push_slice(node, x, &cuts)?);
        rest = after;
    }
    let joined = match parts[..] {
        [] => return Err("there are no indices".into()),
        [part] => part,
        _ => node.push(NnOp::Concat { xs: parts, axis })?,
    };
    let gathered = [&shape[..axis], &indices.shape, &shape[axis + 1..]].concat();
    if node.shape_of(joined) == gathered {
        return Ok(vec![Value::Node(joined)]);
    }
    node.emit(NnOp::Reshape {
        x: joined,
        shape: gathered,
    })
}

/// The longest beginning of `positions` that a slice can take, and the rest.
fn even_run(positions: &[usize]) -> (Cut, &[usize]) {
    let step = |pair: &[usize]| pair[1] as i64 - pair[0] as i64;
    let first = positions.windows(2).next().map_or(1, step);
    let n_steps = positions
        .windows(2)
        .take_while(|pair| first != 0 && step(pair) == first)
        .count();
    let run = Cut {
        start: positions[0],
        step: if n_steps == 0 { 1 } else { first },
        len: n_steps + 1,
    };
    (run, &positions[n_steps + 1..])
}
