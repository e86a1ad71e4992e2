//! Linear ops in slots against the tensor-level map: random maps between random layouts, through diagonals, folds and
//! baby-step/giant-step plaintexts.

use aphelion_ir::ckks::Bsgs;
use aphelion_ir::nn::{Nn, NnOp, Pool};
use aphelion_ir::slot::{
    DiagonalKey, DiagonalSet, Diagonals, Digit, Kernel, Layout, LinearMap, Pattern, Slot, SlotOp, SparseMatrix, Unused,
    evaluate,
};
use aphelion_ir::{ConstRef, ConstantPool, Graph, Origin, Tensor, ValueId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Deterministic values of moderate size.
fn ramp(n: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 37 + 11) % 101) as f64 / 50.0 - 1.0).collect()
}

fn constant(pool: &mut ConstantPool, shape: &[usize]) -> ConstRef {
    let n = shape.iter().product();
    pool.insert("w", Tensor::from_f64(shape.to_vec(), ramp(n)))
}

/// Random maps of [1, C, H, W], with the pool of their weights; some on each of several such tensors.
fn arb_map() -> impl Strategy<Value = (LinearMap, ConstantPool)> {
    (arb_single_map(), 0usize..6).prop_map(|((map, pool), n)| match n {
        1..4 => {
            let map = Box::new(map);
            (LinearMap::Each { n, map }, pool)
        }
        _ => (map, pool),
    })
}

fn arb_single_map() -> impl Strategy<Value = (LinearMap, ConstantPool)> {
    let shape = (1usize..4, 3usize..7, 3usize..7);
    (shape, 0usize..9, 1usize..4, 1usize..3, 0usize..2).prop_map(|((c, h, w), kind, m, stride, pad)| {
        let mut pool = ConstantPool::default();
        let input = vec![1, c, h, w];
        let conv = |pool: &mut ConstantPool, m, stride| LinearMap::Conv {
            weight: constant(pool, &[m, c, 3, 2]),
            input: input.clone(),
            strides: vec![stride, 1],
            pads: vec![(pad, 1), (0, pad)],
            dilations: vec![1, 1 + pad],
            groups: 1,
        };
        let map = match kind {
            0 => conv(&mut pool, m, stride),
            1 => LinearMap::AvgPool {
                input: input.clone(),
                window: Pool {
                    kernel: vec![2, 3],
                    strides: vec![stride, 1],
                    pads: vec![(pad, 0), (0, pad)],
                    count_include_pad: m == 1,
                },
            },
            2 => LinearMap::Reduce {
                input: input.clone(),
                axes: if m == 1 { vec![2, 3] } else { vec![1] },
                keep_dims: pad == 1,
                mean: stride == 1,
            },
            3 => LinearMap::Transpose {
                input: input.clone(),
                perm: vec![0, 3, 1, 2],
            },
            4 => LinearMap::Pad {
                input: input.clone(),
                pads: vec![(0, 0), (pad, m), (0, 1), (stride, 0)],
            },
            5 => LinearMap::Slice {
                input: input.clone(),
                starts: vec![0, 0, h - 1, 1],
                steps: vec![1, 1, -1, stride as i64],
                lens: vec![1, c, h, (w - 2) / stride + 1],
            },
            6 => {
                let n = c * h * w;
                let reshape = LinearMap::Reshape {
                    input: input.clone(),
                    output: vec![1, n],
                };
                let dense = LinearMap::Dense {
                    input: vec![1, n],
                    weight: if pad == 1 {
                        constant(&mut pool, &[m + 2, n])
                    } else {
                        constant(&mut pool, &[n, m + 2])
                    },
                    transposed: pad == 1,
                };
                LinearMap::Compose {
                    maps: vec![reshape, dense],
                }
            }
            7 => LinearMap::Sum {
                maps: vec![
                    LinearMap::Diagonal {
                        by: constant(&mut pool, &[c, 1, w]),
                        shape: input.clone(),
                    },
                    LinearMap::Factor {
                        shape: input.clone(),
                        by: -0.5,
                    },
                ],
            },
            _ => {
                let first = conv(&mut pool, m, stride);
                let (_, mid) = first.shapes(&pool).expect("fits");
                let second = LinearMap::AvgPool {
                    input: mid,
                    window: Pool {
                        kernel: vec![2, 2],
                        strides: vec![1, stride],
                        pads: vec![(1, 1), (1, 1)],
                        count_include_pad: true,
                    },
                };
                LinearMap::Compose {
                    maps: vec![first, second],
                }
            }
        };
        (map, pool)
    })
}

