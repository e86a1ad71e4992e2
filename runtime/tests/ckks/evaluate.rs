//! Every operation on ciphertexts against cleartext, its error held to a bound from the noise it may add.

use crate::common::{
    Client, FRESH, bits, chain_with_upper_levels, complex_error_bits, division, error_bits, key_switch, sample, secure,
};
use aphelion_runtime::ckks::encoding::Complex64;
use aphelion_runtime::ckks::eval::Evaluator;
use aphelion_runtime::ckks::keys::{EvaluationKeys, KeyRequest};
use aphelion_runtime::ckks::params::{ChainRequest, Parameters, ParametersLiteral, SecretDistribution, Security};
use aphelion_runtime::error::Error;

/// Client and server at N = 2^13 with three levels.
fn setup(request: impl FnOnce(&mut KeyRequest)) -> (Client, Evaluator) {
    let mut client = Client::new(secure(13, 3, 40.0, 44.0, 4));
    let mut keys = KeyRequest::default();
    request(&mut keys);
    let keys = client.secret.evaluation_keys(&keys, &mut client.rng).unwrap();
    (client, Evaluator::new(keys))
}

fn assert_bits(what: &str, found: f64, bound: f64) {
    assert!(found > bound, "{what}: {found:.2} bits, the bound is {bound:.2}");
    assert!(
        found < bound + 12.0,
        "{what}: {found:.2} bits, a bound of {bound:.2} is too loose to mean anything"
    );
}

#[test]
fn sums_are_as_precise_as_their_operands() {
    let (mut client, evaluator) = setup(|_| ());
    let params = client.params.clone();
    let (x, y) = (sample(4096, 1), sample(4096, 2));
    let (a, b) = (client.encrypt(&x, 3), client.encrypt(&y, 3));
    let plaintext = client.encoder.encode(&y, 4096, 3, params.scale(3)).unwrap();
    let zip = |f: fn(f64, f64) -> f64| -> Vec<f64> { x.iter().zip(&y).map(|(x, y)| f(*x, *y)).collect() };
    let cases = [
        ("add", evaluator.add(&a, &b), zip(|x, y| x + y), 2.0 * FRESH),
        ("sub", evaluator.sub(&a, &b), zip(|x, y| x - y), 2.0 * FRESH),
        ("neg", Ok(evaluator.neg(&a)), zip(|x, _| -x), FRESH),
        (
            "add_plain",
            evaluator.add_plain(&a, &plaintext),
            zip(|x, y| x + y),
            FRESH,
        ),
        (
            "sub_plain",
            evaluator.sub_plain(&a, &plaintext),
            zip(|x, y| x - y),
            FRESH,
        ),
        (
            "add_scalar",
            evaluator.add_scalar(&a, -0.75),
            zip(|x, _| x - 0.75),
            FRESH,
        ),
        (
            "mul_integer",
            Ok(evaluator.mul_integer(&a, -3)),
            zip(|x, _| -3.0 * x),
            9.0 * FRESH,
        ),
    ];
    for (what, result, expected, variance) in cases {
        let result = result.unwrap();
        assert_eq!((result.level(), result.scale()), (3, params.scale(3)), "{what}");
        assert_bits(
            what,
            error_bits(&client.decrypt(&result), &expected),
            bits(&params, 3, variance),
        );
    }
    let low = client.encrypt(&x, 1);
    let sum = evaluator
        .add_plain(&low, &client.encoder.encode(&y, 4096, 3, params.scale(1)).unwrap())
        .unwrap();
    assert_bits(
        "add_plain across levels",
        error_bits(&client.decrypt(&sum), &zip(|x, y| x + y)),
        bits(&params, 1, FRESH),
    );
}

