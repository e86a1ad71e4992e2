//! How models say things: types and places of weights, inputs, versions. What is refused is told in full.

use crate::build::{self, floats, info, model, named, node, tensor, with, with_int, with_ints};
use aphelion_frontend::FrontendError;
use aphelion_frontend::onnx::proto::{
    AttributeProto, DataType, ModelProto, OperatorSetIdProto, SparseTensorProto, StringStringEntryProto, TensorProto,
};
use aphelion_frontend::onnx::{import, import_bytes};
use aphelion_ir::nn::{NnOp, evaluate};
use prost::Message;
use std::collections::BTreeMap;
use std::path::Path;

/// `y = x w` on x = (2, 2).
fn product(weight: TensorProto) -> ModelProto {
    model(
        &[info("x", &[2])],
        &[weight],
        &[named("times", node("Mul", &["x", "w"], &["y"]))],
    )
}

fn run(model: &ModelProto, base_dir: Option<&Path>) -> Result<Vec<f64>, String> {
    let graph = import_bytes(&model.encode_to_vec(), base_dir).map_err(|error| error.to_string())?;
    let inputs = BTreeMap::from([("x".to_string(), vec![2.0, 2.0])]);
    let outputs = evaluate(&graph, &inputs).map_err(|error| error.to_string())?;
    Ok(outputs.concat())
}

