//! Wire formats: exact round trips, sizes, and readers that survive any bytes.

use std::sync::{Arc, LazyLock};

use aphelion_runtime::ckks::Ciphertext;
use aphelion_runtime::ckks::eval::Evaluator;
use aphelion_runtime::ckks::keys::{
    EncapsulationKeys, EncapsulationRequest, EvaluationKeys, KeyPurpose, KeyRequest, KeySwitchKey, PublicKey, SecretKey,
};
use aphelion_runtime::ckks::params::{Parameters, Security};
use aphelion_runtime::ckks::wire::{Frame, HEADER_BYTES};
use aphelion_runtime::error::Error;
use aphelion_runtime::ring::SecretRng;
use proptest::prelude::*;

use crate::common::{Client, parameters, sample};

fn tiny() -> Arc<Parameters> {
    parameters(6, 2, 30.0, 40.0, 2, Security::None)
}

fn request() -> KeyRequest {
    let mut request = KeyRequest::default();
    request.add_relin(2);
    request.add_rotation(1, 2);
    request.add_rotation(3, 0);
    request.add_conjugation(1);
    request.add_encapsulation(&encapsulation_request());
    request
}

fn encapsulation_request() -> EncapsulationRequest {
    let mut request = EncapsulationRequest::new(8, 1);
    request.add_rotation(4, 1);
    request.add_rotation(8, 0);
    request
}

#[test]
fn everything_comes_back_as_it_was() {
    let params = tiny();
    let read = Parameters::from_bytes(&params.to_bytes()).unwrap();
    assert_eq!(read.literal(), params.literal());
    assert_eq!(read.to_bytes(), params.to_bytes());

    let mut client = Client::new(params.clone());
    let secret = SecretKey::from_bytes(&params, &client.secret.to_bytes()).unwrap();
    assert_eq!(secret.to_bytes(), client.secret.to_bytes());
    let x = sample(32, 1);
    let fresh = client.encrypt(&x, 2);
    assert!(secret.decrypt(&fresh) == client.secret.decrypt(&fresh));

    let public = PublicKey::generate(&secret, &mut client.rng);
    let public = PublicKey::from_bytes(&params, &public.to_bytes()).unwrap();
    let plaintext = client.encoder.encode(&x, 32, 1, params.scale(1)).unwrap();
    let from_public = public.encrypt(&plaintext, &mut client.rng).unwrap();
    let evaluator = Evaluator::new(secret.evaluation_keys(&request(), &mut client.rng).unwrap());
    let product = evaluator.mul(&fresh, &fresh).unwrap();
    let computed = evaluator.add_scalar(&fresh, 1.0).unwrap();
    for ciphertext in [&fresh, &from_public, &product, &computed] {
        let bytes = ciphertext.to_bytes(&params);
        assert!(Ciphertext::from_bytes(&params, &bytes).unwrap() == *ciphertext);
    }
    let sizes = [&fresh, &computed].map(|ciphertext| ciphertext.to_bytes(&params).len());
    assert!(
        sizes[0] * 2 < sizes[1] + 200,
        "a fresh ciphertext is half as large: {sizes:?}"
    );
}

#[test]
fn evaluation_keys_stream_one_by_one() {
    let params = tiny();
    let mut client = Client::new(params.clone());
    let mut stream = Vec::new();
    let mut order = Vec::new();
    let written = |purpose, bytes| order.push((purpose, bytes));
    client
        .secret
        .write_evaluation_keys(&request(), &mut client.rng, &mut stream, written)
        .unwrap();
    assert!(
        order.last().unwrap().1 < stream.len() as u64,
        "encapsulation keys follow"
    );
    let purposes: Vec<_> = order.iter().map(|(purpose, _)| *purpose).collect();
    let (relin, conjugate) = (KeyPurpose::Relinearize, KeyPurpose::Conjugate);
    assert_eq!(
        purposes,
        [relin, conjugate, KeyPurpose::Rotate(1), KeyPurpose::Rotate(3)]
    );

    let keys = EvaluationKeys::read_from(&params, &mut &stream[..]).unwrap();
    let mut again = Vec::new();
    keys.write_to(&mut again).unwrap();
    assert_eq!(again, stream);
    let encapsulation = keys.encapsulation(&encapsulation_request()).unwrap();
    assert_eq!((encapsulation.hamming_weight(), encapsulation.level()), (8, Some(1)));
    let asked = EvaluationKeys::encapsulation;
    let higher = asked(&keys, &EncapsulationRequest::new(8, 2)).err().unwrap();
    assert!(matches!(higher, Error::KeyLevelTooLow { stored: 1, .. }), "{higher}");
    let mut further = encapsulation_request();
    further.add_rotation(2, 0);
    let missing = asked(&keys, &further).err().unwrap();
    assert!(
        matches!(missing, Error::MissingRaisedRotationKey { step: 2, level: 0 }),
        "{missing}"
    );
    let lighter = asked(&keys, &EncapsulationRequest::new(7, 1)).err().unwrap();
    assert!(
        matches!(lighter, Error::MissingEncapsulationKeys { hamming_weight: 7 }),
        "{lighter}"
    );
    let ciphertext = client.encrypt(&sample(32, 1), 2);
    let rotated = Evaluator::new(keys).rotate(&ciphertext, 1).unwrap();
    let mut expected = sample(32, 1);
    expected.rotate_left(1);
    assert!(crate::common::error_bits(&client.decrypt(&rotated), &expected) > 15.0);

    let cut = EvaluationKeys::read_from(&params, &mut &stream[..stream.len() - 1])
        .err()
        .unwrap();
    assert!(matches!(cut, Error::Malformed { .. }), "{cut}");
    let mut huge = stream[..HEADER_BYTES].to_vec();
    huge[32..40].copy_from_slice(&(1u64 << 60).to_le_bytes());
    let refused = EvaluationKeys::read_from(&params, &mut &huge[..]).err().unwrap();
    assert!(matches!(refused, Error::Malformed { offset: 32, .. }), "{refused}");
}

