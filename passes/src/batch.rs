//! Batch: several samples side by side in one run, for little more than the time of one.
//! In:     slot, verified                         Out:   slot, verified; for n samples, every tensor with a first axis of
//!         extent n, `attrs.batch` set; as it came where one sample is asked for
//! Method: samples are interleaved: what was in slot i becomes slots n i .. n i + n - 1, one for each sample. Rotations by r
//!         become rotations by n r, every matrix stands once for each sample, plaintexts repeat; counts of ops do not change.
//!         To fill the slots that a program leaves unused, it is first compiled to the end for one sample: as many samples
//!         as fit between the longest period and the slots of the ring that it takes.
//! Source: SIMD packing, Smart and Vercauteren, DCC 2014, with the batch innermost so that cyclic rotations stay cyclic
//! Cost:   O(ops); to fill, one compilation of the rest
//! Counts: batch
//! Limits: plaintexts that repeated with a short period no longer do: their encoded form takes n times the memory

use crate::options::Batch;
use crate::{PassCx, PassError, Stats, lower_to_ckks, parameters, place_bootstraps, rewrite};
use aphelion_ir::slot::{ClientOp, Kernel, LinearMap, Slot, SlotAttrs, SlotOp};
use aphelion_ir::{Graph, Op, ValueId};

/// Runs the pass.
///
/// # Errors
/// [`PassError::BadInput`] when the program is one for several samples already; to fill, the errors of the passes after.
pub fn run(cx: &PassCx, graph: Graph<Slot>) -> Result<(Graph<Slot>, Stats), PassError> {
    let mut stats = Stats::default();
    let n = match cx.options.batch {
        Batch::Samples(n) => n,
        Batch::Fill => as_many_as_fit(cx, &graph)?,
    };
    stats.add("batch", n as f64);
    if n == 1 {
        return Ok((graph, stats));
    }
    if graph.attrs.batch.is_some() {
        let message = "the program is one for several samples already; leave --batch out";
        return Err(PassError::BadInput(message.into()));
    }
    Ok((interleaved(&graph, n)?, stats))
}

/// Samples that fit into the slots of the ring that the program for one of them takes.
fn as_many_as_fit(cx: &PassCx, graph: &Graph<Slot>) -> Result<usize, PassError> {
    let (graph, _) = rewrite::run(cx, graph.clone())?;
    let (graph, _) = place_bootstraps::run(cx, graph)?;
    let longest = longest_period(&graph);
    let (lowered, _) = lower_to_ckks::run(cx, graph)?;
    let (lowered, _) = parameters::run(cx, lowered)?;
    let log_n = lowered.attrs.parameters.map_or(0, |spec| spec.log_n);
    Ok(((1usize << log_n) / 2 / longest).max(1))
}

/// The longest period of contents, those before a rotate-and-sum included.
fn longest_period(graph: &Graph<Slot>) -> usize {
    let period = |op: &SlotOp, own: usize| match op {
        SlotOp::Linear { kernel, .. } => own.max(kernel.fold.last().map_or(1, |last| 2 * last)),
        _ => own,
    };
    let periods = graph.iter().map(|(_, node)| period(&node.op, node.ty.period));
    periods.max().unwrap_or(1)
}

/// `graph` on `n` samples at once.
fn interleaved(graph: &Graph<Slot>, n: usize) -> Result<Graph<Slot>, PassError> {
    let slots = graph.attrs.slots.max(n * longest_period(graph));
    let mut batched = Graph::new(graph.name.clone(), graph.constants.clone());
    batched.attrs = SlotAttrs {
        slots,
        batch: Some(n),
        client_ops: graph
            .attrs
            .client_ops
            .iter()
            .map(|ops| ops.iter().map(on_each).collect())
            .collect(),
        ..graph.attrs.clone()
    };
    let mut values: Vec<ValueId> = Vec::with_capacity(graph.len());
    for (_, node) in graph.iter() {
        let mut op = node.op.clone();
        match &mut op {
            SlotOp::Input { layout, .. } => *layout = layout.interleaved(n, slots),
            SlotOp::Rotate { by, layout, .. } => {
                *by = *by * n % slots;
                *layout = layout.interleaved(n, slots);
            }
            SlotOp::Linear { kernel, .. } => {
                *kernel = Kernel {
                    map: LinearMap::Each {
                        n,
                        map: Box::new(kernel.map.clone()),
                    },
                    output: kernel.output.interleaved(n, slots),
                    fold: kernel.fold.iter().map(|step| step * n).collect(),
                };
            }
            _ => {}
        }
        op.map_operands(&mut |x| values[x.index()]);
        values.push(batched.push(op, node.origin.clone())?);
    }
    for output in graph.outputs() {
        batched.output(output.name.clone(), values[output.value.index()]);
    }
    Ok(batched)
}

fn on_each(op: &ClientOp) -> ClientOp {
    match op {
        ClientOp::Softmax { axis } => ClientOp::Softmax { axis: axis + 1 },
    }
}
