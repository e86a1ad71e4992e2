//! Predicted latency and memory of a program under given parameters.

use super::{CostTable, Costs, LimbOps, Measurement, Plaintexts, TransformSize, Work, Workload};
use crate::keys::KeyPlan;
use crate::parameters::with_gadgets;
use aphelion_ir::ckks::{ParameterSpec, Secret};
use aphelion_runtime::bench::{SHORT_PART, TRANSFORM_BABIES, TRANSFORM_OUTPUTS};
use serde::Serialize;

/// Threads that predictions are for.
pub const PREDICTED_THREADS: usize = 2;

/// The transform that `aphelion bench primitives` measures.
const BENCH_TRANSFORM: TransformSize = TransformSize {
    diagonals: TRANSFORM_OUTPUTS * TRANSFORM_BABIES,
    hoists: 1,
    babies: TRANSFORM_BABIES - 1,
    giants: 0,
    outputs: TRANSFORM_OUTPUTS,
    numbers: 0,
};

/// Seconds from when the operands of an op are there to when it runs.
const START_S: f64 = 1e-5;

/// Bytes that a process has besides polynomials: the model, the plan, its constants.
const OTHER_BYTES: u64 = 512 << 20;
/// Buffers that wait to be used again take one over this of what ops work with.
const IDLE_PART: u64 = 2;
/// Plaintexts that find no room are encoded shortly before they are used: those of so many ops at a time, in one over this of the
/// room that there is for plaintexts at most.
const OPS_AT_ONCE: u64 = 2;

/// What a program will cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Seconds from ciphertext in to ciphertext out on [`PREDICTED_THREADS`] threads, plaintexts encoded beforehand.
    pub evaluate_s: f64,
    /// Seconds of encoding all plaintexts, once per server.
    pub encode_s: f64,
    /// Seconds of encoding those that are encoded at every use where they find no room.
    pub encode_at_use_s: f64,
    /// Bytes of all evaluation keys in the server's memory.
    pub key_bytes: u64,
    /// Bytes of all encoded plaintexts.
    pub plaintext_bytes: u64,
    /// Those of them that bootstraps use, which are always encoded beforehand.
    pub bootstrap_bytes: u64,
    /// Most bytes of the plaintexts of one op.
    pub largest_bytes: u64,
    /// Most bytes that an op works with besides its operands.
    pub working_bytes: u64,
    /// Bytes of all ciphertexts alive at the same time, at most.
    pub ciphertext_bytes: u64,
    /// Seconds of every op on one thread, by value.
    pub op_seconds: Vec<f64>,
}

/// The cost of `workload` with `keys` under `spec`.
pub fn predict(workload: &Workload, keys: &KeyPlan, spec: &ParameterSpec, table: &CostTable) -> Prediction {
    let costs = Costs::new(spec);
    let seconds = |ops: LimbOps| table.seconds(spec.log_n, &ops);
    let op_seconds: Vec<f64> = workload
        .items
        .iter()
        .map(|item| seconds(item.limb_ops(&costs)))
        .collect();
    let items: Vec<Plaintexts> = workload.items.iter().map(|item| item.plaintexts(&costs)).collect();
    let bootstraps: Vec<Plaintexts> = workload.bootstrap_diagonals(&costs).into_values().flatten().collect();
    let encode = |plaintexts: &[Plaintexts]| {
        let ops = plaintexts.iter().map(|it| costs.encode(it)).sum();
        table.parallel(spec.log_n, seconds(ops), PREDICTED_THREADS)
    };
    let bytes = |plaintexts: &[Plaintexts]| plaintexts.iter().map(|it| costs.plaintext_bytes(it)).sum::<u64>();
    let (bootstrap_bytes, item_bytes) = (bytes(&bootstraps), items.iter().map(|it| costs.plaintext_bytes(it)));
    let started = workload.items.iter().filter(|item| item.work != Work::Free).count();
    let working = workload.items.iter().map(|item| item.working_bytes(&costs));
    Prediction {
        evaluate_s: table.parallel(spec.log_n, op_seconds.iter().sum(), PREDICTED_THREADS) + START_S * started as f64,
        encode_s: encode(&items) + encode(&bootstraps),
        encode_at_use_s: encode(&items),
        key_bytes: keys.bytes(&costs),
        plaintext_bytes: bytes(&items) + bootstrap_bytes,
        bootstrap_bytes,
        largest_bytes: item_bytes.max().unwrap_or(0),
        working_bytes: working.max().unwrap_or(0),
        ciphertext_bytes: workload.live_limbs * costs.limb_bytes(1),
        op_seconds,
    }
}

impl Prediction {
    /// Bytes of what has to be in memory during an evaluation, however often plaintexts are encoded.
    pub fn least_bytes(&self) -> u64 {
        self.key_bytes + self.ciphertext_bytes
    }

    /// Seconds of an evaluation in at most `bytes` of memory: plaintexts that do not fit are encoded at every use.
    pub fn evaluate_within(&self, bytes: u64) -> f64 {
        let held = self.least_bytes() + self.bootstrap_bytes + OTHER_BYTES;
        let room = bytes.saturating_sub(held + self.working_bytes + self.working_bytes / IDLE_PART);
        let wanted = self.plaintext_bytes - self.bootstrap_bytes;
        if wanted <= room {
            return self.evaluate_s;
        }
        let ahead = room - (OPS_AT_ONCE * self.largest_bytes).min(room / OPS_AT_ONCE);
        self.evaluate_s + (1.0 - ahead as f64 / wanted as f64) * self.encode_at_use_s
    }
}

impl CostTable {
    /// The table corrected by the measurements of `aphelion bench primitives`.
    pub fn calibrated_by_bench(&self, source: &str, measurements: &[Measurement]) -> CostTable {
        self.calibrated(source, measurements, |measurement| {
            let level = measurement.limbs.checked_sub(1)?;
            let max_level = measurement.max_limbs.checked_sub(1)?;
            let dnum = measurement.dnum.clamp(1, measurement.max_limbs);
            let costs = Costs::new(&with_gadgets(ParameterSpec {
                log_n: measurement.log_n,
                max_level,
                log_scale: 40,
                log_q0: 45,
                dnum,
                log_special: 45,
                n_special: measurement.max_limbs.div_ceil(dnum),
                gadgets: None,
                secret: Secret::UniformTernary {},
                bootstrap: None,
            }));
            let slots = 1 << (measurement.log_n - 1);
            let encode = |numbers: usize| {
                costs.encode(&Plaintexts {
                    count: 1,
                    limbs: measurement.limbs,
                    numbers,
                })
            };
            let ops = match measurement.op.as_str() {
                "rotate" => costs.rotate(level),
                "mul_cc_relin" => costs.tensor(level, false) + costs.key_switch(level),
                "mul_cc_relin_rescale" => costs.tensor(level, false) + costs.relinearize_rescale(level),
                "rescale" => costs.rescale(level, 2),
                "mul_cp" => costs.multiply_plain(level, 2),
                "add_cc" => costs.add(level, 2),
                "hoisted_rot8" => costs.hoisted_rotations(level, 8),
                "transform" => costs.linear_transform(&BENCH_TRANSFORM.with_numbers(slots), level),
                "transform_short" => costs.linear_transform(&BENCH_TRANSFORM.with_numbers(slots / SHORT_PART), level),
                "encode" => encode(slots),
                "encode_short" => encode(slots / SHORT_PART),
                _ => return None,
            };
            Some(ops)
        })
    }
}