fn refusal(model: &ModelProto) -> String {
    match build::import(model) {
        Ok(graph) => panic!("imported: {graph:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn weights_of_every_float_type() {
    let raw = |data_type, bytes: &[u8]| TensorProto {
        raw_data: Some(bytes.to_vec()),
        ..tensor("w", &[2], data_type)
    };
    let words = |data_type, words: &[i32]| TensorProto {
        int32_data: words.to_vec(),
        ..tensor("w", &[2], data_type)
    };
    let encodings = [
        floats("w", &[2], &[1.5, -3.0]),
        raw(DataType::Float, &[1.5f32.to_le_bytes(), (-3f32).to_le_bytes()].concat()),
        raw(
            DataType::Double,
            &[1.5f64.to_le_bytes(), (-3f64).to_le_bytes()].concat(),
        ),
        raw(DataType::Float16, &[0x00, 0x3e, 0x00, 0xc2]),
        raw(DataType::Bfloat16, &[0xc0, 0x3f, 0x40, 0xc0]),
        words(DataType::Float16, &[0x3e00, 0xc200]),
        words(DataType::Bfloat16, &[0x3fc0, 0xc040]),
        TensorProto {
            double_data: vec![1.5, -3.0],
            ..tensor("w", &[2], DataType::Double)
        },
    ];
    for weight in encodings {
        assert_eq!(run(&product(weight.clone()), None), Ok(vec![3.0, -6.0]), "{weight:?}");
    }
}

#[test]
fn weights_of_every_integer_type() {
    let raw = |data_type, bytes: &[u8]| TensorProto {
        raw_data: Some(bytes.to_vec()),
        ..tensor("i", &[2], data_type)
    };
    let words = |data_type| TensorProto {
        int32_data: vec![7, 1],
        ..tensor("i", &[2], data_type)
    };
    let long = |data_type| TensorProto {
        uint64_data: vec![7, 1],
        ..tensor("i", &[2], data_type)
    };
    let encodings = [
        raw(DataType::Uint8, &[7, 1]),
        raw(DataType::Int16, &[7, 0, 1, 0]),
        raw(DataType::Int32, &[7, 0, 0, 0, 1, 0, 0, 0]),
        raw(DataType::Int64, &[7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        words(DataType::Int8),
        words(DataType::Uint8),
        words(DataType::Int16),
        words(DataType::Uint16),
        words(DataType::Int32),
        long(DataType::Uint32),
        long(DataType::Uint64),
        TensorProto {
            int64_data: vec![7, 1],
            ..tensor("i", &[2], DataType::Int64)
        },
    ];
    let cast = |to: DataType, from: &str, into: &str| with_int(node("Cast", &[from], &[into]), "to", to as i64);
    let times = node("Mul", &["x", "w"], &["y"]);
    for integers in encodings {
        let nodes = [cast(DataType::Float, "i", "w"), times.clone()];
        let model = model(&[info("x", &[2])], std::slice::from_ref(&integers), &nodes);
        assert_eq!(run(&model, None), Ok(vec![14.0, 2.0]), "{integers:?}");
    }
    let signed = raw(DataType::Int8, &[0xff, 0]);
    let nodes = [cast(DataType::Float, "i", "w"), times.clone()];
    assert_eq!(
        run(&model(&[info("x", &[2])], std::slice::from_ref(&signed), &nodes), None),
        Ok(vec![-2.0, 0.0])
    );
    let nodes = [cast(DataType::Bool, "i", "b"), cast(DataType::Float, "b", "w"), times];
    assert_eq!(
        run(&model(&[info("x", &[2])], &[signed], &nodes), None),
        Ok(vec![2.0, 0.0])
    );
}

fn external(location: &str, entries: &[(&str, &str)]) -> TensorProto {
    let entry = |(key, value): (&str, &str)| StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value.into()),
    };
    let entries = [("location", location)].into_iter().chain(entries.iter().copied());
    TensorProto {
        external_data: entries.map(entry).collect(),
        data_location: Some(1),
        ..tensor("w", &[2], DataType::Float)
    }
}

#[test]
fn weights_in_files_of_their_own() {
    let folder = tempfile::tempdir().expect("folder");
    let inside = folder.path().join("model");
    std::fs::create_dir_all(inside.join("weights")).expect("folders");
    let data = [9f32, 1.5, -3.0].map(f32::to_le_bytes).concat();
    std::fs::write(inside.join("weights/w.bin"), &data).expect("file");
    std::fs::write(folder.path().join("secret.bin"), &data).expect("file");
    let run = |weight| run(&product(weight), Some(&inside));
    let offset = ("offset", "4");
    assert_eq!(run(external("weights/w.bin", &[offset])), Ok(vec![3.0, -6.0]));
    assert_eq!(
        run(external("./weights/w.bin", &[offset, ("length", "8")])),
        Ok(vec![3.0, -6.0])
    );

    let error = |weight| run(weight).expect_err("refused");
    let outside = "is not a path within the model's folder";
    assert!(error(external("../secret.bin", &[])).contains(outside));
    assert!(error(external("weights/../../secret.bin", &[])).contains(outside));
    assert!(error(external(&folder.path().join("secret.bin").display().to_string(), &[])).contains(outside));
    assert!(error(external("", &[])).contains(outside));
    assert!(error(external("weights/w.bin", &[("length", "12")])).contains("12 bytes are given, the shape needs 8"));
    assert!(error(external("weights/w.bin", &[("offset", "5")])).contains("8 bytes at 5 are needed"));
    assert!(error(external("weights/w.bin", &[("offset", "-1")])).contains("`-1` is no offset"));
    let huge = ("offset", "18446744073709551615");
    assert!(error(external("weights/w.bin", &[huge])).contains("bytes at 18446744073709551615 are needed"));
    assert!(error(external("missing.bin", &[])).contains("missing.bin: "));
    let no_folder = build::import(&product(external("w.bin", &[])))
        .expect_err("refused")
        .to_string();
    assert!(no_folder.contains("the model's folder is not known"), "{no_folder}");

    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.path().join("secret.bin"), inside.join("link.bin")).expect("link");
        assert!(error(external("link.bin", &[])).contains(outside));
    }

    let path = inside.join("model.onnx");
    let mut file = product(external("weights/w.bin", &[offset]));
    file.graph.iter_mut().for_each(|graph| graph.name = None);
    std::fs::write(&path, file.encode_to_vec()).expect("file");
    assert_eq!(import(&path).expect("imports").name, "model");
    let missing = import(inside.join("none.onnx")).expect_err("no file");
    assert!(matches!(missing, FrontendError::Read { .. }), "{missing}");
}

