//! Every rewrite rule on its own: it fires on its pattern, the result is cheaper as claimed, and both sides compute the
//! same; and random programs compute the same after saturation with all rules.

use aphelion_ir::slot::{Basis, Kernel, Layout, LinearMap, PlainTensor, Polynomial, Slot, SlotOp, evaluate};
use aphelion_ir::{ConstRef, ConstantPool, Graph, Op, Origin, Tensor, ValueId};
use aphelion_passes::lower_to_ckks::consumption;
use aphelion_passes::rewrite::{self, rule_names};
use aphelion_passes::{CompileOptions, PassCx};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SLOTS: usize = 16;

struct Builder(Graph<Slot>);

impl Builder {
    fn new() -> Self {
        let mut pool = ConstantPool::default();
        let weights = (0..16).map(|i| f64::from(i * 7 % 11) / 8.0 - 0.5).collect();
        pool.insert("w", Tensor::from_f64(vec![4, 4], weights));
        pool.insert("p", Tensor::from_f64(vec![4], vec![0.5, -0.25, 2.0, 1.0]));
        let mut graph = Graph::<Slot>::new("rules", pool);
        graph.attrs.slots = SLOTS;
        Builder(graph)
    }

    fn layout() -> Layout {
        Layout::dense(&[1, 4], SLOTS)
    }

    fn op(&mut self, op: SlotOp) -> ValueId {
        self.0.push(op, Origin::new("node", "Op")).expect("the op is valid")
    }

    fn input(&mut self, name: &str) -> ValueId {
        self.op(SlotOp::Input {
            name: name.into(),
            layout: Self::layout(),
            scale: 1.0,
        })
    }

    fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(SlotOp::Add { a, b })
    }

    fn sub(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(SlotOp::Sub { a, b })
    }

    fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.op(SlotOp::Mul { a, b })
    }

    fn neg(&mut self, x: ValueId) -> ValueId {
        self.op(SlotOp::Neg { x })
    }

    fn scale(&mut self, by: f64, x: ValueId) -> ValueId {
        self.op(SlotOp::MulScalar { x, by })
    }

    fn shift(&mut self, by: f64, x: ValueId) -> ValueId {
        self.op(SlotOp::AddScalar { x, by })
    }

    fn plain(&mut self, x: ValueId) -> ValueId {
        let value = PlainTensor {
            value: ConstRef::new("p"),
            factor: 1.5,
        };
        self.op(SlotOp::MulPlain { x, value })
    }

    /// The operand is moved and read where it was: the tensor is rotated cyclically.
    fn rotate(&mut self, by: usize, x: ValueId) -> ValueId {
        self.op(SlotOp::Rotate {
            x,
            by,
            layout: Self::layout(),
        })
    }

    fn linear(&mut self, factor: f64, x: ValueId) -> ValueId {
        let maps = vec![
            LinearMap::Dense {
                input: vec![1, 4],
                weight: ConstRef::new("w"),
                transposed: false,
            },
            LinearMap::Factor {
                shape: vec![1, 4],
                by: factor,
            },
        ];
        let kernel = Kernel {
            map: LinearMap::Compose { maps },
            output: Self::layout(),
            fold: vec![],
        };
        self.op(SlotOp::Linear { x, kernel })
    }

    fn poly(&mut self, coeffs: &[f64], x: ValueId) -> ValueId {
        let poly = Polynomial {
            basis: Basis::Chebyshev {},
            low: -2.0,
            high: 3.0,
            coeffs: coeffs.to_vec(),
        };
        self.op(SlotOp::Poly { x, poly })
    }

    fn finish(mut self, value: ValueId) -> Graph<Slot> {
        self.0.output("y", value);
        self.0.attrs.output_scales = vec![1.0];
        self.0.attrs.client_ops = vec![vec![]];
        self.0
    }
}

fn inputs() -> BTreeMap<String, Vec<f64>> {
    BTreeMap::from([
        ("x".to_string(), vec![0.3, -0.7, 0.9, 0.1]),
        ("y".to_string(), vec![-0.2, 0.8, 0.4, -0.6]),
        ("z".to_string(), vec![0.25, 0.5, -0.75, 0.35]),
    ])
}

fn assert_same(before: &Graph<Slot>, after: &Graph<Slot>, what: &str) {
    after.verify().expect("the rewritten graph is valid");
    let (before, after) = (
        evaluate(before, &inputs()).expect(what),
        evaluate(after, &inputs()).expect(what),
    );
    for (x, y) in before.iter().flatten().zip(after.iter().flatten()) {
        assert!((x - y).abs() < 1e-9 * x.abs().max(1.0), "{what}: {x} became {y}");
    }
}

