//! Client and server as processes: the command-line verbs on a small plan, and what they refuse.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aphelion_backends::cpu::{PlanInfo, plan};
use aphelion_frontend::data::{Precision, load, write_npy};
use aphelion_ir::ckks::{Bsgs, Ckks, CkksOp, ParameterSpec, Secret};
use aphelion_ir::slot::{Kernel, Layout, LinearMap};
use aphelion_ir::{ConstantPool, Graph, Origin, Tensor};
use aphelion_runtime::ckks::params::{ChainRequest, ParametersLiteral, SecretDistribution, Security};
use aphelion_runtime::plan::Report;

const SLOTS: usize = 256;
const N_IN: usize = 8;
const N_OUT: usize = 4;

fn weight(row: usize, column: usize) -> f64 {
    ((row * N_IN + column) as f64).sin() / 4.0
}

/// y = W x^2 on 8 inputs and 4 outputs.
fn write_plan(folder: &Path) -> PathBuf {
    let mut graph: Graph<Ckks> = Graph::new("small", ConstantPool::default());
    let values = (0..N_OUT * N_IN).map(|i| weight(i / N_IN, i % N_IN)).collect();
    let weight = graph.constants.insert("w", Tensor::from_f64(vec![N_OUT, N_IN], values));
    let (input, output) = (Layout::dense(&[1, N_IN], SLOTS), Layout::dense(&[1, N_OUT], SLOTS));
    let mut push = |op, name: &str| graph.push(op, Origin::new(name, "Test")).unwrap();
    let x = CkksOp::Input {
        name: "x".into(),
        layout: input.clone(),
        scale: 2.0,
        level: 2,
    };
    let x = push(x, "x");
    let square = push(CkksOp::Mul { a: x, b: x }, "square");
    let square = push(CkksOp::Relinearize { x: square }, "square");
    let square = push(CkksOp::Rescale { x: square }, "square");
    let product = CkksOp::LinearTransform {
        x: square,
        kernel: Kernel {
            map: LinearMap::Dense {
                input: vec![1, N_IN],
                weight,
                transposed: true,
            },
            output: output.clone(),
            fold: vec![4],
        },
        input,
        bsgs: Bsgs {
            baby_steps: vec![0, 1],
            giant_steps: vec![0, 2],
        },
        at: 1,
    };
    let product = push(product, "dense");
    let product = push(CkksOp::Rescale { x: product }, "dense");
    let rotated = push(CkksOp::Rotate { x: product, by: 4 }, "dense");
    let y = push(CkksOp::Add { a: product, b: rotated }, "dense");
    graph.output("y", y);
    graph.attrs.output_layouts = vec![output];
    graph.attrs.packing.slots = SLOTS;
    graph.attrs.packing.output_scales = vec![4.0];
    graph.attrs.packing.client_ops = vec![vec![]];
    graph.attrs.parameters = Some(ParameterSpec {
        log_n: 10,
        max_level: 2,
        log_scale: 38,
        log_q0: 46,
        dnum: 3,
        log_special: 49,
        n_special: 1,
        gadgets: None,
        secret: Secret::UniformTernary {},
        bootstrap: None,
    });
    let parameters = ParametersLiteral::choose(&ChainRequest {
        log_n: 10,
        levels: 2,
        log_scale: 38.0,
        log_q0: 46.0,
        dnum: 3,
        secret: SecretDistribution::UniformTernary,
        security: Security::None,
    });
    let info = PlanInfo {
        parameters: parameters.unwrap(),
        bootstrap: None,
        model_hash: "feed".into(),
        input_ranges: [("x".to_string(), (-1.0, 1.0))].into(),
        report: Report::default(),
        op_seconds: Vec::new(),
    };
    let path = folder.join("small.aph");
    plan(&graph, &info).unwrap().write(&path).unwrap();
    path
}

fn aphelion(folder: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aphelion"));
    command
        .current_dir(folder)
        .env("APHELION_COST_TABLE", "")
        .args(args.split_whitespace())
        .output()
        .unwrap()
}

