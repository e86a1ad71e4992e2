//! Plans run on ciphertexts against the same plans run on slot vectors, at insecure and at 128-bit parameters.

use std::collections::BTreeSet;

use aphelion_runtime::ckks::keys::{EvaluationKeys, KeyRequest};
use aphelion_runtime::ckks::params::{ChainRequest, ParametersLiteral, SecretDistribution, Security};
use aphelion_runtime::ckks::polynomial::{Basis, Polynomial};
use aphelion_runtime::client::Client;
use aphelion_runtime::error::Error;
use aphelion_runtime::exec::{Server, ServerOptions, write_trace};
use aphelion_runtime::plan::{
    ClientPart, ConstantWriter, Diagonal, Digit, InputPort, Instruction, ModelInfo, Op, OutputPort, Packing, Plan,
    Program, Register, Report, Transform, VectorId,
};
use aphelion_runtime::ring::SecretRng;

const LEVELS: usize = 5;

fn parameters(log_n: u32, security: Security) -> ParametersLiteral {
    ParametersLiteral::choose(&ChainRequest {
        log_n,
        levels: LEVELS,
        log_scale: 40.0,
        log_q0: 48.0,
        dnum: 3,
        secret: SecretDistribution::UniformTernary,
        security,
    })
    .unwrap()
}

fn packing(slots: usize) -> Packing {
    Packing {
        shape: vec![slots],
        slots,
        period: slots,
        ciphertexts: 1,
        digits: vec![Digit {
            axis: 0,
            extent: slots,
            stride: 1,
        }],
    }
}

/// Every op once at least, on two inputs of `slots` slots.
fn plan(parameters: ParametersLiteral, slots: usize) -> Plan {
    let mut constants = ConstantWriter::new();
    let vector = |constants: &mut ConstantWriter, period: usize, seed: usize| {
        let values: Vec<f64> = (0..period).map(|i| 0.4 * ((3 * i + 7 * seed) as f64).sin()).collect();
        constants.add(&values).unwrap()
    };
    let mut diagonals = Vec::new();
    for (out, giant, input, baby) in [
        (0, 0, 0, 0),
        (0, 0, 0, 1),
        (0, 0, 1, 1),
        (0, 4, 0, 1),
        (0, 4, 1, 0),
        (1, 0, 1, 0),
        (1, 4, 0, 0),
        (1, 4, 0, 3),
    ] {
        diagonals.push(Diagonal {
            out,
            giant,
            input,
            baby,
            vector: vector(&mut constants, 16, diagonals.len()),
        });
    }
    let bias = vector(&mut constants, slots, 100);
    let factor = vector(&mut constants, 4, 101);
    let r = Register;
    let ops = vec![
        // 2, 3: level 4
        Op::LinearTransform {
            xs: vec![r(0), r(1)],
            transform: 0,
            level: 5,
        },
        Op::AddPlain { x: r(2), value: bias },
        Op::Mul { a: r(4), b: r(3) },
        Op::RelinearizeRescale { x: r(5) },
        Op::Mul { a: r(3), b: r(3) },
        Op::Relinearize { x: r(7) },
        Op::Rescale { x: r(8) },
        // 10: level 3
        Op::Sub { a: r(6), b: r(9) },
        Op::PolyEval {
            x: r(10),
            polynomial: 0,
            level: 2,
        },
        // 12: x0 dropped from level 5 to 0
        Op::DropLevel { x: r(0), to: 0 },
        Op::Add { a: r(11), b: r(12) },
        Op::Rotate {
            x: r(13),
            by: vec![1, 2],
        },
        Op::Sub { a: r(14), b: r(15) },
        Op::Neg { x: r(16) },
        Op::AddScalar { x: r(17), by: 0.125 },
        // 19: from level 5 to 1
        Op::MulPlain {
            x: r(1),
            value: factor,
            level: 2,
        },
        Op::Rescale { x: r(19) },
        Op::MulScalar {
            x: r(20),
            by: -1.5,
            level: 1,
        },
        Op::Rescale { x: r(21) },
        Op::Conjugate { x: r(22) },
        Op::Add { a: r(18), b: r(23) },
    ];
    let port = |name: &str| InputPort {
        name: name.into(),
        packing: packing(slots),
        scale: 1.0,
        level: LEVELS,
        range: Some((-1.0, 1.0)),
    };
    let client = ClientPart {
        model: ModelInfo {
            name: "ops".into(),
            hash: "00".into(),
        },
        parameters,
        batch: 1,
        inputs: vec![port("a"), port("b")],
        outputs: vec![
            OutputPort {
                name: "y".into(),
                packing: packing(slots),
                scale: 2.0,
                client_ops: vec![],
            },
            OutputPort {
                name: "z".into(),
                packing: packing(slots),
                scale: 1.0,
                client_ops: vec![],
            },
        ],
        keys: KeyRequest {
            relin: (0..=4).collect(),
            conjugation: [0].into(),
            rotations: [(1, 5), (2, 0), (3, 5), (4, 5)]
                .map(|(step, level)| (step, (0..=level).collect()))
                .into(),
            encapsulation: None,
        },
    };
    let program = Program {
        instructions: ops.into_iter().map(|op| Instruction { op, origin: 0 }).collect(),
        outputs: vec![vec![r(24)], vec![r(10)]],
        transforms: vec![Transform {
            slots,
            n_inputs: 2,
            n_outputs: 2,
            diagonals,
        }],
        polynomials: vec![Polynomial::new(Basis::Chebyshev, vec![0.25, 0.5, -0.25, 0.125]).unwrap()],
        origins: vec!["all ops".into()],
        bootstrap: None,
        report: Report::default(),
    };
    Plan::new(client, program, constants.finish().unwrap()).unwrap()
}

