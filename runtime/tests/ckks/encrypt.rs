//! Parameters, encoding, encryption, decryption: precision at real parameter sets, refusals of bad input.

use crate::common::{Client, complex_error_bits, error_bits, sample, secure};
use aphelion_runtime::ckks::encoding::Complex64;
use aphelion_runtime::ckks::keys::{PublicKey, SecretKey, flooding_bits};
use aphelion_runtime::ckks::params::{ChainRequest, Parameters, ParametersLiteral, SecretDistribution, Security};
use aphelion_runtime::error::Error;
use aphelion_runtime::ring::SecretRng;

/// Fresh noise has standard deviation sigma per coefficient, so sigma * sqrt(N) per slot part; the largest of N slots
/// stays below six deviations.
fn fresh_bits(log_n: u32, log_scale: f64, sigma: f64) -> f64 {
    log_scale - (6.0 * sigma * f64::from(1u32 << log_n).sqrt()).log2()
}

#[test]
fn fresh_encryptions_are_as_precise_as_their_noise() {
    for (log_n, levels, log_scale, log_q0, dnum) in [
        (12, 1, 29.0, 35.0, 2),
        (13, 3, 40.0, 44.0, 4),
        (14, 6, 40.0, 50.0, 3),
        (15, 12, 45.0, 50.0, 4),
    ] {
        let params = secure(log_n, levels, log_scale, log_q0, dnum);
        assert!(params.security_bits().unwrap() >= 128.0);
        let mut client = Client::new(params.clone());
        let values = sample(params.max_slots(), 1);
        for level in [0, levels] {
            let ciphertext = client.encrypt(&values, level);
            let bits = error_bits(&client.decrypt(&ciphertext), &values);
            let bound = fresh_bits(log_n, params.scale(level).log2(), 3.2);
            assert!(
                bits > bound,
                "secret key, N = 2^{log_n}, level {level}: {bits} bits, bound {bound}"
            );
        }
        let public = PublicKey::generate(&client.secret, &mut client.rng);
        let plaintext = client
            .encoder
            .encode(&values, params.max_slots(), levels, params.scale(levels))
            .unwrap();
        let ciphertext = public.encrypt(&plaintext, &mut client.rng).unwrap();
        let bits = error_bits(&client.decrypt(&ciphertext), &values);
        let bound = fresh_bits(log_n, log_scale, 3.2 * (4.0 / 3.0 * f64::from(1u32 << log_n)).sqrt());
        assert!(bits > bound, "public key, N = 2^{log_n}: {bits} bits, bound {bound}");
    }
}

#[test]
fn sparse_and_complex_vectors_come_back() {
    let params = secure(12, 1, 29.0, 35.0, 2);
    let mut client = Client::new(params.clone());
    for log_slots in [0, 1, 5, 11] {
        let slots = 1 << log_slots;
        let values: Vec<_> = sample(slots, 2)
            .into_iter()
            .zip(sample(slots, 3))
            .map(|(re, im)| Complex64::new(re, im))
            .collect();
        let ciphertext = client.encrypt_complex(&values, 1);
        assert_eq!(ciphertext.slots(), slots);
        let bits = complex_error_bits(&client.decrypt_complex(&ciphertext), &values);
        assert!(bits > fresh_bits(12, 29.0, 3.2), "{slots} slots: {bits} bits");
    }
}

#[test]
fn fresh_ciphertexts_hide_their_message() {
    let mut client = Client::new(secure(12, 1, 29.0, 35.0, 2));
    let values = sample(2048, 1);
    let (a, b) = (client.encrypt(&values, 1), client.encrypt(&values, 1));
    assert!(a.parts()[0] != b.parts()[0] && a.parts()[1] != b.parts()[1]);
    let stranger = SecretKey::generate(&client.params, &mut SecretRng::from_seed([9; 32]));
    let wrong = client.encoder.decode(&stranger.decrypt(&a));
    assert!(error_bits(&wrong, &values) < 0.0, "another key must not decrypt");
}

