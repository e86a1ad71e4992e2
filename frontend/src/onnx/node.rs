//! One node as its operator's function sees it: typed access to attributes and operands, and ways to add ops.

use super::model::Import;
use super::proto::{AttributeProto, AttributeType, NodeProto, TensorProto};
use super::value::{Ints, Value};
use aphelion_ir::nn::NnOp;
use aphelion_ir::{IrError, Origin, Tensor, ValueId};

/// What is wrong, without the source location that the report gives anyway.
pub(super) fn message(error: &IrError) -> String {
    match error {
        IrError::Invalid(diagnostics) => {
            let messages: Vec<_> = diagnostics.iter().map(|found| found.message.as_str()).collect();
            messages.join("; ")
        }
        other => other.to_string(),
    }
}

/// A node under import.
pub(super) struct Node<'a> {
    import: &'a mut Import,
    source: &'a NodeProto,
    origin: Origin,
}

impl<'a> Node<'a> {
    /// Looks at `source`, whose operator has the attributes `attrs`. `None` when an operand is unknown.
    pub fn new(
        import: &'a mut Import,
        source: &'a NodeProto,
        origin: Origin,
        attrs: &[&str],
    ) -> Result<Option<Self>, String> {
        for attribute in &source.attribute {
            let name = attribute.name.as_deref().unwrap_or_default();
            if !attrs.contains(&name) {
                return Err(format!("the attribute `{name}` is not supported"));
            }
        }
        for name in source.input.iter().filter(|name| !name.is_empty()) {
            match import.values.get(name) {
                Some(Value::Unknown) => return Ok(None),
                Some(_) => {}
                None => return Err(format!("its operand `{name}` is not defined before it")),
            }
        }
        Ok(Some(Node { import, source, origin }))
    }

    /// Version of the operator set.
    pub fn opset(&self) -> i64 {
        self.import.opset
    }

    /// Number of results.
    pub fn n_outputs(&self) -> usize {
        self.source.output.len()
    }

    /// Number of operands, absent ones in between included.
    pub fn n_operands(&self) -> usize {
        self.source.input.len()
    }

    // Attributes.

