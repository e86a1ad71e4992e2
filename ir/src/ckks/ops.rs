//! The op table of `ckks`.

use crate::graph::ValueId;
use crate::slot::{Kernel, Layout, PlainTensor, Polynomial};
use crate::{attr_struct, op_table};

attr_struct! {
    /// Baby-step/giant-step split of a matrix: the rotation of every diagonal is one baby step plus one giant step,
    /// modulo the slots. Baby steps rotate the input (hoisted, shared by all rows of the block matrix), giant steps
    /// rotate partial sums (Halevi and Shoup, CRYPTO 2018; Bossuat et al., EUROCRYPT 2021).
    #[derive(Eq)]
    pub struct Bsgs {
        /// Rotation amounts of the input in `0..slots`, ascending.
        pub baby_steps: Vec<usize>,
        /// Rotation amounts of partial sums in `0..slots`, ascending.
        pub giant_steps: Vec<usize>,
    }
}

impl Bsgs {
    /// A baby step and a giant step that add up to `rotation` modulo `period` (a divisor of the slots): those with the
    /// smallest giant step, then the smallest baby step. `None` when the plan does not reach the rotation.
    pub fn split(&self, rotation: usize, period: usize) -> Option<(usize, usize)> {
        let target = rotation % period;
        self.giant_steps.iter().find_map(|&giant| {
            let reaches = |baby: &&usize| (**baby + giant) % period == target;
            self.baby_steps.iter().find(reaches).map(|&baby| (baby, giant))
        })
    }
}

op_table! {
    /// An op of the `ckks` dialect. `at` is the level an op works at: limbs above it are dropped first.
    pub enum CkksOp {
        #[doc = "the client's input `name`, encrypted at `level`; slots hold tensor values divided by `scale`"]
        Input "input" () { name: String, layout: Layout, scale: f64, level: u32 }
        #[doc = "a + b"]
        Add "add" (a: ValueId, b: ValueId) {}
        #[doc = "a - b"]
        Sub "sub" (a: ValueId, b: ValueId) {}
        #[doc = "-x"]
        Neg "neg" (x: ValueId) {}
        #[doc = "x + value placed by `layout`, encoded at the scale of x"]
        AddPlain "add_plain" (x: ValueId) { value: PlainTensor, layout: Layout }
        #[doc = "x value, slot-wise, `value` placed by `layout`; scale becomes the square"]
        MulPlain "mul_plain" (x: ValueId) { value: PlainTensor, layout: Layout, at: u32 }
        #[doc = "x + by in every slot"]
        AddScalar "add_scalar" (x: ValueId) { by: f64 }
        #[doc = "by x in every slot; scale becomes the square"]
        MulScalar "mul_scalar" (x: ValueId) { by: f64, at: u32 }
        #[doc = "a b slot-wise, of degree 2; scale becomes the square"]
        Mul "mul" (a: ValueId, b: ValueId) {}
        #[doc = "the same message, of degree 1; needs the relinearisation key"]
        Relinearize "relinearize" (x: ValueId) {}
        #[doc = "divides by the last prime: one level lower, canonical scale"]
        Rescale "rescale" (x: ValueId) {}
        #[doc = "the same message at a lower level and its canonical scale; one exact scalar product"]
        DropLevel "drop_level" (x: ValueId) { to: u32 }
        #[doc = "out[i] = x[(i + by) mod slots]; needs a rotation key"]
        Rotate "rotate" (x: ValueId) { by: usize }
        #[doc = "the matrix of `kernel` from layout `input`, without its fold (rotations and additions that follow the rescale); scale becomes the square"]
        LinearTransform "linear_transform" (x: ValueId) { kernel: Kernel, input: Layout, bsgs: Bsgs, at: u32 }
        #[doc = "out[i] = p(x[i]) at level `at` - depth(p) and its canonical scale; x lies in [-1, 1] for a Chebyshev basis"]
        PolyEval "poly_eval" (x: ValueId) { poly: Polynomial, at: u32 }
        #[doc = "the same message at level `to`; x lies in [-1, 1] at the level that the parameters' bootstrap takes, and repeats with period `slots` (slots that do not are averaged)"]
        Bootstrap "bootstrap" (x: ValueId) { to: u32, slots: usize }
    }
}