/// A layout of `shape` in `slots` slots: axes in some order, gaps, split digits, a period above the smallest.
fn layout(shape: &[usize], slots: usize, (order, gap, split, grow): (usize, usize, bool, usize)) -> Layout {
    let mut axes: Vec<usize> = (0..shape.len()).filter(|&axis| shape[axis] > 1).collect();
    let n_axes = axes.len().max(1);
    axes.rotate_left(order % n_axes);
    let mut stride = 1 + gap;
    let mut digits = Vec::new();
    for &axis in axes.iter().rev() {
        let mut parts = vec![shape[axis]];
        if split && shape[axis] > 2 {
            parts = vec![shape[axis].div_ceil(2), 2];
        }
        for &extent in parts.iter().rev() {
            digits.push(Digit { axis, extent, stride });
            stride = stride * extent + gap;
        }
    }
    digits.sort_by_key(|digit| (digit.axis, std::cmp::Reverse(digit.stride)));
    let mut layout = Layout::with_digits(shape, slots, digits, Unused::Garbage {});
    layout.period = (layout.period << grow).min(slots);
    layout
}

/// All folds from the period of the output up.
fn fold(output: &Layout, n_steps: usize, skip: usize) -> Vec<usize> {
    let steps = (0..n_steps).map(|i| output.period << (i + skip));
    steps.take_while(|step| *step < output.slots).collect()
}

/// The map as `nn` ops applied to `x`.
fn push_nn(graph: &mut Graph<Nn>, map: &LinearMap, x: ValueId) -> ValueId {
    let mut push = |op: NnOp| graph.push(op, Origin::default()).expect("the op is valid");
    let op = match map.clone() {
        LinearMap::Identity { .. } => return x,
        LinearMap::Factor { by, .. } => {
            let value = graph.constants.insert("factor", Tensor::scalar(by));
            let b = graph
                .push(NnOp::Constant { value }, Origin::default())
                .expect("constant");
            NnOp::Mul { a: x, b }
        }
        LinearMap::Diagonal { by, .. } => NnOp::Mul {
            a: x,
            b: push(NnOp::Constant { value: by }),
        },
        LinearMap::Conv {
            weight,
            strides,
            pads,
            dilations,
            groups,
            ..
        } => NnOp::Conv {
            x,
            weight: push(NnOp::Constant { value: weight }),
            bias: None,
            strides,
            pads,
            dilations,
            groups,
        },
        LinearMap::Dense { weight, transposed, .. } => {
            let mut b = push(NnOp::Constant { value: weight });
            if transposed {
                b = push(NnOp::Transpose { x: b, perm: vec![1, 0] });
            }
            NnOp::MatMul { a: x, b }
        }
        LinearMap::AvgPool { window, .. } => NnOp::AvgPool { x, window },
        LinearMap::Reduce {
            axes,
            keep_dims,
            mean: true,
            ..
        } => NnOp::ReduceMean { x, axes, keep_dims },
        LinearMap::Reduce { axes, keep_dims, .. } => NnOp::ReduceSum { x, axes, keep_dims },
        LinearMap::Reshape { output, .. } => NnOp::Reshape { x, shape: output },
        LinearMap::Transpose { perm, .. } => NnOp::Transpose { x, perm },
        LinearMap::Pad { pads, .. } => NnOp::Pad { x, pads, value: 0.0 },
        LinearMap::Slice {
            starts, steps, lens, ..
        } => NnOp::Slice { x, starts, steps, lens },
        LinearMap::Each { .. } => unreachable!("taken apart before"),
        LinearMap::Compose { maps } => return maps.iter().fold(x, |x, map| push_nn(graph, map, x)),
        LinearMap::Sum { maps } => {
            let terms: Vec<ValueId> = maps.iter().map(|map| push_nn(graph, map, x)).collect();
            let add = |a: ValueId, b: &ValueId| {
                let op = NnOp::Add { a, b: *b };
                graph.push(op, Origin::default()).expect("equal shapes")
            };
            return terms[1..].iter().fold(terms[0], add);
        }
    };
    graph.push(op, Origin::default()).expect("the op is valid")
}

