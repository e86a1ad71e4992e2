//! Micro-benchmarks of the ring kernels on one thread: one JSON line per row, microseconds, with the kernel family.
//!
//! `cargo bench -p aphelion-runtime --bench ring [-- FILTER]`; a row runs when its name contains FILTER.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use aphelion_runtime::ring::{Backend, NttTable, find_ntt_primes};

/// Time spent per row; short, since the median settles after a few dozen runs.
const BUDGET: Duration = Duration::from_millis(150);

fn row(filter: &str, name: &str, log_n: u32, backend: Backend, mut body: impl FnMut()) {
    if !name.contains(filter) {
        return;
    }
    body();
    let mut samples = Vec::new();
    let start = Instant::now();
    while start.elapsed() < BUDGET || samples.len() < 3 {
        let lap = Instant::now();
        body();
        samples.push(lap.elapsed().as_secs_f64() * 1e6);
    }
    samples.sort_by(f64::total_cmp);
    let family = if backend == Backend::Portable {
        "portable"
    } else {
        "ifma"
    };
    let (min, median) = (samples[0], samples[samples.len() / 2]);
    let line = format!(
        "{{\"op\":\"{name}\",\"logN\":{log_n},\"kernels\":\"{family}\",\"us_median\":{median:.2},\"us_min\":{min:.2}}}"
    );
    writeln!(std::io::stdout(), "{line}").expect("standard output is open");
}

fn transforms(filter: &str, backend: Backend) {
    for log_n in 12..=17 {
        for bits in [40, 49, 50] {
            let q = find_ntt_primes(log_n + 1, bits, 1, &[]).expect("primes of this size exist")[0];
            let table = NttTable::new(log_n, q, backend).expect("the prime fits the ring");
            let mut values: Vec<u64> = (0..1 << log_n).map(|i: u64| i * 0x9e37_79b9 % q).collect();
            row(filter, &format!("ntt_fwd_{bits}bit"), log_n, backend, || {
                table.forward(black_box(&mut values))
            });
            row(filter, &format!("ntt_inv_{bits}bit"), log_n, backend, || {
                table.inverse(black_box(&mut values))
            });
        }
    }
}

fn main() {
    let filter = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"))
        .unwrap_or_default();
    let mut families = vec![Backend::detect()];
    if families[0] != Backend::Portable {
        families.push(Backend::Portable);
    }
    for backend in families {
        transforms(&filter, backend);
    }
}
