//! Timings of the scheme's operations at 128-bit parameters, named as the peers' are.
//!
//! Assumes nothing else; ensures one [`Measurement`] per operation, at the level of its [`Set`]. Wall-clock times
//! are those of single runs; processor time is the mean over all runs, which a loaded machine disturbs least.

pub mod bootstrap;

use std::hint::black_box;
use std::time::Instant;

use serde::Serialize;

use crate::ckks::Plaintext;
use crate::ckks::boot::processor_nanoseconds;
use crate::ckks::encoding::{Complex64, Encoder};
use crate::ckks::eval::{EncodedDiagonals, Evaluator};
use crate::ckks::keys::{KeyRequest, SecretKey};
use crate::ckks::linear::{DiagonalIdx, LinearTransform};
use crate::ckks::params::{ChainRequest, Parameters, ParametersLiteral, SecretDistribution, Security};
use crate::error::{Error, Result};
use crate::ring::SecretRng;

/// Names of the operations.
pub const OPERATIONS: [&str; 15] = [
    "ntt_fwd",
    "ntt_inv",
    "encode",
    "encode_short",
    "encrypt",
    "decrypt+decode",
    "add_cc",
    "mul_cp",
    "rescale",
    "mul_cc_relin",
    "mul_cc_relin_rescale",
    "rotate",
    "hoisted_rot8",
    "transform",
    "transform_short",
];

/// Rotations of `hoisted_rot8`.
const HOISTED: [usize; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// Results of `transform`, each a sum of [`TRANSFORM_BABIES`] rotations, the first by nothing, times real diagonals.
pub const TRANSFORM_OUTPUTS: usize = 8;
/// See [`TRANSFORM_OUTPUTS`].
pub const TRANSFORM_BABIES: usize = 8;
/// In the operations called short, vectors repeat: one over this of the slots is a period.
pub const SHORT_PART: usize = 16;
/// No operation is run less often or more often than this.
const MIN_RUNS: usize = 5;
const MAX_RUNS: usize = 2000;
/// Keys and data of a benchmark guard nothing.
const SEED: [u8; 32] = [1; 32];

/// A parameter set to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Set {
    request: ChainRequest,
    keeps_masks: bool,
    /// The level that is measured; the highest unless given.
    level: Option<usize>,
}

impl Set {
    /// The 128-bit set whose modulus matches the peers': log2 Q of 375, 660 and 1310 for N = 2^14, 2^15 and 2^16; below, one as
    /// small models have it.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for another ring degree.
    pub fn matched(log_n: u32) -> Result<Self> {
        let (levels, log_scale, log_q0, dnum) = match log_n {
            12 => (1, 31.0, 34.0, 2),
            13 => (5, 29.0, 32.0, 6),
            14 => (8, 41.0, 47.0, 9),
            15 => (15, 41.0, 45.0, 4),
            16 => (26, 48.5, 49.0, 4),
            _ => {
                let reason = format!("no benchmark set for N = 2^{log_n}: choose 12 to 16");
                return Err(Error::InvalidParameter { name: "log_n", reason });
            }
        };
        Ok(Self {
            keeps_masks: true,
            level: None,
            request: ChainRequest {
                log_n,
                levels,
                log_scale,
                log_q0,
                dnum,
                secret: SecretDistribution::UniformTernary,
                security: Security::Classical128,
            },
        })
    }

    /// The same ciphertext primes with another number of key-switching digits.
    #[must_use]
    pub fn with_dnum(mut self, dnum: usize) -> Self {
        self.request.dnum = dnum;
        self
    }

    /// The same at a lower level: a third of the highest, 1 at least.
    #[must_use]
    pub fn at_a_third(mut self) -> Self {
        self.level = Some((self.request.levels / 3).max(1));
        self
    }

    /// The same with the masks of keys made at every use.
    #[must_use]
    pub fn with_seeded_masks(mut self) -> Self {
        self.keeps_masks = false;
        self
    }
}

