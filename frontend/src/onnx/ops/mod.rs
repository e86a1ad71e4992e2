//! The operators: one row each, one small function each, in a file per family.

mod activation;
mod arithmetic;
mod conv;
mod fold;
mod linear;
mod moves;
mod pool;
mod reduce;
mod reshape;
mod source;
mod window;

use super::model::NEWEST_OPSET;
use super::node::Node;
use super::value::Value;
use std::ops::RangeInclusive;

/// Makes ops of a node and returns its results; results that are not supported are left out at the end.
type Build = fn(&mut Node<'_>) -> Result<Vec<Value>, String>;

/// An operator in a range of operator sets.
pub(super) struct Row {
    name: &'static str,
    opsets: RangeInclusive<i64>,
    /// Attributes that the function knows, or that do not matter for inference.
    pub attrs: &'static [&'static str],
    build: Build,
    /// For nodes with operands that are all integers known at compile time.
    fold: Option<Build>,
}

impl Row {
    /// Makes ops of `node`, or computes its results if they are known now.
    pub fn build(&self, node: &mut Node<'_>) -> Result<Vec<Value>, String> {
        match self.fold {
            Some(fold) if fold::applies(node)? => fold(node),
            _ => (self.build)(node),
        }
    }
}

const fn row(name: &'static str, since: i64, attrs: &'static [&'static str], build: Build) -> Row {
    Row {
        name,
        opsets: since..=NEWEST_OPSET,
        attrs,
        build,
        fold: None,
    }
}

/// A row for operators that also compute on shapes.
const fn shape_row(name: &'static str, since: i64, attrs: &'static [&'static str], build: Build, fold: Build) -> Row {
    Row {
        fold: Some(fold),
        ..row(name, since, attrs, build)
    }
}

const CONV: &[&str] = &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];
const POOL: &[&str] = &[
    "auto_pad",
    "ceil_mode",
    "count_include_pad",
    "dilations",
    "kernel_shape",
    "pads",
    "storage_order",
    "strides",
];
const BATCH_NORM: &[&str] = &["epsilon", "is_test", "momentum", "spatial", "training_mode"];
const REDUCE: &[&str] = &["axes", "keepdims", "noop_with_empty_axes"];

/// All operators. Where a row stands for several versions of an operator, its function knows them all.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    row("Conv", 1, CONV, conv::conv),
    row("Gemm", 7, &["alpha", "beta", "transA", "transB"], linear::gemm),
    row("MatMul", 1, &[], linear::matmul),
    row("BatchNormalization", 7, BATCH_NORM, linear::batch_norm),

    shape_row("Add", 7, &[], arithmetic::add, fold::add),
    shape_row("Sub", 7, &[], arithmetic::sub, fold::sub),
    shape_row("Mul", 7, &[], arithmetic::mul, fold::mul),
    shape_row("Div", 7, &[], arithmetic::div, fold::div),
    row("Sum", 6, &[], arithmetic::sum),
    row("Neg", 6, &[], arithmetic::neg),
    row("Pow", 7, &[], arithmetic::pow),

    row("Relu", 6, &[], activation::relu),
    row("LeakyRelu", 6, &["alpha"], activation::leaky_relu),
    row("PRelu", 7, &[], activation::prelu),
    row("Sigmoid", 6, &[], activation::sigmoid),
    row("Tanh", 6, &[], activation::tanh),
    row("Gelu", 20, &["approximate"], activation::gelu),
    row("HardSwish", 14, &[], activation::hard_swish),
    row("HardSigmoid", 6, &["alpha", "beta"], activation::hard_sigmoid),
    row("Softplus", 1, &[], activation::softplus),
    row("Clip", 6, &["max", "min"], activation::clip),
    row("Erf", 9, &[], activation::erf),
    row("Exp", 6, &[], activation::exp),
    row("Abs", 6, &[], activation::abs),
    row("Sqrt", 6, &[], activation::sqrt),
    row("Reciprocal", 6, &[], activation::reciprocal),

    row("AveragePool", 7, POOL, pool::average_pool),
    row("MaxPool", 1, POOL, pool::max_pool),
    row("GlobalAveragePool", 1, &[], pool::global_average_pool),
    row("GlobalMaxPool", 1, &[], pool::global_max_pool),

    row("ReduceMean", 1, REDUCE, reduce::mean),
    row("ReduceSum", 1, REDUCE, reduce::sum),
    shape_row("ReduceProd", 1, REDUCE, fold::only, fold::reduce_prod),
    row("Softmax", 1, &["axis"], reduce::softmax),

    row("Flatten", 1, &["axis"], reshape::flatten),
    row("Reshape", 5, &["allowzero"], reshape::reshape),
    row("Squeeze", 1, &["axes"], reshape::squeeze),
    row("Unsqueeze", 1, &["axes"], reshape::unsqueeze),

    row("Transpose", 1, &["perm"], moves::transpose),
    row("Pad", 2, &["mode", "pads", "value"], moves::pad),
    shape_row("Concat", 4, &["axis"], moves::concat, fold::concat),
    shape_row("Slice", 1, &["axes", "ends", "starts"], moves::slice, fold::slice),
    row("Split", 2, &["axis", "num_outputs", "split"], moves::split),
    shape_row("Gather", 1, &["axis"], moves::gather, fold::gather),

    row("Identity", 1, &[], source::identity),
    row("Dropout", 7, &["is_test", "ratio", "seed"], source::dropout),
    row("Cast", 6, &["round_mode", "saturate", "to"], source::cast),
    row("Constant", 1, source::CONSTANT_ATTRS, source::constant),
    row("ConstantOfShape", 9, &["value"], source::constant_of_shape),
    row("Shape", 1, &["end", "start"], source::shape),
    row("Size", 1, &[], source::size),
    shape_row("Range", 11, &["stash_type"], fold::only, fold::range),
];

/// The row of operator `name` in operator set `opset`.
pub(super) fn find(name: &str, opset: i64) -> Result<&'static Row, String> {
    match TABLE.iter().find(|row| row.name == name) {
        Some(row) if row.opsets.contains(&opset) => Ok(row),
        Some(row) => Err(format!(
            "{name} belongs to operator sets {} to {}, the model declares {opset}",
            row.opsets.start(),
            row.opsets.end()
        )),
        None => Err("the operator is not supported".into()),
    }
}

/// The operators in alphabetical order.
pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names
}