#[test]
fn products_land_on_the_canonical_scale() {
    let (mut client, evaluator) = setup(|keys| keys.add_relin(3));
    let params = client.params.clone();
    let (x, y) = (sample(4096, 1), sample(4096, 2));
    let xy: Vec<_> = x.iter().zip(&y).map(|(x, y)| x * y).collect();
    let xx: Vec<_> = x.iter().map(|x| x * x).collect();
    let half: Vec<_> = x.iter().map(|x| 0.3 * x).collect();
    for level in [3, 2, 1] {
        let (a, b) = (client.encrypt(&x, level), client.encrypt(&y, level));
        let scale = evaluator.plain_scale(level, a.scale()).unwrap();
        let plaintext = client.encoder.encode(&y, 4096, level, scale).unwrap();
        let q = params.q()[level] as f64;
        let switched = 2.0 * FRESH + key_switch(&params, level) / (q * q) + division(&params);
        let product = evaluator.mul(&a, &b).unwrap();
        assert_eq!(product.parts().len(), 3);
        assert_bits(
            "three parts",
            error_bits(&client.decrypt(&product), &xy),
            bits(&params, level, 2.0 * FRESH),
        );
        let stepwise = evaluator.rescale(&evaluator.relinearize(&product).unwrap()).unwrap();
        let mut square = evaluator.square(&a).unwrap();
        evaluator.relinearize_rescale_in_place(&mut square).unwrap();
        let cases = [
            ("mul", stepwise, &xy, switched),
            (
                "mul_relin_rescale",
                evaluator.mul_relin_rescale(&a, &b).unwrap(),
                &xy,
                switched,
            ),
            ("square", square, &xx, switched),
            (
                "mul_plain",
                evaluator
                    .rescale(&evaluator.mul_plain(&a, &plaintext).unwrap())
                    .unwrap(),
                &xy,
                switched,
            ),
            (
                "mul_scalar",
                evaluator.rescale(&evaluator.mul_scalar(&a, 0.3).unwrap()).unwrap(),
                &half,
                switched,
            ),
        ];
        for (what, result, expected, variance) in cases {
            assert_eq!(result.level(), level - 1, "{what}");
            assert!((result.scale() / params.scale(level - 1) - 1.0).abs() < 1e-15, "{what}");
            // Three parts bring the square of the secret into the rounding.
            let variance = if result.parts().len() == 3 {
                variance * params.n() as f64
            } else {
                variance
            };
            assert_bits(
                what,
                error_bits(&client.decrypt(&result), expected),
                bits(&params, level - 1, variance),
            );
        }
    }
}

#[test]
fn adjusting_lands_on_every_lower_level() {
    let (mut client, evaluator) = setup(|_| ());
    let params = client.params.clone();
    let x = sample(4096, 1);
    for (from, to) in [(3, 3), (3, 2), (3, 1), (3, 0), (1, 0)] {
        let adjusted = evaluator.adjust_to(&client.encrypt(&x, from), to).unwrap();
        assert_eq!((adjusted.level(), adjusted.scale()), (to, params.scale(to)));
        let variance = FRESH + if from == to { 0.0 } else { division(&params) };
        assert_bits(
            "adjust_to",
            error_bits(&client.decrypt(&adjusted), &x),
            bits(&params, to, variance),
        );
    }
    let dropped = evaluator.drop_level(&client.encrypt(&x, 3), 0).unwrap();
    assert_eq!((dropped.level(), dropped.scale()), (0, params.scale(3)));
    assert_bits(
        "drop_level",
        error_bits(&client.decrypt(&dropped), &x),
        bits(&params, 0, FRESH),
    );
}

