//! Evaluation keys by purpose and by the level they are made for.

use std::collections::BTreeMap;
use std::fmt::Write;

use aphelion_runtime::ckks::keys::KeyPurpose;

use super::analysis::Analysis;
use super::draw::{line, open, rect, rough_bytes, text, ticks};
use crate::report::Keys;
use crate::units::bytes;

const WIDTH: f64 = 490.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = HEIGHT - 34.0;

/// Purpose by its place in a column: style, name.
const PURPOSES: [(&str, &str); 3] = [
    ("k-product", "relinearisation"),
    ("k-scale", "conjugation"),
    ("k-rotate", "rotations"),
];

pub(super) fn section(page: &mut String, analysis: &Analysis<'_>) {
    let keys = analysis.plan.client().keys.keys(analysis.params.key_bands());
    let mut sums = [(0usize, 0u64); 3];
    let mut columns: BTreeMap<usize, [(usize, u64); 3]> = BTreeMap::new();
    for (purpose, level) in &keys {
        let at = match purpose {
            KeyPurpose::Relinearize => 0,
            KeyPurpose::Conjugate => 1,
            KeyPurpose::Rotate(_) => 2,
        };
        let size = Keys::bytes_at(analysis.params, *level);
        for sum in [&mut sums[at], &mut columns.entry(*level).or_default()[at]] {
            sum.0 += 1;
            sum.1 += size;
        }
    }
    let _ = write!(
        page,
        "<section><h2>Evaluation keys</h2><p>{} keys, {} as they are sent, stored and held in memory, with seeds in place of \
         their random halves. A key made for a lower level is smaller.</p>",
        analysis.report.plan.keys.count,
        bytes(analysis.report.plan.keys.bytes)
    );
    draw(page, &columns);
    page.push_str("<table><tbody>");
    for ((class, name), (count, size)) in PURPOSES.iter().zip(sums).filter(|(_, (count, _))| *count > 0) {
        let _ = write!(
            page,
            "<tr><td><i class=\"{class}\"></i>{name}</td><td class=\"n\">{count}</td><td class=\"n\">{}</td></tr>",
            bytes(size)
        );
    }
    if let Some(request) = &analysis.plan.client().keys.encapsulation {
        let _ = write!(
            page,
            "<tr><td><i class=\"k-boot\"></i>to a sparse secret of weight {} and back, also with rotations, up to \
             level {}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            request.hamming_weight,
            request.level,
            1 + request.keys().count(),
            bytes(analysis.report.plan.key_use.encapsulation)
        );
    }
    page.push_str("</tbody></table></section>");
}

fn draw(page: &mut String, columns: &BTreeMap<usize, [(usize, u64); 3]>) {
    let highest = columns.keys().max().copied().unwrap_or(0);
    let size = |column: &[(usize, u64); 3]| column.iter().map(|(_, size)| *size).sum::<u64>() as f64;
    let largest = columns.values().map(size).fold(1.0, f64::max);
    let slot = (WIDTH - LEFT) / (highest + 1) as f64;
    let y = |value: f64| BOTTOM - value / largest * (BOTTOM - TOP);
    open(page, WIDTH, HEIGHT, "bytes of evaluation keys by level");
    let mut last = f64::INFINITY;
    for tick in ticks(largest / f64::from(1 << 20), 4)
        .into_iter()
        .map(|tick| tick * f64::from(1 << 20))
    {
        line(page, "grid", [LEFT, y(tick), WIDTH, y(tick)]);
        if last - y(tick) > 10.0 {
            text(page, "end dim", LEFT - 6.0, y(tick) + 4.0, &rough_bytes(tick));
            last = y(tick);
        }
    }
    let label_every = ((highest + 1) as f64 * 22.0 / (WIDTH - LEFT)).ceil().max(1.0) as usize;
    for level in 0..=highest {
        let x = LEFT + level as f64 * slot;
        if level % label_every == 0 {
            text(page, "middle dim", x + 0.5 * slot, BOTTOM + 15.0, &level.to_string());
        }
        let Some(column) = columns.get(&level) else { continue };
        let mut below = 0.0;
        for ((class, name), (count, size)) in PURPOSES.iter().zip(column).filter(|(_, (count, _))| *count > 0) {
            let (low, high) = (below, below + *size as f64);
            let place = [x + 0.12 * slot, y(high), 0.76 * slot, (y(low) - y(high)).max(0.5)];
            rect(
                page,
                class,
                place,
                &format!("level {level}: {count} for {name}, {}", bytes(*size)),
            );
            below = high;
        }
        if slot > 9.0 {
            let count: usize = column.iter().map(|(count, _)| count).sum();
            text(page, "middle small", x + 0.5 * slot, y(below) - 3.0, &count.to_string());
        }
    }
    line(page, "axis", [LEFT, BOTTOM, WIDTH, BOTTOM]);
    text(page, "end dim", WIDTH, HEIGHT - 4.0, "level the key is made for");
    page.push_str("</svg>");
}
