//! The state of an evaluation in a file, so that one that was stopped goes on where it was.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | magic `APHCKPT\0` |
//! | 4 | format version |
//! | 3 x 32 | identity of plan, keys and inputs |
//! | 4 | instructions, n |
//! | ceil(n / 8) | which of them are done, a bit each |
//! | 4 | ciphertexts that follow |
//! | | register, u32, and the ciphertext in a frame of its own, each |
//! | 32 | BLAKE3 of everything before |
//!
//! Assumes nothing of the bytes read. Ensures that a state is only taken up by an evaluation of the same plan, keys and
//! inputs, and only if every operand of what is left to do is there. Files are replaced as a whole: a process killed while it
//! writes leaves the state before. Evaluations are deterministic, so that results do not depend on where one was stopped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::run::scale_of;
use super::server::Server;
use crate::ckks::Ciphertext;
use crate::ckks::keys::EvaluationKeys;
use crate::ckks::wire::Frame;
use crate::error::{Error, Result};
use crate::plan::Plan;

/// Version of the format.
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"APHCKPT\0";
const HASH_BYTES: usize = 32;
const IDENTITIES_AT: usize = 12;
const COUNT_AT: usize = IDENTITIES_AT + 3 * HASH_BYTES;
const OBJECT: &str = "checkpoint";

/// What a state belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity([[u8; HASH_BYTES]; 3]);

impl Identity {
    /// The identity of an evaluation.
    pub(super) fn new(plan: &Plan, keys: &EvaluationKeys, inputs: &[Ciphertext]) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        for input in inputs {
            hasher.update(&input.to_bytes(keys.params()));
        }
        Ok(Self([plan.hash()?, keys.identity(), *hasher.finalize().as_bytes()]))
    }
}

/// How far an evaluation is.
pub(super) struct State {
    /// For every instruction, whether it is done.
    pub done: Vec<bool>,
    /// The registers that are still needed.
    pub live: BTreeMap<usize, Arc<Ciphertext>>,
}

impl State {
    fn n_done(&self) -> usize {
        self.done.iter().filter(|done| **done).count()
    }
}

/// Where an evaluation keeps its state.
pub(super) struct Checkpoint {
    path: PathBuf,
    identity: Identity,
    /// Instructions done in the state that is written.
    written: Mutex<usize>,
}

impl Checkpoint {
    pub(super) fn new(path: &Path, identity: Identity) -> Self {
        Self {
            path: path.to_path_buf(),
            identity,
            written: Mutex::new(0),
        }
    }

