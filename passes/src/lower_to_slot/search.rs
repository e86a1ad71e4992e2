//! Layout assignment: a beam search over the stages in order, by real diagonal counts.
//!
//! A state is a choice of layouts for the stages so far; states that agree on all layouts still to be read compete, and
//! the best [`BEAM`] survive. On a chain with fewer candidates than the beam this is the exact optimum.

use super::candidates::{candidates, input_candidates};
use super::costs::{Bill, Costs, same_places};
use super::form::StageId;
use super::stage::{StageKind, Stages};
use aphelion_ir::IrError;
use aphelion_ir::slot::{Layout, Unused};

/// States that survive a stage.
const BEAM: usize = 10;

/// A layout for every stage.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// By stage.
    pub layouts: Vec<Layout>,
    /// What it takes.
    pub bill: Bill,
    /// Estimated cost of the whole program, as the search compares it.
    pub cost: f64,
}

/// The cheapest assignment found for this number of slots.
pub fn assign(stages: &Stages, slots: usize, costs: &mut Costs<'_>) -> Result<Assignment, IrError> {
    let last_user = last_users(stages);
    let depth = stages.depth();
    let mut beam = vec![Assignment {
        layouts: Vec::new(),
        bill: Bill::default(),
        cost: 0.0,
    }];
    for (index, stage) in stages.stages.iter().enumerate() {
        let weight = costs.weight(stage.depth, depth);
        let mut next: Vec<Assignment> = Vec::new();
        for state in &beam {
            let of = |id: StageId| &state.layouts[id.0];
            let mut choices: Vec<(Layout, Bill)> = Vec::new();
            match &stage.kind {
                StageKind::Input { .. } => {
                    choices.extend(
                        input_candidates(&stage.shape, slots)
                            .into_iter()
                            .map(|layout| (layout, Bill::default())),
                    );
                }
                StageKind::Poly { x, .. } => choices.push((after(of(*x), true), Bill::default())),
                StageKind::Mul { a, b } => {
                    let (left, right) = (of(*a), of(*b));
                    if same_places(left, right) {
                        choices.push((after(left, false), Bill::default()));
                    } else {
                        choices.push((after(left, false), costs.relayout(right, left)?));
                        choices.push((after(right, false), costs.relayout(left, right)?));
                    }
                }
                StageKind::Affine { form } => {
                    let sources: Vec<&Layout> = form.terms.iter().map(|term| of(term.source)).collect();
                    let wanted = partners(stages, StageId(index), &state.layouts);
                    for layout in candidates(form, &sources, &wanted, slots) {
                        let cost = costs.form(stages, stage, form, &sources, &layout)?;
                        choices.push((layout, cost));
                    }
                }
            }
            for (layout, mut own) in choices {
                own.run = weight * (own.run + costs.simple(stage, &layout));
                let mut bill = state.bill;
                bill += own;
                next.push(Assignment {
                    layouts: [state.layouts.as_slice(), &[layout]].concat(),
                    bill,
                    cost: costs.total(&bill),
                });
            }
        }
        next.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        beam = Vec::new();
        for state in next {
            let is_live = |stage: &usize| last_user[*stage] > index;
            let agrees = |other: &Assignment| {
                (0..=index)
                    .filter(is_live)
                    .all(|stage| other.layouts[stage] == state.layouts[stage])
            };
            if beam.len() < BEAM && !beam.iter().any(agrees) {
                beam.push(state);
            }
        }
    }
    let empty = Assignment {
        layouts: Vec::new(),
        bill: Bill::default(),
        cost: 0.0,
    };
    Ok(beam.into_iter().next().unwrap_or(empty))
}

/// The layout of an element-wise result.
fn after(layout: &Layout, may_leave_garbage: bool) -> Layout {
    let mut layout = layout.clone();
    if may_leave_garbage && !layout.is_full() {
        layout.unused = Unused::Garbage {};
    }
    layout
}

/// For every stage, the last one that reads it; results are read at the very end.
fn last_users(stages: &Stages) -> Vec<usize> {
    let mut last = vec![0; stages.stages.len()];
    for (index, stage) in stages.stages.iter().enumerate() {
        for operand in stage.operands() {
            last[operand.0] = index;
        }
    }
    for output in &stages.outputs {
        last[output.stage.0] = usize::MAX;
    }
    last
}

/// Layouts of the values that `stage` will be added to or multiplied by, as far as they are settled.
fn partners(stages: &Stages, stage: StageId, layouts: &[Layout]) -> Vec<Layout> {
    let users = stages.stages.iter().filter(|user| user.operands().contains(&stage));
    let others = users
        .flat_map(|user| user.operands())
        .filter(|other| other.0 < layouts.len());
    let mut wanted: Vec<Layout> = Vec::new();
    for other in others {
        if !wanted.contains(&layouts[other.0]) {
            wanted.push(layouts[other.0].clone());
        }
    }
    wanted
}
