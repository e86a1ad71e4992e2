//! The noise model and the sizes that the compiler predicts are those of the runtime: single ops and a chain of them are
//! run encrypted, and their errors compared with the noisy interpreter's.

use aphelion_ir::ckks::{Ckks, CkksOp, Interpreter, Noise, ParameterSpec, Secret};
use aphelion_ir::slot::{Basis, Layout, Polynomial};
use aphelion_ir::{Graph, Origin, ValueId};
use aphelion_passes::cost_model::Costs;
use aphelion_passes::parameters::{literal, with_gadgets};
use aphelion_runtime::ckks::Ciphertext;
use aphelion_runtime::ckks::encoding::Encoder;
use aphelion_runtime::ckks::eval::Evaluator;
use aphelion_runtime::ckks::keys::{KeyRequest, SecretKey};
use aphelion_runtime::ckks::params::{Parameters, Security};
use aphelion_runtime::ckks::polynomial as runtime;
use aphelion_runtime::ring::SecretRng;
use std::collections::BTreeMap;

const SLOTS: usize = 1024;

fn spec(dnum: u32) -> ParameterSpec {
    let (n_special, log_special) = if dnum == 5 { (1, 39) } else { (2, 35) };
    with_gadgets(ParameterSpec {
        log_n: 12,
        max_level: 4,
        log_scale: 30,
        log_q0: 35,
        dnum,
        log_special,
        n_special,
        gadgets: None,
        secret: Secret::UniformTernary {},
        bootstrap: None,
    })
}

/// Runs the ops that the tests use, one ciphertext each.
fn encrypted(graph: &Graph<Ckks>, x: &[f64], seed: u64) -> Vec<f64> {
    let spec = graph.attrs.parameters.as_ref().expect("parameters");
    let params = Parameters::new(literal(spec, Security::None).expect("primes exist")).expect("a valid set");
    let mut rng = SecretRng::from_seed([seed as u8; 32]);
    let secret = SecretKey::generate(&params, &mut rng);
    let mut request = KeyRequest::default();
    for level in 0..=4 {
        request.add_relin(level);
        request.add_rotation(5, level);
    }
    let evaluator = Evaluator::new(secret.evaluation_keys(&request, &mut rng).expect("keys"));
    let encoder = Encoder::new(&params);
    let mut values: Vec<Ciphertext> = Vec::new();
    for (_, node) in graph.iter() {
        let get = |x: &ValueId| &values[x.index()];
        let value = match &node.op {
            CkksOp::Input { .. } => {
                let plaintext = encoder.encode(x, SLOTS, 4, params.scale(4)).expect("encodes");
                secret.encrypt(&plaintext, &mut rng).expect("encrypts")
            }
            CkksOp::Mul { a, b } => evaluator.mul(get(a), get(b)).expect("product"),
            CkksOp::Relinearize { x } => evaluator.relinearize(get(x)).expect("relinearised"),
            CkksOp::Rescale { x } => evaluator.rescale(get(x)).expect("rescaled"),
            CkksOp::Rotate { x, by } => evaluator.rotate(get(x), *by).expect("rotated"),
            CkksOp::Add { a, b } => evaluator.add(get(a), get(b)).expect("sum"),
            CkksOp::DropLevel { x, to } => evaluator.adjust_to(get(x), *to as usize).expect("adjusted"),
            CkksOp::PolyEval { x, poly, .. } => {
                let basis = match poly.basis {
                    Basis::Chebyshev {} => runtime::Basis::Chebyshev,
                    Basis::Monomial {} => runtime::Basis::Monomial,
                };
                let polynomial = runtime::Polynomial::new(basis, poly.coeffs.clone()).expect("a polynomial");
                let plan = runtime::PolynomialPlan::new(polynomial);
                evaluator.poly_eval(get(x), &plan).expect("evaluated")
            }
            other => panic!("not used here: {other:?}"),
        };
        values.push(value);
    }
    let result = &values[graph.outputs()[0].value.index()];
    encoder.decode(&secret.decrypt(result))
}

/// A program on one ciphertext; `build` appends its ops.
fn program(dnum: u32, build: impl Fn(&mut dyn FnMut(CkksOp) -> ValueId, ValueId) -> ValueId) -> Graph<Ckks> {
    let mut graph = Graph::<Ckks>::new("g", Default::default());
    let layout = Layout::dense(&[SLOTS], SLOTS);
    graph.attrs.parameters = Some(spec(dnum));
    graph.attrs.packing.output_scales = vec![1.0];
    graph.attrs.output_layouts = vec![layout.clone()];
    let mut push = |op| graph.push(op, Origin::default()).expect("a valid op");
    let input = CkksOp::Input {
        name: "x".into(),
        layout,
        scale: 1.0,
        level: 4,
    };
    let x = push(input);
    let y = build(&mut push, x);
    graph.output("y", y);
    graph
}

