//! Traces of evaluations in the Trace Event Format, which Perfetto and Chrome's tracing page read.

use std::io::Write;

use serde_json::json;

use super::profile::Profile;
use crate::error::{Error, Result};
use crate::plan::Plan;

/// Writes one complete event per instruction, and within bootstraps one per stage, and memory as a counter where profiles have
/// its course; `runs` follow each other in time.
///
/// # Errors
/// [`Error::Io`].
pub fn write_trace(out: &mut dyn Write, plan: &Plan, runs: &[Profile]) -> Result<()> {
    let mut events = Vec::new();
    let mut offset = 0.0;
    for (number, profile) in runs.iter().enumerate() {
        for timing in &profile.timings {
            let instruction = &plan.program().instructions[timing.instruction];
            events.push(json!({
                "name": instruction.op.name(),
                "cat": plan.program().origins[instruction.origin],
                "ph": "X",
                "pid": 0,
                "tid": timing.thread,
                "ts": offset + timing.start.as_secs_f64() * 1e6,
                "dur": timing.duration().as_secs_f64() * 1e6,
                "args": {
                    "instruction": timing.instruction,
                    "sample": number,
                    "predicted_ms": plan.program().report.instruction_s.get(timing.instruction).map(|time| time * 1e3),
                    "processor_ms": timing.processor.map(|time| time.as_secs_f64() * 1e3),
                },
            }));
            let mut start = offset + timing.start.as_secs_f64() * 1e6;
            for stage in profile.stages.get(&timing.instruction).into_iter().flatten() {
                events.push(json!({
                    "name": stage.stage,
                    "cat": "bootstrap",
                    "ph": "X",
                    "pid": 0,
                    "tid": timing.thread,
                    "ts": start,
                    "dur": stage.ms * 1e3,
                    "args": {
                        "level": stage.level,
                        "key_switches": stage.key_switches,
                        "processor_ms": stage.cpu_ms,
                    },
                }));
                start += stage.ms * 1e3;
            }
        }
        for point in &profile.memory {
            events.push(json!({
                "name": "memory",
                "ph": "C",
                "pid": 0,
                "ts": offset + point.at.as_secs_f64() * 1e6,
                "args": {
                    "buffers_in_use": point.buffers.saturating_sub(point.idle),
                    "buffers_idle": point.idle,
                    "other": point.resident.saturating_sub(point.buffers),
                },
            }));
        }
        offset += profile.wall.as_secs_f64() * 1e6;
    }
    let trace = json!({ "displayTimeUnit": "ms", "traceEvents": events });
    serde_json::to_writer(&mut *out, &trace)
        .map_err(std::io::Error::from)
        .and_then(|()| out.flush())
        .map_err(|error| Error::Io {
            what: "trace".into(),
            reason: error.to_string(),
        })
}
