//! slot -> ckks through bootstraps: a small deep program gets bootstraps and parameters, computes what it should, and finds
//! another way where memory is short.

use aphelion_ir::ckks::{Ckks, CkksOp, Interpreter, Noise, Secret};
use aphelion_ir::text::{parse_graph, print_graph};
use aphelion_ir::{ConstantPool, Graph};
use aphelion_passes::parameters::{bootstrap_plan, needed_bits, security};
use aphelion_passes::pipeline::{AnyGraph, PassManager};
use aphelion_passes::{CompileOptions, PassCx, PassError, Stats};
use aphelion_runtime::ckks::params::SecretDistribution;
use std::collections::BTreeMap;

/// Cubic polynomials one after the other, of two levels each.
const CUBICS: usize = 14;

/// What a cubic does to a slot: [-1, 1] stays where it is.
fn cubic(x: f64) -> f64 {
    0.9 * x + 0.1 * x * x * x
}

/// The program, on four elements that repeat.
fn program() -> AnyGraph {
    let layout = "<[1, 4] in 1 x 1024 / 4 by [1:4*1], zero>";
    let mut text = format!(
        "slot @deep attrs {{slots: 1024, output_scales: [1.0], client_ops: [[]]}} {{\n  %0 = input {{name: \"x\", layout: \
         {layout}, scale: 1.0}} : {layout} from \"x\" \"Input\"\n"
    );
    for number in 1..=CUBICS {
        let poly = "{basis: monomial, low: -1.0, high: 1.0, coeffs: [0.0, 0.9, 0.0, 0.1]}";
        text += &format!(
            "  %{number} = poly %{} {{poly: {poly}}} : {layout} from \"cubic{number}\" \"Poly\"\n",
            number - 1
        );
    }
    text += &format!("  return \"y\" = %{CUBICS}\n}}\n");
    AnyGraph::parse(&text, &ConstantPool::default()).expect("a slot program")
}

/// The program on ciphertexts, and what the last pass says of it.
fn compiled(options: CompileOptions) -> Result<(Graph<Ckks>, Stats), PassError> {
    let cx = PassCx {
        options: CompileOptions {
            max_levels: Some(12),
            ..options
        },
        ..PassCx::default()
    };
    let mut manager = PassManager::new(&cx).verify(true);
    match manager.run(&["place_bootstraps", "lower_to_ckks", "select_parameters"], program())? {
        AnyGraph::Ckks(graph) => Ok((graph, manager.reports()[2].stats.clone())),
        other => panic!("ended in {}", other.dialect()),
    }
}

#[test]
fn a_deep_program_is_bootstrapped_and_computes_the_same() {
    let (graph, stats) = compiled(CompileOptions::default()).expect("compiles");
    let spec = graph.attrs.parameters.clone().expect("parameters");
    let bootstrap = spec.bootstrap.clone().expect("a bootstrap");
    let mut n_bootstraps = 0;
    for (id, node) in graph.iter() {
        if let CkksOp::Bootstrap { x, to, slots } = node.op {
            n_bootstraps += 1;
            assert_eq!(graph.ty(x).level, bootstrap.input_level);
            assert_eq!((to, graph.ty(id).level), (bootstrap.levels, bootstrap.levels));
            assert_eq!(slots, 4, "as many as the layout has");
        }
    }
    assert!(
        n_bootstraps >= 2 && stats.0["bootstraps"] == f64::from(n_bootstraps),
        "{stats:?}"
    );
    assert!(stats.0["security_bits"] >= 128.0);

    let x = [0.9, -0.5, 0.25, -1.0];
    let expected = x.map(|x| (0..CUBICS).fold(x, |x, _| cubic(x)));
    let inputs = BTreeMap::from([("x".to_string(), x.to_vec())]);
    let interpreter = Interpreter::new(&graph).expect("prepares");
    let error = |noise: Noise| {
        let found = interpreter.evaluate(&inputs, noise).expect("evaluates").concat();
        assert_eq!(found.len(), expected.len());
        found
            .iter()
            .zip(&expected)
            .fold(0.0f64, |e, (a, b)| e.max((a - b).abs()))
    };
    assert!(error(Noise::Off) < 1e-9, "{:e}", error(Noise::Off));
    let needed = needed_bits(&PassCx::default(), false);
    for seed in 0..4 {
        assert!(
            error(Noise::Seeded(seed)) < (-needed).exp2(),
            "{:e}",
            error(Noise::Seeded(seed))
        );
    }

    // The text holds all of it, the secret of the primes, too.
    let text = print_graph(&graph).expect("prints");
    assert_eq!(parse_graph::<Ckks>(&text, &graph.constants).expect("parses"), graph);
    let plan = bootstrap_plan(&spec, security(&PassCx::default()));
    let secret = plan.expect("plans").expect("a bootstrap").literal().secret;
    assert_eq!(
        spec.secret,
        match secret {
            SecretDistribution::UniformTernary => Secret::UniformTernary {},
            SecretDistribution::SparseTernary { hamming_weight } => Secret::SparseTernary { hamming_weight },
        }
    );
}

#[test]
fn where_keys_are_too_large_the_search_goes_on() {
    let (_, fastest) = compiled(CompileOptions::default()).expect("compiles");
    let limited = |max_key_bytes: f64| {
        compiled(CompileOptions {
            max_key_bytes: Some(max_key_bytes as u64),
            ..CompileOptions::default()
        })
    };
    let (_, smaller) = limited(fastest.0["key_bytes"] - 1.0).expect("another number of levels takes smaller keys");
    assert!(smaller.0["key_bytes"] < fastest.0["key_bytes"]);
    assert!(smaller.0["predicted_s"] >= fastest.0["predicted_s"]);
    let message = limited(1e6).unwrap_err().to_string();
    assert!(
        message.contains("raise the limit of key memory (--max-key-memory)"),
        "{message}"
    );
}