fn rms(a: &[f64], b: &[f64]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    (sum / a.len() as f64).sqrt()
}

/// Encrypted and predicted root-mean-square errors, each over two runs.
fn errors(graph: &Graph<Ckks>) -> (f64, f64) {
    let x: Vec<f64> = (0..SLOTS).map(|i| (i * 389 % SLOTS) as f64 / 512.0 - 1.0).collect();
    let inputs = BTreeMap::from([("x".to_string(), x.clone())]);
    let interpreter = Interpreter::new(graph).expect("a valid graph");
    let run = |noise| interpreter.evaluate(&inputs, noise).expect("runs").remove(0);
    let exact = run(Noise::Off);
    let mean = |errors: [f64; 2]| ((errors[0] * errors[0] + errors[1] * errors[1]) / 2.0).sqrt();
    let measured = [1, 2].map(|seed| rms(&encrypted(graph, &x, seed), &exact));
    let predicted = [1, 2].map(|seed| rms(&run(Noise::Seeded(seed)), &exact));
    (mean(measured), mean(predicted))
}

fn assert_agree(what: &str, graph: &Graph<Ckks>, tolerance: f64) {
    let (measured, predicted) = errors(graph);
    let ratio = measured / predicted;
    assert!(
        (1.0 / tolerance..tolerance).contains(&ratio),
        "{what}: measured 2^{:.2}, predicted 2^{:.2}",
        measured.log2(),
        predicted.log2()
    );
}

#[test]
fn single_ops_have_their_predicted_noise() {
    assert_agree("fresh", &program(5, |_, x| x), 1.15);
    assert_agree(
        "drop",
        &program(5, |push, x| push(CkksOp::DropLevel { x, to: 2 })),
        1.15,
    );
    for dnum in [5, 3] {
        let rotated = program(dnum, |push, x| push(CkksOp::Rotate { x, by: 5 }));
        assert_agree("rotate", &rotated, 1.15);
        let square = program(dnum, |push, x| {
            let product = push(CkksOp::Mul { a: x, b: x });
            let linear = push(CkksOp::Relinearize { x: product });
            push(CkksOp::Rescale { x: linear })
        });
        assert_agree("square", &square, 1.15);
    }
}

#[test]
fn chains_and_polynomials_have_their_predicted_noise() {
    let chain = program(5, |push, x| {
        let rotated = push(CkksOp::Rotate { x, by: 5 });
        let sum = push(CkksOp::Add { a: x, b: rotated });
        let product = push(CkksOp::Mul { a: sum, b: x });
        let linear = push(CkksOp::Relinearize { x: product });
        let y = push(CkksOp::Rescale { x: linear });
        let product = push(CkksOp::Mul { a: y, b: y });
        let linear = push(CkksOp::Relinearize { x: product });
        push(CkksOp::Rescale { x: linear })
    });
    assert_agree("chain", &chain, 1.25);
    for (basis, coeffs) in [
        (
            Basis::Chebyshev {},
            vec![0.1, 0.6, 0.0, -0.3, 0.0, 0.2, 0.0, -0.1, 0.0, 0.05],
        ),
        (Basis::Monomial {}, vec![0.1, 0.6, -0.3, 0.25]),
    ] {
        let (low, high) = (-1.0, 1.0);
        let poly = Polynomial {
            basis,
            low,
            high,
            coeffs,
        };
        let graph = program(5, |push, x| {
            push(CkksOp::PolyEval {
                x,
                poly: poly.clone(),
                at: 4,
            })
        });
        assert_agree("polynomial", &graph, 1.6);
    }
}

#[test]
fn keys_have_their_predicted_size() {
    // wide digits, so that low levels do with fewer special primes
    let wide = with_gadgets(ParameterSpec {
        max_level: 11,
        log_scale: 40,
        log_q0: 45,
        dnum: 2,
        log_special: 50,
        n_special: 5,
        ..spec(5)
    });
    for spec in [spec(5), spec(3), wide] {
        let params = Parameters::new(literal(&spec, Security::None).expect("primes exist")).expect("a valid set");
        let mut rng = SecretRng::from_seed([7; 32]);
        let secret = SecretKey::generate(&params, &mut rng);
        for level in 0..=spec.max_level as usize {
            let key = secret.relin_key(level, &mut rng).expect("a key");
            assert_eq!(
                key.memory_bytes() as u64,
                Costs::new(&spec).key_bytes(level as u32),
                "level {level}"
            );
        }
    }
}
