//! Machine-readable reports: what `--json` prints. Times are in seconds, sizes in bytes.

use std::collections::{BTreeMap, BTreeSet};

use aphelion_passes::pipeline::PassReport;
use aphelion_runtime::ckks::keys::{EncapsulationKeys, KeyPurpose};
use aphelion_runtime::ckks::params::{Parameters, SecretDistribution, Security};
use aphelion_runtime::exec::{MemoryUse, Schedule, Server};
use aphelion_runtime::plan::{ClientPart, Counts, Op, Plan};
use serde::Serialize;

/// Encryption parameters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Params {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Multiplicative levels.
    pub levels: usize,
    /// log2 of the ciphertext modulus.
    pub log_q: f64,
    /// log2 of the special modulus.
    pub log_p: f64,
    /// log2 of the scale.
    pub scale_bits: f64,
    /// Digits of the key switch.
    pub dnum: usize,
    /// Estimated classical security; absent where no estimate is known.
    pub security_bits: Option<f64>,
    /// Whether 128 bits were demanded; false marks a plan for tests, which protects nothing.
    pub secure: bool,
    /// Non-zero coefficients of a sparse secret; absent for a uniform ternary one.
    pub hamming_weight: Option<usize>,
}

impl Params {
    /// What there is to say about `params`.
    #[must_use]
    pub fn new(params: &Parameters) -> Self {
        let literal = params.literal();
        Self {
            log_n: params.log_n(),
            levels: params.max_level(),
            log_q: params.log_q(params.max_level()),
            log_p: params.log_p(),
            scale_bits: literal.log_scale,
            dnum: literal.dnum,
            security_bits: params.security_bits(),
            secure: literal.security == Security::Classical128,
            hamming_weight: match literal.secret {
                SecretDistribution::UniformTernary => None,
                SecretDistribution::SparseTernary { hamming_weight } => Some(hamming_weight),
            },
        }
    }
}

/// Evaluation keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Keys {
    /// Number of keys.
    pub count: usize,
    /// Bytes of all keys as they are sent and stored, with seeds in place of their random halves.
    pub bytes: u64,
}

impl Keys {
    /// The keys that a plan needs under `params`.
    #[must_use]
    pub fn of(part: &ClientPart, params: &Parameters) -> Self {
        let keys = part.keys.keys(params.key_bands());
        let encapsulation = part.keys.encapsulation.as_ref();
        let to_and_back = encapsulation.map_or(0, |request| EncapsulationKeys::memory_bytes_of(params, request));
        Self {
            count: keys.len() + encapsulation.map_or(0, |request| 1 + request.keys().count()),
            bytes: keys
                .iter()
                .map(|(_, level)| Self::bytes_at(params, *level))
                .sum::<u64>()
                + to_and_back as u64,
        }
    }

    /// Bytes of one key for `level`, with a seed in place of its random half.
    #[must_use]
    pub fn bytes_at(params: &Parameters, level: usize) -> u64 {
        let limb = (params.n() * size_of::<u64>()) as u64;
        (params.digits(level) * params.ring().limb_count(params.raised_basis(level))) as u64 * limb
    }
}

/// Bytes of evaluation keys by what they are for, as they are sent and stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyUse {
    /// Relinearisation.
    pub relinearization: u64,
    /// Complex conjugation.
    pub conjugation: u64,
    /// Rotations that layers take; bootstraps may take them, too.
    pub layers: u64,
    /// Rotations that only bootstraps take.
    pub bootstraps: u64,
    /// To an ephemeral sparse secret and back.
    pub encapsulation: u64,
}

impl KeyUse {
    /// The keys that `plan` needs under `params`.
    #[must_use]
    pub fn of(plan: &Plan, params: &Parameters) -> Self {
        let instructions = plan.program().instructions.iter();
        let layers = instructions.filter(|instruction| !matches!(instruction.op, Op::Bootstrap { .. }));
        let by_layers: BTreeSet<KeyPurpose> = layers.flat_map(|instruction| plan.keys_of(&instruction.op)).collect();
        let mut bytes = Self::default();
        for (purpose, level) in plan.client().keys.keys(params.key_bands()) {
            let sum = match purpose {
                KeyPurpose::Relinearize => &mut bytes.relinearization,
                KeyPurpose::Conjugate => &mut bytes.conjugation,
                KeyPurpose::Rotate(_) if by_layers.contains(&purpose) => &mut bytes.layers,
                KeyPurpose::Rotate(_) => &mut bytes.bootstraps,
            };
            *sum += Keys::bytes_at(params, level);
        }
        let all = Keys::of(plan.client(), params).bytes;
        bytes.encapsulation = all - bytes.relinearization - bytes.conjugation - bytes.layers - bytes.bootstraps;
        bytes
    }
}

