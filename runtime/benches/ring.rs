//! Micro-benchmarks of the ring kernels on one thread: one JSON line per row, microseconds, with the kernel family.
//!
//! `cargo bench -p aphelion-runtime --bench ring [-- FILTER]`; a row runs when its name contains FILTER. Run by `cargo test
//! --benches`, every body runs once and nothing is timed.

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aphelion_runtime::ring::{
    Backend, Basis, CompactPoly, Domain, Gadget, KeyDigit, Mask, NttTable, Poly, RingContext, Rotated, SeededPoly,
    SumOfRotated, Symmetry, Turn, find_ntt_primes, products_with_keys, uniform,
};

/// Time spent per row; short, since the median settles after a few dozen runs.
const BUDGET: Duration = Duration::from_millis(150);

/// What to run, and whether to time it.
struct Run {
    filter: String,
    timed: bool,
}

fn row(run: &Run, name: &str, log_n: u32, backend: Backend, mut body: impl FnMut()) {
    if !name.contains(&run.filter) {
        return;
    }
    body();
    if !run.timed {
        return;
    }
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

fn transforms(run: &Run, backend: Backend) {
    for log_n in 12..=17 {
        for bits in [40, 49, 50] {
            let q = find_ntt_primes(log_n + 1, bits, 1, &[]).expect("primes of this size exist")[0];
            let table = NttTable::new(log_n, q, backend).expect("the prime fits the ring");
            let mut values: Vec<u64> = (0..1 << log_n).map(|i: u64| i * 0x9e37_79b9 % q).collect();
            row(run, &format!("ntt_fwd_{bits}bit"), log_n, backend, || {
                table.forward(black_box(&mut values))
            });
            row(run, &format!("ntt_inv_{bits}bit"), log_n, backend, || {
                table.inverse(black_box(&mut values))
            });
        }
    }
}

/// A ring with so many ciphertext and special primes, and digits as wide as the latter allow.
fn ring_of(log_n: u32, [q_count, p_count]: [usize; 2], backend: Backend) -> (Arc<RingContext>, Gadget) {
    let primes = |bits, count| find_ntt_primes(log_n + 1, bits, count, &[]).expect("primes of this size exist");
    let (q, p) = (primes(45, q_count), primes(49, p_count));
    let ring = RingContext::with_backend(log_n, &q, &p, backend).expect("the primes fit the ring");
    let gadget = Gadget {
        digit_limbs: p_count,
        p_limbs: p_count,
        key_p_limbs: p_count,
    };
    (ring, gadget)
}

/// Limb-wise and modulus-changing operations at the sizes of the 128-bit sets: (log2 N, ciphertext primes, special primes).
fn operations(run: &Run, backend: Backend) {
    for (log_n, q_count, p_count) in [(14, 8, 2), (15, 14, 4), (16, 27, 8)] {
        let (ring, gadget) = ring_of(log_n, [q_count, p_count], backend);
        let level = q_count - 1;
        let x = uniform(&ring, Basis::qp(level, p_count), Domain::Eval, &[1; 32]);
        let y = uniform(&ring, Basis::qp(level, p_count), Domain::Eval, &[2; 32]);
        let x_q = x.restricted(Basis::q(level));
        let time = |name: &str, body: &mut dyn FnMut()| {
            row(run, &format!("{name}_{q_count}q{p_count}p"), log_n, backend, body)
        };

        let mut sum = x.clone();
        time("add", &mut || sum.add_assign(black_box(&y)));
        time("mul", &mut || sum.mul_assign(black_box(&y)));
        time("mul_add", &mut || sum.mul_add_assign(black_box(&x), &y));
        time("automorphism", &mut || drop(black_box(x.automorphism(5))));
        time("decompose", &mut || drop(black_box(ring.decompose(&x_q, gadget))));
        let digit_count = q_count.div_ceil(p_count);
        let bodies: Vec<Poly> = (0..digit_count as u8)
            .map(|i| uniform(&ring, Basis::qp(level, p_count), Domain::Eval, &[i; 32]))
            .collect();
        let key: Vec<KeyDigit> = bodies
            .iter()
            .enumerate()
            .map(|(d, body)| KeyDigit {
                body,
                mask: Mask::Seeded(SeededPoly::new([d as u8 + 100; 32])),
            })
            .collect();
        time("key_products", &mut || {
            drop(black_box(ring.key_products(&x_q, gadget, &key)))
        });
        let digits = ring.decompose(&x_q, gadget);
        let keys = [key];
        time("hoisted_products", &mut || {
            drop(black_box(products_with_keys(&digits, &keys)))
        });
        time("mod_down", &mut || drop(black_box(ring.mod_down(&x))));
        time("mod_down_automorphism", &mut || {
            drop(black_box(ring.mod_down_then_automorphism(&x, None, 5)))
        });
        time("rescale", &mut || drop(black_box(ring.rescale(&x_q))));
        time("uniform", &mut || {
            drop(black_box(uniform(
                &ring,
                Basis::qp(level, p_count),
                Domain::Eval,
                &[3; 32],
            )))
        });
    }
}

/// Rotated inputs and sums of one factor of a linear transform: (log2 N, ciphertext primes, special primes, rotations, sums).
fn factors(run: &Run, backend: Backend) {
    for (log_n, q_count, p_count, rotations, sums) in [(14, 9, 1, 7, 4), (16, 31, 7, 7, 4)] {
        let name = format!("factor_{rotations}_rotations_{sums}_sums_{q_count}q{p_count}p");
        // gigabytes of keys for one run only would take longer than all the others
        if !name.contains(&run.filter) || !run.timed && log_n > 14 {
            continue;
        }
        let (ring, gadget) = ring_of(log_n, [q_count, p_count], backend);
        let basis = Basis::qp(q_count - 1, p_count);
        let parts = [1, 2].map(|seed| uniform(&ring, Basis::q(q_count - 1), Domain::Eval, &[seed; 32]));
        let digits = ring.decompose(&parts[1], gadget);
        let random = |seed: usize| uniform(&ring, basis, Domain::Eval, &[seed as u8; 32]);
        let halves: Vec<Vec<Poly>> = (0..2 * rotations)
            .map(|half| (0..digits.len()).map(|d| random(half * 10 + d)).collect())
            .collect();
        let keys: Vec<Vec<KeyDigit>> = halves
            .chunks(2)
            .map(|pair| {
                let digits = pair[0].iter().zip(&pair[1]);
                digits
                    .map(|(body, mask)| KeyDigit {
                        body,
                        mask: Mask::Resident(mask),
                    })
                    .collect()
            })
            .collect();
        let element = |i: usize| (0..i).fold(1u64, |g, _| g * 5 % (2 << log_n));
        let diagonal = |seed: usize| {
            let coefficients: Vec<i64> = (0..ring.n() as i64 / 4).map(|i| i * 12345 + seed as i64).collect();
            CompactPoly::from_signed(
                &ring,
                basis,
                Symmetry {
                    log_gap: 2,
                    mirrored: false,
                },
                &coefficients,
            )
        };
        let diagonals: Vec<CompactPoly> = (0..sums * (rotations + 1)).map(diagonal).collect();
        let turns = || (1..=rotations).map(|i| Turn::new(&ring, element(i), vec![&parts[0]]));
        let factor = || {
            let mut rotated = vec![Rotated::Unrotated(parts.each_ref())];
            rotated.extend(turns().zip(&keys).map(|(turn, key)| Rotated::Switched {
                digits: &digits,
                key: key.clone(),
                turn,
            }));
            let mut groups: Vec<SumOfRotated<CompactPoly>> = diagonals
                .chunks(rotations + 1)
                .map(|diagonals| SumOfRotated {
                    sums: None,
                    terms: diagonals.iter().zip(0..).collect(),
                })
                .collect();
            SumOfRotated::run(&ring, basis, &rotated, &mut groups);
            groups.into_iter().map(|group| group.sums).collect::<Vec<_>>()
        };
        row(run, &name, log_n, backend, || drop(black_box(factor())));
    }
}

fn main() {
    let (options, filters): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    let run = Run {
        filter: filters.into_iter().next().unwrap_or_default(),
        timed: options.iter().any(|option| option == "--bench"),
    };
    let mut families = vec![Backend::detect()];
    if families[0] != Backend::Portable {
        families.push(Backend::Portable);
    }
    for backend in families {
        transforms(&run, backend);
        operations(&run, backend);
        factors(&run, backend);
    }
}
