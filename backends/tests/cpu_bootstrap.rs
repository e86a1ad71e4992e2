//! Graphs with bootstraps through the CPU backend, run on ciphertexts against the interpreter of the graph.

use std::collections::BTreeMap;

use aphelion_backends::BackendError;
use aphelion_backends::cpu::{PlanInfo, plan};
use aphelion_ir::ckks::{BootstrapSpec, Bsgs, Ckks, CkksOp, Interpreter, Noise, ParameterSpec, Secret};
use aphelion_ir::slot::{Kernel, Layout, LinearMap};
use aphelion_ir::{ConstantPool, Graph, Origin, Tensor, ValueId};
use aphelion_runtime::ckks::boot::{BootstrapCircuit, BootstrapPlan, BootstrapRequest, Content};
use aphelion_runtime::ckks::params::{SecretDistribution, Security};
use aphelion_runtime::client::Client;
use aphelion_runtime::exec::{Server, ServerOptions};
use aphelion_runtime::plan::{Op, Plan, Report};
use aphelion_runtime::ring::SecretRng;

const LOG_N: u32 = 9;
const SLOTS: usize = 256;
const LEVELS: usize = 4;

fn chain() -> BootstrapPlan {
    let request = BootstrapRequest {
        log_n: LOG_N,
        slots: SLOTS,
        content: Content::Complex,
        bits: 18.0,
        levels: LEVELS - 2,
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

fn info(bootstrap: Option<BootstrapPlan>) -> PlanInfo {
    PlanInfo {
        parameters: chain().literal().clone(),
        bootstrap,
        model_hash: "b007".into(),
        input_ranges: BTreeMap::new(),
        report: Report::default(),
        op_seconds: Vec::new(),
    }
}

struct Builder {
    graph: Graph<Ckks>,
    input_level: u32,
}

impl Builder {
    fn new(pairs: bool) -> Self {
        let chain = chain();
        let literal = chain.literal();
        let mut graph: Graph<Ckks> = Graph::new("deep", ConstantPool::default());
        graph.attrs.packing.slots = SLOTS;
        graph.attrs.parameters = Some(ParameterSpec {
            log_n: LOG_N,
            max_level: LEVELS as u32,
            log_scale: 40,
            log_q0: 48,
            dnum: literal.dnum as u32,
            log_special: 49,
            n_special: literal.p.len() as u32,
            gadgets: None,
            secret: Secret::UniformTernary {},
            bootstrap: Some(BootstrapSpec {
                slots: SLOTS,
                pairs,
                bits: 18.0,
                levels: chain.output_level() as u32,
                input_level: chain.input_level() as u32,
                total_levels: literal.q.len() as u32 - 1,
                log_error: -20.0,
            }),
        });
        Self {
            graph,
            input_level: chain.input_level() as u32,
        }
    }

    fn push(&mut self, op: CkksOp) -> ValueId {
        let name = format!("node{}", self.graph.len());
        self.graph.push(op, Origin::new(name, "Test")).unwrap()
    }

    fn input(&mut self, name: &str, elements: usize) -> ValueId {
        self.push(CkksOp::Input {
            name: name.into(),
            layout: Layout::dense(&[1, elements], SLOTS),
            scale: 1.0,
            level: LEVELS as u32,
        })
    }

    fn square(&mut self, x: ValueId) -> ValueId {
        let product = self.push(CkksOp::Mul { a: x, b: x });
        let linear = self.push(CkksOp::Relinearize { x: product });
        self.push(CkksOp::Rescale { x: linear })
    }

    fn bootstrap(&mut self, x: ValueId, slots: usize) -> ValueId {
        let x = match self.graph.ty(x).level {
            level if level > self.input_level => self.push(CkksOp::DropLevel {
                x,
                to: self.input_level,
            }),
            _ => x,
        };
        self.push(CkksOp::Bootstrap {
            x,
            to: LEVELS as u32,
            slots,
        })
    }

    /// A dense layer of 32 inputs and 8 outputs with its fold: a result of period 8.
    fn dense(&mut self, x: ValueId) -> ValueId {
        let weights = (0..32 * 8).map(|i| (i as f64).cos() / 32.0).collect();
        let weight = self.graph.constants.insert("w", Tensor::from_f64(vec![8, 32], weights));
        let kernel = Kernel {
            map: LinearMap::Dense {
                input: vec![1, 32],
                weight,
                transposed: true,
            },
            output: Layout::dense(&[1, 8], SLOTS),
            fold: vec![8, 16],
        };
        let bsgs = Bsgs {
            baby_steps: (0..4).collect(),
            giant_steps: vec![0, 4],
        };
        let at = self.graph.ty(x).level;
        let input = Layout::dense(&[1, 32], SLOTS);
        let product = self.push(CkksOp::LinearTransform {
            x,
            kernel,
            input,
            bsgs,
            at,
        });
        let mut sum = self.push(CkksOp::Rescale { x: product });
        for by in [8, 16] {
            let rotated = self.push(CkksOp::Rotate { x: sum, by });
            sum = self.push(CkksOp::Add { a: sum, b: rotated });
        }
        sum
    }

    fn output(&mut self, name: &str, value: ValueId, elements: usize) {
        self.graph.output(name, value);
        let attrs = &mut self.graph.attrs;
        attrs.output_layouts.push(Layout::dense(&[1, elements], SLOTS));
        attrs.packing.output_scales.push(1.0);
        attrs.packing.client_ops.push(vec![]);
    }
}

/// Three full ciphertexts squared around a bootstrap; a sparse one before and after a dense layer.
fn graph(pairs: bool) -> Graph<Ckks> {
    let mut b = Builder::new(pairs);
    let (wide, narrow) = (b.input("wide", 3 * SLOTS), b.input("narrow", 32));
    let x = b.square(wide);
    let x = b.bootstrap(x, SLOTS);
    let x = b.square(x);
    b.output("wide", x, 3 * SLOTS);
    let y = b.bootstrap(narrow, 32);
    let y = b.dense(y);
    let y = b.square(y);
    let y = b.bootstrap(y, 8);
    b.output("narrow", y, 8);
    b.graph
}

/// Operands and slots of all bootstraps.
fn bootstraps(plan: &Plan) -> Vec<(usize, usize)> {
    let instructions = plan.program().instructions.iter();
    let bootstraps = instructions.filter_map(|instruction| match &instruction.op {
        Op::Bootstrap { xs, slots } => Some((xs.len(), *slots)),
        _ => None,
    });
    bootstraps.collect()
}

#[test]
fn deep_graphs_compute_what_they_say() {
    let inputs = BTreeMap::from([
        (
            "wide".to_string(),
            (0..3 * SLOTS).map(|i| (0.3 * i as f64).sin()).collect(),
        ),
        (
            "narrow".to_string(),
            (0..32).map(|i| (0.7 * i as f64).cos()).collect::<Vec<f64>>(),
        ),
    ]);
    for (pairs, expected) in [
        (true, vec![(2, SLOTS), (1, SLOTS), (1, 32), (1, 8)]),
        (false, vec![(1, SLOTS), (1, SLOTS), (1, SLOTS), (1, 32), (1, 8)]),
    ] {
        let graph = graph(pairs);
        let plan = plan(&graph, &info(Some(chain()))).unwrap();
        assert_eq!(bootstraps(&plan), expected);

        let client = Client::new(plan.client().clone()).unwrap();
        let mut rng = SecretRng::from_seed([6; 32]);
        let secret = client.secret_key(&mut rng);
        let keys = client.evaluation_keys(&secret, &mut rng).unwrap();
        let server = Server::new(plan, keys, &ServerOptions::default()).unwrap();
        let values = [inputs["wide"].clone(), inputs["narrow"].clone()];
        let encrypted = client.encrypt(&secret, &values, &mut rng).unwrap();
        let result = server.evaluate(&encrypted, &|_| ()).unwrap();
        let found = client.decrypt(&secret, &result.outputs).unwrap();

        let interpreter = Interpreter::new(&graph).unwrap();
        let expected = interpreter.evaluate(&inputs, Noise::Off).unwrap();
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
        }
    }
}

#[test]
fn the_bootstrap_must_be_the_one_of_the_parameters() {
    let graph = graph(true);
    let refused = |bootstrap| plan(&graph, &info(bootstrap)).unwrap_err();
    assert!(matches!(refused(None), BackendError::Unfinished(_)));
    let mut request = *chain().request();
    request.levels += 1;
    let other = BootstrapPlan::with_circuit(&request, chain().circuit()).unwrap();
    assert!(refused(Some(other)).to_string().contains("not the one"));
}
