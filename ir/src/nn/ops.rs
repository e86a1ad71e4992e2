//! The op table of `nn`.

use crate::constant::ConstRef;
use crate::graph::ValueId;
use crate::nn::Func;
use crate::slot::Polynomial;
use crate::{attr_struct, op_table};

attr_struct! {
    /// Window of a pooling op over the spatial dimensions (all but the first two).
    #[derive(Eq)]
    pub struct Pool {
        /// Extent of the window in every spatial dimension.
        pub kernel: Vec<usize>,
        /// Step in every spatial dimension.
        pub strides: Vec<usize>,
        /// Zeros before and after every spatial dimension.
        pub pads: Vec<(usize, usize)>,
        /// Whether an average divides by the whole window also where it overlaps the padding.
        pub count_include_pad: bool,
    }
}

op_table! {
    /// An op of the `nn` dialect.
    pub enum NnOp {
        #[doc = "the model's input `name`, of the given shape"]
        Input "input" () { name: String, shape: Vec<usize> }
        #[doc = "a constant tensor"]
        Constant "constant" () { value: ConstRef }
        #[doc = "out[n,m,..] = b[m] + sum of w[m,c,k..] x[n, group(m) + c, s o + d k - pad]; 1-D and 2-D; x is [1,C,..], w is [M,C/groups,..]"]
        Conv "conv" (x: ValueId, weight: ValueId, bias: Option<ValueId>) { strides: Vec<usize>, pads: Vec<(usize, usize)>, dilations: Vec<usize>, groups: usize }
        #[doc = "alpha A' B' + beta C with A' = A or its transpose, likewise B'; A and B have rank 2"]
        Gemm "gemm" (a: ValueId, b: ValueId, c: Option<ValueId>) { alpha: f64, beta: f64, trans_a: bool, trans_b: bool }
        #[doc = "matrix product with numpy broadcasting of leading dimensions"]
        MatMul "matmul" (a: ValueId, b: ValueId) {}
        #[doc = "a + b with numpy broadcasting"]
        Add "add" (a: ValueId, b: ValueId) {}
        #[doc = "a - b with numpy broadcasting"]
        Sub "sub" (a: ValueId, b: ValueId) {}
        #[doc = "a b with numpy broadcasting"]
        Mul "mul" (a: ValueId, b: ValueId) {}
        #[doc = "a / b with numpy broadcasting"]
        Div "div" (a: ValueId, b: ValueId) {}
        #[doc = "-x"]
        Neg "neg" (x: ValueId) {}
        #[doc = "x to the power of a positive integer"]
        Pow "pow" (x: ValueId) { exponent: u32 }
        #[doc = "scale (x - mean) / sqrt(var + epsilon) + bias, per channel (dimension 1)"]
        BatchNorm "batch_norm" (x: ValueId, scale: ValueId, bias: ValueId, mean: ValueId, var: ValueId) { epsilon: f64 }
        #[doc = "out[i] = func(x[i])"]
        Apply "apply" (x: ValueId) { func: Func }
        #[doc = "x for x >= 0, slope x below; slope broadcasts to x"]
        PRelu "prelu" (x: ValueId, slope: ValueId) {}
        #[doc = "out[i] = p(x[i]); made by the approximation pass"]
        Poly "poly" (x: ValueId) { poly: Polynomial }
        #[doc = "mean over a window"]
        AvgPool "avg_pool" (x: ValueId) { window: Pool }
        #[doc = "maximum over a window"]
        MaxPool "max_pool" (x: ValueId) { window: Pool }
        #[doc = "mean over axes, which keep extent 1 when `keep_dims`"]
        ReduceMean "reduce_mean" (x: ValueId) { axes: Vec<usize>, keep_dims: bool }
        #[doc = "sum over axes, which keep extent 1 when `keep_dims`"]
        ReduceSum "reduce_sum" (x: ValueId) { axes: Vec<usize>, keep_dims: bool }
        #[doc = "the same elements in row-major order under another shape"]
        Reshape "reshape" (x: ValueId) { shape: Vec<usize> }
        #[doc = "out dimension i is x dimension perm[i]"]
        Transpose "transpose" (x: ValueId) { perm: Vec<usize> }
        #[doc = "`value` before and after every dimension"]
        Pad "pad" (x: ValueId) { pads: Vec<(usize, usize)>, value: f64 }
        #[doc = "joins values along an axis"]
        Concat "concat" (xs: Vec<ValueId>) { axis: usize }
        #[doc = "out[i..] = x[start + step i ..], `lens` elements in every dimension; steps may be negative"]
        Slice "slice" (x: ValueId) { starts: Vec<usize>, steps: Vec<i64>, lens: Vec<usize> }
        #[doc = "softmax along an axis; only as the model's last op, where it is left to the client"]
        Softmax "softmax" (x: ValueId) { axis: usize }
    }
}
