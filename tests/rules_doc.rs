//! `docs/rewrite-rules.md` tells what every rewrite rule wins on the example models. `UPDATE_DOCS=1 cargo test --test
//! rules_doc` measures anew and writes it, in a minute or two; without the variable, the test checks that the document tells
//! of every rule there is and of no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use aphelion::driver::data::load_samples;
use aphelion::driver::model::Model;
use aphelion_ir::ckks::{ParameterSpec, Secret};
use aphelion_passes::cost_model::{CostTable, Workload, predict};
use aphelion_passes::keys::KeyPlan;
use aphelion_passes::pipeline::{AnyGraph, COMPILE, PassManager};
use aphelion_passes::{PassCx, rewrite};
use rayon::prelude::*;

/// Models with the data that their ranges are taken from.
const MODELS: [(&str, &str); 13] = [
    ("logreg_bc.onnx", "bc_test"),
    ("mlp_sq.onnx", "mnist_test"),
    ("cryptonets_sq.onnx", "mnist_test"),
    ("lenet_sq.onnx", "mnist_test"),
    ("mlp_credit.onnx", "credit_test"),
    ("cnn1d_gunpoint.onnx", "gunpoint_test"),
    ("resnet20_cifar10_relu.onnx", "cifar10_foolbox20"),
    ("resnet20_cifar10_poly4.onnx", "cifar10_foolbox20"),
    ("gated_unit.aph-model", "credit_test"),
    ("squeeze_excite.aph-model", "mnist_test"),
    ("attention.aph-model", "gunpoint_test"),
    ("mixed_activations.aph-model", "credit_test"),
    ("interactions.aph-model", "credit_test"),
];

/// The first of them are networks as they are commonly trained.
const N_NETWORKS: usize = 8;

/// Samples that ranges are taken from.
const N_SAMPLES: usize = 40;

const HEAD: &str = "\
# What the rewrite rules win

`aphelion compile --disable-rule RULE` leaves a rule out. The tables tell what that costs on the example models, all other
rules being on: levels of depth more, and the change of the predicted time, without bootstraps, under the parameters that the
depth asks for. A dot means that the program stays as good, the number after it how often the rule applied all the same: others
reach the same program without it. The first row of each table is all rules at once.

`lower_to_slot` composes chains of linear ops and merges sums of them by itself, and folds scales into them, so that plain
networks leave nothing to do; programs with products of several values do. Rules in none of the tables applied nowhere: they
serve programs that other tools write in the text form of `slot`, such as `examples/out_of_tree_pass/window_sums.air`.

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
        gadgets: None,
        secret: Secret::UniformTernary {},
        bootstrap: None,
    }
}

/// The slot program of a model, before the rules.
fn lowered(model: &str, data: &str) -> (PassCx, AnyGraph) {
    let model = Model::load(&root().join(format!("examples/models/{model}"))).expect("a model");
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

fn figures(cx: &PassCx, graph: &AnyGraph, without: &[&str]) -> (Figures, Applied) {
    let mut cx = cx.clone();
    cx.options.disabled_rules = without.iter().map(|rule| rule.to_string()).collect();
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

/// What leaving out rules costs one model, by rule; those that applied nowhere left out.
fn column((model, data): (&str, &str)) -> (String, BTreeMap<&'static str, String>) {
    let (cx, graph) = lowered(model, data);
    let (all, applied) = figures(&cx, &graph, &[]);
    let rules = rewrite::rule_names();
    let without_any = told(all, figures(&cx, &graph, &rules).0);
    // A rule that found nothing to unite leaves the program as it is.
    let used = rules.iter().filter(|rule| applied.contains_key(**rule));
    let cell = |rule: &&'static str| {
        let change = told(all, figures(&cx, &graph, &[rule]).0);
        let count = &applied[*rule];
        (*rule, if change == "·" { format!("· {count}") } else { change })
    };
    (without_any, used.map(cell).collect())
}

fn document() -> String {
    let columns: Vec<_> = MODELS.into_par_iter().map(column).collect();
    let rules = rewrite::rule_names();
    let mut text = HEAD.to_string();
    let mut unused: BTreeSet<&str> = rules.iter().copied().collect();
    for (title, group) in [
        ("Networks", 0..N_NETWORKS),
        ("Programs with products", N_NETWORKS..MODELS.len()),
    ] {
        text.push_str(&format!("## {title}\n\n| rule |"));
        let names = MODELS[group.clone()]
            .iter()
            .map(|(model, _)| model.split('.').next().unwrap_or(model));
        names.for_each(|name| text.push_str(&format!(" `{name}` |")));
        text.push_str(&format!("\n|---|{}\n| all |", "---|".repeat(group.len())));
        columns[group.clone()]
            .iter()
            .for_each(|(all, _)| text.push_str(&format!(" {all} |")));
        text.push('\n');
        for rule in &rules {
            let cells: Vec<Option<&String>> = columns[group.clone()]
                .iter()
                .map(|(_, cells)| cells.get(rule))
                .collect();
            if cells.iter().any(Option::is_some) {
                unused.remove(rule);
                let words = cells.into_iter().map(|cell| cell.map_or("·", String::as_str));
                let words: String = words.map(|words| format!(" {words} |")).collect();
                text.push_str(&format!("| `{rule}` |{words}\n"));
            }
        }
        text.push('\n');
    }
    text.push_str("## In none of them\n\n");
    unused.iter().for_each(|rule| text.push_str(&format!("- `{rule}`\n")));
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
    let starts = |line: &'_ str| line.starts_with("| `") || line.starts_with("- `");
    let rows = text
        .lines()
        .filter(|line| starts(line))
        .filter_map(|line| line.split('`').nth(1));
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
