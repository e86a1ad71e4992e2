//! The `nn` interpreter against values computed by hand and against the definitions written as plain loops.

use aphelion_ir::nn::{Func, Interpreter, Nn, NnOp, Pool, evaluate};
use aphelion_ir::{ConstantPool, Graph, IrError, Origin, Tensor, ValueId};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A graph with inputs `x0`, `x1`, .. of the given shapes, whose result `op` makes from them.
fn graph(shapes: &[&[usize]], op: impl FnOnce(&[ValueId]) -> NnOp) -> Graph<Nn> {
    let mut graph = Graph::new("test", ConstantPool::default());
    let input = |(i, shape): (usize, &&[usize])| {
        let op = NnOp::Input {
            name: format!("x{i}"),
            shape: shape.to_vec(),
        };
        graph.push(op, Origin::new("x", "Input")).expect("input")
    };
    let inputs: Vec<_> = shapes.iter().enumerate().map(input).collect();
    let y = graph.push(op(&inputs), Origin::new("node", "Op")).expect("op");
    graph.output("y", y);
    graph
}

fn inputs(values: &[&[f64]]) -> BTreeMap<String, Vec<f64>> {
    let named = |(i, x): (usize, &&[f64])| (format!("x{i}"), x.to_vec());
    values.iter().enumerate().map(named).collect()
}

#[track_caller]
fn check(operands: &[(&[usize], &[f64])], op: impl FnOnce(&[ValueId]) -> NnOp, expected: &[f64]) {
    let shapes: Vec<_> = operands.iter().map(|(shape, _)| *shape).collect();
    let values: Vec<_> = operands.iter().map(|(_, x)| *x).collect();
    let found = evaluate(&graph(&shapes, op), &inputs(&values)).expect("evaluates");
    assert_close(&found[0], expected);
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * (1.0 + b.abs());
    assert!(
        found.iter().zip(expected).all(close),
        "found {found:?}, expected {expected:?}"
    );
}

/// 0, 1, 2, ..
fn count(n: usize) -> Vec<f64> {
    (0..n).map(|x| x as f64).collect()
}

/// Numbers without a pattern that a wrong index could hit.
fn scramble(n: usize) -> Vec<f64> {
    (0..n).map(|i| (i as f64 * 12.9898).sin() * 3.7).collect()
}

#[test]
fn broadcasting() {
    let (a, b) = ((&[2, 2][..], &[1.0, 2.0, 3.0, 4.0][..]), (&[2][..], &[10.0, 20.0][..]));
    check(&[a, b], |v| NnOp::Add { a: v[0], b: v[1] }, &[11.0, 22.0, 13.0, 24.0]);
    check(&[b, a], |v| NnOp::Sub { a: v[0], b: v[1] }, &[9.0, 18.0, 7.0, 16.0]);
    let column = (&[2, 1][..], &[2.0, -1.0][..]);
    check(
        &[column, b],
        |v| NnOp::Mul { a: v[0], b: v[1] },
        &[20.0, 40.0, -10.0, -20.0],
    );
    let scalar = (&[][..], &[4.0][..]);
    check(&[b, scalar], |v| NnOp::Div { a: v[0], b: v[1] }, &[2.5, 5.0]);
    check(
        &[(&[2, 2], &[-1.0, 2.0, -3.0, -4.0]), b],
        |v| NnOp::PRelu { x: v[0], slope: v[1] },
        &[-10.0, 2.0, -30.0, -80.0],
    );
}

#[test]
fn element_wise() {
    let x = (&[3][..], &[-2.0, 0.5, 3.0][..]);
    check(&[x], |v| NnOp::Neg { x: v[0] }, &[2.0, -0.5, -3.0]);
    check(&[x], |v| NnOp::Pow { x: v[0], exponent: 5 }, &[-32.0, 0.03125, 243.0]);
    check(
        &[x],
        |v| NnOp::Apply {
            x: v[0],
            func: Func::Relu {},
        },
        &[0.0, 0.5, 3.0],
    );
    let stats: [(&[usize], &[f64]); 4] = [
        (&[2], &[2.0, 3.0]),
        (&[2], &[1.0, -1.0]),
        (&[2], &[0.5, 1.0]),
        (&[2], &[3.0, 15.0]),
    ];
    let operands: Vec<_> = std::iter::once((&[1, 2, 2][..], &[0.5, 2.5, 1.0, 5.0][..]))
        .chain(stats)
        .collect();
    let batch_norm = |v: &[ValueId]| NnOp::BatchNorm {
        x: v[0],
        scale: v[1],
        bias: v[2],
        mean: v[3],
        var: v[4],
        epsilon: 1.0,
    };
    check(&operands, batch_norm, &[1.0, 3.0, -1.0, 2.0]);
}

