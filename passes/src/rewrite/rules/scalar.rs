//! Scalars and plaintext vectors: outward through products and sums, into polynomials.

use super::{Attr, Bound, Outcome, Rule, always};
use aphelion_ir::slot::{Basis, PlainTensor, Polynomial};

/// Slots hold values of up to 1; twice as much fits everywhere, and four bits of precision less may be worth a level.
const MODERATE: std::ops::RangeInclusive<f64> = 0.0625..=2.0;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "scalar-scalar",
        from: "(mul-scalar ?a (mul-scalar ?b ?x))",
        to: "(mul-scalar ?new ?x)",
        attrs: &["?a", "?b"],
        values: &[],
        compute: product,
    },
    Rule {
        name: "scalar-one",
        from: "(mul-scalar ?a ?x)",
        to: "?x",
        attrs: &["?a"],
        values: &[],
        compute: is_one,
    },
    Rule {
        name: "scalar-minus-one",
        from: "(mul-scalar ?a ?x)",
        to: "(neg ?x)",
        attrs: &["?a"],
        values: &[],
        compute: is_minus_one,
    },
    Rule {
        name: "shift-shift",
        from: "(add-scalar ?a (add-scalar ?b ?x))",
        to: "(add-scalar ?new ?x)",
        attrs: &["?a", "?b"],
        values: &[],
        compute: sum,
    },
    Rule {
        name: "scalar-out-of-mul-left",
        from: "(mul (mul-scalar ?a ?x) ?y)",
        to: "(mul-scalar ?a (mul ?x ?y))",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "scalar-out-of-mul-right",
        from: "(mul ?x (mul-scalar ?a ?y))",
        to: "(mul-scalar ?a (mul ?x ?y))",
        attrs: &[],
        values: &[],
        compute: always,
    },
    // And back, so that sums of products meet with their factors in front.
    Rule {
        name: "scalar-into-mul-left",
        from: "(mul-scalar ?a (mul ?x ?y))",
        to: "(mul (mul-scalar ?a ?x) ?y)",
        attrs: &["?a"],
        values: &[],
        compute: is_moderate,
    },
    Rule {
        name: "scalar-into-mul-right",
        from: "(mul-scalar ?a (mul ?x ?y))",
        to: "(mul ?x (mul-scalar ?a ?y))",
        attrs: &["?a"],
        values: &[],
        compute: is_moderate,
    },
    Rule {
        name: "scalar-out-of-add",
        from: "(add (mul-scalar ?a ?x) (mul-scalar ?a ?y))",
        to: "(mul-scalar ?a (add ?x ?y))",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "scalar-out-of-sub",
        from: "(sub (mul-scalar ?a ?x) (mul-scalar ?a ?y))",
        to: "(mul-scalar ?a (sub ?x ?y))",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "plain-out-of-mul-left",
        from: "(mul (mul-plain ?p ?x) ?y)",
        to: "(mul-plain ?p (mul ?x ?y))",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "plain-out-of-mul-right",
        from: "(mul ?x (mul-plain ?p ?y))",
        to: "(mul-plain ?p (mul ?x ?y))",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "plain-out-of-add",
        from: "(add (mul-plain ?p ?x) (mul-plain ?p ?y))",
        to: "(mul-plain ?p (add ?x ?y))",
        attrs: &[],
        values: &[],
        compute: always,
    },
    Rule {
        name: "scalar-into-plain",
        from: "(mul-scalar ?a (mul-plain ?p ?x))",
        to: "(mul-plain ?new ?x)",
        attrs: &["?a", "?p"],
        values: &[],
        compute: scaled_plain,
    },
    Rule {
        name: "scalar-into-poly",
        from: "(mul-scalar ?a (poly ?p ?x))",
        to: "(poly ?new ?x)",
        attrs: &["?a", "?p"],
        values: &[],
        compute: scaled_poly,
    },
    Rule {
        name: "shift-into-poly",
        from: "(add-scalar ?a (poly ?p ?x))",
        to: "(poly ?new ?x)",
        attrs: &["?a", "?p"],
        values: &[],
        compute: shifted_poly,
    },
    Rule {
        name: "poly-of-scaled",
        from: "(poly ?p (mul-scalar ?a ?x))",
        to: "(poly ?new ?x)",
        attrs: &["?p", "?a"],
        values: &[],
        compute: poly_of_scaled,
    },
    Rule {
        name: "poly-sum",
        from: "(add (poly ?p ?x) (poly ?q ?x))",
        to: "(poly ?new ?x)",
        attrs: &["?p", "?q"],
        values: &[],
        compute: poly_sum,
    },
];

