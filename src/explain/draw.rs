//! Drawing: escaped text, numbers in few digits, axes, bars.

use std::fmt::Write;

use super::analysis::Kind;

/// Text that is safe within HTML and within quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// A place in the model as people write it: without the quotes around its name.
pub(super) fn place(origin: &str) -> String {
    escape(&origin.replace('`', ""))
}

/// A coordinate with at most two decimals.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

/// Round numbers from 0 to `end`, about `count` of them.
pub(super) fn ticks(end: f64, count: usize) -> Vec<f64> {
    if !(end.is_finite() && end > 0.0) {
        return vec![0.0];
    }
    let raw = end / count as f64;
    let unit = 10f64.powf(raw.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * unit);
    let step = steps.into_iter().find(|step| *step >= raw).unwrap_or(10.0 * unit);
    (0..)
        .map(|k| f64::from(k) * step)
        .take_while(|tick| *tick <= end * 1.0001)
        .collect()
}

/// Opens a drawing that fills its place; `label` says what it shows to those who cannot see it.
pub(super) fn open(page: &mut String, width: f64, height: f64, label: &str) {
    let (width, height) = (number(width), number(height));
    let _ = write!(
        page,
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{}\">",
        escape(label)
    );
}

/// A rectangle; `title` is shown when it is pointed at.
pub(super) fn rect(page: &mut String, class: &str, [x, y, width, height]: [f64; 4], title: &str) {
    let [x, y, width, height] = [x, y, width, height].map(number);
    let _ = write!(
        page,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\""
    );
    if title.is_empty() {
        page.push_str("/>");
    } else {
        let _ = write!(page, "><title>{}</title></rect>", escape(title));
    }
}

/// A straight line.
pub(super) fn line(page: &mut String, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
    let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(number);
    let _ = write!(
        page,
        "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"
    );
}

/// An amount of memory on an axis, without decimals.
pub(super) fn rough_bytes(value: f64) -> String {
    let mib = value / f64::from(1 << 20);
    match mib {
        0.0 => "0".into(),
        mib if mib >= 1024.0 => format!("{} GiB", number(mib / 1024.0)),
        mib if mib >= 1.0 => format!("{} MiB", number(mib)),
        mib => format!("{} KiB", number(mib * 1024.0)),
    }
}

/// Text at its baseline; the class says how it is anchored.
pub(super) fn text(page: &mut String, class: &str, x: f64, y: f64, words: &str) {
    let (x, y) = (number(x), number(y));
    let _ = write!(
        page,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>",
        escape(words)
    );
}

/// A bar of parts `(kind, size)`, `full` being as long as `width`; `title` tells the whole.
pub(super) fn stacked_bar(page: &mut String, parts: &[(Kind, f64)], full: f64, [width, height]: [f64; 2], title: &str) {
    open(page, width, height, title);
    let mut x = 0.0;
    for (kind, size) in parts.iter().filter(|(_, size)| *size > 0.0) {
        let length = size / full * width;
        rect(page, kind.class(), [x, 0.0, length.max(0.4), height], kind.name());
        x += length;
    }
    page.push_str("</svg>");
}

/// The colours of some kinds with their names.
pub(super) fn legend(page: &mut String, kinds: &[Kind]) {
    page.push_str("<p class=\"legend\">");
    for kind in kinds {
        let _ = write!(page, "<span><i class=\"{}\"></i>{}</span>", kind.class(), kind.name());
    }
    page.push_str("</p>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escape("<b a=\"1\">&'\n"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39; ");
        assert_eq!(place("`conv<1>` (Conv)"), "conv&lt;1&gt; (Conv)");
    }

    #[test]
    fn numbers_are_short_and_ticks_round() {
        assert_eq!([1.0, 0.126, -0.001, 250.0].map(number), ["1", "0.13", "0", "250"]);
        assert_eq!(ticks(36.0, 6), [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(ticks(2.5, 8), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
        assert_eq!(ticks(0.0, 5), [0.0]);
    }
}