#[test]
fn products() {
    let a = (&[2, 3][..], &count(6)[..]);
    let b = (&[3, 2][..], &[1.0, -1.0, 0.5, 2.0, 3.0, 0.0][..]);
    let expected = [6.5, 2.0, 20.0, 5.0];
    check(&[a, b], |v| NnOp::MatMul { a: v[0], b: v[1] }, &expected);
    let transposed_a = (&[3, 2][..], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0][..]);
    let transposed_b = (&[2, 3][..], &[1.0, 0.5, 3.0, -1.0, 2.0, 0.0][..]);
    for (trans_a, trans_b) in [(false, false), (false, true), (true, false), (true, true)] {
        let operands = [
            if trans_a { transposed_a } else { a },
            if trans_b { transposed_b } else { b },
            (&[2][..], &[10.0, 100.0][..]),
        ];
        let gemm = |v: &[ValueId]| NnOp::Gemm {
            a: v[0],
            b: v[1],
            c: Some(v[2]),
            alpha: 2.0,
            beta: 0.5,
            trans_a,
            trans_b,
        };
        check(&operands, gemm, &[18.0, 54.0, 45.0, 60.0]);
    }
    let stacked = (&[2, 1, 2][..], &[1.0, 2.0, 3.0, 4.0][..]);
    let matrix = (&[2, 2][..], &[1.0, 0.0, 0.0, 2.0][..]);
    check(
        &[stacked, matrix],
        |v| NnOp::MatMul { a: v[0], b: v[1] },
        &[1.0, 4.0, 3.0, 8.0],
    );
}

#[test]
fn long_products() {
    let (rows, inner, columns) = (3, 301, 97);
    let (a, b) = (scramble(rows * inner), scramble(inner * columns));
    let entry = |i: usize, j: usize| (0..inner).map(|k| a[i * inner + k] * b[k * columns + j]).sum::<f64>();
    let expected: Vec<f64> = (0..rows * columns)
        .map(|at| entry(at / columns, at % columns))
        .collect();
    check(
        &[(&[rows, inner], &a), (&[inner, columns], &b)],
        |v| NnOp::MatMul { a: v[0], b: v[1] },
        &expected,
    );
}

#[test]
fn moving_elements() {
    let x = (&[2, 3][..], &count(6)[..]);
    check(
        &[x],
        |v| NnOp::Transpose {
            x: v[0],
            perm: vec![1, 0],
        },
        &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0],
    );
    check(
        &[x],
        |v| NnOp::Reshape {
            x: v[0],
            shape: vec![3, 2],
        },
        &count(6),
    );
    let pad = |v: &[ValueId]| NnOp::Pad {
        x: v[0],
        pads: vec![(1, 0), (0, 2)],
        value: 9.0,
    };
    check(
        &[x],
        pad,
        &[
            9.0, 9.0, 9.0, 9.0, 9.0, 0.0, 1.0, 2.0, 9.0, 9.0, 3.0, 4.0, 5.0, 9.0, 9.0,
        ],
    );
    let slice = |v: &[ValueId]| NnOp::Slice {
        x: v[0],
        starts: vec![1, 2],
        steps: vec![-1, -2],
        lens: vec![2, 2],
    };
    check(&[x], slice, &[5.0, 3.0, 2.0, 0.0]);
    let y = (&[2, 1][..], &[7.0, 8.0][..]);
    let concat = |v: &[ValueId]| NnOp::Concat {
        xs: vec![v[0], v[1], v[0]],
        axis: 1,
    };
    check(
        &[x, y],
        concat,
        &[0.0, 1.0, 2.0, 7.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 3.0, 4.0, 5.0],
    );
}

#[test]
fn reductions() {
    let x = (&[2, 3, 2][..], &count(12)[..]);
    let sum = |axes: &[usize]| {
        let axes = axes.to_vec();
        move |v: &[ValueId]| NnOp::ReduceSum {
            x: v[0],
            axes,
            keep_dims: true,
        }
    };
    check(&[x], sum(&[1]), &[6.0, 9.0, 24.0, 27.0]);
    check(&[x], sum(&[0, 2]), &[14.0, 22.0, 30.0]);
    check(&[x], sum(&[]), &count(12));
    let mean = |v: &[ValueId]| NnOp::ReduceMean {
        x: v[0],
        axes: vec![2, 1],
        keep_dims: false,
    };
    check(&[x], mean, &[2.5, 8.5]);
    let logits = (&[2, 2][..], &[1000.0, 0.0, 1000.0 + 3f64.ln(), 0.0][..]);
    check(
        &[logits],
        |v| NnOp::Softmax { x: v[0], axis: 0 },
        &[0.25, 0.5, 0.75, 0.5],
    );
}