/// What the `nn` interpreter makes of the map.
fn by_nn(map: &LinearMap, pool: &ConstantPool, x: &[f64]) -> Vec<f64> {
    if let LinearMap::Each { n, map } = map {
        return x.chunks(x.len() / n).flat_map(|x| by_nn(map, pool, x)).collect();
    }
    let mut graph = Graph::<Nn>::new("map", pool.clone());
    let (shape, _) = map.shapes(pool).expect("shapes fit");
    let op = NnOp::Input {
        name: "x".into(),
        shape,
    };
    let input = graph.push(op, Origin::default()).expect("input");
    let y = push_nn(&mut graph, map, input);
    graph.output("y", y);
    let inputs = BTreeMap::from([("x".to_string(), x.to_vec())]);
    aphelion_ir::nn::evaluate(&graph, &inputs)
        .expect("evaluates")
        .swap_remove(0)
}

/// Whether columns of all rows ascend, each once.
fn is_sorted(matrix: &SparseMatrix) -> bool {
    (0..matrix.n_rows()).all(|out| matrix.row(out).0.is_sorted_by(|a, b| a < b))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn linear_is_the_map(
        (map, pool) in arb_map(),
        from in (0usize..3, 0usize..3, any::<bool>(), 0usize..3),
        to in (0usize..3, 0usize..3, any::<bool>(), 0usize..3),
        log_slots in 5usize..11,
        (n_steps, skip) in (0usize..8, 0usize..2),
    ) {
        let slots = 1 << log_slots;
        let (input, output) = map.shapes(&pool).expect("shapes fit");
        let (input, mut output) = (layout(&input, slots, from), layout(&output, slots, to));
        output.unused = Unused::Zero {};
        let matrix = SparseMatrix::new(&map, &pool).expect("enumerates");
        let x = ramp(input.n_elements());
        prop_assert!(is_sorted(&matrix));
        for (found, expected) in matrix.apply(&x).iter().zip(by_nn(&map, &pool, &x)) {
            prop_assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }

        let kernel = Kernel { map, fold: fold(&output, n_steps, skip), output: output.clone() };
        let mut graph = Graph::<Slot>::new("linear", pool);
        graph.attrs.slots = slots;
        let op = SlotOp::Input { name: "x".into(), layout: Layout { unused: Unused::Zero {}, ..input.clone() }, scale: 2.0 };
        let value = graph.push(op, Origin::default()).expect("input");
        // A shift of all slots leaves garbage in the unused ones.
        let shifted = graph.push(SlotOp::AddScalar { x: value, by: 0.25 }, Origin::default()).expect("shift");
        let y = graph.push(SlotOp::Linear { x: shifted, kernel: kernel.clone() }, Origin::default()).expect("linear");
        graph.output("y", y);
        let found = evaluate(&graph, &BTreeMap::from([("x".into(), x.clone())])).expect("evaluates");
        let expected = matrix.apply(&x.iter().map(|x| x / 2.0 + 0.25).collect::<Vec<_>>());
        for (found, expected) in found[0].iter().zip(&expected) {
            prop_assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }

        let diagonals = Diagonals::new(&kernel, &input, &graph.constants).expect("diagonals");
        let set = diagonals.set();
        prop_assert_eq!(&set, &DiagonalSet::of_kernel(&kernel, &input, &graph.constants).expect("positions"));
        let pattern = Pattern::new(&kernel.map, &graph.constants).expect("a pattern");
        let bound = DiagonalSet::of_pattern(&pattern, &input, &output, &kernel.fold).expect("positions");
        let up_to = |most| DiagonalSet::up_to(most, &pattern, &input, &output, &kernel.fold).expect("positions");
        let all = up_to(bound.keys.len());
        prop_assert_eq!(all.as_ref(), Some(&bound));
        if let Some(too_few) = bound.keys.len().checked_sub(1) {
            prop_assert_eq!(up_to(too_few), None);
        }
        prop_assert!(pattern.n_non_zeros() >= matrix.n_non_zeros());
        prop_assert!(bound.rotation_period == set.rotation_period);
        let bound: BTreeSet<DiagonalKey> = bound.keys.into_iter().collect();
        prop_assert!(set.keys.iter().all(|key| bound.contains(key)));
        prop_assert!(set.rotation_period <= input.period && slots % diagonals.period == 0);
        by_baby_and_giant_steps(&diagonals, &input, &output, &kernel.fold, &x, &matrix.apply(&x));
    }
}

