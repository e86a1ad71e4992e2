//! Times CKKS primitives of poulpy-ckks with its AVX-512 IFMA backend, one JSON line per operation, named as those of
//! `aphelion bench primitives`. poulpy is not of the RNS kind: total bits of the modulus, bits of the scale, and digits of
//! the key switch are matched. Its product comes out rescaled, so that it stands beside `mul_cc_relin_rescale`.
//!
//! Usage: poulpy-primitives [LOG_N] [THREADS] [REPEATS]

use std::collections::HashMap;
use std::time::Instant;

use poulpy_ckks::api::{CKKSModuleInfos, CKKSMulOps, CKKSRotateOps};
use poulpy_ckks::test_suite::CKKSTestParams;
use poulpy_ckks::test_suite::helpers::{
    TestContextBackend, TestContextModule, alloc_ct, alloc_scratch, ckks_encrypt_coeffs, gen_atk, gen_sk_with_raw,
    gen_tsk,
};
use poulpy_ckks::{GLWEPlaintextMeta, Scale, SlotsKind};
use poulpy_cpu_avx512::{NTT3x42Ifma, NTT3x42IfmaRayon};
use poulpy_hal::api::{ScratchOwnedAlloc, ScratchOwnedBorrow};
use poulpy_hal::layouts::{Backend, HostBytesBackend, HostDataMut, HostDataRef, Module, ScratchOwned, Standard};

/// Bits of the modulus, of the scale, limbs of a digit, and the number of those digits: 375, 660 and 1310 bits in 9, 4 and 4
/// digits.
fn set(log_n: u32) -> Option<(usize, usize, usize, usize)> {
    match log_n {
        14 => Some((375, 40, 1, 8)),
        15 => Some((660, 40, 4, 4)),
        16 => Some((1310, 50, 7, 4)),
        _ => None,
    }
}

/// Bits of a limb.
const BASE_2K: usize = 52;

struct Line<'a> {
    log_n: u32,
    bits: usize,
    digits: usize,
    threads: usize,
    op: &'a str,
}

fn timed(line: &Line<'_>, repeats: usize, mut run: impl FnMut()) {
    run();
    let before = processor_nanoseconds();
    let mut times: Vec<f64> = (0..repeats)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let processor = (processor_nanoseconds() - before) as f64 / 1e6 / repeats as f64;
    times.sort_by(f64::total_cmp);
    println!(
        "{{\"peer\": \"poulpy-ckks\", \"op\": \"{}\", \"logN\": {}, \"bits\": {}, \"dnum\": {}, \"threads\": {}, \
         \"ms_median\": {:.4}, \"ms_min\": {:.4}, \"cpu_ms\": {processor:.4}}}",
        line.op,
        line.log_n,
        line.bits,
        line.digits,
        line.threads,
        times[times.len() / 2],
        times[0]
    );
}

/// Processor time of all threads of this process so far; 0 where the system does not tell.
fn processor_nanoseconds() -> u64 {
    let of_thread = |task: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
        let line = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        line.split_whitespace().next()?.parse().ok()
    };
    let tasks = std::fs::read_dir("/proc/self/task").ok();
    tasks.map_or(0, |tasks| tasks.filter_map(of_thread).sum())
}

fn measure<BE>(log_n: u32, threads: usize, repeats: usize)
where
    BE: TestContextBackend<Ring = Standard>,
    for<'a> <BE as Backend>::BufRef<'a>: HostDataRef,
    for<'a> <BE as Backend>::BufMut<'a>: HostDataMut,
    Module<BE>: TestContextModule<BE> + CKKSRotateOps<BE> + CKKSMulOps<BE>,
{
    let (bits, scale, dsize, digits) = set(log_n).expect("checked before");
    let params = CKKSTestParams {
        n: 1 << log_n,
        base2k: BASE_2K,
        k: bits,
        prec_meta: GLWEPlaintextMeta {
            scale: Scale::Log(scale),
            slots: SlotsKind::Complex,
            log_sparsity: 0,
        },
        prec_log_budget: 10,
        hw: 192,
        dsize,
        rank: 1,
    };
    let module = Module::<BE>::new(params.n as u64);
    let host = Module::<HostBytesBackend>::new(params.n as u64);
    let mut scratch = alloc_scratch(&params, &module);
    let (secret, prepared) = gen_sk_with_raw(&params, &module, &host, [0u8; 32]);
    let relinearisation = gen_tsk(&params, &module, &secret, &mut scratch.borrow());
    let element = module.ckks_galois_element(1);
    let rotation = gen_atk(&params, &module, element, &secret, &mut scratch.borrow());
    let keys = HashMap::from([(element, rotation)]);
    let values: Vec<f64> = (0..params.n).map(|i| ((i * 37) % 101) as f64 / 101.0 - 0.5).collect();
    let mut encrypt = || {
        let prec = params.prec();
        ckks_encrypt_coeffs(
            &params,
            &module,
            &host,
            &prepared,
            params.k,
            &values,
            prec,
            &mut scratch.borrow(),
        )
    };
    let (a, b) = (encrypt(), encrypt());
    let line = |op| Line {
        log_n,
        bits,
        digits,
        threads,
        op,
    };

    let mut rotated = alloc_ct(&params, &module, params.k);
    let bytes = module.ckks_rotate_tmp_bytes(&a, &params.atk_layout());
    let mut arena = ScratchOwned::<BE>::alloc(bytes);
    timed(&line("rotate"), repeats, || {
        module
            .ckks_rotate_into(1, &mut rotated, &a, &keys, &mut arena.borrow())
            .expect("it rotates");
    });
    let mut product = alloc_ct(&params, &module, params.k - scale);
    let bytes = module.ckks_mul_tmp_bytes(&product, &a, &b, &relinearisation);
    let mut arena = ScratchOwned::<BE>::alloc(bytes);
    timed(&line("mul_cc_relin_rescale"), repeats, || {
        let mut arena = arena.borrow();
        module
            .ckks_mul_into(&mut product, &a, &b, &relinearisation, &mut arena)
            .expect("it multiplies");
    });
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let mut next = |default: usize| match arguments.next() {
        Some(Ok(value)) => value,
        Some(Err(_)) => usage(),
        None => default,
    };
    let (log_n, threads, repeats) = (next(16) as u32, next(1), next(7));
    if set(log_n).is_none() || threads == 0 || repeats == 0 {
        usage();
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global().expect("no pool was there before");
    match threads {
        1 => measure::<NTT3x42Ifma>(log_n, threads, repeats),
        _ => measure::<NTT3x42IfmaRayon>(log_n, threads, repeats),
    }
}

fn usage() -> ! {
    eprintln!("usage: poulpy-primitives [14|15|16] [THREADS] [REPEATS]");
    std::process::exit(2);
}
