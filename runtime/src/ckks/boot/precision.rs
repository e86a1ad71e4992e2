//! What precision a circuit keeps: every rounding, magnified by what the rest of the circuit does to it.
//!
//! Assumes messages of magnitude up to one per slot. Ensures an estimate of the worst slot's bits within about one bit of
//! what is measured. Method: the reduction's derivative with respect to each value that it rounds is computed in numbers, by
//! reverse differentiation, at every multiple of q_0 that a slot can carry; slots then differ in their noise, and the worst
//! of them is where the mixture's tail ends. The linear transforms are unitary up to scaling, so that what a rounding in
//! them does follows from the butterfly stages after it.

use std::collections::BTreeMap;
use std::f64::consts::{PI, TAU};

use super::eval_mod::EvalMod;
use crate::ckks::polynomial::{Basis, PolynomialPlan, Sum, power_depth};

/// Standard deviation of a fresh error.
const FRESH_DEVIATION: f64 = 3.2;
/// Messages over which slots are averaged.
const SAMPLES: [f64; 4] = [-0.9, -0.35, 0.35, 0.9];
/// Expected number of slots beyond what is called the worst: a run stays within it in nine cases of ten.
const SLOTS_BEYOND: f64 = 0.1;
/// One factor of a linear transform.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct FactorNoise {
    /// Butterfly stages.
    pub stages: usize,
    /// log2 of the scale of its result.
    pub log_scale: f64,
    /// log2 of the scale of its diagonals.
    pub log_plain: f64,
}

/// What decides the noise outside of the reduction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NoiseInputs<'a> {
    pub log_n: u32,
    /// Slots of the message.
    pub slots: usize,
    /// Slots of the ciphertexts that are reduced.
    pub reduced_slots: usize,
    /// Real numbers of the message.
    pub values: usize,
    /// Hamming weight of the secret.
    pub hamming_weight: usize,
    /// Hamming weight of the ephemeral secret.
    pub ephemeral_weight: usize,
    /// log2 of the scale of the message.
    pub log_scale: f64,
    pub log_q0: f64,
    /// log2 of the special modulus over the widest digit, at least.
    pub log_margin: f64,
    /// Key-switching digits of slots_to_coeffs and of the reduction, at most.
    pub digits: [usize; 2],
    pub slots_to_coeffs: &'a [FactorNoise],
    pub coeffs_to_slots: &'a [FactorNoise],
    /// log2 of the scales of the reduction, by depth.
    pub log_scales: &'a [f64],
    /// The scale of the result where real and imaginary parts are taken apart, and that of the masks.
    pub merge: Option<[f64; 2]>,
    /// What slots are divided by before the reduction.
    pub width: f64,
    /// q_0 over the scale of the message.
    pub ratio: f64,
    /// Largest and mean error of the sine, relative to the largest message.
    pub sine_error: [f64; 2],
}

/// Noise of a part of a bootstrap, as the result shows it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct StageNoise {
    /// The part.
    pub stage: &'static str,
    /// log2 of the standard deviation per real number of the message.
    pub log_deviation: f64,
}

/// The expectation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Precision {
    /// Bits of the worst number and of the mean error.
    pub bits: [f64; 2],
    /// log2 of the standard deviation.
    pub log_deviation: f64,
    pub stages: Vec<StageNoise>,
}

/// Squared derivatives of a reduction's result with respect to what it rounds.
#[derive(Debug, Clone)]
pub(super) struct Gains {
    cases: Vec<Case>,
}

/// A multiple of q_0 with a message.
#[derive(Debug, Clone)]
struct Case {
    /// How often it occurs.
    probability: f64,
    /// What the cosine's series gets wrong here.
    series_error: f64,
    /// With respect to the input.
    input: f64,
    /// Sums over all values at a depth.
    by_depth: Vec<f64>,
}

