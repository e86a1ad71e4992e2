//! What an expression stands for while a model is being lowered.

use aphelion_ir::ValueId;
use std::rc::Rc;

/// A value of the model language.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A tensor that the compiled program computes or holds.
    Tensor(ValueId),
    /// A number known at compile time.
    Number(f64),
    /// A switch known at compile time.
    Bool(bool),
    /// A list known at compile time, or a list of tensors; nested at most twice.
    List(Rc<[Value]>),
    /// The tensors of a weight file whose names begin with `prefix`.
    Scope { file: usize, prefix: String },
    /// What a reported error left behind.
    Poison,
}

impl Value {
    /// What the value is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Tensor(_) => "a tensor",
            Value::Number(_) => "a number",
            Value::Bool(_) => "a switch",
            Value::List(_) => "a list",
            Value::Scope { .. } => "a group of weights",
            Value::Poison => "an erroneous value",
        }
    }

    /// How deep lists are nested: 0 for no list.
    pub(super) fn list_depth(&self) -> usize {
        match self {
            Value::List(items) => 1 + items.iter().map(Value::list_depth).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// The integer that `number` is, if it is one that 64-bit floating point holds exactly.
pub(super) fn integer(number: f64) -> Option<i64> {
    const EXACT: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}