fn conv_by_definition(
    (x, x_shape): (&[f64], [usize; 3]),
    (w, w_shape): (&[f64], [usize; 4]),
    (strides, pads, dilations): ([usize; 2], [(usize, usize); 2], [usize; 2]),
    groups: usize,
) -> Vec<f64> {
    let [channels, height, width] = x_shape;
    let [out_channels, group_channels, kernel_h, kernel_w] = w_shape;
    assert_eq!(channels, group_channels * groups);
    let extent = |axis: usize, n: usize, k: usize| {
        (n + pads[axis].0 + pads[axis].1 - (k - 1) * dilations[axis] - 1) / strides[axis] + 1
    };
    let at = |c: usize, axis_h: isize, axis_w: isize| {
        let inside = (0..height as isize).contains(&axis_h) && (0..width as isize).contains(&axis_w);
        if inside {
            x[(c * height + axis_h as usize) * width + axis_w as usize]
        } else {
            0.0
        }
    };
    let mut out = Vec::new();
    for m in 0..out_channels {
        for oh in 0..extent(0, height, kernel_h) {
            for ow in 0..extent(1, width, kernel_w) {
                let mut sum = 0.1 * m as f64;
                for c in 0..group_channels {
                    for kh in 0..kernel_h {
                        for kw in 0..kernel_w {
                            let h = (oh * strides[0] + kh * dilations[0]) as isize - pads[0].0 as isize;
                            let v = (ow * strides[1] + kw * dilations[1]) as isize - pads[1].0 as isize;
                            let channel = m / (out_channels / groups) * group_channels + c;
                            sum += w[((m * group_channels + c) * kernel_h + kh) * kernel_w + kw] * at(channel, h, v);
                        }
                    }
                }
                out.push(sum);
            }
        }
    }
    out
}