fn succeeds(folder: &Path, args: &str) -> String {
    let output = aphelion(folder, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn fails(folder: &Path, args: &str, code: i32) -> String {
    let output = aphelion(folder, args);
    let stderr = String::from_utf8_lossy(&output.stderr).to_string();
    assert_eq!(output.status.code(), Some(code), "{args}: {stderr}");
    assert!(output.stdout.is_empty());
    stderr
}

fn write_inputs(folder: &Path, name: &str, scale: f64) -> Vec<Vec<f64>> {
    let samples: Vec<Vec<f64>> = (0..3)
        .map(|sample| (0..N_IN).map(|i| scale * ((sample * 5 + i) as f64).cos()).collect())
        .collect();
    let bytes = write_npy(&[3, N_IN], &samples.concat(), Precision::F64);
    std::fs::write(folder.join(name), bytes).unwrap();
    samples
}

#[test]
fn client_and_server_meet_only_through_files() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_plan(folder);
    let samples = write_inputs(folder, "x.npy", 1.0);

    let keys = succeeds(folder, "keygen small.aph --client C --server S --seed 7 --json");
    let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
    assert_eq!(keys["keys"], 4);
    assert_eq!(
        keys["bytes"],
        std::fs::metadata(folder.join("S/evaluation.keys")).unwrap().len()
    );
    let encrypted = succeeds(
        folder,
        "encrypt small.aph --keys C --input x.npy --samples 2 -o x.ct --json",
    );
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&encrypted).unwrap()["samples"],
        2
    );

    // What the server needs lies in S alone.
    std::fs::create_dir(folder.join("server")).unwrap();
    for file in ["small.aph", "x.ct"] {
        std::fs::copy(folder.join(file), folder.join("server").join(file)).unwrap();
    }
    std::fs::rename(folder.join("S"), folder.join("server/S")).unwrap();
    let run = succeeds(
        &folder.join("server"),
        "run small.aph --keys S --input x.ct -o y.ct --trace t.json --json --threads 2",
    );
    let run: serde_json::Value = serde_json::from_str(&run).unwrap();
    assert_eq!((&run["samples"], &run["threads"]), (&2.into(), &2.into()));
    assert!(run["evaluate_s"].as_f64().unwrap() > 0.0);
    assert!(run["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);
    let trace = std::fs::read_to_string(folder.join("server/t.json")).unwrap();
    let trace: serde_json::Value = serde_json::from_str(&trace).unwrap();
    assert!(trace["traceEvents"].as_array().unwrap().len() >= 8);

    // A run that fails at its very end goes on from its checkpoints, which it then removes.
    let server = folder.join("server");
    fails(
        &server,
        "run small.aph --keys S --input x.ct -o none/z.ct --checkpoint state",
        2,
    );
    let checkpoints = || std::fs::read_dir(server.join("state")).unwrap().count();
    assert_eq!(checkpoints(), 2);
    succeeds(
        &server,
        "run small.aph --keys S --input x.ct -o z.ct --checkpoint state",
    );
    assert_eq!(checkpoints(), 0);
    let bytes = |name: &str| std::fs::read(server.join(name)).unwrap();
    assert_eq!(bytes("z.ct"), bytes("y.ct"));
    let message = fails(
        &server,
        "run small.aph --keys S --input x.ct -o z.ct --max-memory 1M",
        2,
    );
    assert!(message.contains("raise the limit"), "{message}");

    let text = succeeds(folder, "decrypt small.aph --keys C --input server/y.ct -o Y.npy");
    assert!(text.starts_with("sample 0: "), "{text}");
    let results = load(&folder.join("Y.npy").display().to_string(), &[]).unwrap();
    assert_eq!(results.shape, [2, N_OUT]);
    for (sample, found) in samples.iter().zip(results.values.chunks(N_OUT)) {
        for (row, found) in found.iter().enumerate() {
            let expected: f64 = sample.iter().enumerate().map(|(i, x)| weight(row, i) * x * x).sum();
            assert!((found - expected).abs() < 1e-5, "{found} instead of {expected}");
        }
    }

    succeeds(
        folder,
        "decrypt small.aph --keys C --input server/y.ct -o F.npy --flood 20",
    );
    let flooded = load(&folder.join("F.npy").display().to_string(), &[]).unwrap();
    let moved = flooded.values.iter().zip(&results.values).map(|(a, b)| (a - b).abs());
    let moved = moved.fold(0.0, f64::max);
    assert!((1e-6..1e-2).contains(&moved), "flooding moved a value by {moved}");
    assert!(fails(folder, "decrypt small.aph --keys C --input server/y.ct --flood 60", 1).contains("modulus"));
}

#[test]
fn keys_of_another_keygen_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_plan(folder);
    write_inputs(folder, "x.npy", 1.0);
    for set in ["1", "2"] {
        succeeds(folder, &format!("keygen small.aph --client C{set} --server S{set}"));
        succeeds(
            folder,
            &format!("encrypt small.aph --keys C{set} --input x.npy -o x{set}.ct"),
        );
        succeeds(
            folder,
            &format!("run small.aph --keys S{set} --input x1.ct -o y{set}.ct"),
        );
    }
    succeeds(folder, "decrypt small.aph --keys C1 --input y1.ct");
    // Another secret key; evaluation keys of another secret; both.
    for wrong in [
        "--keys C2 --input y1.ct",
        "--keys C1 --input y2.ct",
        "--keys C2 --input y2.ct",
    ] {
        let message = fails(folder, &format!("decrypt small.aph {wrong}"), 1);
        assert!(message.contains("does not decrypt under this key"), "{message}");
    }
}