#[test]
fn rotations_turn_to_the_left_at_every_level_and_width() {
    let steps = [1usize, 2, 7, 500];
    let (mut client, evaluator) = setup(|keys| {
        steps.iter().for_each(|step| keys.add_rotation(*step, 3));
        keys.add_conjugation(2);
    });
    let params = client.params.clone();
    for slots in [4096usize, 512, 8] {
        let values: Vec<_> = sample(slots, 1)
            .into_iter()
            .zip(sample(slots, 2))
            .map(|(re, im)| Complex64::new(re, im))
            .collect();
        for level in [3, 0] {
            let ciphertext = client.encrypt_complex(&values, level);
            let bound = bits(&params, level, FRESH + key_switch(&params, level));
            let steps: Vec<usize> = steps
                .into_iter()
                .chain([0, slots])
                .filter(|step| *step <= slots)
                .collect();
            let hoisted = evaluator.rotate_hoisted(&ciphertext, &steps).unwrap();
            for (step, rotated) in steps.iter().zip(&hoisted) {
                let mut expected = values.clone();
                expected.rotate_left(*step % slots);
                let found = complex_error_bits(&client.decrypt_complex(rotated), &expected);
                assert!(found > bound, "by {step} of {slots}: {found} bits, bound {bound}");
                assert!(
                    *rotated == evaluator.rotate(&ciphertext, *step).unwrap(),
                    "hoisting must not change results"
                );
            }
        }
    }
    let values: Vec<_> = sample(64, 1).into_iter().map(|v| Complex64::new(v, 1.0 - v)).collect();
    let conjugated = evaluator.conjugate(&client.encrypt_complex(&values, 2)).unwrap();
    let expected: Vec<_> = values.iter().map(|v| v.conj()).collect();
    let found = complex_error_bits(&client.decrypt_complex(&conjugated), &expected);
    assert!(
        found > bits(&params, 2, FRESH + key_switch(&params, 2)),
        "conjugate: {found} bits"
    );
}

#[test]
fn keys_of_a_lower_level_are_smaller_and_enough() {
    let (mut client, evaluator) = setup(|keys| {
        keys.add_rotation(1, 1);
        keys.add_rotation(2, 3);
    });
    let sizes: Vec<_> = evaluator.keys().iter().map(|(_, key)| key.memory_bytes()).collect();
    // 2 digits of 2 + 1 limbs against 4 digits of 4 + 1 limbs
    assert_eq!(sizes[0] * 20, sizes[1] * 6);
    let x = sample(4096, 1);
    let rotated = evaluator.rotate(&client.encrypt(&x, 1), 1).unwrap();
    let mut expected = x.clone();
    expected.rotate_left(1);
    let bound = bits(&client.params, 1, FRESH + key_switch(&client.params, 1));
    assert_bits("rotate", error_bits(&client.decrypt(&rotated), &expected), bound);
    assert_eq!(
        evaluator.rotate(&client.encrypt(&x, 2), 1).err(),
        Some(Error::KeyLevelTooLow {
            what: "rotation by 1".into(),
            stored: 1,
            level: 2
        })
    );
}

/// Ciphertext primes above a band of levels are among its special primes, so that digits are wider; a key's modulus divides that of
/// the whole chain all the same.
#[test]
fn low_levels_have_wider_digits() {
    let params = chain_with_upper_levels(10);
    let of_levels = |count: &dyn Fn(usize) -> usize| (0..=params.max_level()).map(count).collect::<Vec<_>>();
    let special = of_levels(&|level| params.special_limbs(level));
    assert_eq!(special, [1, 2, 3, 4, 5, 5, 6, 7, 5, 5, 5, 4]);
    assert_eq!(
        of_levels(&|level| params.digits(level)),
        [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3]
    );
    let ring = params.ring();
    for level in 0..=params.max_level() {
        let mut primes = ring.prime_indices(params.raised_basis(level));
        primes.sort_unstable();
        primes.dedup();
        assert_eq!(primes.len(), level + 1 + params.special_limbs(level));
        let log_modulus: f64 = primes
            .iter()
            .map(|prime| (ring.modulus(*prime).value() as f64).log2())
            .sum();
        assert!(log_modulus <= params.log_qp() + 1e-9);
    }
}

