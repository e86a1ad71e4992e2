//! Cost by kind of work.

use std::fmt::Write;

use super::analysis::{Analysis, Kind};
use super::times::{Times, end_row};

/// Length of the longest bar.
const WIDTH: f64 = 130.0;

pub(super) fn section(page: &mut String, analysis: &Analysis<'_>) {
    page.push_str(
        "<section><h2>Cost by kind of work</h2><table><thead><tr><th>kind</th><th class=\"n\">count</th><th>time</th>",
    );
    page.push_str("<th class=\"n\">predicted</th>");
    if analysis.measured.is_some() {
        page.push_str("<th class=\"n\">measured</th>");
    }
    page.push_str("</tr></thead><tbody>");
    let mut rows: Vec<(Kind, f64, Option<f64>)> = Kind::ALL
        .into_iter()
        .filter(|kind| analysis.steps.iter().any(|step| step.kind == *kind))
        .map(|kind| {
            let (predicted, measured) = analysis.seconds(|step| step.kind == kind);
            (kind, predicted, measured)
        })
        .collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let longest = rows
        .iter()
        .flat_map(|(_, predicted, measured)| [*predicted, measured.unwrap_or(0.0)]);
    let longest = longest.fold(f64::MIN_POSITIVE, f64::max);
    for (kind, predicted, measured) in rows {
        let count = analysis.steps.iter().filter(|step| step.kind == kind).count();
        let _ = write!(
            page,
            "<tr><td><i class=\"{}\"></i>{}</td><td class=\"n\">{count}</td><td>",
            kind.class(),
            kind.name()
        );
        let parts = [(kind, predicted)];
        let times = Times {
            parts: &parts,
            predicted,
            measured,
        };
        end_row(page, analysis, &times, longest, WIDTH);
    }
    page.push_str("</tbody></table></section>");
}
