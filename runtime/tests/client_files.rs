//! What passes between client and server: ciphertext files and key files, whole and damaged.

use std::collections::BTreeSet;
use std::path::Path;

use aphelion_runtime::ckks::keys::{EncapsulationRequest, EvaluationKeys, KeyRequest, SecretKey};
use aphelion_runtime::ckks::params::{ChainRequest, ParametersLiteral, SecretDistribution, Security};
use aphelion_runtime::ckks::wire::{Frame, Kind};
use aphelion_runtime::client::Client;
use aphelion_runtime::error::Error;
use aphelion_runtime::plan::{Bundle, ClientPart, Digit, Direction, InputPort, ModelInfo, OutputPort, Packing};
use aphelion_runtime::ring::SecretRng;
use proptest::prelude::*;

const ELEMENTS: usize = 16;

fn client() -> Client {
    let packing = Packing {
        shape: vec![ELEMENTS],
        slots: 32,
        period: 16,
        ciphertexts: 1,
        digits: vec![Digit {
            axis: 0,
            extent: ELEMENTS,
            stride: 1,
        }],
    };
    let parameters = ParametersLiteral::choose(&ChainRequest {
        log_n: 6,
        levels: 2,
        log_scale: 30.0,
        log_q0: 40.0,
        dnum: 3,
        secret: SecretDistribution::UniformTernary,
        security: Security::None,
    });
    Client::new(ClientPart {
        model: ModelInfo {
            name: "echo".into(),
            hash: "00".into(),
        },
        parameters: parameters.unwrap(),
        batch: 1,
        inputs: vec![InputPort {
            name: "x".into(),
            packing: packing.clone(),
            scale: 4.0,
            level: 2,
            range: None,
        }],
        outputs: vec![OutputPort {
            name: "y".into(),
            packing,
            scale: 4.0,
            client_ops: vec![],
        }],
        keys: KeyRequest {
            relin: [2].into(),
            conjugation: BTreeSet::new(),
            rotations: [(1, [2].into()), (5, [1].into())].into(),
            encapsulation: Some(EncapsulationRequest {
                hamming_weight: 8,
                level: 2,
                rotations: [(3, 2), (4, 1)].into(),
            }),
        },
    })
    .unwrap()
}

fn sample(seed: usize) -> Vec<f64> {
    (0..ELEMENTS).map(|i| ((i * 7 + seed) as f64).sin()).collect()
}

/// The client, its secret, and a file of two encrypted samples.
fn encrypted() -> (Client, SecretKey, Vec<u8>) {
    let client = client();
    let mut rng = SecretRng::from_seed([9; 32]);
    let secret = client.secret_key(&mut rng);
    let runs = (0..2)
        .map(|seed| client.encrypt(&secret, &[sample(seed)], &mut rng).unwrap())
        .collect();
    let bundle = Bundle {
        direction: Direction::Inputs,
        plan: client.part().id().unwrap(),
        samples: 2,
        runs,
    };
    let bytes = bundle.to_bytes(client.params());
    (client, secret, bytes)
}

fn read(client: &Client, bytes: &[u8]) -> Result<Bundle, Error> {
    Bundle::from_bytes(client.params(), client.part().id().unwrap(), Direction::Inputs, bytes)
}

#[test]
fn samples_come_back_from_a_ciphertext_file() {
    let (client, secret, bytes) = encrypted();
    let bundle = read(&client, &bytes).unwrap();
    for (seed, ciphertexts) in bundle.runs.iter().enumerate() {
        let decrypted = client.decrypt(&secret, ciphertexts).unwrap();
        for (found, expected) in decrypted[0].iter().zip(sample(seed)) {
            assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
        }
    }
}

#[test]
fn files_of_another_plan_or_direction_are_refused() {
    let (client, _, bytes) = encrypted();
    let id = client.part().id().unwrap();
    let refused = |id, direction| {
        let result = Bundle::from_bytes(client.params(), id, direction, &bytes);
        result.err().unwrap().to_string()
    };
    assert!(refused([0; 32], Direction::Inputs).contains("another plan"));
    assert!(refused(id, Direction::Results).contains("results are expected"));
}

proptest! {
    #[test]
    fn damaged_ciphertext_files_are_errors(position: prop::sample::Index, flip in 1u8..) {
        let (client, _, mut bytes) = encrypted();
        let position = position.index(bytes.len());
        bytes[position] ^= flip;
        prop_assert!(read(&client, &bytes).is_err());
    }

    #[test]
    fn truncated_ciphertext_files_are_errors(position: prop::sample::Index) {
        let (client, _, bytes) = encrypted();
        prop_assert!(read(&client, &bytes[..position.index(bytes.len())]).is_err());
    }
}

#[test]
fn a_key_file_for_the_server_holds_nothing_of_the_secret() {
    let client = client();
    let mut rng = SecretRng::from_seed([8; 32]);
    let secret = client.secret_key(&mut rng);
    let mut file = Vec::new();
    secret
        .write_evaluation_keys(&client.part().keys, &mut rng, &mut file, |_, _| ())
        .unwrap();

    let keys = EvaluationKeys::read_from(client.params(), &mut file.as_slice()).unwrap();
    assert_eq!(keys.iter().count(), 3);
    let mut rest = file.as_slice();
    let mut kinds = Vec::new();
    while !rest.is_empty() {
        let (frame, after) = Frame::split_first(rest).unwrap();
        kinds.push(frame.kind);
        rest = after;
    }
    let (key, there, back) = (Kind::EvaluationKey, Kind::EncapsulationKeys, Kind::RaisingKey);
    assert_eq!(kinds, [key, key, key, there, back, back, back]);
    // Whatever the secret's encoding, no stretch of its payload may occur; shorter ones would occur by chance.
    let bytes = secret.to_bytes();
    let payload = Frame::parse(&bytes, Kind::SecretKey).unwrap().payload;
    let stretch = 8.min(payload.len());
    assert!(
        payload.len() >= stretch && stretch >= 8,
        "{} bytes of secret",
        payload.len()
    );
    for window in payload.windows(stretch) {
        assert!(
            !file.windows(stretch).any(|part| part == window),
            "{window:?} is in the server's file"
        );
    }
}

/// The server's modules cannot name a secret key, so they cannot hold one.
#[test]
fn the_executor_never_mentions_a_secret_key() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/exec");
    let mut n_files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["SecretKey", "SecretRng", "crate::client", "decrypt("] {
            assert!(!text.contains(word), "{} mentions {word}", path.display());
        }
        n_files += 1;
    }
    assert!(n_files >= 7);
}