#[test]
fn explain_shows_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    write_plan(folder.path());
    insta::assert_snapshot!(succeeds(folder.path(), "explain small.aph"));
    let report: serde_json::Value = serde_json::from_str(&succeeds(folder.path(), "explain small.aph --json")).unwrap();
    assert_eq!(report["params"]["secure"], false);
    assert_eq!(report["layers"].as_array().unwrap().len(), 2);
    assert_eq!(report["depth"], 2);
}

#[test]
fn what_is_wrong_is_said_with_the_right_code() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_plan(folder);
    assert!(fails(folder, "explain none.aph", 2).contains("none.aph"));
    assert!(fails(folder, "frobnicate", 2).contains("Usage"));
    std::fs::write(folder.join("damaged.aph"), b"APHPLAN\0 and no more").unwrap();
    assert!(fails(folder, "explain damaged.aph", 2).contains("byte 0"));

    succeeds(folder, "keygen small.aph --client C --server S");
    let again = fails(folder, "keygen small.aph --client C --server S", 2);
    assert!(again.contains("secret.key"), "{again}");
    std::fs::write(folder.join("odd.npy"), write_npy(&[5], &[0.0; 5], Precision::F32)).unwrap();
    assert!(fails(folder, "encrypt small.aph --keys C --input odd.npy -o x.ct", 2).contains("shape [5]"));
    assert!(fails(folder, "encrypt small.aph --keys S --input odd.npy -o x.ct", 2).contains("secret.key"));

    write_inputs(folder, "wide.npy", 3.0);
    let output = aphelion(folder, "encrypt small.aph --keys C --input wide.npy -o x.ct");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("outside [-1, 1]"));
    assert!(fails(folder, "decrypt small.aph --keys C --input x.ct", 2).contains("results are expected"));
    // Keys of another secret give an evaluation that cannot be told from a right one; keys cut short are found.
    let keys = std::fs::read(folder.join("S/evaluation.keys")).unwrap();
    std::fs::write(folder.join("S/evaluation.keys"), &keys[..keys.len() / 2]).unwrap();
    let cut = fails(folder, "run small.aph --keys S --input x.ct -o y.ct", 2);
    assert!(cut.starts_with("error: "), "{cut}");
}

#[test]
fn every_verb_has_help_with_an_example() {
    let folder = tempfile::tempdir().unwrap();
    for verb in [
        "explain",
        "keygen",
        "encrypt",
        "run",
        "decrypt",
        "bench primitives",
        "calibrate-machine",
    ] {
        let help = succeeds(folder.path(), &format!("{verb} --help"));
        assert!(help.contains(&format!("Examples:\n  aphelion {verb}")), "{help}");
    }
    assert!(succeeds(folder.path(), "--help").contains("Examples:"));
}