impl Gains {
    /// The derivatives of 2 pi m / q_0, for ephemeral secrets of this Hamming weight.
    pub(super) fn new(eval_mod: &EvalMod, ephemeral_weight: usize, ratio: f64) -> Self {
        let variance = (1.0 + ephemeral_weight as f64) / 12.0;
        let reach = eval_mod.width().floor() as i64;
        let density = |multiple: i64| (-(multiple.pow(2) as f64) / (2.0 * variance)).exp();
        let total: f64 = (-reach..=reach).map(density).sum();
        let cases = (-reach..=reach)
            .flat_map(|multiple| SAMPLES.map(|message| (multiple, message)))
            .map(|(multiple, message)| {
                let y = (message / ratio + multiple as f64 - 0.25) / eval_mod.width();
                let tape = Tape::record(eval_mod, y);
                let sine = (TAU * message / ratio).sin();
                let exact = eval_mod.arcsine().map_or(sine, |plan| plan.polynomial().evaluate(sine));
                let found = tape.values.last().copied().unwrap_or(y);
                Case {
                    probability: density(multiple) / total / SAMPLES.len() as f64,
                    series_error: found - exact,
                    ..tape.gains(eval_mod.depth())
                }
            })
            .collect();
        Self { cases }
    }
}

/// The values of a reduction and how each depends on those before.
#[derive(Default)]
struct Tape {
    values: Vec<f64>,
    /// (earlier value, derivative).
    edges: Vec<Vec<(usize, f64)>>,
    depths: Vec<usize>,
}

impl Tape {
    fn record(eval_mod: &EvalMod, y: f64) -> Self {
        let mut tape = Self::default();
        let mut last = tape.push(y, 0, Vec::new());
        last = tape.polynomial(eval_mod.cosine(), last);
        for _ in 0..eval_mod.doublings() {
            let c = tape.values[last];
            last = tape.push(2.0 * c * c - 1.0, tape.depths[last] + 1, vec![(last, 4.0 * c)]);
        }
        if let Some(arcsine) = eval_mod.arcsine() {
            tape.polynomial(arcsine, last);
        }
        tape
    }

    fn push(&mut self, value: f64, depth: usize, edges: Vec<(usize, f64)>) -> usize {
        self.values.push(value);
        self.depths.push(depth);
        self.edges.push(edges);
        self.values.len() - 1
    }

    fn polynomial(&mut self, plan: &PolynomialPlan, input: usize) -> usize {
        let start = self.depths[input];
        let is_chebyshev = plan.polynomial().basis() == Basis::Chebyshev;
        let factor = if is_chebyshev { 2.0 } else { 1.0 };
        let mut powers = BTreeMap::from([(1, input)]);
        for step in plan.powers() {
            let (left, right) = (powers[&step.left], powers[&step.right]);
            let (a, b) = (self.values[left], self.values[right]);
            let mut value = factor * a * b;
            let mut edges = vec![(left, factor * b), (right, factor * a)];
            match step.difference {
                Some(0) => value -= 1.0,
                Some(index) => {
                    value -= self.values[powers[&index]];
                    edges.push((powers[&index], -1.0));
                }
                None => {}
            }
            let depth = start + power_depth(step.index);
            powers.insert(step.index, self.push(value, depth, edges));
        }
        self.sum(plan.root(), &powers, start)
    }

    fn sum(&mut self, sum: &Sum, powers: &BTreeMap<usize, usize>, start: usize) -> usize {
        let mut value = sum.leaf.constant;
        let mut edges = Vec::new();
        for product in &sum.products {
            let quotient = self.sum(&product.quotient, powers, start);
            let giant = powers[&product.giant];
            let (a, b) = (self.values[quotient], self.values[giant]);
            value += a * b;
            edges.extend([(quotient, b), (giant, a)]);
        }
        for (index, coefficient) in &sum.leaf.terms {
            value += coefficient * self.values[powers[index]];
            edges.push((powers[index], *coefficient));
        }
        self.push(value, start + sum.depth, edges)
    }

    /// Squared derivatives of the last value.
    fn gains(&self, depth: usize) -> Case {
        let mut slopes = vec![0.0; self.values.len()];
        if let Some(last) = slopes.last_mut() {
            *last = 1.0;
        }
        let mut by_depth = vec![0.0; depth + 1];
        for node in (1..self.values.len()).rev() {
            by_depth[self.depths[node]] += f64::powi(slopes[node], 2);
            for (earlier, derivative) in &self.edges[node] {
                slopes[*earlier] += slopes[node] * derivative;
            }
        }
        Case {
            probability: 0.0,
            series_error: 0.0,
            input: slopes[0].powi(2),
            by_depth,
        }
    }
}

