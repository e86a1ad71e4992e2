//! Type rules of `ckks`: levels, scales and degrees.

use super::{CipherType, Ckks, CkksOp};
use crate::graph::{Graph, ValueId};
use crate::slot::{Basis, Layout};
use crate::text::print_attr;

pub(super) fn infer(graph: &Graph<Ckks>, op: &CkksOp) -> Result<CipherType, String> {
    match op {
        CkksOp::Input { layout, level, .. } => {
            layout.check()?;
            Ok(CipherType {
                cts: layout.cts,
                slots: layout.slots,
                level: *level,
                scale_power: 1,
                degree: 1,
            })
        }
        CkksOp::Add { a, b } | CkksOp::Sub { a, b } => {
            let (a, b) = (*graph.ty(*a), *graph.ty(*b));
            if (CipherType { degree: 0, ..a }) != (CipherType { degree: 0, ..b }) {
                return Err(format!("operands differ: {} and {}", print_attr(&a), print_attr(&b)));
            }
            Ok(CipherType {
                degree: a.degree.max(b.degree),
                ..a
            })
        }
        CkksOp::Neg { x } | CkksOp::AddScalar { x, .. } => Ok(*graph.ty(*x)),
        CkksOp::AddPlain { x, layout, .. } => {
            fits(layout, graph.ty(*x))?;
            Ok(*graph.ty(*x))
        }
        CkksOp::MulPlain { x, layout, at, .. } => {
            fits(layout, graph.ty(*x))?;
            times_plain(graph, *x, *at)
        }
        CkksOp::MulScalar { x, at, .. } => times_plain(graph, *x, *at),
        CkksOp::Mul { a, b } => {
            let (a, b) = (canonical(graph, *a)?, canonical(graph, *b)?);
            if a != b {
                return Err(format!("operands differ: {} and {}", print_attr(&a), print_attr(&b)));
            }
            Ok(CipherType {
                scale_power: 2,
                degree: 2,
                ..a
            })
        }
        CkksOp::Relinearize { x } => match *graph.ty(*x) {
            ty if ty.degree == 2 => Ok(CipherType { degree: 1, ..ty }),
            ty => Err(format!("expected degree 2, found {}", ty.degree)),
        },
        CkksOp::Rescale { x } => {
            let ty = *graph.ty(*x);
            if ty.scale_power != 2 {
                return Err("only a product is rescaled; the operand is at its canonical scale".into());
            }
            let level = ty.level.checked_sub(1).ok_or("level 0 cannot be rescaled")?;
            Ok(CipherType {
                level,
                scale_power: 1,
                ..ty
            })
        }
        CkksOp::DropLevel { x, to } => {
            let ty = canonical(graph, *x)?;
            if *to >= ty.level {
                return Err(format!("level {to} is not below {}", ty.level));
            }
            Ok(CipherType { level: *to, ..ty })
        }
        CkksOp::Rotate { x, by } => {
            let ty = linear(graph, *x)?;
            if *by == 0 || *by >= ty.slots {
                return Err(format!("rotation {by} is not in 1..{}", ty.slots));
            }
            Ok(ty)
        }
        CkksOp::LinearTransform {
            x,
            kernel,
            input,
            bsgs,
            at,
        } => {
            fits(input, graph.ty(*x))?;
            kernel.output.check()?;
            for step in bsgs.baby_steps.iter().chain(&bsgs.giant_steps) {
                if *step >= input.slots {
                    return Err(format!("step {step} is not below the {} slots", input.slots));
                }
            }
            let ty = times_plain(graph, *x, *at)?;
            Ok(CipherType {
                cts: kernel.output.cts,
                slots: kernel.output.slots,
                ..ty
            })
        }
        CkksOp::PolyEval { x, poly, at } => {
            let ty = canonical(graph, *x)?;
            if *at > ty.level {
                return Err(format!("works at level {at}, the operand is at level {}", ty.level));
            }
            if poly.basis == (Basis::Chebyshev {}) && (poly.low, poly.high) != (-1.0, 1.0) {
                return Err(format!(
                    "a Chebyshev basis is evaluated on [-1, 1], found [{}, {}]",
                    poly.low, poly.high
                ));
            }
            let depth = poly.depth() as u32;
            let level = at
                .checked_sub(depth)
                .ok_or(format!("depth {depth} exceeds level {at}"))?;
            Ok(CipherType { level, ..ty })
        }
        CkksOp::Bootstrap { x, to, slots } => bootstrap(graph, canonical(graph, *x)?, *to, *slots),
    }
}

/// The type of `x` bootstrapped to level `to`, which must be the one that the parameters say, where there are some; nor may
/// there be more slots than they are made for.
fn bootstrap(graph: &Graph<Ckks>, x: CipherType, to: u32, slots: usize) -> Result<CipherType, String> {
    if !slots.is_power_of_two() || slots > x.slots {
        return Err(format!(
            "{slots} slots are no power of two up to the {} of the operand",
            x.slots
        ));
    }
    if let Some(parameters) = &graph.attrs.parameters {
        let Some(spec) = &parameters.bootstrap else {
            return Err("the parameters of the graph are made for no bootstrap".into());
        };
        if (x.level, to) != (spec.input_level, spec.levels) {
            return Err(format!(
                "goes from level {} to {to}, the parameters have a bootstrap from {} to {}",
                x.level, spec.input_level, spec.levels
            ));
        }
        if slots > spec.slots {
            return Err(format!(
                "bootstraps {slots} slots, the parameters are made for {} at most",
                spec.slots
            ));
        }
    }
    if to <= x.level {
        return Err(format!("level {to} is not above {}", x.level));
    }
    Ok(CipherType { level: to, ..x })
}

fn fits(layout: &Layout, ty: &CipherType) -> Result<(), String> {
    layout.check()?;
    if (layout.cts, layout.slots) == (ty.cts, ty.slots) {
        Ok(())
    } else {
        Err(format!(
            "layout of {} x {} slots meets {}",
            layout.cts,
            layout.slots,
            print_attr(ty)
        ))
    }
}

/// The type of a value of degree 1.
fn linear(graph: &Graph<Ckks>, x: ValueId) -> Result<CipherType, String> {
    match *graph.ty(x) {
        ty if ty.degree == 1 => Ok(ty),
        ty => Err(format!("operand {x} has degree {}; relinearise it first", ty.degree)),
    }
}

/// The type of a value of degree 1 at the canonical scale of its level.
fn canonical(graph: &Graph<Ckks>, x: ValueId) -> Result<CipherType, String> {
    match linear(graph, x)? {
        ty if ty.scale_power == 1 => Ok(ty),
        _ => Err(format!("operand {x} waits for a rescale")),
    }
}

fn times_plain(graph: &Graph<Ckks>, x: ValueId, at: u32) -> Result<CipherType, String> {
    let ty = canonical(graph, x)?;
    if at > ty.level {
        return Err(format!("works at level {at}, the operand is at level {}", ty.level));
    }
    Ok(CipherType {
        level: at,
        scale_power: 2,
        ..ty
    })
}
