//! Times of real runs, from the trace that `run` and `infer` write.

use std::path::Path;

use aphelion_runtime::plan::Plan;
use serde::Deserialize;

use crate::driver::{DriverError, Result};

/// Measured times of one plan, means over the samples of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Seconds of every instruction. Instructions that run at the same time share the processor, and count in full.
    pub instructions: Vec<f64>,
    /// Seconds from the first instruction's start to the last one's end.
    pub wall: f64,
    /// Samples.
    pub samples: usize,
}

#[derive(Deserialize)]
struct Trace {
    #[serde(rename = "traceEvents")]
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    name: String,
    /// Microseconds.
    ts: f64,
    /// Microseconds; counters have none.
    dur: Option<f64>,
    args: Args,
}

/// Stages within an instruction name none.
#[derive(Deserialize)]
struct Args {
    instruction: Option<usize>,
    sample: Option<usize>,
}

impl Measured {
    /// Reads the trace of a run of `plan`.
    ///
    /// # Errors
    /// When the file cannot be read, is no such trace, or is one of another plan.
    pub fn read(path: &Path, plan: &Plan) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| DriverError::io(path, source))?;
        Self::parse(&text, plan).map_err(|message| DriverError::BadInput(format!("{}: {message}", path.display())))
    }

    fn parse(text: &str, plan: &Plan) -> std::result::Result<Self, String> {
        let trace: Trace = serde_json::from_str(text).map_err(|error| format!("no trace of a run: {error}"))?;
        let program = &plan.program().instructions;
        let of_instruction = |event: &Event| Some((event.args.instruction?, event.args.sample?));
        let n_events = trace.events.iter().filter_map(of_instruction).count();
        if n_events == 0 || !n_events.is_multiple_of(program.len()) {
            let n_ops = program.len();
            return Err(format!(
                "{n_events} events, which are no whole runs of a plan of {n_ops} instructions"
            ));
        }
        let samples = n_events / program.len();
        let mut instructions = vec![0.0; program.len()];
        let mut spans = vec![(f64::INFINITY, f64::NEG_INFINITY); samples];
        for event in &trace.events {
            let Some((number, sample)) = of_instruction(event) else {
                continue;
            };
            let op = program.get(number).map(|instruction| instruction.op.name());
            let span = spans.get_mut(sample);
            let (true, Some(span)) = (op == Some(event.name.as_str()), span) else {
                return Err(format!(
                    "instruction {number} is `{}`, in the plan `{}`: the trace is of another plan",
                    event.name,
                    op.unwrap_or("nothing")
                ));
            };
            let dur = event
                .dur
                .filter(|dur| dur.is_finite() && event.ts.is_finite() && *dur >= 0.0);
            let dur = dur.ok_or_else(|| format!("instruction {number} has no time"))?;
            instructions[number] += dur * 1e-6 / samples as f64;
            *span = (span.0.min(event.ts), span.1.max(event.ts + dur));
        }
        let wall = spans
            .iter()
            .map(|(start, end)| (end - start).max(0.0) * 1e-6)
            .sum::<f64>();
        Ok(Measured {
            instructions,
            wall: wall / samples as f64,
            samples,
        })
    }
}
