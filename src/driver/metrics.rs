//! Encrypted results against clear ones.

use aphelion_ir::Graph;
use aphelion_ir::nn::{Func, Nn, NnOp};

use crate::report::{Accuracy, Agreement, ErrorStats};

/// How a model's first output names a class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// The index of the largest element.
    Argmax,
    /// 1 where the only element lies above the threshold, else 0.
    Threshold(f64),
}

impl Decision {
    /// How `graph` decides: a single output behind a sigmoid is a probability, another single output a score.
    #[must_use]
    pub fn of(graph: &Graph<Nn>) -> Self {
        let Some(output) = graph.outputs().first() else {
            return Self::Argmax;
        };
        if graph.ty(output.value).len() > 1 {
            return Self::Argmax;
        }
        let mut value = output.value;
        // Ops that only reshape say nothing about the meaning.
        while let NnOp::Reshape { x, .. } | NnOp::Transpose { x, .. } = graph.op(value) {
            value = *x;
        }
        let is_probability = match graph.op(value) {
            NnOp::Apply { func, .. } => matches!(func, Func::Sigmoid {} | Func::HardSigmoid { .. }),
            _ => false,
        };
        Self::Threshold(if is_probability { 0.5 } else { 0.0 })
    }

    /// The class.
    #[must_use]
    pub fn class(self, output: &[f64]) -> usize {
        match self {
            Self::Threshold(threshold) => usize::from(output.first().is_some_and(|value| *value > threshold)),
            Self::Argmax => {
                let largest = |best: usize, index: usize| if output[index] > output[best] { index } else { best };
                (1..output.len()).fold(0, largest)
            }
        }
    }

    /// How far the class is ahead of the next, or a score from its threshold.
    #[must_use]
    pub fn lead(self, output: &[f64]) -> f64 {
        match self {
            Self::Threshold(threshold) => output.first().map_or(0.0, |value| (value - threshold).abs()),
            Self::Argmax => {
                let class = self.class(output);
                let others = output.iter().enumerate().filter(|(index, _)| *index != class);
                let next = others.fold(f64::NEG_INFINITY, |next, (_, value)| next.max(*value));
                output.get(class).map_or(0.0, |value| value - next)
            }
        }
    }
}

/// Error over all elements of all samples.
#[must_use]
pub fn error_stats(found: &[Vec<f64>], expected: &[Vec<f64>]) -> ErrorStats {
    let pairs = || found.iter().flatten().zip(expected.iter().flatten());
    let max_abs = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let reference_max_abs = expected
        .iter()
        .flatten()
        .fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let count = pairs().count().max(1) as f64;
    ErrorStats {
        max_abs,
        mean_abs: pairs().map(|(a, b)| (a - b).abs()).sum::<f64>() / count,
        bits: -(max_abs / reference_max_abs).log2(),
        reference_max_abs,
    }
}

/// Samples with the same class on both sides.
#[must_use]
pub fn agreement(decision: Decision, found: &[Vec<f64>], expected: &[Vec<f64>]) -> Agreement {
    let same = found
        .iter()
        .zip(expected)
        .filter(|(a, b)| decision.class(a) == decision.class(b));
    Agreement {
        same: same.count(),
        total: found.len(),
    }
}

/// Samples with the class that their label names, clear and encrypted.
#[must_use]
pub fn accuracy(decision: Decision, labels: &[usize], clear: &[Vec<f64>], encrypted: &[Vec<f64>]) -> Accuracy {
    let right = |outputs: &[Vec<f64>]| {
        let hits = outputs
            .iter()
            .zip(labels)
            .filter(|(output, label)| decision.class(output) == **label);
        hits.count()
    };
    Accuracy {
        clear: right(clear),
        encrypted: right(encrypted),
        total: encrypted.len(),
    }
}

/// The middle value; the mean of the two middle ones of an even number; 0 of none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_known_values() {
        let expected = vec![vec![1.0, -4.0], vec![0.5, 2.0]];
        let found = vec![vec![1.25, -4.0], vec![0.5, 1.5]];
        let stats = error_stats(&found, &expected);
        assert_eq!(
            (stats.max_abs, stats.mean_abs, stats.reference_max_abs),
            (0.5, 0.1875, 4.0)
        );
        assert_eq!(stats.bits, 3.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn classes_are_compared() {
        assert_eq!(Decision::Argmax.class(&[0.0, 3.0, 3.0, -1.0]), 1);
        assert_eq!(Decision::Threshold(0.5).class(&[0.6]), 1);
        assert_eq!(Decision::Argmax.lead(&[0.0, 3.0, 1.0, -1.0]), 2.0);
        assert_eq!(Decision::Threshold(0.5).lead(&[0.25]), 0.25);
        let clear = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
        let encrypted = vec![vec![0.9, 0.0], vec![0.6, 0.5]];
        assert_eq!(
            agreement(Decision::Argmax, &encrypted, &clear),
            Agreement { same: 1, total: 2 }
        );
        let accuracy = accuracy(Decision::Argmax, &[0, 1], &clear, &encrypted);
        assert_eq!((accuracy.clear, accuracy.encrypted, accuracy.total), (2, 1, 2));
    }
}
