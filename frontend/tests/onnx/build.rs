//! ONNX models written field by field.

use aphelion_frontend::FrontendError;
use aphelion_frontend::onnx::import_bytes;
use aphelion_frontend::onnx::proto::{
    AttributeProto, DataType, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use aphelion_ir::Graph;
use aphelion_ir::nn::Nn;
use prost::Message;

/// A node without a name.
pub fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let strings = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    NodeProto {
        input: strings(inputs),
        output: strings(outputs),
        op_type: Some(op.into()),
        ..Default::default()
    }
}

/// `node` called `name`.
pub fn named(name: &str, node: NodeProto) -> NodeProto {
    NodeProto {
        name: Some(name.into()),
        ..node
    }
}

/// `node` with a list of integers as an attribute.
pub fn with_ints(node: NodeProto, name: &str, ints: &[i64]) -> NodeProto {
    with(
        node,
        AttributeProto {
            name: Some(name.into()),
            ints: ints.to_vec(),
            r#type: Some(7),
            ..Default::default()
        },
    )
}

/// `node` with an integer as an attribute.
pub fn with_int(node: NodeProto, name: &str, i: i64) -> NodeProto {
    with(
        node,
        AttributeProto {
            name: Some(name.into()),
            i: Some(i),
            r#type: Some(2),
            ..Default::default()
        },
    )
}

/// `node` with one more attribute.
pub fn with(mut node: NodeProto, attribute: AttributeProto) -> NodeProto {
    node.attribute.push(attribute);
    node
}

/// A tensor without data.
pub fn tensor(name: &str, dims: &[i64], data_type: DataType) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(data_type as i32),
        ..Default::default()
    }
}

/// A tensor of 32-bit floats.
pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        float_data: values.to_vec(),
        ..tensor(name, dims, DataType::Float)
    }
}

/// An input or output of 32-bit floats; an extent of 0 is an open dimension.
pub fn info(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dimension = |&extent: &i64| DimensionProto {
        dim_value: Some(extent).filter(|extent| *extent != 0),
        dim_param: Some("N".to_string()).filter(|_| extent == 0),
    };
    let shape = TensorShapeProto {
        dim: dims.iter().map(dimension).collect(),
    };
    let tensor_type = TensorTypeProto {
        elem_type: Some(DataType::Float as i32),
        shape: Some(shape),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor_type),
        }),
    }
}

/// A model of operator set 13 with one output, `y`.
pub fn model(inputs: &[ValueInfoProto], weights: &[TensorProto], nodes: &[NodeProto]) -> ModelProto {
    let graph = GraphProto {
        node: nodes.to_vec(),
        name: Some("test".into()),
        initializer: weights.to_vec(),
        input: inputs.to_vec(),
        output: vec![info("y", &[])],
        ..Default::default()
    };
    ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(13),
        }],
    }
}

/// Imports what `model` is written as.
pub fn import(model: &ModelProto) -> Result<Graph<Nn>, FrontendError> {
    import_bytes(&model.encode_to_vec(), None)
}
