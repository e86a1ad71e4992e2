//! Where an op comes from: the ONNX node or the source span that a diagnostic has to name.

use std::fmt;
use std::sync::Arc;

/// The source location of an op, kept through every lowering.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// Name of the ONNX node, or of the binding in the model language. Empty when a pass made the op from nothing.
    pub name: Arc<str>,
    /// Operator as the source spells it (`Conv`, `Gemm`, `relu`).
    pub kind: Arc<str>,
    /// Byte range in the model-language source, when there is one.
    pub span: Option<(u32, u32)>,
}

impl Origin {
    /// An origin that names a node and its operator.
    pub fn new(name: impl Into<Arc<str>>, kind: impl Into<Arc<str>>) -> Self {
        Origin {
            name: name.into(),
            kind: kind.into(),
            span: None,
        }
    }

    /// The same origin with a byte range of the model-language source.
    pub fn with_span(mut self, start: usize, end: usize) -> Self {
        self.span = Some((start as u32, end as u32));
        self
    }

    /// True when nothing is known of the source.
    pub fn is_unknown(&self) -> bool {
        self.name.is_empty() && self.kind.is_empty()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.is_empty(), self.kind.is_empty()) {
            (true, true) => f.write_str("<generated>"),
            (true, false) => write!(f, "{}", self.kind),
            (false, true) => write!(f, "`{}`", self.name),
            (false, false) => write!(f, "`{}` ({})", self.name, self.kind),
        }
    }
}
