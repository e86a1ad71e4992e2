//! Polynomials that an exporter wrote as sums and products: found, and made one op each.
//!
//! Every value is viewed as a polynomial, with one coefficient per channel, in the nearest value before it that is no sum,
//! product or power of the same. Of those of degree 4 and more that something else uses, each whose channels share one
//! polynomial up to scales, y = t h(x / s), becomes a product with 1 / s, one polynomial and a product with t. The products
//! then move into neighbouring weights.

use super::TOLERANCE;
use crate::nn_rewrite::{constant, constant_name, push_constant};
use aphelion_ir::nn::{Nn, NnOp};
use aphelion_ir::slot::{Basis, Polynomial};
use aphelion_ir::{Graph, IrError, Origin, Tensor, ValueId};

/// Largest degree in view.
const MAX_DEGREE: usize = 8;
/// Polynomials of lower degree are products as they stand.
const MIN_DEGREE: usize = 4;

/// Coefficients by power, then by channel: one for all channels, or one each.
type Coefficients = Vec<Vec<f64>>;

/// A value as a polynomial in `base`.
#[derive(Clone)]
struct View {
    base: ValueId,
    coeffs: Coefficients,
}

/// `t h(x / s)`; scales are per channel, or one for all.
pub(super) struct Found {
    pub(super) x: ValueId,
    inner: Vec<f64>,
    coeffs: Vec<f64>,
    outer: Vec<f64>,
}

/// For every value, the polynomial that is to stand for it, if any.
pub(super) fn find(graph: &Graph<Nn>) -> Result<Vec<Option<Found>>, IrError> {
    let mut views: Vec<View> = Vec::with_capacity(graph.len());
    for (id, _) in graph.iter() {
        let view = combined(graph, &views, id)?;
        views.push(view.unwrap_or(View {
            base: id,
            coeffs: vec![vec![0.0], vec![1.0]],
        }));
    }
    let mut is_root = vec![false; graph.len()];
    for output in graph.outputs() {
        is_root[output.value.index()] = true;
    }
    for (index, users) in graph.users().iter().enumerate() {
        is_root[index] |= users.iter().any(|user| views[user.index()].base != views[index].base);
    }
    let found = views.iter().enumerate().map(|(index, view)| {
        let is_wanted = is_root[index] && view.coeffs.len() > MIN_DEGREE && n_powers(view) > 1;
        is_wanted.then(|| unified(view)).flatten()
    });
    Ok(found.collect())
}

/// Number of powers with a coefficient, the constant left out.
fn n_powers(view: &View) -> usize {
    let is_used = |coeffs: &&Vec<f64>| coeffs.iter().any(|c| *c != 0.0);
    view.coeffs.iter().skip(1).filter(is_used).count()
}

/// The view of a sum or a product; `None` for all else.
fn combined(graph: &Graph<Nn>, views: &[View], id: ValueId) -> Result<Option<View>, IrError> {
    let shape = &graph.ty(id).shape;
    let number = |x: &ValueId| per_channel(graph, *x, shape);
    let of = |x: &ValueId| &views[x.index()];
    let affine = |x: &ValueId, scale: Vec<f64>, shift: Vec<f64>| {
        let view = of(x);
        (graph.ty(*x).shape == *shape).then(|| View {
            base: view.base,
            coeffs: sum(&product(&view.coeffs, &vec![scale]), &vec![shift]),
        })
    };
    let negative = |c: Vec<f64>| c.iter().map(|c| -c).collect::<Vec<f64>>();
    let both = |a: &ValueId, b: &ValueId, combine: &dyn Fn(&Coefficients, &Coefficients) -> Coefficients| {
        let (a, b) = (of(a), of(b));
        let coeffs = (a.base == b.base).then(|| combine(&a.coeffs, &b.coeffs));
        coeffs
            .filter(|coeffs| coeffs.len() <= MAX_DEGREE + 1)
            .map(|coeffs| View { base: a.base, coeffs })
    };
    let one = || vec![1.0];
    Ok(match graph.op(id) {
        NnOp::Add { a, b } => match (number(a)?, number(b)?) {
            (None, Some(c)) => affine(a, one(), c),
            (Some(c), None) => affine(b, one(), c),
            (None, None) => both(a, b, &sum),
            _ => None,
        },
        NnOp::Sub { a, b } => match (number(a)?, number(b)?) {
            (None, Some(c)) => affine(a, one(), negative(c)),
            (Some(c), None) => affine(b, vec![-1.0], c),
            (None, None) => both(a, b, &|a, b| sum(a, &product(b, &vec![vec![-1.0]]))),
            _ => None,
        },
        NnOp::Mul { a, b } => match (number(a)?, number(b)?) {
            (None, Some(c)) => affine(a, c, vec![0.0]),
            (Some(c), None) => affine(b, c, vec![0.0]),
            (None, None) => both(a, b, &product),
            _ => None,
        },
        NnOp::Neg { x } => affine(x, vec![-1.0], vec![0.0]),
        NnOp::Pow { x, exponent } if (*exponent as usize) <= MAX_DEGREE => {
            let view = of(x);
            let power = (0..*exponent).fold(vec![vec![1.0]], |power, _| product(&power, &view.coeffs));
            (power.len() <= MAX_DEGREE + 1).then_some(View {
                base: view.base,
                coeffs: power,
            })
        }
        _ => None,
    })
}

