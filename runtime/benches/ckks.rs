//! Benchmarks of the scheme's operations at 128-bit parameters: one JSON line per operation, milliseconds.
//!
//! `cargo bench -p aphelion-runtime --bench ckks [-- LOG_N... OP...]`; all ring degrees and operations by default, on
//! `RAYON_NUM_THREADS` threads. Run by `cargo test --benches`, everything at N = 2^14 runs once.

use std::io::Write;

use aphelion_runtime::bench::{OPERATIONS, Set, measure};

/// Seconds spent on one operation.
const SECONDS: f64 = 0.5;

fn main() {
    let (options, selected): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    let timed = options.iter().any(|option| option == "--bench");
    let (log_n, ops): (Vec<&str>, Vec<&str>) = selected
        .iter()
        .map(String::as_str)
        .partition(|argument| argument.parse::<u32>().is_ok());
    let log_n: Vec<u32> = match (log_n.is_empty(), timed) {
        (true, true) => vec![14, 15, 16],
        (true, false) => vec![14],
        (false, _) => log_n.iter().filter_map(|argument| argument.parse().ok()).collect(),
    };
    let ops = if ops.is_empty() { OPERATIONS.to_vec() } else { ops };
    for log_n in log_n {
        let set = Set::matched(log_n).expect("there is a set for the ring degree");
        let results = measure(&set, &ops, if timed { SECONDS } else { 0.0 }).expect("the operations exist");
        for result in results {
            let line = serde_json::to_string(&result).expect("numbers become JSON");
            writeln!(std::io::stdout(), "{line}").expect("standard output is open");
        }
    }
}
