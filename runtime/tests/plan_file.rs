//! Plan files: equal plans give equal bytes, what is written comes back, and no damage is more than an error.

use std::collections::{BTreeMap, BTreeSet};

use aphelion_runtime::ckks::keys::KeyRequest;
use aphelion_runtime::ckks::params::{ChainRequest, ParametersLiteral, SecretDistribution, Security};
use aphelion_runtime::ckks::polynomial::{Basis, Polynomial};
use aphelion_runtime::error::Error;
use aphelion_runtime::plan::container::Section;
use aphelion_runtime::plan::{
    ClientOp, ClientPart, ConstantWriter, Counts, Diagonal, Digit, InputPort, Instruction, ModelInfo, Op, OutputPort,
    Packing, Plan, Program, Register, Report, Transform,
};
use proptest::prelude::*;

mod support;
use support::{rebuilt, sections};

const SLOTS: usize = 16;

fn packing(n: usize) -> Packing {
    Packing {
        shape: vec![1, n],
        slots: SLOTS,
        period: n.next_power_of_two(),
        ciphertexts: 1,
        digits: vec![Digit {
            axis: 1,
            extent: n,
            stride: 1,
        }],
    }
}

fn client() -> ClientPart {
    let parameters = ParametersLiteral::choose(&ChainRequest {
        log_n: 6,
        levels: 4,
        log_scale: 30.0,
        log_q0: 40.0,
        dnum: 3,
        secret: SecretDistribution::UniformTernary,
        security: Security::None,
    })
    .unwrap();
    ClientPart {
        model: ModelInfo {
            name: "sample".into(),
            hash: "00".into(),
        },
        parameters,
        batch: 1,
        inputs: vec![InputPort {
            name: "x".into(),
            packing: packing(8),
            scale: 2.0,
            level: 4,
            range: Some((-2.0, 2.0)),
        }],
        outputs: vec![OutputPort {
            name: "y".into(),
            packing: packing(4),
            scale: 1.5,
            client_ops: vec![ClientOp::Softmax { axis: 1 }],
        }],
        keys: KeyRequest {
            relin: (0..=3).collect(),
            conjugation: BTreeSet::new(),
            rotations: [1, 4].map(|step| (step, (0..=4).collect())).into(),
            encapsulation: None,
        },
    }
}

/// Linear transform, bias, square, relinearise, rescale, polynomial, rotation.
fn plan() -> Plan {
    let mut constants = ConstantWriter::new();
    let diagonals = [(0, 0), (0, 1), (4, 0), (4, 1)]
        .into_iter()
        .map(|(giant, baby)| {
            let values: Vec<f64> = (0..8).map(|i| ((i + 3 * giant + baby) as f64).cos()).collect();
            let vector = constants.add(&values).unwrap();
            Diagonal {
                out: 0,
                giant,
                input: 0,
                baby,
                vector,
            }
        })
        .collect();
    let bias = constants.add(&[0.25]).unwrap();
    let r = Register;
    let ops = vec![
        Op::LinearTransform {
            xs: vec![r(0)],
            transform: 0,
            level: 4,
        },
        Op::AddPlain { x: r(1), value: bias },
        Op::Mul { a: r(2), b: r(2) },
        Op::Relinearize { x: r(3) },
        Op::Rescale { x: r(4) },
        Op::PolyEval {
            x: r(5),
            polynomial: 0,
            level: 2,
        },
        Op::Rotate { x: r(6), by: vec![1] },
    ];
    let program = Program {
        instructions: ops.into_iter().map(|op| Instruction { op, origin: 0 }).collect(),
        outputs: vec![vec![r(7)]],
        transforms: vec![Transform {
            slots: SLOTS,
            n_inputs: 1,
            n_outputs: 1,
            diagonals,
        }],
        polynomials: vec![Polynomial::new(Basis::Chebyshev, vec![0.5, 1.0, 0.25, -0.125]).unwrap()],
        origins: vec!["`gemm` (Gemm)".into()],
        bootstrap: None,
        report: Report {
            predicted_evaluate_s: Some(0.125),
            predicted_bits: None,
            passes: vec![("fold".into(), BTreeMap::from([("ops".into(), 3.0)]))],
            ..Report::default()
        },
    };
    Plan::new(client(), program, constants.finish().unwrap()).unwrap()
}

