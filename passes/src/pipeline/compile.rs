//! Compilation: the passes that turn a model into a program on ciphertexts, in order and with the reasons for it.

use super::{AnyGraph, PassManager, PassReport};
use crate::cost_model::{Bootstraps, Costs, OpCounts, Prediction, ShapeCache, Workload, predict};
use crate::keys::KeyPlan;
use crate::parameters;
use crate::{PassError, Stats};
use aphelion_ir::Graph;
use aphelion_ir::ckks::{Ckks, ParameterSpec};
use aphelion_ir::nn::Nn;
use aphelion_ir::slot::Slot;
use aphelion_runtime::ckks::boot::BootstrapPlan;
use aphelion_runtime::ckks::params::ParametersLiteral;
use serde::Serialize;

/// One step of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Name of the pass.
    pub pass: &'static str,
    /// Why it stands where it does.
    pub why: &'static str,
}

/// The passes that compile a model, in order.
pub static COMPILE: &[Step] = &[
    Step {
        pass: "fold_constants",
        why: "first, so that the others see constants where there are some",
    },
    Step {
        pass: "recover_activations",
        why: "before affine folding, which would take activations written as arithmetic apart",
    },
    Step {
        pass: "fold_scales",
        why: "takes the scales that recovered polynomials leave, and gives affine folding those before linear ops",
    },
    Step {
        pass: "fold_affine",
        why: "before calibration, which then sees only values that will exist",
    },
    Step {
        pass: "fold_constants",
        why: "again, because affine folding computes on weights",
    },
    Step {
        pass: "calibrate",
        why: "the graph has its final values but for polynomials, whose intervals come from it",
    },
    Step {
        pass: "approximate",
        why: "needs the intervals, and every linear op as it will run",
    },
    Step {
        pass: "lower_to_slot",
        why: "needs polynomials instead of functions, and ranges, from which it takes the norms of all values",
    },
    Step {
        pass: "batch",
        why: "after layouts, which it spreads, and before all that prices slots",
    },
    Step {
        pass: "rewrite",
        why: "works on matrices between layouts, and before levels exist, because it changes the depth",
    },
    Step {
        pass: "place_bootstraps",
        why: "the depth is final now; a deep program gets bootstraps and parameters together",
    },
    Step {
        pass: "lower_to_ckks",
        why: "gives every op the lowest level that suffices between what comes before and after it",
    },
    Step {
        pass: "select_parameters",
        why: "last, because it prices and interprets the program as it will run",
    },
];

/// A compiled model.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The program on packed vectors, as it was lowered to ciphertexts.
    pub slot: Graph<Slot>,
    /// The program on ciphertexts, with its parameters.
    pub ckks: Graph<Ckks>,
    /// The primes.
    pub parameters: ParametersLiteral,
    /// The bootstrap on these primes, if the program has one.
    pub bootstrap: Option<BootstrapPlan>,
    /// The evaluation keys that it needs.
    pub keys: KeyPlan,
    /// What it will cost, op by op.
    pub prediction: Prediction,
    /// What every pass did.
    pub passes: Vec<PassReport>,
    /// The figures that a user is shown.
    pub report: Report,
}

/// Figures of a compiled model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Rescales that a fresh ciphertext has.
    pub levels: u32,
    /// Bits of the scale.
    pub scale_bits: u32,
    /// log2 of the ciphertext modulus.
    pub log_q: f64,
    /// log2 of the special modulus.
    pub log_p: f64,
    /// Digits of key switching.
    pub dnum: u32,
    /// Estimated security in bits; 0 where it is unknown.
    pub security_bits: f64,
    /// Slots per ciphertext.
    pub slots: usize,
    /// Counts of expensive ops.
    pub counts: OpCounts,
    /// Number of evaluation keys.
    pub keys: usize,
    /// Bytes of all evaluation keys in the server's memory.
    pub key_bytes: u64,
    /// Bytes of all encoded plaintexts.
    pub plaintext_bytes: u64,
    /// Seconds from ciphertext in to ciphertext out.
    pub predicted_evaluate_s: f64,
    /// Precision of the results under noise, in bits.
    pub predicted_bits: f64,
}

/// Compiles `graph` by the passes of [`COMPILE`], which `manager` runs.
///
/// # Errors
/// The first failing pass's.
pub fn compile(mut manager: PassManager<'_>, graph: Graph<Nn>) -> Result<Compiled, PassError> {
    let cx = manager.cx;
    let names: Vec<&str> = COMPILE.iter().map(|step| step.pass).collect();
    let lowering = names
        .iter()
        .position(|name| *name == "lower_to_ckks")
        .unwrap_or(names.len());
    let slot = match manager.run(&names[..lowering], AnyGraph::Nn(graph))? {
        AnyGraph::Slot(slot) => slot,
        other => return Err(stopped_at(&other)),
    };
    let ckks = match manager.run(&names[lowering..], AnyGraph::Slot(slot.clone()))? {
        AnyGraph::Ckks(ckks) => ckks,
        other => return Err(stopped_at(&other)),
    };
    let Some(spec) = ckks.attrs.parameters.clone() else {
        return Err(PassError::Infeasible("no parameters were selected".into()));
    };
    let bootstrap = parameters::bootstrap_plan(&spec, parameters::security(cx))?;
    let parameters = match &bootstrap {
        Some(plan) => plan.literal().clone(),
        None => parameters::literal(&spec, parameters::security(cx))?,
    };
    let shapes = ShapeCache::default();
    let bootstraps = bootstrap.as_ref().map(|plan| Bootstraps::new(plan, &shapes));
    let workload = Workload::new(&ckks, bootstraps.as_ref(), &cx.memo)?;
    let keys = KeyPlan::new(&ckks, &workload, bootstraps.as_ref())?;
    let prediction = predict(&workload, &keys, &spec, &cx.cost_table);
    let passes = manager.into_reports();
    let selection = passes.last().map(|pass| pass.stats.clone()).unwrap_or_default();
    let report = report(
        &spec,
        &parameters,
        &workload,
        &keys,
        &prediction,
        &selection,
        slot.attrs.slots,
    );
    Ok(Compiled {
        slot,
        ckks,
        parameters,
        bootstrap,
        keys,
        prediction,
        passes,
        report,
    })
}

fn stopped_at(graph: &AnyGraph) -> PassError {
    PassError::Infeasible(format!("the pipeline ends in dialect {}", graph.dialect()))
}

fn report(
    spec: &ParameterSpec,
    parameters: &ParametersLiteral,
    workload: &Workload,
    keys: &KeyPlan,
    prediction: &Prediction,
    selection: &Stats,
    slots: usize,
) -> Report {
    let log2 = |primes: &[u64]| primes.iter().map(|prime| (*prime as f64).log2()).sum();
    let selected = |name: &str| selection.0.get(name).copied().unwrap_or(0.0);
    Report {
        log_n: spec.log_n,
        levels: spec.max_level,
        scale_bits: spec.log_scale,
        log_q: log2(&parameters.q),
        log_p: log2(&parameters.p),
        dnum: spec.dnum,
        security_bits: selected("security_bits"),
        slots,
        counts: workload.counts(),
        keys: keys.count(&Costs::new(spec)),
        key_bytes: prediction.key_bytes,
        plaintext_bytes: prediction.plaintext_bytes,
        predicted_evaluate_s: selected("predicted_s"),
        predicted_bits: selected("predicted_bits"),
    }
}
