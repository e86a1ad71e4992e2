//! Where the time of a bootstrap goes.

use std::time::Instant;

/// One stage of a bootstrap.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct StageTime {
    /// What it does.
    pub stage: String,
    /// Level of its input.
    pub level: usize,
    /// Key switches, those of hoisted rotations included.
    pub key_switches: usize,
    /// Transforms of one limb, of key switches and their divisions.
    pub transforms: usize,
    /// Milliseconds.
    pub ms: f64,
    /// Processor time of all threads in milliseconds; `None` where the system does not tell.
    pub cpu_ms: Option<f64>,
}

/// Takes the time of stage after stage.
pub(super) struct Stopwatch {
    last: (Instant, Option<u64>),
    stages: Vec<StageTime>,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self {
            last: (Instant::now(), processor_nanoseconds()),
            stages: Vec::new(),
        }
    }

    /// Ends a stage, which began where the one before ended.
    pub(super) fn lap(&mut self, stage: impl Into<String>, level: usize, key_switches: usize, transforms: usize) {
        let now = (Instant::now(), processor_nanoseconds());
        let cpu = self.last.1.zip(now.1);
        self.stages.push(StageTime {
            stage: stage.into(),
            level,
            key_switches,
            transforms,
            ms: (now.0 - self.last.0).as_secs_f64() * 1e3,
            cpu_ms: cpu.map(|(before, after)| after.saturating_sub(before) as f64 / 1e6),
        });
        self.last = now;
    }

    pub(super) fn into_stages(self) -> Vec<StageTime> {
        self.stages
    }
}

/// Processor time of all threads of this process so far; `None` where the system has no `/proc`.
pub(crate) fn processor_nanoseconds() -> Option<u64> {
    let of_thread = |task: std::io::Result<std::fs::DirEntry>| -> Option<u64> {
        let line = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        line.split_whitespace().next()?.parse().ok()
    };
    std::fs::read_dir("/proc/self/task").ok()?.map(of_thread).sum()
}
