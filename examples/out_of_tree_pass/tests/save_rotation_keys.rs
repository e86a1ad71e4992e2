//! The pass on a program that sums windows: fewer keys, the same results, to the last bit.

use std::collections::BTreeMap;

use aphelion_ir::ckks::{Ckks, CkksOp, Interpreter, Noise};
use aphelion_ir::{ConstantPool, Graph};
use aphelion_out_of_tree_pass::save_rotation_keys;
use aphelion_passes::PassCx;
use aphelion_passes::pipeline::{AnyGraph, PassManager};

const PROGRAM: &str = include_str!("../window_sums.air");

/// The program on ciphertexts, before and after the pass.
fn before_and_after() -> (Graph<Ckks>, AnyGraph, Vec<(String, f64)>) {
    let cx = PassCx::default();
    let manager = PassManager::new(&cx).verify(true);
    let mut manager = manager.register(save_rotation_keys::PASS).expect("the name is free");
    let graph = AnyGraph::parse(PROGRAM, &ConstantPool::default()).expect("a program");
    let AnyGraph::Ckks(before) = manager.run(&["lower_to_ckks"], graph).expect("it is lowered") else {
        unreachable!("lower_to_ckks yields ckks");
    };
    let after = manager
        .run(&["save_rotation_keys"], AnyGraph::Ckks(before.clone()))
        .expect("it runs");
    let counts = manager.reports()[1].stats.0.clone().into_iter().collect();
    (before, after, counts)
}

fn run(graph: &Graph<Ckks>) -> Vec<Vec<f64>> {
    let values = (0..16).map(|i| f64::from(i * i % 7) / 32.0).collect();
    let inputs = BTreeMap::from([("x".to_string(), values)]);
    let interpreter = Interpreter::new(graph).expect("it can be interpreted");
    interpreter.evaluate(&inputs, Noise::Off).expect("it runs")
}

fn steps(graph: &Graph<Ckks>) -> Vec<usize> {
    let rotations = graph.iter().filter_map(|(_, node)| match node.op {
        CkksOp::Rotate { by, .. } => Some(by),
        _ => None,
    });
    rotations.collect()
}

#[test]
fn rotations_take_two_steps_and_mean_the_same() {
    let (before, after, counts) = before_and_after();
    insta::assert_snapshot!(after.print().expect("it prints"));
    let AnyGraph::Ckks(after) = after else {
        unreachable!("the pass stays in ckks");
    };
    assert_eq!(run(&before), run(&after));
    let distinct = |graph: &Graph<Ckks>| {
        steps(graph)
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    };
    let expected = [
        ("keys_after", distinct(&after)),
        ("keys_before", distinct(&before)),
        ("rotations_added", steps(&after).len() - steps(&before).len()),
    ];
    assert_eq!(counts, expected.map(|(name, count)| (name.to_string(), count as f64)));
    assert!(distinct(&after) < distinct(&before));
}

#[test]
fn names_are_given_once() {
    let cx = PassCx::default();
    let twice = PassManager::new(&cx)
        .register(save_rotation_keys::PASS)
        .and_then(|manager| manager.register(save_rotation_keys::PASS));
    let message = twice.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(message.contains("save_rotation_keys` already"), "{message}");
}
