//! Cost by layer: one row each, with its levels, its counts, and its time by kind of work.

use std::fmt::Write;

use super::analysis::{Analysis, Kind};
use super::draw::{line, open, place, rect};
use super::times::{Times, end_row};
use crate::units::seconds;

/// Sizes of the drawings in a row.
const LEVELS: [f64; 2] = [120.0, 12.0];
/// Length of the longest bar.
const WIDTH: f64 = 230.0;

pub(super) fn section(page: &mut String, analysis: &Analysis<'_>) {
    page.push_str("<section><h2>Cost by layer</h2>");
    match &analysis.measured {
        None => page.push_str(
            "<p>Predicted times. A trace of a run (<code>aphelion run --trace FILE</code>, then <code>aphelion explain --trace \
             FILE</code>) puts measured ones beside them.</p>",
        ),
        Some(measured) => {
            let _ = write!(
                page,
                "<p>Thick bars are predicted, thin ones measured: means over {} samples, {} each from start to end. Instructions \
                 that run at the same time count in full, so measured times may add up to more.</p>",
                measured.samples,
                seconds(measured.wall)
            );
        }
    }
    page.push_str(
        "<div class=\"scroll\"><table><thead><tr><th class=\"n\">#</th><th>layer</th><th>levels</th><th></th>",
    );
    page.push_str(
        "<th class=\"n\">rotations</th><th class=\"n\">products</th><th class=\"n\">bootstraps</th><th>time</th>",
    );
    page.push_str("<th class=\"n\">predicted</th>");
    if analysis.measured.is_some() {
        page.push_str("<th class=\"n\">measured</th>");
    }
    page.push_str("</tr></thead><tbody>");
    let rows: Vec<(f64, Option<f64>)> = (0..analysis.report.layers.len())
        .map(|layer| analysis.seconds(|step| step.layer == layer))
        .collect();
    let longest = rows
        .iter()
        .flat_map(|(predicted, measured)| [*predicted, measured.unwrap_or(0.0)]);
    let longest = longest.fold(f64::MIN_POSITIVE, f64::max);
    for (index, (predicted, measured)) in rows.into_iter().enumerate() {
        row(page, analysis, index, predicted, measured, longest);
    }
    page.push_str("</tbody></table></div></section>");
}

fn row(page: &mut String, analysis: &Analysis<'_>, index: usize, predicted: f64, measured: Option<f64>, longest: f64) {
    let layer = &analysis.report.layers[index];
    let counts = &layer.counts;
    let _ = write!(
        page,
        "<tr><td class=\"n dim\">{}</td><td>{}</td><td>",
        index + 1,
        place(&layer.origin)
    );
    levels(page, analysis, layer.level_in, layer.level_out);
    let _ = write!(
        page,
        "</td><td class=\"dim\">{} → {}</td>",
        layer.level_in, layer.level_out
    );
    for count in [counts.rotations, counts.ct_mults + counts.pt_mults, counts.bootstraps] {
        let count = if count == 0 {
            "·".to_string()
        } else {
            count.to_string()
        };
        let _ = write!(page, "<td class=\"n\">{count}</td>");
    }
    page.push_str("<td>");
    let parts = Kind::ALL.map(|kind| {
        (
            kind,
            analysis.seconds(|step| step.layer == index && step.kind == kind).0,
        )
    });
    let times = Times {
        parts: &parts,
        predicted,
        measured,
    };
    end_row(page, analysis, &times, longest, WIDTH);
}

/// The levels a layer goes through, on a scale from 0 to the highest of all.
fn levels(page: &mut String, analysis: &Analysis<'_>, high: usize, low: usize) {
    let highest = analysis
        .plan
        .types()
        .iter()
        .map(|ty| ty.level)
        .max()
        .unwrap_or(0)
        .max(1) as f64;
    let x = |level: usize| level as f64 / highest * (LEVELS[0] - 2.0) + 1.0;
    let (low, high) = (low.min(high), low.max(high));
    open(page, LEVELS[0], LEVELS[1], &format!("levels {high} to {low}"));
    line(page, "grid", [0.0, 6.0, LEVELS[0], 6.0]);
    rect(page, "levels", [x(low), 3.0, (x(high) - x(low)).max(2.0), 6.0], "");
    page.push_str("</svg>");
}
