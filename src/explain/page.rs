//! The page: style, head, sections.

use std::fmt::Write;

use super::analysis::Analysis;
use super::draw::escape;
use super::{keys, kinds, layers, parameters, precision, slots, timeline};
use crate::units::{bytes, seconds};

/// The page about a plan: complete HTML, encoded in UTF-8.
#[must_use]
pub fn html(analysis: &Analysis<'_>) -> String {
    let mut page = String::new();
    let name = escape(&analysis.report.plan.model);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{name}: plan</title>\n<style>\n{}</style>\n</head>\n\
         <body>\n<main>\n<header><h1>{name}</h1><p>What this plan does to encrypted data, and what it costs</p></header>\n",
        include_str!("style.css")
    );
    tiles(&mut page, analysis);
    timeline::section(&mut page, analysis);
    layers::section(&mut page, analysis);
    page.push_str("<div class=\"pair\">");
    kinds::section(&mut page, analysis);
    keys::section(&mut page, analysis);
    page.push_str("</div>");
    precision::section(&mut page, analysis);
    slots::section(&mut page, analysis);
    parameters::section(&mut page, analysis);
    passes(&mut page, analysis);
    page.push_str("\n</main>\n</body>\n</html>\n");
    page
}

fn tiles(page: &mut String, analysis: &Analysis<'_>) {
    let (all, report) = (&analysis.report, &analysis.report.plan);
    let counts = &report.counts;
    let predicted = report.predicted_evaluate_s.map_or_else(|| "unknown".into(), seconds);
    let time = match &analysis.measured {
        Some(measured) => (
            "measured time",
            seconds(measured.wall),
            format!("{predicted} predicted"),
        ),
        None => ("predicted time", predicted, "per input, 2 threads".to_string()),
    };
    let bits = report
        .predicted_bits
        .map_or_else(|| "unknown".into(), |bits| format!("{bits:.1} bits"));
    let security = match (report.params.secure, report.params.security_bits) {
        (true, Some(bits)) => format!("{bits:.0} bits"),
        (true, None) => "128 bits".into(),
        (false, _) => "none".into(),
    };
    let levels = match analysis.plan.bootstraps().values().next() {
        Some(bootstrap) => format!(
            "{} levels, {} after each",
            report.params.levels,
            bootstrap.output_level()
        ),
        None => format!("{} levels, depth {}", report.params.levels, report.depth),
    };
    let tiles = [
        time,
        ("precision under noise", bits, "of the largest output".into()),
        ("security", security, format!("ring degree 2^{}", report.params.log_n)),
        ("bootstraps", counts.bootstraps.to_string(), levels),
        (
            "rotations",
            counts.rotations.to_string(),
            format!("{} of them hoisted", counts.hoisted_rotations),
        ),
        (
            "products",
            (counts.ct_mults + counts.pt_mults).to_string(),
            format!("{} of ciphertexts", counts.ct_mults),
        ),
        (
            "evaluation keys",
            bytes(report.keys.bytes),
            format!("{} keys", report.keys.count),
        ),
        (
            "ciphertexts alive",
            all.peak_ciphertexts.to_string(),
            format!("{} of weights in the plan", bytes(all.constant_bytes)),
        ),
    ];
    page.push_str("<div class=\"tiles\">");
    for (name, value, more) in tiles {
        let _ = write!(
            page,
            "<div><span>{name}</span><b>{}</b><small>{}</small></div>",
            escape(&value),
            escape(&more)
        );
    }
    page.push_str("</div>\n");
}

/// What every pass counted.
fn passes(page: &mut String, analysis: &Analysis<'_>) {
    let passes = &analysis.plan.program().report.passes;
    if passes.is_empty() {
        return;
    }
    page.push_str("<section><h2>What the passes did</h2><div class=\"scroll\"><table class=\"facts\"><tbody>");
    for (pass, counts) in passes {
        let counts: Vec<String> = counts
            .iter()
            .map(|(name, count)| {
                let count = if count.fract() == 0.0 {
                    format!("{count:.0}")
                } else {
                    format!("{count:.4}")
                };
                format!("<span>{} <b>{count}</b></span>", escape(&name.replace('_', " ")))
            })
            .collect();
        let words = if counts.is_empty() {
            "nothing to count".to_string()
        } else {
            counts.join(" ")
        };
        let _ = write!(
            page,
            "<tr><th><code>{}</code></th><td class=\"counts\">{words}</td></tr>",
            escape(pass)
        );
    }
    page.push_str("</tbody></table></div></section>");
}
