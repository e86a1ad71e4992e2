//! The layers of the language: one row each, with its parameters, their defaults and its lowering.
//!
//! Adding a layer is one row, one function in the file of its family, and one line in `docs/model-language.md`.

mod layers;
mod pointwise;
mod pool;
mod shape;

use super::call::{Call, Param};
use super::diagnostics::Reported;
use aphelion_ir::nn::{Func, NnOp};

/// How a layer becomes ops.
pub(super) enum Lowering {
    /// By a function that returns the last op.
    Build(fn(&mut Call<'_, '_, '_>) -> Result<NnOp, Reported>),
    /// By mapping a function over the one tensor it takes.
    Apply(Func),
}

/// A layer.
pub(super) struct Signature {
    pub name: &'static str,
    pub params: &'static [Param<'static>],
    /// Parameters that a group of weights can stand for, with the names of their tensors; the first parameter takes
    /// the group.
    pub group: &'static [(&'static str, &'static str)],
    pub lowering: Lowering,
}

impl Signature {
    /// `conv(x, weight, bias?, stride = 1)`.
    pub(super) fn usage(&self) -> String {
        let params: Vec<String> = self.params.iter().map(Param::to_string).collect();
        format!("{}({})", self.name, params.join(", "))
    }
}

/// The layer called `name`.
pub(super) fn find(name: &str) -> Option<&'static Signature> {
    TABLE.iter().find(|signature| signature.name == name)
}

const fn build(
    name: &'static str,
    params: &'static [Param<'static>],
    function: fn(&mut Call<'_, '_, '_>) -> Result<NnOp, Reported>,
) -> Signature {
    Signature {
        name,
        params,
        group: &[],
        lowering: Lowering::Build(function),
    }
}

const fn grouped(signature: Signature, group: &'static [(&'static str, &'static str)]) -> Signature {
    Signature { group, ..signature }
}

const fn apply(name: &'static str, func: Func) -> Signature {
    Signature {
        name,
        params: &[X],
        group: &[],
        lowering: Lowering::Apply(func),
    }
}

const X: Param<'static> = Param::required("x");
const WEIGHT_AND_BIAS: &[(&str, &str)] = &[("weight", "weight"), ("bias", "bias")];

/// All layers, by family.
pub(super) static TABLE: &[Signature] = &[
    grouped(
        build(
            "conv",
            &[
                X,
                Param::required("weight"),
                Param::optional("bias"),
                Param::number("stride", 1.0),
                Param::number("pad", 0.0),
                Param::number("dilation", 1.0),
                Param::number("groups", 1.0),
            ],
            layers::conv,
        ),
        WEIGHT_AND_BIAS,
    ),
    grouped(
        build(
            "linear",
            &[X, Param::required("weight"), Param::optional("bias")],
            layers::linear,
        ),
        WEIGHT_AND_BIAS,
    ),
    build("matmul", &[Param::required("a"), Param::required("b")], layers::matmul),
    grouped(
        build(
            "batch_norm",
            &[
                X,
                Param::required("weight"),
                Param::member("bias"),
                Param::member("mean"),
                Param::member("var"),
                Param::number("epsilon", 1e-5),
            ],
            layers::batch_norm,
        ),
        &[
            ("weight", "weight"),
            ("bias", "bias"),
            ("mean", "running_mean"),
            ("var", "running_var"),
        ],
    ),
    build(
        "avg_pool",
        &[
            X,
            Param::required("size"),
            Param::optional("stride"),
            Param::number("pad", 0.0),
            Param::switch("count_include_pad", false),
        ],
        pool::avg_pool,
    ),
    build(
        "max_pool",
        &[
            X,
            Param::required("size"),
            Param::optional("stride"),
            Param::number("pad", 0.0),
        ],
        pool::max_pool,
    ),
    build("global_avg_pool", &[X], pool::global_avg_pool),
    build(
        "mean",
        &[X, Param::required("axes"), Param::switch("keep_dims", false)],
        pool::mean,
    ),
    build(
        "sum",
        &[X, Param::required("axes"), Param::switch("keep_dims", false)],
        pool::sum,
    ),
    build("flatten", &[X, Param::number("axis", 1.0)], shape::flatten),
    build("reshape", &[X, Param::required("shape")], shape::reshape),
    build("transpose", &[X, Param::optional("perm")], shape::transpose),
    build(
        "concat",
        &[Param::required("xs"), Param::number("axis", 1.0)],
        shape::concat,
    ),
    build(
        "pad",
        &[X, Param::required("pads"), Param::number("value", 0.0)],
        shape::pad,
    ),
    build(
        "slice",
        &[
            X,
            Param::required("axis"),
            Param::required("start"),
            Param::optional("end"),
            Param::number("step", 1.0),
        ],
        shape::slice,
    ),
    apply("relu", Func::Relu {}),
    build("leaky_relu", &[X, Param::number("alpha", 0.01)], pointwise::leaky_relu),
    grouped(
        build("prelu", &[X, Param::required("slope")], pointwise::prelu),
        &[("slope", "weight")],
    ),
    apply("sigmoid", Func::Sigmoid {}),
    apply("tanh", Func::Tanh {}),
    apply("gelu", Func::Gelu {}),
    apply("gelu_tanh", Func::GeluTanh {}),
    apply("silu", Func::Silu {}),
    apply("hard_swish", Func::HardSwish {}),
    build(
        "hard_sigmoid",
        &[X, Param::number("alpha", 0.2), Param::number("beta", 0.5)],
        pointwise::hard_sigmoid,
    ),
    apply("softplus", Func::Softplus {}),
    build(
        "clip",
        &[X, Param::required("low"), Param::required("high")],
        pointwise::clip,
    ),
    apply("erf", Func::Erf {}),
    apply("exp", Func::Exp {}),
    apply("abs", Func::Abs {}),
    apply("sqrt", Func::Sqrt {}),
    apply("reciprocal", Func::Reciprocal {}),
    build(
        "poly",
        &[
            X,
            Param::required("coeffs"),
            Param::number("low", -1.0),
            Param::number("high", 1.0),
        ],
        pointwise::poly,
    ),
    build("softmax", &[X, Param::number("axis", -1.0)], pointwise::softmax),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsl::import_source;
    use std::path::Path;

    #[test]
    fn the_reference_lists_every_layer() {
        let reference = include_str!("../../../../docs/model-language.md");
        for signature in TABLE {
            let usage = format!("`{}`", signature.usage());
            assert!(
                reference.contains(&usage),
                "docs/model-language.md does not have {usage}"
            );
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = TABLE.iter().map(|signature| signature.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    /// A row whose lowering takes another number of parameters panics at its first call.
    #[test]
    fn every_row_fits_its_lowering() {
        for signature in TABLE {
            for value in ["x", "1", "[1]", "true"] {
                let args = vec![value; signature.params.len() - 1].join(", ");
                let source = format!(
                    "model m {{ input x: f32[1, 1, 4, 4] let a = {}(x, {args}) return x }}",
                    signature.name
                );
                let is_accepted = import_source("m", &source, Path::new("")).is_ok();
                assert!(!is_accepted || value != "true" || args.is_empty(), "{source}");
            }
        }
    }
}
