//! Regions: runs of ops that are rewritten together, so that saturation takes time in proportion to the graph.
//!
//! Method: ops in order are cut where fewest values live on, between [`MIN_OPS`] and [`MAX_OPS`] after the last cut; the
//!         first such place on a tie. A region sees values from before it as inputs of known depth; rules do not reach
//!         across. Graphs of up to [`MAX_OPS`] ops are one region.

use crate::PassError;
use crate::lower_to_ckks::consumption;
use aphelion_ir::slot::{Slot, SlotOp};
use aphelion_ir::{Graph, Op, ValueId};
use std::collections::BTreeMap;

/// Most ops of a region.
pub(super) const MAX_OPS: usize = 256;
/// Fewest ops of a region that others follow.
const MIN_OPS: usize = 128;

/// A part of a graph as a graph of its own: `inputs` are values of the whole, in the order of the part's input ops.
pub(super) struct Part {
    pub(super) graph: Graph<Slot>,
    inputs: Vec<ValueId>,
    /// Values of the whole that the part yields, in the order of its results.
    results: Vec<ValueId>,
}

/// The rewritten graph as far as it has been put together.
pub(super) struct Assembly<'a> {
    source: &'a Graph<Slot>,
    /// Last op of the source that reads a value, or one more for a result of the program.
    last_use: Vec<usize>,
    target: Graph<Slot>,
    depths: Vec<u32>,
    /// Values of the source that exist in the target.
    values: BTreeMap<ValueId, ValueId>,
}

/// The live ops of `graph` but for its inputs, cut into regions.
pub(super) fn regions(graph: &Graph<Slot>) -> Vec<Vec<ValueId>> {
    let live = graph.live();
    let is_work = |id: &ValueId, op: &SlotOp| live[id.index()] && !matches!(op, SlotOp::Input { .. });
    let ops: Vec<ValueId> = graph
        .iter()
        .filter(|(id, node)| is_work(id, &node.op))
        .map(|(id, _)| id)
        .collect();
    let position: BTreeMap<ValueId, usize> = ops.iter().enumerate().map(|(at, id)| (*id, at)).collect();
    // How many values defined before a position are read at or after it.
    let mut crossing = vec![0i64; ops.len() + 1];
    let mut last_use: Vec<usize> = (0..ops.len()).collect();
    for (at, id) in ops.iter().enumerate() {
        for operand in graph.op(*id).operands() {
            if let Some(&defined) = position.get(&operand) {
                last_use[defined] = at;
            }
        }
    }
    for (defined, last) in last_use.iter().enumerate() {
        crossing[defined + 1] += 1;
        crossing[(last + 1).min(ops.len())] -= 1;
    }
    for at in 1..crossing.len() {
        crossing[at] += crossing[at - 1];
    }
    let mut regions = Vec::new();
    let mut start = 0;
    while ops.len() - start > MAX_OPS {
        let cuts = start + MIN_OPS..=start + MAX_OPS;
        let end = cuts.min_by_key(|&cut| crossing[cut]).unwrap_or(start + MAX_OPS);
        regions.push(ops[start..end].to_vec());
        start = end;
    }
    regions.push(ops[start..].to_vec());
    regions
}

impl<'a> Assembly<'a> {
    /// Nothing but the inputs, which are part of the model's signature: all of them stay, first and in order.
    pub(super) fn new(source: &'a Graph<Slot>) -> Result<Self, PassError> {
        let mut last_use = vec![0; source.len()];
        for (id, node) in source.iter() {
            node.op.operands().iter().for_each(|x| last_use[x.index()] = id.index());
        }
        source
            .outputs()
            .iter()
            .for_each(|output| last_use[output.value.index()] = source.len());
        let mut target = Graph::new(source.name.clone(), source.constants.clone());
        target.attrs = source.attrs.clone();
        let mut assembly = Assembly {
            source,
            last_use,
            target,
            depths: Vec::new(),
            values: BTreeMap::new(),
        };
        for (id, node) in source.iter() {
            if matches!(node.op, SlotOp::Input { .. }) {
                let value = assembly.target.push(node.op.clone(), node.origin.clone())?;
                assembly.depths.push(0);
                assembly.values.insert(id, value);
            }
        }
        Ok(assembly)
    }

    /// The ops of `region` as a graph.
    pub(super) fn part(&self, region: &[ValueId]) -> Result<Part, PassError> {
        let mut graph = Graph::<Slot>::new(self.source.name.clone(), self.source.constants.clone());
        graph.attrs.slots = self.source.attrs.slots;
        let mut own: BTreeMap<ValueId, ValueId> = BTreeMap::new();
        let mut inputs = Vec::new();
        for id in region {
            for operand in self.source.op(*id).operands() {
                if region.binary_search(&operand).is_err() && !own.contains_key(&operand) {
                    let op = SlotOp::Input {
                        name: operand.to_string(),
                        layout: self.source.ty(operand).clone(),
                        scale: 1.0,
                    };
                    own.insert(operand, graph.push(op, self.source.origin(operand).clone())?);
                    inputs.push(operand);
                }
            }
        }
        for id in region {
            let mut op = self.source.op(*id).clone();
            op.map_operands(&mut |operand| own[&operand]);
            own.insert(*id, graph.push(op, self.source.origin(*id).clone())?);
        }
        let end = region.last().map_or(0, |last| last.index());
        let is_result = |id: &&ValueId| self.last_use[id.index()] > end;
        let results: Vec<ValueId> = region.iter().filter(is_result).copied().collect();
        for result in &results {
            graph.output(result.to_string(), own[result]);
        }
        Ok(Part { graph, inputs, results })
    }

    /// Depths of the inputs of `part`, by name.
    pub(super) fn depths(&self, part: &Part) -> BTreeMap<String, u32> {
        let depth = |id: &ValueId| (id.to_string(), self.depths[self.values[id].index()]);
        part.inputs.iter().map(depth).collect()
    }

    /// Adds the ops of `rewritten`, which computes what `part` does.
    pub(super) fn add(&mut self, part: &Part, rewritten: &Graph<Slot>) -> Result<(), PassError> {
        let mut inputs = part.inputs.iter();
        let mut own: Vec<ValueId> = Vec::with_capacity(rewritten.len());
        for (_, node) in rewritten.iter() {
            let value = match (&node.op, inputs.as_slice().first()) {
                (SlotOp::Input { .. }, Some(input)) => {
                    inputs.next();
                    self.values[input]
                }
                (op, _) => {
                    let mut op = op.clone();
                    op.map_operands(&mut |operand| own[operand.index()]);
                    let before = op.operands().iter().map(|x| self.depths[x.index()]).max().unwrap_or(0);
                    self.depths.push(before + consumption(&op));
                    self.target.push(op, node.origin.clone())?
                }
            };
            own.push(value);
        }
        for (result, output) in part.results.iter().zip(rewritten.outputs()) {
            self.values.insert(*result, own[output.value.index()]);
        }
        Ok(())
    }

    /// The whole, and its depth.
    pub(super) fn finish(mut self) -> (Graph<Slot>, u32) {
        let mut depth = 0;
        for output in self.source.outputs() {
            let value = self.values[&output.value];
            depth = depth.max(self.depths[value.index()]);
            self.target.output(output.name.clone(), value);
        }
        (self.target, depth)
    }
}
