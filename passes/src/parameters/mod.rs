//! Parameter selection: the encryption parameters with the least predicted latency that hold the program.
//! In:     ckks, levels assigned                  Out:   the same graph with `attrs.parameters` set
//! Method: for every ring degree and digit count, the largest scale with 128-bit security; these sets by rising predicted
//!         latency (ties: smaller keys, then smaller ring); the first whose noise leaves the asked precision wins. A larger
//!         scale costs nothing at equal degree and digits, so none but the largest is considered.
//! Source: security bounds from the runtime's table (Bossuat et al., "Security Guidelines for Implementing Homomorphic
//!         Encryption", 2024), always against Q P; noise from the cleartext interpreter.
//! Cost:   one walk over the matrices, a prediction per set, and a few interpreted runs per ring that is tried.
//! Counts: log_n, levels, log_scale, log_qp, dnum, security_bits, predicted_s, predicted_encode_s, predicted_bits,
//!         key_bytes, plaintext_bytes, keys, and all of [`OpCounts`](crate::cost_model::OpCounts)
//! Limits: ring degrees 2^12..2^16 and scales of 24..44 bits, see `candidates`

mod candidates;
mod gadgets;
mod precision;
#[cfg(test)]
mod tests;

pub use gadgets::{gadgets_of, with_gadgets};
pub use precision::{Assessment, assess};

use crate::cost_model::{Bootstraps, Costs, Prediction, ShapeCache, Workload, predict};
use crate::keys::KeyPlan;
use crate::{PassCx, PassError, Stats, Target};
use aphelion_ir::Graph;
use aphelion_ir::ckks::{BootstrapSpec, Ckks, CkksOp, ParameterSpec, Secret};
use aphelion_runtime::ckks::boot::{BootstrapPlan, BootstrapRequest, Content};
use aphelion_runtime::ckks::params::{ChainRequest, Parameters, ParametersLiteral, SecretDistribution, Security};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bits that the noise has to stay below the target: polynomials take the other half of the error.
const NOISE_SHARE_BITS: f64 = 1.0;
/// Precision of a model without approximated functions, if less is asked: noise is its only error, and this much costs next
/// to nothing. With [`NOISE_SHARE_BITS`], 14 bits are left where keys and samples are unlucky by half a bit.
const EXACT_MODEL_BITS: f64 = 13.5;
/// Precision that is enough to keep nearly every decision of a classifier.
const AGREEMENT_BITS: f64 = 10.0;

/// Runs the pass.
///
/// # Errors
/// [`PassError::Infeasible`] when the program is too deep, too large or the precision out of reach.
pub fn run(cx: &PassCx, mut graph: Graph<Ckks>) -> Result<(Graph<Ckks>, Stats), PassError> {
    if graph.attrs.parameters.is_some() {
        let stats = stats_of_chosen(cx, &graph)?;
        return Ok((graph, stats));
    }
    let workload = Workload::new(&graph, None, &cx.memo)?;
    let keys = KeyPlan::new(&graph, &workload, None)?;
    let request = candidates::Request {
        levels: workload.max_level,
        slots: graph.attrs.packing.slots,
        log_n: cx.options.log_n,
        insecure: cx.options.allow_insecure,
    };
    let candidates = request.candidates().map_err(|error| explain_depth(&graph, error))?;
    let mut priced: Vec<(Prediction, ParameterSpec)> = candidates
        .into_iter()
        .map(|spec| (predict(&workload, &keys, &spec, &cx.cost_table), spec))
        .collect();
    priced.sort_by(|(a, a_spec), (b, b_spec)| {
        let seconds = a.evaluate_s.total_cmp(&b.evaluate_s);
        seconds
            .then(a.key_bytes.cmp(&b.key_bytes))
            .then(a_spec.log_n.cmp(&b_spec.log_n))
    });
    within_key_memory(cx, &mut priced)?;

    let needed_bits = needed_bits(
        cx,
        !graph.iter().any(|(_, node)| matches!(node.op, CkksOp::PolyEval { .. })),
    );
    let mut precision = precision::Precision::new(cx, &graph)?;
    let mut best_bits = f64::NEG_INFINITY;
    let mut refused: Vec<ParameterSpec> = Vec::new();
    for (prediction, spec) in priced {
        // Noise depends on little but ring and scale.
        let is_noisier = |other: &ParameterSpec| other.log_n <= spec.log_n && other.log_scale >= spec.log_scale;
        if refused.iter().any(is_noisier) {
            continue;
        }
        let assessment = precision.assess(&spec)?;
        if let Some(bits) = assessment.bits.filter(|bits| *bits >= needed_bits) {
            let stats = stats(cx, &workload, &keys, &spec, &prediction, bits)?;
            graph.attrs.parameters = Some(spec);
            cx.memo.remember(&graph, &cx.samples, &assessment);
            return Ok((graph, stats));
        }
        best_bits = best_bits.max(assessment.bits.unwrap_or(f64::NEG_INFINITY));
        refused.push(spec);
    }
    Err(PassError::Infeasible(if best_bits.is_finite() {
        format!(
            "noise leaves {best_bits:.1} bits of precision, {needed_bits:.1} are needed: ask for less precision, save \
             levels so that the scale can grow, or calibrate on samples (--calibrate), which gives narrower ranges than \
             the interval of the inputs"
        )
    } else {
        "a value is too large for its modulus under every parameter set: widen the calibrated ranges".into()
    }))
}

