//! nn -> ckks -> plan -> ciphertexts: compiled models, run encrypted at 128-bit security, give what the model gives, with
//! the predicted precision.

mod support;

use aphelion_backends::cpu::{PlanInfo, plan};
use aphelion_ir::Graph;
use aphelion_ir::nn::Nn;
use aphelion_passes::pipeline::{PassManager, compile};
use aphelion_passes::{CompileOptions, PassCx, Target};
use aphelion_runtime::client::Client;
use aphelion_runtime::exec::{Server, ServerOptions};
use aphelion_runtime::plan::Report;
use aphelion_runtime::ring::SecretRng;
use std::collections::BTreeMap;
use support::sample;

/// Compiles and runs `graph` on one sample; the achieved and the predicted precision in bits.
fn precision(graph: &Graph<Nn>, target: f64) -> (f64, f64) {
    let values = |seed: u64| sample(graph, seed).into_values().flatten().collect();
    let cx = PassCx {
        options: CompileOptions {
            target: Target::Precision(target),
            ..CompileOptions::default()
        },
        samples: (0..2).map(values).collect(),
        ..PassCx::default()
    };
    let compiled = compile(PassManager::new(&cx), graph.clone()).expect("compiles");
    let info = PlanInfo {
        parameters: compiled.parameters.clone(),
        bootstrap: None,
        model_hash: String::new(),
        input_ranges: BTreeMap::new(),
        report: Report::default(),
        op_seconds: Vec::new(),
    };
    let plan = plan(&compiled.ckks, &info).expect("a valid plan");
    let mut rng = SecretRng::from_seed([11; 32]);
    let client = Client::new(plan.client().clone()).expect("a client");
    let secret = client.secret_key(&mut rng);
    let keys = client.evaluation_keys(&secret, &mut rng).expect("keys");
    let server = Server::new(plan, keys, &ServerOptions::default()).expect("a server");
    let inputs = client.encrypt(&secret, &[values(7)], &mut rng).expect("encrypts");
    let evaluation = server.evaluate(&inputs, &|_| {}).expect("evaluates");
    let found = client.decrypt(&secret, &evaluation.outputs).expect("decrypts").concat();

    let expected = aphelion_ir::nn::evaluate(graph, &sample(graph, 7))
        .expect("evaluates")
        .concat();
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    let error = expected
        .iter()
        .zip(&found)
        .fold(0.0f64, |e, (a, b)| e.max((a - b).abs()));
    ((largest / error).log2(), compiled.report.predicted_bits)
}

#[test]
fn compiled_models_run_encrypted_with_the_predicted_precision() {
    for graph in [
        support::mlp(),
        support::cryptonets(),
        support::lenet(),
        support::cnn1d(),
    ] {
        let (bits, predicted) = precision(&graph, 10.0);
        assert!(bits >= 10.0, "{}: {bits:.1} bits", graph.name);
        assert!(
            (bits - predicted).abs() < 2.5,
            "{}: {bits:.1} bits, {predicted:.1} predicted",
            graph.name
        );
    }
}
