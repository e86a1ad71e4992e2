//! Reading and writing plans.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bootstrap::{BootstrapKind, bootstraps};
use super::client::ClientPart;
use super::constants::{Constants, Index};
use super::container::{Container, Section, write};
use super::program::Program;
use super::types::{CipherType, check};
use crate::ckks::boot::BootstrapPlan;
use crate::error::{Error, Result};

/// A whole, valid plan.
#[derive(Debug, Clone)]
pub struct Plan {
    client: ClientPart,
    program: Program,
    constants: Constants,
    bootstraps: BTreeMap<BootstrapKind, BootstrapPlan>,
    types: Vec<CipherType>,
}

impl Plan {
    /// Puts a plan together.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] when its parts do not fit each other.
    pub fn new(client: ClientPart, program: Program, constants: Constants) -> Result<Self> {
        client.check()?;
        let bootstraps = bootstraps(&client, &program)?;
        let types = check(&client, &program, &constants, &bootstraps)?;
        Ok(Self {
            client,
            program,
            constants,
            bootstraps,
            types,
        })
    }

    /// The client's part.
    #[must_use]
    pub fn client(&self) -> &ClientPart {
        &self.client
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The constants.
    #[must_use]
    pub fn constants(&self) -> &Constants {
        &self.constants
    }

    /// The bootstraps that instructions use, by kind.
    #[must_use]
    pub fn bootstraps(&self) -> &BTreeMap<BootstrapKind, BootstrapPlan> {
        &self.bootstraps
    }

    /// What every register holds.
    #[must_use]
    pub fn types(&self) -> &[CipherType] {
        &self.types
    }

    /// Identifies the whole plan, constants included: BLAKE3.
    ///
    /// # Errors
    /// [`Error::InvalidPlan`] when a number cannot be written.
    pub fn hash(&self) -> Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.client.id()?);
        hasher.update(blake3::hash(&to_json("program", &self.program)?).as_bytes());
        // The index holds the hashes of all constants.
        hasher.update(blake3::hash(&to_json("constants", self.constants.index())?).as_bytes());
        Ok(*hasher.finalize().as_bytes())
    }

    /// The plan as bytes; equal plans give equal bytes.
    ///
    /// # Errors
    /// [`Error::Io`] when constants cannot be read.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let client = to_json("client", &self.client)?;
        let program = to_json("program", &self.program)?;
        let index = to_json("constants", self.constants.index())?;
        Ok(write([&client, &program, &index], &self.constants.data()?))
    }

    /// Writes the plan to a file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.to_bytes()?).map_err(|error| io(path, &error))
    }

    /// Reads a plan from memory.
    ///
    /// # Errors
    /// [`Error::Malformed`] and [`Error::InvalidPlan`] for bytes that are not a valid plan.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let container = Container::from_bytes(bytes)?;
        let (offset, length) = container.data();
        let data = &bytes[offset as usize..(offset + length) as usize];
        Self::from_container(&container, |index| Constants::from_memory(index, data))
    }

    /// Opens a plan file. The file stays open: constants are read when they are needed.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Malformed`] and [`Error::InvalidPlan`] for a file that is no valid plan.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| io(path, &error))?;
        let name = path.display().to_string();
        let container = Container::from_file(&file, &name)?;
        let (offset, _) = container.data();
        let constants = file.try_clone().map_err(|error| io(path, &error))?;
        Self::from_container(&container, |index| {
            Constants::from_file(index, constants, &name, offset)
        })
    }

    fn from_container(container: &Container<'_>, constants: impl FnOnce(Index) -> Constants) -> Result<Self> {
        let client: ClientPart = from_json("client", &container.section(Section::Client)?)?;
        let program = from_json("program", &container.section(Section::Program)?)?;
        let index: Index = from_json("constants", &container.section(Section::ConstantIndex)?)?;
        index.check(container.data().1)?;
        Self::new(client, program, constants(index))
    }
}

impl ClientPart {
    /// Opens only the client's part of a plan file.
    ///
    /// # Errors
    /// As [`Plan::open`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| io(path, &error))?;
        let container = Container::from_file(&file, &path.display().to_string())?;
        let client: Self = from_json("client", &container.section(Section::Client)?)?;
        client.check()?;
        Ok(client)
    }
}

/// JSON of a part of a plan. Field order is that of the structs, maps are sorted, numbers read back exactly.
pub(super) fn to_json<T: Serialize>(place: &str, value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::InvalidPlan {
        place: place.to_string(),
        reason: error.to_string(),
    })
}

pub(super) fn from_json<T: DeserializeOwned>(place: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::InvalidPlan {
        place: place.to_string(),
        reason: error.to_string(),
    })
}

pub(super) fn io(path: &Path, error: &std::io::Error) -> Error {
    Error::Io {
        what: path.display().to_string(),
        reason: error.to_string(),
    }
}
