//! Plans that bootstrap: run on ciphertexts, read back from bytes, and refused where they do not hold together.

use std::ops::ControlFlow;

use aphelion_runtime::ckks::Ciphertext;
use aphelion_runtime::ckks::boot::{BootstrapCircuit, BootstrapPlan, BootstrapRequest, Content};
use aphelion_runtime::ckks::keys::{EvaluationKeys, KeyRequest};
use aphelion_runtime::ckks::params::{SecretDistribution, Security};
use aphelion_runtime::client::Client;
use aphelion_runtime::error::Error;
use aphelion_runtime::exec::{Evaluation, Progress, Server, ServerOptions, write_trace};
use aphelion_runtime::plan::container::Section;
use aphelion_runtime::plan::{
    BootstrapKind, Bootstrapping, ClientPart, ConstantWriter, Counts, Digit, InputPort, Instruction, ModelInfo, Op,
    OutputPort, Packing, Plan, Program, Register, Report,
};
use aphelion_runtime::ring::SecretRng;
use proptest::prelude::*;

mod support;
use support::{rebuilt, sections};

const LOG_N: u32 = 9;
const SLOTS: usize = 256;
/// Period of the second input.
const PERIOD: usize = 32;
const LEVELS: usize = 2;

/// A chain that protects nothing.
fn chain() -> BootstrapPlan {
    let request = BootstrapRequest {
        log_n: LOG_N,
        slots: SLOTS,
        content: Content::Real,
        bits: 18.0,
        levels: LEVELS,
        log_scale: 40.0,
        security: Security::None,
    };
    let circuit = BootstrapCircuit {
        log_ratio: 8.0,
        arcsine_degree: 3,
        doublings: 3,
        log_reduction_prime: 49.3,
        takes_halves_apart: false,
        coeffs_to_slots: vec![4, 4],
        slots_to_coeffs: 2,
        digits: None,
        secret: SecretDistribution::UniformTernary,
        ephemeral_weight: 16,
        failure_log2: -30.0,
    };
    BootstrapPlan::with_circuit(&request, &circuit).unwrap()
}

fn packing(period: usize, ciphertexts: usize) -> Packing {
    let extent = period * ciphertexts;
    Packing {
        shape: vec![extent],
        slots: SLOTS,
        period,
        ciphertexts,
        digits: vec![Digit {
            axis: 0,
            extent,
            stride: 1,
        }],
    }
}

/// Squares of a pair of ciphertexts and of a sparsely packed one, bootstrapped and squared again; then the first of the pair
/// bootstrapped by itself.
fn parts() -> (ClientPart, Program) {
    let chain = chain();
    let mut keys = KeyRequest::default();
    for (slots, n_inputs) in [(SLOTS, 2), (SLOTS, 1), (PERIOD, 1)] {
        let plan = BootstrapKind::new(slots, n_inputs).plan(&chain).unwrap();
        keys.merge(&plan.key_request().unwrap());
    }
    let r = Register;
    let mut ops = Vec::new();
    // 3..=8: squares 4, 6, 8, the last at level 3.
    for (input, product) in [(0, 3), (1, 5), (2, 7)] {
        ops.push(Op::Mul {
            a: r(input),
            b: r(input),
        });
        ops.push(Op::RelinearizeRescale { x: r(product) });
    }
    ops.push(Op::DropLevel { x: r(4), to: 2 }); // 9
    ops.push(Op::Bootstrap {
        xs: vec![r(9), r(6)],
        slots: SLOTS,
    }); // 10, 11
    ops.push(Op::Bootstrap {
        xs: vec![r(8)],
        slots: PERIOD,
    }); // 12
    ops.push(Op::Bootstrap {
        xs: vec![r(10)],
        slots: SLOTS,
    }); // 13
    ops.push(Op::Mul { a: r(12), b: r(12) }); // 14
    ops.push(Op::RelinearizeRescale { x: r(14) }); // 15
    let input = |name: &str, packing| InputPort {
        name: name.into(),
        packing,
        scale: 1.0,
        level: 4,
        range: None,
    };
    let output = |name: &str, packing| OutputPort {
        name: name.into(),
        packing,
        scale: 1.0,
        client_ops: vec![],
    };
    let client = ClientPart {
        model: ModelInfo {
            name: "squares".into(),
            hash: "00".into(),
        },
        parameters: chain.literal().clone(),
        batch: 1,
        inputs: vec![input("pair", packing(SLOTS, 2)), input("sparse", packing(PERIOD, 1))],
        outputs: vec![output("pair", packing(SLOTS, 2)), output("sparse", packing(PERIOD, 1))],
        keys,
    };
    let program = Program {
        instructions: ops.into_iter().map(|op| Instruction { op, origin: 0 }).collect(),
        outputs: vec![vec![r(13), r(11)], vec![r(15)]],
        transforms: vec![],
        polynomials: vec![],
        origins: vec!["squares".into()],
        bootstrap: Some(Bootstrapping::from(&chain)),
        report: Report::default(),
    };
    (client, program)
}