/// Bits of precision that noise has to leave, for a model with or without approximated functions.
pub fn needed_bits(cx: &PassCx, is_exact: bool) -> f64 {
    let asked_bits = match cx.options.target {
        Target::Precision(bits) => bits,
        Target::Agreement(_) => AGREEMENT_BITS,
        Target::Automatic => Target::DEFAULT_BITS,
    };
    NOISE_SHARE_BITS
        + if is_exact {
            asked_bits.max(EXACT_MODEL_BITS)
        } else {
            asked_bits
        }
}

/// The figures of a program whose parameters were chosen with its bootstraps.
fn stats_of_chosen(cx: &PassCx, graph: &Graph<Ckks>) -> Result<Stats, PassError> {
    let Some(spec) = &graph.attrs.parameters else {
        return Err(PassError::Infeasible("no parameters were chosen".into()));
    };
    let chain = bootstrap_plan(spec, security(cx))?;
    let shapes = ShapeCache::default();
    let bootstraps = chain.as_ref().map(|chain| Bootstraps::new(chain, &shapes));
    let workload = Workload::new(graph, bootstraps.as_ref(), &cx.memo)?;
    let keys = KeyPlan::new(graph, &workload, bootstraps.as_ref())?;
    let prediction = predict(&workload, &keys, spec, &cx.cost_table);
    let bits = assess(cx, graph)?.bits.ok_or_else(|| {
        let message = "a value is too large for its modulus or a bootstrap: widen the calibrated ranges";
        PassError::Infeasible(message.into())
    })?;
    stats(cx, &workload, &keys, spec, &prediction, bits)
}

/// The primes of `spec`: those of its bootstrap, where it has one.
///
/// # Errors
/// When the ring has not enough primes of these sizes, or the bootstrap cannot be planned.
pub fn literal(spec: &ParameterSpec, security: Security) -> Result<ParametersLiteral, PassError> {
    if let Some(plan) = bootstrap_plan(spec, security)? {
        return Ok(plan.literal().clone());
    }
    let request = ChainRequest {
        log_n: spec.log_n,
        levels: spec.max_level as usize,
        log_scale: f64::from(spec.log_scale),
        log_q0: f64::from(spec.log_q0),
        dnum: spec.dnum as usize,
        secret: match spec.secret {
            Secret::UniformTernary {} => SecretDistribution::UniformTernary,
            Secret::SparseTernary { hamming_weight } => SecretDistribution::SparseTernary { hamming_weight },
        },
        security,
    };
    ParametersLiteral::choose(&request).map_err(|error| PassError::Infeasible(error.to_string()))
}

