//! Where the precision goes: what noise leaves after every layer, and what polynomials in place of activations cost.

use std::fmt::Write;

use super::analysis::Analysis;
use super::draw::{line, number, open, rect, text, ticks};

const WIDTH: f64 = 1080.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 44.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = HEIGHT - 38.0;
/// Columns are no wider than this.
const WIDEST: f64 = 110.0;

pub(super) fn section(page: &mut String, analysis: &Analysis<'_>) {
    let report = &analysis.plan.program().report;
    page.push_str("<section><h2>Where the precision goes</h2>");
    let polynomials = report.passes.iter().filter(|(pass, _)| pass == "approximate");
    let polynomials = polynomials
        .filter_map(|(_, counts)| counts.get("precision_bits").copied())
        .next_back();
    page.push_str("<p>Bits are -log2 of the largest error relative to the largest value. ");
    if let Some(bits) = report.predicted_bits {
        let _ = write!(page, "Noise leaves <b>{bits:.1} bits</b> in the results");
        let _ = match polynomials {
            Some(bits) => write!(
                page,
                "; polynomials in place of activations leave <b>{bits:.1} bits</b>, measured without noise on the calibration \
                 samples. The smaller of the two decides."
            ),
            None => write!(page, "; nothing is approximated."),
        };
    }
    page.push_str("</p>");
    let bits: Vec<(&str, f64)> = report
        .values
        .iter()
        .filter_map(|value| Some((value.origin.as_str(), value.bits?)))
        .collect();
    if bits.is_empty() {
        page.push_str("<p>The plan does not tell how exact its values are.</p></section>");
        return;
    }
    page.push_str(
        "<p>What noise alone leaves after every layer on one sample, relative to the largest content of the layer's slots there, \
         which may be far below the largest over all samples:</p><div class=\"scroll\">",
    );
    draw(page, analysis, &bits);
    page.push_str("</div></section>");
}

fn draw(page: &mut String, analysis: &Analysis<'_>, bits: &[(&str, f64)]) {
    let largest = bits.iter().map(|(_, bits)| *bits).fold(1.0, f64::max);
    let slot = ((WIDTH - LEFT) / bits.len() as f64).min(WIDEST);
    let right = LEFT + slot * bits.len() as f64;
    let y = |value: f64| BOTTOM - value.max(0.0) / largest * (BOTTOM - TOP);
    open(page, WIDTH, HEIGHT, "precision in bits after every layer");
    for tick in ticks(largest, 5) {
        line(page, "grid", [LEFT, y(tick), right, y(tick)]);
        text(page, "end dim", LEFT - 7.0, y(tick) + 4.0, &number(tick));
    }
    text(page, "dim", 2.0, TOP - 7.0, "bits");
    for (index, (origin, found)) in bits.iter().enumerate() {
        let x = LEFT + index as f64 * slot;
        let title = format!("{}: {found:.1} bits", origin.replace('`', ""));
        rect(
            page,
            "bits",
            [x + 0.14 * slot, y(*found), 0.72 * slot, BOTTOM - y(*found)],
            &title,
        );
        if slot > 24.0 {
            text(
                page,
                "middle small",
                x + 0.5 * slot,
                y(*found) - 4.0,
                &format!("{found:.1}"),
            );
        }
        let layer = analysis.report.layers.iter().position(|layer| layer.origin == *origin);
        let label = layer.map_or_else(|| "in".to_string(), |layer| (layer + 1).to_string());
        if slot > 14.0 || index % 5 == 0 {
            text(page, "middle dim", x + 0.5 * slot, BOTTOM + 15.0, &label);
        }
    }
    line(page, "axis", [LEFT, BOTTOM, right, BOTTOM]);
    text(page, "end dim", right, HEIGHT - 6.0, "layer");
    page.push_str("</svg>");
}
