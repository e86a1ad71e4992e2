//! Client and server as processes that meet only through files.
//!
//! The client's folder holds the secret key, the server's the evaluation keys; ciphertexts travel in files of their own.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aphelion_runtime::ckks::keys::{EvaluationKeys, SecretKey};
use aphelion_runtime::ckks::params::Parameters;
use aphelion_runtime::client::Client;
use aphelion_runtime::error::Error as RuntimeError;
use aphelion_runtime::exec::{Profile, Progress, Server};
use aphelion_runtime::plan::{Bundle, ClientPart, Direction, Plan};
use aphelion_runtime::ring::SecretRng;

use super::data::Sample;
use super::error::{DriverError, Result};
use super::limits::Limits;
use super::observer::Observer;

/// Name of the secret key within the client's folder.
pub const SECRET_KEY: &str = "secret.key";
/// Name of the evaluation keys within the server's folder.
pub const EVALUATION_KEYS: &str = "evaluation.keys";

/// The random source: the operating system's, or for tests a seed.
///
/// # Errors
/// When the operating system's fails.
pub fn random_source(seed: Option<u64>) -> Result<SecretRng> {
    match seed {
        Some(seed) => Ok(SecretRng::from_seed(*blake3::hash(&seed.to_le_bytes()).as_bytes())),
        None => Ok(SecretRng::from_os().map_err(RuntimeError::from)?),
    }
}

/// Makes a secret key in `client_folder` and the evaluation keys of the plan in `server_folder`; returns the bytes of
/// the latter. An existing secret key is never overwritten.
///
/// # Errors
/// When a folder or file cannot be written, or a secret key is there already.
pub fn keygen(
    part: ClientPart,
    client_folder: &Path,
    server_folder: &Path,
    rng: &mut SecretRng,
    observer: &dyn Observer,
) -> Result<u64> {
    let client = Client::new(part)?;
    for folder in [client_folder, server_folder] {
        std::fs::create_dir_all(folder).map_err(|source| DriverError::io(folder, source))?;
    }
    observer.stage("making keys");
    let secret = client.secret_key(rng);
    let secret_path = client_folder.join(SECRET_KEY);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&secret_path).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => DriverError::BadInput(format!(
            "{}: there is a secret key already; move it away, or choose another folder",
            secret_path.display()
        )),
        _ => DriverError::io(&secret_path, source),
    })?;
    file.write_all(&secret.to_bytes())
        .map_err(|source| DriverError::io(&secret_path, source))?;

    let keys_path = server_folder.join(EVALUATION_KEYS);
    let file = File::create(&keys_path).map_err(|source| DriverError::io(&keys_path, source))?;
    let mut stream = BufWriter::new(file);
    let request = &client.part().keys;
    let (mut done, total) = (0, request.keys(client.params().key_bands()).len());
    secret.write_evaluation_keys(request, rng, &mut stream, |_, _| {
        done += 1;
        observer.progress(f64::from(done) / total as f64);
    })?;
    let written = stream.flush().and_then(|()| stream.get_ref().metadata());
    let metadata = written.map_err(|source| DriverError::io(&keys_path, source))?;
    Ok(metadata.len())
}

/// The client of a plan with the secret key in `folder`.
///
/// # Errors
/// When there is no key, or it belongs to other parameters.
pub fn open_client(part: ClientPart, folder: &Path) -> Result<(Client, SecretKey)> {
    let client = Client::new(part)?;
    let path = folder.join(SECRET_KEY);
    let bytes = std::fs::read(&path).map_err(|source| DriverError::io(&path, source))?;
    let bytes = zeroize::Zeroizing::new(bytes);
    let secret = SecretKey::from_bytes(client.params(), &bytes).map_err(DriverError::in_file(&path))?;
    Ok((client, secret))
}

/// Encrypts samples, as many together as a run takes.
///
/// # Errors
/// When a sample does not fit the plan.
pub fn encrypt(client: &Client, secret: &SecretKey, samples: &[Sample], rng: &mut SecretRng) -> Result<Bundle> {
    let part = client.part();
    let runs = samples
        .chunks(part.batch)
        .map(|run| client.encrypt(secret, &part.side_by_side(run)?, rng));
    Ok(Bundle {
        direction: Direction::Inputs,
        plan: part.id()?,
        samples: samples.len(),
        runs: runs.collect::<std::result::Result<_, RuntimeError>>()?,
    })
}

