//! Small ckks graphs through the CPU backend: what is emitted, and that it computes what the graph says.

use std::collections::BTreeMap;

use aphelion_backends::BackendError;
use aphelion_backends::cpu::{PlanInfo, plan};
use aphelion_ir::ckks::{Bsgs, Ckks, CkksOp, ParameterSpec, Secret};
use aphelion_ir::slot::{Basis, ClientOp, Kernel, Layout, LinearMap, PlainTensor, Polynomial};
use aphelion_ir::{ConstantPool, Graph, Origin, Tensor, ValueId};
use aphelion_runtime::ckks::params::{ChainRequest, ParametersLiteral, SecretDistribution, Security};
use aphelion_runtime::client::Client;
use aphelion_runtime::exec::{Server, ServerOptions};
use aphelion_runtime::plan::{Counts, Plan, Report};
use aphelion_runtime::ring::SecretRng;

const SLOTS: usize = 256;

fn weights(rows: usize, columns: usize, seed: usize) -> Vec<f64> {
    (0..rows * columns)
        .map(|i| ((i * 31 + seed * 17) as f64).sin() / columns as f64)
        .collect()
}

fn matvec(weights: &[f64], x: &[f64]) -> Vec<f64> {
    weights
        .chunks(x.len())
        .map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum())
        .collect()
}

struct Builder {
    graph: Graph<Ckks>,
}

impl Builder {
    fn new(levels: u32) -> Self {
        let mut graph: Graph<Ckks> = Graph::new("small", ConstantPool::default());
        graph.attrs.packing.slots = SLOTS;
        graph.attrs.parameters = Some(ParameterSpec {
            log_n: 10,
            max_level: levels,
            log_scale: 38,
            log_q0: 46,
            dnum: levels + 1,
            log_special: 49,
            n_special: 1,
            gadgets: None,
            secret: Secret::UniformTernary {},
            bootstrap: None,
        });
        Self { graph }
    }

    fn push(&mut self, op: CkksOp) -> ValueId {
        let name = format!("node{}", self.graph.len());
        self.graph.push(op, Origin::new(name, "Test")).unwrap()
    }

    fn input(&mut self, n: usize, scale: f64, level: u32) -> ValueId {
        let layout = Layout::dense(&[1, n], SLOTS);
        self.push(CkksOp::Input {
            name: "x".into(),
            layout,
            scale,
            level,
        })
    }

    /// A dense layer with its rescale and fold, not yet biased.
    fn dense(&mut self, x: ValueId, n_in: usize, n_out: usize, seed: usize, at: u32) -> ValueId {
        let product = self.dense_product(x, n_in, n_out, seed, at);
        let mut sum = self.push(CkksOp::Rescale { x: product });
        let mut step = n_out.next_power_of_two();
        while step < n_in.next_power_of_two() {
            let rotated = self.push(CkksOp::Rotate { x: sum, by: step });
            sum = self.push(CkksOp::Add { a: sum, b: rotated });
            step *= 2;
        }
        sum
    }

    fn dense_product(&mut self, x: ValueId, n_in: usize, n_out: usize, seed: usize, at: u32) -> ValueId {
        let weight = Tensor::from_f64(vec![n_out, n_in], weights(n_out, n_in, seed));
        let weight = self.graph.constants.insert("w", weight);
        let (period_in, period_out) = (n_in.next_power_of_two(), n_out.next_power_of_two());
        let fold = std::iter::successors(Some(period_out), |step| Some(2 * step));
        let kernel = Kernel {
            map: LinearMap::Dense {
                input: vec![1, n_in],
                weight,
                transposed: true,
            },
            output: Layout::dense(&[1, n_out], SLOTS),
            fold: fold.take_while(|step| *step < period_in).collect(),
        };
        let bsgs = Bsgs {
            baby_steps: (0..4).collect(),
            giant_steps: (0..period_out).step_by(4).collect(),
        };
        let input = Layout::dense(&[1, n_in], SLOTS);
        self.push(CkksOp::LinearTransform {
            x,
            kernel,
            input,
            bsgs,
            at,
        })
    }

    fn bias(&mut self, x: ValueId, n: usize, seed: usize) -> ValueId {
        let value = self
            .graph
            .constants
            .insert("b", Tensor::from_f64(vec![n], weights(n, 4, seed)[..n].to_vec()));
        let layout = Layout::dense(&[1, n], SLOTS);
        self.push(CkksOp::AddPlain {
            x,
            value: PlainTensor { value, factor: 2.0 },
            layout,
        })
    }

    fn square(&mut self, x: ValueId) -> ValueId {
        let product = self.push(CkksOp::Mul { a: x, b: x });
        let linear = self.push(CkksOp::Relinearize { x: product });
        self.push(CkksOp::Rescale { x: linear })
    }