    /// Writes a state, unless a later one has been written.
    pub(super) fn write(&self, server: &Server, state: &State) -> Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if state.n_done() <= *written {
            return Ok(());
        }
        let bytes = self.bytes(server, state);
        let temporary = self.path.with_extension("partial");
        let replaced = File::create(&temporary)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&temporary, &self.path));
        replaced.map_err(|error| self.io(&error))?;
        *written = state.n_done();
        Ok(())
    }

    fn bytes(&self, server: &Server, state: &State) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(self.identity.0.as_flattened());
        bytes.extend_from_slice(&(state.done.len() as u32).to_le_bytes());
        let mut bits = vec![0u8; state.done.len().div_ceil(8)];
        for (instruction, _) in state.done.iter().enumerate().filter(|(_, done)| **done) {
            bits[instruction / 8] |= 1 << (instruction % 8);
        }
        bytes.extend_from_slice(&bits);
        bytes.extend_from_slice(&(state.live.len() as u32).to_le_bytes());
        for (register, ciphertext) in &state.live {
            bytes.extend_from_slice(&(*register as u32).to_le_bytes());
            bytes.extend_from_slice(&ciphertext.to_bytes(server.params()));
        }
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        bytes
    }

    /// Reads the state, if there is one.
    pub(super) fn read(&self, server: &Server) -> Result<Option<State>> {
        let bytes = match std::fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| self.io(&error))?,
        };
        let state = self.parse(server, &bytes)?;
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = state.n_done();
        Ok(Some(state))
    }

    fn parse(&self, server: &Server, bytes: &[u8]) -> Result<State> {
        let total = server.plan().program().instructions.len();
        let bits_at = COUNT_AT + 4;
        let live_at = bits_at + total.div_ceil(8);
        if bytes.len() < bits_at || &bytes[..8] != MAGIC {
            return Err(malformed(0, "not a checkpoint: too short or wrong magic".into()));
        }
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        if u32_at(8) != VERSION {
            let reason = format!("format version {}, this build reads {VERSION}", u32_at(8));
            return Err(malformed(8, reason));
        }
        let hash_at = bytes.len() - HASH_BYTES;
        if blake3::hash(&bytes[..hash_at]).as_bytes() != &bytes[hash_at..] {
            return Err(malformed(
                hash_at,
                "checksum does not match: the file is damaged".into(),
            ));
        }
        for (number, what) in ["plan", "set of keys", "input"].into_iter().enumerate() {
            let at = IDENTITIES_AT + number * HASH_BYTES;
            if bytes[at..at + HASH_BYTES] != self.identity.0[number] {
                let path = self.path.display();
                let reason = format!(
                    "{path} is the checkpoint of another {what}: finish that run, remove the file, or choose another folder"
                );
                return Err(Error::InvalidInput { reason });
            }
        }
        if u32_at(COUNT_AT) as usize != total || hash_at < live_at + 4 {
            return Err(malformed(
                COUNT_AT,
                format!("{} instructions of {total}", u32_at(COUNT_AT)),
            ));
        }
        let done = (0..total).map(|i| bytes[bits_at + i / 8] >> (i % 8) & 1 == 1).collect();
        let mut live = BTreeMap::new();
        let mut at = live_at + 4;
        for _ in 0..u32_at(live_at) {
            if hash_at - at < 4 {
                return Err(malformed(at, "ends within a ciphertext".into()));
            }
            let register = u32_at(at) as usize;
            let frame = &bytes[at + 4..hash_at];
            let (_, after) = Frame::split_first(frame)?;
            let frame = &frame[..frame.len() - after.len()];
            let ciphertext = Ciphertext::from_bytes(server.params(), frame)?;
            check_type(server, register, &ciphertext).map_err(|reason| malformed(at, reason))?;
            live.insert(register, Arc::new(ciphertext));
            at = hash_at - after.len();
        }
        if at != hash_at {
            return Err(malformed(at, format!("{} bytes too many", hash_at - at)));
        }
        let state = State { done, live };
        check_complete(server, &state).map_err(|reason| malformed(bits_at, reason))?;
        Ok(state)
    }

    fn io(&self, error: &std::io::Error) -> Error {
        Error::Io {
            what: self.path.display().to_string(),
            reason: error.to_string(),
        }
    }
}

/// Whether a register may hold this.
fn check_type(server: &Server, register: usize, found: &Ciphertext) -> std::result::Result<(), String> {
    let ty = server.plan().types().get(register);
    let ty = ty.ok_or_else(|| format!("there is no register {register}"))?;
    let scale = scale_of(server.params(), ty.level, ty.scale);
    let fits = (found.slots(), found.level(), found.parts().len()) == (ty.slots, ty.level, ty.parts);
    if fits && found.scale() == scale {
        Ok(())
    } else {
        Err(format!("register {register} does not hold {ty:?}"))
    }
}

/// Whether every operand of what is left, and every result that is done, is there.
fn check_complete(server: &Server, state: &State) -> std::result::Result<(), String> {
    let schedule = server.schedule();
    let is_there = |register: usize| {
        let is_to_come = schedule
            .producer(register)
            .is_some_and(|producer| !state.done[producer]);
        is_to_come != state.live.contains_key(&register)
    };
    for (register, users) in schedule.users.iter().enumerate() {
        let is_needed = schedule.is_output[register] || users.iter().any(|user| !state.done[*user]);
        if is_needed && !is_there(register) {
            return Err(format!("register {register} is missing, or is there too early"));
        }
    }
    for (instruction, _) in state.done.iter().enumerate().filter(|(_, done)| **done) {
        let operands = schedule.operands[instruction].iter();
        let mut producers = operands.filter_map(|operand| schedule.producer(*operand));
        if producers.any(|producer| !state.done[producer]) {
            return Err(format!("instruction {instruction} is done before what it needs"));
        }
    }
    Ok(())
}

fn malformed(offset: usize, reason: String) -> Error {
    Error::Malformed {
        object: OBJECT,
        offset,
        reason,
    }
}