fn plan() -> Plan {
    let (client, program) = parts();
    Plan::new(client, program, ConstantWriter::new().finish().unwrap()).unwrap()
}

fn sample() -> Vec<Vec<f64>> {
    let values = |n: usize, salt: f64| (0..n).map(|i| (1.7 * i as f64 + salt).sin()).collect();
    vec![values(2 * SLOTS, 0.0), values(PERIOD, 5.0)]
}

#[test]
fn programs_with_bootstraps_run() {
    let plan = plan();
    assert_eq!(Counts::of_program(plan.program()).bootstraps, 3);
    let client = Client::new(plan.client().clone()).unwrap();
    let mut rng = SecretRng::from_seed([7; 32]);
    let secret = client.secret_key(&mut rng);
    // By way of the server's file.
    let mut file = Vec::new();
    secret
        .write_evaluation_keys(&plan.client().keys, &mut rng, &mut file, |_, _| ())
        .unwrap();
    let keys = EvaluationKeys::read_from(client.params(), &mut file.as_slice()).unwrap();
    let server = Server::new(plan.clone(), keys, &ServerOptions::default()).unwrap();
    let inputs = client.encrypt(&secret, &sample(), &mut rng).unwrap();
    let result = server.evaluate(&inputs, &|_| ()).unwrap();
    let again = server.evaluate(&inputs, &|_| ()).unwrap();
    assert_eq!(bytes_of(&client, &result), bytes_of(&client, &again));
    let mut trace = Vec::new();
    write_trace(&mut trace, &plan, std::slice::from_ref(&result.profile)).unwrap();
    let trace: serde_json::Value = serde_json::from_slice(&trace).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let of_stage = |stage: &str| {
        let names = events.iter().filter_map(|event| event["name"].as_str());
        names.filter(|name| name.starts_with(stage)).count()
    };
    assert_eq!(
        (of_stage("bootstrap"), of_stage("eval_mod") >= 3),
        (3, true),
        "{events:?}"
    );
    let outputs = client.decrypt(&secret, &result.outputs).unwrap();
    let power = |exponent: i32, values: &[f64]| values.iter().map(|x| x.powi(exponent)).collect::<Vec<_>>();
    let expected = [power(2, &sample()[0]), power(4, &sample()[1])];
    for (found, expected) in outputs.iter().flatten().zip(expected.iter().flatten()) {
        assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
    }
}

/// A server of the sample plan, and encrypted inputs.
fn served(seed: u8) -> (Server, Client, Vec<Ciphertext>) {
    let plan = plan();
    let client = Client::new(plan.client().clone()).unwrap();
    let mut rng = SecretRng::from_seed([seed; 32]);
    let secret = client.secret_key(&mut rng);
    let keys = client.evaluation_keys(&secret, &mut rng).unwrap();
    let inputs = client.encrypt(&secret, &sample(), &mut rng).unwrap();
    let server = Server::new(plan, keys, &ServerOptions::default()).unwrap();
    (server, client, inputs)
}

fn bytes_of(client: &Client, evaluation: &Evaluation) -> Vec<Vec<u8>> {
    let outputs = evaluation.outputs.iter();
    outputs.map(|output| output.to_bytes(client.params())).collect()
}

