//! The page about a plan: complete in itself, the same every time, with every layer, bootstrap and measurement on it.

use std::path::Path;
use std::process::Command;

use aphelion::explain::{Analysis, Measured, html};
use aphelion_backends::cpu::{PlanInfo, plan};
use aphelion_ir::ckks::{BootstrapSpec, Ckks, CkksOp, ParameterSpec, Secret};
use aphelion_ir::slot::Layout;
use aphelion_ir::{ConstantPool, Graph, Origin, ValueId};
use aphelion_passes::cost_model::CostTable;
use aphelion_runtime::ckks::boot::{BootstrapCircuit, BootstrapPlan, BootstrapRequest, Content};
use aphelion_runtime::ckks::params::{Parameters, SecretDistribution, Security};
use aphelion_runtime::plan::{CostTableId, Plan, Report, ValueReport};

const LOG_N: u32 = 9;
const SLOTS: usize = 256;
/// Where bootstraps lead.
const LEVELS: usize = 4;

fn chain() -> BootstrapPlan {
    let request = BootstrapRequest {
        log_n: LOG_N,
        slots: SLOTS,
        content: Content::Real,
        bits: 18.0,
        levels: LEVELS - 2,
        log_scale: 40.0,
        security: Security::None,
    };
    let circuit = BootstrapCircuit {
        log_ratio: 8.0,
        arcsine_degree: 3,
        doublings: 3,
        log_reduction_prime: 49.3,
        takes_halves_apart: false,
        coeffs_to_slots: vec![4, 4],
        slots_to_coeffs: 2,
        digits: None,
        secret: SecretDistribution::UniformTernary,
        ephemeral_weight: 16,
        failure_log2: -30.0,
    };
    BootstrapPlan::with_circuit(&request, &circuit).expect("a chain")
}

/// Squares until no level is left, then a bootstrap, four times over. Names are chosen to be dangerous in HTML.
fn deep_plan() -> Plan {
    let chain = chain();
    let literal = chain.literal().clone();
    let mut graph: Graph<Ckks> = Graph::new("deep & <wide>", ConstantPool::default());
    graph.attrs.packing.slots = SLOTS;
    graph.attrs.parameters = Some(ParameterSpec {
        log_n: LOG_N,
        max_level: LEVELS as u32,
        log_scale: 40,
        log_q0: 48,
        dnum: literal.dnum as u32,
        log_special: 49,
        n_special: literal.p.len() as u32,
        gadgets: None,
        secret: Secret::UniformTernary {},
        bootstrap: Some(BootstrapSpec {
            slots: SLOTS,
            pairs: false,
            bits: 18.0,
            levels: chain.output_level() as u32,
            input_level: chain.input_level() as u32,
            total_levels: literal.q.len() as u32 - 1,
            log_error: -20.0,
        }),
    });
    let layout = Layout::dense(&[1, 8], SLOTS);
    let mut push = |op: CkksOp, name: &str| -> (ValueId, u32) {
        let id = graph.push(op, Origin::new(name, "Square")).expect("a valid op");
        (id, graph.ty(id).level)
    };
    let input = CkksOp::Input {
        name: "x".into(),
        layout: layout.clone(),
        scale: 1.0,
        level: LEVELS as u32,
    };
    let (mut x, mut level) = push(input, "x");
    for number in 0..8 {
        let name = format!("layer<{number}>");
        if level == chain.input_level() as u32 {
            (x, _) = push(
                CkksOp::Bootstrap {
                    x,
                    to: LEVELS as u32,
                    slots: 8,
                },
                &name,
            );
        }
        let (product, _) = push(CkksOp::Mul { a: x, b: x }, &name);
        let (linear, _) = push(CkksOp::Relinearize { x: product }, &name);
        (x, level) = push(CkksOp::Rescale { x: linear }, &name);
    }
    graph.output("y", x);
    graph.attrs.output_layouts = vec![layout];
    graph.attrs.packing.output_scales = vec![1.0];
    graph.attrs.packing.client_ops = vec![Vec::new()];
    let value = |origin: &str, bits: Option<f64>| ValueReport {
        origin: format!("`{origin}` (Square)"),
        elements: 8,
        ciphertexts: 1,
        slots: SLOTS,
        period: 8,
        bits,
    };
    let info = PlanInfo {
        parameters: literal,
        bootstrap: Some(chain),
        model_hash: "b007".into(),
        op_seconds: Vec::new(),
        input_ranges: Default::default(),
        report: Report {
            predicted_evaluate_s: Some(2.0),
            predicted_bits: Some(14.5),
            instruction_s: Vec::new(),
            cost_table: Some(CostTableId {
                source: "measured elsewhere".into(),
                hash: "0123456789abcdef0123".into(),
            }),
            values: vec![
                value("x", Some(21.0)),
                value("layer<0>", Some(17.25)),
                value("layer<7>", None),
            ],
            passes: vec![("approximate".into(), [("precision_bits".into(), 9.5)].into())],
        },
    };
    plan(&graph, &info).expect("a plan")
}

