//! Bad input at the command line: damaged, missing and wrong files of every kind end with a message that names the file
//! or node and with exit code 2, never with a panic, and without taking memory that only a damaged length asks for.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use aphelion_frontend::data::{Precision, write_npy};
use aphelion_frontend::onnx::proto::{ModelProto, TensorProto};
use prost::Message;
use tempfile::TempDir;

/// Address space that a process may take where the system can limit it, in KiB.
const MEMORY_KIB: u32 = 16 << 20;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn aphelion(folder: &Path, args: &str) -> Output {
    let mut command = Command::new("sh");
    let script = format!(r#"ulimit -v {MEMORY_KIB} 2>/dev/null; exec "$0" "$@""#);
    command
        .current_dir(folder)
        .env("APHELION_COST_TABLE", "")
        .args(["-c", &script, env!("CARGO_BIN_EXE_aphelion")])
        .args(args.split_whitespace())
        .output()
        .unwrap()
}

fn succeeds(folder: &Path, args: &str) {
    let output = aphelion(folder, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args}: {stderr}");
}

/// The run ends with exit code 2 and an error that holds all of `words`.
#[track_caller]
fn refuses(folder: &Path, args: &str, words: &[&str]) {
    let output = aphelion(folder, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args}: {stderr}");
    assert!(output.stdout.is_empty(), "{args}");
    let message = stderr.split("error: ").nth(1).unwrap_or_default();
    for word in words {
        assert!(message.contains(word), "{args}: no `{word}` in: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{args}: {stderr}");
}

/// A logistic regression compiled, with keys, an encrypted sample and an encrypted result.
fn roles() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["models/logreg_bc.onnx", "data/bc_test.npz"] {
        let path = example(name);
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    for args in [
        "compile logreg_bc.onnx --calibrate bc_test.npz -o p.aph",
        "keygen p.aph --client C --server S --seed 1",
        "encrypt p.aph --keys C --input bc_test.npz --samples 1 -o x.ct",
        "run p.aph --keys S --input x.ct -o y.ct",
    ] {
        succeeds(folder.path(), args);
    }
    folder
}

/// `bytes` cut short, at the ends of headers and elsewhere.
fn cuts(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let n = bytes.len();
    [0, 1, 7, 8, 12, 40, n / 3, n - 33, n - 1]
        .into_iter()
        .map(|at| bytes[..at].to_vec())
}

/// `bytes` with one byte changed, at the front, at the back and evenly between.
fn changes(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let n = bytes.len();
    let between = (1..8).map(move |part| part * n / 8);
    [0, 9, 20].into_iter().chain(between).chain([n - 1]).map(|at| {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x55;
        changed
    })
}

/// The file `name`, cut and changed, is refused under its name by what reads it.
fn damaged(folder: &Path, name: &str, args: &str) {
    let path = folder.join(name);
    let bytes = std::fs::read(&path).unwrap();
    for wrong in cuts(&bytes).chain(changes(&bytes)) {
        std::fs::write(&path, wrong).unwrap();
        refuses(folder, args, &[name]);
    }
    std::fs::write(&path, bytes).unwrap();
}

const RUN: &str = "run p.aph --keys S --input x.ct -o again.ct";
const DECRYPT: &str = "decrypt p.aph --keys C --input y.ct";

#[test]
fn damaged_files_of_the_roles() {
    let folder = roles();
    let folder = folder.path();
    damaged(folder, "p.aph", RUN);
    damaged(folder, "C/secret.key", DECRYPT);
    damaged(folder, "S/evaluation.keys", RUN);
    damaged(folder, "x.ct", RUN);
    damaged(folder, "y.ct", DECRYPT);
    // What was put back still works.
    succeeds(folder, RUN);
    succeeds(folder, DECRYPT);
}

#[test]
fn files_of_another_plan() {
    let folder = roles();
    let folder = folder.path();
    succeeds(
        folder,
        "compile logreg_bc.onnx --calibrate bc_test.npz --log-n 13 -o other.aph",
    );
    succeeds(folder, "keygen other.aph --client D --server T --seed 1");
    succeeds(
        folder,
        "encrypt other.aph --keys D --input bc_test.npz --samples 1 -o other.ct",
    );
    let parameters = "other parameters";
    refuses(
        folder,
        "decrypt p.aph --keys D --input y.ct",
        &["D/secret.key", parameters],
    );
    refuses(
        folder,
        "encrypt p.aph --keys D --input bc_test.npz -o z.ct",
        &["D/secret.key", parameters],
    );
    refuses(
        folder,
        "run p.aph --keys T --input x.ct -o z.ct",
        &["T/evaluation.keys", parameters],
    );
    refuses(
        folder,
        "run p.aph --keys S --input other.ct -o z.ct",
        &["other.ct", "another plan"],
    );
    // A file of one kind in place of another.
    std::fs::copy(folder.join("C/secret.key"), folder.join("T/evaluation.keys")).unwrap();
    refuses(
        folder,
        "run p.aph --keys T --input x.ct -o z.ct",
        &["T/evaluation.keys", "secret key"],
    );
    refuses(folder, "explain x.ct", &["x.ct"]);
    refuses(folder, "run p.aph --keys S --input p.aph -o z.ct", &["p.aph"]);
    refuses(folder, "opt p.aph", &["p.aph"]);
}

#[test]
fn missing_files() {
    let folder = roles();
    let folder = folder.path();
    for (args, name) in [
        ("compile none.onnx -o z.aph", "none.onnx"),
        ("compile none.aph-model -o z.aph", "none.aph-model"),
        ("compile logreg_bc.onnx --calibrate none.npz -o z.aph", "none.npz"),
        ("compile logreg_bc.onnx --input-range 0..1 -o none/z.aph", "none/z.aph"),
        ("infer logreg_bc.onnx --input none.npy", "none.npy"),
        ("keygen none.aph --client D --server T", "none.aph"),
        (
            "encrypt p.aph --keys none --input bc_test.npz -o z.ct",
            "none/secret.key",
        ),
        ("encrypt p.aph --keys C --input none.npy -o z.ct", "none.npy"),
        ("run p.aph --keys none --input x.ct -o z.ct", "none/evaluation.keys"),
        ("run p.aph --keys S --input none.ct -o z.ct", "none.ct"),
        ("decrypt p.aph --keys C --input none.ct", "none.ct"),
        ("opt none.air", "none.air"),
    ] {
        refuses(folder, args, &[name]);
    }
}

#[test]
fn inputs_that_are_no_inputs() {
    let folder = roles();
    let folder = folder.path();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    let good = write_npy(&[2, 30], &[0.25; 60], Precision::F32);
    write("x.npy", &good);
    succeeds(folder, "encrypt p.aph --keys C --input x.npy -o x.ct");

    for cut in cuts(&good) {
        write("cut.npy", &cut);
        refuses(folder, "encrypt p.aph --keys C --input cut.npy -o z.ct", &["cut.npy"]);
    }
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 30), }\n";
    let length = [header.len() as u8, 0];
    write("huge.npy", &[&good[..8], &length, header.as_bytes(), &[0; 60]].concat());
    refuses(folder, "encrypt p.aph --keys C --input huge.npy -o z.ct", &["huge.npy"]);

    write("wide.npy", &write_npy(&[2, 31], &[0.25; 62], Precision::F32));
    let shapes = ["wide.npy", "[2, 31]", "[1, 30]"];
    refuses(folder, "infer logreg_bc.onnx --input wide.npy", &shapes);
    refuses(folder, "compile logreg_bc.onnx --calibrate wide.npy -o z.aph", &shapes);
    refuses(
        folder,
        "encrypt p.aph --keys C --input bc_test.npz:y -o z.ct",
        &["bc_test.npz:y", "[171]"],
    );
    refuses(
        folder,
        "encrypt p.aph --keys C --input bc_test.npz:z -o z.ct",
        &["bc_test.npz", "z"],
    );

    for (value, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let mut values = [0.25; 60];
        values[31] = value;
        write("odd.npy", &write_npy(&[2, 30], &values, Precision::F64));
        let words = ["odd.npy", "element 31", shown];
        refuses(folder, "encrypt p.aph --keys C --input odd.npy -o z.ct", &words);
        refuses(folder, "infer logreg_bc.onnx --input odd.npy", &words);
        refuses(folder, "compile logreg_bc.onnx --calibrate odd.npy -o z.aph", &words);
    }
}

