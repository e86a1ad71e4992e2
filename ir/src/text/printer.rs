//! Prints graphs; the inverse of the parser.

use super::INLINE_VALUES;
use super::lexer::is_symbol_char;
use crate::attr::Attr;
use crate::constant::{ConstRef, Tensor};
use crate::dialect::{Dialect, Op};
use crate::error::IrError;
use crate::graph::Graph;
use std::fmt::Write;

/// Collects the text of one line or of a whole graph.
#[derive(Default)]
pub struct Printer {
    out: String,
}

/// Prints one field or operand.
pub type PrintPart<'a> = &'a dyn Fn(&mut Printer);

impl Printer {
    /// Appends `text` as it is.
    pub fn word(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Appends a quoted string.
    pub fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    /// Appends `@name`, quoted where it must be.
    pub fn symbol(&mut self, name: &str) {
        self.out.push('@');
        if !name.is_empty() && name.chars().all(is_symbol_char) {
            self.out.push_str(name);
        } else {
            self.string(name);
        }
    }

    /// Appends `[a, b, c]`.
    pub fn list<T>(&mut self, items: &[T], mut print: impl FnMut(&mut Printer, &T)) {
        self.out.push('[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            print(self, item);
        }
        self.out.push(']');
    }

    /// Appends ` %1, %2`, nothing when there are no operands.
    pub fn operands(&mut self, operands: &[PrintPart<'_>]) {
        for (index, print) in operands.iter().enumerate() {
            self.out.push_str(if index == 0 { " " } else { ", " });
            print(self);
        }
    }

    /// Appends ` {a: 1, b: 2}`, nothing when there are no fields.
    pub fn fields(&mut self, fields: &[(&str, PrintPart<'_>)]) {
        if !fields.is_empty() {
            self.out.push(' ');
            self.braces(fields);
        }
    }

    /// Appends `{a: 1, b: 2}`.
    pub fn braces(&mut self, fields: &[(&str, PrintPart<'_>)]) {
        self.braces_where(&vec![true; fields.len()], fields);
    }

    /// Appends `{a: 1, b: 2}` of the fields that are to be printed.
    pub fn braces_where(&mut self, is_printed: &[bool], fields: &[(&str, PrintPart<'_>)]) {
        self.out.push('{');
        let printed = fields.iter().zip(is_printed).filter(|(_, is_printed)| **is_printed);
        for (index, ((name, print), _)) in printed.enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            self.out.push_str(name);
            self.out.push_str(": ");
            print(self);
        }
        self.out.push('}');
    }

    /// The text so far.
    pub fn finish(self) -> String {
        self.out
    }
}

/// Text of an attribute.
pub fn print_attr<A: Attr>(attr: &A) -> String {
    let mut printer = Printer::default();
    attr.print(&mut printer);
    printer.finish()
}

/// Text of an op without its value and type, e.g. `slot.rotate %1 {by: 5}`.
pub fn print_op<D: Dialect>(op: &D::Op) -> String {
    let mut printer = Printer::default();
    printer.word(op.mnemonic());
    op.print(&mut printer);
    printer.finish()
}

/// Text of a whole graph.
///
/// # Errors
/// When a constant in use is missing or cannot be read.
pub fn print_graph<D: Dialect>(graph: &Graph<D>) -> Result<String, IrError> {
    let mut printer = Printer::default();
    printer.word(D::NAME);
    printer.word(" ");
    printer.symbol(&graph.name);
    if graph.attrs != D::Attrs::default() {
        printer.word(" attrs ");
        graph.attrs.print(&mut printer);
    }
    printer.word(" {\n");
    for name in graph.used_constants() {
        print_constant(&mut printer, &name, graph.constants.get(&name)?)?;
    }
    for (id, node) in graph.iter() {
        let _ = write!(printer.out, "  {id} = {}", node.op.mnemonic());
        node.op.print(&mut printer);
        printer.word(" : ");
        node.ty.print(&mut printer);
        if !node.origin.is_unknown() {
            printer.word(" from ");
            printer.string(&node.origin.name);
            printer.word(" ");
            printer.string(&node.origin.kind);
            if let Some((start, end)) = node.origin.span {
                let _ = write!(printer.out, " {start} to {end}");
            }
        }
        printer.word("\n");
    }
    for output in graph.outputs() {
        printer.word("  return ");
        printer.string(&output.name);
        let _ = writeln!(printer.out, " = {}", output.value);
    }
    printer.word("}\n");
    Ok(printer.finish())
}

fn print_constant(printer: &mut Printer, name: &ConstRef, tensor: &Tensor) -> Result<(), IrError> {
    printer.word("  const ");
    name.print(printer);
    printer.word(if tensor.is_f32() { " : f32" } else { " : f64" });
    tensor.shape().to_vec().print(printer);
    printer.word(" = ");
    if tensor.len() <= INLINE_VALUES {
        tensor.to_vec()?.print(printer);
    } else {
        let _ = write!(printer.out, "#{}", tensor.fingerprint()?);
    }
    printer.word("\n");
    Ok(())
}
