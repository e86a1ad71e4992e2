//! What a dialect is, and the op table: the single source of an op's variant, mnemonic, printer, parser and docs.
//!
//! Adding an op is one row in the dialect's table (`<dialect>/ops.rs`), one type rule (`<dialect>/infer.rs`), one
//! interpreter arm (`<dialect>/interp.rs`) and one lowering.

use crate::attr::Attr;
use crate::constant::ConstRef;
use crate::graph::{Graph, ValueId};
use crate::text::{ParseError, Parser, Printer};
use std::fmt::Debug;

/// A level of the IR: its ops, the type of its values, and what a whole graph is annotated with.
pub trait Dialect: Clone + Debug + PartialEq + Sized + 'static {
    /// Keyword that opens a graph of this dialect in text.
    const NAME: &'static str;
    /// The op enum, made by [`op_table!`](crate::op_table).
    type Op: Op;
    /// The type of a value.
    type Type: Attr;
    /// Annotations of a graph.
    type Attrs: Attr + Default;

    /// The type rule: what `op` yields, given the types of its operands in `graph`.
    ///
    /// # Errors
    /// What is wrong with operands or attributes, with expected and found values.
    fn infer(graph: &Graph<Self>, op: &Self::Op) -> Result<Self::Type, String>;
}

/// One row of an op table, for documentation and tools.
#[derive(Clone, Copy, Debug)]
pub struct OpInfo {
    /// Name in the text form.
    pub mnemonic: &'static str,
    /// Doc line: the formula, then remarks.
    pub doc: &'static str,
    /// Operand names.
    pub operands: &'static [&'static str],
    /// Attribute names.
    pub attrs: &'static [&'static str],
}

/// What every op enum can do; implemented by [`op_table!`](crate::op_table).
pub trait Op: Clone + Debug + PartialEq {
    /// The table this enum was made from, in order.
    const TABLE: &'static [OpInfo];
    /// Name in the text form.
    fn mnemonic(&self) -> &'static str;
    /// Operands in order; absent optional ones are left out.
    fn operands(&self) -> Vec<ValueId>;
    /// Replaces every operand.
    fn map_operands(&mut self, replace: &mut dyn FnMut(ValueId) -> ValueId);
    /// Calls `visit` on every constant that an attribute refers to.
    fn visit_constants(&self, visit: &mut dyn FnMut(&ConstRef));
    /// Prints operands and attributes (not the mnemonic).
    fn print(&self, printer: &mut Printer);
    /// Parses what [`Op::print`] prints; `None` when there is no op `mnemonic`.
    ///
    /// # Errors
    /// Where and why the text is no such op.
    fn parse(mnemonic: &str, parser: &mut Parser<'_>) -> Result<Option<Self>, ParseError>;
}

/// A field of an op that holds operands: one value, an optional value, or a list.
pub trait Operands: Sized {
    /// Appends the operands to `out`.
    fn collect(&self, out: &mut Vec<ValueId>);
    /// Replaces every operand.
    fn map(&mut self, replace: &mut dyn FnMut(ValueId) -> ValueId);
    /// Prints `%1`, `none` or `[%1, %2]`.
    fn print(&self, printer: &mut Printer);
    /// Parses what `print` prints.
    ///
    /// # Errors
    /// Where and why the text is no operand.
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError>;
}

impl Operands for ValueId {
    fn collect(&self, out: &mut Vec<ValueId>) {
        out.push(*self);
    }
    fn map(&mut self, replace: &mut dyn FnMut(ValueId) -> ValueId) {
        *self = replace(*self);
    }
    fn print(&self, printer: &mut Printer) {
        printer.word(&self.to_string());
    }
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        parser.value()
    }
}

impl Operands for Option<ValueId> {
    fn collect(&self, out: &mut Vec<ValueId>) {
        out.extend(self);
    }
    fn map(&mut self, replace: &mut dyn FnMut(ValueId) -> ValueId) {
        if let Some(value) = self {
            *value = replace(*value);
        }
    }
    fn print(&self, printer: &mut Printer) {
        match self {
            Some(value) => value.print(printer),
            None => printer.word("none"),
        }
    }
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        if parser.accept_ident("none") {
            Ok(None)
        } else {
            parser.value().map(Some)
        }
    }
}