/// The plan on slot vectors.
fn clear(plan: &Plan, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let program = plan.program();
    let all: BTreeSet<_> = (0..plan.constants().len() as u32).map(VectorId).collect();
    let constants = plan.constants().read(&all).unwrap();
    let rotate = |x: &[f64], by: usize| -> Vec<f64> { (0..x.len()).map(|i| x[(i + by) % x.len()]).collect() };
    let zip = |a: &[f64], b: &[f64], f: fn(f64, f64) -> f64| -> Vec<f64> {
        a.iter().zip(b.iter().cycle()).map(|(a, b)| f(*a, *b)).collect()
    };
    let mut values: Vec<Vec<f64>> = inputs.to_vec();
    for instruction in &program.instructions {
        let get = |register: &Register| values[register.index()].clone();
        let results = match &instruction.op {
            Op::Add { a, b } => vec![zip(&get(a), &get(b), |a, b| a + b)],
            Op::Sub { a, b } => vec![zip(&get(a), &get(b), |a, b| a - b)],
            Op::Mul { a, b } => vec![zip(&get(a), &get(b), |a, b| a * b)],
            Op::Neg { x } => vec![get(x).iter().map(|x| -x).collect()],
            Op::AddPlain { x, value } => vec![zip(&get(x), &constants[value], |a, b| a + b)],
            Op::MulPlain { x, value, .. } => vec![zip(&get(x), &constants[value], |a, b| a * b)],
            Op::AddScalar { x, by } => vec![zip(&get(x), &[*by], |a, b| a + b)],
            Op::MulScalar { x, by, .. } => vec![zip(&get(x), &[*by], |a, b| a * b)],
            Op::Relinearize { x }
            | Op::RelinearizeRescale { x }
            | Op::Rescale { x }
            | Op::DropLevel { x, .. }
            | Op::Conjugate { x } => vec![get(x)],
            Op::Bootstrap { xs, .. } => xs.iter().map(get).collect(),
            Op::Rotate { x, by } => by.iter().map(|by| rotate(&get(x), *by)).collect(),
            Op::LinearTransform { xs, transform, .. } => {
                let transform = &program.transforms[*transform];
                let mut outs = vec![vec![0.0; transform.slots]; transform.n_outputs];
                for d in &transform.diagonals {
                    let product = zip(&rotate(&get(&xs[d.input]), d.baby), &constants[&d.vector], |a, b| a * b);
                    outs[d.out] = zip(&outs[d.out], &rotate(&product, d.giant), |a, b| a + b);
                }
                outs
            }
            Op::PolyEval { x, polynomial, .. } => {
                vec![
                    get(x)
                        .iter()
                        .map(|x| program.polynomials[*polynomial].evaluate(*x))
                        .collect(),
                ]
            }
        };
        values.extend(results);
    }
    let ports = plan.client().outputs.iter().zip(&program.outputs);
    ports
        .map(|(port, registers)| values[registers[0].index()].iter().map(|x| x * port.scale).collect())
        .collect()
}

fn samples(slots: usize, seed: usize) -> Vec<Vec<f64>> {
    let sample = |salt: usize| (0..slots).map(|i| ((i * 13 + seed + salt) as f64).cos()).collect();
    vec![sample(0), sample(50)]
}

