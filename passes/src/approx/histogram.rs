//! A histogram of the values that a function's input takes on calibration data.

use super::error::{ApproxError, check_interval};

/// Counts of samples in equal bins over an interval; every bin keeps its mean and its extremes, so that errors are
/// measured where the data lies and not where a bin's middle happens to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    low: f64,
    high: f64,
    bins: Vec<Bin>,
    n_inside: u64,
    n_outside: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bin {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Histogram {
    /// Bins that resolve an activation's curvature well and keep a least-squares fit of degree 63 under 10 ms.
    pub const DEFAULT_BINS: usize = 256;

    /// An empty histogram of `n_bins` bins (at least one) on `[low, high]`.
    ///
    /// # Errors
    /// If the interval is not proper.
    pub fn new(low: f64, high: f64, n_bins: usize) -> Result<Self, ApproxError> {
        check_interval(low, high)?;
        let empty = Bin {
            count: 0,
            sum: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        };
        Ok(Self {
            low,
            high,
            bins: vec![empty; n_bins.max(1)],
            n_inside: 0,
            n_outside: 0,
        })
    }

    /// Adds one sample. One outside the interval, or not a number, is only counted.
    pub fn add(&mut self, sample: f64) {
        if !(self.low..=self.high).contains(&sample) {
            self.n_outside += 1;
            return;
        }
        let position = (sample - self.low) / (self.high - self.low) * self.bins.len() as f64;
        let last = self.bins.len() - 1;
        let bin = &mut self.bins[(position as usize).min(last)];
        bin.count += 1;
        bin.sum += sample;
        bin.min = bin.min.min(sample);
        bin.max = bin.max.max(sample);
        self.n_inside += 1;
    }

    /// Lower and upper end.
    pub fn interval(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Samples inside the interval.
    pub fn n_inside(&self) -> u64 {
        self.n_inside
    }

    /// Samples outside the interval, and samples that are not numbers.
    pub fn n_outside(&self) -> u64 {
        self.n_outside
    }

    /// (mean, share of the samples inside) of every bin that holds samples, ascending; the shares sum to 1.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        let total = self.n_inside as f64;
        self.occupied().map(move |bin| (bin.mean(), bin.count as f64 / total))
    }

    /// Largest and root-mean-square error of `approximation` against `function` on the samples: the maximum over every
    /// occupied bin's extremes and mean, the mean square over the bins' means. `None` without samples inside.
    pub fn errors(&self, function: impl Fn(f64) -> f64, approximation: impl Fn(f64) -> f64) -> Option<(f64, f64)> {
        if self.n_inside == 0 {
            return None;
        }
        let error = |x: f64| (function(x) - approximation(x)).abs();
        let (mut max_abs, mut mean_square) = (0.0f64, 0.0);
        for bin in self.occupied() {
            let at_mean = error(bin.mean());
            mean_square += at_mean * at_mean * (bin.count as f64 / self.n_inside as f64);
            max_abs = max_abs.max(at_mean).max(error(bin.min)).max(error(bin.max));
        }
        Some((max_abs, mean_square.sqrt()))
    }

    fn occupied(&self) -> impl Iterator<Item = &Bin> {
        self.bins.iter().filter(|bin| bin.count > 0)
    }
}

impl Bin {
    /// Mean of the samples, kept between the extremes against rounding.
    fn mean(&self) -> f64 {
        (self.sum / self.count as f64).clamp(self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_inside_and_outside() {
        let mut histogram = Histogram::new(-1.0, 1.0, 4).unwrap();
        for sample in [-1.0, -0.9, 0.1, 0.3, 1.0, 1.1, -7.0, f64::NAN] {
            histogram.add(sample);
        }
        assert_eq!((histogram.n_inside(), histogram.n_outside()), (5, 3));
        let points: Vec<(f64, f64)> = histogram.points().collect();
        assert_eq!(points, vec![(-0.95, 0.4), (0.2, 0.4), (1.0, 0.2)]);
    }

    #[test]
    fn errors_are_those_of_the_data() {
        let mut histogram = Histogram::new(0.0, 10.0, 10).unwrap();
        assert_eq!(histogram.errors(|x| x, |_| 0.0), None);
        for sample in [1.0, 1.0, 1.0, 5.0] {
            histogram.add(sample);
        }
        let (max_abs, rms) = histogram.errors(|x| x, |_| 0.0).unwrap();
        assert_eq!((max_abs, rms), (5.0, 7f64.sqrt()));
    }
}