proptest! {
    #[test]
    fn convolution_is_its_definition(
        (groups, group_in, group_out) in (1usize..4, 1usize..3, 1usize..3),
        extents in prop::array::uniform2(3usize..8),
        kernel in prop::array::uniform2(1usize..4),
        strides in prop::array::uniform2(1usize..4),
        dilations in prop::array::uniform2(1usize..3),
        pads in prop::array::uniform2((0usize..5, 0usize..5)),
    ) {
        let fits = |axis: usize| (kernel[axis] - 1) * dilations[axis] < extents[axis] + pads[axis].0 + pads[axis].1;
        prop_assume!(fits(0) && fits(1));
        let x_shape = [groups * group_in, extents[0], extents[1]];
        let w_shape = [groups * group_out, group_in, kernel[0], kernel[1]];
        let (x, w) = (scramble(x_shape.iter().product()), scramble(w_shape.iter().product()));
        let bias: Vec<f64> = (0..w_shape[0]).map(|m| 0.1 * m as f64).collect();
        let expected = conv_by_definition((&x, x_shape), (&w, w_shape), (strides, pads, dilations), groups);
        let op = |v: &[ValueId]| NnOp::Conv {
            x: v[0],
            weight: v[1],
            bias: Some(v[2]),
            strides: strides.to_vec(),
            pads: pads.to_vec(),
            dilations: dilations.to_vec(),
            groups,
        };
        check(&[(&[&[1][..], &x_shape].concat(), &x), (&w_shape, &w), (&[w_shape[0]], &bias)], op, &expected);
        let flat = ([1, strides[1]], [(0, 0), pads[1]], [1, dilations[1]]);
        let (x, w) = (&x[..x_shape[0] * extents[1]], &w[..w_shape[0] * group_in * kernel[1]]);
        let expected =
            conv_by_definition((x, [x_shape[0], 1, extents[1]]), (w, [w_shape[0], group_in, 1, kernel[1]]), flat, groups);
        let op = |v: &[ValueId]| NnOp::Conv {
            x: v[0],
            weight: v[1],
            bias: Some(v[2]),
            strides: strides[1..].to_vec(),
            pads: pads[1..].to_vec(),
            dilations: dilations[1..].to_vec(),
            groups,
        };
        let (x_shape, w_shape) = ([1, x_shape[0], extents[1]], [w_shape[0], group_in, kernel[1]]);
        check(&[(&x_shape, x), (&w_shape, w), (&[w_shape[0]], &bias)], op, &expected);
    }

    #[test]
    fn pooling_is_its_definition(
        extents in prop::array::uniform2(1usize..8),
        kernel in prop::array::uniform2(1usize..4),
        strides in prop::array::uniform2(1usize..4),
        pads in prop::array::uniform2((0usize..3, 0usize..3)),
        count_include_pad: bool,
    ) {
        let fits = |axis: usize| {
            let (before, after) = pads[axis];
            before < kernel[axis] && after < kernel[axis] && kernel[axis] <= extents[axis] + before + after
        };
        prop_assume!(fits(0) && fits(1));
        let shape = [1, 2, extents[0], extents[1]];
        let x = scramble(shape.iter().product());
        let n_out = |axis: usize| (extents[axis] + pads[axis].0 + pads[axis].1 - kernel[axis]) / strides[axis] + 1;
        let (mut means, mut maxima) = (Vec::new(), Vec::new());
        for (c, oh, ow) in (0..2).flat_map(|c| (0..n_out(0)).flat_map(move |oh| (0..n_out(1)).map(move |ow| (c, oh, ow)))) {
            let reach = |axis: usize, o: usize| {
                let start = (o * strides[axis]) as isize - pads[axis].0 as isize;
                (start..start + kernel[axis] as isize).filter(move |i| (0..extents[axis] as isize).contains(i))
            };
            let seen: Vec<f64> = reach(0, oh)
                .flat_map(|h| reach(1, ow).map(move |w| (h as usize, w as usize)))
                .map(|(h, w)| x[(c * extents[0] + h) * extents[1] + w])
                .collect();
            let n = if count_include_pad { kernel[0] * kernel[1] } else { seen.len() };
            means.push(seen.iter().sum::<f64>() / n as f64);
            maxima.push(seen.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
        let window = Pool { kernel: kernel.to_vec(), strides: strides.to_vec(), pads: pads.to_vec(), count_include_pad };
        let max_window = window.clone();
        check(&[(&shape, &x)], |v| NnOp::AvgPool { x: v[0], window }, &means);
        check(&[(&shape, &x)], |v| NnOp::MaxPool { x: v[0], window: max_window }, &maxima);
    }
}

#[test]
fn constants_are_computed_once_and_dead_ops_not_at_all() {
    let mut pool = ConstantPool::default();
    let two = pool.insert("two", Tensor::from_f32(vec![2], vec![2.0, 3.0]));
    let mut graph: Graph<Nn> = Graph::new("test", pool);
    let mut push = |op| graph.push(op, Origin::new("node", "Op")).expect("op");
    let two = push(NnOp::Constant { value: two });
    let six = push(NnOp::Add { a: two, b: two });
    let x = push(NnOp::Input {
        name: "x".into(),
        shape: vec![2],
    });
    let dead = push(NnOp::Apply { x, func: Func::Sqrt {} });
    let y = push(NnOp::Mul { a: x, b: six });
    graph.output("y", y);
    let interpreter = Interpreter::new(&graph).expect("loads");
    let inputs = BTreeMap::from([("x".to_string(), vec![1.0, -1.0])]);
    assert_eq!(
        interpreter.evaluate(&inputs).expect("the square root is dead"),
        [[4.0, -6.0]]
    );
    let error = interpreter.evaluate_all(&inputs).expect_err("a square root of -1");
    assert_eq!(
        error.to_string(),
        "interpreter, `node` (Op): element 1 is NaN, which is no finite number"
    );
    let inputs = BTreeMap::from([("x".to_string(), vec![4.0, 9.0])]);
    let all = interpreter.evaluate_all(&inputs).expect("evaluates");
    assert_eq!(
        (&all[dead.index()][..], &all[six.index()][..]),
        (&[2.0, 3.0][..], &[4.0, 6.0][..])
    );
}

#[test]
fn wrong_inputs_are_errors() {
    let graph = graph(&[&[1, 2]], |v| NnOp::Neg { x: v[0] });
    let message = |inputs: BTreeMap<String, Vec<f64>>| match evaluate(&graph, &inputs) {
        Err(error @ IrError::Interpret { .. }) => error.to_string(),
        other => panic!("expected an error, found {other:?}"),
    };
    assert!(message(inputs(&[])).contains("no values given for the input `x0`"));
    assert!(message(inputs(&[&[1.0]])).contains("of shape [1, 2] needs 2 values, found 1"));
    assert!(message(inputs(&[&[1.0, f64::NAN]])).contains("element 1 is NaN"));
    assert!(message(inputs(&[&[1.0, 2.0], &[3.0]])).contains("has no such input; it has: x0"));
}