/// Memory of a process that evaluates, as foreseen before it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// What the server takes, by use.
    #[serde(flatten)]
    pub server: MemoryUse,
    /// What all weights would take if every one were encoded ahead.
    pub all_weights: u64,
    /// Everything: what the process had before, and the server.
    pub predicted_rss: u64,
}

impl Memory {
    /// Memory of a server in a process that had `before` bytes without it.
    #[must_use]
    pub fn new(server: &Server, before: u64) -> Self {
        Self {
            server: server.memory(),
            all_weights: server.weights().all_bytes(),
            predicted_rss: before + server.memory().total(),
        }
    }
}

/// Seconds of every step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    /// Model file to plan.
    pub compile: f64,
    /// Secret and evaluation keys.
    pub keygen: f64,
    /// Weights encoded ahead, once per server.
    pub encode: f64,
    /// One sample, the median.
    pub encrypt: f64,
    /// One sample, ciphertexts in to ciphertexts out, the median; weights encoded just in time count in it.
    pub evaluate: f64,
    /// One sample, the median.
    pub decrypt: f64,
}

/// Encrypted against clear results.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ErrorStats {
    /// Largest difference.
    pub max_abs: f64,
    /// Mean difference.
    pub mean_abs: f64,
    /// -log2(max_abs / reference_max_abs).
    pub bits: f64,
    /// Largest clear value.
    pub reference_max_abs: f64,
}

/// Samples of the same class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Agreement {
    /// Samples whose class is the same in the clear.
    pub same: usize,
    /// All samples.
    pub total: usize,
}

/// Samples classified as labelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Accuracy {
    /// By the model in the clear.
    pub clear: usize,
    /// By the encrypted model.
    pub encrypted: usize,
    /// All samples.
    pub total: usize,
}

/// What ranges were taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Calibration {
    /// File, or `input` where the inputs themselves were used, or `none`.
    pub source: String,
    /// Samples.
    pub rows: usize,
}

/// What is known of a plan without running it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Name of the model.
    pub model: String,
    /// Parameters.
    pub params: Params,
    /// Samples that one evaluation takes.
    pub batch: usize,
    /// Operations of one evaluation.
    pub counts: Counts,
    /// Levels from the input to the lowest result.
    pub depth: usize,
    /// Evaluation keys.
    pub keys: Keys,
    /// Their bytes by use.
    pub key_use: KeyUse,
    /// What the cost model foresaw for one evaluation.
    pub predicted_evaluate_s: Option<f64>,
    /// What the compiler foresaw as precision.
    pub predicted_bits: Option<f64>,
}

impl Summary {
    /// What there is to say about `plan` under its `params`.
    #[must_use]
    pub fn new(plan: &Plan, params: &Parameters) -> Self {
        let program = plan.program();
        Self {
            model: plan.client().model.name.clone(),
            params: Params::new(params),
            batch: plan.client().batch,
            counts: Counts::of_program(program),
            depth: depth(plan),
            keys: Keys::of(plan.client(), params),
            key_use: KeyUse::of(plan, params),
            predicted_evaluate_s: program.report.predicted_evaluate_s,
            predicted_bits: program.report.predicted_bits,
        }
    }
}

/// What `infer` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InferReport {
    /// What is known of the plan beforehand.
    #[serde(flatten)]
    pub plan: Summary,
    /// Times.
    pub time_s: Times,
    /// Most memory the process has used.
    pub peak_rss_bytes: Option<u64>,
    /// Threads.
    pub threads: usize,
    /// Encrypted against clear.
    pub error: ErrorStats,
    /// Classes, encrypted against clear.
    pub argmax_agreement: Agreement,
    /// Classes against labels, if there are labels.
    pub accuracy: Option<Accuracy>,
    /// Samples.
    pub samples: usize,
    /// Seconds of all evaluations by samples: less than one evaluation takes where it takes several samples.
    pub evaluate_per_sample_s: f64,
    /// What ranges were taken from.
    pub calibration: Calibration,
    /// Memory by use, as foreseen.
    pub memory: Memory,
    /// Bytes of one run's inputs as they are sent.
    pub upload_bytes: usize,
    /// Bytes of one run's results as they are sent.
    pub download_bytes: usize,
    /// Seconds by place in the model, summed over its instructions, in the last evaluation.
    pub layers_s: Vec<(String, f64)>,
    /// Passes.
    pub passes: Vec<PassReport>,
}

