//! What the approximation pass tells of its choices.

use super::build::Built;
use super::search::Found;
use super::site::Site;
use crate::PassCx;
use crate::approx::{Approximation, Method};
use crate::calibrate::Samples;
use aphelion_ir::Graph;
use aphelion_ir::nn::Nn;
use serde::{Deserialize, Serialize};

/// What became of one activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActivationReport {
    /// The value that stands for its result in the approximated graph.
    pub value: u32,
    /// Where it comes from.
    pub name: String,
    /// The function.
    pub function: String,
    /// Degrees of the polynomials in order of application; one for a single polynomial.
    pub degrees: Vec<usize>,
    /// How the polynomials were made: `minimax`, `least squares` or `sign composite`.
    pub method: String,
    /// Levels.
    pub depth: usize,
    /// Products of two ciphertexts, per ciphertext.
    pub products: usize,
    /// Interval that the approximation is made for. An input that leads outside has a wrong result.
    pub interval: (f64, f64),
    /// Extremes on the samples, in the exact model.
    pub data: (f64, f64),
    /// Smallest distance of a sample from the interval's ends, relative to half the length of the data's range.
    pub margin: f64,
    /// How far samples go from the interval's centre, relative to its ends: at 1, the next one may leave it.
    pub range_use: f64,
    /// Largest error in the interval.
    pub max_error: f64,
    /// Largest error on the samples that were fitted, where there are samples.
    pub data_max_error: Option<f64>,
    /// Root-mean-square error on the samples that were fitted, where there are samples.
    pub data_rms_error: Option<f64>,
}

/// What the approximation pass chose, and how the model with polynomials does against the exact one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApproximationReport {
    /// By activation, in arena order.
    pub activations: Vec<ActivationReport>,
    /// Samples that the model was measured on.
    pub n_samples: usize,
    /// Those of them that the fits did not see.
    pub n_held_back: usize,
    /// Whether the samples are random inputs within the input range, for lack of calibration samples.
    pub is_synthetic: bool,
    /// Largest magnitude of a result of the exact model.
    pub reference_max_abs: f64,
    /// -log2 of the largest error relative to that; infinite where there is no error.
    pub bits: f64,
    /// The same over the samples held back.
    pub held_back_bits: f64,
    /// Samples whose class is that of the exact model.
    pub n_agreeing: usize,
}

pub(super) fn report(
    cx: &PassCx,
    graph: &Graph<Nn>,
    sites: &[Site],
    found: &Found,
    built: &Built,
) -> ApproximationReport {
    let activation = |(index, site): (usize, &Site)| {
        let choice = &found.choices[index];
        let degrees = match (&choice.method, &choice.approximation) {
            (Method::SignComposite { degrees }, _) => degrees.clone(),
            (_, Approximation::Polynomial(poly)) => vec![poly.degree()],
            (_, Approximation::Gates(sum)) => {
                let stages = sum.terms.iter().flat_map(|term| &term.stages);
                stages.map(|stage| stage.degree()).collect()
            }
        };
        let room = (site.data.low - site.interval.low).min(site.interval.high - site.data.high);
        let half_length = 0.5 * (site.data.high - site.data.low);
        ActivationReport {
            value: built.results[index].0,
            name: graph.origin(site.value).to_string(),
            function: format!("{:?}", site.func),
            degrees,
            method: match choice.method {
                Method::Minimax => "minimax",
                Method::LeastSquares { .. } => "least squares",
                Method::SignComposite { .. } => "sign composite",
            }
            .to_string(),
            depth: choice.cost.depth,
            products: choice.cost.mults,
            interval: (site.interval.low, site.interval.high),
            data: (site.data.low, site.data.high),
            margin: if half_length > 0.0 { room / half_length } else { 0.0 },
            range_use: {
                let (centre, reach) = (
                    0.5 * (site.interval.low + site.interval.high),
                    0.5 * (site.interval.high - site.interval.low),
                );
                (site.data.high - centre).max(centre - site.data.low) / reach
            },
            max_error: choice.errors.interval_max_abs,
            data_max_error: choice.errors.data_max_abs,
            data_rms_error: choice.errors.data_rms,
        }
    };
    let bits = |error: f64| -libm::log2(error / found.reference);
    ApproximationReport {
        activations: sites.iter().enumerate().map(activation).collect(),
        n_samples: found.n_samples,
        n_held_back: (0..found.n_samples)
            .filter(|index| Samples::is_held_back(*index))
            .count(),
        is_synthetic: cx.samples.is_empty(),
        reference_max_abs: found.reference,
        bits: bits(found.measured.max_error),
        held_back_bits: bits(found.measured.held_back_max_error),
        n_agreeing: found.measured.n_agreeing,
    }
}
