//! Loops over one limb, each as a portable form and a vector form with the same result. `Backend` picks at the call.
//!
//! All inputs and outputs are in `[0, q)` of the limb's prime unless said otherwise; slices of one call have equal length.

pub(crate) mod portable;

pub(crate) use portable::{add, inner_product, mul, mul_add, mul_shoup, neg, permute, sub, sub_then_mul_shoup};
