//! The arena: a graph of ops in SSA form, each yielding one value, each with a type and an origin.

use crate::constant::{ConstRef, ConstantPool};
use crate::dialect::{Dialect, Op};
use crate::error::{Diagnostic, IrError};
use crate::origin::Origin;
use std::collections::BTreeSet;
use std::fmt;

/// A value of a graph, and the op that yields it. Printed `%7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

impl ValueId {
    /// Position in arena order.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// An op with the type of its value and its source location.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<D: Dialect> {
    /// The op.
    pub op: D::Op,
    /// Type of the value that it yields.
    pub ty: D::Type,
    /// Where it comes from.
    pub origin: Origin,
}

/// A named result of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Name of the result, as the model spells it.
    pub name: String,
    /// The value.
    pub value: ValueId,
}

/// A program of dialect `D`.
#[derive(Clone, Debug)]
pub struct Graph<D: Dialect> {
    /// Name of the model.
    pub name: String,
    /// Annotations of the whole graph.
    pub attrs: D::Attrs,
    /// The tensors that attributes refer to; may hold more than this graph uses.
    pub constants: ConstantPool,
    nodes: Vec<Node<D>>,
    outputs: Vec<Output>,
}

impl<D: Dialect> Graph<D> {
    /// An empty graph that shares `constants`.
    pub fn new(name: impl Into<String>, constants: ConstantPool) -> Self {
        Graph {
            name: name.into(),
            attrs: D::Attrs::default(),
            constants,
            nodes: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Appends `op`, computes its type, and returns its value.
    ///
    /// # Errors
    /// When an operand is not defined yet, or the type rule of the op rejects it.
    pub fn push(&mut self, op: D::Op, origin: Origin) -> Result<ValueId, IrError> {
        let id = ValueId(self.nodes.len() as u32);
        match self.check(id, &op) {
            Ok(ty) => {
                self.nodes.push(Node { op, ty, origin });
                Ok(id)
            }
            Err(message) => {
                let op = format!("{id} = {}", crate::text::print_op::<D>(&op));
                Err(IrError::Invalid(vec![Diagnostic { op, origin, message }]))
            }
        }
    }

    /// Declares `value` as the result called `name`.
    pub fn output(&mut self, name: impl Into<String>, value: ValueId) {
        self.outputs.push(Output {
            name: name.into(),
            value,
        });
    }

    /// The node that yields `value`.
    ///
    /// # Panics
    /// When `value` is of another graph and beyond the end of this one.
    pub fn node(&self, value: ValueId) -> &Node<D> {
        &self.nodes[value.index()]
    }

    /// The op that yields `value`.
    pub fn op(&self, value: ValueId) -> &D::Op {
        &self.node(value).op
    }

    /// The type of `value`.
    pub fn ty(&self, value: ValueId) -> &D::Type {
        &self.node(value).ty
    }

    /// The source location of `value`.
    pub fn origin(&self, value: ValueId) -> &Origin {
        &self.node(value).origin
    }

    /// Number of ops.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True when there are no ops.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Values with their nodes, operands before users.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (ValueId, &Node<D>)> + ExactSizeIterator {
        self.nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (ValueId(index as u32), node))
    }

    /// The named results.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// For every value, the values that use it as an operand, ascending; a user that takes it twice stands twice.
    pub fn users(&self) -> Vec<Vec<ValueId>> {
        let mut users = vec![Vec::new(); self.nodes.len()];
        for (id, node) in self.iter() {
            for operand in node.op.operands() {
                users[operand.index()].push(id);
            }
        }
        users
    }

