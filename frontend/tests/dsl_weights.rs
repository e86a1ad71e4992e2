//! Weight files: element types, groups, and what is refused.

use aphelion_frontend::FrontendError;
use aphelion_frontend::data::{Precision, write_npy};
use aphelion_frontend::dsl::{self, Import};
use aphelion_ir::nn::evaluate;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn write_safetensors(path: &Path, tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).expect("bytes fit the shape");
        (*name, view)
    });
    serialize_to_file(views, None, path).expect("written");
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn model(statements: &str) -> String {
    format!("model net {{ weights w = \"w.safetensors\" input x: f32[1, 2]\n{statements} }}")
}

fn import(folder: &TempDir, source: &str) -> Result<Import, String> {
    dsl::import_source("net", source, folder.path()).map_err(|errors| errors.to_string())
}

fn outputs(import: &Import, x: &[f64]) -> Vec<f64> {
    let inputs = BTreeMap::from([("x".to_string(), x.to_vec())]);
    evaluate(&import.graph, &inputs)
        .expect("the graph can be evaluated")
        .concat()
}

#[test]
fn floats_of_all_widths() {
    let folder = folder();
    let f64_bytes = [0.1f64, -2.0].map(f64::to_le_bytes).concat();
    write_safetensors(
        &folder.path().join("w.safetensors"),
        &[
            ("half", Dtype::F16, vec![2], vec![0x00, 0x3c, 0x00, 0xc0]),
            ("brain", Dtype::BF16, vec![2], vec![0x80, 0x3f, 0x00, 0xc0]),
            ("single", Dtype::F32, vec![2], f32s(&[1.0, -2.0])),
            ("double", Dtype::F64, vec![2], f64_bytes),
            ("int", Dtype::I32, vec![2], vec![0; 8]),
        ],
    );
    for name in ["half", "brain", "single"] {
        let import = import(&folder, &model(&format!("return x * w.{name}"))).expect("imports");
        assert_eq!(outputs(&import, &[3.0, 5.0]), [3.0, -10.0], "{name}");
    }
    let double = import(&folder, &model("return x * w.double")).expect("imports");
    assert_eq!(outputs(&double, &[1.0, 1.0]), [0.1, -2.0]);
    let refused = import(&folder, &model("return x * w.int")).expect_err("integers are refused");
    assert!(refused.contains("its element type is I32"), "{refused}");
}

#[test]
fn a_group_gives_batch_norm_its_statistics() {
    let folder = folder();
    let vector = |name, values: &[f32]| (name, Dtype::F32, vec![2], f32s(values));
    write_safetensors(
        &folder.path().join("w.safetensors"),
        &[
            vector("bn.weight", &[2.0, 1.0]),
            vector("bn.bias", &[0.5, 0.0]),
            vector("bn.running_mean", &[1.0, 2.0]),
            vector("bn.running_var", &[4.0, 1.0]),
            vector("layers.0.weight", &[1.0, 1.0]),
        ],
    );
    let grouped = import(&folder, &model("return batch_norm(x, w.bn, epsilon = 0)")).expect("imports");
    assert_eq!(outputs(&grouped, &[3.0, 5.0]), [2.5, 3.0]);
    let single = model("return batch_norm(x, w.bn.weight, bias = w.bn.bias, mean = w.bn.running_mean)");
    let missing = import(&folder, &single).expect_err("var is missing");
    assert!(missing.contains("`batch_norm` needs `var`"), "{missing}");
    let numbered = import(&folder, &model("return x + w.layers.0.weight")).expect("imports");
    assert_eq!(outputs(&numbered, &[1.0, 2.0]), [2.0, 3.0]);
}

