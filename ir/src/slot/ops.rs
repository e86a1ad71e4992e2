//! The op table of `slot`.

use crate::constant::ConstRef;
use crate::graph::ValueId;
use crate::slot::{Layout, LinearMap, Polynomial};
use crate::{attr_struct, op_table};

attr_struct! {
    /// A constant tensor laid out like the value it meets: `factor` times `value`, which broadcasts to the value's
    /// shape in the manner of numpy. Unused slots hold zero.
    pub struct PlainTensor {
        /// The tensor.
        pub value: ConstRef,
        /// Factor on every element.
        pub factor: f64,
    }
}

attr_struct! {
    /// A linear operator between two layouts: a sparse matrix, then a rotate-and-sum.
    ///
    /// With `t = M x` in slots, the result is `t` after `t += rotate(t, step)` for every step of `fold` in order. The
    /// matrix places each product in whichever slot of the fold's window needs the fewest distinct rotations.
    pub struct Kernel {
        /// What is computed, tensor to tensor.
        pub map: LinearMap,
        /// Layout of the result.
        pub output: Layout,
        /// Rotation amounts of the rotate-and-sum: `q, 2q, 4q, ..` below the slots, with `q` a power of two not below the
        /// output's period; the result repeats with period `q`. Empty for none.
        pub fold: Vec<usize>,
    }
}

op_table! {
    /// An op of the `slot` dialect.
    pub enum SlotOp {
        #[doc = "the client's input `name`; slots hold tensor values divided by `scale`"]
        Input "input" () { name: String, layout: Layout, scale: f64 }
        #[doc = "a + b, equal layouts"]
        Add "add" (a: ValueId, b: ValueId) {}
        #[doc = "a - b, equal layouts"]
        Sub "sub" (a: ValueId, b: ValueId) {}
        #[doc = "-x"]
        Neg "neg" (x: ValueId) {}
        #[doc = "a b slot-wise, equal layouts"]
        Mul "mul" (a: ValueId, b: ValueId) {}
        #[doc = "x + value"]
        AddPlain "add_plain" (x: ValueId) { value: PlainTensor }
        #[doc = "x value, slot-wise"]
        MulPlain "mul_plain" (x: ValueId) { value: PlainTensor }
        #[doc = "x + by in every slot"]
        AddScalar "add_scalar" (x: ValueId) { by: f64 }
        #[doc = "by x in every slot"]
        MulScalar "mul_scalar" (x: ValueId) { by: f64 }
        #[doc = "out[i] = x[(i + by) mod slots] in every ciphertext; the layout says where elements lie afterwards"]
        Rotate "rotate" (x: ValueId) { by: usize, layout: Layout }
        #[doc = "a linear operator between two layouts"]
        Linear "linear" (x: ValueId) { kernel: Kernel }
        #[doc = "out[i] = p(x[i])"]
        Poly "poly" (x: ValueId) { poly: Polynomial }
        #[doc = "x with a fresh level budget, if the level assignment wants it here"]
        Bootstrap "bootstrap" (x: ValueId) {}
    }
}