#[test]
fn open_batch_and_listed_weights() {
    let weight = floats("w", &[2], &[1.5, -3.0]);
    let nodes = [node("Mul", &["x", "w"], &["y"])];
    // Old exporters list weights as inputs.
    let listed = model(
        &[info("x", &[0, 2]), info("w", &[2])],
        std::slice::from_ref(&weight),
        &nodes,
    );
    let graph = build::import(&listed).expect("imports");
    let shapes = graph.iter().filter_map(|(_, node)| match &node.op {
        NnOp::Input { name, shape } => Some((name.as_str(), shape.as_slice())),
        _ => None,
    });
    assert_eq!(shapes.collect::<Vec<_>>(), [("x", &[1, 2][..])]);
    let open = model(&[info("x", &[1, 0])], &[weight], &nodes);
    assert!(
        refusal(&open).contains("`x` (Input): dimension 1 (`N`) is not fixed"),
        "{}",
        refusal(&open)
    );
}

#[test]
fn weights_that_are_refused() {
    let message = |weight| refusal(&product(weight));
    let nan = message(floats("w", &[2], &[0.0, f32::NAN]));
    assert_eq!(
        nan,
        "the model has 1 problem:\n  `w` (Initializer): it contains NaN; the model was not trained or not saved \
         properly"
    );
    assert!(message(floats("w", &[2], &[f32::INFINITY, 0.0])).contains("it contains inf"));
    assert!(message(floats("w", &[3], &[1.0, 2.0])).contains("shape [3] needs 3 elements, found 2"));
    assert!(message(floats("w", &[-2], &[1.0, 2.0])).contains("the extent -2 is negative"));
    assert!(message(floats("w", &[1 << 40, 1 << 40], &[1.0])).contains("is too large"));
    assert!(
        message(TensorProto {
            raw_data: Some(vec![0; 7]),
            ..tensor("w", &[2], DataType::Float)
        })
        .contains("7 bytes are no whole number of 4-byte elements")
    );
    assert!(
        message(TensorProto {
            data_type: Some(8),
            ..tensor("w", &[2], DataType::Float)
        })
        .contains("elements of ONNX type 8 are not supported")
    );
    let mut sparse = product(floats("unused", &[2], &[1.0, 2.0]));
    let values = Some(floats("w", &[2], &[1.0, 2.0]));
    let entry = SparseTensorProto { values };
    sparse
        .graph
        .iter_mut()
        .for_each(|graph| graph.sparse_initializer.push(entry.clone()));
    assert!(refusal(&sparse).contains("`w` (Initializer): sparse initialisers are not supported"));
}

#[test]
fn versions() {
    let weight = floats("w", &[2], &[1.0, 2.0]);
    let with_sets = |sets: &[(Option<&str>, i64)]| ModelProto {
        opset_import: (sets.iter())
            .map(|(domain, version)| OperatorSetIdProto {
                domain: domain.map(str::to_string),
                version: Some(*version),
            })
            .collect(),
        ..product(weight.clone())
    };
    assert!(build::import(&with_sets(&[(Some("ai.onnx.ml"), 3), (Some("ai.onnx"), 13)])).is_ok());
    assert!(refusal(&with_sets(&[(None, 6)])).contains("uses operator set 6; 7 to 28 are supported"));
    assert!(refusal(&with_sets(&[(None, 99)])).contains("uses operator set 99"));
    assert!(refusal(&with_sets(&[(Some("ai.onnx.ml"), 3)])).contains("does not say which standard operator set"));
    let ir_version = |version| ModelProto {
        ir_version: version,
        ..product(weight.clone())
    };
    assert!(refusal(&ir_version(Some(99))).contains("version 99 of the ONNX format; versions 3 to 14"));
    assert!(refusal(&ir_version(None)).contains("version 0 of the ONNX format"));
    assert!(refusal(&ModelProto::default()).contains("version 0"));
    let no_graph = ModelProto {
        graph: None,
        ..product(weight.clone())
    };
    assert!(refusal(&no_graph).contains("holds no graph"));
    let garbage = import_bytes(b"GIF89a, not a model", None)
        .expect_err("garbage")
        .to_string();
    assert!(garbage.starts_with("not an ONNX model: "), "{garbage}");
}

