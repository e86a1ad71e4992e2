//! The text form of graphs: what dumps and snapshots hold, and what `aphelion opt` reads.
//!
//! ```text
//! slot @tiny attrs {slots: 1024} {
//!   const @w : f32[2] = [1.0, -0.5]
//!   %0 = input {name: "x", layout: {...}} : {...} from "x" "Input"
//!   %1 = rotate %0 {by: 5} : {...} from "conv1" "Conv"
//!   return "y" = %1
//! }
//! ```
//! Constants of up to [`INLINE_VALUES`] elements stand in the text; larger ones are named by fingerprint and resolved
//! from a [`ConstantPool`](crate::ConstantPool) when the text is parsed.

mod canonical;
mod lexer;
mod parser;
mod printer;

pub use canonical::print_canonical;
pub use lexer::Position;
pub use parser::{Fields, ParseError, Parser, parse_graph};
pub use printer::{Printer, print_attr, print_graph, print_op};

/// Constants with at most this many values are printed with them.
pub const INLINE_VALUES: usize = 8;