/// Refusal of the sample plan with `from` replaced by `to` in the JSON of a section, checksums being right.
fn refusal(section: Section, from: &str, to: &str) -> String {
    let (mut parts, data) = sections(&plan().to_bytes().unwrap());
    let text = String::from_utf8(parts[section as usize].clone()).unwrap();
    assert!(text.contains(from), "`{from}` is not in {text}");
    parts[section as usize] = text.replacen(from, to, 1).into_bytes();
    Plan::from_bytes(&rebuilt(&parts, &data)).unwrap_err().to_string()
}

#[test]
fn equal_plans_have_equal_bytes_and_come_back() {
    let bytes = plan().to_bytes().unwrap();
    assert_eq!(bytes, plan().to_bytes().unwrap());
    let back = Plan::from_bytes(&bytes).unwrap();
    assert_eq!(back.client(), plan().client());
    assert_eq!(back.program(), plan().program());
    assert_eq!(back.to_bytes().unwrap(), bytes);
    let (parts, data) = sections(&bytes);
    assert_eq!(rebuilt(&parts, &data), bytes);
}

#[test]
fn a_file_is_read_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.aph");
    plan().write(&path).unwrap();
    let opened = Plan::open(&path).unwrap();
    let all = (0..opened.constants().len() as u32)
        .map(aphelion_runtime::plan::VectorId)
        .collect();
    assert_eq!(
        opened.constants().read(&all).unwrap(),
        plan().constants().read(&all).unwrap()
    );
    let client = ClientPart::open(&path).unwrap();
    assert_eq!(client.id().unwrap(), plan().client().id().unwrap());
    std::fs::write(&path, b"APHPLAN").unwrap();
    assert!(matches!(Plan::open(&path), Err(Error::Malformed { .. })));
    assert!(matches!(Plan::open(&folder.path().join("none")), Err(Error::Io { .. })));
}

#[test]
fn counts_follow_the_program() {
    let counts = Counts::of_program(plan().program());
    let expected = Counts {
        rotations: 3,
        hoisted_rotations: 1,
        ct_mults: 3,
        pt_mults: 4 + 2,
        rescales: 2 + 3,
        relinearizations: 3,
        bootstraps: 0,
    };
    assert_eq!(counts, expected);
}