#[test]
fn all_problems_come_in_one_report() {
    let nodes = [
        named("grid", node("GridSample", &["x", "x"], &["a"])),
        // Its operand is unknown, which is no problem of its own.
        named("fine", node("Relu", &["a"], &["b"])),
        node("Einsum", &["b"], &["c"]),
        named("old", node("Gelu", &["c"], &["d"])),
        named(
            "foreign",
            aphelion_frontend::onnx::proto::NodeProto {
                domain: Some("com.microsoft".into()),
                ..node("FusedMatMul", &["d", "w"], &["e"])
            },
        ),
        named("odd", with_int(node("Relu", &["x"], &["f"]), "slope", 1)),
        named("conv", with_ints(node("Conv", &["x", "w"], &["g"]), "strides", &[1, 0])),
        named(
            "typed",
            with(
                node("Softmax", &["x"], &["h"]),
                AttributeProto {
                    name: Some("axis".into()),
                    f: Some(1.0),
                    r#type: Some(1),
                    ..Default::default()
                },
            ),
        ),
        named("early", node("Add", &["x", "z"], &["i"])),
        named("shapes", node("Add", &["x", "w"], &["j"])),
        named("twice", node("Neg", &["x"], &["x"])),
        named(
            "pool",
            with_ints(node("MaxPool", &["x"], &["k", "indices"]), "kernel_shape", &[2, 2]),
        ),
        node(
            "Sum",
            &["e", "f", "g", "h", "i", "j", "x", "k", "indices", "nan"],
            &["y"],
        ),
        // Nothing needs this one.
        named("dead", node("NonMaxSuppression", &["x"], &["unwanted"])),
    ];
    let weights = [floats("w", &[1, 1, 3, 3], &[0.0; 9]), floats("nan", &[1], &[f32::NAN])];
    insta::assert_snapshot!(refusal(&model(&[info("x", &[0, 1, 4, 5])], &weights, &nodes)));
}

#[test]
fn uses_that_are_not_supported() {
    let x = info("x", &[1, 2, 4, 4]);
    let refused = |nodes: &[_]| {
        refusal(&model(
            std::slice::from_ref(&x),
            &[floats("w", &[1, 2, 9, 9], &[0.5; 162])],
            nodes,
        ))
    };
    let text = |name: &str, value: &str| AttributeProto {
        name: Some(name.into()),
        s: Some(value.into()),
        r#type: Some(3),
        ..Default::default()
    };
    let pool = with_ints(node("MaxPool", &["x"], &["y"]), "kernel_shape", &[2, 2]);
    let cases = [
        refused(&[with_ints(pool, "dilations", &[2, 2])]),
        refused(&[node("Conv", &["x", "w"], &["y"])]),
        refused(&[with(node("Pad", &["x"], &["y"]), text("mode", "reflect"))]),
        refused(&[with_int(node("Cast", &["x"], &["y"]), "to", 7)]),
        refused(&[node("Reshape", &["x", "x"], &["y"])]),
        refused(&[node("Pow", &["x", "x"], &["y"])]),
        refused(&[node("Range", &["x", "x", "x"], &["y"])]),
        refused(&[with_ints(node("Transpose", &["x"], &["y"]), "perm", &[0, 1, 2, 2])]),
        refused(&[node("Relu", &[], &["y"])]),
        refused(&[node("Relu", &["x"], &["other"])]),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn fixed_batches_are_told_at_the_input() {
    let convolution = |extents: &[i64]| {
        let node = named("conv", node("Conv", &["x", "w"], &["y"]));
        model(&[info("x", extents)], &[floats("w", &[1, 1, 1], &[2.0])], &[node])
    };
    let message = refusal(&convolution(&[8, 1, 4]));
    for words in ["`x` (Input)", "fixes a batch of 8", "open first dimension"] {
        assert!(message.contains(words), "no `{words}` in: {message}");
    }
    for extents in [[1, 1, 4], [0, 1, 4]] {
        build::import(&convolution(&extents)).expect("a batch of one");
    }
    // Without an operator that knows of batches, a first extent is one like any other.
    build::import(&model(&[info("x", &[8, 1, 4])], &[], &[node("Relu", &["x"], &["y"])])).expect("no batch");
}
