//! ONNX import, from bytes to interpreted graphs.

mod build;
mod damage;
mod files;
mod models;
#[path = "../mutate/mod.rs"]
mod mutate;
mod operators;