    fn attr(&self, name: &str) -> Option<&'a AttributeProto> {
        (self.source.attribute.iter()).find(|attribute| attribute.name.as_deref() == Some(name))
    }

    /// The attribute `name`, which must be of `expected` type if it is there.
    fn typed(&self, name: &str, expected: AttributeType) -> Result<Option<&'a AttributeProto>, String> {
        let Some(attribute) = self.attr(name) else {
            return Ok(None);
        };
        match attribute.r#type.unwrap_or(0) {
            found if found == expected as i32 || found == AttributeType::Undefined as i32 => Ok(Some(attribute)),
            _ => Err(format!(
                "the attribute `{name}` has the wrong type; expected {expected:?}"
            )),
        }
    }

    /// True when the node has the attribute `name`.
    pub fn has_attr(&self, name: &str) -> bool {
        self.attr(name).is_some()
    }

    /// An integer.
    pub fn int(&self, name: &str, default: i64) -> Result<i64, String> {
        let attribute = self.typed(name, AttributeType::Int)?;
        Ok(attribute.map_or(default, |attribute| attribute.i.unwrap_or(0)))
    }

    /// A number.
    pub fn float(&self, name: &str, default: f64) -> Result<f64, String> {
        let attribute = self.typed(name, AttributeType::Float)?;
        let value = attribute.map_or(default, |attribute| attribute.f.unwrap_or(0.0).into());
        if value.is_finite() {
            Ok(value)
        } else {
            Err(format!("the attribute `{name}` is {value}"))
        }
    }

    /// A string.
    pub fn string(&self, name: &str, default: &'a str) -> Result<&'a str, String> {
        match self.typed(name, AttributeType::String)? {
            Some(attribute) => std::str::from_utf8(attribute.s.as_deref().unwrap_or_default())
                .map_err(|_| format!("the attribute `{name}` is no text")),
            None => Ok(default),
        }
    }

    /// A list of integers, if it is there.
    pub fn ints_attr(&self, name: &str) -> Result<Option<&'a [i64]>, String> {
        let attribute = self.typed(name, AttributeType::Ints)?;
        Ok(attribute.map(|attribute| attribute.ints.as_slice()))
    }

    /// A list of numbers, if it is there.
    pub fn floats_attr(&self, name: &str) -> Result<Option<&'a [f32]>, String> {
        let attribute = self.typed(name, AttributeType::Floats)?;
        Ok(attribute.map(|attribute| attribute.floats.as_slice()))
    }

    /// A tensor, if it is there.
    pub fn tensor_attr(&self, name: &str) -> Result<Option<&'a TensorProto>, String> {
        let attribute = self.typed(name, AttributeType::Tensor)?;
        Ok(attribute.and_then(|attribute| attribute.t.as_ref()))
    }

    // Operands.

    fn operand_name(&self, index: usize) -> Option<&'a str> {
        let name = self.source.input.get(index).map(String::as_str);
        name.filter(|name| !name.is_empty())
    }

    /// True when operand `index` is there.
    pub fn has_operand(&self, index: usize) -> bool {
        self.operand_name(index).is_some()
    }

    /// Operand `index`.
    pub fn operand(&self, index: usize) -> Result<Value, String> {
        let name = self
            .operand_name(index)
            .ok_or_else(|| format!("operand {index} is missing"))?;
        let value = self.import.values.get(name);
        value.cloned().ok_or_else(|| format!("`{name}` is not known"))
    }

    /// Operand `index` as a value of the graph.
    pub fn value(&mut self, index: usize) -> Result<ValueId, String> {
        let name = self
            .operand_name(index)
            .ok_or_else(|| format!("operand {index} is missing"))?;
        self.import.value(name)
    }

    /// Operand `index` as a value of the graph, if it is there.
    pub fn optional_value(&mut self, index: usize) -> Result<Option<ValueId>, String> {
        if self.has_operand(index) {
            self.value(index).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Shape of operand `index`.
    pub fn shape(&self, index: usize) -> Result<Vec<usize>, String> {
        Ok(match self.operand(index)? {
            Value::Node(id) => self.import.graph.ty(id).shape.clone(),
            Value::Float(tensor) => tensor.shape().to_vec(),
            Value::Int(ints) => ints.shape,
            Value::Unknown => return Err(format!("the shape of operand {index} is not known")),
        })
    }

    /// Shape of a value of the graph.
    pub fn shape_of(&self, value: ValueId) -> Vec<usize> {
        self.import.graph.ty(value).shape.clone()
    }

    /// Operand `index`, which must be integers known at compile time, if it is there.
    pub fn ints(&self, index: usize) -> Result<Option<Ints>, String> {
        if !self.has_operand(index) {
            return Ok(None);
        }
        match self.operand(index)? {
            Value::Int(ints) => Ok(Some(ints)),
            _ => Err(format!(
                "operand {index} must be integers that are known at compile time"
            )),
        }
    }

    /// Operand `index`, which must be numbers known at compile time, if it is there.
    pub fn constant(&self, index: usize) -> Result<Option<Tensor>, String> {
        if !self.has_operand(index) {
            return Ok(None);
        }
        match self.operand(index)? {
            Value::Float(tensor) => Ok(Some(tensor)),
            Value::Int(ints) => Ok(Some(ints.to_tensor())),
            _ => Err(format!("operand {index} must be a constant")),
        }
    }

    /// Operand `index`, which must be one number known at compile time (or many equal ones), if it is there.
    pub fn scalar(&self, index: usize) -> Result<Option<f64>, String> {
        let Some(tensor) = self.constant(index)? else {
            return Ok(None);
        };
        let values = tensor.to_vec().map_err(|error| error.to_string())?;
        match values.split_first() {
            Some((first, rest)) if rest.iter().all(|x| x == first) => Ok(Some(*first)),
            _ => Err(format!("operand {index} must be a single number")),
        }
    }

    /// Integers that are the attribute `name` in older operator sets and operand `index` in newer ones.
    pub fn ints_attr_or_operand(&self, name: &str, index: usize) -> Result<Option<Vec<i64>>, String> {
        match self.ints_attr(name)? {
            Some(ints) => Ok(Some(ints.to_vec())),
            None => Ok(self.ints(index)?.map(|ints| ints.values)),
        }
    }

    // Results.

    /// Appends an op.
    pub fn push(&mut self, op: NnOp) -> Result<ValueId, String> {
        let pushed = self.import.graph.push(op, self.origin.clone());
        pushed.map_err(|error| message(&error))
    }

    /// Appends an op that yields the node's only result.
    pub fn emit(&mut self, op: NnOp) -> Result<Vec<Value>, String> {
        Ok(vec![Value::Node(self.push(op)?)])
    }

    /// Operand `index` under another shape, as the node's only result.
    pub fn emit_reshaped(&mut self, index: usize, shape: Vec<usize>) -> Result<Vec<Value>, String> {
        let found = self.shape(index)?;
        aphelion_ir::shape::reshape(&found, &shape)?;
        Ok(vec![match self.operand(index)? {
            Value::Float(tensor) => Value::Float(tensor.reshaped(shape).map_err(|error| error.to_string())?),
            Value::Int(ints) => Value::Int(Ints { shape, ..ints }),
            Value::Node(x) if found == shape => Value::Node(x),
            Value::Node(x) => Value::Node(self.push(NnOp::Reshape { x, shape })?),
            Value::Unknown => Value::Unknown,
        }])
    }
}

/// Axis `axis` of a tensor of `rank`, counted from the end when negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let counted = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(counted)
        .ok()
        .filter(|axis| *axis < rank)
        .ok_or_else(|| format!("axis {axis} is outside of a tensor of rank {rank}"))
}

/// Distinct axes of a tensor of `rank`, ascending.
pub(super) fn axes(axes: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    let mut found = axes.iter().map(|&x| axis(x, rank)).collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    if found.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("an axis stands twice in {axes:?}"));
    }
    Ok(found)
}
