//! Bootstrapping at 128-bit security, one JSON line per row; times are of whole bootstraps.
//!
//! `cargo bench -p aphelion-runtime --bench bootstrap -- [profile] [LOG_N [LOG_SLOTS [real|complex [RUNS [BITS [LEVELS [LOG_SCALE]]]]]]]`,
//! by default `16 15 real 3 20 14 40`; `profile` adds a table of stages on standard error. Threads as rayon finds them: set
//! RAYON_NUM_THREADS. N = 2^16 takes several GB of memory.

use std::io::Write;

use aphelion_runtime::bench::bootstrap::bootstrap;
use aphelion_runtime::ckks::boot::{BootstrapPlan, BootstrapRequest, Content};
use aphelion_runtime::ckks::params::Security;

fn main() {
    let (flags, args): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .partition(|arg| arg == "profile");
    let number = |i: usize, default: f64| args.get(i).and_then(|arg| arg.parse().ok()).unwrap_or(default);
    let log_n = number(0, 16.0) as u32;
    let content = match args.get(2).map(String::as_str) {
        Some("complex") => Content::Complex,
        _ => Content::Real,
    };
    let request = BootstrapRequest {
        log_n,
        slots: 1 << number(1, f64::from(log_n) - 1.0) as u32,
        content,
        bits: number(4, 20.0),
        levels: number(5, 14.0) as usize,
        log_scale: number(6, 40.0),
        security: Security::Classical128,
    };
    let mut err = std::io::stderr();
    let report = BootstrapPlan::new(&request).and_then(|plan| {
        writeln!(err, "{:?}, ladder {:?}", plan.circuit(), plan.ladder()).expect("standard error is open");
        bootstrap(&request, true, number(3, 3.0) as usize)
    });
    let line = match report {
        Ok(report) => {
            if !flags.is_empty() {
                writeln!(err, "{}", report.profile()).expect("standard error is open");
            }
            serde_json::to_string(&report.measurement).expect("numbers serialise")
        }
        Err(error) => format!("{{\"error\":\"{error}\"}}"),
    };
    writeln!(std::io::stdout(), "{line}").expect("standard output is open");
}
