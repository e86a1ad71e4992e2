//! Measures whole bootstraps: time by stage, precision against the plan's expectation, memory of keys and diagonals.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use crate::ckks::boot::{BootstrapPlan, BootstrapRequest, Bootstrapper, Content, StageNoise, StageTime};
use crate::ckks::encoding::{Complex64, Encoder};
use crate::ckks::eval::Evaluator;
use crate::ckks::keys::SecretKey;
use crate::ckks::params::Parameters;
use crate::error::Result;
use crate::ring::SecretRng;

/// What was measured, in the order and under the names of the peers' lines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BootstrapMeasurement {
    /// Whose numbers these are.
    pub peer: &'static str,
    /// The operation.
    pub op: &'static str,
    /// log2 of the ring degree.
    #[serde(rename = "logN")]
    pub log_n: u32,
    /// Slots of the message.
    pub slots: usize,
    /// Kind of message.
    pub content: Content,
    /// Ciphertext primes.
    pub limbs: usize,
    /// Special primes.
    pub special: usize,
    /// Digits of the key switch.
    pub dnum: usize,
    /// log2 of the largest modulus.
    #[serde(rename = "logQP")]
    pub log_qp: f64,
    /// Estimated security; `None` where no row of the table applies.
    pub security_bits: Option<f64>,
    /// Threads.
    pub threads: usize,
    /// Median in milliseconds.
    pub ms_median: f64,
    /// Fastest run in milliseconds.
    pub ms_min: f64,
    /// Levels that a bootstrap takes of the chain.
    pub levels_consumed: usize,
    /// Levels between the result and the input of the next bootstrap.
    pub levels_remaining: usize,
    /// Bits of their scale.
    pub level_bits: f64,
    /// Bits of the worst number.
    pub bits_worst: f64,
    /// Bits of the mean error.
    pub bits_mean: f64,
    /// What the plan expects of the worst number.
    pub expected_worst: f64,
    /// What the plan expects of the mean error.
    pub expected_mean: f64,
    /// Bound on the probability of failure.
    pub failure_log2: f64,
    /// Seconds it took to make all keys.
    pub key_seconds: f64,
    /// Bytes of all keys in memory.
    pub key_bytes: usize,
    /// Bytes of all encoded diagonals in memory.
    pub diagonal_bytes: usize,
}

/// A measurement with what explains it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BootstrapReport {
    /// The summary.
    #[serde(flatten)]
    pub measurement: BootstrapMeasurement,
    /// Stages of the fastest run.
    pub stages: Vec<StageTime>,
    /// Expected noise of each part.
    pub noise: Vec<StageNoise>,
    /// Bytes of keys in memory by use; parts share keys, so that these sum to more than all.
    pub keys: Vec<(&'static str, usize)>,
}

/// Values in [-1, 1].
fn sample(count: usize, seed: usize) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| ((i * 7919 + seed) as f64 * 0.618_033_988_749_895).fract() * 2.0 - 1.0)
}

/// Plans, makes keys, with their masks in memory or made at every use, and bootstraps `runs` times after one run that fills pools.
///
/// # Errors
/// As [`BootstrapPlan::new`].
pub fn bootstrap(request: &BootstrapRequest, keeps_masks: bool, runs: usize) -> Result<BootstrapReport> {
    measure(&BootstrapPlan::new(request)?, keeps_masks, runs)
}

/// As [`bootstrap`], for a plan.
///
/// # Errors
/// None, for a plan that this version made.
pub fn measure(plan: &BootstrapPlan, keeps_masks: bool, runs: usize) -> Result<BootstrapReport> {
    // on a thread of the pool, as plans are run
    rayon::scope(|_| measure_here(plan, keeps_masks, runs))
}

