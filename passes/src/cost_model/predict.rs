//! Predicted latency and memory of a program under given parameters.

use super::{CostTable, Costs, LimbOps, Measurement, Plaintexts, TransformSize, Workload};
use crate::keys::KeyPlan;
use aphelion_ir::ckks::{ParameterSpec, Secret};
use aphelion_runtime::bench::{TRANSFORM_BABIES, TRANSFORM_OUTPUTS};
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
};

/// What a program will cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Seconds from ciphertext in to ciphertext out on [`PREDICTED_THREADS`] threads, plaintexts encoded beforehand.
    pub evaluate_s: f64,
    /// Seconds of encoding all plaintexts, once per server.
    pub encode_s: f64,
    /// Bytes of all evaluation keys in the server's memory.
    pub key_bytes: u64,
    /// Bytes of all encoded plaintexts.
    pub plaintext_bytes: u64,
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
    let items = workload.items.iter().map(|item| item.plaintexts(&costs));
    let bootstraps = workload.bootstrap_diagonals(&costs).into_values().flatten();
    let plaintexts: Vec<Plaintexts> = items.chain(bootstraps).collect();
    let encode = plaintexts.iter().map(|it| costs.encode(it)).sum();
    Prediction {
        evaluate_s: table.parallel(spec.log_n, op_seconds.iter().sum(), PREDICTED_THREADS),
        encode_s: table.parallel(spec.log_n, seconds(encode), PREDICTED_THREADS),
        key_bytes: keys.bytes(&costs),
        plaintext_bytes: plaintexts.iter().map(|it| costs.plaintext_bytes(it)).sum(),
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
        let room = bytes.saturating_sub(self.least_bytes());
        let missing = 1.0 - (room as f64 / self.plaintext_bytes.max(1) as f64).min(1.0);
        self.evaluate_s + missing * self.encode_s
    }
}

impl CostTable {
    /// The table corrected by the measurements of `aphelion bench primitives`.
    pub fn calibrated_by_bench(&self, source: &str, measurements: &[Measurement]) -> CostTable {
        self.calibrated(source, measurements, |measurement| {
            let level = measurement.limbs.checked_sub(1)?;
            let dnum = measurement.dnum.clamp(1, measurement.limbs);
            let costs = Costs::new(&ParameterSpec {
                log_n: measurement.log_n,
                max_level: level,
                log_scale: 40,
                log_q0: 45,
                dnum,
                log_special: 45,
                n_special: measurement.limbs.div_ceil(dnum),
                secret: Secret::UniformTernary {},
                bootstrap: None,
            });
            let ops = match measurement.op.as_str() {
                "rotate" => costs.rotate(level),
                "mul_cc_relin" => costs.tensor(level, false) + costs.key_switch(level),
                "mul_cc_relin_rescale" => costs.tensor(level, false) + costs.relinearize_rescale(level),
                "rescale" => costs.rescale(level, 2),
                "mul_cp" => costs.multiply_plain(level, 2),
                "add_cc" => costs.add(level, 2),
                "hoisted_rot8" => costs.hoisted_rotations(level, 8),
                "transform" => costs.linear_transform(&BENCH_TRANSFORM, level),
                "encode" => costs.encode(&Plaintexts {
                    count: 1,
                    limbs: measurement.limbs,
                    numbers: 1 << (measurement.log_n - 1),
                }),
                _ => return None,
            };
            Some(ops)
        })
    }
}