/// What `infer --simulate` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SimulationReport {
    /// What is known of the plan beforehand.
    #[serde(flatten)]
    pub plan: Summary,
    /// Seconds from the model to the plan.
    pub compile_s: f64,
    /// Seconds of the simulation of all samples.
    pub simulate_s: f64,
    /// Simulated against clear.
    pub error: ErrorStats,
    /// The part of it that is noise: simulated with noise against without.
    pub noise: ErrorStats,
    /// Classes, simulated against clear.
    pub argmax_agreement: Agreement,
    /// Classes against labels, if there are labels; `encrypted` are those of the simulation.
    pub accuracy: Option<Accuracy>,
    /// Sample by sample, by the first output.
    pub by_sample: Vec<SampleReport>,
    /// What ranges were taken from.
    pub calibration: Calibration,
    /// Passes.
    pub passes: Vec<PassReport>,
}

/// One sample of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SampleReport {
    /// Class by the model in the clear.
    pub clear_class: usize,
    /// Class by the program under noise.
    pub simulated_class: usize,
    /// What the labels say.
    pub label: Option<usize>,
    /// Largest difference to the clear output.
    pub error: f64,
    /// How far the clear class is ahead of the next.
    pub lead: f64,
}

/// What `compile` and `explain` print about a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanReport {
    /// What the report of an inference says of it, too.
    #[serde(flatten)]
    pub plan: Summary,
    /// BLAKE3 of the model file.
    pub model_hash: String,
    /// Bytes of the compressed constants.
    pub constant_bytes: u64,
    /// Constant vectors.
    pub constants: usize,
    /// Most ciphertexts alive at once, instructions being run in order.
    pub peak_ciphertexts: usize,
    /// Places in the model, in program order.
    pub layers: Vec<LayerReport>,
}

/// The instructions of one place in the model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerReport {
    /// The place.
    pub origin: String,
    /// Number of instructions by op.
    pub ops: BTreeMap<String, usize>,
    /// Highest level of an operand.
    pub level_in: usize,
    /// Lowest level of a result.
    pub level_out: usize,
    /// Operations.
    pub counts: Counts,
    /// Estimated part of the program's work, 0 to 1.
    pub share: f64,
}

impl PlanReport {
    /// What there is to say about `plan` under its `params`.
    #[must_use]
    pub fn new(plan: &Plan, params: &Parameters) -> Self {
        let program = plan.program();
        let schedule = Schedule::new(plan);
        let total: f64 = schedule.weights().iter().sum();
        let mut layers: Vec<LayerReport> = Vec::new();
        let mut position = BTreeMap::new();
        for (number, instruction) in program.instructions.iter().enumerate() {
            let at = *position.entry(instruction.origin).or_insert_with(|| {
                layers.push(LayerReport::empty(&program.origins[instruction.origin]));
                layers.len() - 1
            });
            let op = &instruction.op;
            let layer = &mut layers[at];
            *layer.ops.entry(op.name().to_string()).or_insert(0) += 1;
            layer.counts += Counts::of_op(program, op);
            layer.share += schedule.weights()[number] / total;
            for operand in op.operands() {
                layer.level_in = layer.level_in.max(plan.types()[operand.index()].level);
            }
            for result in &plan.types()[schedule.results(number)] {
                layer.level_out = layer.level_out.min(result.level);
            }
        }
        Self {
            plan: Summary::new(plan, params),
            model_hash: plan.client().model.hash.clone(),
            constant_bytes: plan.constants().compressed_bytes(),
            constants: plan.constants().len(),
            peak_ciphertexts: schedule.peak_registers(),
            layers,
        }
    }
}

/// Levels from the highest input to the lowest result.
fn depth(plan: &Plan) -> usize {
    let inputs = plan.client().inputs.iter().map(|port| port.level);
    let outputs = plan.program().outputs.iter().flatten();
    let lowest = outputs.map(|register| plan.types()[register.index()].level).min();
    inputs.max().unwrap_or(0).saturating_sub(lowest.unwrap_or(0))
}

impl LayerReport {
    fn empty(origin: &str) -> Self {
        Self {
            origin: origin.to_string(),
            ops: BTreeMap::new(),
            level_in: 0,
            level_out: usize::MAX,
            counts: Counts::default(),
            share: 0.0,
        }
    }
}
