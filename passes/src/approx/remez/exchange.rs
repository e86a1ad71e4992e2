//! The exchange: where the error peaks, and which peaks become the next reference.

use super::super::error::ApproxError;
use super::MinimaxProblem;
use super::space::{Grid, GridPoint, Space};

/// A local extremum of the error.
#[derive(Clone, Copy)]
pub(super) struct Peak {
    theta: f64,
    pub(super) error: f64,
}

/// All local extrema of the error, ascending in angle, refined between grid points. The reference points are among them,
/// so that the error alternates on what is returned even where a peak is too narrow for the grid.
pub(super) fn local_extrema(
    problem: &MinimaxProblem<'_>,
    space: &Space,
    grid: &Grid,
    coeffs: &[f64],
    reference: &[f64],
) -> Result<Vec<Peak>, ApproxError> {
    let error_at = |theta: f64| Ok(GridPoint::new(problem, space, theta)?.error(space, coeffs));
    let mut peaks = Vec::with_capacity(3 * space.n_coeffs);
    for &theta in reference {
        peaks.push(Peak {
            theta,
            error: error_at(theta)?,
        });
    }
    for points in &grid.segments {
        let errors: Vec<f64> = points.iter().map(|point| point.error(space, coeffs)).collect();
        for i in 0..points.len() {
            let magnitude = |j: usize| errors[j] * errors[i].signum();
            let rises = i == 0 || magnitude(i) >= magnitude(i - 1);
            let falls = i + 1 == points.len() || magnitude(i) > magnitude(i + 1);
            if errors[i] == 0.0 || !rises || !falls {
                continue;
            }
            let mut peak = Peak {
                theta: points[i].theta,
                error: errors[i],
            };
            if i > 0 && i + 1 < points.len() {
                peak = refine(
                    [i - 1, i, i + 1].map(|j| Peak {
                        theta: points[j].theta,
                        error: errors[j],
                    }),
                    error_at,
                )?;
            }
            peaks.push(peak);
        }
    }
    peaks.sort_by(|a, b| a.theta.total_cmp(&b.theta));
    Ok(peaks)
}

/// Successive parabolic interpolation of an extremum bracketed by three points.
fn refine(
    [mut left, mut middle, mut right]: [Peak; 3],
    error_at: impl Fn(f64) -> Result<f64, ApproxError>,
) -> Result<Peak, ApproxError> {
    let sign = middle.error.signum();
    for _ in 0..4 {
        let (dl, dr) = (middle.theta - left.theta, right.theta - middle.theta);
        let (fl, fr) = (sign * (middle.error - left.error), sign * (middle.error - right.error));
        let denominator = dl * fr + dr * fl;
        if denominator <= 0.0 {
            break;
        }
        // Vertex of the parabola through the three points.
        let theta = middle.theta + 0.5 * (dr * dr * fl - dl * dl * fr) / denominator;
        if !(theta > left.theta && theta < right.theta) || (theta - middle.theta).abs() < 1e-9 * (dl + dr) {
            break;
        }
        let probe = Peak {
            theta,
            error: error_at(theta)?,
        };
        let is_better = sign * probe.error > sign * middle.error;
        match (theta < middle.theta, is_better) {
            (true, true) => (middle, right) = (probe, middle),
            (true, false) => left = probe,
            (false, true) => (left, middle) = (middle, probe),
            (false, false) => right = probe,
        }
    }
    Ok(middle)
}

/// The alternating subset of `n` peaks with the largest sum of magnitudes (greedily), as angles; `None` if the error
/// alternates less often than that. Only peaks of at least `level` count and the highest one stays, so that the level of
/// the next reference is higher: this is what makes the exchange converge.
pub(super) fn alternating_subset(peaks: &[Peak], n: usize, level: f64) -> Option<Vec<f64>> {
    let highest = peaks.iter().fold(0.0f64, |highest, peak| highest.max(peak.error.abs()));
    let mut chosen: Vec<Peak> = Vec::with_capacity(peaks.len());
    for peak in peaks.iter().filter(|peak| peak.error.abs() >= level) {
        match chosen.last_mut() {
            Some(last) if (last.error > 0.0) == (peak.error > 0.0) => {
                if peak.error.abs() > last.error.abs() {
                    *last = *peak;
                }
            }
            _ => chosen.push(*peak),
        }
    }
    while chosen.len() > n {
        let magnitude = |i: usize| {
            let error = chosen[i].error.abs();
            if error == highest { f64::INFINITY } else { error }
        };
        let last = chosen.len() - 1;
        if chosen.len() == n + 1 {
            let drop = if magnitude(0) < magnitude(last) { 0 } else { last };
            chosen.remove(drop);
            continue;
        }
        // Two neighbours, or both ends, leave an alternating rest.
        let (mut pair, mut smallest) = ((0, last), magnitude(0) + magnitude(last));
        for i in 0..last {
            let sum = magnitude(i) + magnitude(i + 1);
            if sum < smallest {
                (pair, smallest) = ((i, i + 1), sum);
            }
        }
        chosen.remove(pair.1);
        chosen.remove(pair.0);
    }
    (chosen.len() == n).then(|| chosen.iter().map(|peak| peak.theta).collect())
}