#[test]
fn canonical_scales_stay_close_and_exact() {
    let params = secure(15, 12, 40.0, 50.0, 4);
    for level in 0..=12 {
        assert!(
            (params.scale(level).log2() - 40.0).abs() < 2f64.powi(-15),
            "level {level}"
        );
        if level > 0 {
            let expected = params.scale(level).powi(2) / params.q()[level] as f64;
            assert_eq!(params.scale(level - 1), expected);
        }
    }
    for (digit, primes) in (0..4).map(|digit| (digit, params.digit(digit, 12))) {
        let log_digit: f64 = params.q()[primes].iter().map(|q| (*q as f64).log2()).sum();
        assert!(
            log_digit <= params.log_p(),
            "digit {digit} is wider than the special modulus"
        );
    }
}

#[test]
fn bad_parameters_are_refused_by_name() {
    let secret = SecretDistribution::UniformTernary;
    let request = ChainRequest {
        log_n: 13,
        levels: 6,
        log_scale: 40.0,
        log_q0: 50.0,
        dnum: 3,
        secret,
        security: Security::Classical128,
    };
    let literal = ParametersLiteral::choose(&request).unwrap();
    let refused = |literal: &ParametersLiteral| Parameters::new(literal.clone()).err().expect("refused");
    let error = refused(&literal);
    assert!(
        matches!(
            error,
            Error::Insecure {
                log_n: 13,
                max_log_qp: 214,
                ..
            }
        ),
        "{error}"
    );

    let open = ParametersLiteral {
        security: Security::None,
        ..literal
    };
    assert!(Parameters::new(open.clone()).unwrap().security_bits().unwrap() < 128.0);
    let sparse = SecretDistribution::SparseTernary { hamming_weight: 64 };
    let unknown = ParametersLiteral {
        secret: sparse,
        security: Security::Classical128,
        ..open.clone()
    };
    assert!(matches!(refused(&unknown), Error::SecurityUnknown { .. }));
    let cases: [fn(&mut ParametersLiteral); 7] = [
        |l| l.log_n = 18,
        |l| l.q.clear(),
        |l| l.p.clear(),
        |l| l.dnum = 0,
        |l| l.p.truncate(1),
        |l| l.log_scale = f64::NAN,
        |l| l.log_scale = 30.0,
    ];
    for case in cases {
        let mut literal = open.clone();
        case(&mut literal);
        assert!(
            matches!(refused(&literal), Error::InvalidParameter { .. }),
            "{:?}",
            refused(&literal)
        );
    }
    let mut repeated = open.clone();
    repeated.q[1] = repeated.q[2];
    assert!(matches!(refused(&repeated), Error::Ring(_)));
    let mut composite = open;
    composite.q[1] += 2;
    assert!(matches!(refused(&composite), Error::Ring(_)));
    for request in [
        ChainRequest { dnum: 8, ..request },
        ChainRequest { dnum: 0, ..request },
        ChainRequest {
            log_scale: 51.0,
            ..request
        },
        ChainRequest {
            log_q0: 10.0,
            ..request
        },
    ] {
        assert!(ParametersLiteral::choose(&request).is_err(), "{request:?}");
    }
}

#[test]
fn flooding_costs_the_stated_precision() {
    let mut client = Client::new(secure(13, 3, 40.0, 44.0, 4));
    let x = sample(4096, 1);
    let ciphertext = client.encrypt(&x, 3);
    // 2^9 bounds fresh noise by far; 2^-8 for one result.
    let flood = flooding_bits(13, 9, 8, 1);
    assert_eq!(flood, 29);
    let flooded = client
        .secret
        .decrypt_flooded(&ciphertext, flood, &mut client.rng)
        .unwrap();
    let found = error_bits(&client.encoder.decode(&flooded), &x);
    // Slots move by 2^29 * sqrt(N/6) per part, at most six times that.
    let typical = 40.0 - 29.0 - (8192.0f64 / 6.0).sqrt().log2();
    assert!(
        found < typical && found > typical - 6f64.log2(),
        "{found} bits, typical {typical}"
    );
    let ground = client.encrypt(&x, 0);
    assert!(matches!(
        client.secret.decrypt_flooded(&ground, 43, &mut client.rng).err(),
        Some(Error::EncodeOverflow { .. })
    ));
}