#[test]
fn a_stopped_evaluation_goes_on_from_its_checkpoint() {
    let (server, client, inputs) = served(9);
    let expected = bytes_of(&client, &server.evaluate(&inputs, &|_| ()).unwrap());
    let total = server.plan().program().instructions.len();
    for (threads, stop_after) in [(1, 3), (1, 9), (2, 8), (3, 10), (2, total)] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sample.ckpt");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let stop = |progress: Progress| match progress.done {
            done if done >= stop_after => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let stopped = pool
            .install(|| server.evaluate_resumably(&inputs, &file, &stop))
            .err()
            .unwrap();
        assert!(
            matches!(stopped, Error::Interrupted { total: n, .. } if n == total),
            "{stopped}"
        );
        let go_on = |_: Progress| ControlFlow::Continue(());
        let resumed = server.evaluate_resumably(&inputs, &file, &go_on).unwrap();
        assert_eq!(bytes_of(&client, &resumed), expected);
        let profile = &resumed.profile;
        assert_eq!(profile.restored + profile.timings.len(), total);
        assert!(
            profile.restored > 0 || stop_after < 9,
            "{stop_after}: a bootstrap was done"
        );
        // The end is a state as well.
        let finished = server.evaluate_resumably(&inputs, &file, &go_on).unwrap();
        assert_eq!(bytes_of(&client, &finished), expected);
        assert_eq!(finished.profile.restored, total);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

#[test]
fn foreign_and_damaged_checkpoints_are_refused() {
    let (server, _, inputs) = served(10);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sample.ckpt");
    let go_on = |_: Progress| ControlFlow::Continue(());
    let stop = |progress: Progress| match progress.done {
        done if done >= 9 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let refused = |server: &Server, inputs: &[Ciphertext]| {
        server
            .evaluate_resumably(inputs, &file, &go_on)
            .err()
            .unwrap()
            .to_string()
    };
    assert!(server.evaluate_resumably(&inputs, &file, &stop).is_err());
    let (other, _, other_inputs) = served(11);
    assert!(refused(&other, &inputs).contains("another set of keys"));
    assert!(refused(&server, &other_inputs).contains("another input"));
    let bytes = std::fs::read(&file).unwrap();
    for position in [0, 9, 20, 60, 90, 108, 113, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1;
        std::fs::write(&file, damaged).unwrap();
        refused(&server, &inputs);
    }
    for length in [0, 7, 111, bytes.len() - 1] {
        std::fs::write(&file, &bytes[..length]).unwrap();
        refused(&server, &inputs);
    }
    // A state that claims an instruction whose operands are yet to come, with the checksum that belongs to it.
    let mut early = bytes[..bytes.len() - 32].to_vec();
    let total = server.plan().program().instructions.len();
    early[112 + (total - 1) / 8] |= 1 << ((total - 1) % 8);
    let hash = blake3::hash(&early);
    early.extend_from_slice(hash.as_bytes());
    std::fs::write(&file, early).unwrap();
    let message = refused(&server, &inputs);
    assert!(
        message.contains("missing") || message.contains("before what it needs"),
        "{message}"
    );
    std::fs::write(&file, bytes).unwrap();
    assert!(server.evaluate_resumably(&inputs, &file, &go_on).is_ok());
}

#[test]
fn the_encapsulation_keys_must_be_there() {
    let plan = plan();
    let client = Client::new(plan.client().clone()).unwrap();
    let mut rng = SecretRng::from_seed([8; 32]);
    let secret = client.secret_key(&mut rng);
    let keys = |request: &KeyRequest, rng: &mut SecretRng| secret.evaluation_keys(request, rng).unwrap();
    let mut fewer = plan.client().keys.clone();
    let needed = fewer.encapsulation.take().unwrap();
    let refused = |keys| {
        Server::new(plan.clone(), keys, &ServerOptions::default())
            .err()
            .unwrap()
    };
    let missing = refused(keys(&fewer, &mut rng));
    assert!(matches!(
        missing,
        Error::MissingEncapsulationKeys { hamming_weight: 16 }
    ));
    let mut lower = needed.clone();
    lower.level -= 1;
    fewer.add_encapsulation(&lower);
    assert!(matches!(refused(keys(&fewer, &mut rng)), Error::KeyLevelTooLow { .. }));
    let mut without = needed.clone();
    let (step, level) = without.rotations.pop_last().unwrap();
    fewer.encapsulation = Some(without);
    let missing = refused(keys(&fewer, &mut rng));
    assert!(
        matches!(missing, Error::MissingRaisedRotationKey { step: found, level: at } if (found, at) == (step, level)),
        "{missing}"
    );
}

#[test]
fn plans_with_bootstraps_come_back_from_bytes() {
    let bytes = plan().to_bytes().unwrap();
    let back = Plan::from_bytes(&bytes).unwrap();
    assert_eq!((back.client(), back.program()), (plan().client(), plan().program()));
    assert_eq!(back.bootstraps(), plan().bootstraps());
    assert_eq!(back.to_bytes().unwrap(), bytes);
}

#[test]
fn rules_are_enforced_with_the_place_named() {
    use Section::{Client, Program};
    let (parts, data) = sections(&plan().to_bytes().unwrap());
    let refusal = |section: Section, from: &str, to: &str| {
        let mut parts = parts.clone();
        let text = String::from_utf8(parts[section as usize].clone()).unwrap();
        assert!(text.contains(from), "`{from}` is not in {text}");
        parts[section as usize] = text.replacen(from, to, 1).into_bytes();
        Plan::from_bytes(&rebuilt(&parts, &data)).unwrap_err().to_string()
    };
    let cases = [
        (Program, r#""xs":[9,6],"slots":256"#, r#""xs":[9,6],"slots":512"#, "256"),
        (Program, r#""xs":[8],"slots":32"#, r#""xs":[8],"slots":33"#, "33"),
        (
            Program,
            r#""xs":[8],"slots":32"#,
            r#""xs":[8],"slots":0"#,
            "instruction 8",
        ),
        (
            Program,
            r#""xs":[8],"slots":32"#,
            r#""xs":[],"slots":32"#,
            "no operands",
        ),
        (
            Program,
            r#""xs":[8],"slots":32"#,
            r#""xs":[8,8],"slots":32"#,
            "same register",
        ),
        (
            Program,
            r#""xs":[8],"slots":32"#,
            r#""xs":[8,4,6],"slots":32"#,
            "one or two",
        ),
        (
            Program,
            r#""xs":[8],"slots":32"#,
            r#""xs":[8],"slots":64"#,
            "lacks the key for rotation",
        ),
        (
            Program,
            r#""xs":[8],"slots":32"#,
            r#""xs":[7],"slots":32"#,
            "three parts",
        ),
        (Program, r#""levels":2"#, r#""levels":3"#, "other parameters"),
        (Program, r#""levels":2"#, r#""levels":18446744073709551615"#, "levels"),
        (Program, r#""log_n":9"#, r#""log_n":4000000000"#, "log_n"),
        (
            Program,
            r#""ephemeral_weight":16"#,
            r#""ephemeral_weight":400000000"#,
            "ephemeral_weight",
        ),
        (Program, r#""doublings":3"#, r#""doublings":99"#, "doublings"),
        (
            Program,
            r#""coeffs_to_slots":[4,4]"#,
            r#""coeffs_to_slots":[4,3]"#,
            "coeffs_to_slots",
        ),
        (Client, r#""relin":["#, r#""relin":[99,"#, "relin"),
        (
            Client,
            r#""hamming_weight":16"#,
            r#""hamming_weight":17"#,
            "encapsulation",
        ),
        (
            Client,
            r#""hamming_weight":16"#,
            r#""hamming_weight":0"#,
            "encapsulation",
        ),
        (
            Client,
            r#""hamming_weight":16,"level":1"#,
            r#""hamming_weight":16,"level":99"#,
            "encapsulation",
        ),
    ];
    for (section, from, to, expected) in cases {
        let message = refusal(section, from, to);
        assert!(message.contains(expected), "{from} -> {to}: {message}");
    }
    let mut without: serde_json::Value = serde_json::from_slice(&parts[Program as usize]).unwrap();
    without.as_object_mut().unwrap().remove("bootstrap").unwrap();
    let mut changed = parts.clone();
    changed[Program as usize] = serde_json::to_vec(&without).unwrap();
    let message = Plan::from_bytes(&rebuilt(&changed, &data)).unwrap_err().to_string();
    assert!(message.contains("no bootstrapping circuit"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Numbers of the circuit exchanged, with checksums that are right: reading may succeed or fail.
    #[test]
    fn garbled_circuits_never_panic(
        position: prop::sample::Index,
        number in prop_oneof![Just(u64::MAX), 0u64..40, any::<u64>()],
        cut in 0usize..4,
    ) {
        let (mut parts, data) = sections(&plan().to_bytes().unwrap());
        let text = String::from_utf8(parts[Section::Program as usize].clone()).unwrap();
        let start = text.find(r#""bootstrap":{"request""#).unwrap();
        let digits: Vec<usize> = (start..text.len()).filter(|i| text.as_bytes()[*i].is_ascii_digit()).collect();
        let from = digits[position.index(digits.len())];
        let to = (from + 1 + cut).min(text.len());
        let mut bytes = text.into_bytes();
        bytes.splice(from..to, number.to_string().into_bytes());
        parts[Section::Program as usize] = bytes;
        let _ = Plan::from_bytes(&rebuilt(&parts, &data));
    }
}
