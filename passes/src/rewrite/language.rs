//! The e-graph view of `slot`: ops as e-nodes, attributes as interned leaves that patterns can bind.
//!
//! Invariant: an attribute's id depends only on the order in which attributes are met, so a run is reproducible.

use aphelion_ir::slot::{Kernel, Layout, PlainTensor, Polynomial, Slot, SlotOp};
use aphelion_ir::text::{print_attr, print_op};
use aphelion_ir::{ConstantPool, Graph, Origin, ValueId};
use egg::{Analysis, DidMerge, EGraph, Id, define_language};
use rustc_hash::FxHashMap;
use std::fmt;
use std::str::FromStr;

/// Index of an interned attribute; printed `#3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct AttrId(u32);

impl fmt::Display for AttrId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl FromStr for AttrId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.trim_start_matches('#').parse().map(AttrId)
    }
}

define_language! {
    /// Children are attributes first, then values.
    pub(super) enum SlotExpr {
        Attr(AttrId),
        "input" = Input(Id),
        "add" = Add([Id; 2]),
        "sub" = Sub([Id; 2]),
        "neg" = Neg(Id),
        "mul" = Mul([Id; 2]),
        "add-plain" = AddPlain([Id; 2]),
        "mul-plain" = MulPlain([Id; 2]),
        "add-scalar" = AddScalar([Id; 2]),
        "mul-scalar" = MulScalar([Id; 2]),
        "rotate" = Rotate([Id; 2]),
        "linear" = Linear([Id; 2]),
        "poly" = Poly([Id; 2]),
        "bootstrap" = Bootstrap(Id),
        "results" = Results(Vec<Id>),
    }
}

/// What an op carries besides its operands.
#[derive(Clone, Debug)]
pub(super) enum Attr {
    Input { name: String, layout: Layout, scale: f64 },
    Scalar(f64),
    Plain(PlainTensor),
    Rotation { by: usize, layout: Layout },
    Kernel(Kernel),
    Poly(Polynomial),
}

/// Facts about an e-class.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The attribute, when the class is one.
    pub(super) attr: Option<AttrId>,
    /// Layout of the value, when the class is one.
    pub(super) layout: Option<Layout>,
    /// Source location: that of the first op known to compute the value.
    pub(super) origin: Origin,
}

/// The analysis: interned attributes, the constants they refer to, and facts per class.
pub(super) struct SlotAnalysis {
    attrs: Vec<Attr>,
    ids: FxHashMap<String, AttrId>,
    /// Constants, shared with the graph under rewriting.
    pub(super) constants: ConstantPool,
    /// Source location given to e-nodes that are added next.
    pub(super) origin: Origin,
    /// Rule that adds the next e-nodes.
    pub(super) rule: Option<&'static str>,
    /// E-nodes in the order they were added, each with its rule.
    pub(super) made: Vec<(SlotExpr, Option<&'static str>)>,
}

/// The e-graph of a `slot` graph.
pub(super) type SlotEGraph = EGraph<SlotExpr, SlotAnalysis>;

impl SlotAnalysis {
    pub(super) fn new(constants: ConstantPool) -> Self {
        SlotAnalysis {
            attrs: Vec::new(),
            ids: FxHashMap::default(),
            constants,
            origin: Origin::default(),
            rule: None,
            made: Vec::new(),
        }
    }

    /// The id of `attr`; equal attributes have one id.
    pub(super) fn intern(&mut self, attr: Attr) -> AttrId {
        let key = match &attr {
            Attr::Input { name, layout, scale } => print_op::<Slot>(&SlotOp::Input {
                name: name.clone(),
                layout: layout.clone(),
                scale: *scale,
            }),
            Attr::Scalar(by) => format!("scalar {by:?}"),
            Attr::Plain(value) => format!("plain {}", print_attr(value)),
            Attr::Rotation { by, layout } => format!("rotation {by} {}", print_attr(layout)),
            Attr::Kernel(kernel) => format!("kernel {}", print_attr(kernel)),
            Attr::Poly(poly) => format!("poly {}", print_attr(poly)),
        };
        let next = AttrId(self.attrs.len() as u32);
        let id = *self.ids.entry(key).or_insert(next);
        if id == next {
            self.attrs.push(attr);
        }
        id
    }

    pub(super) fn attr(&self, id: AttrId) -> &Attr {
        &self.attrs[id.0 as usize]
    }
}

impl Analysis<SlotExpr> for SlotAnalysis {
    type Data = Facts;

