//! Block linear transforms: against the plain matrix, in both bases of the baby steps, from any level.

use std::collections::BTreeMap;

use aphelion_runtime::ckks::encoding::Complex64;
use aphelion_runtime::ckks::eval::{Evaluator, RawDiagonals};
use aphelion_runtime::ckks::keys::KeyRequest;
use aphelion_runtime::ckks::linear::{DiagonalIdx, Diagonals, LinearTransform};
use aphelion_runtime::ckks::params::Security;
use aphelion_runtime::error::Error;

use crate::common::{
    Client, bits, chain_with_upper_levels, division, error_bits, key_switch, parameters, sample, secure,
};

/// Diagonals at some offsets, with entries in [-1, 1] / count.
fn diagonals(slots: usize, blocks: (usize, usize), offsets: &[usize]) -> Diagonals {
    let share = 1.0 / (offsets.len() * blocks.1) as f64;
    let mut diagonals = Diagonals::new();
    for out in 0..blocks.0 {
        for input in 0..blocks.1 {
            for &offset in offsets {
                let seed = (out * 100 + input * 10_000 + offset) as u64;
                let values = sample(slots, seed)
                    .into_iter()
                    .map(|v| Complex64::from(v * share))
                    .collect();
                diagonals.insert((out, input, offset), values);
            }
        }
    }
    diagonals
}

/// The transform in the clear.
fn apply(diagonals: &Diagonals, inputs: &[Vec<f64>], n_outputs: usize, folds: &[usize]) -> Vec<Vec<f64>> {
    let slots = inputs[0].len();
    let mut outputs = vec![vec![0.0; slots]; n_outputs];
    for ((out, input, offset), values) in diagonals {
        for (j, value) in values.iter().enumerate() {
            outputs[*out][j] += value.re * inputs[*input][(j + offset) % slots];
        }
    }
    for fold in folds {
        for output in &mut outputs {
            *output = (0..slots).map(|j| output[j] + output[(j + fold) % slots]).collect();
        }
    }
    outputs
}

struct Case {
    blocks: (usize, usize),
    offsets: Vec<usize>,
    baby_period: usize,
    folds: Vec<usize>,
}

/// Runs a case at `level` on inputs encrypted at `input_level`; returns whether the baby steps stayed raised.
fn run(client: &mut Client, slots: usize, case: &Case, input_level: usize, level: usize) -> bool {
    let params = client.params.clone();
    let plain = diagonals(slots, case.blocks, &case.offsets);
    let (shape, values) = LinearTransform::from_diagonals(
        slots,
        case.blocks.1,
        case.blocks.0,
        &plain,
        case.baby_period,
        case.folds.clone(),
    )
    .unwrap();
    let mut keys = KeyRequest::default();
    keys.add_rotations(&shape.rotations(level));
    let keys = client.secret.evaluation_keys(&keys, &mut client.rng).unwrap();
    let evaluator = Evaluator::new(keys);

    let inputs: Vec<_> = (0..case.blocks.1).map(|i| sample(slots, 77 + i as u64)).collect();
    let encrypted: Vec<_> = inputs.iter().map(|input| client.encrypt(input, input_level)).collect();
    let encrypted: Vec<_> = encrypted.iter().collect();
    let raw = RawDiagonals::new(&client.encoder, &shape, &values);
    let chained = shape.clone().with_chained_giants().unwrap();
    assert!(
        chained
            .rotations(level)
            .keys()
            .all(|step| shape.rotations(level).contains_key(step))
    );
    let chained = evaluator.linear_transform(&encrypted, &chained, &raw, level).unwrap();
    let outputs = evaluator.linear_transform(&encrypted, &shape, &raw, level).unwrap();
    let encoding = evaluator
        .diagonal_encoding(&shape, level, encrypted[0].scale())
        .unwrap();
    let ahead = raw.encode(&encoding).unwrap();
    let again = evaluator.linear_transform(&encrypted, &shape, &ahead, level).unwrap();

    let keys = evaluator.keys().clone();
    let batched = Evaluator::new(keys).with_transform_memory(1);
    let batched = batched.linear_transform(&encrypted, &shape, &ahead, level).unwrap();
    assert!(batched == outputs, "batching the inputs must not change results");

    let expected = apply(&plain, &inputs, case.blocks.0, &case.folds);
    // Noise of the inputs and their key switches passes through a matrix of row sums below one, then a division; each
    // fold doubles it at worst and adds a key switch.
    let growth = (2 * case.folds.len()) as f64;
    let noise = 2.0 * (key_switch(&params, level) + division(&params)) * growth.exp2();
    let bound = bits(&params, level - 1, noise);
    for (output, expected) in chained.iter().zip(&expected) {
        let found = error_bits(&client.decrypt(output), expected);
        assert!(found > bound, "chained: {found:.1} bits, bound {bound:.1}");
    }
    for ((output, again), expected) in outputs.iter().zip(&again).zip(&expected) {
        assert_eq!((output.level(), output.scale()), (level - 1, params.scale(level - 1)));
        assert!(output == again, "encoding ahead must not change results");
        let found = error_bits(&client.decrypt(output), expected);
        assert!(found > bound, "{found:.1} bits, bound {bound:.1}");
    }
    encoding.basis.is_raised()
}