/// One measured operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// Whose numbers these are.
    pub peer: &'static str,
    /// The operation.
    pub op: String,
    /// log2 of the ring degree.
    #[serde(rename = "logN")]
    pub log_n: u32,
    /// Ciphertext primes.
    pub limbs: usize,
    /// Ciphertext primes at the highest level of the set.
    pub max_limbs: usize,
    /// Digits of the key switch at the highest level.
    pub dnum: usize,
    /// Threads.
    pub threads: usize,
    /// Median in milliseconds; of one limb for the transforms.
    pub ms_median: f64,
    /// Fastest run in milliseconds.
    pub ms_min: f64,
    /// Processor time of all threads, mean in milliseconds; `None` where the system does not tell.
    pub cpu_ms: Option<f64>,
}

/// Measures operations at the level of a set, each for about `seconds`; runs each once when that is 0.
///
/// # Errors
/// When the set cannot be made, or an operation has no such name.
pub fn measure(set: &Set, ops: &[&str], seconds: f64) -> Result<Vec<Measurement>> {
    measure_each(set, ops, seconds, &mut |_| {})
}

/// As [`measure`]; `on_done` is shown every measurement at once.
///
/// # Errors
/// As [`measure`].
pub fn measure_each(
    set: &Set,
    ops: &[&str],
    seconds: f64,
    on_done: &mut (dyn FnMut(&Measurement) + Send),
) -> Result<Vec<Measurement>> {
    // on a thread of the pool, as plans are run: no operation waits for another thread to be woken
    rayon::scope(|_| measure_here(set, ops, seconds, on_done))
}

fn measure_here(
    set: &Set,
    ops: &[&str],
    seconds: f64,
    on_done: &mut (dyn FnMut(&Measurement) + Send),
) -> Result<Vec<Measurement>> {
    let params = Parameters::new(ParametersLiteral::choose(&set.request)?)?;
    let mut rng = SecretRng::from_seed(SEED);
    let secret = SecretKey::generate(&params, &mut rng);
    let level = set.level.unwrap_or(params.max_level());
    let mut keys = KeyRequest::default();
    keys.add_relin(level);
    HOISTED.into_iter().for_each(|step| keys.add_rotation(step, level));
    let keys = secret.evaluation_keys(&keys, &mut rng)?;
    if set.keeps_masks {
        keys.keep_masks();
    }
    let evaluator = Evaluator::new(keys);
    let encoder = Encoder::new(&params);
    let slots = params.max_slots();
    let values: Vec<f64> = (0..slots).map(|i| (i as f64).sin()).collect();
    let plaintext = encoder.encode(&values, slots, level, params.scale(level))?;
    let a = secret.encrypt(&plaintext, &mut rng)?;
    let b = secret.encrypt(&plaintext, &mut rng)?;
    let product = evaluator.mul_plain(&a, &plaintext)?;
    let table = params.ring().table(0);
    let mut limb: Vec<u64> = (0..params.n() as u64).collect();
    let transform_of = |name: &str, period: usize| {
        let is_wanted = ops.contains(&name);
        is_wanted
            .then(|| transform(&evaluator, &encoder, level, period))
            .transpose()
    };
    let long_transform = transform_of("transform", slots)?;
    let short_transform = transform_of("transform_short", slots / SHORT_PART)?;

    let mut measurements = Vec::with_capacity(ops.len());
    for op in ops {
        let mut turn = 0;
        let mut run = || -> Result<()> {
            turn += 1;
            match *op {
                "ntt_fwd" => table.forward(&mut limb),
                "ntt_inv" => table.inverse(&mut limb),
                "encode" => drop(black_box(encode(&encoder, &values, level)?)),
                "encode_short" => drop(black_box(encode(&encoder, &values[..slots / SHORT_PART], level)?)),
                "encrypt" => drop(black_box(secret.encrypt(&plaintext, &mut rng)?)),
                "decrypt+decode" => drop(black_box(encoder.decode(&secret.decrypt(&a)))),
                "add_cc" => drop(black_box(evaluator.add(&a, &b)?)),
                "mul_cp" => drop(black_box(evaluator.mul_plain(&a, &plaintext)?)),
                "rescale" => drop(black_box(evaluator.rescale(&product)?)),
                "mul_cc_relin" => drop(black_box(evaluator.relinearize(&evaluator.mul(&a, &b)?)?)),
                "mul_cc_relin_rescale" => drop(black_box(evaluator.mul_relin_rescale(&a, &b)?)),
                // As in programs, with another key than just before.
                "rotate" => drop(black_box(evaluator.rotate(&a, HOISTED[turn % HOISTED.len()])?)),
                "hoisted_rot8" => drop(black_box(evaluator.rotate_hoisted(&a, &HOISTED)?)),
                "transform" | "transform_short" => {
                    let transform = if *op == "transform" {
                        &long_transform
                    } else {
                        &short_transform
                    };
                    if let Some((shape, diagonals)) = transform {
                        drop(black_box(evaluator.linear_transform(&[&a], shape, diagonals, level)?));
                    }
                }
                other => {
                    let reason = format!("there is none called `{other}`");
                    return Err(Error::InvalidParameter {
                        name: "operation",
                        reason,
                    });
                }
            }
            Ok(())
        };
        let times = time(seconds, &mut run)?;
        let measurement = Measurement {
            peer: "aphelion",
            op: (*op).to_string(),
            log_n: set.request.log_n,
            limbs: level + 1,
            max_limbs: params.max_level() + 1,
            dnum: set.request.dnum,
            threads: rayon::current_num_threads(),
            ms_median: times.median,
            ms_min: times.min,
            cpu_ms: times.processor,
        };
        on_done(&measurement);
        measurements.push(measurement);
    }
    Ok(measurements)
}