impl Operands for Vec<ValueId> {
    fn collect(&self, out: &mut Vec<ValueId>) {
        out.extend(self);
    }
    fn map(&mut self, replace: &mut dyn FnMut(ValueId) -> ValueId) {
        self.iter_mut().for_each(|value| *value = replace(*value));
    }
    fn print(&self, printer: &mut Printer) {
        printer.list(self, |printer, value| value.print(printer));
    }
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        parser.list(Parser::value)
    }
}

/// Makes an op enum and its [`Op`] implementation from a table of rows
/// `/// doc` `Variant "mnemonic" (operand: OperandType, ...) { attr: AttrType, ... }`.
#[macro_export]
macro_rules! op_table {
    (
        $(#[$enum_doc:meta])*
        pub enum $Enum:ident {
            $(
                #[doc = $doc:literal]
                $Variant:ident $mnemonic:literal ( $($operand:ident : $operand_ty:ty),* ) { $($attr:ident : $attr_ty:ty),* }
            )*
        }
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "fields are described by the doc line of their row")]
        #[allow(clippy::large_enum_variant, reason = "graphs hold few ops with large attributes")]
        pub enum $Enum {
            $( #[doc = $doc] $Variant { $($operand: $operand_ty,)* $($attr: $attr_ty,)* }, )*
        }

        impl $crate::dialect::Op for $Enum {
            const TABLE: &'static [$crate::dialect::OpInfo] = &[
                $( $crate::dialect::OpInfo {
                    mnemonic: $mnemonic,
                    doc: $doc,
                    operands: &[$(stringify!($operand)),*],
                    attrs: &[$(stringify!($attr)),*],
                }, )*
            ];

            fn mnemonic(&self) -> &'static str {
                match self { $( $Enum::$Variant { .. } => $mnemonic, )* }
            }

            #[allow(unused_variables, unused_mut, reason = "rows without operands")]
            fn operands(&self) -> Vec<$crate::graph::ValueId> {
                let mut out = Vec::new();
                match self {
                    $( $Enum::$Variant { $($operand,)* .. } => {
                        $( $crate::dialect::Operands::collect($operand, &mut out); )*
                    } )*
                }
                out
            }

            #[allow(unused_variables, reason = "rows without operands")]
            fn map_operands(&mut self, replace: &mut dyn FnMut($crate::graph::ValueId) -> $crate::graph::ValueId) {
                match self {
                    $( $Enum::$Variant { $($operand,)* .. } => {
                        $( $crate::dialect::Operands::map($operand, replace); )*
                    } )*
                }
            }

            #[allow(unused_variables, reason = "rows without attributes")]
            fn visit_constants(&self, visit: &mut dyn FnMut(&$crate::constant::ConstRef)) {
                match self {
                    $( $Enum::$Variant { $($attr,)* .. } => {
                        $( $crate::attr::Attr::visit_constants($attr, visit); )*
                    } )*
                }
            }

            #[allow(unused_variables, reason = "rows without fields")]
            fn print(&self, printer: &mut $crate::text::Printer) {
                match self {
                    $( $Enum::$Variant { $($operand,)* $($attr,)* } => {
                        printer.operands(&[ $( &|printer: &mut $crate::text::Printer| {
                            $crate::dialect::Operands::print($operand, printer)
                        } ),* ]);
                        printer.fields(&[ $( (stringify!($attr), &|printer: &mut $crate::text::Printer| {
                            $crate::attr::Attr::print($attr, printer)
                        }) ),* ]);
                    } )*
                }
            }

            #[allow(unused_mut, unused_variables, unused_assignments, reason = "rows without fields")]
            fn parse(
                mnemonic: &str,
                parser: &mut $crate::text::Parser<'_>,
            ) -> Result<Option<Self>, $crate::text::ParseError> {
                match mnemonic {
                    $( $mnemonic => {
                        let mut first = true;
                        $(
                            if !first { parser.punct(",")?; }
                            first = false;
                            let $operand = <$operand_ty as $crate::dialect::Operands>::parse(parser)?;
                        )*
                        let mut fields = $crate::text::Fields::open(parser, &[$(stringify!($attr)),*])?;
                        $( let $attr = fields.next::<$attr_ty>(parser, stringify!($attr))?; )*
                        fields.close(parser)?;
                        Ok(Some($Enum::$Variant { $($operand,)* $($attr,)* }))
                    } )*
                    _ => Ok(None),
                }
            }
        }
    };
}