    fn output(mut self, value: ValueId, n: usize, scale: f64, ops: Vec<ClientOp>) -> Graph<Ckks> {
        self.graph.output("y", value);
        self.graph.attrs.output_layouts = vec![Layout::dense(&[1, n], SLOTS)];
        self.graph.attrs.packing.output_scales = vec![scale];
        self.graph.attrs.packing.client_ops = vec![ops];
        self.graph
    }
}

fn info(levels: usize, security: Security) -> PlanInfo {
    let parameters = ParametersLiteral::choose(&ChainRequest {
        log_n: 10,
        levels,
        log_scale: 38.0,
        log_q0: 46.0,
        dnum: levels + 1,
        secret: SecretDistribution::UniformTernary,
        security,
    });
    PlanInfo {
        parameters: parameters.unwrap(),
        bootstrap: None,
        model_hash: "feed".into(),
        input_ranges: BTreeMap::from([("x".to_string(), (-2.0, 2.0))]),
        report: Report::default(),
        op_seconds: Vec::new(),
    }
}

/// Input 30, dense 12 with bias, square, dense 5 with bias.
fn mlp() -> Graph<Ckks> {
    let mut b = Builder::new(3);
    let x = b.input(30, 2.0, 3);
    let hidden = b.dense(x, 30, 12, 1, 3);
    let hidden = b.bias(hidden, 12, 2);
    let hidden = b.square(hidden);
    let logits = b.dense(hidden, 12, 5, 3, 1);
    let logits = b.bias(logits, 5, 4);
    b.output(logits, 5, 3.0, vec![])
}

fn encrypted(plan: &Plan, x: &[f64]) -> Vec<f64> {
    let client = Client::new(plan.client().clone()).unwrap();
    let mut rng = SecretRng::from_seed([5; 32]);
    let secret = client.secret_key(&mut rng);
    let keys = client.evaluation_keys(&secret, &mut rng).unwrap();
    let server = Server::new(plan.clone(), keys, &ServerOptions::default()).unwrap();
    let inputs = client.encrypt(&secret, &[x.to_vec()], &mut rng).unwrap();
    let result = server.evaluate(&inputs, &|_| ()).unwrap();
    client.decrypt(&secret, &result.outputs).unwrap().remove(0)
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{found} instead of {expected}");
    }
}

fn doubled(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|value| 2.0 * value).collect()
}

fn add(a: Vec<f64>, b: Vec<f64>) -> Vec<f64> {
    a.into_iter().zip(b).map(|(a, b)| a + b).collect()
}

#[test]
fn an_mlp_computes_what_its_graph_says() {
    let x: Vec<f64> = (0..30).map(|i| (i as f64).cos()).collect();
    let slots: Vec<f64> = x.iter().map(|x| x / 2.0).collect();
    let hidden = add(
        matvec(&weights(12, 30, 1), &slots),
        doubled(weights(12, 4, 2)[..12].to_vec()),
    );
    let hidden: Vec<f64> = hidden.iter().map(|h| h * h).collect();
    let logits = add(
        matvec(&weights(5, 12, 3), &hidden),
        doubled(weights(5, 4, 4)[..5].to_vec()),
    );
    let expected: Vec<f64> = logits.iter().map(|logit| 3.0 * logit).collect();
    assert_close(
        &encrypted(&plan(&mlp(), &info(3, Security::None)).unwrap(), &x),
        &expected,
    );
}

/// One line per instruction: results, op, operands, origin.
fn listing(plan: &Plan) -> String {
    let program = plan.program();
    let mut next = plan
        .client()
        .inputs
        .iter()
        .map(|port| port.packing.ciphertexts)
        .sum::<usize>();
    let lines = program.instructions.iter().map(|instruction| {
        let n_results = program.n_results(&instruction.op);
        let results: Vec<String> = (next..next + n_results).map(|r| format!("r{r}")).collect();
        let operands: Vec<String> = instruction.op.operands().iter().map(|r| format!("r{}", r.0)).collect();
        let ty = plan.types()[next];
        next += n_results;
        let name = instruction.op.name();
        let origin = &program.origins[instruction.origin];
        format!(
            "{} = {name} {} @ level {} from {origin}\n",
            results.join(", "),
            operands.join(", "),
            ty.level
        )
    });
    lines.collect()
}

#[test]
fn the_program_of_an_mlp() {
    let plan = plan(&mlp(), &info(3, Security::None)).unwrap();
    let counts = Counts::of_program(plan.program());
    let keys = &plan.client().keys;
    insta::assert_snapshot!(format!(
        "{}{counts:#?}\nrelinearization key at {:?}, rotation keys {:?}\n{} constants",
        listing(&plan),
        keys.relin,
        keys.rotations,
        plan.constants().len()
    ));
}