    /// For every value, whether a result depends on it.
    pub fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        for output in &self.outputs {
            live[output.value.index()] = true;
        }
        for (id, node) in self.iter().rev() {
            if live[id.index()] {
                for operand in node.op.operands() {
                    live[operand.index()] = true;
                }
            }
        }
        live
    }

    /// Names of the constants that ops refer to, in name order.
    pub fn used_constants(&self) -> BTreeSet<ConstRef> {
        let mut used = BTreeSet::new();
        for node in &self.nodes {
            node.op.visit_constants(&mut |name| {
                used.insert(name.clone());
            });
        }
        used
    }

    /// The constants that ops refer to, as a pool of their own.
    ///
    /// # Errors
    /// When one is missing.
    pub fn used_pool(&self) -> Result<ConstantPool, IrError> {
        let mut pool = ConstantPool::default();
        for name in self.used_constants() {
            pool.insert(&name.0, self.constants.get(&name)?.clone());
        }
        Ok(pool)
    }

    /// Copies the graph without the ops that no result depends on, except those for which `keep` is true (a model's
    /// inputs are part of its signature even when unused).
    ///
    /// # Errors
    /// When a type rule rejects a copied op, that is, when the graph was not valid.
    pub fn without_dead_ops(&self, keep: impl Fn(&D::Op) -> bool) -> Result<Self, IrError> {
        let mut live = self.live();
        for (id, node) in self.iter() {
            live[id.index()] |= keep(&node.op);
        }
        let mut rewriter = Rewriter::new(self);
        for (id, node) in self.iter() {
            if live[id.index()] {
                rewriter.copy(id, node)?;
            }
        }
        Ok(rewriter.finish())
    }

    /// Checks every op against its type rule, and the results.
    ///
    /// # Errors
    /// All findings, in arena order.
    pub fn verify(&self) -> Result<(), IrError> {
        let mut findings = Vec::new();
        for (id, node) in self.iter() {
            let message = match self.check(id, &node.op) {
                Ok(ty) if ty == node.ty => continue,
                Ok(ty) => format!(
                    "its type is {}, the type rule gives {}",
                    crate::text::print_attr(&node.ty),
                    crate::text::print_attr(&ty)
                ),
                Err(message) => message,
            };
            let op = format!("{id} = {}", crate::text::print_op::<D>(&node.op));
            findings.push(Diagnostic {
                op,
                origin: node.origin.clone(),
                message,
            });
        }
        for output in &self.outputs {
            if output.value.index() >= self.nodes.len() {
                findings.push(Diagnostic {
                    op: format!("return \"{}\" = {}", output.name, output.value),
                    origin: Origin::default(),
                    message: "the value is not defined".into(),
                });
            }
        }
        if findings.is_empty() {
            Ok(())
        } else {
            Err(IrError::Invalid(findings))
        }
    }

    fn check(&self, id: ValueId, op: &D::Op) -> Result<D::Type, String> {
        if let Some(operand) = op.operands().into_iter().find(|operand| *operand >= id) {
            return Err(format!("operand {operand} is not defined before its use"));
        }
        D::infer(self, op)
    }
}

/// Graphs are equal when ops, types, origins, results and the constants in use are.
impl<D: Dialect> PartialEq for Graph<D> {
    fn eq(&self, other: &Self) -> bool {
        let same_constants = || {
            self.used_constants()
                .iter()
                .all(|name| matches!((self.constants.get(name), other.constants.get(name)), (Ok(a), Ok(b)) if a == b))
        };
        self.name == other.name
            && self.attrs == other.attrs
            && self.nodes == other.nodes
            && self.outputs == other.outputs
            && same_constants()
    }
}

/// Builds a graph from another of the same dialect, op by op, keeping track of which value became which.
pub struct Rewriter<'a, D: Dialect> {
    source: &'a Graph<D>,
    /// The graph under construction.
    pub target: Graph<D>,
    replaced: Vec<Option<ValueId>>,
}

impl<'a, D: Dialect> Rewriter<'a, D> {
    /// Starts from nothing, with the name, annotations and constants of `source`.
    pub fn new(source: &'a Graph<D>) -> Self {
        let mut target = Graph::new(source.name.clone(), source.constants.clone());
        target.attrs = source.attrs.clone();
        Rewriter {
            source,
            target,
            replaced: vec![None; source.len()],
        }
    }

    /// Copies `node`, which yields `id` in the source, with its operands replaced.
    ///
    /// # Errors
    /// When the type rule rejects the copy.
    ///
    /// # Panics
    /// When an operand was neither copied nor replaced before.
    pub fn copy(&mut self, id: ValueId, node: &Node<D>) -> Result<ValueId, IrError> {
        let mut op = node.op.clone();
        op.map_operands(&mut |operand| self.get(operand));
        let copied = self.target.push(op, node.origin.clone())?;
        self.replace(id, copied);
        Ok(copied)
    }

    /// Records that users of `old` (of the source) shall use `new` (of the target).
    pub fn replace(&mut self, old: ValueId, new: ValueId) {
        self.replaced[old.index()] = Some(new);
    }

    /// What `old` became.
    ///
    /// # Panics
    /// When it was neither copied nor replaced.
    pub fn get(&self, old: ValueId) -> ValueId {
        self.find(old).expect("operand must be rewritten before its users")
    }

    /// What `old` became, if it was copied or replaced.
    pub fn find(&self, old: ValueId) -> Option<ValueId> {
        self.replaced[old.index()]
    }

    /// Appends the results of the source and returns the new graph.
    pub fn finish(mut self) -> Graph<D> {
        for output in self.source.outputs() {
            let value = self.get(output.value);
            self.target.output(output.name.clone(), value);
        }
        self.target
    }
}
