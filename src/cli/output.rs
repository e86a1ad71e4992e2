//! Printing: reports on stdout, progress and errors on stderr.

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use aphelion::driver::Observer;
use aphelion::report::Memory;
pub(super) use aphelion::units::{bytes, seconds};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Steps of the progress bar.
const RESOLUTION: f64 = 1000.0;

/// Where a verb's words go.
pub(super) struct Output {
    json: bool,
    bar: ProgressBar,
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool) -> Self {
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(RESOLUTION as u64), target);
        let style = "{spinner} {msg:40} {bar:30} {elapsed} {prefix}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self { json, bar }
    }

    /// Prints the report: as JSON on one line, or as the text that `text` makes of it.
    pub(super) fn report<R: Serialize>(&self, report: &R, text: impl FnOnce(&R) -> String) -> anyhow::Result<()> {
        self.bar.finish_and_clear();
        let words = if self.json {
            serde_json::to_string(report)?
        } else {
            text(report)
        };
        self.line(&words)
    }

    /// Prints one line on stdout.
    pub(super) fn line(&self, text: &str) -> anyhow::Result<()> {
        let written = self
            .bar
            .suspend(|| writeln!(std::io::stdout().lock(), "{}", text.trim_end()));
        written.context("writing to stdout")
    }

    /// Prints text on stderr, beside the report.
    pub(super) fn aside(&self, text: &str) {
        let _ = self
            .bar
            .suspend(|| writeln!(std::io::stderr().lock(), "{}", text.trim_end()));
    }

    pub(super) fn error(&self, error: &anyhow::Error) {
        self.bar.finish_and_clear();
        let text = error.to_string();
        // Findings of the model language come with the word.
        let mut text = text.strip_prefix("error: ").unwrap_or(&text).to_string();
        for cause in error.chain().skip(1).map(ToString::to_string) {
            // Most errors say their cause by themselves.
            if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
        }
        // There is nobody left to tell when stderr is gone too.
        let _ = writeln!(std::io::stderr().lock(), "error: {text}");
    }
}

impl Observer for Output {
    fn stage(&self, name: &str) {
        self.bar.reset();
        self.bar.set_message(name.to_string());
        self.bar.set_prefix("");
        self.bar.enable_steady_tick(Duration::from_millis(100));
    }

    fn progress(&self, fraction: f64) {
        self.bar.set_position((fraction * RESOLUTION) as u64);
    }

    fn time_left(&self, left: Duration) {
        self.bar.set_prefix(format!("({} left)", seconds(left.as_secs_f64())));
    }

    fn notice(&self, text: &str) {
        let _ = self.bar.suspend(|| writeln!(std::io::stderr().lock(), "note: {text}"));
    }
}

/// Columns aligned by the widest cell; the first row is the head. Cells after the first are set to the right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..n_columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<width$}", width = widths[0]),
            _ => format!("{cell:>width$}", width = widths[column]),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Lines `name  value`.
pub(super) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs
        .iter()
        .map(|(name, value)| format!("{name:<width$}  {value}\n"))
        .collect()
}

/// Memory by use.
pub(super) fn memory(memory: &Memory) -> String {
    let server = &memory.server;
    let weights = match server.weights {
        some if some < memory.all_weights => format!("{} of {}", bytes(some), bytes(memory.all_weights)),
        all => bytes(all),
    };
    format!(
        "keys {}, bootstraps {}, weights {weights}, ciphertexts {}, work {}",
        bytes(server.keys),
        bytes(server.bootstraps),
        bytes(server.ciphertexts),
        bytes(server.working)
    )
}

/// A value that may be unknown.
pub(super) fn optional<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "unknown".to_string(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let row = |cells: [&str; 2]| cells.map(String::from).to_vec();
        assert_eq!(
            table(&[row(["op", "n"]), row(["rotate", "12"])]),
            "op       n\nrotate  12\n"
        );
    }
}
