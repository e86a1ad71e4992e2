//! Timings of the scheme's operations, named as the peers' are.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use aphelion_runtime::ckks::encoding::Encoder;
use aphelion_runtime::ckks::eval::Evaluator;
use aphelion_runtime::ckks::keys::{KeyRequest, SecretKey};
use aphelion_runtime::ckks::params::{ChainRequest, Parameters, ParametersLiteral, SecretDistribution, Security};
use serde::Serialize;

use super::error::{DriverError, Result};
use super::metrics::median;
use super::roles::random_source;

/// Names of the operations.
pub const PRIMITIVES: [&str; 12] = [
    "ntt_fwd",
    "ntt_inv",
    "encode",
    "encrypt",
    "decrypt+decode",
    "add_cc",
    "mul_cp",
    "rescale",
    "mul_cc_relin",
    "mul_cc_relin_rescale",
    "rotate",
    "hoisted_rot8",
];

/// Rotations of `hoisted_rot8`.
const HOISTED: [usize; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// No operation is run less often or more often than this.
const MIN_RUNS: usize = 5;
const MAX_RUNS: usize = 2000;
/// Keys and data of a benchmark guard nothing.
const SEED: u64 = 1;

/// A parameter set to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Set {
    request: ChainRequest,
}

impl Set {
    /// The 128-bit set whose modulus matches the peers': logQ 375, 660 and 1310 for N = 2^14, 2^15 and 2^16.
    ///
    /// # Errors
    /// For another ring degree.
    pub fn matched(log_n: u32) -> Result<Self> {
        let (levels, log_scale, log_q0, dnum) = match log_n {
            14 => (8, 41.0, 47.0, 9),
            15 => (15, 41.0, 45.0, 4),
            16 => (26, 48.5, 49.0, 4),
            _ => {
                let message = format!("no parameter set for N = 2^{log_n}: choose 14, 15 or 16");
                return Err(DriverError::BadInput(message));
            }
        };
        Ok(Self {
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
    /// Digits of the key switch.
    pub dnum: usize,
    /// Threads.
    pub threads: usize,
    /// Median in milliseconds; of one limb for the transforms.
    pub ms_median: f64,
    /// Fastest run in milliseconds.
    pub ms_min: f64,
}

/// Measures operations at the top level of a set, each for about `seconds`.
///
/// # Errors
/// When the set cannot be made.
pub fn primitives(set: &Set, ops: &[&str], seconds: f64) -> Result<Vec<Measurement>> {
    let params = Parameters::new(ParametersLiteral::choose(&set.request)?)?;
    let mut rng = random_source(Some(SEED))?;
    let secret = SecretKey::generate(&params, &mut rng);
    let level = params.max_level();
    let keys = KeyRequest {
        relin: Some(level),
        conjugation: None,
        rotations: HOISTED
            .into_iter()
            .map(|step| (step, level))
            .collect::<BTreeMap<_, _>>(),
        ..KeyRequest::default()
    };
    let evaluator = Evaluator::new(secret.evaluation_keys(&keys, &mut rng)?);
    let encoder = Encoder::new(&params);
    let slots = params.max_slots();
    let values: Vec<f64> = (0..slots).map(|i| (i as f64).sin()).collect();
    let plaintext = encoder.encode(&values, slots, level, params.scale(level))?;
    let a = secret.encrypt(&plaintext, &mut rng)?;
    let b = secret.encrypt(&plaintext, &mut rng)?;
    let product = evaluator.mul_plain(&a, &plaintext)?;
    let table = params.ring().table(0);
    let mut limb: Vec<u64> = (0..params.n() as u64).collect();

    let mut measurements = Vec::with_capacity(ops.len());
    for op in ops {
        let mut run = || -> Result<()> {
            match *op {
                "ntt_fwd" => table.forward(&mut limb),
                "ntt_inv" => table.inverse(&mut limb),
                "encode" => drop(black_box(encoder.encode(&values, slots, level, params.scale(level))?)),
                "encrypt" => drop(black_box(secret.encrypt(&plaintext, &mut rng)?)),
                "decrypt+decode" => drop(black_box(encoder.decode(&secret.decrypt(&a)))),
                "add_cc" => drop(black_box(evaluator.add(&a, &b)?)),
                "mul_cp" => drop(black_box(evaluator.mul_plain(&a, &plaintext)?)),
                "rescale" => drop(black_box(evaluator.rescale(&product)?)),
                "mul_cc_relin" => drop(black_box(evaluator.relinearize(&evaluator.mul(&a, &b)?)?)),
                "mul_cc_relin_rescale" => drop(black_box(evaluator.mul_relin_rescale(&a, &b)?)),
                "rotate" => drop(black_box(evaluator.rotate(&a, 1)?)),
                "hoisted_rot8" => drop(black_box(evaluator.rotate_hoisted(&a, &HOISTED)?)),
                other => return Err(DriverError::BadInput(format!("no operation `{other}`"))),
            }
            Ok(())
        };
        run()?;
        let mut milliseconds = Vec::new();
        let start = Instant::now();
        while milliseconds.len() < MIN_RUNS
            || (milliseconds.len() < MAX_RUNS && start.elapsed().as_secs_f64() < seconds)
        {
            let start = Instant::now();
            run()?;
            milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        }
        measurements.push(Measurement {
            peer: "aphelion",
            op: (*op).to_string(),
            log_n: set.request.log_n,
            limbs: level + 1,
            dnum: set.request.dnum,
            threads: rayon::current_num_threads(),
            ms_min: milliseconds.iter().copied().fold(f64::INFINITY, f64::min),
            ms_median: median(milliseconds),
        });
    }
    Ok(measurements)
}