/// A server for `plan` with the evaluation keys in `folder`; `params` are the plan's. Ciphertexts that are there already are
/// counted in what it may take.
///
/// # Errors
/// When the keys cannot be read or do not serve the plan; when there is not enough memory.
pub fn open_server(
    plan: Plan,
    params: &Arc<Parameters>,
    folder: &Path,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Server> {
    observer.stage("reading keys");
    limits.check_keys(plan.client(), params)?;
    let path = folder.join(EVALUATION_KEYS);
    let file = File::open(&path).map_err(|source| DriverError::io(&path, source))?;
    let keys = EvaluationKeys::map(params, &file).map_err(DriverError::in_file(&path))?;
    observer.stage("encoding weights");
    limits.server(plan, keys).map_err(|error| match error {
        DriverError::Runtime(
            error @ (RuntimeError::MissingRotationKey { .. }
            | RuntimeError::MissingConjugationKey { .. }
            | RuntimeError::MissingRelinKey { .. }
            | RuntimeError::MissingEncapsulationKeys { .. }
            | RuntimeError::MissingRaisedRotationKey { .. }
            | RuntimeError::KeyLevelTooLow { .. }),
        ) => DriverError::in_file(&path)(error),
        other => other,
    })
}

/// Evaluates every run of a bundle. With a folder for checkpoints, a run that was stopped goes on where it was;
/// [`remove_checkpoints`] when the results are safe.
///
/// # Errors
/// When a ciphertext is not what the plan takes, or an instruction fails; when a checkpoint cannot be written or read, or
/// belongs to another run.
pub fn run(
    server: &Server,
    inputs: &Bundle,
    checkpoints: Option<&Path>,
    observer: &dyn Observer,
) -> Result<(Bundle, Vec<Profile>)> {
    if let Some(folder) = checkpoints {
        std::fs::create_dir_all(folder).map_err(|source| DriverError::io(folder, source))?;
    }
    let mut runs = Vec::with_capacity(inputs.runs.len());
    let mut profiles = Vec::with_capacity(inputs.runs.len());
    for (number, ciphertexts) in inputs.runs.iter().enumerate() {
        observer.stage(&run_name(server.plan().client().batch, number, inputs.samples));
        let evaluation = match checkpoints {
            None => server.evaluate(ciphertexts, &|progress| show(observer, &progress))?,
            Some(folder) => server.evaluate_resumably(ciphertexts, &checkpoint(folder, number), &|progress| {
                show(observer, &progress);
                ControlFlow::Continue(())
            })?,
        };
        runs.push(evaluation.outputs);
        profiles.push(evaluation.profile);
    }
    let results = Bundle {
        direction: Direction::Results,
        plan: inputs.plan,
        samples: inputs.samples,
        runs,
    };
    Ok((results, profiles))
}

/// What is shown while run `number` takes `batch` of all `samples`.
pub(crate) fn run_name(batch: usize, number: usize, samples: usize) -> String {
    let (first, last) = (number * batch + 1, samples.min((number + 1) * batch));
    match last - first {
        0 => format!("evaluating sample {first} of {samples}"),
        _ => format!("evaluating samples {first} to {last} of {samples}"),
    }
}

/// Tells how far an evaluation is.
pub(crate) fn show(observer: &dyn Observer, progress: &Progress) {
    observer.progress(progress.fraction);
    observer.time_left(progress.left);
}

/// File of a run's checkpoint.
fn checkpoint(folder: &Path, run: usize) -> PathBuf {
    folder.join(format!("run-{run}.checkpoint"))
}

/// Removes the checkpoints of this many runs.
///
/// # Errors
/// When a file cannot be removed.
pub fn remove_checkpoints(folder: &Path, runs: usize) -> Result<()> {
    for path in (0..runs).map(|run| checkpoint(folder, run)) {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(DriverError::io(&path, error)),
            _ => {}
        }
    }
    Ok(())
}

/// Decrypts results: for every sample, the values of every output. With `flooding`, noise uniform in
/// [-2^flooding, 2^flooding) is added to every coefficient.
///
/// # Errors
/// When the bundle does not hold results of the plan, or the noise does not fit the modulus.
pub fn decrypt(client: &Client, secret: &SecretKey, results: &Bundle, flooding: Option<u32>) -> Result<Vec<Sample>> {
    let mut rng = random_source(None)?;
    let mut samples = Vec::with_capacity(results.samples);
    for ciphertexts in &results.runs {
        let run = match flooding {
            Some(bits) => client.decrypt_flooded(secret, ciphertexts, bits, &mut rng)?,
            None => client.decrypt(secret, ciphertexts)?,
        };
        samples.extend(client.part().one_by_one(&run));
    }
    samples.truncate(results.samples);
    Ok(samples)
}

/// Runs a step and measures it.
pub(crate) fn timed<T>(step: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let result = step()?;
    Ok((result, start.elapsed()))
}
