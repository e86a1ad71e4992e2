//! Inputs and results, as the client has to pack them.

use std::collections::BTreeMap;

use aphelion_ir::Graph;
use aphelion_ir::ckks::{Ckks, CkksOp};
use aphelion_ir::slot::{ClientOp as SlotClientOp, Layout};
use aphelion_runtime::plan::{ClientOp, Digit, InputPort, OutputPort, Packing};

use crate::error::BackendError;

pub(super) fn inputs(graph: &Graph<Ckks>, ranges: &BTreeMap<String, (f64, f64)>) -> Vec<InputPort> {
    let port = |op: &CkksOp| match op {
        CkksOp::Input {
            name,
            layout,
            scale,
            level,
        } => Some(InputPort {
            name: name.clone(),
            packing: packing(layout),
            scale: *scale,
            level: *level as usize,
            range: ranges.get(name).copied(),
        }),
        _ => None,
    };
    graph.iter().filter_map(|(_, node)| port(&node.op)).collect()
}

pub(super) fn outputs(graph: &Graph<Ckks>) -> Result<Vec<OutputPort>, BackendError> {
    let attrs = &graph.attrs;
    let missing = |what: &str, name: &str| BackendError::Unfinished(format!("output `{name}` has no {what}"));
    let ports = graph.outputs().iter().enumerate().map(|(index, output)| {
        let layout = attrs
            .output_layouts
            .get(index)
            .ok_or_else(|| missing("layout", &output.name))?;
        let scale = attrs
            .packing
            .output_scales
            .get(index)
            .ok_or_else(|| missing("scale", &output.name))?;
        let ops = attrs.packing.client_ops.get(index).map_or(&[][..], |ops| ops);
        Ok(OutputPort {
            name: output.name.clone(),
            packing: packing(layout),
            scale: *scale,
            client_ops: ops.iter().map(client_op).collect(),
        })
    });
    ports.collect()
}

fn packing(layout: &Layout) -> Packing {
    let digit = |digit: &aphelion_ir::slot::Digit| Digit {
        axis: digit.axis,
        extent: digit.extent,
        stride: digit.stride,
    };
    Packing {
        shape: layout.shape.clone(),
        slots: layout.slots,
        period: layout.period,
        ciphertexts: layout.cts,
        digits: layout.digits.iter().map(digit).collect(),
    }
}

fn client_op(op: &SlotClientOp) -> ClientOp {
    match op {
        SlotClientOp::Softmax { axis } => ClientOp::Softmax { axis: *axis },
    }
}