    fn make(egraph: &mut SlotEGraph, enode: &SlotExpr, _id: Id) -> Facts {
        let rule = egraph.analysis.rule;
        egraph.analysis.made.push((enode.clone(), rule));
        let layout_of = |id: &Id| egraph[*id].data.layout.clone();
        let attr_of = |id: &Id| egraph[*id].data.attr.map(|attr| egraph.analysis.attr(attr));
        let (attr, layout) = match enode {
            SlotExpr::Attr(attr) => (Some(*attr), None),
            SlotExpr::Results(_) => (None, None),
            SlotExpr::Input(attr) => match attr_of(attr) {
                Some(Attr::Input { layout, .. }) => (None, Some(layout.clone())),
                _ => (None, None),
            },
            SlotExpr::Rotate([attr, _]) => match attr_of(attr) {
                Some(Attr::Rotation { layout, .. }) => (None, Some(layout.clone())),
                _ => (None, None),
            },
            SlotExpr::Linear([attr, _]) => match attr_of(attr) {
                Some(Attr::Kernel(kernel)) => (None, Some(kernel.output.clone())),
                _ => (None, None),
            },
            SlotExpr::Add([x, _])
            | SlotExpr::Sub([x, _])
            | SlotExpr::Mul([x, _])
            | SlotExpr::Neg(x)
            | SlotExpr::Bootstrap(x)
            | SlotExpr::AddPlain([_, x])
            | SlotExpr::MulPlain([_, x])
            | SlotExpr::AddScalar([_, x])
            | SlotExpr::MulScalar([_, x])
            | SlotExpr::Poly([_, x]) => (None, layout_of(x)),
        };
        Facts {
            attr,
            layout,
            origin: egraph.analysis.origin.clone(),
        }
    }

    fn merge(&mut self, a: &mut Facts, b: Facts) -> DidMerge {
        // Equal classes hold the same tensor in the same place; only what the unused slots hold may differ, and the
        // layouts are inferred anew when the graph is rebuilt. The class that is kept keeps its facts.
        let fill_attr = a.attr.is_none() && b.attr.is_some();
        let fill_layout = a.layout.is_none() && b.layout.is_some();
        if fill_attr {
            a.attr = b.attr;
        }
        if fill_layout {
            a.layout = b.layout;
        }
        DidMerge(fill_attr || fill_layout, true)
    }
}

/// Adds `graph` to a fresh e-graph; returns it with the class of its results.
pub(super) fn import(graph: &Graph<Slot>) -> (SlotEGraph, Id) {
    let mut egraph = SlotEGraph::new(SlotAnalysis::new(graph.constants.clone()));
    let mut classes: Vec<Id> = Vec::with_capacity(graph.len());
    for (_, node) in graph.iter() {
        egraph.analysis.origin = node.origin.clone();
        let class = |value: &ValueId| classes[value.index()];
        let mut attr = |attr: Attr| {
            let id = egraph.analysis.intern(attr);
            egraph.add(SlotExpr::Attr(id))
        };
        let expr = match &node.op {
            SlotOp::Input { name, layout, scale } => SlotExpr::Input(attr(Attr::Input {
                name: name.clone(),
                layout: layout.clone(),
                scale: *scale,
            })),
            SlotOp::Add { a, b } => SlotExpr::Add([class(a), class(b)]),
            SlotOp::Sub { a, b } => SlotExpr::Sub([class(a), class(b)]),
            SlotOp::Mul { a, b } => SlotExpr::Mul([class(a), class(b)]),
            SlotOp::Neg { x } => SlotExpr::Neg(class(x)),
            SlotOp::Bootstrap { x } => SlotExpr::Bootstrap(class(x)),
            SlotOp::AddPlain { x, value } => SlotExpr::AddPlain([attr(Attr::Plain(value.clone())), class(x)]),
            SlotOp::MulPlain { x, value } => SlotExpr::MulPlain([attr(Attr::Plain(value.clone())), class(x)]),
            SlotOp::AddScalar { x, by } => SlotExpr::AddScalar([attr(Attr::Scalar(*by)), class(x)]),
            SlotOp::MulScalar { x, by } => SlotExpr::MulScalar([attr(Attr::Scalar(*by)), class(x)]),
            SlotOp::Rotate { x, by, layout } => SlotExpr::Rotate([
                attr(Attr::Rotation {
                    by: *by,
                    layout: layout.clone(),
                }),
                class(x),
            ]),
            SlotOp::Linear { x, kernel } => SlotExpr::Linear([attr(Attr::Kernel(kernel.clone())), class(x)]),
            SlotOp::Poly { x, poly } => SlotExpr::Poly([attr(Attr::Poly(poly.clone())), class(x)]),
        };
        classes.push(egraph.add(expr));
    }
    let results = graph
        .outputs()
        .iter()
        .map(|output| classes[output.value.index()])
        .collect();
    let root = egraph.add(SlotExpr::Results(results));
    egraph.rebuild();
    (egraph, root)
}
