//! Encrypted inference from the command line: trained models, real data, 128-bit parameters. Ranges are
//! calibrated on other rows than those that are evaluated.

use std::path::{Path, PathBuf};
use std::process::Command;

use aphelion_frontend::data::load;

fn aphelion(args: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aphelion"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("APHELION_COST_TABLE", "")
        .args(args)
        .output()
        .unwrap()
}

fn json(args: &[&str]) -> serde_json::Value {
    let output = aphelion(args);
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Infers the first rows, calibrated on the rows `calibration`.
fn infer(model: &str, data: &str, samples: &str, calibration: &str) -> serde_json::Value {
    let (model, data) = (
        format!("examples/models/{model}.onnx"),
        format!("examples/data/{data}.npz"),
    );
    let labels = format!("{data}:y");
    let input = ["infer", &model, "--input", &data, "--samples", samples];
    let calibrate = ["--calibrate", &data, "--calibrate-rows", calibration];
    json(&[input.as_slice(), &calibrate, &["--labels", &labels, "--json"]].concat())
}

/// What every report has, and what every encrypted model must hold.
fn check(report: &serde_json::Value, bits: f64) {
    let schema = [
        (
            "params",
            "log_n levels log_q log_p scale_bits dnum security_bits hamming_weight",
        ),
        (
            "counts",
            "rotations hoisted_rotations ct_mults pt_mults rescales bootstraps",
        ),
        ("keys", "count bytes"),
        ("key_use", "relinearization conjugation layers bootstraps encapsulation"),
        ("time_s", "compile keygen encode encrypt evaluate decrypt"),
        ("error", "max_abs mean_abs bits reference_max_abs"),
        ("argmax_agreement", "same total"),
    ];
    for (group, fields) in schema {
        for field in fields.split_whitespace() {
            assert!(report[group].get(field).is_some(), "{group}.{field} is missing");
        }
    }
    for field in ["depth", "predicted_evaluate_s", "peak_rss_bytes", "threads", "samples"] {
        assert!(report[field].is_number(), "{field} is missing");
    }
    assert!(report["params"]["security_bits"].as_f64().unwrap() >= 128.0);
    assert_eq!(report["params"]["secure"], true);
    assert_eq!(report["argmax_agreement"]["same"], report["argmax_agreement"]["total"]);
    assert_eq!(report["accuracy"]["clear"], report["accuracy"]["encrypted"]);
    let found = report["error"]["bits"].as_f64().unwrap();
    assert!(found >= bits, "{found} bits of precision, {bits} are expected");
}

#[test]
fn logistic_regression() {
    let report = infer("logreg_bc", "bc_test", "20", "60..100");
    check(&report, 12.0);
    assert_eq!(report["argmax_agreement"]["total"], 20);
    assert_eq!(report["depth"], 1);
}

#[test]
fn a_perceptron_with_squares() {
    check(&infer("mlp_sq", "mnist_test", "3", "60..100"), 12.0);
}

#[test]
fn a_small_convolutional_network() {
    check(&infer("cryptonets_sq", "mnist_test", "3", "60..100"), 12.0);
}

#[test]
fn lenet_with_squares() {
    check(&infer("lenet_sq", "mnist_test", "3", "60..100"), 12.0);
}

/// A program in the model language that the rewrite rules change, encrypted.
fn pattern(name: &str, data: &str, bits: f64) {
    let (model, data) = (
        format!("examples/models/{name}.aph-model"),
        format!("examples/data/{data}.npz:x"),
    );
    let input = ["infer", &model, "--input", &data, "--samples", "2", "--seed", "7"];
    let calibrate = ["--calibrate", &data, "--calibrate-rows", "60..100", "--json"];
    check(&json(&[input.as_slice(), &calibrate].concat()), bits);
}

#[test]
fn a_gate_shared_by_two_branches() {
    pattern("gated_unit", "credit_test", 10.0);
}

#[test]
fn squeeze_and_excitation_with_a_residual() {
    pattern("squeeze_excite", "mnist_test", 14.0);
}

#[test]
fn attention_over_steps() {
    pattern("attention", "gunpoint_test", 9.0);
}

#[test]
fn a_mixture_of_activations() {
    pattern("mixed_activations", "credit_test", 10.0);
}

#[test]
fn powers_of_interactions() {
    pattern("interactions", "credit_test", 12.0);
}

#[test]
fn processes_keep_within_the_memory_they_are_given() {
    let data = "examples/data/mnist_test.npz";
    let args = [
        "infer",
        "examples/models/lenet_sq.onnx",
        "--input",
        data,
        "--samples",
        "1",
    ];
    let args = [
        &args[..],
        &[
            "--calibrate",
            data,
            "--calibrate-rows",
            "60..100",
            "--seed",
            "7",
            "--json",
        ],
    ]
    .concat();
    let within = |megabytes: u64| json(&[&args[..], &["--max-memory", &format!("{megabytes}M")]].concat());
    let free = json(&args);
    let peak = free["peak_rss_bytes"].as_u64().unwrap() >> 20;
    let foreseen = free["memory"]["predicted_rss"].as_u64().unwrap() >> 20;
    assert!(
        foreseen * 20 > peak * 17 && foreseen * 20 < peak * 23,
        "{foreseen} MiB foreseen, {peak} taken"
    );

    let refused = aphelion(&[&args[..], &["--max-memory", "64M"]].concat());
    assert_eq!(refused.status.code(), Some(2));
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(message.contains("are needed at least, 64 MiB are allowed"), "{message}");

    // room neither for the masks of keys, which are as large as the rest of them, nor for all weights
    let part = |name: &str| free["memory"][name].as_u64().unwrap();
    let some = (part("predicted_rss") - part("keys") / 2 - part("weights") / 2) >> 20;
    let report = within(some);
    let (taken, encoded) = (&report["peak_rss_bytes"], &report["memory"]);
    assert!(
        taken.as_u64().unwrap() <= some << 20,
        "{taken} bytes instead of {some} MiB"
    );
    assert!(encoded["weights"].as_u64() < encoded["all_weights"].as_u64());
    assert_eq!(report["error"], free["error"]);
}

#[test]
fn unused_slots_take_more_samples() {
    let model = "examples/models/logreg_bc.onnx";
    let data = "examples/data/bc_test.npz";
    let input = ["infer", model, "--input", data, "--samples", "100", "--batch", "auto"];
    let report = json(&[input.as_slice(), &["--labels", &format!("{data}:y"), "--json"]].concat());
    check(&report, 8.0);
    let (batch, per_sample) = (
        report["batch"].as_f64().unwrap(),
        report["evaluate_per_sample_s"].as_f64().unwrap(),
    );
    assert!(
        batch >= 32.0 && per_sample < report["time_s"]["evaluate"].as_f64().unwrap() / 16.0,
        "{report}"
    );
}

#[test]
fn a_perceptron_with_approximated_activations() {
    check(&infer("mlp_credit", "credit_test", "3", "100..250"), 8.0);
}

/// Its ring of 2^16 is too large for a test: the program runs on real numbers, with the noise of its parameters.
#[test]
fn a_deep_network_under_simulated_noise() {
    let report = json(&[
        "infer",
        "examples/models/cnn1d_gunpoint.onnx",
        "--input",
        "examples/data/gunpoint_test.npz",
        "--samples",
        "10",
        "--labels",
        "examples/data/gunpoint_test.npz:y",
        "--calibrate",
        "examples/data/gunpoint_test.npz",
        "--calibrate-rows",
        "50..100",
        "--simulate",
        "--json",
    ]);
    assert_eq!(report["params"]["secure"], true);
    let bits = |which: &str| report[which]["bits"].as_f64().unwrap();
    assert!(bits("error") >= 8.0, "{report}");
    // Polynomials take their part of the error, and the compiler foresees the other.
    assert!(bits("noise") > bits("error"), "{report}");
    assert!(
        (bits("noise") - report["predicted_bits"].as_f64().unwrap()).abs() < 2.0,
        "{report}"
    );
    assert_eq!(report["argmax_agreement"]["same"], 10);
    let samples = report["by_sample"].as_array().unwrap();
    assert_eq!(samples.len(), 10);
    for sample in samples {
        assert_eq!(sample["clear_class"], sample["simulated_class"]);
        assert!(sample["lead"].as_f64().unwrap() > 0.0);
    }
}

fn compile(folder: &Path, name: &str, batch: &str) -> PathBuf {
    let path = folder.join(name);
    let data = "examples/data/mnist_test.npz";
    let plan = path.display().to_string();
    let args = [
        "compile",
        "examples/models/mlp_sq.onnx",
        "--calibrate",
        data,
        "--batch",
        batch,
        "-o",
        &plan,
        "--json",
    ];
    let report = json(&args);
    assert_eq!(report["batch"].to_string(), batch);
    assert_eq!(report["plan_bytes"], std::fs::metadata(&path).unwrap().len());
    assert!(report["predicted_bits"].as_f64().unwrap() >= 10.0);
    path
}

#[test]
fn two_compilations_give_the_same_bytes_and_roles_run_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let plan = compile(folder, "a.aph", "1");
    assert_eq!(
        std::fs::read(&plan).unwrap(),
        std::fs::read(compile(folder, "b.aph", "1")).unwrap()
    );
    by_roles(folder, "2", 2);
}

