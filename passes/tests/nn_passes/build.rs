//! Small graphs, and the interpreter on both sides of a pass.

use aphelion_ir::nn::{Func, Nn, NnOp, evaluate};
use aphelion_ir::{ConstantPool, Graph, Origin, Tensor, ValueId};
use aphelion_passes::{PassCx, PassError, Stats};
use std::collections::BTreeMap;

/// A graph under construction; every op is named after itself.
pub struct Build(pub Graph<Nn>);

impl Build {
    pub fn new() -> Self {
        Build(Graph::new("test", ConstantPool::default()))
    }

    pub fn op(&mut self, op: NnOp) -> ValueId {
        let name = aphelion_ir::Op::mnemonic(&op);
        self.0.push(op, Origin::new(name, name)).expect("op")
    }

    pub fn input(&mut self, shape: &[usize]) -> ValueId {
        let name = "x".to_string();
        let shape = shape.to_vec();
        self.op(NnOp::Input { name, shape })
    }

    /// Numbers without a pattern, in [-1, 1].
    pub fn weights(&mut self, name: &str, shape: &[usize]) -> ValueId {
        let n = shape.iter().product();
        let values = (0..n).map(|i| (i as f64 * 12.9898 + name.len() as f64).sin()).collect();
        self.constant(name, shape, values)
    }

    pub fn constant(&mut self, name: &str, shape: &[usize], values: Vec<f64>) -> ValueId {
        let value = self.0.constants.insert(name, Tensor::from_f64(shape.to_vec(), values));
        self.op(NnOp::Constant { value })
    }

    pub fn number(&mut self, value: f64) -> ValueId {
        self.constant("number", &[], vec![value])
    }

    pub fn apply(&mut self, x: ValueId, func: Func) -> ValueId {
        self.op(NnOp::Apply { x, func })
    }

    pub fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(NnOp::Add { a, b })
    }

    pub fn sub(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(NnOp::Sub { a, b })
    }

    pub fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(NnOp::Mul { a, b })
    }

    pub fn div(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(NnOp::Div { a, b })
    }

    pub fn gemm(&mut self, a: ValueId, b: ValueId, c: Option<ValueId>) -> ValueId {
        self.op(NnOp::Gemm {
            a,
            b,
            c,
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: true,
        })
    }

    pub fn conv(&mut self, x: ValueId, weight: ValueId, bias: Option<ValueId>, pad: usize) -> ValueId {
        let rank = self.0.ty(x).shape.len() - 2;
        self.op(NnOp::Conv {
            x,
            weight,
            bias,
            strides: vec![1; rank],
            pads: vec![(pad, pad); rank],
            dilations: vec![1; rank],
            groups: 1,
        })
    }

    pub fn output(mut self, value: ValueId) -> Graph<Nn> {
        self.0.output("y", value);
        self.0
    }
}

/// Mnemonics of the ops that are no constants, in order.
pub fn ops(graph: &Graph<Nn>) -> Vec<&'static str> {
    let all = graph.iter().map(|(_, node)| aphelion_ir::Op::mnemonic(&node.op));
    all.filter(|name| *name != "constant").collect()
}

pub fn n_values(graph: &Graph<Nn>) -> usize {
    let is_input = |op: &NnOp| matches!(op, NnOp::Input { .. });
    let inputs = graph.iter().filter(|(_, node)| is_input(&node.op));
    inputs.map(|(_, node)| node.ty.len()).sum()
}

pub fn run_on(graph: &Graph<Nn>, x: &[f64]) -> Vec<f64> {
    let inputs = BTreeMap::from([("x".to_string(), x.to_vec())]);
    evaluate(graph, &inputs).expect("evaluates").concat()
}

/// Inputs without a pattern, in [-3, 3].
pub fn some_inputs(graph: &Graph<Nn>, seed: usize) -> Vec<f64> {
    (0..n_values(graph))
        .map(|i| 3.0 * ((i + 100 * seed) as f64 * 78.233).sin())
        .collect()
}

type Pass = fn(&PassCx, Graph<Nn>) -> Result<(Graph<Nn>, Stats), PassError>;

/// Runs a pass, and checks that the result is valid and computes the same up to `tolerance`.
#[track_caller]
pub fn same_after(pass: Pass, graph: Graph<Nn>, tolerance: f64) -> (Graph<Nn>, Stats) {
    let (after, stats) = pass(&PassCx::default(), graph.clone()).expect("pass");
    after.verify().expect("verifies");
    for seed in 0..5 {
        let x = some_inputs(&graph, seed);
        let (expected, found) = (run_on(&graph, &x), run_on(&after, &x));
        assert_eq!(expected.len(), found.len());
        for (index, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let difference = (expected - found).abs();
            assert!(
                difference <= tolerance * (1.0 + expected.abs()),
                "element {index}: {found} after, {expected} before"
            );
        }
    }
    (after, stats)
}
