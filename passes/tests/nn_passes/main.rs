//! Passes over `nn`: what they make of small graphs, and that the interpreter sees no difference before and after.

mod approximate;
mod build;
mod calibrate;
mod fold_affine;
mod fold_constants;
mod recover_activations;
