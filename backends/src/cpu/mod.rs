//! The CPU backend: a `ckks` graph becomes a plan for the runtime's executor.
//!
//! In:     a verified graph whose attributes hold parameters, output layouts and output scales; its primes
//! Out:    a plan that passed the runtime's own validation
//! Method: bundles become registers of single ciphertexts; plaintexts and diagonals are laid out in slots; rotations of
//!         one value become one hoisted instruction; a product's rescale is merged into the instruction before it where
//!         the runtime has it merged ([`pending`])
//! Cost:   O(ops + non-zeros of all matrices)

mod constants;
mod emit;
mod pending;
mod ports;

use std::collections::BTreeMap;

use aphelion_ir::Graph;
use aphelion_ir::ckks::{Ckks, CkksOp};
use aphelion_runtime::ckks::boot::BootstrapPlan;
use aphelion_runtime::ckks::params::{Parameters, ParametersLiteral};
use aphelion_runtime::plan::{Bootstrapping, ClientPart, ModelInfo, Plan, Program, Report};

use crate::error::BackendError;
use emit::Emitter;

/// What a plan says besides the program.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanInfo {
    /// The primes that the graph's parameter specification stands for.
    pub parameters: ParametersLiteral,
    /// The bootstrap that the specification stands for, if it has one; its primes are `parameters`.
    pub bootstrap: Option<BootstrapPlan>,
    /// BLAKE3 of the model file in hexadecimal digits.
    pub model_hash: String,
    /// For inputs by name, the interval (low, high) that the program was made for.
    pub input_ranges: BTreeMap<String, (f64, f64)>,
    /// Predictions and statistics.
    pub report: Report,
    /// Predicted seconds of every op of the graph by value, where there is a prediction.
    pub op_seconds: Vec<f64>,
}

/// The plan of a finished program.
///
/// # Errors
/// When the graph lacks parameters or packing, has an op the runtime does not run, or a constant cannot be read.
pub fn plan(graph: &Graph<Ckks>, info: &PlanInfo) -> Result<Plan, BackendError> {
    graph.verify()?;
    check_parameters(graph, info)?;
    let live = graph.live();
    let mut emitter = Emitter::new(graph, &live)?;
    for (id, node) in graph.iter() {
        // Inputs are part of the signature even when nothing reads them.
        if let CkksOp::Input { layout, .. } = &node.op {
            emitter.input(id, layout.cts);
        }
    }
    let mut instruction_s = Vec::new();
    for (id, node) in graph.iter().filter(|(id, _)| live[id.index()]) {
        let before = emitter.instructions.len();
        emitter.op(id, node)?;
        let seconds = info.op_seconds.get(id.index()).copied().unwrap_or(0.0);
        share_seconds(&mut instruction_s, before, emitter.instructions.len(), seconds);
    }
    emitter.bootstrap_keys(info.bootstrap.as_ref())?;
    let outputs = graph
        .outputs()
        .iter()
        .map(|output| emitter.output(output.value))
        .collect::<Result<_, _>>()?;
    let client = ClientPart {
        model: ModelInfo {
            name: graph.name.clone(),
            hash: info.model_hash.clone(),
        },
        parameters: info.parameters.clone(),
        batch: graph.attrs.packing.batch.unwrap_or(1),
        inputs: ports::inputs(graph, &info.input_ranges),
        outputs: ports::outputs(graph)?,
        keys: emitter.keys.in_bands(&info.parameters.key_bands()),
    };
    let program = Program {
        instructions: emitter.instructions,
        outputs,
        transforms: emitter.transforms,
        polynomials: emitter.polynomials,
        origins: emitter.origins,
        bootstrap: info.bootstrap.as_ref().map(Bootstrapping::from),
        report: Report {
            instruction_s: if info.op_seconds.is_empty() {
                Vec::new()
            } else {
                instruction_s
            },
            ..info.report.clone()
        },
    };
    Ok(Plan::new(client, program, emitter.constants.finish()?)?)
}

/// Shares the seconds of an op among the instructions `before..after` that it became; those of an op that was emitted with an
/// earlier one, as rotations of one value are, go to the last instruction there is.
fn share_seconds(instruction_s: &mut Vec<f64>, before: usize, after: usize, seconds: f64) {
    if after > before {
        instruction_s.resize(after, seconds / (after - before) as f64);
    } else if let Some(last) = instruction_s.last_mut() {
        *last += seconds;
    }
}

/// Refuses primes of another specification, and what is insecure or inconsistent now, not when keys are made.
fn check_parameters(graph: &Graph<Ckks>, info: &PlanInfo) -> Result<(), BackendError> {
    let literal = &info.parameters;
    let spec = graph.attrs.parameters.as_ref();
    let spec = spec.ok_or_else(|| BackendError::Unfinished("no encryption parameters are selected".into()))?;
    if (spec.log_n, spec.n_primes() as usize) != (literal.log_n, literal.q.len()) {
        return Err(BackendError::Unfinished(format!(
            "{} primes in a ring of degree 2^{} do not belong to {} levels in 2^{}",
            literal.q.len(),
            literal.log_n,
            spec.n_primes() - 1,
            spec.log_n
        )));
    }
    if spec.bootstrap.is_some() != info.bootstrap.is_some()
        || info.bootstrap.as_ref().is_some_and(|plan| plan.literal() != literal)
    {
        let message = "the bootstrap is not the one that the parameters are made for";
        return Err(BackendError::Unfinished(message.into()));
    }
    Parameters::new(literal.clone())?;
    Ok(())
}