fn largest_error(found: &[Vec<f64>], expected: &[Vec<f64>]) -> f64 {
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The least memory that a plan runs in, and as much more.
fn within(plan: &Plan, more_bytes: u64) -> ServerOptions {
    let client = Client::new(plan.client().clone()).unwrap();
    let mut rng = SecretRng::from_seed([1; 32]);
    let secret = client.secret_key(&mut rng);
    let keys = client.evaluation_keys(&secret, &mut rng).unwrap();
    let nothing = ServerOptions {
        memory_bytes: 0,
        ..ServerOptions::default()
    };
    let refused = Server::new(plan.clone(), keys, &nothing).err();
    let Some(Error::NotEnoughMemory { needed, allowed: 0 }) = refused else {
        panic!("{refused:?}");
    };
    ServerOptions {
        memory_bytes: needed + more_bytes,
        ..ServerOptions::default()
    }
}

fn run(plan: &Plan, slots: usize, options: &ServerOptions) -> (f64, Vec<Vec<f64>>) {
    let client = Client::new(plan.client().clone()).unwrap();
    let mut rng = SecretRng::from_seed([1; 32]);
    let secret = client.secret_key(&mut rng);
    let server = Server::new(
        plan.clone(),
        client.evaluation_keys(&secret, &mut rng).unwrap(),
        options,
    )
    .unwrap();
    let inputs = samples(slots, 3);
    let ciphertexts = client.encrypt(&secret, &inputs, &mut rng).unwrap();
    let done = std::sync::Mutex::new(Vec::new());
    let result = server
        .evaluate(&ciphertexts, &|progress| done.lock().unwrap().push(progress))
        .unwrap();
    let n = plan.program().instructions.len();
    assert_eq!(result.profile.timings.len(), n);
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|progress| progress.done);
    assert_eq!(
        done.iter().map(|progress| progress.done).collect::<Vec<_>>(),
        (1..=n).collect::<Vec<_>>()
    );
    assert!((done[n - 1].fraction - 1.0).abs() < 1e-9);
    assert!(done[n - 1].left.as_secs_f64() <= 1e-6 * result.profile.wall.as_secs_f64());
    for progress in &done[..n - 1] {
        let all = progress.left.as_secs_f64() / (1.0 - progress.fraction);
        assert!(
            all <= 1.001 * result.profile.wall.as_secs_f64() / progress.fraction,
            "{progress:?}"
        );
    }
    let outputs = client.decrypt(&secret, &result.outputs).unwrap();
    (largest_error(&outputs, &clear(plan, &inputs)), outputs)
}

/// Runs with one thread: which of the waiting buffers a polynomial gets, and so the last few bytes in use, is then always the same.
fn in_one_thread<R: Send>(run: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(run)
}

#[test]
fn every_op_agrees_with_cleartext_at_a_small_ring() {
    for slots in [512, 64] {
        let plan = plan(parameters(10, Security::None), slots);
        let (error, ahead) = run(&plan, slots, &ServerOptions::default());
        assert!(error < 1e-6, "{slots} slots: error {error}");
        let (_, lazy) = in_one_thread(|| run(&plan, slots, &within(&plan, 0)));
        assert_eq!(ahead, lazy, "encoding ahead or just in time gives the same bits");
    }
}

#[test]
fn every_op_agrees_with_cleartext_at_128_bits() {
    let slots = 1 << 13;
    let plan = plan(parameters(14, Security::Classical128), slots);
    let (error, _) = run(&plan, slots, &ServerOptions::default());
    assert!(error < 1e-5, "error {error}");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let plan = plan(parameters(10, Security::None), 512);
    let outputs: Vec<_> = [1, 2, 5]
        .into_iter()
        .map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(&plan, 512, &ServerOptions::default()).1)
        })
        .collect();
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[2]);
}

#[test]
fn memory_for_weights_is_bounded() {
    in_one_thread(weights_within_bounds);
}

fn weights_within_bounds() {
    let plan = plan(parameters(10, Security::None), 512);
    let client = Client::new(plan.client().clone()).unwrap();
    let mut rng = SecretRng::from_seed([2; 32]);
    let secret = client.secret_key(&mut rng);
    // a server with room keeps the masks of the keys it is given, for all who share them
    let keys = |seed: u8| {
        let mut rng = SecretRng::from_seed([seed; 32]);
        client.evaluation_keys(&secret, &mut rng).unwrap()
    };
    let ahead = |options: &ServerOptions| {
        let server = Server::new(plan.clone(), keys(3), options).unwrap();
        assert!(server.memory().total() <= options.memory_bytes);
        assert_eq!(server.memory().weights, server.weights().bytes());
        assert_eq!(server.weights().n_plaintexts(), 10);
        server.weights().n_ahead()
    };
    assert_eq!(ahead(&within(&plan, 0)), 0);
    assert_eq!(ahead(&ServerOptions::default()), 10);
    let mut too_little = within(&plan, 0);
    too_little.memory_bytes -= 1;
    let refused = Server::new(plan.clone(), keys(3), &too_little).err().unwrap();
    let Error::NotEnoughMemory { needed, allowed } = refused else {
        panic!("{refused}");
    };
    assert_eq!(
        (needed, allowed),
        (too_little.memory_bytes + 1, too_little.memory_bytes)
    );
    let server = Server::new(plan.clone(), keys(3), &ServerOptions::default()).unwrap();
    let peak = server.schedule().peak_registers();
    assert!((4..8).contains(&peak), "{peak} ciphertexts at once");
}

