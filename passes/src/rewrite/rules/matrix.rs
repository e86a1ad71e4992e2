//! Matrices: constants folded into them, sums and compositions of neighbours. Extraction decides whether a composed
//! matrix pays: its diagonals are counted there.

use super::{Attr, Bound, Outcome, Rule};
use aphelion_ir::slot::{Kernel, LinearMap, PlainTensor};

/// Composed matrices with more than this many entries, were they dense, are not considered: a layer of this size is
/// never cheaper composed, and counting its diagonals costs milliseconds.
const MAX_COMPOSED_ENTRIES: usize = 1 << 26;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "scalar-after-linear",
        from: "(mul-scalar ?a (linear ?k ?x))",
        to: "(linear ?new ?x)",
        attrs: &["?a", "?k"],
        values: &[],
        compute: scalar_after,
    },
    Rule {
        name: "scalar-before-linear",
        from: "(linear ?k (mul-scalar ?a ?x))",
        to: "(linear ?new ?x)",
        attrs: &["?k", "?a"],
        values: &[],
        compute: scalar_before,
    },
    Rule {
        name: "plain-after-linear",
        from: "(mul-plain ?p (linear ?k ?x))",
        to: "(linear ?new ?x)",
        attrs: &["?p", "?k"],
        values: &[],
        compute: plain_after,
    },
    Rule {
        name: "plain-before-linear",
        from: "(linear ?k (mul-plain ?p ?x))",
        to: "(linear ?new ?x)",
        attrs: &["?k", "?p"],
        values: &[],
        compute: plain_before,
    },
    Rule {
        name: "linear-linear",
        from: "(linear ?b (linear ?a ?x))",
        to: "(linear ?new ?x)",
        attrs: &["?b", "?a"],
        values: &["?x"],
        compute: composition,
    },
    Rule {
        name: "linear-sum",
        from: "(add (linear ?a ?x) (linear ?b ?x))",
        to: "(linear ?new ?x)",
        attrs: &["?a", "?b"],
        values: &[],
        compute: sum,
    },
];

/// `maps` one after the other, flattened, with neighbouring factors multiplied.
fn compose(maps: impl IntoIterator<Item = LinearMap>) -> LinearMap {
    let mut flat: Vec<LinearMap> = Vec::new();
    for map in maps {
        let parts = match map {
            LinearMap::Compose { maps } => maps,
            map => vec![map],
        };
        for part in parts {
            match (flat.last_mut(), part) {
                (Some(LinearMap::Factor { by, .. }), LinearMap::Factor { by: next, .. }) => *by *= next,
                (_, part) => flat.push(part),
            }
        }
    }
    if flat.len() == 1 {
        flat.remove(0)
    } else {
        LinearMap::Compose { maps: flat }
    }
}

fn after(bound: &Bound<'_>, kernel: &Kernel, last: impl FnOnce(Vec<usize>) -> LinearMap) -> Outcome {
    match kernel.map.shapes(&bound.analysis.constants) {
        Ok((_, output)) => {
            let map = compose([kernel.map.clone(), last(output)]);
            Outcome::with(Attr::Kernel(Kernel { map, ..kernel.clone() }))
        }
        Err(_) => Outcome::Skip,
    }
}

fn before(bound: &Bound<'_>, kernel: &Kernel, first: impl FnOnce(Vec<usize>) -> LinearMap) -> Outcome {
    match kernel.map.shapes(&bound.analysis.constants) {
        Ok((input, _)) => {
            let map = compose([first(input), kernel.map.clone()]);
            Outcome::with(Attr::Kernel(Kernel { map, ..kernel.clone() }))
        }
        Err(_) => Outcome::Skip,
    }
}

/// Multiplication by a plaintext as a map on tensors of `shape`.
fn diagonal(plain: &PlainTensor, shape: Vec<usize>) -> LinearMap {
    let by = LinearMap::Diagonal {
        shape: shape.clone(),
        by: plain.value.clone(),
    };
    if plain.factor == 1.0 {
        by
    } else {
        compose([
            by,
            LinearMap::Factor {
                shape,
                by: plain.factor,
            },
        ])
    }
}

fn scalar_after(bound: &Bound<'_>) -> Outcome {
    match bound.attrs.as_slice() {
        [Attr::Scalar(by), Attr::Kernel(kernel)] => after(bound, kernel, |shape| LinearMap::Factor { shape, by: *by }),
        _ => Outcome::Skip,
    }
}

fn scalar_before(bound: &Bound<'_>) -> Outcome {
    match bound.attrs.as_slice() {
        [Attr::Kernel(kernel), Attr::Scalar(by)] => before(bound, kernel, |shape| LinearMap::Factor { shape, by: *by }),
        _ => Outcome::Skip,
    }
}

fn plain_after(bound: &Bound<'_>) -> Outcome {
    match bound.attrs.as_slice() {
        [Attr::Plain(plain), Attr::Kernel(kernel)] => after(bound, kernel, |shape| diagonal(plain, shape)),
        _ => Outcome::Skip,
    }
}

fn plain_before(bound: &Bound<'_>) -> Outcome {
    match bound.attrs.as_slice() {
        [Attr::Kernel(kernel), Attr::Plain(plain)] => before(bound, kernel, |shape| diagonal(plain, shape)),
        _ => Outcome::Skip,
    }
}

fn composition(bound: &Bound<'_>) -> Outcome {
    let ([Attr::Kernel(outer), Attr::Kernel(inner)], [input]) = (bound.attrs.as_slice(), bound.layouts.as_slice())
    else {
        return Outcome::Skip;
    };
    if input.n_elements().saturating_mul(outer.output.n_elements()) > MAX_COMPOSED_ENTRIES {
        return Outcome::Skip;
    }
    // A fold sums the windows of the output's period within the operand's period.
    let has_fold = !(inner.fold.is_empty() && outer.fold.is_empty());
    let fold = if has_fold && input.cts == 1 && outer.output.cts == 1 {
        std::iter::successors(Some(outer.output.period), |step| Some(step * 2))
            .take_while(|step| *step < input.period)
            .collect()
    } else {
        Vec::new()
    };
    let map = compose([inner.map.clone(), outer.map.clone()]);
    Outcome::with(Attr::Kernel(Kernel {
        map,
        output: outer.output.clone(),
        fold,
    }))
}

fn sum(bound: &Bound<'_>) -> Outcome {
    let [Attr::Kernel(a), Attr::Kernel(b)] = bound.attrs.as_slice() else {
        return Outcome::Skip;
    };
    if a.output != b.output || a.fold != b.fold {
        return Outcome::Skip;
    }
    let map = LinearMap::Sum {
        maps: vec![a.map.clone(), b.map.clone()],
    };
    Outcome::with(Attr::Kernel(Kernel { map, ..a.clone() }))
}