/// Evaluates through plaintexts for babies in `0..4` and giants that wrap around, as the encrypted program does.
fn by_baby_and_giant_steps(d: &Diagonals, input: &Layout, output: &Layout, fold: &[usize], x: &[f64], y: &[f64]) {
    let n_babies = d.rotation_period.min(4);
    // The last baby is -1: sums wrap around the rotation period.
    let babies = (0..n_babies - 1).chain([d.rotation_period - 1]);
    let bsgs = Bsgs {
        baby_steps: babies.collect(),
        giant_steps: (0..d.rotation_period).collect(),
    };
    let x = input.pack(x);
    let mut sums = vec![vec![0.0; d.slots]; output.cts];
    for key in d.values.keys() {
        let (baby, giant) = bsgs
            .split(key.rotation, d.rotation_period)
            .expect("every rotation splits");
        let u = d.plaintext(*key, baby, giant).expect("the split fits");
        for (slot, sum) in sums[key.out_ct].iter_mut().enumerate() {
            let at = (slot + giant) % d.slots;
            *sum += u[at % d.period] * x[key.in_ct][(at + baby) % d.slots];
        }
    }
    for sum in &mut sums {
        for step in fold {
            let mut rotated = sum.clone();
            rotated.rotate_left(*step);
            sum.iter_mut().zip(rotated).for_each(|(a, b)| *a += b);
        }
    }
    let found = output.unpack(&sums);
    for (found, expected) in found.iter().zip(y) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }
}

#[test]
fn gemm_has_as_many_diagonals_as_its_outputs_round_up_to() {
    let mut pool = ConstantPool::default();
    let weight = constant(&mut pool, &[784, 128]);
    let map = LinearMap::Dense {
        input: vec![1, 784],
        weight,
        transposed: false,
    };
    let pattern = Pattern::new(&map, &pool).expect("a pattern");
    let (input, output) = (Layout::dense(&[1, 784], 4096), Layout::dense(&[1, 128], 4096));
    let set = DiagonalSet::of_pattern(&pattern, &input, &output, &[128, 256, 512]).expect("positions");
    assert_eq!(
        set.keys.iter().map(|key| key.rotation).collect::<Vec<_>>(),
        (0..128).collect::<Vec<_>>()
    );
    let unfolded = Layout { period: 1024, ..output };
    let set = DiagonalSet::of_pattern(&pattern, &input, &unfolded, &[]).expect("positions");
    assert_eq!(set.keys.len(), 784 + 128 - 1);
}

#[test]
fn convolution_of_one_channel_rotates_once_per_offset() {
    let mut pool = ConstantPool::default();
    let weight = constant(&mut pool, &[6, 1, 5, 5]);
    let map = LinearMap::Conv {
        input: vec![1, 1, 28, 28],
        weight,
        strides: vec![1, 1],
        pads: vec![(0, 0); 2],
        dilations: vec![1; 2],
        groups: 1,
    };
    let pattern = Pattern::new(&map, &pool).expect("a pattern");
    let digits = [(1, 6, 1024), (2, 24, 28), (3, 24, 1)];
    let digits = digits.map(|(axis, extent, stride)| Digit { axis, extent, stride });
    let output = Layout::with_digits(&[1, 6, 24, 24], 8192, digits.to_vec(), Unused::Zero {});
    let set =
        DiagonalSet::of_pattern(&pattern, &Layout::dense(&[1, 1, 28, 28], 8192), &output, &[]).expect("positions");
    let rotations: Vec<usize> = set.keys.iter().map(|key| key.rotation).collect();
    let offsets: Vec<usize> = (0..5).flat_map(|y| (0..5).map(move |x| 28 * y + x)).collect();
    assert_eq!(rotations, offsets);
}

#[test]
fn malformed_folds_are_refused() {
    let map = LinearMap::Identity { shape: vec![1, 8] };
    let pool = ConstantPool::default();
    let pattern = Pattern::new(&map, &pool).expect("a pattern");
    let layout = Layout::dense(&[1, 8], 64);
    for fold in [vec![4], vec![8, 32], vec![12], vec![32, 64]] {
        assert!(
            DiagonalSet::of_pattern(&pattern, &layout, &layout, &fold).is_err(),
            "{fold:?}"
        );
    }
}