/// The bootstrap of `spec`, if it has one: the circuit and the primes of the whole program.
///
/// # Errors
/// When no circuit does what is asked, or the one that does differs from what `spec` says of it.
pub fn bootstrap_plan(spec: &ParameterSpec, security: Security) -> Result<Option<BootstrapPlan>, PassError> {
    let Some(bootstrap) = &spec.bootstrap else {
        return Ok(None);
    };
    if let Some((_, plan)) = last_plan()
        .as_ref()
        .filter(|(known, plan)| known == spec && plan.request().security == security)
    {
        return Ok(Some(plan.clone()));
    }
    let request = BootstrapRequest {
        log_n: spec.log_n,
        slots: bootstrap.slots,
        content: if bootstrap.pairs {
            Content::Complex
        } else {
            Content::Real
        },
        bits: bootstrap.bits,
        levels: bootstrap.levels.saturating_sub(bootstrap.input_level) as usize,
        log_scale: f64::from(spec.log_scale),
        security,
    };
    let plan = BootstrapPlan::new(&request).map_err(|error| PassError::Infeasible(error.to_string()))?;
    if spec_of(&plan) != *spec {
        let message = "the bootstrap that the parameters ask for is not the one that they describe: compile again";
        return Err(PassError::BadInput(message.into()));
    }
    remember(spec, &plan);
    Ok(Some(plan))
}

/// The plan that was made last: a compilation needs it in several places, and a plan takes about a second to make.
fn last_plan() -> MutexGuard<'static, Option<(ParameterSpec, BootstrapPlan)>> {
    static LAST: Mutex<Option<(ParameterSpec, BootstrapPlan)>> = Mutex::new(None);
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Spares [`bootstrap_plan`] the search for a plan that was just made.
pub(crate) fn remember(spec: &ParameterSpec, plan: &BootstrapPlan) {
    *last_plan() = Some((spec.clone(), plan.clone()));
}

/// The parameters of a program that runs on the chain of `plan`.
pub fn spec_of(plan: &BootstrapPlan) -> ParameterSpec {
    let (request, literal) = (plan.request(), plan.literal());
    let log2 = |prime: u64| (prime as f64).log2();
    ParameterSpec {
        log_n: request.log_n,
        max_level: plan.output_level() as u32,
        log_scale: request.log_scale.round() as u32,
        log_q0: log2(literal.q[0]).round() as u32,
        dnum: literal.dnum as u32,
        log_special: literal.p.iter().map(|prime| log2(*prime)).fold(0.0, f64::max).ceil() as u32,
        n_special: literal.p.len() as u32,
        gadgets: Some(gadgets_of(literal)),
        secret: match literal.secret {
            SecretDistribution::UniformTernary => Secret::UniformTernary {},
            SecretDistribution::SparseTernary { hamming_weight } => Secret::SparseTernary { hamming_weight },
        },
        bootstrap: Some(BootstrapSpec {
            slots: request.slots,
            pairs: request.content == Content::Complex,
            bits: request.bits,
            levels: plan.output_level() as u32,
            input_level: plan.input_level() as u32,
            total_levels: literal.q.len() as u32 - 1,
            log_error: plan.log_error(),
        }),
    }
}

/// The security that the options ask for.
pub fn security(cx: &PassCx) -> Security {
    if cx.options.allow_insecure {
        Security::None
    } else {
        Security::Classical128
    }
}

/// Drops sets whose keys are too large.
fn within_key_memory(cx: &PassCx, priced: &mut Vec<(Prediction, ParameterSpec)>) -> Result<(), PassError> {
    let Some(max_key_bytes) = cx.options.max_key_bytes else {
        return Ok(());
    };
    let least = priced.iter().map(|(prediction, _)| prediction.key_bytes).min();
    priced.retain(|(prediction, _)| prediction.key_bytes <= max_key_bytes);
    if priced.is_empty() {
        return Err(PassError::Infeasible(format!(
            "evaluation keys take at least {} bytes, {max_key_bytes} are allowed: raise the limit of key memory (--max-key-memory)",
            least.unwrap_or(0)
        )));
    }
    Ok(())
}

