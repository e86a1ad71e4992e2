//! A text that is equal for graphs of one structure, whatever they call things.

use super::{print_attr, print_op};
use crate::dialect::{Dialect, Op};
use crate::error::IrError;
use crate::graph::{Graph, ValueId};
use std::fmt::Write;

/// Text of what the results of `graph` are computed from: ops in the order in which a walk from the results over the
/// operands meets them, numbered anew, without origins, and with constants named by their fingerprints. Graphs with
/// equal texts apply the same ops to the same values; inputs and ops that no result depends on do not count.
///
/// # Errors
/// When a constant in use is missing or cannot be read.
pub fn print_canonical<D: Dialect>(graph: &Graph<D>) -> Result<String, IrError> {
    // Longest names first: one name may begin another.
    let mut names = Vec::new();
    for name in graph.used_constants() {
        names.push((
            print_attr(&name),
            format!("@#{}", graph.constants.get(&name)?.fingerprint()?),
        ));
    }
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));

    let mut number: Vec<Option<ValueId>> = vec![None; graph.len()];
    let mut out = format!("{} attrs {}\n", D::NAME, print_attr(&graph.attrs));
    let mut n_printed = 0;
    // A value is left on the stack until its operands are numbered.
    let mut stack: Vec<ValueId> = graph.outputs().iter().rev().map(|output| output.value).collect();
    while let Some(&value) = stack.last() {
        if number[value.index()].is_some() {
            stack.pop();
            continue;
        }
        let operands = graph.op(value).operands();
        let open = operands
            .iter()
            .rev()
            .filter(|operand| number[operand.index()].is_none());
        let n_open = stack.len();
        stack.extend(open);
        if stack.len() > n_open {
            continue;
        }
        let mut op = graph.op(value).clone();
        op.map_operands(&mut |operand| number[operand.index()].unwrap_or(operand));
        let mut text = print_op::<D>(&op);
        for (name, fingerprint) in &names {
            text = text.replace(name, fingerprint);
        }
        let id = ValueId(n_printed);
        let _ = writeln!(out, "{id} = {text} : {}", print_attr(graph.ty(value)));
        number[value.index()] = Some(id);
        n_printed += 1;
        stack.pop();
    }
    for output in graph.outputs() {
        if let Some(id) = number[output.value.index()] {
            let _ = writeln!(out, "return \"{}\" = {id}", output.name);
        }
    }
    Ok(out)
}