/// Transforms one after the other, on two branches that are added at the end.
fn deep_plan() -> Plan {
    let slots = 512;
    let mut constants = ConstantWriter::new();
    let mut transforms = Vec::new();
    let mut instructions = Vec::new();
    let r = Register;
    for (number, input) in [0u32, 2, 3, 1, 5, 6].into_iter().enumerate() {
        let vector = |constants: &mut ConstantWriter, step: usize| {
            let values: Vec<f64> = (0..slots)
                .map(|i| 0.3 * ((i * (number + 2) + step) as f64).sin())
                .collect();
            constants.add(&values).unwrap()
        };
        let diagonals = [(0, 0), (0, 1), (4, 0), (4, 1)]
            .into_iter()
            .map(|(giant, baby)| Diagonal {
                out: 0,
                giant,
                input: 0,
                baby,
                vector: vector(&mut constants, giant + baby),
            });
        let diagonals = diagonals.collect();
        transforms.push(Transform {
            slots,
            n_inputs: 1,
            n_outputs: 1,
            diagonals,
        });
        instructions.push(Op::LinearTransform {
            xs: vec![r(input)],
            transform: number,
            level: LEVELS - number % 3,
        });
    }
    instructions.push(Op::Add { a: r(4), b: r(7) });
    let mut client = plan(parameters(10, Security::None), slots).client().clone();
    client.outputs.truncate(1);
    let program = Program {
        instructions: instructions
            .into_iter()
            .map(|op| Instruction { op, origin: 0 })
            .collect(),
        outputs: vec![vec![r(8)]],
        transforms,
        polynomials: vec![],
        origins: vec!["transforms".into()],
        bootstrap: None,
        report: Report::default(),
    };
    Plan::new(client, program, constants.finish().unwrap()).unwrap()
}

#[test]
fn plaintexts_are_encoded_an_instruction_ahead() {
    let plan = deep_plan();
    let (error, ahead) = run(&plan, 512, &ServerOptions::default());
    assert!(error < 1e-6, "error {error}");
    let client = Client::new(plan.client().clone()).unwrap();
    let mut rng = SecretRng::from_seed([1; 32]);
    let secret = client.secret_key(&mut rng);
    // a server with room keeps the masks of the keys it is given, for all who share them
    let keys = || {
        let mut rng = SecretRng::from_seed([2; 32]);
        client.evaluation_keys(&secret, &mut rng).unwrap()
    };
    let (step, n_plaintexts) = {
        let all = Server::new(plan.clone(), keys(), &ServerOptions::default()).unwrap();
        let step = (all.memory().idle + all.weights().bytes()) / 8;
        (step, all.weights().n_plaintexts())
    };
    let mut counts = Vec::new();
    for part in 0..12 {
        let options = within(&plan, step * part);
        let server = Server::new(plan.clone(), keys(), &options).unwrap();
        assert!(server.memory().total() <= options.memory_bytes);
        counts.push((server.weights().n_ahead(), server.weights().n_batches()));
        let threads = 1 + 2 * (part as usize % 2);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        // More threads work at the same time, and need more.
        let results = pool.install(|| run(&plan, 512, &within(&plan, step * part)).1);
        assert_eq!(results, ahead);
    }
    assert_eq!((counts[0], counts[11]), ((0, 0), (n_plaintexts, 0)), "{counts:?}");
    assert!(counts.is_sorted_by_key(|(n_ahead, _)| *n_ahead), "{counts:?}");
    assert!(
        counts
            .iter()
            .any(|(n_ahead, _)| *n_ahead > 0 && *n_ahead < n_plaintexts),
        "{counts:?}"
    );
    assert!(counts.iter().any(|(_, n_batches)| *n_batches > 1), "{counts:?}");
}

