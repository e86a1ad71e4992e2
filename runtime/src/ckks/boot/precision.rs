//! What precision a circuit keeps: the noise of every rescale, as far as the rest of the circuit magnifies it.
//!
//! Assumes messages of magnitude up to one per slot and the noise of a dense secret's rescale in every slot of every level.
//! Ensures an estimate of the worst slot's bits, within about one bit of what is measured.
//! Method: a slot y of the reduction's input has its noise multiplied by the cosine's slope, 2 pi W; T_k of it by that over
//! k sin(k arccos y), which is large where no multiple of q_0 was added, y = 1/4W: by 8 pi W^2 / k^2; a double angle multiplies the noise before it by 4 c. The reduced
//! coefficients' noise is then summed over all coefficients by the embedding.

use std::f64::consts::TAU;

/// What decides the noise.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NoiseInputs<'a> {
    pub log_n: u32,
    /// Slots of the message.
    pub slots: usize,
    /// Whether one set of real coefficients stands for all: twice the variance per slot.
    pub mirrored: bool,
    /// Hamming weight of the dense secret.
    pub hamming_weight: usize,
    /// log2 of the scales of the reduction, by depth.
    pub log_scales: &'a [f64],
    /// W.
    pub width: f64,
    /// Depth of the cosine.
    pub cosine_depth: usize,
    pub doublings: usize,
    /// q_0 over the scale of the message.
    pub ratio: f64,
    /// log2 of the scale of the reduced message.
    pub log_reduced_scale: f64,
    /// log2 of the scale of the result.
    pub log_scale: f64,
    /// Relative error of the sine.
    pub sine_error: f64,
    /// Error of the cosine's series, after the double angles.
    pub tolerance: f64,
}

/// Variance of one coefficient's noise after a rescale and the key switch before it, in units of the result.
fn rescale_variance(hamming_weight: usize) -> f64 {
    1.2 * (1.0 + hamming_weight as f64) / 12.0
}

/// Bits of the worst slot and of the mean error.
pub(super) fn expected_bits(inputs: &NoiseInputs) -> [f64; 2] {
    let slot_variance = f64::from(inputs.log_n).exp2() * rescale_variance(inputs.hamming_weight);
    // Of a slot's noise, half is imaginary.
    let relative = |log_scale: f64| slot_variance / 2.0 * (-2.0 * log_scale).exp2();
    // cos -> 2 cos^2 - 1: 4 cos at the angles pi/4, pi/8, ... before the last steps.
    let doubled = |steps: usize| -> f64 {
        (1..=steps)
            .map(|step| 4.0 * (TAU / 4.0 / (step as f64).exp2()).cos())
            .product()
    };
    let slope = TAU * inputs.width;
    let mut variance = inputs.tolerance.powi(2);
    for (depth, log_scale) in inputs.log_scales.iter().enumerate() {
        let sine_at = inputs.cosine_depth + inputs.doublings;
        let gain = if depth < inputs.cosine_depth {
            // The largest of what its powers pass on and what the last sums do.
            let power = (depth as f64).exp2();
            // Root mean square over the multiples of q_0.
            let near_zero = if depth == 0 {
                0.0
            } else {
                2.2 * slope * inputs.width / (power * power)
            };
            (slope / power).max(near_zero).max(doubled(inputs.doublings))
        } else if depth < sine_at {
            doubled(sine_at - depth)
        } else {
            1.0
        };
        // The input carries the key switches of the conjugation and of the last factors besides.
        let terms = if depth == 0 { 4.0 } else { 1.0 };
        variance += terms * gain.powi(2) * relative(*log_scale);
    }
    let coefficient = variance.sqrt() * inputs.ratio / TAU;
    let spread = (inputs.slots as f64 * if inputs.mirrored { 2.0 } else { 1.0 }).sqrt();
    // Three rescales of equal weight on the way out.
    let last = (3.0 * relative(inputs.log_scale)).sqrt();
    // The first factor's rotations add noise to the reduced slots, which are coefficients already.
    let rotated = relative(inputs.log_reduced_scale).sqrt() * spread;
    let deviation = (coefficient * spread).hypot(last).hypot(rotated);
    // The largest of so many Gaussian numbers, and what a whole message in one coefficient would suffer.
    let extreme = (2.0 * (2.0 * inputs.slots as f64).ln()).sqrt();
    let mean = deviation * (2.0 / std::f64::consts::PI).sqrt();
    // A message spread over many coefficients suffers less of it.
    let mean = mean + inputs.sine_error / (inputs.slots as f64).sqrt();
    [-(deviation * extreme + inputs.sine_error).log2(), -mean.log2()]
}