fn only(rules: &[&str]) -> PassCx {
    let disabled_rules = rule_names()
        .into_iter()
        .filter(|name| !rules.contains(name))
        .map(str::to_string)
        .collect();
    PassCx {
        options: CompileOptions {
            disabled_rules,
            ..CompileOptions::default()
        },
        ..PassCx::default()
    }
}

fn mnemonics(graph: &Graph<Slot>) -> Vec<&'static str> {
    graph
        .iter()
        .map(|(_, node)| node.op.mnemonic())
        .filter(|name| *name != "input")
        .collect()
}

/// Builds a program on three inputs, of which every element is given.
type Program = fn(&mut Builder, [ValueId; 3]) -> ValueId;

struct Case {
    /// The rule on trial.
    rule: &'static str,
    /// Rules that it moves something for; empty when it pays by itself.
    with: &'static [&'static str],
    program: Program,
    /// Ops that are left.
    expected: &'static [&'static str],
}

const fn case(rule: &'static str, program: Program, expected: &'static [&'static str]) -> Case {
    Case {
        rule,
        with: &[],
        program,
        expected,
    }
}

/// A sum, difference or product of two unary results.
macro_rules! pair {
    ($join:ident, $unary:expr) => {
        |b, [x, y, _]| {
            let unary: fn(&mut Builder, ValueId) -> ValueId = $unary;
            let (p, q) = (unary(b, x), unary(b, y));
            b.$join(p, q)
        }
    };
}

/// A chain of two unary ops.
macro_rules! chain {
    ($first:expr, $second:expr) => {
        |b, [x, _, _]| {
            let first: fn(&mut Builder, ValueId) -> ValueId = $first;
            let second: fn(&mut Builder, ValueId) -> ValueId = $second;
            let inner = first(b, x);
            second(b, inner)
        }
    };
}

const CUBIC: [f64; 4] = [0.1, 0.2, 0.3, -0.1];

const CASES: &[Case] = &[
    case(
        "rotate-rotate",
        chain!(|b, x| b.rotate(1, x), |b, x| b.rotate(2, x)),
        &["rotate"],
    ),
    case(
        "rotate-by-period",
        chain!(|b, x| b.rotate(12, x), |b, x| b.neg(x)),
        &["neg"],
    ),
    case(
        "rotate-factor-add",
        pair!(add, |b, x| b.rotate(1, x)),
        &["add", "rotate"],
    ),
    case(
        "rotate-factor-sub",
        pair!(sub, |b, x| b.rotate(1, x)),
        &["sub", "rotate"],
    ),
    case(
        "rotate-factor-mul",
        pair!(mul, |b, x| b.rotate(1, x)),
        &["mul", "rotate"],
    ),
    case(
        "scalar-scalar",
        chain!(|b, x| b.scale(0.5, x), |b, x| b.scale(3.0, x)),
        &["mul_scalar"],
    ),
    case("scalar-one", chain!(|b, x| b.scale(1.0, x), |b, x| b.neg(x)), &["neg"]),
    Case {
        rule: "scalar-minus-one",
        with: &["add-neg"],
        program: |b, [x, y, _]| {
            let minus = b.scale(-1.0, y);
            b.add(x, minus)
        },
        expected: &["sub"],
    },
    Case {
        rule: "scalar-into-mul-left",
        with: &["scalar-scalar"],
        program: |b, [x, y, _]| {
            let scaled = b.scale(3.0, x);
            let product = b.mul(scaled, y);
            b.scale(0.5, product)
        },
        expected: &["mul_scalar", "mul"],
    },
    Case {
        rule: "scalar-into-mul-right",
        with: &["scalar-scalar"],
        program: |b, [x, y, _]| {
            let scaled = b.scale(3.0, y);
            let product = b.mul(x, scaled);
            b.scale(0.5, product)
        },
        expected: &["mul_scalar", "mul"],
    },
    Case {
        rule: "mul-factor-residual-left",
        with: &["shift-shift"],
        program: |b, [x, y, _]| {
            let shifted = b.shift(0.5, y);
            let product = b.mul(x, shifted);
            b.add(product, x)
        },
        expected: &["add_scalar", "mul"],
    },
    Case {
        rule: "mul-factor-residual-right",
        with: &["shift-shift"],
        program: |b, [x, y, _]| {
            let shifted = b.shift(0.5, y);
            let product = b.mul(shifted, x);
            b.add(product, x)
        },
        expected: &["add_scalar", "mul"],
    },
    case(
        "mul-factor-scaled-left",
        |b, [x, y, _]| {
            let product = b.mul(x, y);
            let scaled = b.scale(0.5, x);
            b.add(product, scaled)
        },
        &["add_scalar", "mul"],
    ),
    case(
        "mul-factor-scaled-right",
        |b, [x, y, _]| {
            let product = b.mul(y, x);
            let scaled = b.scale(0.5, x);
            b.add(product, scaled)
        },
        &["add_scalar", "mul"],
    ),
    case(
        "shift-shift",
        chain!(|b, x| b.shift(0.5, x), |b, x| b.shift(3.0, x)),
        &["add_scalar"],
    ),
    case(
        "scalar-out-of-add",
        pair!(add, |b, x| b.scale(0.5, x)),
        &["add", "mul_scalar"],
    ),
    case(
        "scalar-out-of-sub",
        pair!(sub, |b, x| b.scale(0.5, x)),
        &["sub", "mul_scalar"],
    ),
    case("plain-out-of-add", pair!(add, |b, x| b.plain(x)), &["add", "mul_plain"]),
    case(
        "scalar-into-plain",
        chain!(|b, x| b.plain(x), |b, x| b.scale(0.5, x)),
        &["mul_plain"],
    ),
    case(
        "scalar-into-poly",
        chain!(|b, x| b.poly(&CUBIC, x), |b, x| b.scale(0.5, x)),
        &["poly"],
    ),
    case(
        "shift-into-poly",
        chain!(|b, x| b.poly(&CUBIC, x), |b, x| b.shift(0.5, x)),
        &["poly"],
    ),
    case(
        "poly-of-scaled",
        chain!(|b, x| b.scale(0.5, x), |b, x| b.poly(&CUBIC, x)),
        &["poly"],
    ),
    case(
        "poly-sum",
        |b, [x, _, _]| {
            let (p, q) = (b.poly(&CUBIC, x), b.poly(&[0.4, 0.5], x));
            b.add(p, q)
        },
        &["poly"],
    ),
    // Both chains have depth 3, the balanced tree 2.
    case(
        "mul-associate-left",
        |b, [x, y, z]| {
            let p = b.mul(y, z);
            let q = b.mul(x, p);
            b.mul(z, q)
        },
        &["mul", "mul", "mul"],
    ),
    case(
        "mul-associate-right",
        |b, [x, y, z]| {
            let p = b.mul(x, y);
            let q = b.mul(p, z);
            b.mul(q, x)
        },
        &["mul", "mul", "mul"],
    ),
    case(
        "mul-factor-right",
        |b, [x, y, z]| {
            let (p, q) = (b.mul(x, z), b.mul(y, z));
            b.add(p, q)
        },
        &["add", "mul"],
    ),
    case(
        "mul-factor-left",
        |b, [x, y, z]| {
            let (p, q) = (b.mul(z, x), b.mul(z, y));
            b.add(p, q)
        },
        &["add", "mul"],
    ),
    case(
        "mul-factor-sub-right",
        |b, [x, y, z]| {
            let (p, q) = (b.mul(x, z), b.mul(y, z));
            b.sub(p, q)
        },
        &["sub", "mul"],
    ),
    case(
        "mul-factor-sub-left",
        |b, [x, y, z]| {
            let (p, q) = (b.mul(z, x), b.mul(z, y));
            b.sub(p, q)
        },
        &["sub", "mul"],
    ),
    case(
        "neg-neg",
        chain!(|b, x| b.neg(x), |b, x| {
            let n = b.neg(x);
            b.shift(0.5, n)
        }),
        &["add_scalar"],
    ),
    case(
        "add-neg",
        |b, [x, y, _]| {
            let n = b.neg(y);
            b.add(x, n)
        },
        &["sub"],
    ),
    case(
        "sub-neg",
        |b, [x, y, _]| {
            let n = b.neg(y);
            b.sub(x, n)
        },
        &["add"],
    ),
    case("mul-neg-neg", pair!(mul, |b, x| b.neg(x)), &["mul"]),
    case(
        "scalar-after-linear",
        chain!(|b, x| b.linear(0.5, x), |b, x| b.scale(3.0, x)),
        &["linear"],
    ),
    case(
        "scalar-before-linear",
        chain!(|b, x| b.scale(3.0, x), |b, x| b.linear(0.5, x)),
        &["linear"],
    ),
    case(
        "plain-after-linear",
        chain!(|b, x| b.linear(0.5, x), |b, x| b.plain(x)),
        &["linear"],
    ),
    case(
        "plain-before-linear",
        chain!(|b, x| b.plain(x), |b, x| b.linear(0.5, x)),
        &["linear"],
    ),
    case(
        "linear-linear",
        chain!(|b, x| b.linear(0.5, x), |b, x| b.linear(0.25, x)),
        &["linear"],
    ),
    case(
        "linear-sum",
        |b, [x, _, _]| {
            let (p, q) = (b.linear(0.5, x), b.linear(2.0, x));
            b.add(p, q)
        },
        &["linear"],
    ),
    Case {
        rule: "scalar-out-of-mul-left",
        with: &["scalar-before-linear"],
        program: |b, [x, y, _]| {
            let s = b.scale(0.5, x);
            let m = b.mul(s, y);
            b.linear(1.0, m)
        },
        expected: &["mul", "linear"],
    },
    Case {
        rule: "scalar-out-of-mul-right",
        with: &["scalar-before-linear"],
        program: |b, [x, y, _]| {
            let s = b.scale(0.5, y);
            let m = b.mul(x, s);
            b.linear(1.0, m)
        },
        expected: &["mul", "linear"],
    },
    Case {
        rule: "plain-out-of-mul-left",
        with: &["plain-before-linear"],
        program: |b, [x, y, _]| {
            let p = b.plain(x);
            let m = b.mul(p, y);
            b.linear(1.0, m)
        },
        expected: &["mul", "linear"],
    },
    Case {
        rule: "plain-out-of-mul-right",
        with: &["plain-before-linear"],
        program: |b, [x, y, _]| {
            let p = b.plain(y);
            let m = b.mul(x, p);
            b.linear(1.0, m)
        },
        expected: &["mul", "linear"],
    },
];

fn build(program: impl FnOnce(&mut Builder, [ValueId; 3]) -> ValueId) -> Graph<Slot> {
    let mut builder = Builder::new();
    let inputs = ["x", "y", "z"].map(|name| builder.input(name));
    let value = program(&mut builder, inputs);
    builder.finish(value)
}

/// Multiplicative depth of the result.
fn depth(graph: &Graph<Slot>) -> usize {
    let mut depths: Vec<usize> = Vec::new();
    for (_, node) in graph.iter() {
        let own = consumption(&node.op) as usize;
        depths.push(own + node.op.operands().iter().map(|x| depths[x.index()]).max().unwrap_or(0));
    }
    depths[graph.outputs()[0].value.index()]
}

#[test]
fn every_rule_fires_and_preserves_the_result() {
    for Case {
        rule,
        with,
        program,
        expected,
    } in CASES
    {
        let graph = build(*program);
        let enabled = [with, &[*rule][..]].concat();
        let (rewritten, _) = rewrite::run(&only(&enabled), graph.clone()).expect(rule);
        assert_same(&graph, &rewritten, rule);
        assert_eq!(mnemonics(&rewritten), *expected, "{rule}");
        let (without, _) = rewrite::run(&only(with), graph).expect(rule);
        let gain = |graph: &Graph<Slot>| (depth(graph), mnemonics(graph).len());
        assert!(
            gain(&rewritten) < gain(&without),
            "{rule} gains nothing: {:?}",
            mnemonics(&without)
        );
    }
}

#[test]
fn every_rule_has_a_case() {
    let covered: BTreeSet<&str> = CASES.iter().map(|case| case.rule).collect();
    assert_eq!(covered, rule_names().into_iter().collect());
}

#[test]
fn a_chain_of_products_becomes_a_balanced_tree() {
    let graph = build(|b, [x, _, _]| (0..7).fold(x, |product, _| b.mul(product, x)));
    let (rewritten, _) = rewrite::run(&PassCx::default(), graph.clone()).expect("rewrites");
    assert_same(&graph, &rewritten, "x^8");
    // x^8 by three squarings.
    assert_eq!(mnemonics(&rewritten), ["mul", "mul", "mul"]);
}

#[test]
fn a_polynomial_that_is_needed_as_it_is_is_not_computed_again_for_a_multiple() {
    let program = build(|b, [x, y, z]| {
        let poly = b.poly(&[0.1, 0.2, -0.3, 0.4, 0.1, 0.3], x);
        let scaled = b.scale(0.3, poly);
        let moved = b.rotate(1, scaled);
        let product = b.mul(poly, y);
        let product = b.mul(product, z);
        b.add(product, moved)
    });
    let (after, _) = rewrite::run(&PassCx::default(), program.clone()).expect("rewrites");
    let n_polys = mnemonics(&after).iter().filter(|name| **name == "poly").count();
    assert!(
        n_polys == 1 && depth(&after) <= depth(&program),
        "{:?}",
        mnemonics(&after)
    );
    assert_same(&program, &after, "shared");
}

#[test]
fn the_result_does_not_depend_on_the_run() {
    let text = || {
        let graph = build(|b, [x, y, z]| {
            let (p, q) = (b.linear(0.5, x), b.linear(0.25, x));
            let s = b.add(p, q);
            let t = b.mul(s, y);
            let u = b.scale(0.5, z);
            let v = b.mul(t, u);
            b.linear(2.0, v)
        });
        let (rewritten, _) = rewrite::run(&PassCx::default(), graph).expect("rewrites");
        aphelion_ir::text::print_graph(&rewritten).expect("prints")
    };
    let first = text();
    assert_eq!(first, text());
    insta::assert_snapshot!(first);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn random_programs_compute_the_same(choices in prop::collection::vec((0u8..10, any::<u16>(), any::<u16>()), 1..12)) {
        let mut builder = Builder::new();
        let mut values = ["x", "y", "z"].map(|name| builder.input(name)).to_vec();
        for (kind, a, b) in choices {
            let (a, b) = (values[a as usize % values.len()], values[b as usize % values.len()]);
            values.push(match kind {
                0 => builder.add(a, b),
                1 => builder.sub(a, b),
                2 => builder.mul(a, b),
                3 => builder.neg(a),
                4 => builder.scale(0.5, a),
                5 => builder.plain(a),
                6 => builder.linear(0.5, a),
                7 => builder.shift(0.25, a),
                8 => builder.poly(&CUBIC, a),
                _ => builder.rotate(4, a),
            });
        }
        let last = *values.last().expect("not empty");
        let graph = builder.finish(last);
        let (rewritten, _) = rewrite::run(&PassCx::default(), graph.clone()).expect("rewrites");
        assert_same(&graph, &rewritten, "random program");
        prop_assert!(depth(&rewritten) <= depth(&graph));
    }
}

/// Repeats a body that loses one op of five to rewriting, and whose values stay small.
fn long_chain(n_repetitions: usize) -> Graph<Slot> {
    build(|b, [x, y, z]| {
        (0..n_repetitions).fold(x, |value, _| {
            let half = b.scale(0.5, value);
            let moved = b.linear(0.5, half);
            let sum = b.add(moved, y);
            let product = b.mul(sum, z);
            b.neg(product)
        })
    })
}

#[test]
fn programs_longer_than_a_region_compute_the_same() {
    let graph = long_chain(150);
    let (rewritten, stats) = rewrite::run(&PassCx::default(), graph.clone()).expect("rewrites");
    assert_same(&graph, &rewritten, "a chain of 750 ops");
    assert!(stats.0["rewrite_regions"] > 2.0);
    assert!(depth(&rewritten) <= depth(&graph));
    assert_eq!(stats.0["rewrite_depth"], depth(&rewritten) as f64);
    // Rules do not reach from one region into the next.
    let n_cuts = stats.0["rewrite_regions"] as usize - 1;
    assert!(mnemonics(&rewritten).len() <= 4 * 150 + n_cuts);
}

#[test]
fn a_hundred_thousand_ops_are_rewritten() {
    let graph = long_chain(20_000);
    let (rewritten, stats) = rewrite::run(&PassCx::default(), graph.clone()).expect("rewrites");
    assert!(stats.0["rewrite_ops_before"] > 100_000.0);
    let n_cuts = stats.0["rewrite_regions"] as usize - 1;
    assert!(mnemonics(&rewritten).len() <= 4 * 20_000 + n_cuts);
    assert!(stats.0["rewrite_latency_after"] < stats.0["rewrite_latency_before"]);
}

#[test]
fn rules_are_credited_with_what_they_made() {
    let graph = build(|b, [x, _, _]| {
        let half = b.scale(0.5, x);
        b.linear(0.5, half)
    });
    let (_, stats) = rewrite::run(&PassCx::default(), graph.clone()).expect("rewrites");
    assert_eq!(stats.0["rewrite_chosen.scalar-before-linear"], 1.0);
    assert!(stats.0["rewrite_applied.scalar-before-linear"] >= 1.0);
    let without = PassCx {
        options: CompileOptions {
            disabled_rules: BTreeSet::from(["scalar-before-linear".to_string()]),
            ..CompileOptions::default()
        },
        ..PassCx::default()
    };
    let (_, stats) = rewrite::run(&without, graph).expect("rewrites");
    assert!(stats.0.keys().all(|name| !name.starts_with("rewrite_chosen")));
}
