//! The canonical text is the same for graphs that differ in names, origins and order only.

use aphelion_ir::nn::{Func, Nn, NnOp};
use aphelion_ir::text::print_canonical;
use aphelion_ir::{ConstantPool, Graph, Origin, Tensor};

/// relu(x w) + x by a constant called `name`; `is_swapped` says which of constant and input comes first.
fn graph(name: &str, values: [f32; 2], is_swapped: bool, func: Func) -> Graph<Nn> {
    let mut graph = Graph::<Nn>::new(name, ConstantPool::default());
    let constant = NnOp::Constant {
        value: graph.constants.insert(name, Tensor::from_f32(vec![2], values.to_vec())),
    };
    let input = NnOp::Input {
        name: "x".into(),
        shape: vec![1, 2],
    };
    let origin = || Origin::new(name, "op");
    let ops = if is_swapped {
        [constant, input]
    } else {
        [input, constant]
    };
    let [first, second] = ops.map(|op| graph.push(op, origin()).expect("valid"));
    let (x, w) = if is_swapped { (second, first) } else { (first, second) };
    let product = graph.push(NnOp::Mul { a: x, b: w }, origin()).expect("valid");
    let activated = graph.push(NnOp::Apply { x: product, func }, origin()).expect("valid");
    let sum = graph.push(NnOp::Add { a: activated, b: x }, origin()).expect("valid");
    graph.output("y", sum);
    graph
}

#[test]
fn names_origins_and_order_do_not_matter() {
    let text = |graph: Graph<Nn>| print_canonical(&graph).expect("constants are in memory");
    let reference = text(graph("w", [1.0, 2.0], false, Func::Relu {}));
    assert_eq!(reference, text(graph("weights/0", [1.0, 2.0], true, Func::Relu {})));
    assert_ne!(reference, text(graph("w", [1.0, 2.5], false, Func::Relu {})));
    assert_ne!(reference, text(graph("w", [1.0, 2.0], false, Func::Tanh {})));
    assert_eq!(reference.lines().count(), 7);
}
