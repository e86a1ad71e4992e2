//! Parameters and security: the modulus prime by prime against what the ring allows, and the figures.

use std::fmt::Write;

use aphelion_runtime::ckks::params::max_log_qp;

use super::analysis::Analysis;
use super::draw::{escape, line, open, rect, text};

const WIDTH: f64 = 1080.0;
const HEIGHT: f64 = 66.0;
const TOP: f64 = 8.0;
const BAR: f64 = 28.0;

pub(super) fn section(page: &mut String, analysis: &Analysis<'_>) {
    let params = &analysis.report.plan.params;
    page.push_str("<section><h2>Parameters and security</h2>");
    if !params.secure {
        page.push_str("<p class=\"warning\">No security was demanded of these parameters: they protect nothing.</p>");
    }
    draw(page, analysis);
    page.push_str("<table class=\"facts\"><tbody>");
    let secret = params.hamming_weight.map_or_else(
        || "uniform ternary".to_string(),
        |weight| format!("ternary with {weight} non-zero coefficients"),
    );
    let security = params.security_bits.map_or_else(
        || "at least 128 bits, by the table of the literature".to_string(),
        |bits| format!("{bits:.1} bits against classical attacks, Q and P counted"),
    );
    let table = match &analysis.plan.program().report.cost_table {
        None => "the compiler's own".to_string(),
        Some(id) => format!("{} ({})", id.source, &id.hash[..id.hash.len().min(16)]),
    };
    let facts = [
        ("ring degree", format!("2^{}", params.log_n)),
        (
            "ciphertext modulus",
            format!("{:.1} bits, {} primes", params.log_q, params.levels + 1),
        ),
        (
            "special modulus",
            format!("{:.1} bits, {} primes", params.log_p, analysis.params.p().len()),
        ),
        ("scale", format!("{:.1} bits", params.scale_bits)),
        ("digits of key switching", params.dnum.to_string()),
        ("secret", secret),
        ("security", security),
        ("prices", table),
        ("model file", analysis.report.model_hash.clone()),
    ];
    for (name, value) in facts {
        let _ = write!(page, "<tr><th>{name}</th><td>{}</td></tr>", escape(&value));
    }
    page.push_str("</tbody></table></section>");
}

fn draw(page: &mut String, analysis: &Analysis<'_>) {
    let params = analysis.params;
    let limit = max_log_qp(params.log_n(), params.literal().secret).ok().map(f64::from);
    let full = limit.unwrap_or(0.0).max(params.log_qp());
    let width = |bits: f64| bits / full * WIDTH;
    open(page, WIDTH, HEIGHT, "primes of the modulus");
    rect(page, "empty", [0.0, TOP, WIDTH, BAR], "");
    let mut x = 0.0;
    let q = params.q().iter().enumerate().map(|(level, prime)| match level {
        0 => ("prime base", format!("q0: {:.2} bits", (*prime as f64).log2()), *prime),
        _ => ("prime", format!("q{level}: {:.2} bits", (*prime as f64).log2()), *prime),
    });
    let p = params.p().iter().enumerate();
    let p = p.map(|(index, prime)| {
        (
            "prime special",
            format!("p{index}: {:.2} bits", (*prime as f64).log2()),
            *prime,
        )
    });
    for (class, title, prime) in q.chain(p) {
        let length = width((prime as f64).log2());
        rect(page, class, [x + 0.5, TOP, (length - 1.0).max(0.5), BAR], &title);
        x += length;
    }
    let q_end = width(params.log_q(params.max_level()));
    let below = TOP + BAR + 16.0;
    text(
        page,
        "dim",
        0.0,
        below,
        &format!("Q: {:.0} bits", params.log_q(params.max_level())),
    );
    text(
        page,
        "dim",
        q_end + 2.0,
        below,
        &format!("P: {:.0} bits", params.log_p()),
    );
    if let Some(limit) = limit {
        line(
            page,
            "limit",
            [width(limit) - 1.0, TOP - 6.0, width(limit) - 1.0, TOP + BAR + 6.0],
        );
        let words = format!("{limit:.0} bits keep 128-bit security");
        text(page, "end dim", width(limit), below + 13.0, &words);
    }
    page.push_str("</svg>");
}
