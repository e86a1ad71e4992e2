//! `aphelion keygen`: keys for client and server.

use std::path::PathBuf;

use aphelion::driver::{DriverError, roles};
use aphelion_runtime::plan::ClientPart;
use clap::Args;
use serde::Serialize;

use super::output::{Output, bytes};

const EXAMPLES: &str = "\
Examples:
  aphelion keygen model.aph --client C/ --server S/

C/secret.key stays with the client; S/evaluation.keys goes to the server.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Keygen {
    /// The plan.
    #[arg(value_name = "P.aph")]
    plan: PathBuf,
    /// Folder for the secret key.
    #[arg(long, value_name = "C/")]
    client: PathBuf,
    /// Folder for the evaluation keys.
    #[arg(long, value_name = "S/")]
    server: PathBuf,
    /// Makes the keys from a number, for tests: such keys protect nothing.
    #[arg(long, hide = true)]
    seed: Option<u64>,
}

#[derive(Serialize)]
struct Report {
    keys: usize,
    bytes: u64,
}

impl Keygen {
    pub(super) fn run(&self, output: &Output) -> anyhow::Result<()> {
        let part = ClientPart::open(&self.plan).map_err(DriverError::in_file(&self.plan))?;
        let keys = part.keys.keys(&part.parameters.key_bands()).len();
        let mut rng = roles::random_source(self.seed)?;
        let size = roles::keygen(part, &self.client, &self.server, &mut rng, output)?;
        let (client, server) = (
            self.client.join(roles::SECRET_KEY),
            self.server.join(roles::EVALUATION_KEYS),
        );
        output.report(&Report { keys, bytes: size }, |report| {
            format!(
                "{}: the secret key; keep it\n{}: {} evaluation keys, {}; for the server",
                client.display(),
                server.display(),
                report.keys,
                bytes(report.bytes)
            )
        })
    }
}
