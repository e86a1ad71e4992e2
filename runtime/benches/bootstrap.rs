//! Bootstrapping at 128-bit security, one JSON line per row; times are of whole bootstraps.
//!
//! `cargo bench -p aphelion-runtime --bench bootstrap -- [LOG_N [LOG_SLOTS [real|complex [RUNS]]]]`, by default
//! `16 15 real 3`. Threads as rayon finds them: set RAYON_NUM_THREADS. N = 2^16 takes several GB of memory.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use aphelion_runtime::ckks::boot::{BootstrapPlan, BootstrapRequest, Bootstrapper, Content};
use aphelion_runtime::ckks::encoding::{Complex64, Encoder};
use aphelion_runtime::ckks::eval::Evaluator;
use aphelion_runtime::ckks::keys::SecretKey;
use aphelion_runtime::ckks::params::{Parameters, Security};
use aphelion_runtime::ring::SecretRng;

/// Values in [-1, 1].
fn sample(count: usize, seed: usize) -> impl Iterator<Item = f64> {
    (0..count).map(move |i| ((i * 7919 + seed) as f64 * 0.618_033_988_749_895).fract() * 2.0 - 1.0)
}

fn run(request: &BootstrapRequest, runs: usize) -> aphelion_runtime::error::Result<String> {
    let plan = BootstrapPlan::new(request)?;
    let params = Parameters::new(plan.literal().clone())?;
    writeln!(std::io::stderr(), "{:?}, ladder {:?}", plan.circuit(), plan.ladder()).expect("standard error is open");
    let mut rng = SecretRng::from_os()?;
    let secret = SecretKey::generate(&params, &mut rng);
    let keys = secret.evaluation_keys(&plan.key_request()?, &mut rng)?;
    let key_bytes = keys.memory_bytes();
    let bootstrapper = Bootstrapper::new(plan.clone(), Arc::new(Evaluator::new(keys)))?;
    let encoder = Encoder::new(&params);
    let imaginary = if request.content == Content::Real { 0.0 } else { 1.0 };
    let values: Vec<_> = sample(request.slots, 1)
        .zip(sample(request.slots, 2))
        .map(|(re, im)| Complex64::new(re, imaginary * im))
        .collect();
    let plaintext = encoder.encode_complex(&values, request.slots, 0, params.scale(0))?;
    let ciphertext = secret.encrypt(&plaintext, &mut rng)?;
    let mut times = Vec::new();
    let mut result = bootstrapper.bootstrap(&ciphertext)?;
    for _ in 0..runs {
        let start = Instant::now();
        result = bootstrapper.bootstrap(&ciphertext)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let found = encoder.decode_complex(&secret.decrypt(&result));
    let errors: Vec<f64> = found
        .iter()
        .zip(&values)
        .flat_map(|(a, b)| [(a.re - b.re).abs(), imaginary * (a.im - b.im).abs()])
        .collect();
    let worst = errors.iter().copied().fold(0.0, f64::max);
    let counted = request.slots * if request.content == Content::Real { 1 } else { 2 };
    let mean = errors.iter().sum::<f64>() / counted as f64;
    let [expected_worst, expected_mean] = plan.expected_bits();
    Ok(format!(
        "{{\"peer\":\"aphelion\",\"op\":\"bootstrap\",\"logN\":{},\"slots\":{},\"content\":\"{:?}\",\"limbs\":{},\
         \"special\":{},\"dnum\":{},\"logQP\":{:.1},\"threads\":{},\"ms_median\":{:.0},\"ms_min\":{:.0},\
         \"levels_consumed\":{},\"levels_remaining\":{},\"bits_worst\":{:.2},\"bits_mean\":{:.2},\
         \"expected_worst\":{expected_worst:.2},\"expected_mean\":{expected_mean:.2},\"failure_log2\":{:.0},\
         \"key_bytes\":{key_bytes},\"diagonal_bytes\":{}}}",
        request.log_n,
        request.slots,
        request.content,
        params.q().len(),
        params.p().len(),
        params.literal().dnum,
        params.log_qp(),
        rayon::current_num_threads(),
        times[times.len() / 2],
        times[0],
        params.max_level() - result.level(),
        result.level(),
        -worst.log2(),
        -mean.log2(),
        plan.failure_log2(),
        bootstrapper.diagonal_bytes(),
    ))
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let number = |i: usize, default: usize| args.get(i).and_then(|arg| arg.parse().ok()).unwrap_or(default);
    let log_n = number(0, 16) as u32;
    let content = match args.get(2).map(String::as_str) {
        Some("complex") => Content::Complex,
        _ => Content::Real,
    };
    let request = BootstrapRequest {
        log_n,
        slots: 1 << number(1, log_n as usize - 1),
        content,
        bits: 20.0,
        levels: 14,
        log_scale: 40.0,
        security: Security::Classical128,
    };
    let line = run(&request, number(3, 3).max(1)).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    writeln!(std::io::stdout(), "{line}").expect("standard output is open");
}
