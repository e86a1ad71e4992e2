//! Rotation algebra: fewer key switches.

use super::{Attr, Bound, Outcome, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "rotate-rotate",
        from: "(rotate ?a (rotate ?b ?x))",
        to: "(rotate ?new ?x)",
        attrs: &["?a", "?b"],
        values: &["?x"],
        compute: sum,
    },
    Rule {
        name: "rotate-by-period",
        from: "(rotate ?a ?x)",
        to: "?x",
        attrs: &["?a"],
        values: &["?x"],
        compute: is_identity,
    },
    Rule {
        name: "rotate-factor-add",
        from: "(add (rotate ?a ?x) (rotate ?a ?y))",
        to: "(rotate ?a (add ?x ?y))",
        attrs: &[],
        values: &["?x", "?y"],
        compute: same_place,
    },
    Rule {
        name: "rotate-factor-sub",
        from: "(sub (rotate ?a ?x) (rotate ?a ?y))",
        to: "(rotate ?a (sub ?x ?y))",
        attrs: &[],
        values: &["?x", "?y"],
        compute: same_place,
    },
    Rule {
        name: "rotate-factor-mul",
        from: "(mul (rotate ?a ?x) (rotate ?a ?y))",
        to: "(rotate ?a (mul ?x ?y))",
        attrs: &[],
        values: &["?x", "?y"],
        compute: same_place,
    },
];

fn sum(bound: &Bound<'_>) -> Outcome {
    match bound.attrs.as_slice() {
        [Attr::Rotation { by: outer, layout }, Attr::Rotation { by: inner, .. }] => Outcome::with(Attr::Rotation {
            by: (outer + inner) % bound.layouts[0].slots,
            layout: layout.clone(),
        }),
        _ => Outcome::Skip,
    }
}

/// Contents repeat with the period, so a rotation by a multiple of it moves nothing.
fn is_identity(bound: &Bound<'_>) -> Outcome {
    let ([Attr::Rotation { by, layout }], [x]) = (bound.attrs.as_slice(), bound.layouts.as_slice()) else {
        return Outcome::Skip;
    };
    if by % x.period == 0 && (&layout.digits, layout.period) == (&x.digits, x.period) {
        Outcome::Apply
    } else {
        Outcome::Skip
    }
}

fn same_place(bound: &Bound<'_>) -> Outcome {
    let [x, y] = bound.layouts.as_slice() else {
        return Outcome::Skip;
    };
    if x.digits == y.digits && x.period == y.period {
        Outcome::Apply
    } else {
        Outcome::Skip
    }
}
