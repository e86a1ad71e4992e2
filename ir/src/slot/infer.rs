//! Type rules of `slot`.

use super::placement::check_fold;
use super::{Kernel, Layout, PlainTensor, Slot, SlotOp, Unused};
use crate::graph::Graph;
use crate::shape;
use crate::text::print_attr;

pub(super) fn infer(graph: &Graph<Slot>, op: &SlotOp) -> Result<Layout, String> {
    match op {
        SlotOp::Input { layout, scale, .. } => {
            if !(scale.is_finite() && *scale > 0.0) {
                return Err(format!("scale {scale} must be positive"));
            }
            checked(layout)
        }
        SlotOp::Add { a, b } | SlotOp::Sub { a, b } | SlotOp::Mul { a, b } => same_layout(graph.ty(*a), graph.ty(*b)),
        SlotOp::Neg { x } | SlotOp::Bootstrap { x } => Ok(graph.ty(*x).clone()),
        SlotOp::MulScalar { x, by } => finite(*by).map(|()| graph.ty(*x).clone()),
        SlotOp::AddScalar { x, by } => finite(*by).map(|()| leaves_garbage(graph.ty(*x), *by != 0.0)),
        SlotOp::AddPlain { x, value } | SlotOp::MulPlain { x, value } => {
            plain(graph, value, &graph.ty(*x).shape)?;
            Ok(graph.ty(*x).clone())
        }
        SlotOp::Rotate { x, by, layout } => {
            let operand = graph.ty(*x);
            if *by >= operand.slots {
                return Err(format!("rotation {by} is not below the {} slots", operand.slots));
            }
            if (layout.slots, layout.cts) != (operand.slots, operand.cts) {
                return Err(format!(
                    "expected {} x {} slots, found {} x {}",
                    operand.cts, operand.slots, layout.cts, layout.slots
                ));
            }
            checked(layout)
        }
        SlotOp::Linear { x, kernel } => linear(graph, graph.ty(*x), kernel),
        SlotOp::Poly { x, poly } => {
            if poly.coeffs.is_empty() || poly.coeffs.iter().any(|c| !c.is_finite()) {
                return Err("a polynomial needs finite coefficients".into());
            }
            if poly.high.partial_cmp(&poly.low) != Some(std::cmp::Ordering::Greater) {
                return Err(format!("[{}, {}] is no interval", poly.low, poly.high));
            }
            Ok(leaves_garbage(graph.ty(*x), poly.eval(0.0) != 0.0))
        }
    }
}

/// Type of a kernel applied to a value of layout `input`.
fn linear(graph: &Graph<Slot>, input: &Layout, kernel: &Kernel) -> Result<Layout, String> {
    let (from, to) = kernel.map.shapes(&graph.constants)?;
    if from != input.shape {
        return Err(format!("the map takes {from:?}, the operand is {:?}", input.shape));
    }
    if to != kernel.output.shape {
        return Err(format!(
            "the map yields {to:?}, the output layout holds {:?}",
            kernel.output.shape
        ));
    }
    if kernel.output.slots != input.slots {
        return Err(format!(
            "operand has {} slots, the output layout {}",
            input.slots, kernel.output.slots
        ));
    }
    check_fold(&kernel.fold, &kernel.output)?;
    checked(&kernel.output)
}

fn checked(layout: &Layout) -> Result<Layout, String> {
    layout.check()?;
    Ok(layout.clone())
}

fn same_layout(a: &Layout, b: &Layout) -> Result<Layout, String> {
    let forget_unused = |layout: &Layout| Layout {
        unused: Unused::Zero {},
        ..layout.clone()
    };
    if forget_unused(a) != forget_unused(b) {
        return Err(format!("layouts differ: {} and {}", print_attr(a), print_attr(b)));
    }
    Ok(leaves_garbage(a, b.unused == Unused::Garbage {}))
}

fn leaves_garbage(layout: &Layout, garbage: bool) -> Layout {
    let mut layout = layout.clone();
    if garbage && !layout.is_full() {
        layout.unused = Unused::Garbage {};
    }
    layout
}

fn plain(graph: &Graph<Slot>, value: &PlainTensor, shape: &[usize]) -> Result<(), String> {
    finite(value.factor)?;
    let found = graph
        .constants
        .get(&value.value)
        .map_err(|error| error.to_string())?
        .shape();
    if shape::broadcasts_to(found, shape) {
        Ok(())
    } else {
        Err(format!(
            "constant @{} of shape {found:?} does not broadcast to {shape:?}",
            value.value
        ))
    }
}

fn finite(value: f64) -> Result<(), String> {
    if value.is_finite() {
        Ok(())
    } else {
        Err(format!("{value} is not finite"))
    }
}