/// The constant `value` as one number for all, or one per channel (dimension 1) of a value of `shape`.
fn per_channel(graph: &Graph<Nn>, value: ValueId, shape: &[usize]) -> Result<Option<Vec<f64>>, IrError> {
    let Some(tensor) = constant(graph, value)? else {
        return Ok(None);
    };
    let skipped = shape.len().saturating_sub(tensor.shape().len());
    let is_flat = (tensor.shape().iter().enumerate()).all(|(axis, extent)| *extent == 1 || axis + skipped == 1);
    Ok(if is_flat { Some(tensor.to_vec()?) } else { None })
}

fn zip(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let at = |x: &[f64], i: usize| if x.len() == 1 { x[0] } else { x[i] };
    (0..a.len().max(b.len())).map(|i| f(at(a, i), at(b, i))).collect()
}

fn sum(a: &Coefficients, b: &Coefficients) -> Coefficients {
    let zero = vec![0.0];
    let of = |x: &Coefficients, power: usize| x.get(power).unwrap_or(&zero).clone();
    (0..a.len().max(b.len()))
        .map(|power| zip(&of(a, power), &of(b, power), |a, b| a + b))
        .collect()
}

fn product(a: &Coefficients, b: &Coefficients) -> Coefficients {
    let mut product = vec![vec![0.0]; (a.len() + b.len()).saturating_sub(1)];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            product[i + j] = zip(&product[i + j], &zip(x, y, |x, y| x * y), |sum, term| sum + term);
        }
    }
    product
}

/// One polynomial for all channels, if scales make them the same: those of the first channel are 1.
fn unified(view: &View) -> Option<Found> {
    let n_channels = view.coeffs.iter().map(Vec::len).max()?;
    let at = |power: usize, channel: usize| {
        let coeffs = &view.coeffs[power];
        if coeffs.len() == 1 { coeffs[0] } else { coeffs[channel] }
    };
    let first: Vec<f64> = (0..view.coeffs.len()).map(|power| at(power, 0)).collect();
    let used: Vec<usize> = (0..first.len()).filter(|power| first[*power] != 0.0).collect();
    let (lowest, highest) = (*used.first()?, *used.last()?);
    if lowest == highest || highest < MIN_DEGREE {
        return None;
    }
    let (mut inner, mut outer) = (Vec::with_capacity(n_channels), Vec::with_capacity(n_channels));
    for channel in 0..n_channels {
        let ratio = at(lowest, channel) / first[lowest] * (first[highest] / at(highest, channel));
        let scale = libm::pow(ratio, 1.0 / (highest - lowest) as f64);
        let factor = at(lowest, channel) / first[lowest] * libm::pow(scale, lowest as f64);
        let is_same = |power: usize| {
            let expected = factor * first[power] / libm::pow(scale, power as f64);
            (at(power, channel) - expected).abs() <= TOLERANCE * expected.abs()
        };
        // A ratio below zero has no such root, and a scale of zero or infinity is no scale.
        if !(scale.is_normal() && factor.is_normal() && (0..first.len()).all(is_same)) {
            return None;
        }
        inner.push(1.0 / scale);
        outer.push(factor);
    }
    Some(Found {
        x: view.base,
        inner,
        coeffs: first[..=highest].to_vec(),
        outer,
    })
}

impl Found {
    /// Appends the polynomial of `x`; its interval comes from calibration.
    pub(super) fn push(&self, graph: &mut Graph<Nn>, x: ValueId, origin: &Origin) -> Result<ValueId, IrError> {
        let argument = scaled(graph, x, &self.inner, "inverse_scale", origin)?;
        let poly = Polynomial {
            basis: Basis::Monomial {},
            low: -1.0,
            high: 1.0,
            coeffs: self.coeffs.clone(),
        };
        let value = graph.push(NnOp::Poly { x: argument, poly }, origin.clone())?;
        scaled(graph, value, &self.outer, "scale", origin)
    }
}

fn scaled(graph: &mut Graph<Nn>, x: ValueId, factors: &[f64], what: &str, origin: &Origin) -> Result<ValueId, IrError> {
    if factors.iter().all(|factor| *factor == 1.0) {
        return Ok(x);
    }
    let mut shape = vec![1; graph.ty(x).shape.len()];
    if let (true, Some(channels)) = (factors.len() > 1, shape.get_mut(1)) {
        *channels = factors.len();
    }
    let tensor = Tensor::from_f64(shape, factors.to_vec());
    let b = push_constant(graph, &constant_name(origin, what), tensor, origin)?;
    graph.push(NnOp::Mul { a: x, b }, origin.clone())
}
