//! Encrypted inference without encryption: the compiled program on real numbers, with the noise of its parameters, in
//! comparison with the model in the clear. No keys, no ciphertexts: seconds instead of minutes.

use std::collections::BTreeMap;
use std::time::Instant;

use aphelion_ir::ckks::{Interpreter, Noise};
use aphelion_runtime::ckks::params::Parameters;
use aphelion_runtime::plan::ClientPart;

use super::data::Sample;
use super::error::Result;
use super::job::{Job, all_outputs, first_outputs};
use super::metrics::error_stats;
use super::observer::Observer;
use crate::report::{SampleReport, SimulationReport, Summary};

/// Runs that go side by side: more take more memory, and hardly less time for each.
const RUNS_AT_ONCE: usize = 4;

/// Results of a simulated inference.
pub struct Simulation {
    /// For every sample, the values of every output.
    pub outputs: Vec<Sample>,
    /// The report.
    pub report: SimulationReport,
}

/// Runs the program with noise and without. Every run has noise of its own, the same in every simulation.
///
/// # Errors
/// When a sample does not fit, a value is too large for its modulus or a bootstrap, or the clear model cannot be computed.
pub fn simulate(job: &Job<'_>, observer: &dyn Observer) -> Result<Simulation> {
    let (plan, program) = (&job.compilation.plan, &job.compilation.program);
    let start = Instant::now();
    let interpreter = Interpreter::new(program)?;
    let (mut outputs, mut exact) = (Vec::new(), Vec::new());
    let samples_at_once = RUNS_AT_ONCE * plan.client().batch;
    for (round, samples) in job.samples.chunks(samples_at_once).enumerate() {
        let first = round * samples_at_once;
        observer.stage(&format!(
            "simulating from sample {} of {} on",
            first + 1,
            job.samples.len()
        ));
        observer.progress(first as f64 / job.samples.len() as f64);
        let runs = samples.chunks(plan.client().batch);
        let inputs: Vec<_> = runs.map(|run| inputs(plan.client(), run)).collect::<Result<_>>()?;
        let first_seed = (round * RUNS_AT_ONCE) as u64;
        let noisy = inputs
            .iter()
            .zip(first_seed..)
            .map(|(inputs, seed)| (inputs, Noise::Seeded(seed)));
        let runs: Vec<_> = noisy.chain(inputs.iter().map(|inputs| (inputs, Noise::Off))).collect();
        for (run, result) in interpreter.evaluate_batch(&runs)?.into_iter().enumerate() {
            let results = if run < inputs.len() { &mut outputs } else { &mut exact };
            results.extend(finished(plan.client(), result?));
        }
        // Places of a run that no sample was left for.
        outputs.truncate(job.samples.len());
        exact.truncate(job.samples.len());
    }
    let simulate_s = start.elapsed().as_secs_f64();

    observer.stage("comparing with the model in the clear");
    let comparison = job.compare(&outputs)?;
    let decision = job.decision();
    let (simulated_first, clear_first) = (first_outputs(&outputs), first_outputs(&comparison.clear));
    let by_sample = simulated_first.iter().zip(&clear_first).enumerate();
    let by_sample = by_sample.map(|(number, (simulated, clear))| SampleReport {
        clear_class: decision.class(clear),
        simulated_class: decision.class(simulated),
        label: job.labels.and_then(|labels| labels.get(number).copied()),
        error: error_stats(std::slice::from_ref(simulated), std::slice::from_ref(clear)).max_abs,
        lead: decision.lead(clear),
    });
    let params = Parameters::new(plan.client().parameters.clone())?;
    let report = SimulationReport {
        plan: Summary::new(plan, &params),
        compile_s: job.compilation.seconds,
        simulate_s,
        error: comparison.error,
        noise: error_stats(&all_outputs(&outputs), &all_outputs(&exact)),
        argmax_agreement: comparison.argmax_agreement,
        accuracy: comparison.accuracy,
        by_sample: by_sample.collect(),
        calibration: job.calibration.clone(),
        passes: job.compilation.passes.clone(),
    };
    Ok(Simulation { outputs, report })
}

/// The inputs of one run by name.
fn inputs(client: &ClientPart, samples: &[Sample]) -> Result<BTreeMap<String, Vec<f64>>> {
    let names = client.inputs.iter().map(|port| port.name.clone());
    Ok(names.zip(client.side_by_side(samples)?).collect())
}

/// The results of every sample of a run, after what the client does with them.
fn finished(client: &ClientPart, mut results: Vec<Vec<f64>>) -> Vec<Sample> {
    for (port, values) in client.outputs.iter().zip(&mut results) {
        port.client_ops
            .iter()
            .for_each(|op| op.apply(&port.packing.shape, values));
    }
    client.one_by_one(&results)
}