/// Where a key switch does with fewer special primes, so do raised inputs and the diagonals they meet.
#[test]
fn low_levels_use_fewer_special_primes() {
    let mut client = Client::new(chain_with_upper_levels(10));
    for level in 1..=4 {
        let case = Case {
            blocks: (1, 2),
            offsets: (0..16).collect(),
            baby_period: 8,
            folds: vec![16],
        };
        assert!(run(&mut client, 32, &case, 4, level), "level {level}");
    }
}

#[test]
fn transforms_match_the_matrix_whatever_the_split() {
    let mut client = Client::new(parameters(10, 3, 40.0, 50.0, 2, Security::None));
    let all: Vec<usize> = (0..32).collect();
    let mut bases = BTreeMap::new();
    for (blocks, offsets, baby_period, folds) in [
        ((1, 1), vec![0], 1, vec![]),
        ((1, 1), vec![3], 8, vec![]),
        ((1, 1), vec![8, 16], 8, vec![]),
        ((1, 1), all.clone(), 8, vec![]),
        ((1, 1), all.clone(), 1, vec![]),
        ((1, 1), all.clone(), 32, vec![]),
        ((2, 3), vec![0, 1, 5, 9, 31], 4, vec![]),
        ((8, 1), all, 4, vec![]),
        ((2, 1), vec![0, 2, 30], 4, vec![16, 8, 4]),
    ] {
        let case = Case {
            blocks,
            offsets,
            baby_period,
            folds,
        };
        for (input_level, level) in [(3, 3), (3, 1), (2, 2)] {
            *bases
                .entry(run(&mut client, 32, &case, input_level, level))
                .or_insert(0) += 1;
        }
    }
    assert!(
        bases.len() == 2,
        "both bases of the baby steps must be exercised: {bases:?}"
    );
}

#[test]
fn a_dense_layer_at_real_parameters() {
    let mut client = Client::new(secure(13, 3, 36.0, 40.0, 4));
    let case = Case {
        blocks: (1, 1),
        offsets: (0..64).collect(),
        baby_period: 8,
        folds: vec![64, 128],
    };
    run(&mut client, 4096, &case, 3, 2);
}

#[test]
fn what_is_missing_is_named() {
    let mut client = Client::new(parameters(10, 2, 40.0, 50.0, 3, Security::None));
    let shape = |baby| {
        let idx = DiagonalIdx {
            out: 0,
            giant: 0,
            input: 0,
            baby,
        };
        LinearTransform::new(8, 1, 1, vec![idx], vec![]).unwrap()
    };
    let evaluator = Evaluator::new(
        client
            .secret
            .evaluation_keys(&KeyRequest::default(), &mut client.rng)
            .unwrap(),
    );
    let (diagonal, rotated) = (shape(0), shape(3));
    let input = client.encrypt(&[1.0; 8], 2);
    let values = BTreeMap::new();
    let none = RawDiagonals::new(&client.encoder, &diagonal, &values);
    let error = |inputs: &[_], shape: &_, level| evaluator.linear_transform(inputs, shape, &none, level).err().unwrap();
    assert_eq!(
        error(&[&input], &rotated, 2),
        Error::MissingRotationKey { step: 3, level: 2 }
    );
    assert!(matches!(
        error(&[&input], &diagonal, 2),
        Error::InvalidLinearTransform { .. }
    ));
    assert!(matches!(error(&[], &diagonal, 2), Error::InvalidLinearTransform { .. }));
    assert!(matches!(error(&[&input], &diagonal, 0), Error::LevelTooLow { .. }));
    assert!(matches!(
        error(&[&input], &diagonal, 5),
        Error::LevelTooHigh { .. } | Error::LevelTooLow { .. }
    ));
}
