//! Encrypted inference from the command line: trained models, real data, 128-bit parameters.

use std::path::{Path, PathBuf};
use std::process::Command;

use aphelion_frontend::data::load;

fn aphelion(args: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aphelion"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
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

fn infer(model: &str, data: &str, samples: &str, more: &[&str]) -> serde_json::Value {
    let (model, data) = (
        format!("examples/models/{model}.onnx"),
        format!("examples/data/{data}.npz"),
    );
    let labels = format!("{data}:y");
    let mut args = vec![
        "infer",
        &model,
        "--input",
        &data,
        "--samples",
        samples,
        "--labels",
        &labels,
    ];
    args.extend(["--calibrate", &data, "--json"]);
    args.extend(more);
    json(&args)
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
    let report = infer("logreg_bc", "bc_test", "20", &[]);
    check(&report, 10.0);
    assert_eq!(report["argmax_agreement"]["total"], 20);
    assert_eq!(report["depth"], 1);
}

#[test]
fn a_perceptron_with_squares() {
    check(&infer("mlp_sq", "mnist_test", "2", &["--precision", "12"]), 12.0);
}

#[test]
fn a_small_convolutional_network() {
    check(&infer("cryptonets_sq", "mnist_test", "2", &["--precision", "12"]), 12.0);
}

#[test]
fn lenet_with_squares() {
    check(&infer("lenet_sq", "mnist_test", "1", &["--precision", "11"]), 11.0);
}

fn compile(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let data = "examples/data/mnist_test.npz";
    let plan = path.display().to_string();
    let args = [
        "compile",
        "examples/models/mlp_sq.onnx",
        "--calibrate",
        data,
        "-o",
        &plan,
        "--json",
    ];
    let report = json(&args);
    assert_eq!(report["plan_bytes"], std::fs::metadata(&path).unwrap().len());
    assert!(report["predicted_bits"].as_f64().unwrap() >= 10.0);
    path
}

#[test]
fn two_compilations_give_the_same_bytes_and_roles_run_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let plan = compile(folder, "a.aph");
    assert_eq!(
        std::fs::read(&plan).unwrap(),
        std::fs::read(compile(folder, "b.aph")).unwrap()
    );

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
        "2",
        "-o",
        &x,
        "--json",
    ]);
    json(&["run", &plan, "--keys", &s, "--input", &x, "-o", &y, "--json"]);
    json(&["decrypt", &plan, "--keys", &c, "--input", &y, "-o", &clear, "--json"]);
    let found = load(&clear, &[]).unwrap();
    let expected = load("examples/data/clear_logits.npz:mlp_sq", &[]).unwrap();
    assert_eq!(found.shape, [2, 10]);
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