fn page(plan: &Plan, measured: Option<Measured>) -> String {
    let params = Parameters::new(plan.client().parameters.clone()).expect("parameters");
    html(&Analysis::new(plan, &params, &CostTable::default(), measured))
}

/// Every element is closed, in the right order.
#[track_caller]
fn check_nesting(page: &str) {
    const EMPTY: [&str; 1] = ["meta"];
    let mut open: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1).filter(|tag| !tag.starts_with('!')) {
        let end = tag.find('>').expect("tags end");
        let (tag, closes_itself) = (&tag[..end], tag[..end].ends_with('/'));
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed)),
            None if closes_itself => {}
            None => {
                let name = tag.split([' ', '\n']).next().unwrap_or(tag);
                if !EMPTY.contains(&name) {
                    open.push(name);
                }
            }
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn a_plan_with_bootstraps_becomes_one_complete_page() {
    let plan = deep_plan();
    let first = page(&plan, None);
    assert_eq!(first, page(&deep_plan(), None), "two pages about one plan differ");
    check_nesting(&first);
    for outside in ["http", "<script", "<link", "<img", "url(", "@import"] {
        assert!(!first.contains(outside), "the page refers to {outside}");
    }
    assert!(first.contains("<title>deep &amp; &lt;wide&gt;: plan</title>") && !first.contains("layer<0"));
    for words in [
        "layer&lt;0&gt; (Square)",
        "8. layer&lt;7&gt;",
        "bootstraps restore levels",
        "they protect nothing",
        "measured elsewhere (0123456789abcdef)",
        "<b>9.5 bits</b>",
        "17.2",
        "to a sparse secret of weight 16 and back",
    ] {
        assert!(first.contains(words), "`{words}` is missing");
    }
}

#[test]
fn measured_times_stand_beside_predicted_ones() {
    let plan = deep_plan();
    let instructions = vec![0.25; plan.program().instructions.len()];
    let measured = Measured {
        wall: 0.25 * instructions.len() as f64,
        instructions,
        samples: 3,
    };
    let page = page(&plan, Some(measured));
    check_nesting(&page);
    let wall = format!("{:.2} s", 0.25 * plan.program().instructions.len() as f64);
    for words in [wall.as_str(), "means over 3 samples", "500.0 ms</td></tr>"] {
        assert!(page.contains(words), "`{words}` is missing");
    }
}

#[test]
fn traces_of_other_plans_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.json");
    let plan = deep_plan();
    let refused = |text: &str| {
        std::fs::write(&path, text).expect("written");
        Measured::read(&path, &plan).unwrap_err().to_string()
    };
    assert!(refused("[]").contains("t.json: no trace of a run"));
    assert!(refused(r#"{"traceEvents": []}"#).contains("0 events"));
    let event = r#"{"name": "fly", "ts": 0, "dur": 1, "args": {"instruction": 0, "sample": 0}}"#;
    let events = vec![event; plan.program().instructions.len()].join(",");
    let message = refused(&format!(r#"{{"traceEvents": [{events}]}}"#));
    assert!(
        message.contains("`fly`") && message.contains("another plan"),
        "{message}"
    );
}

/// The whole way: measure the machine, compile with its cost table, run with a trace, explain both.
#[test]
fn prices_and_traces_reach_the_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let aphelion = |args: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_aphelion"))
            .current_dir(folder.path())
            .env("APHELION_COST_TABLE", "")
            .args(args.split_whitespace())
            .output()
            .expect("it runs");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args}: {stderr}");
    };
    aphelion("calibrate-machine --quick -o new/costs.json");
    let model = root.join("examples/models/logreg_bc.onnx").display().to_string();
    let data = root.join("examples/data/bc_test.npz").display().to_string();
    for name in ["a", "b"] {
        aphelion(&format!(
            "compile {model} --calibrate {data} --cost-table new/costs.json -o {name}.aph"
        ));
    }
    let read = |name: &str| std::fs::read(folder.path().join(name)).expect("it is there");
    assert!(
        read("a.aph") == read("b.aph"),
        "two plans of one model and table differ"
    );
    aphelion("keygen a.aph --client C --server S");
    aphelion(&format!("encrypt a.aph --keys C --input {data} --samples 2 -o x.ct"));
    aphelion("run a.aph --keys S --input x.ct -o y.ct --trace t.json");
    aphelion("explain a.aph --html page.html --trace t.json");
    let page = String::from_utf8(read("page.html")).expect("UTF-8");
    for words in ["by calibrate-machine", "means over 2 samples", "Slots in use"] {
        assert!(page.contains(words), "`{words}` is missing");
    }
}
