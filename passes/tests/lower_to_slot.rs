//! nn -> slot: the slot program computes what the model computes, at the cost that closed forms give.

mod support;

use aphelion_ir::nn::{Nn, NnOp};
use aphelion_ir::slot::{Basis, ClientOp, Interpreter, Polynomial, Slot, SlotOp};
use aphelion_ir::{Graph, ValueId};
use aphelion_passes::bsgs::RotationCost;
use aphelion_passes::{CompileOptions, PassCx, PassError, lower_to_slot};
use std::fmt::Write;
use support::{Net, sample};

fn lower(graph: &Graph<Nn>, slots: Option<usize>) -> Graph<Slot> {
    let cx = PassCx {
        options: CompileOptions {
            slots,
            ..CompileOptions::default()
        },
        samples: vec![],
        ..PassCx::default()
    };
    let (lowered, _) = lower_to_slot::run(&cx, graph.clone()).expect("lowers");
    lowered.verify().expect("is valid");
    lowered
}

/// Both interpreters agree on samples, and slots stay in range.
fn check(graph: &Graph<Nn>, slots: Option<usize>) -> Graph<Slot> {
    let lowered = lower(graph, slots);
    let interpreter = Interpreter::new(&lowered).expect("prepares");
    for seed in 0..2 {
        let inputs = sample(graph, seed);
        let expected = aphelion_ir::nn::evaluate(graph, &inputs).expect("evaluates");
        let found = interpreter.evaluate(&inputs).expect("evaluates");
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            let largest = expected.iter().fold(1e-9f64, |largest, value| largest.max(value.abs()));
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-9 * largest, "{found} is not {expected}");
            }
        }
        for tensor in interpreter.evaluate_all(&inputs).expect("evaluates") {
            assert!(tensor.iter().all(|slot| slot.abs() <= 2.0), "slots leave [-2, 2]");
        }
    }
    lowered
}

fn report(graph: &Graph<Slot>) -> String {
    let mut text = format!("{} in {} slots\n", graph.name, graph.attrs.slots);
    let mut total = 0.0;
    for (origin, linear) in lower_to_slot::linear_costs(graph, &RotationCost::default()).expect("costs") {
        let plan = &linear.transform;
        total += linear.cost;
        writeln!(
            text,
            "  {origin}: {} diagonals, {} babies, {} giants, {} folds, {:.0}",
            plan.n_plains, plan.n_babies, plan.n_giants, linear.n_folds, linear.cost
        )
        .expect("writes");
    }
    writeln!(text, "  linear ops in all: {total:.0}").expect("writes");
    text
}

#[test]
fn models_compute_the_same() {
    let mut text = String::new();
    for graph in [
        support::mlp(),
        support::cryptonets(),
        support::lenet(),
        support::cnn1d(),
    ] {
        for slots in [None, Some(4096), Some(8192), Some(16384)] {
            let lowered = check(&graph, slots);
            text += &report(&lowered);
        }
    }
    insta::assert_snapshot!("plans", text);
}

#[test]
fn residual_networks_with_channel_constants() {
    // Two blocks as a network with fitted quartics has them: (c2 x^2 + c1 x + c0) per channel, added to the input.
    let (mut net, x) = Net::new("residual", &[1, 3, 8, 8]);
    let mut x = net.conv(x, 4, &[3, 3], 1, 1);
    for (channels, stride) in [(4, 1), (8, 2)] {
        let y = net.conv(x, channels, &[3, 3], stride, 1);
        let (c1, c2, c0) = (
            net.constant(&[1, channels, 1, 1], 4),
            net.constant(&[channels, 1, 1], 4),
            net.constant(&[1, channels, 1, 1], 4),
        );
        let square = net.square(y);
        let quadratic = net.push("Mul", NnOp::Mul { a: square, b: c2 });
        let linear = net.push("Mul", NnOp::Mul { a: c1, b: y });
        let sum = net.push(
            "Add",
            NnOp::Add {
                a: quadratic,
                b: linear,
            },
        );
        let shortcut = if stride == 1 {
            x
        } else {
            net.conv(x, channels, &[1, 1], 2, 0)
        };
        let sum = net.push("Add", NnOp::Add { a: sum, b: c0 });
        let sum = net.push("Sub", NnOp::Sub { a: sum, b: shortcut });
        x = net.poly(sum, -6.0, 8.0);
    }
    let axes = vec![2, 3];
    let x = net.push(
        "ReduceMean",
        NnOp::ReduceMean {
            x,
            axes,
            keep_dims: false,
        },
    );
    let x = net.gemm(x, 10);
    let graph = net.finish(x);
    let mut text = String::new();
    for slots in [None, Some(64), Some(512)] {
        text += &report(&check(&graph, slots));
    }
    insta::assert_snapshot!("residual", text);
}