/// Keys for the highest level of a band serve those below with fewer special primes, and so do keys made for just that level; the
/// level above the band has none of use.
#[test]
fn keys_serve_the_levels_of_their_band() {
    let mut client = Client::new(chain_with_upper_levels(10));
    let params = client.params.clone();
    let bands = params.key_bands().clone();
    let x = sample(512, 1);
    let square: Vec<f64> = x.iter().map(|x| x * x).collect();
    for level in (1..=params.max_level()).rev() {
        let (ciphertext, scale) = (client.encrypt(&x, level), params.scale(level));
        let mut requests =
            [vec![level], vec![bands.top(level)], (0..=params.max_level()).collect()].map(|key_levels| {
                let mut request = KeyRequest::default();
                for key_level in key_levels {
                    [1, 5, 64]
                        .into_iter()
                        .for_each(|step| request.add_rotation(step, key_level));
                    request.add_relin(key_level);
                    request.add_conjugation(key_level);
                }
                request
            });
        let bound = bits(&params, level, FRESH + key_switch(&params, level));
        for request in &mut requests {
            let keys = client.secret.evaluation_keys(request, &mut client.rng).unwrap();
            let evaluator = Evaluator::new(keys);
            let hoisted = evaluator.rotate_hoisted(&ciphertext, &[1, 5, 64]).unwrap();
            for (step, rotated) in [1, 5, 64].into_iter().zip(&hoisted) {
                let mut expected = x.clone();
                expected.rotate_left(step);
                assert_bits("rotate", error_bits(&client.decrypt(rotated), &expected), bound);
                assert!(*rotated == evaluator.rotate(&ciphertext, step).unwrap());
            }
            let conjugated = evaluator.conjugate(&ciphertext).unwrap();
            assert_bits("conjugate", error_bits(&client.decrypt(&conjugated), &x), bound);
            // the values times the scale of the product stay far below the modulus at level 1 already
            let switched = evaluator.relinearize(&evaluator.square(&ciphertext).unwrap()).unwrap();
            let bound = bits(&params, level, 2.0 * FRESH + key_switch(&params, level) / scale.powi(2));
            assert_bits("relinearise", error_bits(&client.decrypt(&switched), &square), bound);
        }
    }
    let bytes = |level| {
        let key = client.secret.relin_key(level, &mut client.rng).unwrap();
        key.memory_bytes() / 8 / params.n()
    };
    assert_eq!([7, 3, 2, 1].map(bytes), [8 + 7, 4 + 4, 3 + 3, 2 + 2]);
    let mut request = KeyRequest::default();
    request.add_relin(params.max_level());
    request.add_relin(0);
    let evaluator = Evaluator::new(client.secret.evaluation_keys(&request, &mut client.rng).unwrap());
    let relinearize = |level: usize, client: &mut Client| {
        let product = evaluator.square(&client.encrypt(&x, level)).unwrap();
        evaluator.relinearize(&product).map(|_| ())
    };
    assert_eq!(relinearize(params.max_level(), &mut client), Ok(()));
    let (what, stored, level) = ("relinearization".into(), 0, 5);
    assert_eq!(
        relinearize(5, &mut client),
        Err(Error::KeyLevelTooLow { what, stored, level })
    );
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let mut client = Client::new(secure(13, 3, 40.0, 44.0, 4));
    let evaluator = Evaluator::new(EvaluationKeys::new(&client.params));
    let x = sample(4096, 1);
    let (a, low, narrow) = (client.encrypt(&x, 3), client.encrypt(&x, 2), client.encrypt(&x[..8], 3));
    let mut off_scale = a.clone();
    off_scale.set_scale(a.scale() * (1.0 + 2f64.powi(-20)));
    let product = evaluator.mul(&a, &a).unwrap();
    let ground = client.encrypt(&x, 0);
    let error = |result: Result<_, Error>| result.err().expect("refused");
    assert!(matches!(
        error(evaluator.add(&a, &low)),
        Error::LevelMismatch { left: 3, right: 2, .. }
    ));
    assert!(matches!(
        error(evaluator.add(&a, &off_scale)),
        Error::ScaleMismatch { .. }
    ));
    assert!(matches!(
        error(evaluator.add(&a, &narrow)),
        Error::SlotMismatch {
            left: 4096,
            right: 8,
            ..
        }
    ));
    assert!(matches!(
        error(evaluator.mul(&product, &a)),
        Error::DegreeMismatch {
            expected: 2,
            found: 3,
            ..
        }
    ));
    assert!(matches!(
        error(evaluator.rotate(&product, 1)),
        Error::DegreeMismatch { .. }
    ));
    assert_eq!(
        error(evaluator.rotate(&a, 5)),
        Error::MissingRotationKey { step: 5, level: 3 }
    );
    assert_eq!(
        error(evaluator.conjugate(&a)),
        Error::MissingConjugationKey { level: 3 }
    );
    assert_eq!(
        error(evaluator.relinearize(&product)),
        Error::MissingRelinKey { level: 3 }
    );
    assert!(matches!(
        error(evaluator.rescale(&ground)),
        Error::LevelTooLow { needed: 1, .. }
    ));
    assert!(matches!(
        error(evaluator.mul(&ground, &ground)),
        Error::InvalidScale { .. }
    ));
    assert!(matches!(
        error(evaluator.adjust_to(&low, 3)),
        Error::LevelTooLow {
            level: 2,
            needed: 3,
            ..
        }
    ));
    assert!(matches!(
        error(evaluator.adjust_to(&off_scale, 3)),
        Error::ScaleMismatch { .. }
    ));
}

