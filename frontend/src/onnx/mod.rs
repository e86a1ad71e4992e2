//! ONNX models into the nn dialect.
//!
//! Ensures: the graph means what the ONNX standard says, for a batch of one; anything that would mean something else
//! is an error. All problems of a model come in one [`Report`](crate::Report).
//! Ensures: tensors of integers (shapes, axes) are computed here and leave no op behind.
//!
//! Reading order: [`proto`] (the file format), `tensor` and `external` (weights), `value` (what a name stands for),
//! `model` (the walk over the nodes), `node` (what an operator's function sees), `ops` (the operators, one row each).

pub mod proto;

mod external;
mod model;
mod node;
mod ops;
mod tensor;
mod value;

use crate::FrontendError;
use aphelion_ir::Graph;
use aphelion_ir::nn::Nn;
use prost::Message;
use std::path::Path;

/// Imports the model in the file `path`; weights in files of their own lie in the same folder or below.
///
/// # Errors
/// When the file cannot be read, is no ONNX model, or has inputs, weights or nodes that cannot be imported.
pub fn import(path: impl AsRef<Path>) -> Result<Graph<Nn>, FrontendError> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| FrontendError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    let mut graph = import_bytes(&bytes, Some(path.parent().unwrap_or(Path::new(""))))?;
    if graph.name.is_empty() {
        graph.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    }
    Ok(graph)
}

/// Imports a model from memory. `base_dir` is the folder of weights in files of their own; without it, such weights
/// are an error.
///
/// # Errors
/// As [`import`].
pub fn import_bytes(bytes: &[u8], base_dir: Option<&Path>) -> Result<Graph<Nn>, FrontendError> {
    model::import(&proto::ModelProto::decode(bytes)?, base_dir)
}

/// The operators that can be imported, in alphabetical order.
pub fn supported_operators() -> Vec<&'static str> {
    ops::names()
}