/// Writes `name` with `change` applied to the logistic regression.
fn write_model(folder: &Path, name: &str, change: impl FnOnce(&mut ModelProto)) {
    let bytes = std::fs::read(example("models/logreg_bc.onnx")).unwrap();
    let mut model = ModelProto::decode(bytes.as_slice()).unwrap();
    change(&mut model);
    std::fs::write(folder.join(name), model.encode_to_vec()).unwrap();
}

/// The first tensor of weights.
fn weights(model: &mut ModelProto) -> &mut TensorProto {
    let tensors = &mut model.graph.as_mut().unwrap().initializer;
    tensors.iter_mut().find(|tensor| tensor.raw_data.is_some()).unwrap()
}

#[test]
fn damaged_models() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let bytes = std::fs::read(example("models/logreg_bc.onnx")).unwrap();
    for cut in cuts(&bytes) {
        std::fs::write(folder.join("cut.onnx"), cut).unwrap();
        refuses(folder, "opt cut.onnx", &["cut.onnx"]);
    }
    for changed in changes(&bytes) {
        std::fs::write(folder.join("changed.onnx"), changed).unwrap();
        // A change of a weight or of a name leaves a model; nothing marks it as damaged.
        if !aphelion(folder, "opt changed.onnx").status.success() {
            refuses(folder, "opt changed.onnx", &["changed.onnx"]);
        }
    }
    std::fs::write(folder.join("cut.aph-model"), "model m {\n  input x: [1, 4\n").unwrap();
    refuses(folder, "opt cut.aph-model", &["cut.aph-model"]);
    std::fs::write(folder.join("model.txt"), "").unwrap();
    refuses(folder, "compile model.txt -o z.aph", &["model.txt", ".onnx"]);

    let mut name = String::new();
    write_model(folder, "nan.onnx", |model| {
        let tensor = weights(model);
        name = tensor.name.clone().unwrap();
        tensor.raw_data.as_mut().unwrap()[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    refuses(
        folder,
        "compile nan.onnx --input-range 0..1 -o z.aph",
        &["nan.onnx", &name, "NaN"],
    );
    write_model(folder, "huge.onnx", |model| {
        weights(model).dims = vec![1 << 30, 1 << 30]
    });
    refuses(
        folder,
        "compile huge.onnx --input-range 0..1 -o z.aph",
        &["huge.onnx", &name],
    );
    write_model(folder, "unknown.onnx", |model| {
        let node = &mut model.graph.as_mut().unwrap().node[0];
        (node.op_type, node.name) = (Some("NonMaxSuppression".into()), Some("boxes".into()));
    });
    let words = ["unknown.onnx", "boxes", "NonMaxSuppression", "supported operators"];
    refuses(folder, "compile unknown.onnx --input-range 0..1 -o z.aph", &words);
}

#[test]
fn models_that_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let model = |name: &str| example(&format!("models/{name}.onnx")).display().to_string();
    let data = |name: &str| example(&format!("data/{name}.npz")).display().to_string();
    let compile = |name: &str, more: &str| format!("compile {} {more} -o z.aph", model(name));

    // Max pooling has no polynomial of its own.
    let args = compile("lenet_relu", &format!("--calibrate {}", data("mnist_test")));
    refuses(folder, &args, &["pool"]);
    // The ring is too small for the depth.
    let args = compile("mlp_credit", &format!("--calibrate {} --log-n 12", data("credit_test")));
    refuses(folder, &args, &["2^12"]);
    let args = compile(
        "logreg_bc",
        &format!("--calibrate {} --max-key-memory 1K", data("bc_test")),
    );
    refuses(folder, &args, &["key"]);
    // Nothing is known about the inputs.
    refuses(folder, &compile("mlp_credit", ""), &["calibrat"]);
    let args = compile(
        "logreg_bc",
        &format!("--calibrate {} --calibrate-rows 100..900", data("bc_test")),
    );
    refuses(folder, &args, &["100..900"]);
    assert!(!folder.join("z.aph").exists());
}
