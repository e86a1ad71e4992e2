//! Prices that explain measurements.
//!
//! A measured operation takes the sum of its counts times prices. Of all prices, those are chosen that minimise
//! `sum (log predicted - log measured)^2 + PULL * sum (log price - log price before)^2`, so that what no measurement tells apart
//! changes together, and what none contains stays. Gauss-Newton on the logarithms.

use super::table::Measurement;

/// Number of prices.
pub(super) const PRICES: usize = 9;

/// Weight of a price's distance from what it was, beside an error of the prediction.
const PULL: f64 = 1e-2;
const ITERATIONS: usize = 20;

/// What measurements say of the prices of one ring degree.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Correction {
    /// Of every price.
    pub factors: [f64; PRICES],
    /// Median over operations that were measured on one thread and on several.
    pub serial_share: Option<f64>,
}

/// Corrects `prices` by measurements with their counts; `None` without any on one thread.
pub(super) fn correction(prices: &[f64; PRICES], measured: &[(&Measurement, [f64; PRICES])]) -> Option<Correction> {
    let is_usable = |(measurement, counts): &&(&Measurement, [f64; PRICES])| {
        measurement.ms > 0.0 && measurement.ms.is_finite() && counts.iter().any(|count| *count > 0.0)
    };
    let (single, several): (Vec<_>, Vec<_>) = measured.iter().filter(is_usable).partition(|(m, _)| m.threads == 1);
    if single.is_empty() {
        return None;
    }
    let mut logs = [0.0f64; PRICES];
    for _ in 0..ITERATIONS {
        let mut matrix = [[0.0; PRICES]; PRICES];
        let mut right = logs.map(|log| -PULL * log);
        for (place, row) in matrix.iter_mut().enumerate() {
            row[place] = PULL;
        }
        for (measurement, counts) in &single {
            let terms: [f64; PRICES] = std::array::from_fn(|k| counts[k] * prices[k] * logs[k].exp());
            let predicted: f64 = terms.iter().sum();
            let residual = (measurement.ms * 1e-3 / predicted).ln();
            for (i, term) in terms.iter().enumerate() {
                right[i] += term / predicted * residual;
                for (j, other) in terms.iter().enumerate() {
                    matrix[i][j] += term * other / (predicted * predicted);
                }
            }
        }
        let step = solve(matrix, right);
        logs.iter_mut().zip(step).for_each(|(log, step)| *log += step);
    }
    let share = |(measurement, _): &(&Measurement, [f64; PRICES])| {
        let alone = single
            .iter()
            .find(|(other, _)| (&other.op, other.limbs) == (&measurement.op, measurement.limbs))?;
        let (ratio, threads) = (measurement.ms_min / alone.0.ms_min, f64::from(measurement.threads));
        Some(((ratio * threads - 1.0) / (threads - 1.0)).clamp(0.0, 1.0))
    };
    let mut shares: Vec<f64> = several.iter().filter_map(share).collect();
    shares.sort_unstable_by(f64::total_cmp);
    Some(Correction {
        factors: logs.map(f64::exp),
        serial_share: shares.get(shares.len() / 2).copied(),
    })
}

/// Solves a positive definite system by elimination.
fn solve(mut matrix: [[f64; PRICES]; PRICES], mut right: [f64; PRICES]) -> [f64; PRICES] {
    for pivot in 0..PRICES {
        let row = matrix[pivot];
        for below in pivot + 1..PRICES {
            let factor = matrix[below][pivot] / row[pivot];
            matrix[below]
                .iter_mut()
                .zip(row)
                .for_each(|(value, above)| *value -= factor * above);
            right[below] -= factor * right[pivot];
        }
    }
    for pivot in (0..PRICES).rev() {
        let known: f64 = (pivot + 1..PRICES)
            .map(|column| matrix[pivot][column] * right[column])
            .sum();
        right[pivot] = (right[pivot] - known) / matrix[pivot][pivot];
    }
    right
}