/// Two runs of four samples, the second of them with places to spare.
#[test]
fn roles_run_four_samples_at_once() {
    let folder = tempfile::tempdir().unwrap();
    compile(folder.path(), "a.aph", "4");
    let runs = by_roles(folder.path(), "5", 5);
    assert_eq!(runs, 2);
}

/// Runs the plan `a.aph` by client and server on the first samples, checks the results, and returns the number of runs.
fn by_roles(folder: &Path, samples: &str, n_samples: usize) -> u64 {
    let path = |name: &str| folder.join(name).display().to_string();
    let (plan, c, s) = (path("a.aph"), path("C"), path("S"));
    let (x, y, clear) = (path("x.ct"), path("y.ct"), path("Y.npy"));
    json(&["keygen", &plan, "--client", &c, "--server", &s, "--json"]);
    let data = "examples/data/mnist_test.npz";
    json(&[
        "encrypt",
        &plan,
        "--keys",
        &c,
        "--input",
        data,
        "--samples",
        samples,
        "-o",
        &x,
        "--json",
    ]);
    let run = json(&["run", &plan, "--keys", &s, "--input", &x, "-o", &y, "--json"]);
    json(&["decrypt", &plan, "--keys", &c, "--input", &y, "-o", &clear, "--json"]);
    let found = load(&clear, &[]).unwrap();
    let expected = load("examples/data/clear_logits.npz:mlp_sq", &[]).unwrap();
    assert_eq!(found.shape, [n_samples, 10]);
    let largest = expected
        .values
        .iter()
        .fold(0.0f64, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.values.iter().zip(&expected.values) {
        assert!(
            (found - expected).abs() < largest / 1024.0,
            "{found} instead of {expected}"
        );
    }
    run["runs"].as_u64().unwrap()
}

#[test]
fn models_that_cannot_be_compiled_are_bad_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.onnx");
    std::fs::write(&path, b"not a model").unwrap();
    let output = aphelion(&[
        "infer",
        &path.display().to_string(),
        "--input",
        "examples/data/mnist_test.npz",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ONNX"));
    let output = aphelion(&[
        "infer",
        "examples/models/mlp_sq.onnx",
        "--input",
        "examples/data/bc_test.npz",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("[1, 784]"));
}

#[test]
fn programs_can_be_printed() {
    let output = aphelion(&["opt", "examples/models/logreg_bc.onnx"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("nn @") && text.contains("gemm"), "{text}");
}