#[test]
fn values_that_are_not_finite_are_refused_where_they_are_used() {
    let folder = folder();
    write_safetensors(
        &folder.path().join("w.safetensors"),
        &[
            ("good", Dtype::F32, vec![2], f32s(&[1.0, 2.0])),
            ("nan", Dtype::F32, vec![2], f32s(&[1.0, f32::NAN])),
            ("inf", Dtype::F32, vec![2], f32s(&[f32::NEG_INFINITY, 1.0])),
        ],
    );
    assert!(import(&folder, &model("return x + w.good")).is_ok());
    let nan = import(&folder, &model("return x + w.nan")).expect_err("NaN is refused");
    assert!(nan.contains("`w.nan` cannot be used: element 1 is NaN"), "{nan}");
    let infinite = import(&folder, &model("return x + w.inf")).expect_err("infinity is refused");
    assert!(infinite.contains("element 0 is -inf"), "{infinite}");

    let mut archive = zip::ZipWriter::new(std::fs::File::create(folder.path().join("w.npz")).expect("created"));
    let options = zip::write::SimpleFileOptions::default();
    archive.start_file("nan.npy", options).expect("a new entry");
    archive
        .write_all(&write_npy(&[2], &[f64::NAN, 0.0], Precision::F64))
        .expect("written");
    archive.finish().expect("written");
    let npz = model("return x + w.nan").replace("w.safetensors", "w.npz");
    let nan = import(&folder, &npz).expect_err("NaN is refused");
    assert!(nan.contains("element 0 is NaN"), "{nan}");
}

#[test]
fn lengths_are_checked_before_memory_is_taken() {
    let folder = folder();
    let path = folder.path().join("w.safetensors");
    let header = |json: &str| [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat();
    let huge = r#"{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#;
    let overflow = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}"#;
    for (bytes, message) in [
        (vec![], "cannot read it"),
        (u64::MAX.to_le_bytes().to_vec(), "the header claims"),
        (header("{"), "the header is malformed"),
        (
            header(huge),
            "the header describes 4398046511104 bytes of data, the file has 0",
        ),
        (header(overflow), "the header is malformed"),
    ] {
        std::fs::write(&path, bytes).expect("written");
        let refused = import(&folder, &model("return x + w.a")).expect_err("the file is malformed");
        assert!(refused.contains(message), "expected {message} in\n{refused}");
    }
}

#[test]
fn paths_stay_in_the_folder() {
    let (folder, outside) = (folder(), folder());
    let tensors = [("a", Dtype::F32, vec![2], f32s(&[1.0, 2.0]))];
    write_safetensors(&outside.path().join("w.safetensors"), &tensors);
    std::fs::create_dir(folder.path().join("sub")).expect("created");
    write_safetensors(&folder.path().join("sub/w.safetensors"), &tensors);
    let with = |path: &str| model("return x + w.a").replace("\"w.safetensors\"", &format!("\"{path}\""));

    assert!(import(&folder, &with("sub/w.safetensors")).is_ok());
    assert!(import(&folder, &with("./sub/w.safetensors")).is_ok());
    let absolute = outside.path().join("w.safetensors");
    for path in [
        "../w.safetensors",
        "sub/../../w.safetensors",
        "",
        &absolute.display().to_string(),
    ] {
        let refused = import(&folder, &with(path)).expect_err("the path leaves the folder");
        assert!(refused.contains("must stay in the folder"), "{refused}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&absolute, folder.path().join("link.safetensors")).expect("linked");
        let refused = import(&folder, &with("link.safetensors")).expect_err("the link leaves the folder");
        assert!(refused.contains("a link that leaves"), "{refused}");
    }
}

#[test]
fn model_files_that_cannot_be_read() {
    let folder = folder();
    let missing = dsl::import(&folder.path().join("none.aph-model"));
    assert!(matches!(missing, Err(FrontendError::Read { .. })));
    let path = folder.path().join("latin1.aph-model");
    std::fs::write(&path, b"model m { // \xe9\n input x: f32[1] return x }").expect("written");
    let latin1 = dsl::import(&path).expect_err("the text is no UTF-8").to_string();
    assert!(
        latin1.contains("latin1.aph-model") && latin1.contains("utf-8"),
        "{latin1}"
    );
}