#[test]
fn equal_graphs_give_equal_bytes() {
    let bytes = || plan(&mlp(), &info(3, Security::None)).unwrap().to_bytes().unwrap();
    let first = bytes();
    assert_eq!(first, bytes());
    let reread = Plan::from_bytes(&first).unwrap();
    assert_eq!(reread.to_bytes().unwrap(), first);
}

/// A rescale that the graph delays over a sum of products of several kinds.
#[test]
fn delayed_rescales_are_placed_where_the_runtime_has_them() {
    let mut b = Builder::new(2);
    let x = b.input(8, 1.0, 2);
    let transformed = b.dense_product(x, 8, 8, 1, 2);
    let biased = b.bias(transformed, 8, 2);
    let value = b
        .graph
        .constants
        .insert("f", Tensor::from_f64(vec![8], weights(8, 1, 3)));
    let layout = Layout::dense(&[1, 8], SLOTS);
    let plain = PlainTensor { value, factor: 1.0 };
    let scaled = b.push(CkksOp::MulPlain {
        x,
        value: plain,
        layout,
        at: 2,
    });
    let halved = b.push(CkksOp::MulScalar { x, by: 0.5, at: 2 });
    let scaled = b.push(CkksOp::Sub { a: scaled, b: halved });
    let product = b.push(CkksOp::Mul { a: x, b: x });
    let product = b.push(CkksOp::Relinearize { x: product });
    let product = b.push(CkksOp::Neg { x: product });
    let sum = b.push(CkksOp::Add { a: scaled, b: biased });
    let sum = b.push(CkksOp::Sub { a: sum, b: product });
    let sum = b.push(CkksOp::AddScalar { x: sum, by: 0.25 });
    let sum = b.push(CkksOp::Rescale { x: sum });
    let left = b.push(CkksOp::Rotate { x: sum, by: 3 });
    let right = b.push(CkksOp::Rotate { x: sum, by: 6 });
    let both = b.push(CkksOp::Add { a: left, b: right });
    let low = b.push(CkksOp::DropLevel { x: both, to: 0 });
    let plan = plan(&b.output(low, 8, 1.0, vec![]), &info(2, Security::None)).unwrap();
    let counts = Counts::of_program(plan.program());
    assert_eq!(
        (counts.hoisted_rotations - 3, counts.relinearizations),
        (2, 1),
        "{}",
        listing(&plan)
    );

    let x: Vec<f64> = (0..8).map(|i| (i as f64).sin()).collect();
    let biased = add(matvec(&weights(8, 8, 1), &x), doubled(weights(8, 4, 2)[..8].to_vec()));
    let scaled: Vec<f64> = weights(8, 1, 3)
        .iter()
        .zip(&x)
        .map(|(w, x)| (w - 0.5) * x + x * x + 0.25)
        .collect();
    let sum = add(biased, scaled);
    let expected: Vec<f64> = (0..8).map(|i| sum[(i + 3) % 8] + sum[(i + 6) % 8]).collect();
    assert_close(&encrypted(&plan, &x), &expected);
}

#[test]
fn polynomials_and_client_ops_run() {
    let mut b = Builder::new(4);
    let x = b.input(4, 1.0, 4);
    let poly = |coeffs: Vec<f64>| Polynomial {
        basis: Basis::Chebyshev {},
        low: -1.0,
        high: 1.0,
        coeffs,
    };
    // The trailing zero makes the graph count a level that the runtime does not need.
    let even = b.push(CkksOp::PolyEval {
        x,
        poly: poly(vec![0.5, 0.25, 0.5, 0.125, 0.0]),
        at: 4,
    });
    let y = b.push(CkksOp::PolyEval {
        x: even,
        poly: poly(vec![0.0, 0.5]),
        at: 1,
    });
    let plan = plan(
        &b.output(y, 4, 8.0, vec![ClientOp::Softmax { axis: 1 }]),
        &info(4, Security::None),
    )
    .unwrap();
    let x = [0.3, -0.7, 0.9, 0.1];
    let t = |x: f64| 0.5 + 0.25 * x + 0.5 * (2.0 * x * x - 1.0) + 0.125 * (4.0 * x * x * x - 3.0 * x);
    let exps: Vec<f64> = x.iter().map(|x| (8.0 * 0.5 * t(*x)).exp()).collect();
    let sum: f64 = exps.iter().sum();
    assert_close(&encrypted(&plan, &x), &exps.iter().map(|e| e / sum).collect::<Vec<_>>());
}

#[test]
fn what_cannot_run_is_named() {
    let mut unfinished = mlp();
    unfinished.attrs.parameters = None;
    assert!(matches!(
        plan(&unfinished, &info(3, Security::None)),
        Err(BackendError::Unfinished(_))
    ));

    assert!(matches!(
        plan(&mlp(), &info(2, Security::None)),
        Err(BackendError::Unfinished(_))
    ));

    let insecure = plan(&mlp(), &info(3, Security::Classical128));
    assert!(insecure.unwrap_err().to_string().contains("128-bit security"));
}