#[test]
fn bounds_hold_from_the_smallest_ring_to_a_large_one() {
    for (log_n, levels, log_scale, log_q0, dnum) in [
        (12, 1, 29.0, 35.0, 2),
        (14, 6, 40.0, 50.0, 7),
        (14, 6, 40.0, 50.0, 3),
        (15, 12, 45.0, 50.0, 4),
    ] {
        let mut client = Client::new(secure(log_n, levels, log_scale, log_q0, dnum));
        let params = client.params.clone();
        let mut keys = KeyRequest::default();
        keys.add_relin(levels);
        keys.add_rotation(3, levels);
        let evaluator = Evaluator::new(client.secret.evaluation_keys(&keys, &mut client.rng).unwrap());
        let (x, y) = (sample(params.max_slots(), 1), sample(params.max_slots(), 2));
        let (a, b) = (client.encrypt(&x, levels), client.encrypt(&y, levels));
        let what = format!("N = 2^{log_n}, {dnum} digits");

        let mut expected = x.clone();
        expected.rotate_left(3);
        let rotated = evaluator.rotate(&a, 3).unwrap();
        let bound = bits(&params, levels, FRESH + key_switch(&params, levels));
        assert_bits(&what, error_bits(&client.decrypt(&rotated), &expected), bound);

        let expected: Vec<_> = x.iter().zip(&y).map(|(x, y)| x * y).collect();
        let product = evaluator.mul_relin_rescale(&a, &b).unwrap();
        let q = params.q()[levels] as f64;
        let noise = 2.0 * FRESH + key_switch(&params, levels) / (q * q) + division(&params);
        assert_bits(
            &what,
            error_bits(&client.decrypt(&product), &expected),
            bits(&params, levels - 1, noise),
        );
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let (mut client, evaluator) = setup(|keys| {
        keys.add_relin(3);
        keys.add_rotation(1, 3);
    });
    let (a, b) = (client.encrypt(&sample(4096, 1), 3), client.encrypt(&sample(4096, 2), 3));
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (product, rotated) = rayon::join(|| evaluator.mul_relin_rescale(&a, &b), || evaluator.rotate(&a, 1));
            (product.unwrap(), rotated.unwrap())
        })
    };
    assert!(run(1) == run(3));
}

#[test]
fn a_sparse_secret_rounds_with_less_noise() {
    let secret = SecretDistribution::SparseTernary { hamming_weight: 192 };
    let security = Security::Classical128;
    let request = ChainRequest {
        log_n: 15,
        levels: 8,
        log_scale: 40.0,
        log_q0: 50.0,
        dnum: 3,
        secret,
        security,
    };
    let mut client = Client::new(Parameters::new(ParametersLiteral::choose(&request).unwrap()).unwrap());
    let params = client.params.clone();
    let evaluator = Evaluator::new(EvaluationKeys::new(&params));
    let x = sample(params.max_slots(), 1);
    let adjusted = evaluator.adjust_to(&client.encrypt(&x, 8), 3).unwrap();
    let bound = bits(&params, 3, FRESH + division(&params));
    assert_bits("adjust_to", error_bits(&client.decrypt(&adjusted), &x), bound);
    let uniform = (1.0 + 2.0 / 3.0 * params.n() as f64) / 12.0;
    assert!(bound > bits(&params, 3, FRESH + uniform) + 2.5);
}
