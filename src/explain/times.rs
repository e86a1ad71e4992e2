//! The end of a table row about time: bars of the predicted and the measured time, and both in numbers.

use std::fmt::Write;

use super::analysis::{Analysis, Kind};
use super::draw::{open, rect, stacked_bar};
use crate::units::seconds;

const HEIGHT: f64 = 12.0;
const MEASURED_HEIGHT: f64 = 4.0;

/// Predicted time, all and by kind, and what was measured.
pub(super) struct Times<'a> {
    pub(super) parts: &'a [(Kind, f64)],
    pub(super) predicted: f64,
    pub(super) measured: Option<f64>,
}

/// Fills the open cell with bars, a time of `longest` being as long as `width`, adds the cells with numbers, and ends the row.
pub(super) fn end_row(page: &mut String, analysis: &Analysis<'_>, times: &Times<'_>, longest: f64, width: f64) {
    stacked_bar(page, times.parts, longest, [width, HEIGHT], "predicted time");
    if let Some(measured) = times.measured {
        open(page, width, MEASURED_HEIGHT, "measured time");
        let length = (measured / longest * width).max(0.4);
        rect(page, "measured", [0.0, 0.0, length, MEASURED_HEIGHT], "measured");
        page.push_str("</svg>");
    }
    let _ = write!(page, "</td><td class=\"n\">{}</td>", analysis.quantity(times.predicted));
    if let Some(measured) = times.measured {
        let _ = write!(page, "<td class=\"n\">{}</td>", seconds(measured));
    }
    page.push_str("</tr>");
}
