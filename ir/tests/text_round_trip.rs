//! `parse(print(g)) == g` for a graph of every dialect, and errors that point at line and column.

use aphelion_ir::ckks::{Bsgs, Ckks, CkksOp};
use aphelion_ir::nn::{Func, Nn, NnOp};
use aphelion_ir::slot::{Kernel, Layout, LinearMap, PlainTensor, Slot, SlotOp};
use aphelion_ir::text::{parse_graph, print_graph};
use aphelion_ir::{ConstRef, ConstantPool, Dialect, Graph, IrError, Origin, Tensor};

fn round_trip<D: Dialect>(graph: &Graph<D>) -> String {
    graph.verify().expect("the graph is valid");
    let text = print_graph(graph).expect("all constants are there");
    let parsed = parse_graph::<D>(&text, &graph.constants).expect("printed text parses");
    assert_eq!(*graph, parsed);
    assert_eq!(text, print_graph(&parsed).expect("prints again"));
    text
}

fn pool() -> ConstantPool {
    let mut pool = ConstantPool::default();
    pool.insert(
        "fc.weight",
        Tensor::from_f32(vec![3, 4], (0..12).map(|x| x as f32 * 0.25).collect()),
    );
    pool.insert("fc bias:0", Tensor::from_f32(vec![3], vec![0.1, -2.0, 1e-8]));
    pool
}

fn nn_graph() -> Graph<Nn> {
    let mut graph = Graph::new("tiny", pool());
    let input = NnOp::Input {
        name: "x".into(),
        shape: vec![1, 4],
    };
    let x = graph.push(input, Origin::new("x", "Input")).expect("input");
    let mut constant = |name: &str| {
        let op = NnOp::Constant {
            value: ConstRef::new(name),
        };
        graph.push(op, Origin::new(name, "Constant")).expect("constant")
    };
    let (weight, bias) = (constant("fc.weight"), constant("fc bias:0"));
    let gemm = NnOp::Gemm {
        a: x,
        b: weight,
        c: Some(bias),
        alpha: 1.0,
        beta: 1.0,
        trans_a: false,
        trans_b: true,
    };
    let y = graph
        .push(gemm, Origin::new("fc", "Gemm").with_span(10, 24))
        .expect("gemm");
    let relu = NnOp::Apply {
        x: y,
        func: Func::LeakyRelu { alpha: 0.01 },
    };
    let z = graph.push(relu, Origin::new("act \"1\"", "LeakyRelu")).expect("apply");
    graph.output("y", z);
    graph
}

#[test]
fn nn() {
    let text = round_trip(&nn_graph());
    assert!(text.contains("%3 = gemm %0, %1, %2 {alpha: 1.0,"), "{text}");
    assert!(text.contains("const @\"fc bias:0\" : f32[3] = [0.1"), "{text}");
}

fn kernel() -> (Layout, Kernel) {
    let input = Layout::dense(&[1, 4], 16);
    let map = LinearMap::Compose {
        maps: vec![
            LinearMap::Factor {
                shape: vec![1, 4],
                by: 0.5,
            },
            LinearMap::Dense {
                input: vec![1, 4],
                weight: ConstRef::new("fc.weight"),
                transposed: true,
            },
        ],
    };
    (
        input,
        Kernel {
            map,
            output: Layout::dense(&[1, 3], 16),
            fold: vec![],
        },
    )
}

#[test]
fn slot() {
    let (layout, kernel) = kernel();
    let mut graph = Graph::<Slot>::new("tiny", pool());
    graph.attrs.slots = 16;
    graph.attrs.output_scales = vec![1.5];
    graph.attrs.client_ops = vec![vec![]];
    let x = graph
        .push(
            SlotOp::Input {
                name: "x".into(),
                layout,
                scale: 2.0,
            },
            Origin::default(),
        )
        .expect("input");
    let y = graph
        .push(SlotOp::Linear { x, kernel }, Origin::new("fc", "Gemm"))
        .expect("linear");
    let value = PlainTensor {
        value: ConstRef::new("fc bias:0"),
        factor: 0.5,
    };
    let z = graph
        .push(SlotOp::AddPlain { x: y, value }, Origin::new("fc", "Gemm"))
        .expect("bias");
    graph.output("y", z);
    round_trip(&graph);
}

#[test]
fn ckks() {
    let (input, kernel) = kernel();
    let mut graph = Graph::<Ckks>::new("tiny", pool());
    let op = CkksOp::Input {
        name: "x".into(),
        layout: input.clone(),
        scale: 1.0,
        level: 2,
    };
    let x = graph.push(op, Origin::default()).expect("input");
    let bsgs = Bsgs {
        baby_steps: vec![0, 1],
        giant_steps: vec![0, 2],
    };
    let op = CkksOp::LinearTransform {
        x,
        kernel,
        input,
        bsgs,
        at: 2,
    };
    let t = graph.push(op, Origin::new("fc", "Gemm")).expect("transform");
    let y = graph
        .push(CkksOp::Rescale { x: t }, Origin::new("fc", "Gemm"))
        .expect("rescale");
    graph.output("y", y);
    let text = round_trip(&graph);
    assert!(text.contains("<1 x 16, level 1, scale 1, degree 1>"), "{text}");
}

#[test]
fn errors_point_at_the_place() {
    let text = print_graph(&nn_graph())
        .expect("prints")
        .replace("func: leaky_relu", "func: leaky_rel");
    match parse_graph::<Nn>(&text, &pool()) {
        Err(IrError::Parse(error)) => {
            let line = text
                .lines()
                .position(|line| line.contains("leaky_rel"))
                .expect("the line is there")
                + 1;
            assert_eq!(error.at.line, line);
            assert!(error.message.contains("unknown variant `leaky_rel`"), "{error}");
        }
        other => panic!("expected a parse error, found {other:?}"),
    }
}

#[test]
fn a_changed_constant_is_refused() {
    let text = print_graph(&nn_graph()).expect("prints");
    let mut other = ConstantPool::default();
    other.insert("fc.weight", Tensor::from_f32(vec![3, 4], vec![0.0; 12]));
    assert!(matches!(
        parse_graph::<Nn>(&text, &other),
        Err(IrError::Constant { .. })
    ));
}

mod garbled {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn mutated_text_never_panics(at in 0usize..2000, byte in any::<u8>(), cut in 0usize..2000) {
            let mut bytes = print_graph(&nn_graph()).expect("prints").into_bytes();
            let (at, cut) = (at % bytes.len(), cut % bytes.len());
            bytes[at] = byte;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let _ = parse_graph::<Nn>(&text, &pool());
            let _ = parse_graph::<Nn>(&text.chars().take(cut).collect::<String>(), &pool());
            let _ = parse_graph::<Ckks>(&text, &pool());
        }
    }
}
