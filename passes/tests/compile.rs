//! nn -> ckks: the compiled program computes what the model computes, securely and with the asked precision; its figures
//! are a snapshot.

mod support;

use aphelion_ir::Graph;
use aphelion_ir::ckks::{Interpreter, Noise};
use aphelion_ir::nn::Nn;
use aphelion_ir::text::print_graph;
use aphelion_passes::pipeline::{Compiled, PassManager, compile};
use aphelion_passes::{CompileOptions, PassCx, Target};
use support::sample;

fn compiled(graph: &Graph<Nn>, bits: f64) -> Compiled {
    let cx = PassCx {
        options: CompileOptions {
            target: Target::Precision(bits),
            ..CompileOptions::default()
        },
        samples: (0..2)
            .map(|seed| sample(graph, seed).into_values().flatten().collect())
            .collect(),
        ..PassCx::default()
    };
    compile(PassManager::new(&cx).verify(true), graph.clone()).expect("compiles")
}

#[test]
fn models_compile_to_secure_and_precise_programs() {
    let mut figures = Vec::new();
    for graph in [
        support::mlp(),
        support::cryptonets(),
        support::lenet(),
        support::cnn1d(),
    ] {
        let compiled = compiled(&graph, 8.0);
        let interpreter = Interpreter::new(&compiled.ckks).expect("prepares");
        let inputs = sample(&graph, 5);
        let expected = aphelion_ir::nn::evaluate(&graph, &inputs).expect("evaluates").concat();
        let exact = interpreter.evaluate(&inputs, Noise::Off).expect("evaluates").concat();
        let noisy = interpreter
            .evaluate(&inputs, Noise::Seeded(9))
            .expect("evaluates")
            .concat();
        let largest = expected.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        let error = |found: &[f64]| {
            expected
                .iter()
                .zip(found)
                .fold(0.0f64, |e, (a, b)| e.max((a - b).abs()))
        };
        assert!(error(&exact) < 1e-9 * largest, "{}", graph.name);
        assert!(error(&noisy) < largest / 256.0, "{}: {:e}", graph.name, error(&noisy));
        assert!(compiled.report.security_bits >= 128.0);
        assert!(compiled.report.predicted_bits >= 9.0);
        let (report, slots) = (&compiled.report, compiled.slot.attrs.slots);
        figures.push(format!(
            "{}: N = 2^{}, {slots} slots, {} levels, scale 2^{}, log QP {:.0} + {:.0}, dnum {}\n  {:?}\n  {} keys of {} MB, \
             plaintexts of {} MB",
            graph.name,
            report.log_n,
            report.levels,
            report.scale_bits,
            report.log_q,
            report.log_p,
            report.dnum,
            report.counts,
            report.keys,
            report.key_bytes >> 20,
            report.plaintext_bytes >> 20,
        ));
    }
    insta::assert_snapshot!("figures", figures.join("\n"));
}

#[test]
fn compilation_is_reproducible() {
    let text = || print_graph(&compiled(&support::mlp(), 8.0).ckks).expect("prints");
    assert_eq!(text(), text());
}