fn measure_here(plan: &BootstrapPlan, keeps_masks: bool, runs: usize) -> Result<BootstrapReport> {
    let request = plan.request();
    let params = Parameters::new(plan.literal().clone())?;
    let mut rng = SecretRng::from_os()?;
    let secret = SecretKey::generate(&params, &mut rng);
    let start = Instant::now();
    let keys = secret.evaluation_keys(&plan.key_request()?, &mut rng)?;
    let key_seconds = start.elapsed().as_secs_f64();
    if keeps_masks {
        keys.keep_masks();
    }
    let key_bytes = keys.memory_bytes();
    let bytes_by_use = plan.keys_by_use()?.into_iter();
    let bytes_by_use = bytes_by_use
        .map(|(what, request)| (what, keys.bytes_of(&request)))
        .collect();
    let bootstrapper = Bootstrapper::new(plan.clone(), Arc::new(Evaluator::new(keys)))?;
    let encoder = Encoder::new(&params);
    let imaginary = if request.content == Content::Real { 0.0 } else { 1.0 };
    let values: Vec<_> = sample(request.slots, 1)
        .zip(sample(request.slots, 2))
        .map(|(re, im)| Complex64::new(re, imaginary * im))
        .collect();
    let level = plan.input_level();
    let plaintext = encoder.encode_complex(&values, request.slots, level, params.scale(level))?;
    let ciphertext = secret.encrypt(&plaintext, &mut rng)?;

    let mut result = bootstrapper.bootstrap(&ciphertext)?;
    let mut times = Vec::new();
    let mut fastest = (f64::INFINITY, Vec::new());
    for _ in 0..runs.max(1) {
        let start = Instant::now();
        let (refreshed, stages) = bootstrapper.bootstrap_profiled(&ciphertext)?;
        let ms = start.elapsed().as_secs_f64() * 1e3;
        result = refreshed;
        times.push(ms);
        if ms < fastest.0 {
            fastest = (ms, stages);
        }
    }
    times.sort_by(f64::total_cmp);
    let found = encoder.decode_complex(&secret.decrypt(&result));
    let errors: Vec<f64> = found
        .iter()
        .zip(&values)
        .flat_map(|(a, b)| [(a.re - b.re).abs(), imaginary * (a.im - b.im).abs()])
        .collect();
    let worst = errors.iter().copied().fold(0.0, f64::max);
    let mean = errors.iter().sum::<f64>() / (request.slots as f64 * (1.0 + imaginary));
    let [expected_worst, expected_mean] = plan.expected_bits();
    let levels_remaining = result.level() - plan.input_level();
    Ok(BootstrapReport {
        measurement: BootstrapMeasurement {
            peer: "aphelion",
            op: "bootstrap",
            log_n: request.log_n,
            slots: request.slots,
            content: request.content,
            limbs: params.q().len(),
            special: params.p().len(),
            dnum: params.literal().dnum,
            log_qp: params.log_qp(),
            security_bits: params.security_bits(),
            threads: rayon::current_num_threads(),
            ms_median: times[times.len() / 2],
            ms_min: times[0],
            levels_consumed: params.max_level() - levels_remaining,
            levels_remaining,
            level_bits: request.log_scale,
            bits_worst: -worst.log2(),
            bits_mean: -mean.log2(),
            expected_worst,
            expected_mean,
            failure_log2: plan.failure_log2(),
            key_seconds,
            key_bytes,
            diagonal_bytes: bootstrapper.diagonal_bytes(),
        },
        stages: fastest.1,
        noise: plan.stage_noise().to_vec(),
        keys: bytes_by_use,
    })
}

impl BootstrapReport {
    /// The profile as a table.
    #[must_use]
    pub fn profile(&self) -> String {
        let mut lines = vec![format!(
            "{:<28}{:>6}{:>10}{:>12}{:>10}{:>10}",
            "stage", "level", "switches", "transforms", "ms", "cpu ms"
        )];
        lines.extend(self.stages.iter().map(|stage| {
            format!(
                "{:<28}{:>6}{:>10}{:>12}{:>10.1}{:>10.1}",
                stage.stage,
                stage.level,
                stage.key_switches,
                stage.transforms,
                stage.ms,
                stage.cpu_ms.unwrap_or(f64::NAN)
            )
        }));
        let total: f64 = self.stages.iter().map(|stage| stage.ms).sum();
        let cpu: f64 = self.stages.iter().filter_map(|stage| stage.cpu_ms).sum();
        let switches: usize = self.stages.iter().map(|stage| stage.key_switches).sum();
        let transforms: usize = self.stages.iter().map(|stage| stage.transforms).sum();
        lines.push(format!(
            "{:<34}{switches:>10}{transforms:>12}{total:>10.1}{cpu:>10.1}",
            "all"
        ));
        lines.extend(
            self.noise
                .iter()
                .map(|noise| format!("noise of {:<18} 2^{:.1}", noise.stage, noise.log_deviation)),
        );
        lines.extend(
            self.keys
                .iter()
                .map(|(what, bytes)| format!("keys of {what:<19} {:.0} MB", *bytes as f64 / 1e6)),
        );
        lines.join("\n")
    }
}
