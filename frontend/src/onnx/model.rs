//! The walk over a model: inputs, weights, nodes, outputs.
//!
//! Only what the outputs depend on is imported. A node that cannot be imported becomes a finding, and the walk goes on.

use super::node::Node;
use super::ops;
use super::proto::{DataType, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use super::tensor;
use super::value::Value;
use crate::{Finding, FrontendError, Report};
use aphelion_ir::nn::{Nn, NnOp};
use aphelion_ir::{ConstantPool, Graph, Origin, ValueId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Oldest operator set that is understood: numpy broadcasting begins here.
const OLDEST_OPSET: i64 = 7;

/// Newest operator set that is understood, of ONNX 1.23.
pub(super) const NEWEST_OPSET: i64 = 28;

/// Versions of the file format that are understood: operator sets begin at 3, 14 is of ONNX 1.23.
const IR_VERSIONS: std::ops::RangeInclusive<i64> = 3..=14;

/// Operators whose first dimension is a batch, whatever the model.
const BATCHED: [&str; 5] = [
    "Conv",
    "AveragePool",
    "MaxPool",
    "GlobalAveragePool",
    "BatchNormalization",
];

/// A model on its way into the nn dialect.
pub(super) struct Import {
    /// Version of the standard operator set.
    pub opset: i64,
    /// The graph so far.
    pub graph: Graph<Nn>,
    /// What names stand for.
    pub values: BTreeMap<String, Value>,
    /// The ops of constants that have one, by name.
    pub constants: BTreeMap<String, ValueId>,
}

/// Imports `model`.
pub(super) fn import(model: &ModelProto, base_dir: Option<&Path>) -> Result<Graph<Nn>, FrontendError> {
    let opset = opset(model)?;
    let no_graph = || FrontendError::Model("the file holds no graph; is it an ONNX model?".into());
    let source = model.graph.as_ref().ok_or_else(no_graph)?;
    if source.output.is_empty() {
        return Err(FrontendError::Model("the model has no outputs".into()));
    }
    let used = used_names(source);
    let mut import = Import {
        opset,
        graph: Graph::new(source.name.clone().unwrap_or_default(), ConstantPool::default()),
        values: BTreeMap::new(),
        constants: BTreeMap::new(),
    };
    let mut findings = import.weights(source, &used, base_dir);
    findings.extend(import.inputs(source));
    let mut has_unknown_operator = false;
    for (index, node) in source.node.iter().enumerate() {
        if is_used(node, &used) {
            match import.node(index, node, &used) {
                Ok(()) => {}
                Err(Rejected::Operator(finding)) => {
                    has_unknown_operator = true;
                    findings.push(finding);
                }
                Err(Rejected::Node(finding)) => findings.push(finding),
            }
        }
    }
    findings.extend(import.outputs(source));
    if findings.is_empty() {
        return Ok(import.graph);
    }
    let supported = if has_unknown_operator { ops::names() } else { vec![] };
    Err(FrontendError::Nodes(Report { findings, supported }))
}

/// The version of the standard operator set, if file format and operators are understood.
fn opset(model: &ModelProto) -> Result<i64, FrontendError> {
    let ir_version = model.ir_version.unwrap_or(0);
    if !IR_VERSIONS.contains(&ir_version) {
        let (oldest, newest) = (IR_VERSIONS.start(), IR_VERSIONS.end());
        return Err(FrontendError::Model(format!(
            "the file has version {ir_version} of the ONNX format; versions {oldest} to {newest} are supported"
        )));
    }
    let is_standard = |domain: &Option<String>| is_standard_domain(domain.as_deref().unwrap_or_default());
    let standard = model.opset_import.iter().find(|set| is_standard(&set.domain));
    match standard.and_then(|set| set.version) {
        Some(version) if (OLDEST_OPSET..=NEWEST_OPSET).contains(&version) => Ok(version),
        Some(version) => Err(FrontendError::Model(format!(
            "the model uses operator set {version}; {OLDEST_OPSET} to {NEWEST_OPSET} are supported. Export it anew or \
             convert it with onnx.version_converter"
        ))),
        None => Err(FrontendError::Model(
            "the model does not say which standard operator set it uses".into(),
        )),
    }
}

fn is_standard_domain(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Names that the outputs depend on.
fn used_names(graph: &GraphProto) -> BTreeSet<&str> {
    let mut used: BTreeSet<&str> = graph.output.iter().map(|output| name_of(&output.name)).collect();
    for node in graph.node.iter().rev() {
        if is_used(node, &used) {
            used.extend(node.input.iter().map(String::as_str));
        }
    }
    used.remove("");
    used
}

fn is_used(node: &NodeProto, used: &BTreeSet<&str>) -> bool {
    node.output.iter().any(|name| used.contains(name.as_str()))
}

fn name_of(name: &Option<String>) -> &str {
    name.as_deref().unwrap_or_default()
}

/// Why a node was not imported.
enum Rejected {
    /// There is no such operator here.
    Operator(Finding),
    /// The operator is there, this use of it is not supported or wrong.
    Node(Finding),
}

impl Import {
    /// Reads the initialisers in use.
    fn weights(&mut self, source: &GraphProto, used: &BTreeSet<&str>, base_dir: Option<&Path>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let sparse = (source.sparse_initializer.iter()).filter_map(|sparse| sparse.values.as_ref());
        let sparse = sparse.map(|tensor| (tensor, true));
        let dense = source.initializer.iter().map(|tensor| (tensor, false));
        for (tensor, is_sparse) in dense.chain(sparse) {
            let name = name_of(&tensor.name);
            if !used.contains(name) {
                continue;
            }
            let value = match self.weight(name, tensor, is_sparse, base_dir) {
                Ok(value) => value,
                Err(message) => {
                    let origin = Origin::new(name, "Initializer");
                    findings.push(Finding { origin, message });
                    Value::Unknown
                }
            };
            self.values.insert(name.to_string(), value);
        }
        findings
    }

    fn weight(
        &self,
        name: &str,
        tensor: &TensorProto,
        is_sparse: bool,
        base_dir: Option<&Path>,
    ) -> Result<Value, String> {
        if is_sparse {
            return Err("sparse initialisers are not supported; export it dense".into());
        }
        if self.values.contains_key(name) {
            return Err("there are two initialisers of this name".into());
        }
        tensor::decode(tensor, base_dir)
    }

    /// Makes an op of every input. Older exporters list the initialisers as inputs too; those are none.
    fn inputs(&mut self, source: &GraphProto) -> Vec<Finding> {
        let mut findings = Vec::new();
        let weights: BTreeSet<&str> = source.initializer.iter().map(|tensor| name_of(&tensor.name)).collect();
        let has_batch = source.node.iter().any(|node| BATCHED.contains(&name_of(&node.op_type)));
        for input in &source.input {
            let name = name_of(&input.name);
            if weights.contains(name) {
                continue;
            }
            let imported = self.input(name, input).and_then(|id| match self.graph.ty(id).shape.as_slice() {
                extents @ [batch @ (2..), _, _, ..] if has_batch => Err(format!(
                    "its shape {extents:?} fixes a batch of {batch}; a plan takes one sample at a time, so export the model \
                     with a batch of 1 or with an open first dimension. Files of samples may hold as many as you like"
                )),
                _ => Ok(id),
            });
            let value = match imported {
                Ok(id) => Value::Node(id),
                Err(message) => {
                    let origin = Origin::new(name, "Input");
                    findings.push(Finding { origin, message });
                    Value::Unknown
                }
            };
            self.values.insert(name.to_string(), value);
        }
        findings
    }

    fn input(&mut self, name: &str, input: &ValueInfoProto) -> Result<ValueId, String> {
        if name.is_empty() || self.values.contains_key(name) {
            return Err("the name of an input must be there and differ from all others".into());
        }
        let op = NnOp::Input {
            name: name.to_string(),
            shape: input_shape(input)?,
        };
        let pushed = self.graph.push(op, Origin::new(name, "Input"));
        pushed.map_err(|error| super::node::message(&error))
    }

    /// Imports one node and binds its results.
    fn node(&mut self, index: usize, source: &NodeProto, used: &BTreeSet<&str>) -> Result<(), Rejected> {
        let op_type = name_of(&source.op_type);
        let name = match name_of(&source.name) {
            "" => format!("#{index}"),
            name => name.to_string(),
        };
        let finding = |message: String| Finding {
            origin: Origin::new(name.as_str(), op_type),
            message,
        };
        let built = self.build(source, Origin::new(name.as_str(), op_type));
        let (results, rejected) = match built {
            Ok(results) => (results, None),
            Err(rejected) => (vec![], Some(rejected)),
        };
        let mut rejected = rejected.map(|(is_operator, message)| match is_operator {
            true => Rejected::Operator(finding(message)),
            false => Rejected::Node(finding(message)),
        });
        for (position, name) in source.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let result = results.get(position);
            if self.values.contains_key(name) {
                let message = format!("its result `{name}` has the name of another value");
                rejected = rejected.or(Some(Rejected::Node(finding(message))));
                continue;
            }
            if result.is_none() && rejected.is_none() && used.contains(name.as_str()) {
                let message = format!("its output {position}, `{name}`, is not supported but used");
                rejected = Some(Rejected::Node(finding(message)));
            }
            self.values
                .insert(name.clone(), result.cloned().unwrap_or(Value::Unknown));
        }
        rejected.map_or(Ok(()), Err)
    }

    /// The results of a node; an error says whether it is about the operator as such. Results of a node with an
    /// operand that could not be imported are unknown, which is no error of this node.
    fn build(&mut self, source: &NodeProto, origin: Origin) -> Result<Vec<Value>, (bool, String)> {
        let domain = name_of(&source.domain);
        if !is_standard_domain(domain) {
            return Err((true, format!("operators of domain `{domain}` are not supported")));
        }
        let op_type = name_of(&source.op_type);
        let row = ops::find(op_type, self.opset).map_err(|message| (true, message))?;
        let node = Node::new(self, source, origin, row.attrs).map_err(|message| (false, message))?;
        match node {
            Some(mut node) => row.build(&mut node).map_err(|message| (false, message)),
            None => Ok(vec![Value::Unknown; source.output.len()]),
        }
    }

    fn outputs(&mut self, source: &GraphProto) -> Vec<Finding> {
        let mut findings = Vec::new();
        for output in &source.output {
            let name = name_of(&output.name);
            let value = match self.values.get(name) {
                None => Err("no node yields this output".to_string()),
                Some(Value::Unknown) => continue,
                Some(_) => self.value(name),
            };
            match value {
                Ok(value) => self.graph.output(name, value),
                Err(message) => findings.push(Finding {
                    origin: Origin::new(name, "Output"),
                    message,
                }),
            }
        }
        findings
    }

    /// The op that yields what `name` stands for; a constant gets one at its first use.
    pub fn value(&mut self, name: &str) -> Result<ValueId, String> {
        let tensor = match self.values.get(name) {
            Some(Value::Node(id)) => return Ok(*id),
            Some(Value::Float(tensor)) => tensor.clone(),
            Some(Value::Int(ints)) => ints.to_tensor(),
            Some(Value::Unknown) | None => return Err(format!("`{name}` is not known")),
        };
        if let Some(id) = self.constants.get(name) {
            return Ok(*id);
        }
        let value = self.graph.constants.insert(name, tensor);
        let pushed = (self.graph).push(NnOp::Constant { value }, Origin::new(name, "Constant"));
        let id = pushed.map_err(|error| super::node::message(&error))?;
        self.constants.insert(name.to_string(), id);
        Ok(id)
    }
}

/// The shape of an input, with extent 1 for a batch dimension that is not fixed.
fn input_shape(input: &ValueInfoProto) -> Result<Vec<usize>, String> {
    let tensor = input.r#type.as_ref().and_then(|ty| ty.tensor_type.as_ref());
    let tensor = tensor.ok_or("it is no tensor")?;
    let code = tensor.elem_type.unwrap_or(0);
    match DataType::try_from(code) {
        Ok(DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16) => {}
        _ => {
            return Err(format!(
                "its elements have ONNX type {code}; only floats can be encrypted, so let the model take floats"
            ));
        }
    }
    let shape = tensor.shape.as_ref().ok_or("its shape is not given")?;
    let extent = |(axis, dim): (usize, &super::proto::DimensionProto)| match dim.dim_value {
        Some(extent) if extent > 0 => usize::try_from(extent).map_err(|_| format!("the extent {extent} is too large")),
        _ if axis == 0 => Ok(1),
        _ => Err(format!(
            "dimension {axis} (`{}`) is not fixed; only the first one, the batch, may be open",
            dim.dim_param.as_deref().unwrap_or("?")
        )),
    };
    shape.dim.iter().enumerate().map(extent).collect()
}
