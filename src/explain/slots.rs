//! Slots in use: how much of the ciphertexts every value fills.

use std::fmt::Write;

use super::analysis::Analysis;
use super::draw::{open, place, rect};

const BAR: [f64; 2] = [200.0, 12.0];

pub(super) fn section(page: &mut String, analysis: &Analysis<'_>) {
    let values = &analysis.plan.program().report.values;
    page.push_str("<section><h2>Slots in use</h2>");
    if values.is_empty() {
        page.push_str("<p>The plan does not tell how its values lie in slots.</p></section>");
        return;
    }
    let _ = write!(
        page,
        "<p>Of the slots of every value: <i class=\"used\"></i>elements of the tensor, <i class=\"copies\"></i>their repetitions, \
         which let rotations wrap around within one period. A ciphertext of this ring has {} slots; a value that uses fewer is \
         repeated over the rest.</p>",
        analysis.params.max_slots()
    );
    page.push_str("<div class=\"scroll\"><table><thead><tr><th>value of</th><th class=\"n\">elements</th>");
    page.push_str(
        "<th class=\"n\">ciphertexts</th><th class=\"n\">slots</th><th class=\"n\">period</th><th>in use</th>",
    );
    page.push_str("<th class=\"n\"></th></tr></thead><tbody>");
    for value in values {
        let capacity = (value.ciphertexts * value.slots) as f64;
        let own = (value.elements as f64 / capacity).min(1.0);
        let repeated = own * (value.slots / value.period.max(1)) as f64;
        let _ = write!(
            page,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>",
            place(&value.origin),
            value.elements,
            value.ciphertexts,
            value.slots,
            value.period
        );
        open(page, BAR[0], BAR[1], "slots in use");
        rect(page, "empty", [0.0, 0.0, BAR[0], BAR[1]], "");
        rect(page, "copies", [0.0, 0.0, repeated.min(1.0) * BAR[0], BAR[1]], "");
        rect(page, "used", [0.0, 0.0, (own * BAR[0]).max(0.6), BAR[1]], "");
        let _ = write!(
            page,
            "</svg></td><td class=\"n\">{:.0} %</td></tr>",
            100.0 * repeated.min(1.0)
        );
    }
    page.push_str("</tbody></table></div></section>");
}