/// What to expect.
pub(super) fn precision(inputs: &NoiseInputs, gains: &Gains) -> Precision {
    let n = f64::from(inputs.log_n).exp2();
    // A sparsely packed message is the mean of its repetitions, whose noise is independent.
    let spread = 2.0 * inputs.reduced_slots as f64;
    let squared = |log2: f64| (2.0 * log2).exp2();
    // Variances of one coefficient: of a division's two roundings, and of a key switch without them.
    let rounding = |weight: usize| (1.0 + weight as f64) / 12.0;
    let divided = rounding(inputs.hamming_weight);
    let switch = |digits: usize| digits as f64 * n / 12.0 * FRESH_DEVIATION.powi(2) / squared(inputs.log_margin);
    let [switched_below, switched] = inputs.digits.map(switch);
    let encoded = |slots: usize, log_plain: f64| 2.0 * slots as f64 / 12.0 / squared(log_plain);

    // Slots to coefficients, per coefficient. The trace leaves of the noise what lies in the message's subring.
    let mut before = 0.0;
    let mut stages_done = 0;
    let slots = inputs.slots as f64;
    for factor in inputs.slots_to_coeffs {
        let width = (factor.stages as f64).exp2();
        before += 4.0 * width * encoded(inputs.slots, factor.log_plain) / width;
        stages_done += factor.stages;
        let done = (stages_done as f64).exp2();
        before += slots * (divided + switched_below / 4.0) / done / squared(factor.log_scale);
    }

    // Raising: to the sparse secret under a special prime of its own, and back.
    let log_room = (49.99 - inputs.log_q0).min(4.0);
    let to_sparse = rounding(inputs.ephemeral_weight) + n / 12.0 * FRESH_DEVIATION.powi(2) / squared(log_room);
    let raising = (to_sparse + divided) / squared(inputs.log_scale);

    // Coefficients to slots: twice the real part of a slot is the reduction's input.
    let power = (1.0 + inputs.ephemeral_weight as f64) / 12.0 / inputs.width.powi(2);
    let mut input = 0.0;
    let mut left: usize = inputs.coeffs_to_slots.iter().map(|factor| factor.stages).sum();
    for factor in inputs.coeffs_to_slots {
        left -= factor.stages;
        let after = (left as f64).exp2();
        input += 2.0 * spread * divided / after / squared(factor.log_scale);
        // Twice 2^stages diagonals, on slots larger than the result's by half of all stages to come.
        let diagonals = (2.0 * factor.stages as f64 + 1.0).exp2();
        input += diagonals * encoded(inputs.reduced_slots, factor.log_plain) * power;
    }
    // The conjugation.
    input += spread / 2.0 * (divided + switched) / squared(inputs.log_scales[0]);

    // The reduction, and the product with masks after it.
    let relative: Vec<f64> = inputs
        .log_scales
        .iter()
        .map(|log_scale| spread / 2.0 * (divided + switched / 64.0) / squared(*log_scale))
        .collect();
    let unit = inputs.ratio / TAU;
    let reduction = |case: &Case| -> f64 {
        let terms = case
            .by_depth
            .iter()
            .zip(&relative)
            .map(|(gain, variance)| gain * variance);
        unit.powi(2) * (terms.sum::<f64>() + case.series_error.powi(2))
    };
    let merge = inputs.merge.map_or(0.0, |[log_scale, log_plain]| {
        spread / 2.0 * (divided + switched) / squared(log_scale)
            // Of a mask every other coefficient is zero, and of the message the mean square a third.
            + 2.0 * encoded(inputs.reduced_slots, log_plain) / 6.0
            + spread / 2.0 * divided / squared(inputs.log_scale)
    });

    let constant = before + raising + merge;
    let deviations: Vec<(f64, f64)> = gains
        .cases
        .iter()
        .map(|case| {
            let total = constant + unit.powi(2) * case.input * input + reduction(case);
            (case.probability, total.sqrt())
        })
        .collect();
    let expectation =
        |of: &dyn Fn(&Case) -> f64| -> f64 { gains.cases.iter().map(|case| case.probability * of(case)).sum() };
    let transformed = expectation(&|case| unit.powi(2) * case.input * input);
    let reduced = expectation(&reduction);
    let mean_deviation: f64 = deviations
        .iter()
        .map(|(probability, deviation)| probability * deviation)
        .sum();
    let [sine_worst, sine_mean] = inputs.sine_error;
    let mean = (mean_deviation * (2.0 / PI).sqrt()).hypot(sine_mean);
    let worst = worst_of(&deviations, inputs.values as f64) + sine_worst;
    let stage = |stage, variance: f64| StageNoise {
        stage,
        log_deviation: variance.log2() / 2.0,
    };
    Precision {
        bits: [-worst.log2(), -mean.log2()],
        log_deviation: (constant + transformed + reduced + sine_mean.powi(2)).log2() / 2.0,
        stages: vec![
            stage("slots_to_coeffs", before),
            stage("mod_raise", raising),
            stage("coeffs_to_slots", transformed),
            stage("eval_mod", reduced),
            stage("sine", sine_mean.powi(2)),
            stage("halves apart", merge),
        ],
    }
}

