//! The activations of a model: where they are, on which interval, and what reaches them.

use crate::PassError;
use crate::approx::{ApproxError, Curve, Histogram};
use crate::calibrate::{Interval, Samples};
use aphelion_ir::nn::{Func, Nn, NnOp, Values};
use aphelion_ir::{Graph, Origin, ValueId};

/// A divisor keeps this share of the smallest magnitude seen where its widened interval would reach zero.
const SMALLEST_DIVISOR: f64 = 0.5;
/// Fewer samples than this say little of the extremes of others,
const N_MANY_SAMPLES: usize = 32;
/// so that intervals are widened by this factor.
const FEW_SAMPLES_MARGIN: f64 = 1.25;
/// Half length, relative to its magnitude, of the interval about a value that never varies.
const POINT_REACH: f64 = 1e-3;

/// An activation.
pub(super) struct Site {
    /// The apply op's value.
    pub(super) value: ValueId,
    /// Its operand.
    pub(super) x: ValueId,
    pub(super) origin: Origin,
    pub(super) func: Func,
    pub(super) curve: Curve,
    /// Where the approximation has to hold.
    pub(super) interval: Interval,
    /// Extremes of the operand over all samples.
    pub(super) data: Interval,
    /// The operand over the samples that are not held back; none where samples are synthetic.
    pub(super) histogram: Option<Histogram>,
    /// Half the spread of the function over the data: what errors are relative to.
    pub(super) scale: f64,
}

/// Whether so many samples are few.
pub(super) fn is_few(n_samples: usize) -> bool {
    n_samples < N_MANY_SAMPLES
}

impl Site {
    /// The interval that operands have to stay in on the samples: half of the margin is for other inputs.
    pub(super) fn half_margin(&self) -> Interval {
        let (data, interval) = (self.data, self.interval);
        Interval::new(
            data.low.min(0.5 * (data.low + interval.low)),
            data.high.max(0.5 * (data.high + interval.high)),
        )
    }
}

/// The activations of `graph` in arena order.
pub(super) fn find(graph: &Graph<Nn>, samples: &Samples, are_real: bool) -> Result<Vec<Site>, PassError> {
    let mut sites = Vec::new();
    for (value, node) in graph.iter() {
        match &node.op {
            NnOp::Apply { x, func } => sites.push((value, *x, func.clone())),
            NnOp::PRelu { .. } => {
                let message = "a prelu reached the approximation; recover_activations must run before";
                return Err(PassError::unsupported(&node.origin, message));
            }
            _ => {}
        }
    }
    let hulls = |values: &Values| -> Vec<Interval> {
        let hull = |(_, x, _): &(ValueId, ValueId, Func)| Interval::hull(values[x.index()].iter().copied());
        sites.iter().map(hull).collect()
    };
    let per_sample = samples.map_values(graph, hulls)?;
    let data = |index: usize| {
        per_sample
            .iter()
            .fold(Interval::EMPTY, |hull, sample| hull.union(sample[index]))
    };
    let mut found = Vec::with_capacity(sites.len());
    for (index, (value, x, func)) in sites.iter().enumerate() {
        let data = data(index);
        let margin = if are_real && is_few(per_sample.len()) {
            FEW_SAMPLES_MARGIN
        } else {
            1.0
        };
        let interval = interval(graph, *x, func, data, margin)?;
        let curve = Curve::of(func);
        let ends = Interval::hull((0..=64).map(|i| {
            let t = f64::from(i) / 64.0;
            let x = data.low + t * (data.high - data.low);
            curve.eval(x)
        }));
        found.push(Site {
            value: *value,
            x: *x,
            origin: graph.origin(*value).clone(),
            func: func.clone(),
            curve,
            interval,
            data,
            histogram: None,
            scale: (0.5 * (ends.high - ends.low)).max(f64::MIN_POSITIVE),
        });
    }
    if are_real {
        let fill =
            |values: &Values| -> Vec<Vec<f64>> { found.iter().map(|site| values[site.x.index()].to_vec()).collect() };
        let values = samples.fitted().map_values(graph, fill)?;
        for (index, site) in found.iter_mut().enumerate() {
            let (low, high) = (site.interval.low, site.interval.high);
            let histogram = Histogram::new(low, high, Histogram::DEFAULT_BINS);
            let mut histogram = histogram.map_err(|error| failed(&site.origin, &error))?;
            for sample in &values {
                sample[index].iter().for_each(|x| histogram.add(*x));
            }
            site.histogram = Some(histogram);
        }
    }
    Ok(found)
}

/// The interval to approximate on: the calibrated one, widened by `margin`, within the function's domain.
fn interval(graph: &Graph<Nn>, x: ValueId, func: &Func, data: Interval, margin: f64) -> Result<Interval, PassError> {
    let origin = graph.origin(x);
    let known = graph.attrs.ranges.binary_search_by_key(&x.0, |range| range.value);
    let mut interval = match known {
        Ok(position) => Interval::new(graph.attrs.ranges[position].low, graph.attrs.ranges[position].high),
        Err(_) => {
            let message = format!("{origin}: nothing is known of the range of {x}; calibrate runs before approximate");
            return Err(PassError::BadInput(message));
        }
    };
    interval = interval.widened(margin);
    let is_undefined = match func {
        Func::Sqrt {} => {
            interval.low = interval.low.max(0.0);
            data.low < 0.0
        }
        Func::Reciprocal {} if data.low > 0.0 => {
            interval.low = interval.low.max(SMALLEST_DIVISOR * data.low);
            false
        }
        Func::Reciprocal {} if data.high < 0.0 => {
            interval.high = interval.high.min(SMALLEST_DIVISOR * data.high);
            false
        }
        Func::Reciprocal {} => true,
        _ => false,
    };
    if is_undefined {
        let message = format!(
            "{func:?} is not defined on all of [{:.4}, {:.4}], where its operand lies",
            data.low, data.high
        );
        return Err(PassError::unsupported(origin, message));
    }
    if interval.low >= interval.high {
        let reach = POINT_REACH * interval.low.abs().max(1.0);
        interval = Interval::new(interval.low - reach, interval.low + reach);
    }
    Ok(interval)
}

/// What became of a request to `approx` for the activation at `origin`.
pub(super) fn failed(origin: &Origin, error: &ApproxError) -> PassError {
    PassError::unsupported(origin, error.to_string())
}