/// A client, and what it writes of the keys of [`request`].
fn written_keys() -> (Client, Vec<u8>) {
    let mut client = Client::new(tiny());
    let mut stream = Vec::new();
    client
        .secret
        .write_evaluation_keys(&request(), &mut client.rng, &mut stream, |_, _| ())
        .unwrap();
    (client, stream)
}

/// A file with these bytes.
fn file(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
    file
}

#[test]
fn mapped_keys_are_those_that_are_read() {
    let (client, stream) = written_keys();
    let read = EvaluationKeys::read_from(&client.params, &mut &stream[..]).unwrap();
    let mapped = EvaluationKeys::map(&client.params, &file(&stream)).unwrap();
    assert_eq!((read.mapped_bytes(), mapped.memory_bytes()), (0, read.memory_bytes()));
    // All but the small key to the ephemeral secret.
    let there = 2 * client.params.n() * size_of::<u64>();
    assert_eq!(mapped.mapped_bytes(), read.memory_bytes() - there);
    let made = EncapsulationKeys::memory_bytes_of(&client.params, &encapsulation_request());
    assert_eq!(read.bytes_of(&request()), read.memory_bytes());
    assert_eq!(read.stored_encapsulation().unwrap().memory_bytes(), made);
    let bytes = |keys: &EvaluationKeys| {
        let mut bytes = Vec::new();
        keys.write_to(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(bytes(&mapped), stream);
    let purposes: Vec<_> = mapped.iter().map(|(purpose, _)| purpose).collect();
    purposes.iter().for_each(|purpose| mapped.release_pages(*purpose));
    assert_eq!(bytes(&mapped), stream);
}

#[test]
fn keys_back_belong_to_one_ephemeral_secret() {
    let (mut client, stream) = written_keys();
    let keys = EvaluationKeys::read_from(&client.params, &mut &stream[..]).unwrap();
    let other = client
        .secret
        .encapsulation_keys(&encapsulation_request(), &mut client.rng)
        .unwrap();
    let foreign = other.back_to_bytes(&client.params, 4).unwrap();
    let mut own = (**keys.stored_encapsulation().unwrap()).clone();
    let refused = own.insert_bytes(&client.params, &foreign).err().unwrap();
    assert!(refused.to_string().contains("another ephemeral secret"), "{refused}");
    for stream in [[&stream[..], &foreign].concat(), foreign.clone()] {
        let read = EvaluationKeys::read_from(&client.params, &mut &stream[..])
            .err()
            .unwrap();
        let mapped = EvaluationKeys::map(&client.params, &file(&stream)).err().unwrap();
        for refused in [read, mapped] {
            assert!(refused.to_string().contains("another ephemeral secret"), "{refused}");
        }
    }
    assert!(own.back_to_bytes(&client.params, 3).is_err());
    let same = own.back_to_bytes(&client.params, 4).unwrap();
    own.insert_bytes(&client.params, &same).unwrap();
}

#[test]
fn damaged_key_files_are_not_mapped() {
    let (client, stream) = written_keys();
    let map = |bytes: &[u8]| EvaluationKeys::map(&client.params, &file(bytes));
    for cut in [1, 39, 40, 100, 1000, stream.len() / 2, stream.len() - 1] {
        let error = map(&stream[..cut]).err().unwrap();
        assert!(matches!(error, Error::Malformed { .. }), "{cut}: {error}");
    }
    for at in (0..stream.len()).step_by(stream.len() / 97) {
        let mut damaged = stream.clone();
        damaged[at] ^= 4;
        assert!(map(&damaged).is_err(), "byte {at}");
    }
    assert!(map(&[]).unwrap().iter().next().is_none());
}

#[test]
fn keys_do_not_depend_on_the_number_of_threads() {
    let params = tiny();
    let client = Client::new(params);
    let made = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut bytes = Vec::new();
        let mut rng = SecretRng::from_seed([3; 32]);
        let keys = pool
            .install(|| client.secret.evaluation_keys(&request(), &mut rng))
            .unwrap();
        keys.write_to(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(made(3), made(1));
}

#[test]
fn objects_of_other_parameters_are_refused() {
    let mut client = Client::new(tiny());
    let other = parameters(6, 2, 31.0, 40.0, 2, Security::None);
    let bytes = client.encrypt(&sample(32, 1), 2).to_bytes(&client.params);
    let error = Ciphertext::from_bytes(&other, &bytes).err().unwrap();
    assert!(
        matches!(
            error,
            Error::ParameterMismatch {
                object: "ciphertext",
                ..
            }
        ),
        "{error}"
    );
    let error = PublicKey::from_bytes(&client.params, &bytes).err().unwrap();
    assert!(
        error.to_string().contains("this is a ciphertext, not a public key"),
        "{error}"
    );
}

struct Samples {
    params: Arc<Parameters>,
    bytes: Vec<Vec<u8>>,
    encapsulation: EncapsulationKeys,
}

static SAMPLES: LazyLock<Samples> = LazyLock::new(|| {
    let params = tiny();
    let mut client = Client::new(params.clone());
    let fresh = client.encrypt(&sample(32, 1), 2);
    let public = PublicKey::generate(&client.secret, &mut client.rng);
    let key = client
        .secret
        .evaluation_key(KeyPurpose::Rotate(1), 1, &mut client.rng)
        .unwrap();
    let request = encapsulation_request();
    let encapsulation = client.secret.encapsulation_keys(&request, &mut client.rng).unwrap();
    let bytes = vec![
        params.to_bytes(),
        client.secret.to_bytes().to_vec(),
        public.to_bytes(),
        key.to_bytes(&params, KeyPurpose::Rotate(1)),
        fresh.to_bytes(&params),
        encapsulation.to_bytes(&params),
        encapsulation.back_to_bytes(&params, 4).unwrap(),
    ];
    Samples {
        params,
        bytes,
        encapsulation,
    }
});

/// Hands bytes to every reader; returns how many accept them.
fn read_all(params: &Arc<Parameters>, bytes: &[u8]) -> usize {
    [
        Parameters::from_bytes(bytes).is_ok(),
        SecretKey::from_bytes(params, bytes).is_ok(),
        PublicKey::from_bytes(params, bytes).is_ok(),
        KeySwitchKey::from_bytes(params, bytes).is_ok(),
        Ciphertext::from_bytes(params, bytes).is_ok(),
        EncapsulationKeys::from_bytes(params, bytes).is_ok(),
        SAMPLES.encapsulation.clone().insert_bytes(params, bytes).is_ok(),
    ]
    .into_iter()
    .filter(|accepted| *accepted)
    .count()
}

proptest! {
    #[test]
    fn noise_is_refused(bytes: Vec<u8>) {
        prop_assert_eq!(read_all(&SAMPLES.params, &bytes), 0);
    }

    #[test]
    fn damaged_frames_are_refused(which in 0usize..7, position: prop::sample::Index, flip in 1u8..) {
        let mut bytes = SAMPLES.bytes[which].clone();
        prop_assert_eq!(read_all(&SAMPLES.params, &bytes), 1);
        let position = position.index(bytes.len());
        bytes[position] ^= flip;
        prop_assert_eq!(read_all(&SAMPLES.params, &bytes), 0);
    }

    /// With a right checksum the payload readers themselves are what stands between the bytes and a panic.
    #[test]
    fn forged_payloads_never_panic(
        which in 0usize..7,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        near_start: bool,
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (frame, _) = Frame::split_first(&SAMPLES.bytes[which]).unwrap();
        let mut payload = frame.payload.to_vec();
        for (position, value) in edits {
            let reach = if near_start { payload.len().min(64) } else { payload.len() };
            let position = position.index(reach);
            payload[position] = value;
        }
        if let Some(cut) = cut {
            payload.truncate(cut.index(payload.len()));
        }
        read_all(&SAMPLES.params, &Frame { payload: &payload, ..frame }.to_bytes());
    }
}
