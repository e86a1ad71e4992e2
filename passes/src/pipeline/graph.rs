//! A graph of any dialect, for tools that run passes by name.

use crate::PassError;
use aphelion_ir::ckks::Ckks;
use aphelion_ir::nn::Nn;
use aphelion_ir::slot::Slot;
use aphelion_ir::text::{parse_graph, print_graph};
use aphelion_ir::{ConstantPool, Dialect, Graph, IrError};

/// A graph of one of the dialects.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyGraph {
    /// A model.
    Nn(Graph<Nn>),
    /// Packed vectors.
    Slot(Graph<Slot>),
    /// Ciphertexts.
    Ckks(Graph<Ckks>),
}

impl AnyGraph {
    /// Parses the text of a graph, of the dialect that its first word names.
    ///
    /// # Errors
    /// When the first word is no dialect, or the rest no such graph.
    pub fn parse(text: &str, constants: &ConstantPool) -> Result<Self, PassError> {
        let first_word = text.split_whitespace().next().unwrap_or_default();
        match first_word {
            Nn::NAME => Ok(AnyGraph::Nn(parse_graph(text, constants)?)),
            Slot::NAME => Ok(AnyGraph::Slot(parse_graph(text, constants)?)),
            Ckks::NAME => Ok(AnyGraph::Ckks(parse_graph(text, constants)?)),
            other => Err(PassError::BadInput(format!(
                "a graph begins with its dialect ({}, {} or {}), found `{other}`",
                Nn::NAME,
                Slot::NAME,
                Ckks::NAME
            ))),
        }
    }

    /// Name of the dialect.
    pub fn dialect(&self) -> &'static str {
        match self {
            AnyGraph::Nn(_) => Nn::NAME,
            AnyGraph::Slot(_) => Slot::NAME,
            AnyGraph::Ckks(_) => Ckks::NAME,
        }
    }

    /// The text form.
    ///
    /// # Errors
    /// When a constant cannot be read.
    pub fn print(&self) -> Result<String, IrError> {
        match self {
            AnyGraph::Nn(graph) => print_graph(graph),
            AnyGraph::Slot(graph) => print_graph(graph),
            AnyGraph::Ckks(graph) => print_graph(graph),
        }
    }

    /// The constants that its ops use.
    ///
    /// # Errors
    /// When one is missing.
    pub fn used_constants(&self) -> Result<ConstantPool, IrError> {
        match self {
            AnyGraph::Nn(graph) => graph.used_pool(),
            AnyGraph::Slot(graph) => graph.used_pool(),
            AnyGraph::Ckks(graph) => graph.used_pool(),
        }
    }

    /// Checks every op.
    ///
    /// # Errors
    /// All findings.
    pub fn verify(&self) -> Result<(), IrError> {
        match self {
            AnyGraph::Nn(graph) => graph.verify(),
            AnyGraph::Slot(graph) => graph.verify(),
            AnyGraph::Ckks(graph) => graph.verify(),
        }
    }

    /// Number of ops.
    pub fn n_ops(&self) -> usize {
        match self {
            AnyGraph::Nn(graph) => graph.len(),
            AnyGraph::Slot(graph) => graph.len(),
            AnyGraph::Ckks(graph) => graph.len(),
        }
    }
}