#[test]
fn structure_is_free_or_one_linear_op() {
    let (mut net, x) = Net::new("structure", &[1, 2, 6, 6]);
    let x = net.square(x);
    let part = |start: usize| NnOp::Slice {
        x,
        starts: vec![0, 0, start, 5],
        steps: vec![1, 1, 1, -1],
        lens: vec![1, 2, 3, 6],
    };
    let (top, bottom) = (net.push("Slice", part(0)), net.push("Slice", part(3)));
    let pads = vec![(0, 0), (0, 1), (1, 0), (0, 0)];
    let top = net.push(
        "Pad",
        NnOp::Pad {
            x: top,
            pads: pads.clone(),
            value: 0.5,
        },
    );
    let bottom = net.push(
        "Pad",
        NnOp::Pad {
            x: bottom,
            pads,
            value: 0.0,
        },
    );
    let x = net.push(
        "Concat",
        NnOp::Concat {
            xs: vec![bottom, top],
            axis: 1,
        },
    );
    let x = net.push(
        "Transpose",
        NnOp::Transpose {
            x,
            perm: vec![0, 2, 1, 3],
        },
    );
    let cube = net.push("Pow", NnOp::Pow { x, exponent: 3 });
    let divisor = net.constant(&[1], 1);
    let x = net.push("Div", NnOp::Div { a: cube, b: divisor });
    let x = net.push("Neg", NnOp::Neg { x });
    let row = net.push(
        "ReduceSum",
        NnOp::ReduceSum {
            x,
            axes: vec![3],
            keep_dims: true,
        },
    );
    let x = net.push("Mul", NnOp::Mul { a: x, b: row });
    let x = net.push("Add", NnOp::Add { a: x, b: row });
    let graph = net.finish(x);
    for slots in [None, Some(64), Some(1024)] {
        check(&graph, slots);
    }
}

#[test]
fn a_bias_goes_through_later_linear_ops() {
    let (mut net, x) = Net::new("chain", &[1, 1, 12]);
    let x = net.conv(x, 3, &[3], 1, 1);
    let x = net.pool(x, 2);
    let x = net.flatten(x);
    let x = net.gemm(x, 4);
    let graph = net.finish(x);
    let lowered = check(&graph, Some(1024));
    insta::assert_snapshot!("chain", aphelion_ir::text::print_graph(&lowered).expect("prints"));
}

#[test]
fn a_polynomial_fills_its_interval() {
    let (mut net, x) = Net::new("poly", &[1, 5]);
    let x = net.gemm(x, 3);
    let x = net.poly(x, -1.0, 3.0);
    let x = net.poly(x, 0.0, 6.0);
    let graph = net.finish(x);
    let lowered = check(&graph, Some(1024));
    insta::assert_snapshot!("poly", aphelion_ir::text::print_graph(&lowered).expect("prints"));
}

