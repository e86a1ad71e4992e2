//! Several samples in one run: the program on interleaved samples computes what the model makes of each, with as many
//! rotations and products as the program for one.

mod support;

use aphelion_ir::slot::Interpreter;
use aphelion_passes::bsgs::RotationCost;
use aphelion_passes::lower_to_slot::{self, linear_costs};
use aphelion_passes::{Batch, CompileOptions, PassCx, batch};
use std::collections::BTreeMap;
use support::sample;

fn asking_for(batch: Batch) -> PassCx {
    PassCx {
        options: CompileOptions {
            batch,
            ..CompileOptions::default()
        },
        ..PassCx::default()
    }
}

#[test]
fn every_sample_gets_its_own_result_at_the_cost_of_one() {
    const N: usize = 4;
    let cx = asking_for(Batch::Samples(N));
    for graph in [
        support::mlp(),
        support::cryptonets(),
        support::lenet(),
        support::cnn1d(),
    ] {
        let (one, _) = lower_to_slot::run(&cx, graph.clone()).expect("lowers");
        let (several, _) = batch::run(&cx, one.clone()).expect("interleaves");
        several.verify().expect("is valid");
        let samples: Vec<_> = (0..N as u64).map(|seed| sample(&graph, seed)).collect();
        let together = samples.iter().flat_map(|sample| sample["x"].clone()).collect();
        let interpreter = Interpreter::new(&several).expect("prepares");
        let found = interpreter
            .evaluate(&BTreeMap::from([("x".to_string(), together)]))
            .expect("evaluates");
        let expected = samples
            .iter()
            .map(|sample| aphelion_ir::nn::evaluate(&graph, sample).expect("evaluates").concat());
        let expected: Vec<f64> = expected.flatten().collect();
        let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        assert_eq!(found[0].len(), expected.len());
        for (found, expected) in found[0].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9 * largest, "{found} is not {expected}");
        }

        let counts = |graph| {
            let costs = linear_costs(graph, &RotationCost::default())
                .expect("costs")
                .into_iter();
            let parts = costs.map(|(_, it)| {
                (
                    it.transform.n_babies,
                    it.transform.n_giants,
                    it.transform.n_plains,
                    it.n_folds,
                )
            });
            parts.collect::<Vec<_>>()
        };
        assert_eq!(counts(&one), counts(&several), "{}", graph.name);
    }
}

#[test]
fn unused_slots_are_filled_and_one_sample_changes_nothing() {
    let graph = support::mlp();
    let (one, _) = lower_to_slot::run(&PassCx::default(), graph.clone()).expect("lowers");
    let (same, stats) = batch::run(&asking_for(Batch::Samples(1)), one.clone()).expect("does nothing");
    assert_eq!((&same, stats.0["batch"]), (&one, 1.0));
    let filling = PassCx {
        samples: vec![sample(&graph, 0)["x"].clone()],
        ..asking_for(Batch::Fill)
    };
    let (filled, stats) = batch::run(&filling, one.clone()).expect("fills");
    let longest = one
        .iter()
        .map(|(_, node)| node.ty.period)
        .max()
        .expect("there are values");
    let n = filled.attrs.batch.expect("several samples fit");
    assert_eq!(stats.0["batch"], n as f64);
    assert!(n.is_power_of_two() && filled.attrs.slots == (n * longest).max(one.attrs.slots));
    assert!(batch::run(&asking_for(Batch::Samples(2)), filled).is_err(), "twice");
}
