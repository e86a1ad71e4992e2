//! Import: a model file of either kind, with its hash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aphelion_frontend::{dsl, onnx};
use aphelion_ir::Graph;
use aphelion_ir::nn::{Nn, NnOp, ValueRange};

use super::error::{DriverError, Result};

/// A model as it was imported.
#[derive(Clone, Debug)]
pub struct Model {
    /// The file.
    pub path: PathBuf,
    /// The graph.
    pub graph: Graph<Nn>,
    /// BLAKE3 of the model file in hexadecimal digits.
    pub hash: String,
    /// For inputs that declare one, the interval (low, high) of their elements, which the graph's ranges hold too.
    pub input_ranges: BTreeMap<String, (f64, f64)>,
}

impl Model {
    /// Reads `.onnx` or `.aph-model`.
    ///
    /// # Errors
    /// When the file is of another kind, cannot be read, or holds no model that can be imported.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| DriverError::io(path, source))?;
        let hash = blake3::hash(&bytes).to_hex().to_string();
        let (graph, input_ranges) = match path.extension().and_then(|extension| extension.to_str()) {
            Some("onnx") => (onnx::import(path).map_err(DriverError::in_file(path))?, BTreeMap::new()),
            Some("aph-model") => {
                let import = dsl::import(path).map_err(DriverError::in_file(path))?;
                (with_ranges(import.graph, &import.input_ranges), import.input_ranges)
            }
            _ => {
                let message = format!("{}: expected a model, .onnx or .aph-model", path.display());
                return Err(DriverError::BadInput(message));
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            graph,
            hash,
            input_ranges,
        })
    }

    /// Names and shapes of the inputs, in order.
    #[must_use]
    pub fn inputs(&self) -> Vec<(&str, &[usize])> {
        let ops = self.graph.iter().map(|(_, node)| &node.op);
        ops.filter_map(|op| match op {
            NnOp::Input { name, shape } => Some((name.as_str(), shape.as_slice())),
            _ => None,
        })
        .collect()
    }

    /// Shape of every output.
    #[must_use]
    pub fn output_shapes(&self) -> Vec<&[usize]> {
        let shape = |output: &aphelion_ir::Output| self.graph.ty(output.value).shape.as_slice();
        self.graph.outputs().iter().map(shape).collect()
    }
}

/// The graph with the declared intervals of its inputs.
fn with_ranges(mut graph: Graph<Nn>, declared: &BTreeMap<String, (f64, f64)>) -> Graph<Nn> {
    let ranges = graph.iter().filter_map(|(id, node)| match &node.op {
        NnOp::Input { name, .. } => declared.get(name).map(|(low, high)| ValueRange {
            value: id.0,
            low: *low,
            high: *high,
        }),
        _ => None,
    });
    graph.attrs.ranges = ranges.collect();
    graph
}