#[test]
fn a_final_softmax_is_left_to_the_client() {
    let (mut net, x) = Net::new("softmax", &[1, 6]);
    let x = net.gemm(x, 3);
    let y = net.push("Softmax", NnOp::Softmax { x, axis: 1 });
    let graph = net.finish(y);
    let lowered = lower(&graph, None);
    assert_eq!(lowered.attrs.client_ops, vec![vec![ClientOp::Softmax { axis: 1 }]]);
    let inputs = sample(&graph, 0);
    let logits = aphelion_ir::slot::evaluate(&lowered, &inputs)
        .expect("evaluates")
        .swap_remove(0);
    let exps: Vec<f64> = logits.iter().map(|logit| logit.exp()).collect();
    let expected = aphelion_ir::nn::evaluate(&graph, &inputs)
        .expect("evaluates")
        .swap_remove(0);
    for (exp, expected) in exps.iter().zip(expected) {
        assert!((exp / exps.iter().sum::<f64>() - expected).abs() < 1e-9);
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let (mut net, x) = Net::new("bad", &[1, 1, 8, 8]);
    let window = aphelion_ir::nn::Pool {
        kernel: vec![2, 2],
        strides: vec![2, 2],
        pads: vec![(0, 0); 2],
        count_include_pad: false,
    };
    let pooled = net.push("MaxPool", NnOp::MaxPool { x, window });
    let scores = net.push("Softmax", NnOp::Softmax { x, axis: 3 });
    let product = net.push("MatMul", NnOp::MatMul { a: x, b: x });
    let mut graph = net.graph;
    let sum = graph
        .push(NnOp::Add { a: scores, b: product }, Default::default())
        .expect("valid");
    graph.output("y", sum);
    graph.output("z", pooled);
    graph.attrs.ranges.push(aphelion_ir::nn::ValueRange {
        value: 0,
        low: -1.0,
        high: 1.0,
    });
    let error = lower_to_slot::run(&PassCx::default(), graph).expect_err("has no lowering");
    assert!(matches!(&error, PassError::Several(all) if all.len() == 3), "{error}");
    for name in ["MaxPool2", "Softmax3", "MatMul4"] {
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_missing_range_names_the_value() {
    let mut graph = support::mlp();
    graph.attrs.ranges.clear();
    let error = lower_to_slot::run(&PassCx::default(), graph).expect_err("has no ranges");
    assert!(
        error
            .to_string()
            .contains("`x1` (x): the range of this value is not known"),
        "{error}"
    );
}

#[test]
fn lowering_is_deterministic() {
    let graph = support::cnn1d();
    let text = |graph| aphelion_ir::text::print_graph(&lower(graph, None)).expect("prints");
    assert_eq!(text(&graph), text(&graph));
}

#[test]
fn a_quartic_per_channel_takes_three_levels() {
    // ((c4 x^2 + c2) x^2) + (c1 x + c0) between two convolutions: norms must not cost levels.
    let (mut net, x) = Net::new("quartic", &[1, 2, 8, 8]);
    let x = net.conv(x, 4, &[3, 3], 1, 1);
    let mut constant = || net.constant(&[1, 4, 1, 1], 400);
    let (c0, c1, c2, c4) = (constant(), constant(), constant(), constant());
    let square = net.square(x);
    let bracket = net.push("Mul", NnOp::Mul { a: c4, b: square });
    let bracket = net.push("Add", NnOp::Add { a: bracket, b: c2 });
    let even = net.push("Mul", NnOp::Mul { a: bracket, b: square });
    let odd = net.push("Mul", NnOp::Mul { a: c1, b: x });
    let odd = net.push("Add", NnOp::Add { a: odd, b: c0 });
    let sum = net.push("Add", NnOp::Add { a: even, b: odd });
    let y = net.conv(sum, 2, &[3, 3], 1, 1);
    let graph = net.finish(y);
    let lowered = check(&graph, Some(1024));
    let (_, stats) = lower_to_slot::run(&PassCx::default(), graph).expect("lowers");
    assert_eq!(stats.0["depth"], 5.0);
    let n_scalars = lowered
        .iter()
        .filter(|(_, node)| matches!(node.op, SlotOp::MulScalar { .. }))
        .count();
    assert_eq!((stats.0["linear_ops"], n_scalars), (2.0, 0));
}

/// A residual network of 3 stages with `n_blocks` blocks each, in the manner of ResNet-20 (3 blocks, 16 channels, images
/// of 32 x 32): every stage after the first halves the image and doubles the channels. Too deep to do without bootstraps.
fn resnet(n_blocks: usize, n_channels: usize, image: usize) -> Graph<Nn> {
    let (mut net, x) = Net::new("resnet", &[1, 3, image, image]);
    let activation = |net: &mut Net, x: ValueId| {
        let poly = Polynomial {
            basis: Basis::Chebyshev {},
            low: -8.0,
            high: 8.0,
            coeffs: [&[0.3, 1.2, 0.3][..], &[1e-4; 13]].concat(),
        };
        net.push("Relu", NnOp::Poly { x, poly })
    };
    let mut x = net.conv(x, n_channels, &[3, 3], 1, 1);
    x = activation(&mut net, x);
    for stage in 0..3 {
        for block in 0..n_blocks {
            let (n_out, stride) = (n_channels << stage, if stage > 0 && block == 0 { 2 } else { 1 });
            let y = net.conv(x, n_out, &[3, 3], stride, 1);
            let y = activation(&mut net, y);
            let y = net.conv(y, n_out, &[3, 3], 1, 1);
            let shortcut = if stride == 1 {
                x
            } else {
                net.conv(x, n_out, &[1, 1], 2, 0)
            };
            let sum = net.push("Add", NnOp::Add { a: y, b: shortcut });
            x = activation(&mut net, sum);
        }
    }
    let axes = vec![2, 3];
    let x = net.push(
        "ReduceMean",
        NnOp::ReduceMean {
            x,
            axes,
            keep_dims: true,
        },
    );
    let x = net.flatten(x);
    let x = net.gemm(x, 10);
    net.finish(x)
}

/// Where every linear result lies, and what it takes.
fn layers(graph: &Graph<Slot>) -> String {
    let outputs = graph.iter().filter_map(|(_, node)| match &node.op {
        SlotOp::Linear { kernel, .. } => Some(&kernel.output),
        _ => None,
    });
    let costs = lower_to_slot::linear_costs(graph, &RotationCost::default()).expect("costs");
    let mut text = format!("{} in {} slots\n", graph.name, graph.attrs.slots);
    for ((origin, linear), output) in costs.iter().zip(outputs) {
        let plan = &linear.transform;
        writeln!(
            text,
            "  {origin}: {:?} in {} x {}: {} diagonals, {} babies, {} giants, {} folds",
            output.shape, output.cts, output.period, plan.n_plains, plan.n_babies, plan.n_giants, linear.n_folds
        )
        .expect("writes");
    }
    text
}

#[test]
fn small_residual_networks_with_bootstraps_compute_the_same() {
    let lowered = check(&resnet(2, 4, 8), None);
    // Every layer in as many slots as it has values: none is spent on gaps, so bootstraps are the smallest.
    let is_compact = |layout: &aphelion_ir::slot::Layout| layout.period == layout.n_elements().next_power_of_two();
    assert!(lowered.iter().all(|(_, node)| is_compact(&node.ty)));
}

#[test]
fn resnet_20_stays_compact() {
    let lowered = lower(&resnet(3, 16, 32), None);
    insta::assert_snapshot!("resnet_20", layers(&lowered));
}

#[test]
fn values_of_several_ciphertexts() {
    // 64 channels of 32 x 32 take two ciphertexts of 2^15 slots; pooling brings them back into one.
    let (mut net, x) = Net::new("vgg", &[1, 3, 32, 32]);
    let mut x = net.conv(x, 64, &[3, 3], 1, 1);
    x = net.square(x);
    x = net.pool(x, 2);
    x = net.conv(x, 128, &[3, 3], 1, 1);
    x = net.square(x);
    x = net.flatten(x);
    x = net.gemm(x, 10);
    let lowered = lower(&net.finish(x), Some(1 << 15));
    assert_eq!(lowered.iter().map(|(_, node)| node.ty.cts).max(), Some(2));
    insta::assert_snapshot!("vgg", layers(&lowered));

    let (mut net, x) = Net::new("small", &[1, 3, 8, 8]);
    let mut x = net.conv(x, 8, &[3, 3], 1, 1);
    x = net.square(x);
    x = net.pool(x, 2);
    x = net.conv(x, 16, &[3, 3], 1, 1);
    let lowered = check(&net.finish(x), Some(256));
    assert_eq!(lowered.iter().map(|(_, node)| node.ty.cts).max(), Some(2));
}
