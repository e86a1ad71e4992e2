//! Lowered programs compute what the slot programs compute, and look as they should.

use super::*;
use aphelion_ir::ckks::{Interpreter, Noise};
use aphelion_ir::slot::{Basis, LinearMap, PlainTensor, Polynomial, SlotOp};
use aphelion_ir::text::print_graph;
use aphelion_ir::{ConstRef, Origin, Tensor, ValueId};
use proptest::prelude::*;
use std::collections::BTreeMap;

const SLOTS: usize = 16;
const EXTENT: usize = 8;

fn empty() -> (Graph<Slot>, ValueId) {
    let mut graph = Graph::<Slot>::new("g", Default::default());
    graph.attrs.slots = SLOTS;
    let weights = (0..EXTENT * EXTENT).map(|i| ((i * 29 % 17) as f64 - 8.0) / 64.0);
    graph
        .constants
        .insert("w", Tensor::from_f64(vec![EXTENT, EXTENT], weights.collect()));
    graph.constants.insert(
        "v",
        Tensor::from_f64(vec![EXTENT, 2], (0..2 * EXTENT).map(|i| i as f64 / 32.0).collect()),
    );
    graph.constants.insert("b", Tensor::from_f64(vec![1], vec![0.5]));
    let x = push(
        &mut graph,
        SlotOp::Input {
            name: "x".into(),
            layout: layout(),
            scale: 2.0,
        },
    );
    (graph, x)
}

fn layout() -> Layout {
    Layout::dense(&[1, EXTENT], SLOTS)
}

fn push(graph: &mut Graph<Slot>, op: SlotOp) -> ValueId {
    let name = format!("op{}", graph.len());
    graph.push(op, Origin::new(name, "Test")).expect("a valid op")
}

fn finish(mut graph: Graph<Slot>, results: &[ValueId]) -> Graph<Slot> {
    for (index, value) in results.iter().enumerate() {
        graph.output(format!("y{index}"), *value);
        graph.attrs.output_scales.push(3.0);
        graph.attrs.client_ops.push(vec![]);
    }
    graph
}

fn dense(x: ValueId) -> SlotOp {
    let kernel = Kernel {
        map: LinearMap::Dense {
            input: vec![1, EXTENT],
            weight: ConstRef::new("w"),
            transposed: false,
        },
        output: layout(),
        fold: vec![],
    };
    SlotOp::Linear { x, kernel }
}

/// To two elements, repeated with period 2 by a rotate-and-sum.
fn folded(x: ValueId) -> SlotOp {
    let kernel = Kernel {
        map: LinearMap::Dense {
            input: vec![1, EXTENT],
            weight: ConstRef::new("v"),
            transposed: false,
        },
        output: Layout::dense(&[1, 2], SLOTS),
        fold: vec![2, 4],
    };
    SlotOp::Linear { x, kernel }
}

fn lower(graph: &Graph<Slot>) -> Graph<Ckks> {
    let (lowered, _) = run(&PassCx::default(), graph.clone()).expect("lowers");
    lowered.verify().expect("a valid graph");
    lowered
}

fn difference(graph: &Graph<Slot>, lowered: &Graph<Ckks>) -> f64 {
    let tensor = (0..EXTENT).map(|i| ((i * 5 % 8) as f64 - 3.5) / 2.0).collect();
    let inputs = BTreeMap::from([("x".to_string(), tensor)]);
    let expected = aphelion_ir::slot::evaluate(graph, &inputs).expect("slot runs").concat();
    let found = Interpreter::new(lowered).and_then(|it| it.evaluate(&inputs, Noise::Off));
    let found = found.expect("ckks runs").concat();
    assert_eq!(expected.len(), found.len());
    let differences = expected
        .iter()
        .zip(&found)
        .map(|(a, b)| (a - b).abs() / (1.0 + a.abs()));
    differences.fold(0.0, f64::max)
}

fn count(graph: &Graph<Ckks>, mnemonic: &str) -> usize {
    use aphelion_ir::Op;
    graph.iter().filter(|(_, node)| node.op.mnemonic() == mnemonic).count()
}

