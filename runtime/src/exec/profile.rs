//! What an evaluation took.

use std::collections::BTreeMap;
use std::time::Duration;

use super::resident::MemoryPoint;
use crate::ckks::boot::StageTime;
use crate::plan::{Counts, Program};

/// How far an evaluation is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Instructions that are done.
    pub done: usize,
    /// Instructions of the program.
    pub total: usize,
    /// Estimated part of the work that is done, 0 to 1.
    pub fraction: f64,
    /// Estimated time that the rest takes: as long as what is done took, by their predicted times.
    pub left: Duration,
}

/// When and where an instruction ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpTiming {
    /// Index of the instruction.
    pub instruction: usize,
    /// Start, from the start of the evaluation.
    pub start: Duration,
    /// End, from the start of the evaluation.
    pub end: Duration,
    /// Index of the thread within the pool, 0 outside of one.
    pub thread: usize,
    /// Processor time of the whole process meanwhile, where that was asked for; what the instruction took if no other ran.
    pub processor: Option<Duration>,
}

impl OpTiming {
    /// How long it ran.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }
}

/// Timings of one evaluation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// From ciphertexts in to ciphertexts out.
    pub wall: Duration,
    /// One entry per instruction that ran, in program order.
    pub timings: Vec<OpTiming>,
    /// The stages of every bootstrap that ran, by instruction, one after the other.
    pub stages: BTreeMap<usize, Vec<StageTime>>,
    /// Instructions that did not run because a checkpoint held what they yield.
    pub restored: usize,
    /// What was computed.
    pub counts: Counts,
    /// The course of memory, where that was asked for.
    pub memory: Vec<MemoryPoint>,
}

impl Profile {
    /// Number of instructions and summed time of every kind of op. The sum exceeds [`Profile::wall`] where ops ran at
    /// the same time, and ops that share threads count the time of each other.
    #[must_use]
    pub fn by_op(&self, program: &Program) -> BTreeMap<&'static str, (usize, Duration)> {
        let mut kinds = BTreeMap::new();
        for timing in &self.timings {
            let name = program.instructions[timing.instruction].op.name();
            let (count, time) = kinds.entry(name).or_insert((0, Duration::ZERO));
            *count += 1;
            *time += timing.duration();
        }
        kinds
    }

    /// Summed time by place in the model, in program order.
    #[must_use]
    pub fn by_origin<'a>(&self, program: &'a Program) -> Vec<(&'a str, Duration)> {
        let mut origins: Vec<(&str, Duration)> = Vec::new();
        let mut position = BTreeMap::new();
        for timing in &self.timings {
            let origin = program.instructions[timing.instruction].origin;
            let at = *position.entry(origin).or_insert_with(|| {
                origins.push((&program.origins[origin], Duration::ZERO));
                origins.len() - 1
            });
            origins[at].1 += timing.duration();
        }
        origins
    }
}