#[test]
fn a_wrong_layout_is_caught() {
    // A rotation whose declared layout does not follow the elements reads what lies beside them.
    let layout = Layout::dense(&[1, 6], 16);
    let run = |declared: &Layout| {
        let mut graph = Graph::<Slot>::new("rotate", ConstantPool::default());
        let op = SlotOp::Input {
            name: "x".into(),
            layout: layout.clone(),
            scale: 1.0,
        };
        let x = graph.push(op, Origin::default()).expect("input");
        let op = SlotOp::Rotate {
            x,
            by: 2,
            layout: declared.clone(),
        };
        let y = graph.push(op, Origin::default()).expect("rotate");
        graph.output("y", y);
        evaluate(&graph, &BTreeMap::from([("x".into(), ramp(6))]))
    };
    let error = run(&layout).expect_err("slots 4 and 5 hold no elements");
    assert!(error.to_string().contains("instead of zero"), "{error}");
    let garbage = Layout {
        unused: Unused::Garbage {},
        ..layout.clone()
    };
    assert_ne!(run(&garbage).expect("garbage may be anything")[0], ramp(6));
}

/// A convolution with all weights 1.
fn convolution(pool: &mut ConstantPool, shape: [usize; 3], n_out: usize, kernel: usize, stride: usize) -> LinearMap {
    let [n_in, height, width] = shape;
    let n_weights = n_out * n_in * kernel * kernel;
    let weight = Tensor::from_f64(vec![n_out, n_in, kernel, kernel], vec![1.0; n_weights]);
    LinearMap::Conv {
        input: vec![1, n_in, height, width],
        weight: pool.insert("ones", weight),
        strides: vec![stride; 2],
        pads: vec![(kernel / 2, kernel / 2); 2],
        dilations: vec![1; 2],
        groups: 1,
    }
}

/// Channels in blocks of a power of two.
fn blocks(shape: [usize; 3], slots: usize) -> Layout {
    let [channels, height, width] = shape;
    let digits = [
        (1, channels, (height * width).next_power_of_two()),
        (2, height, width),
        (3, width, 1),
    ];
    let digits = digits.map(|(axis, extent, stride)| Digit { axis, extent, stride });
    Layout::with_digits(&[1, channels, height, width], slots, digits.to_vec(), Unused::Zero {})
}

#[test]
fn layers_of_the_size_of_resnet_50_are_counted() {
    const SLOTS: usize = 1 << 15;
    // 462, 118, 103 and 116 million non-zeros, as a matrix 12 bytes each.
    let layers = [
        ([64, 56, 56], 256, 3, 1),
        ([3, 224, 224], 64, 7, 2),
        ([1024, 7, 7], 2048, 1, 1),
        ([512, 7, 7], 512, 3, 1),
    ];
    let counts = layers.map(|(shape, n_out, kernel, stride)| {
        let mut pool = ConstantPool::default();
        let map = convolution(&mut pool, shape, n_out, kernel, stride);
        let pattern = Pattern::exact(&map, &pool).expect("a pattern");
        let output = blocks([n_out, shape[1] / stride, shape[2] / stride], SLOTS);
        let set = DiagonalSet::of_pattern(&pattern, &blocks(shape, SLOTS), &output, &[]).expect("positions");
        (output.cts, set.keys.len())
    });
    // 8 channels to a ciphertext, so 8 differences of channels, modulo the ciphertext, at each of 9 taps.
    assert_eq!(counts[0], (32, 32 * 8 * 8 * 9));
    assert_eq!(counts[3], (1, 9 * 512));
    insta::assert_debug_snapshot!(counts);
}

#[test]
fn zero_weights_leave_their_diagonals_out() {
    let mut pool = ConstantPool::default();
    // Channel 0 reads channel 1 at the left tap, channel 1 reads itself in the middle.
    let mut weights = vec![0.0; 2 * 2 * 3];
    weights[3] = 1.0;
    weights[10] = 1.0;
    let map = LinearMap::Conv {
        input: vec![1, 2, 16],
        weight: pool.insert("sparse", Tensor::from_f64(vec![2, 2, 3], weights)),
        strides: vec![1],
        pads: vec![(1, 1)],
        dilations: vec![1],
        groups: 1,
    };
    let layout = Layout::dense(&[1, 2, 16], 64);
    let kernel = Kernel {
        map,
        output: layout.clone(),
        fold: vec![],
    };
    let set = DiagonalSet::of_kernel(&kernel, &layout, &pool).expect("positions");
    let rotations: Vec<usize> = set.keys.iter().map(|key| key.rotation).collect();
    assert_eq!(rotations, [0, 15]);
}