#[test]
fn mapped_keys_that_are_released_give_the_same_bytes() {
    let plan = plan(parameters(10, Security::None), 512);
    let client = Client::new(plan.client().clone()).unwrap();
    let mut rng = SecretRng::from_seed([1; 32]);
    let secret = client.secret_key(&mut rng);
    let keys = client.evaluation_keys(&secret, &mut rng).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    keys.write_to(&mut file).unwrap();
    let mapped = EvaluationKeys::map(client.params(), &file).unwrap();
    assert_eq!(mapped.mapped_bytes(), mapped.memory_bytes());
    for instruction in &plan.program().instructions {
        let used = plan.keys_of(&instruction.op);
        assert!(
            used.iter().all(|purpose| mapped.get(*purpose, 0).is_ok()),
            "{instruction:?}"
        );
    }
    let inputs = client.encrypt(&secret, &samples(512, 3), &mut rng).unwrap();
    let results = |server: &Server| -> Vec<Vec<u8>> {
        let outputs = server.evaluate(&inputs, &|_| ()).unwrap().outputs;
        outputs.iter().map(|output| output.to_bytes(server.params())).collect()
    };
    let expected = results(&Server::new(plan.clone(), keys, &ServerOptions::default()).unwrap());
    let server = Server::new(plan, mapped, &ServerOptions::default()).unwrap();
    for _ in 0..3 {
        assert_eq!(results(&server), expected);
    }
}

#[test]
fn wrong_inputs_and_keys_are_refused() {
    let plan = plan(parameters(10, Security::None), 512);
    let client = Client::new(plan.client().clone()).unwrap();
    let mut rng = SecretRng::from_seed([3; 32]);
    let secret = client.secret_key(&mut rng);
    let keys = client.evaluation_keys(&secret, &mut rng).unwrap();
    let server = Server::new(plan.clone(), keys, &ServerOptions::default()).unwrap();
    let mut inputs = client.encrypt(&secret, &samples(512, 0), &mut rng).unwrap();
    let refused = |inputs: &[_]| server.evaluate(inputs, &|_| ()).err().unwrap().to_string();
    assert!(refused(&inputs[..1]).contains("the plan takes 2"));
    inputs[1].set_scale(3.0);
    assert!(refused(&inputs).contains("ciphertext 1"));

    let mut part = plan.client().clone();
    part.keys.rotations.remove(&3);
    let fewer = Client::new(part).unwrap().evaluation_keys(&secret, &mut rng).unwrap();
    let missing = Server::new(plan.clone(), fewer, &ServerOptions::default())
        .err()
        .unwrap();
    assert!(
        matches!(missing, Error::MissingRotationKey { step: 3, level: 5 }),
        "{missing}"
    );

    let other = self::plan(parameters(11, Security::None), 512);
    let other = Client::new(other.client().clone()).unwrap();
    let foreign = other.secret_key(&mut rng);
    let foreign = other.evaluation_keys(&foreign, &mut rng).unwrap();
    let refused = Server::new(plan, foreign, &ServerOptions::default()).err().unwrap();
    assert!(matches!(refused, Error::ParameterMismatch { .. }), "{refused}");
}

#[test]
fn ranges_are_checked_by_the_client() {
    let client = Client::new(plan(parameters(10, Security::None), 64).client().clone()).unwrap();
    let mut values = samples(64, 0);
    assert!(client.check_ranges(&values).is_empty());
    values[1][5] = 2.5;
    let warnings = client.check_ranges(&values);
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        (warnings[0].input.as_str(), warnings[0].outside, warnings[0].found.1),
        ("b", 1, 2.5)
    );
}

#[test]
fn traces_are_json_with_one_event_per_instruction() {
    let plan = plan(parameters(10, Security::None), 64);
    let client = Client::new(plan.client().clone()).unwrap();
    let mut rng = SecretRng::from_seed([4; 32]);
    let secret = client.secret_key(&mut rng);
    let keys = client.evaluation_keys(&secret, &mut rng).unwrap();
    let server = Server::new(plan.clone(), keys, &ServerOptions::default()).unwrap();
    let inputs = client.encrypt(&secret, &samples(64, 0), &mut rng).unwrap();
    let profile = server.evaluate(&inputs, &|_| ()).unwrap().profile;
    let by_op = profile.by_op(plan.program());
    assert_eq!((by_op["rescale"].0, by_op["linear_transform"].0), (3, 1));
    assert_eq!(profile.by_origin(plan.program()).len(), 1);
    let mut trace = Vec::new();
    write_trace(&mut trace, &plan, &[profile.clone(), profile]).unwrap();
    let trace: serde_json::Value = serde_json::from_slice(&trace).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert_eq!(events.len(), 2 * plan.program().instructions.len());
    assert!(
        events
            .iter()
            .all(|event| event["ph"] == "X" && event["dur"].as_f64().is_some())
    );
}
