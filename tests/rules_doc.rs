//! `docs/rewrite-rules.md` tells what every rewrite rule wins on the example models. `UPDATE_DOCS=1 cargo test --test
//! rules_doc` measures anew and writes it, a minute or two in a release build; without the variable, the test checks that
//! the document tells of every rule there is and of no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use aphelion::driver::data::load_samples;
use aphelion::driver::model::Model;
use aphelion_ir::ckks::{ParameterSpec, Secret};
use aphelion_passes::cost_model::{CostTable, Workload, predict};
use aphelion_passes::keys::KeyPlan;
use aphelion_passes::pipeline::{AnyGraph, COMPILE, PassManager};
use aphelion_passes::{PassCx, rewrite};

/// Models with the data that their ranges are taken from.
const MODELS: [(&str, &str); 6] = [
    ("logreg_bc", "bc_test"),
    ("mlp_sq", "mnist_test"),
    ("cryptonets_sq", "mnist_test"),
    ("lenet_sq", "mnist_test"),
    ("mlp_credit", "credit_test"),
    ("cnn1d_gunpoint", "gunpoint_test"),
];

/// Samples that ranges are taken from.
const N_SAMPLES: usize = 40;

const HEAD: &str = "\
# What the rewrite rules win

`aphelion compile --disable-rule RULE` leaves a rule out. The table tells what that costs on the example models, all other
rules being on: levels of depth more, and the change of the predicted time under the parameters that the depth asks for. A dot
means that the program stays as good, the number after it how often the rule applied all the same. A rule may win nothing here
because no example has its pattern, because others reach the same program without it, or because `lower_to_slot`, which composes
chains of linear ops by itself, leaves nothing to it: then it serves programs that come from elsewhere.

Made by the test `tests/rules_doc.rs`.

";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Depth and predicted seconds of a program.
#[derive(Clone, Copy, PartialEq)]
struct Figures {
    depth: u32,
    seconds: f64,
}

/// How often every rule applied.
type Applied = BTreeMap<String, f64>;

/// Parameters that a program of this depth will probably have: only ratios matter here.
fn parameters(depth: u32) -> ParameterSpec {
    ParameterSpec {
        log_n: match depth {
            0..=5 => 13,
            6..=10 => 14,
            11..=20 => 15,
            _ => 16,
        },
        max_level: depth,
        log_scale: 36,
        log_q0: 41,
        dnum: depth + 1,
        log_special: 45,
        n_special: 1,
        secret: Secret::UniformTernary {},
        bootstrap: None,
    }
}

/// The slot program of a model, before the rules.
fn lowered(model: &str, data: &str) -> (PassCx, AnyGraph) {
    let model = Model::load(&root().join(format!("examples/models/{model}.onnx"))).expect("a model");
    let data = root().join(format!("examples/data/{data}.npz")).display().to_string();
    let samples = load_samples(&[data], &model.inputs()).expect("samples");
    let cx = PassCx {
        samples: samples
            .into_iter()
            .take(N_SAMPLES)
            .map(|sample| sample.concat())
            .collect(),
        ..PassCx::default()
    };
    let names: Vec<&str> = COMPILE
        .iter()
        .map(|step| step.pass)
        .take_while(|name| *name != "rewrite")
        .collect();
    let graph = PassManager::new(&cx)
        .run(&names, AnyGraph::Nn(model.graph))
        .expect("it is lowered");
    (cx, graph)
}

fn figures(cx: &PassCx, graph: &AnyGraph, without: Option<&str>) -> (Figures, Applied) {
    let mut cx = cx.clone();
    cx.options.disabled_rules = without.map(String::from).into_iter().collect();
    let mut manager = PassManager::new(&cx);
    let result = manager.run(&["rewrite", "lower_to_ckks"], graph.clone());
    let applied = manager.reports()[0].stats.0.iter();
    let applied =
        applied.filter_map(|(name, count)| Some((name.strip_prefix("rewrite_applied.")?.to_string(), *count)));
    let applied = applied.collect();
    let AnyGraph::Ckks(graph) = result.expect("it is lowered") else {
        unreachable!("lower_to_ckks yields ckks");
    };
    let workload = Workload::new(&graph, None, &cx.memo).expect("the work is known");
    let keys = KeyPlan::new(&graph, &workload, None).expect("the keys are known");
    let depth = workload.max_level;
    let prediction = predict(&workload, &keys, &parameters(depth), &CostTable::default());
    let figures = Figures {
        depth,
        seconds: prediction.evaluate_s,
    };
    (figures, applied)
}

fn document() -> String {
    let mut columns: Vec<BTreeMap<&str, String>> = Vec::new();
    let rules = rewrite::rule_names();
    for (model, data) in MODELS {
        let (cx, graph) = lowered(model, data);
        let (all, applied) = figures(&cx, &graph, None);
        let cell = |rule: &&'static str| {
            let change = told(all, figures(&cx, &graph, Some(rule)).0);
            let words = match applied.get(*rule) {
                Some(count) if change == "·" => format!("· {count}"),
                _ => change,
            };
            (*rule, words)
        };
        columns.push(rules.iter().map(cell).collect());
    }
    let mut text = HEAD.to_string();
    text.push_str("| rule |");
    MODELS
        .iter()
        .for_each(|(model, _)| text.push_str(&format!(" `{model}` |")));
    text.push_str(&format!("\n|---|{}\n", "---|".repeat(MODELS.len())));
    for rule in rules {
        text.push_str(&format!("| `{rule}` |"));
        columns
            .iter()
            .for_each(|column| text.push_str(&format!(" {} |", column[rule])));
        text.push('\n');
    }
    text
}

/// What leaving a rule out changes.
fn told(all: Figures, without: Figures) -> String {
    let change = 100.0 * (without.seconds / all.seconds - 1.0);
    let levels = i64::from(without.depth) - i64::from(all.depth);
    let time = if change.abs() < 0.05 {
        String::new()
    } else {
        format!("{change:+.1} %")
    };
    match levels {
        0 if time.is_empty() => "·".into(),
        0 => time,
        levels => format!("{levels:+} levels {time}").trim_end().into(),
    }
}

#[test]
fn every_rule_is_in_the_table() {
    let path = root().join("docs/rewrite-rules.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, document()).expect("the document is written");
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let (listed, rules): (BTreeSet<&str>, BTreeSet<&str>) =
        (rows.collect(), rewrite::rule_names().into_iter().collect());
    assert_eq!(listed, rules, "docs/rewrite-rules.md: run with UPDATE_DOCS=1");
}

#[test]
fn changes_are_told_in_few_words() {
    let figures = |depth, seconds| Figures { depth, seconds };
    assert_eq!(told(figures(3, 1.0), figures(3, 1.0)), "·");
    assert_eq!(told(figures(3, 1.0), figures(3, 1.25)), "+25.0 %");
    assert_eq!(told(figures(3, 1.0), figures(4, 2.0)), "+1 levels +100.0 %");
}
