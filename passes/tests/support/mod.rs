//! Networks with generated weights and ranges taken from a few samples.

use aphelion_ir::nn::{Interpreter, Nn, NnOp, Pool, ValueRange};
use aphelion_ir::slot::{Basis, Polynomial};
use aphelion_ir::{ConstantPool, Graph, Origin, Tensor, ValueId};
use std::collections::BTreeMap;

/// Values in [-1, 1) from a seed.
pub fn noise(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..n).map(next).collect()
}

/// A network under construction, with one input `x`.
pub struct Net {
    pub graph: Graph<Nn>,
    n_ops: usize,
}

impl Net {
    pub fn new(name: &str, shape: &[usize]) -> (Net, ValueId) {
        let mut net = Net {
            graph: Graph::new(name, ConstantPool::default()),
            n_ops: 0,
        };
        let x = net.push(
            "x",
            NnOp::Input {
                name: "x".into(),
                shape: shape.to_vec(),
            },
        );
        (net, x)
    }

    pub fn push(&mut self, kind: &str, op: NnOp) -> ValueId {
        self.n_ops += 1;
        let origin = Origin::new(format!("{kind}{}", self.n_ops), kind);
        self.graph.push(op, origin).expect("the op is valid")
    }

    pub fn shape(&self, x: ValueId) -> Vec<usize> {
        self.graph.ty(x).shape.clone()
    }

    pub fn constant(&mut self, shape: &[usize], fan_in: usize) -> ValueId {
        let n: usize = shape.iter().product();
        let by = 1.5 / (fan_in as f64).sqrt();
        let values = noise(self.n_ops as u64 + 1, n).iter().map(|value| value * by).collect();
        let value = self
            .graph
            .constants
            .insert("c", Tensor::from_f64(shape.to_vec(), values));
        self.push("c", NnOp::Constant { value })
    }

    pub fn gemm(&mut self, x: ValueId, n_out: usize) -> ValueId {
        let n_in = self.shape(x)[1];
        let (b, c) = (self.constant(&[n_out, n_in], n_in), self.constant(&[n_out], n_in));
        let op = NnOp::Gemm {
            a: x,
            b,
            c: Some(c),
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: true,
        };
        self.push("Gemm", op)
    }

    pub fn conv(&mut self, x: ValueId, n_out: usize, kernel: &[usize], stride: usize, pad: usize) -> ValueId {
        let n_in = self.shape(x)[1];
        let fan_in = n_in * kernel.iter().product::<usize>();
        let weight = self.constant(&[&[n_out, n_in], kernel].concat(), fan_in);
        let bias = self.constant(&[n_out], fan_in);
        let op = NnOp::Conv {
            x,
            weight,
            bias: Some(bias),
            strides: vec![stride; kernel.len()],
            pads: vec![(pad, pad); kernel.len()],
            dilations: vec![1; kernel.len()],
            groups: 1,
        };
        self.push("Conv", op)
    }

    pub fn square(&mut self, x: ValueId) -> ValueId {
        self.push("Square", NnOp::Mul { a: x, b: x })
    }

    /// A polynomial that looks like a smooth ReLU on [low, high].
    pub fn poly(&mut self, x: ValueId, low: f64, high: f64) -> ValueId {
        let poly = Polynomial {
            basis: Basis::Chebyshev {},
            low,
            high,
            coeffs: [0.5, 0.4, 0.2, 0.1, -0.05, 0.02, 0.01, 0.01].map(|c| c * high).to_vec(),
        };
        self.push("Relu", NnOp::Poly { x, poly })
    }

    pub fn pool(&mut self, x: ValueId, window: usize) -> ValueId {
        let rank = self.shape(x).len() - 2;
        let window = Pool {
            kernel: vec![window; rank],
            strides: vec![window; rank],
            pads: vec![(0, 0); rank],
            count_include_pad: false,
        };
        self.push("AveragePool", NnOp::AvgPool { x, window })
    }

    pub fn flatten(&mut self, x: ValueId) -> ValueId {
        let n = self.graph.ty(x).len();
        self.push("Flatten", NnOp::Reshape { x, shape: vec![1, n] })
    }

    /// Ends the network, with ranges over three samples.
    pub fn finish(mut self, y: ValueId) -> Graph<Nn> {
        self.graph.output("y", y);
        let mut ranges: Vec<Option<(f64, f64)>> = vec![None; self.graph.len()];
        let interpreter = Interpreter::new(&self.graph).expect("loads");
        for seed in 0..3 {
            let values = interpreter.evaluate_all(&sample(&self.graph, seed)).expect("evaluates");
            for (range, value) in ranges.iter_mut().zip(&values) {
                for &value in value.iter() {
                    let (low, high) = range.unwrap_or((value, value));
                    *range = Some((low.min(value), high.max(value)));
                }
            }
        }
        let listed = ranges.iter().enumerate().filter_map(|(value, range)| {
            let (low, high) = (*range)?;
            Some(ValueRange {
                value: value as u32,
                low: low * 1.25,
                high: high * 1.25,
            })
        });
        self.graph.attrs.ranges = listed.collect();
        self.graph
    }
}

/// An input of the network.
pub fn sample(graph: &Graph<Nn>, seed: u64) -> BTreeMap<String, Vec<f64>> {
    let n = graph.iter().find_map(|(_, node)| match &node.op {
        NnOp::Input { shape, .. } => Some(shape.iter().product()),
        _ => None,
    });
    BTreeMap::from([("x".to_string(), noise(1000 + seed, n.expect("has an input")))])
}

/// 784-128-128-10 with squares.
pub fn mlp() -> Graph<Nn> {
    let (mut net, mut x) = Net::new("mlp", &[1, 784]);
    for n in [128, 128] {
        x = net.gemm(x, n);
        x = net.square(x);
    }
    x = net.gemm(x, 10);
    net.finish(x)
}

/// Convolution 5x5 stride 2 to 5 channels, 100, 10, with squares.
pub fn cryptonets() -> Graph<Nn> {
    let (mut net, x) = Net::new("cryptonets", &[1, 1, 28, 28]);
    let x = net.conv(x, 5, &[5, 5], 2, 1);
    let x = net.square(x);
    let x = net.flatten(x);
    let x = net.gemm(x, 100);
    let x = net.square(x);
    let x = net.gemm(x, 10);
    net.finish(x)
}

/// LeNet-5 with squares and average pools.
pub fn lenet() -> Graph<Nn> {
    let (mut net, mut x) = Net::new("lenet", &[1, 1, 28, 28]);
    for channels in [6, 16] {
        x = net.conv(x, channels, &[5, 5], 1, 0);
        x = net.square(x);
        x = net.pool(x, 2);
    }
    x = net.flatten(x);
    for n in [120, 84] {
        x = net.gemm(x, n);
        x = net.square(x);
    }
    x = net.gemm(x, 10);
    net.finish(x)
}

/// Three 1-D convolutions with polynomials and pools.
pub fn cnn1d() -> Graph<Nn> {
    let (mut net, mut x) = Net::new("cnn1d", &[1, 1, 150]);
    for (channels, window) in [(8, 2), (16, 3), (16, 5)] {
        x = net.conv(x, channels, &[5], 1, 2);
        x = net.poly(x, -4.0, 5.0);
        x = net.pool(x, window);
    }
    x = net.flatten(x);
    x = net.gemm(x, 2);
    net.finish(x)
}
