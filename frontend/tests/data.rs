//! numpy files: what is read, what is refused, and that no bytes make the reader panic.

mod mutate;

use aphelion_frontend::data::{Array, Npz, Precision, load, read_npy, read_npz, write_npy};
use mutate::{mutate, mutations};
use proptest::prelude::*;
use std::path::PathBuf;

fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/data")
        .join(name)
}

fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let header_len = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &header_len[..], header.as_bytes(), data].concat()
}

fn read(descr: &str, shape: &str, data: &[u8]) -> Result<Array, String> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    read_npy(&npy(&header, data)).map_err(|error| error.to_string())
}

#[test]
fn element_types() {
    let values = |descr, data: &[u8]| read(descr, "(2,)", data).expect("reads").values;
    assert_eq!(values("|u1", &[7, 255]), [7.0, 255.0]);
    assert_eq!(values("|i1", &[7, 255]), [7.0, -1.0]);
    assert_eq!(values("|b1", &[0, 1]), [0.0, 1.0]);
    assert_eq!(values("<i2", &[0xfe, 0xff, 2, 1]), [-2.0, 258.0]);
    assert_eq!(values(">u2", &[1, 2, 0xff, 0xff]), [258.0, 65535.0]);
    assert_eq!(values("<f2", &[0, 0x3c, 0, 0xc0]), [1.0, -2.0]);
    assert_eq!(
        values("<i4", &[(-5i32).to_le_bytes(), 6i32.to_le_bytes()].concat()),
        [-5.0, 6.0]
    );
    assert_eq!(
        values(">f4", &[1.5f32.to_be_bytes(), 2f32.to_be_bytes()].concat()),
        [1.5, 2.0]
    );
    assert_eq!(
        values("<f8", &[0.1f64.to_le_bytes(), 2f64.to_le_bytes()].concat()),
        [0.1, 2.0]
    );
    assert_eq!(
        values("<i8", &[(-3i64).to_le_bytes(), 4i64.to_le_bytes()].concat()),
        [-3.0, 4.0]
    );
}

#[test]
fn shapes() {
    assert_eq!(read("|u1", "()", &[3]).expect("a scalar").shape, [0usize; 0]);
    assert_eq!(read("|u1", "(0, 5)", &[]).expect("an empty array").shape, [0, 5]);
    assert_eq!(read("|u1", "(2L, 1L)", &[1, 2]).expect("Python 2").shape, [2, 1]);
    let header = "{\"shape\": (2, 3), 'fortran_order': True, 'descr': '|u1'}";
    let array = read_npy(&npy(header, &[1, 2, 3, 4, 5, 6])).expect("Fortran order");
    assert_eq!(
        (array.shape, array.values),
        (vec![2, 3], vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0])
    );
}

#[test]
fn refusals() {
    let message = |descr, shape, data: &[u8]| read(descr, shape, data).expect_err("refused");
    assert!(message("<c8", "(1,)", &[0; 8]).contains("element type '<c8' is not supported"));
    assert!(message("|O", "(1,)", &[0; 8]).contains("element type '|O' is not supported"));
    assert!(message("<f4", "(3,)", &[0; 8]).contains("shape [3] needs 12 bytes of elements, the file has 8"));
    assert!(message("<f4", "(1,)", &[0; 8]).contains("shape [1] needs 4 bytes of elements, the file has 8"));
    assert!(message("<f4", "(4611686018427387905,)", &[0; 4]).contains("is too large"));
    assert!(message("<f4", "(-1,)", &[0; 4]).contains("`-1` is no extent"));
    assert!(message("<i8", "(1,)", &i64::MAX.to_le_bytes()).contains("beyond 2^53"));
    assert!(
        read_npy(b"PK\x03\x04")
            .expect_err("a zip")
            .to_string()
            .contains("does not begin as npy files do")
    );
}

#[test]
fn archives_and_specs() {
    let path = example("credit_test.npz");
    let arrays = read_npz(&std::fs::read(&path).expect("file")).expect("archive");
    assert_eq!(arrays.keys().collect::<Vec<_>>(), ["mean", "std", "x", "y"]);
    assert_eq!(arrays["x"].shape, [300, 61]);
    assert!(arrays["y"].values.iter().all(|y| *y == 0.0 || *y == 1.0));
    let spec = path.display().to_string();
    assert_eq!(load(&spec, &["input", "x"]).expect("the default"), arrays["x"]);
    assert_eq!(load(&format!("{spec}:mean"), &["x"]).expect("by name"), arrays["mean"]);
    let error = load(&spec, &["input"]).expect_err("no such array").to_string();
    assert!(
        error.contains("there is no array input; the archive has: mean, std, x, y. Name one as"),
        "{error}"
    );
    let error = load("missing.npy", &[]).expect_err("no such file").to_string();
    assert!(error.starts_with("missing.npy: "), "{error}");
}

proptest! {
    #[test]
    fn writing_then_reading(shape in prop::collection::vec(0usize..5, 0..4), seed: u32) {
        let n: usize = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|i| (f64::from(seed) + i as f64).sin()).collect();
        let bytes = write_npy(&shape, &values, Precision::F64);
        let n_elements = 8 * n;
        prop_assert_eq!((bytes.len() - n_elements) % 64, 0);
        prop_assert_eq!(&read_npy(&bytes).expect("reads"), &Array { shape: shape.clone(), values: values.clone() });
        let rounded = values.iter().map(|x| f64::from(*x as f32)).collect();
        let single = read_npy(&write_npy(&shape, &values, Precision::F32)).expect("reads");
        prop_assert_eq!(single, Array { shape, values: rounded });
    }

    #[test]
    fn damaged_npy(mutations in mutations()) {
        let bytes = write_npy(&[3, 4], &[0.5; 12], Precision::F32);
        if let Ok(array) = read_npy(&mutate(&bytes, &mutations)) {
            prop_assert_eq!(array.shape.iter().product::<usize>(), array.values.len());
        }
    }

    #[test]
    fn damaged_npz(mutations in mutations()) {
        let bytes = mutate(&std::fs::read(example("credit_test.npz")).expect("file"), &mutations);
        if let Ok(mut archive) = Npz::open(&bytes) {
            let names: Vec<String> = archive.names().map(str::to_string).collect();
            for name in names {
                let _ = archive.array(&name);
            }
        }
    }
}