fn product(bound: &Bound<'_>) -> Outcome {
    match bound.attrs.as_slice() {
        [Attr::Scalar(a), Attr::Scalar(b)] => Outcome::with(Attr::Scalar(a * b)),
        _ => Outcome::Skip,
    }
}

fn sum(bound: &Bound<'_>) -> Outcome {
    match bound.attrs.as_slice() {
        [Attr::Scalar(a), Attr::Scalar(b)] => Outcome::with(Attr::Scalar(a + b)),
        _ => Outcome::Skip,
    }
}

fn is_one(bound: &Bound<'_>) -> Outcome {
    match bound.attrs.as_slice() {
        [Attr::Scalar(1.0)] => Outcome::Apply,
        _ => Outcome::Skip,
    }
}

/// Factors that neither lead slots beyond what a modulus holds nor take precision away that noise has at its mercy.
pub(super) fn is_moderate(bound: &Bound<'_>) -> Outcome {
    match bound.attrs.as_slice() {
        [Attr::Scalar(by)] if MODERATE.contains(&by.abs()) => Outcome::Apply,
        _ => Outcome::Skip,
    }
}

fn is_minus_one(bound: &Bound<'_>) -> Outcome {
    match bound.attrs.as_slice() {
        [Attr::Scalar(-1.0)] => Outcome::Apply,
        _ => Outcome::Skip,
    }
}

fn scaled_plain(bound: &Bound<'_>) -> Outcome {
    match bound.attrs.as_slice() {
        [Attr::Scalar(a), Attr::Plain(plain)] => Outcome::with(Attr::Plain(PlainTensor {
            value: plain.value.clone(),
            factor: a * plain.factor,
        })),
        _ => Outcome::Skip,
    }
}

fn scaled_poly(bound: &Bound<'_>) -> Outcome {
    match bound.attrs.as_slice() {
        [Attr::Scalar(a), Attr::Poly(poly)] => {
            let coeffs = poly.coeffs.iter().map(|c| a * c).collect();
            Outcome::with(Attr::Poly(Polynomial { coeffs, ..poly.clone() }))
        }
        _ => Outcome::Skip,
    }
}

fn shifted_poly(bound: &Bound<'_>) -> Outcome {
    match bound.attrs.as_slice() {
        // The constant term is that of T_0 = 1 in either basis.
        [Attr::Scalar(a), Attr::Poly(poly)] => {
            let mut poly = poly.clone();
            poly.coeffs[0] += a;
            Outcome::with(Attr::Poly(poly))
        }
        _ => Outcome::Skip,
    }
}

fn poly_of_scaled(bound: &Bound<'_>) -> Outcome {
    let [Attr::Poly(poly), Attr::Scalar(a)] = bound.attrs.as_slice() else {
        return Outcome::Skip;
    };
    // A negative factor would turn the interval around.
    if *a <= 0.0 {
        return Outcome::Skip;
    }
    let coeffs = match poly.basis {
        Basis::Chebyshev {} => poly.coeffs.clone(),
        Basis::Monomial {} => poly
            .coeffs
            .iter()
            .enumerate()
            .map(|(k, c)| c * a.powi(k as i32))
            .collect(),
    };
    Outcome::with(Attr::Poly(Polynomial {
        basis: poly.basis,
        low: poly.low / a,
        high: poly.high / a,
        coeffs,
    }))
}

fn poly_sum(bound: &Bound<'_>) -> Outcome {
    let [Attr::Poly(p), Attr::Poly(q)] = bound.attrs.as_slice() else {
        return Outcome::Skip;
    };
    // Powers mean the same on every interval; the argument lies in both.
    let (low, high) = (p.low.max(q.low), p.high.min(q.high));
    let is_same = (p.low, p.high) == (q.low, q.high);
    if p.basis != q.basis || !(is_same || (p.basis == (Basis::Monomial {}) && low < high)) {
        return Outcome::Skip;
    }
    let n_coeffs = p.coeffs.len().max(q.coeffs.len());
    let at = |poly: &Polynomial, k: usize| poly.coeffs.get(k).copied().unwrap_or(0.0);
    let coeffs = (0..n_coeffs).map(|k| at(p, k) + at(q, k)).collect();
    Outcome::with(Attr::Poly(Polynomial {
        basis: p.basis,
        low,
        high,
        coeffs,
    }))
}
