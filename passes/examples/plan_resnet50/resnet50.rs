//! A network of the shape of ResNet-50 (He et al., CVPR 2016) with generated weights: bottlenecks of 1x1, 3x3 and 1x1
//! convolutions in four stages, polynomials for activations, average pools.

use aphelion_ir::nn::{Nn, NnOp, Pool, ValueRange};
use aphelion_ir::slot::{Basis, Polynomial};
use aphelion_ir::{ConstantPool, Graph, Origin, Tensor, ValueId};

/// Blocks of every stage.
const BLOCKS: [usize; 4] = [3, 4, 6, 3];
/// Channels within the blocks of the first stage, four times as many between blocks; twice as many in every stage after.
const WIDTH: usize = 64;
const N_CLASSES: usize = 1000;

/// The network for images of `image` x `image` pixels, with channels and classes divided by `thinner`; its first
/// `n_blocks` blocks only.
pub fn resnet50(image: usize, thinner: usize, n_blocks: usize) -> Graph<Nn> {
    let mut graph: Graph<Nn> = Graph::new("resnet50", ConstantPool::default());
    let shape = vec![1, 3, image, image];
    let mut x = push(
        &mut graph,
        "Input",
        NnOp::Input {
            name: "x".into(),
            shape,
        },
    );
    x = conv(&mut graph, x, WIDTH / thinner, 7, 2);
    x = activation(&mut graph, x);
    let window = Pool {
        kernel: vec![3, 3],
        strides: vec![2, 2],
        pads: vec![(1, 1), (1, 1)],
        count_include_pad: true,
    };
    x = push(&mut graph, "AveragePool", NnOp::AvgPool { x, window });
    let stages = BLOCKS.iter().enumerate();
    let blocks = stages.flat_map(|(stage, &n)| (0..n).map(move |block| (stage, block)));
    for (stage, block) in blocks.take(n_blocks) {
        let stride = if stage > 0 && block == 0 { 2 } else { 1 };
        x = bottleneck(&mut graph, x, (WIDTH << stage) / thinner, stride);
    }
    let (axes, n_channels) = (vec![2, 3], graph.ty(x).shape[1]);
    x = push(
        &mut graph,
        "Mean",
        NnOp::ReduceMean {
            x,
            axes,
            keep_dims: false,
        },
    );
    let weight = weights(&mut graph, &[N_CLASSES / thinner, n_channels]);
    let gemm = NnOp::Gemm {
        a: x,
        b: weight,
        c: None,
        alpha: 1.0,
        beta: 1.0,
        trans_a: false,
        trans_b: true,
    };
    let y = push(&mut graph, "Gemm", gemm);
    graph.output("y", y);
    let range = |(id, _)| {
        let ValueId(value) = id;
        ValueRange {
            value,
            low: -1.0,
            high: 1.0,
        }
    };
    graph.attrs.ranges = graph.iter().map(range).collect();
    graph
}

fn bottleneck(graph: &mut Graph<Nn>, x: ValueId, width: usize, stride: usize) -> ValueId {
    let inner = conv(graph, x, width, 1, 1);
    let inner = activation(graph, inner);
    let inner = conv(graph, inner, width, 3, stride);
    let inner = activation(graph, inner);
    let inner = conv(graph, inner, 4 * width, 1, 1);
    let shortcut = match graph.ty(x).shape == graph.ty(inner).shape {
        true => x,
        false => conv(graph, x, 4 * width, 1, stride),
    };
    let sum = push(graph, "Add", NnOp::Add { a: inner, b: shortcut });
    activation(graph, sum)
}

fn conv(graph: &mut Graph<Nn>, x: ValueId, n_out: usize, kernel: usize, stride: usize) -> ValueId {
    let n_in = graph.ty(x).shape[1];
    let op = NnOp::Conv {
        x,
        weight: weights(graph, &[n_out, n_in, kernel, kernel]),
        bias: None,
        strides: vec![stride; 2],
        pads: vec![(kernel / 2, kernel / 2); 2],
        dilations: vec![1; 2],
        groups: 1,
    };
    push(graph, "Conv", op)
}

fn activation(graph: &mut Graph<Nn>, x: ValueId) -> ValueId {
    let poly = Polynomial {
        basis: Basis::Chebyshev {},
        low: -1.0,
        high: 1.0,
        coeffs: vec![0.3, 0.5, 0.2, 0.0, -0.04],
    };
    push(graph, "Relu", NnOp::Poly { x, poly })
}

/// A tensor without zeros.
fn weights(graph: &mut Graph<Nn>, shape: &[usize]) -> ValueId {
    let n: usize = shape.iter().product();
    let values = (0..n).map(|i| ((i * 37 + 11) % 101) as f32 / 50.0 - 0.999).collect();
    let tensor = Tensor::from_f32(shape.to_vec(), values);
    let value = graph.constants.insert("w", tensor);
    push(graph, "Constant", NnOp::Constant { value })
}

fn push(graph: &mut Graph<Nn>, kind: &str, op: NnOp) -> ValueId {
    let origin = Origin::new(format!("{kind}{}", graph.len()), kind);
    graph.push(op, origin).expect("the op is valid")
}