/// The plaintext of real values that repeat.
fn encode(encoder: &Encoder, values: &[f64], level: usize) -> Result<Plaintext> {
    encoder.encode(values, values.len(), level, encoder.params().scale(level))
}

/// The transform that is measured, with its diagonals, which repeat with `period`.
fn transform(
    evaluator: &Evaluator,
    encoder: &Encoder,
    level: usize,
    period: usize,
) -> Result<(LinearTransform, EncodedDiagonals)> {
    let (params, slots) = (evaluator.params(), evaluator.params().max_slots());
    let place = |out: usize| {
        (0..TRANSFORM_BABIES).map(move |baby| DiagonalIdx {
            out,
            giant: 0,
            input: 0,
            baby,
        })
    };
    let places: Vec<DiagonalIdx> = (0..TRANSFORM_OUTPUTS).flat_map(place).collect();
    let shape = LinearTransform::new(slots, 1, TRANSFORM_OUTPUTS, places.clone(), Vec::new())?;
    let encoding = evaluator.diagonal_encoding(&shape, level, params.scale(level))?;
    let mut diagonals = EncodedDiagonals::default();
    for (number, idx) in places.into_iter().enumerate() {
        let values = (0..period).map(|i| Complex64::from(((i + number) as f64).sin()));
        let mut diagonal = encoder.encode_over(values, period, encoding.basis, encoding.scale)?;
        diagonal.slots = slots;
        diagonals.insert(idx, diagonal);
    }
    Ok((shape, diagonals))
}

/// Milliseconds of one operation.
struct Times {
    median: f64,
    min: f64,
    processor: Option<f64>,
}

fn time(seconds: f64, run: &mut dyn FnMut() -> Result<()>) -> Result<Times> {
    let mut milliseconds = Vec::new();
    let mut timed_run = |runs: &mut Vec<f64>| -> Result<()> {
        let start = Instant::now();
        run()?;
        runs.push(start.elapsed().as_secs_f64() * 1e3);
        Ok(())
    };
    let start = Instant::now();
    if seconds > 0.0 {
        // fills the pools and caches
        timed_run(&mut Vec::new())?;
    }
    let min_runs = if seconds > 0.0 { MIN_RUNS } else { 1 };
    let before = processor_nanoseconds();
    while milliseconds.len() < min_runs || (milliseconds.len() < MAX_RUNS && start.elapsed().as_secs_f64() < seconds) {
        timed_run(&mut milliseconds)?;
    }
    let after = processor_nanoseconds();
    let runs = milliseconds.len();
    milliseconds.sort_by(f64::total_cmp);
    Ok(Times {
        median: milliseconds[runs / 2],
        min: milliseconds[0],
        processor: before
            .zip(after)
            .map(|(before, after)| (after - before) as f64 / 1e6 / runs as f64),
    })
}