/// Refuses a program whose keys, or whose memory without the plaintexts that can be encoded at every use, exceed what is
/// allowed.
pub(crate) fn check_memory(cx: &PassCx, prediction: &Prediction) -> Result<(), PassError> {
    if let Some(most) = cx.options.max_key_bytes.filter(|most| prediction.key_bytes > *most) {
        return Err(PassError::Infeasible(format!(
            "evaluation keys take {} bytes, {most} are allowed: raise the limit of key memory (--max-key-memory)",
            prediction.key_bytes
        )));
    }
    let (least, most) = (prediction.least_bytes(), cx.options.max_memory_bytes);
    if least > most {
        return Err(PassError::Infeasible(format!(
            "keys and ciphertexts take {least} bytes, {most} are allowed: raise the limit of memory (--max-plan-memory)"
        )));
    }
    Ok(())
}

/// Whether parameters without bootstraps hold a program of this depth.
///
/// # Errors
/// When there are none.
pub(crate) fn check_depth(cx: &PassCx, levels: u32, slots: usize) -> Result<(), PassError> {
    let request = candidates::Request {
        levels,
        slots,
        log_n: cx.options.log_n,
        insecure: cx.options.allow_insecure,
    };
    request.candidates().map(|_| ())
}

/// Adds to an error about depth the ops that make the program as deep as it is.
fn explain_depth(graph: &Graph<Ckks>, error: PassError) -> PassError {
    let PassError::Infeasible(message) = error else {
        return error;
    };
    let users = graph.users();
    let mut at = graph
        .iter()
        .filter(|(_, node)| matches!(node.op, CkksOp::Input { .. }))
        .max_by_key(|(id, node)| (node.ty.level, std::cmp::Reverse(*id)))
        .map(|(id, _)| id);
    let mut consumers: Vec<String> = Vec::new();
    while let Some(value) = at {
        // The deepest way down stays at the highest level for as long as it can.
        at = users[value.index()]
            .iter()
            .copied()
            .max_by_key(|user| (graph.ty(*user).level, std::cmp::Reverse(*user)));
        if let Some(user) = at {
            let consumed = graph.ty(value).level.saturating_sub(graph.ty(user).level);
            if consumed > 0 {
                consumers.push(format!("{} {consumed}", graph.origin(user)));
            }
        }
    }
    PassError::Infeasible(format!(
        "{message}; levels go to: {}. Use activations of lower degree, or fewer layers",
        consumers.join(", ")
    ))
}

fn stats(
    cx: &PassCx,
    workload: &Workload,
    keys: &KeyPlan,
    spec: &ParameterSpec,
    prediction: &Prediction,
    bits: f64,
) -> Result<Stats, PassError> {
    let params = Parameters::new(literal(spec, security(cx))?)
        .map_err(|error| PassError::Infeasible(format!("the chosen parameters are refused: {error}")))?;
    let counts = workload.counts();
    let mut stats = Stats::default();
    let entries = [
        ("log_n", f64::from(spec.log_n)),
        ("levels", f64::from(spec.max_level)),
        ("log_scale", f64::from(spec.log_scale)),
        ("log_qp", params.log_qp()),
        ("dnum", f64::from(spec.dnum)),
        ("security_bits", params.security_bits().unwrap_or(0.0)),
        ("predicted_s", prediction.evaluate_within(cx.options.max_memory_bytes)),
        ("predicted_encode_s", prediction.encode_s),
        ("predicted_bits", bits),
        ("key_bytes", prediction.key_bytes as f64),
        ("plaintext_bytes", prediction.plaintext_bytes as f64),
        ("ciphertext_bytes", prediction.ciphertext_bytes as f64),
        ("keys", keys.count(&Costs::new(spec)) as f64),
        ("rotations", counts.rotations as f64),
        ("hoisted_rotations", counts.hoisted_rotations as f64),
        ("ct_mults", counts.ct_mults as f64),
        ("pt_mults", counts.pt_mults as f64),
        ("relinearizations", counts.relinearizations as f64),
        ("rescales", counts.rescales as f64),
        ("bootstraps", counts.bootstraps as f64),
    ];
    for (name, amount) in entries {
        stats.add(name, amount);
    }
    Ok(stats)
}