/// The bound that `SLOTS_BEYOND` of `count` numbers exceed, for a mixture of Gaussian numbers by probability and deviation.
fn worst_of(mixture: &[(f64, f64)], count: f64) -> f64 {
    let beyond = |bound: f64| -> f64 {
        let tails = mixture
            .iter()
            .map(|(probability, deviation)| probability * tail(bound / deviation));
        count * tails.sum::<f64>()
    };
    let largest = mixture.iter().map(|(_, deviation)| *deviation).fold(0.0, f64::max);
    let (mut low, mut high) = (0.0, 20.0 * largest);
    for _ in 0..30 {
        let middle = (low + high) / 2.0;
        if beyond(middle) > SLOTS_BEYOND {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// P(|x| > `bound`) of a standard Gaussian number. Source: Borjesson, Sundberg, "Simple Approximations of the Error Function
/// Q(x) for Communications Applications", IEEE Transactions on Communications, 1979.
fn tail(bound: f64) -> f64 {
    let density = (-bound * bound / 2.0).exp() / TAU.sqrt();
    2.0 * density / (0.661 * bound + 0.339 * (bound * bound + 5.51).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_is_magnified_by_the_slope_of_the_sine() {
        let (reach, ratio) = (9, 64.0);
        for doublings in [0, 2] {
            let eval_mod = EvalMod::new(reach, ratio, doublings, 5, 1e-9).unwrap();
            let slope = TAU * eval_mod.width();
            let gains = Gains::new(&eval_mod, 16, ratio);
            let total: f64 = gains.cases.iter().map(|case| case.probability).sum();
            assert!((total - 1.0).abs() < 1e-9);
            for case in &gains.cases {
                assert!((case.input.sqrt() / slope - 1.0).abs() < 1e-2, "{}", case.input.sqrt());
                assert_eq!(case.by_depth.len(), eval_mod.depth() + 1);
                assert!(case.by_depth[eval_mod.depth()] == 1.0 && case.by_depth[0] == 0.0);
                assert!(case.by_depth[1..].iter().all(|gain| *gain > 0.0));
            }
        }
    }

    #[test]
    fn the_worst_of_many_lies_in_the_tail() {
        // Two-sided tails of the Gaussian distribution: 5 % beyond 1.96, 1e-4 beyond 3.8906.
        assert!((tail(1.96) - 0.05).abs() < 5e-4);
        assert!((worst_of(&[(1.0, 1.0)], SLOTS_BEYOND * 1e4) - 3.8906).abs() < 5e-3);
        // The part of larger noise decides.
        let mixed = worst_of(&[(0.9, 1.0), (0.1, 3.0)], SLOTS_BEYOND * 1e5);
        assert!((mixed / 3.0 - 3.8906).abs() < 5e-3);
    }
}
