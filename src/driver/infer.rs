//! Everything in one process: keys, encryption, evaluation, decryption, comparison with the model in the clear.

use aphelion_runtime::client::Client;
use aphelion_runtime::exec::Profile;
use aphelion_runtime::exec::resident::{peak_resident_bytes, resident_bytes};
use aphelion_runtime::ring::SecretRng;

use super::data::Sample;
use super::error::Result;
use super::job::Job;
use super::limits::Limits;
use super::metrics::median;
use super::observer::Observer;
use super::roles::{run_name, show, timed};
use crate::report::{InferReport, Memory, Summary, Times};

/// Results of an encrypted inference.
pub struct Inference {
    /// For every sample, the decrypted values of every output.
    pub outputs: Vec<Sample>,
    /// For every sample, the model's own results.
    pub clear: Vec<Sample>,
    /// One profile per run: of one sample, or as many as the plan takes together.
    pub profiles: Vec<Profile>,
    /// The report.
    pub report: InferReport,
}

/// Runs the job.
///
/// # Errors
/// When a sample does not fit, an instruction fails, or the clear model cannot be computed.
pub fn infer(job: &Job<'_>, limits: &Limits, rng: &mut SecretRng, observer: &dyn Observer) -> Result<Inference> {
    let plan = &job.compilation.plan;
    let before = resident_bytes().unwrap_or(0);
    observer.stage("making keys");
    let client = Client::new(plan.client().clone())?;
    limits.check_keys(plan.client(), client.params())?;
    let ((secret, keys), keygen) = timed(|| {
        let secret = client.secret_key(rng);
        let keys = client.evaluation_keys(&secret, rng)?;
        Ok((secret, keys))
    })?;
    observer.stage("encoding weights");
    let (server, encode) = timed(|| limits.server(plan.clone(), keys))?;

    let mut times = Times {
        compile: job.compilation.seconds,
        keygen: keygen.as_secs_f64(),
        encode: encode.as_secs_f64(),
        ..Times::default()
    };
    let (mut encrypts, mut evaluates, mut decrypts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut outputs, mut profiles) = (Vec::new(), Vec::new());
    let (mut upload_bytes, mut download_bytes) = (0, 0);
    for (number, sample) in job.samples.iter().enumerate() {
        for warning in client.check_ranges(sample) {
            observer.notice(&format!(
                "sample {number}: {} values of `{}` lie outside [{}, {}], which the plan was made for (found {} to {}): \
                 the result may be wrong",
                warning.outside, warning.input, warning.range.0, warning.range.1, warning.found.0, warning.found.1
            ));
        }
    }
    for (number, run) in job.runs().enumerate() {
        observer.stage(&run_name(plan.client().batch, number, job.samples.len()));
        let (inputs, encrypt) = timed(|| Ok(client.encrypt(&secret, &plan.client().side_by_side(run)?, rng)?))?;
        let evaluation = server.evaluate(&inputs, &|progress| show(observer, &progress))?;
        let (output, decrypt) = timed(|| Ok(client.decrypt(&secret, &evaluation.outputs)?))?;
        if number == 0 {
            let bytes = |ciphertexts: &[aphelion_runtime::ckks::Ciphertext]| -> usize {
                ciphertexts
                    .iter()
                    .map(|ciphertext| ciphertext.to_bytes(client.params()).len())
                    .sum()
            };
            upload_bytes = bytes(&inputs);
            download_bytes = bytes(&evaluation.outputs);
        }
        encrypts.push(encrypt.as_secs_f64());
        evaluates.push(evaluation.profile.wall.as_secs_f64());
        decrypts.push(decrypt.as_secs_f64());
        outputs.extend(plan.client().one_by_one(&output).into_iter().take(run.len()));
        profiles.push(evaluation.profile);
    }
    times.encrypt = median(encrypts);
    times.evaluate = median(evaluates);
    times.decrypt = median(decrypts);

    observer.stage("comparing with the model in the clear");
    let comparison = job.compare(&outputs)?;
    let layers = profiles
        .last()
        .map_or(Vec::new(), |profile| profile.by_origin(plan.program()));
    let report = InferReport {
        plan: Summary::new(plan, client.params()),
        time_s: times,
        peak_rss_bytes: peak_resident_bytes(),
        threads: rayon::current_num_threads(),
        error: comparison.error,
        argmax_agreement: comparison.argmax_agreement,
        accuracy: comparison.accuracy,
        samples: job.samples.len(),
        evaluate_per_sample_s: profiles.iter().map(|profile| profile.wall.as_secs_f64()).sum::<f64>()
            / job.samples.len().max(1) as f64,
        calibration: job.calibration.clone(),
        memory: Memory::new(&server, before),
        upload_bytes,
        download_bytes,
        layers_s: layers
            .into_iter()
            .map(|(origin, time)| (origin.to_string(), time.as_secs_f64()))
            .collect(),
        passes: job.compilation.passes.clone(),
    };
    Ok(Inference {
        outputs,
        clear: comparison.clear,
        profiles,
        report,
    })
}