fn arbitrary_op(choice: u8, a: ValueId, b: ValueId, by: f64) -> SlotOp {
    let value = PlainTensor {
        value: ConstRef::new("b"),
        factor: by,
    };
    let poly = |basis, low, high, coeffs: &[f64]| Polynomial {
        basis,
        low,
        high,
        coeffs: coeffs.to_vec(),
    };
    match choice {
        0 => SlotOp::Add { a, b },
        1 => SlotOp::Sub { a, b },
        2 => SlotOp::Neg { x: a },
        3 => SlotOp::AddPlain { x: a, value },
        4 => SlotOp::MulPlain { x: a, value },
        5 => SlotOp::AddScalar { x: a, by },
        6 => SlotOp::MulScalar { x: a, by },
        7 => SlotOp::MulScalar { x: a, by: -2.0 },
        8 => SlotOp::Rotate {
            x: a,
            by: 3,
            layout: layout(),
        },
        9 => dense(a),
        10 => SlotOp::Poly {
            x: a,
            poly: poly(Basis::Chebyshev {}, -0.9, 1.0, &[0.1, by, 0.0, 0.2]),
        },
        11 => SlotOp::Poly {
            x: a,
            poly: poly(Basis::Monomial {}, -1.0, 1.0, &[by, 0.5, -1.0]),
        },
        12 => SlotOp::Poly {
            x: a,
            poly: poly(Basis::Chebyshev {}, -4.0, 5.0, &[0.1, by, 0.3]),
        },
        13 => SlotOp::Poly {
            x: a,
            poly: poly(Basis::Monomial {}, -1.0, 1.0, &[0.1, by, 0.4, 0.0, -2.0]),
        },
        _ => SlotOp::Mul { a, b },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn both_dialects_agree(
        ops in prop::collection::vec((0u8..16, any::<prop::sample::Index>(), any::<prop::sample::Index>(), -1.0f64..1.0), 1..14),
        second in any::<prop::sample::Index>(),
    ) {
        let (mut graph, x) = empty();
        let mut values = vec![x];
        for (choice, a, b, by) in ops {
            let op = arbitrary_op(choice, values[a.index(values.len())], values[b.index(values.len())], by);
            values.push(push(&mut graph, op));
        }
        let results = [values[values.len() - 1], values[second.index(values.len())]];
        let graph = finish(graph, &results);
        let lowered = lower(&graph);
        // Values grow with nested products; beyond this, rounding decides.
        let difference = difference(&graph, &lowered);
        prop_assert!(difference < 1e-6 || difference.is_nan(), "{difference}");
        for output in lowered.outputs() {
            let ty = lowered.ty(output.value);
            prop_assert_eq!((ty.level, ty.scale_power, ty.degree), (0, 1, 1));
        }
        // A program lowered twice is the same text.
        prop_assert_eq!(print_graph(&lowered).expect("prints"), print_graph(&lower(&graph)).expect("prints"));
    }
}

#[test]
fn a_sum_of_products_is_relinearised_and_rescaled_once() {
    let (mut graph, x) = empty();
    let rotated = push(
        &mut graph,
        SlotOp::Rotate {
            x,
            by: 1,
            layout: layout(),
        },
    );
    let a = push(&mut graph, SlotOp::Mul { a: x, b: x });
    let b = push(&mut graph, SlotOp::Mul { a: x, b: rotated });
    let value = PlainTensor {
        value: ConstRef::new("b"),
        factor: 1.0,
    };
    let b = push(&mut graph, SlotOp::AddPlain { x: b, value });
    let sum = push(&mut graph, SlotOp::Sub { a, b });
    let linear = push(&mut graph, dense(rotated));
    let sum = push(&mut graph, SlotOp::Add { a: sum, b: linear });
    let graph = finish(graph, &[sum]);
    let lowered = lower(&graph);
    assert!(difference(&graph, &lowered) < 1e-12);
    assert_eq!((count(&lowered, "relinearize"), count(&lowered, "rescale")), (1, 1));
    insta::assert_snapshot!(print_graph(&lowered).expect("prints"));
}

#[test]
fn sums_of_folded_matrices_are_folded_once_and_after_the_rescale() {
    let (mut graph, x) = empty();
    let square = push(&mut graph, SlotOp::Mul { a: x, b: x });
    let a = push(&mut graph, folded(x));
    let b = push(&mut graph, folded(square));
    let sum = push(&mut graph, SlotOp::Add { a, b });
    let sum = push(&mut graph, SlotOp::AddScalar { x: sum, by: 0.25 });
    let graph = finish(graph, &[sum]);
    let lowered = lower(&graph);
    assert!(difference(&graph, &lowered) < 1e-12);
    assert_eq!((count(&lowered, "rotate"), count(&lowered, "rescale")), (2, 2));
    assert_eq!(
        count(&lowered, "drop_level"),
        0,
        "limbs are dropped by the transform itself"
    );
    insta::assert_snapshot!(print_graph(&lowered).expect("prints"));
}

#[test]
fn chains_of_products_become_balanced_shared_trees() {
    let (mut graph, x) = empty();
    let mut power = x;
    for _ in 0..7 {
        power = push(&mut graph, SlotOp::Mul { a: power, b: x });
    }
    let graph = finish(graph, &[power]);
    let lowered = lower(&graph);
    assert!(difference(&graph, &lowered) < 1e-12);
    assert_eq!(count(&lowered, "mul"), 3, "x^8 is three squares");
    let max_level = lowered.iter().map(|(_, node)| node.ty.level).max();
    assert_eq!(max_level, Some(3));
}

#[test]
fn residuals_drop_levels_only_where_they_meet() {
    let (mut graph, x) = empty();
    let branch = push(&mut graph, dense(x));
    let branch = push(&mut graph, SlotOp::Mul { a: branch, b: branch });
    let sum = push(&mut graph, SlotOp::Add { a: x, b: branch });
    let graph = finish(graph, &[sum]);
    let lowered = lower(&graph);
    assert!(difference(&graph, &lowered) < 1e-12);
    assert_eq!(count(&lowered, "drop_level"), 1);
    let levels = lowered.iter().map(|(_, node)| node.ty.level).max();
    assert_eq!(levels, Some(2));
}
