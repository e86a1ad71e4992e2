//! Attributes: the compile-time values that ops and types carry, with their text form.

use crate::constant::ConstRef;
use crate::text::{ParseError, Parser, Printer};
use std::fmt::Debug;

/// A value that can stand in the text form of a graph.
pub trait Attr: Clone + Debug + PartialEq + Sized {
    /// Prints the value.
    fn print(&self, printer: &mut Printer);
    /// Parses what [`Attr::print`] prints.
    ///
    /// # Errors
    /// Where and why the text is no such value.
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError>;
    /// The value that a field of a struct has where the text leaves it out; `None` where it must be there.
    fn left_out() -> Option<Self> {
        None
    }
    /// Calls `visit` on every constant that the value refers to.
    fn visit_constants(&self, _visit: &mut dyn FnMut(&ConstRef)) {}
}

macro_rules! integer_attr {
    ($($ty:ty),*) => { $(
        impl Attr for $ty {
            fn print(&self, printer: &mut Printer) {
                printer.word(&self.to_string());
            }
            fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
                parser.integer()
            }
        }
    )* };
}
integer_attr!(usize, u32, u64, i64);

impl Attr for f64 {
    fn print(&self, printer: &mut Printer) {
        printer.word(&format!("{self:?}"));
    }
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        parser.float()
    }
}

impl Attr for bool {
    fn print(&self, printer: &mut Printer) {
        printer.word(if *self { "true" } else { "false" });
    }
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        if parser.accept_ident("true") {
            Ok(true)
        } else if parser.accept_ident("false") {
            Ok(false)
        } else {
            Err(parser.unexpected("`true` or `false`"))
        }
    }
}

impl Attr for String {
    fn print(&self, printer: &mut Printer) {
        printer.string(self);
    }
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        parser.string()
    }
}

impl Attr for () {
    fn print(&self, printer: &mut Printer) {
        printer.word("none");
    }
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        parser.ident_is("none")
    }
}

impl Attr for ConstRef {
    fn print(&self, printer: &mut Printer) {
        printer.symbol(&self.0);
    }
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        parser.symbol().map(ConstRef::new)
    }
    fn visit_constants(&self, visit: &mut dyn FnMut(&ConstRef)) {
        visit(self);
    }
}

impl<T: Attr> Attr for Vec<T> {
    fn print(&self, printer: &mut Printer) {
        printer.list(self, |printer, item| item.print(printer));
    }
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        parser.list(T::parse)
    }
    fn visit_constants(&self, visit: &mut dyn FnMut(&ConstRef)) {
        self.iter().for_each(|item| item.visit_constants(visit));
    }
}

impl<T: Attr> Attr for Box<T> {
    fn print(&self, printer: &mut Printer) {
        self.as_ref().print(printer);
    }
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        T::parse(parser).map(Box::new)
    }
    fn visit_constants(&self, visit: &mut dyn FnMut(&ConstRef)) {
        self.as_ref().visit_constants(visit);
    }
}

impl<T: Attr> Attr for Option<T> {
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
            T::parse(parser).map(Some)
        }
    }
    fn left_out() -> Option<Self> {
        Some(None)
    }
    fn visit_constants(&self, visit: &mut dyn FnMut(&ConstRef)) {
        if let Some(value) = self {
            value.visit_constants(visit);
        }
    }
}

impl<A: Attr, B: Attr> Attr for (A, B) {
    fn print(&self, printer: &mut Printer) {
        printer.word("(");
        self.0.print(printer);
        printer.word(", ");
        self.1.print(printer);
        printer.word(")");
    }
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        parser.punct("(")?;
        let first = A::parse(parser)?;
        parser.punct(",")?;
        let second = B::parse(parser)?;
        parser.punct(")")?;
        Ok((first, second))
    }
    fn visit_constants(&self, visit: &mut dyn FnMut(&ConstRef)) {
        self.0.visit_constants(visit);
        self.1.visit_constants(visit);
    }
}

/// Makes a struct with public fields an [`Attr`], printed `{field: value, ...}` without the options that are none.
#[macro_export]
macro_rules! attr_struct {
    (
        $(#[$meta:meta])*
        pub struct $Struct:ident { $( $(#[$field_meta:meta])* pub $field:ident : $ty:ty, )* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Struct { $( $(#[$field_meta])* pub $field: $ty, )* }

        impl $crate::attr::Attr for $Struct {
            fn print(&self, printer: &mut $crate::text::Printer) {
                let is_printed = [ $( <$ty as $crate::attr::Attr>::left_out().as_ref() != Some(&self.$field) ),* ];
                printer.braces_where(&is_printed, &[ $( (stringify!($field), &|printer: &mut $crate::text::Printer| {
                    $crate::attr::Attr::print(&self.$field, printer)
                }) ),* ]);
            }
            fn parse(parser: &mut $crate::text::Parser<'_>) -> Result<Self, $crate::text::ParseError> {
                let mut fields = $crate::text::Fields::open(parser, &[$(stringify!($field)),*])?;
                $( let $field = fields.next::<$ty>(parser, stringify!($field))?; )*
                fields.close(parser)?;
                Ok($Struct { $($field),* })
            }
            fn visit_constants(&self, visit: &mut dyn FnMut(&$crate::constant::ConstRef)) {
                $( $crate::attr::Attr::visit_constants(&self.$field, visit); )*
            }
        }
    };
}

/// Makes an enum an [`Attr`], printed `name` or `name {field: value, ...}`.
#[macro_export]
macro_rules! attr_enum {
    (
        $(#[$meta:meta])*
        pub enum $Enum:ident {
            $( #[doc = $doc:literal] $Variant:ident $name:literal { $($field:ident : $ty:ty),* } )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "fields are described by the doc line of their variant")]
        pub enum $Enum { $( #[doc = $doc] $Variant { $($field: $ty),* }, )* }

        impl $crate::attr::Attr for $Enum {
            #[allow(unused_variables, reason = "variants without fields")]
            fn print(&self, printer: &mut $crate::text::Printer) {
                match self {
                    $( $Enum::$Variant { $($field),* } => {
                        printer.word($name);
                        printer.fields(&[ $( (stringify!($field), &|printer: &mut $crate::text::Printer| {
                            $crate::attr::Attr::print($field, printer)
                        }) ),* ]);
                    } )*
                }
            }
            #[allow(unused_variables, unused_mut, reason = "variants without fields")]
            fn parse(parser: &mut $crate::text::Parser<'_>) -> Result<Self, $crate::text::ParseError> {
                let at = parser.position();
                let name = parser.ident()?;
                match name.as_str() {
                    $( $name => {
                        let mut fields = $crate::text::Fields::open(parser, &[$(stringify!($field)),*])?;
                        $( let $field = fields.next::<$ty>(parser, stringify!($field))?; )*
                        fields.close(parser)?;
                        Ok($Enum::$Variant { $($field),* })
                    } )*
                    _ => Err($crate::text::ParseError::new(
                        at,
                        format!("unknown variant `{name}`, expected one of: {}", [$($name),*].join(", ")),
                    )),
                }
            }
            #[allow(unused_variables, reason = "variants without fields")]
            fn visit_constants(&self, visit: &mut dyn FnMut(&$crate::constant::ConstRef)) {
                match self {
                    $( $Enum::$Variant { $($field),* } => {
                        $( $crate::attr::Attr::visit_constants($field, visit); )*
                    } )*
                }
            }
        }
    };
}
