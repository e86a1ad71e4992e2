//! Products of ciphertexts: balanced for depth, factored for fewer.

use super::scalar::is_moderate;
use super::{Attr, Bound, Outcome, Rule, always};

pub(super) const RULES: &[Rule] = &[
    // Both directions, so that a chain of any order reaches the balanced tree.
    Rule {
        name: "mul-associate-left",
        from: "(mul ?a (mul ?b ?c))",
        to: "(mul (mul ?a ?b) ?c)",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "mul-associate-right",
        from: "(mul (mul ?a ?b) ?c)",
        to: "(mul ?a (mul ?b ?c))",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "mul-factor-right",
        from: "(add (mul ?a ?c) (mul ?b ?c))",
        to: "(mul (add ?a ?b) ?c)",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "mul-factor-left",
        from: "(add (mul ?c ?a) (mul ?c ?b))",
        to: "(mul ?c (add ?a ?b))",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "mul-factor-sub-right",
        from: "(sub (mul ?a ?c) (mul ?b ?c))",
        to: "(mul (sub ?a ?b) ?c)",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "mul-factor-sub-left",
        from: "(sub (mul ?c ?a) (mul ?c ?b))",
        to: "(mul ?c (sub ?a ?b))",
        attrs: &[],
        values: &[],
        compute: always,
    },
    // A residual x + s x, whatever the factors.
    Rule {
        name: "mul-factor-residual-left",
        from: "(add (mul ?x ?s) ?x)",
        to: "(mul ?x (add-scalar ?new ?s))",
        attrs: &[],
        values: &[],
        compute: one,
    },
    Rule {
        name: "mul-factor-residual-right",
        from: "(add (mul ?s ?x) ?x)",
        to: "(mul (add-scalar ?new ?s) ?x)",
        attrs: &[],
        values: &[],
        compute: one,
    },
    Rule {
        name: "mul-factor-scaled-left",
        from: "(add (mul ?x ?s) (mul-scalar ?a ?x))",
        to: "(mul ?x (add-scalar ?a ?s))",
        attrs: &["?a"],
        values: &[],
        compute: is_moderate,
    },
    Rule {
        name: "mul-factor-scaled-right",
        from: "(add (mul ?s ?x) (mul-scalar ?a ?x))",
        to: "(mul (add-scalar ?a ?s) ?x)",
        attrs: &["?a"],
        values: &[],
        compute: is_moderate,
    },
    Rule {
        name: "neg-neg",
        from: "(neg (neg ?x))",
        to: "?x",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "add-neg",
        from: "(add ?x (neg ?y))",
        to: "(sub ?x ?y)",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "sub-neg",
        from: "(sub ?x (neg ?y))",
        to: "(add ?x ?y)",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "mul-neg-neg",
        from: "(mul (neg ?x) (neg ?y))",
        to: "(mul ?x ?y)",
        attrs: &[],
        values: &[],
        compute: always,
    },
];

fn one(_: &Bound<'_>) -> Outcome {
    Outcome::with(Attr::Scalar(1.0))
}