#[test]
fn rules_are_enforced_with_the_place_named() {
    use Section::{Client, ConstantIndex, Program};
    let cases = [
        (
            Program,
            r#""rescale":{"x":4}"#,
            r#""rescale":{"x":9}"#,
            "read before it is written",
        ),
        (
            Program,
            r#""rescale":{"x":4}"#,
            r#""rescale":{"x":0}"#,
            "at its canonical scale",
        ),
        (
            Program,
            r#""relinearize":{"x":3}"#,
            r#""relinearize":{"x":2}"#,
            "two parts",
        ),
        (
            Program,
            r#""mul":{"a":2,"b":2}"#,
            r#""mul":{"a":2,"b":0}"#,
            "factors differ",
        ),
        (Program, r#""by":[1]"#, r#""by":[2]"#, "rotation by 2"),
        (Program, r#""by":[1]"#, r#""by":[0]"#, "rotation by 0"),
        (Program, r#""transform":0"#, r#""transform":1"#, "no transform 1"),
        (Program, r#""polynomial":0"#, r#""polynomial":1"#, "no such polynomial"),
        (
            Program,
            r#""polynomial":0,"level":2"#,
            r#""polynomial":0,"level":1"#,
            "exceeds the level",
        ),
        (
            Program,
            r#""coeffs":[0.5,1.0,0.25,-0.125]"#,
            r#""coeffs":[]"#,
            "polynomial 0",
        ),
        (
            Program,
            r#""n_outputs":1"#,
            r#""n_outputs":2"#,
            "output 1 has no diagonal",
        ),
        (Program, r#"[0,4,0,1,"#, r#"[0,4,0,7,"#, "rotation by 7"),
        (Program, r#""outputs":[[7]]"#, r#""outputs":[[3]]"#, "output `y`"),
        (Program, r#""outputs":[[7]]"#, r#""outputs":[]"#, "output ports"),
        (Program, r#""value":4"#, r#""value":5"#, "no constant 5"),
        (Program, r#""origin":0"#, r#""origin":1"#, "origin 1"),
        (Client, r#""relin":[0,1,2,3]"#, r#""relin":[0,1,2]"#, "level"),
        (Client, r#""relin":[0,1,2,3]"#, r#""relin":[]"#, "lacks the key"),
        (
            Client,
            r#""relin":[0,1,2,3]"#,
            r#""relin":[0,1,2,5]"#,
            "level 5 of at most 4",
        ),
        (Client, r#""stride":1"#, r#""stride":4"#, "outside the 8 slots"),
        (Client, r#""softmax":{"axis":1}"#, r#""softmax":{"axis":2}"#, "softmax"),
        (Client, r#""scale":2.0"#, r#""scale":-2.0"#, "scale -2"),
        (Client, r#""log_n":6"#, r#""log_n":60"#, "2^60"),
        (
            ConstantIndex,
            r#""vectors":[[0,0,8]"#,
            r#""vectors":[[0,0,7]"#,
            "no power of two",
        ),
        (
            ConstantIndex,
            r#""vectors":[[0,0,8]"#,
            r#""vectors":[[3,0,8]"#,
            "block 3",
        ),
        (
            ConstantIndex,
            r#""offset":0"#,
            r#""offset":18446744073709551615"#,
            "constant block 0",
        ),
        (
            ConstantIndex,
            r#""values":"#,
            r#""values":99999999999"#,
            "constant block 0",
        ),
    ];
    for (section, from, to, expected) in cases {
        let message = refusal(section, from, to);
        assert!(message.contains(expected), "{from} -> {to}: {message}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Numbers exchanged and bytes cut within the JSON, with checksums that are right: reading may succeed or fail.
    #[test]
    fn garbled_sections_never_panic(
        section in 0usize..3,
        position: prop::sample::Index,
        number in prop_oneof![Just(u64::MAX), 0u64..20, any::<u64>()],
        cut in 0usize..4,
    ) {
        let (mut parts, data) = sections(&plan().to_bytes().unwrap());
        let bytes = &mut parts[section];
        let digits: Vec<usize> = (0..bytes.len()).filter(|i| bytes[*i].is_ascii_digit()).collect();
        let start = digits[position.index(digits.len())];
        let end = (start + 1 + cut).min(bytes.len());
        bytes.splice(start..end, number.to_string().into_bytes());
        if let Ok(plan) = Plan::from_bytes(&rebuilt(&parts, &data)) {
            let all = (0..plan.constants().len() as u32).map(aphelion_runtime::plan::VectorId).collect();
            let _ = plan.constants().read(&all);
        }
    }

    #[test]
    fn damaged_files_are_errors(position: prop::sample::Index, flip in 1u8..) {
        let mut bytes = plan().to_bytes().unwrap();
        let position = position.index(bytes.len());
        bytes[position] ^= flip;
        let result = Plan::from_bytes(&bytes).and_then(|plan| {
            let all = (0..plan.constants().len() as u32).map(aphelion_runtime::plan::VectorId).collect();
            plan.constants().read(&all)
        });
        prop_assert!(result.is_err());
    }
}
