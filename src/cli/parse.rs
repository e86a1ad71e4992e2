//! Values of options.

use std::ops::Range;

use aphelion_passes::Batch;

/// `A..B`, rows A up to B.
pub(super) fn rows(text: &str) -> Result<Range<usize>, String> {
    let parsed = text
        .split_once("..")
        .and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    parsed
        .filter(|range: &Range<usize>| !range.is_empty())
        .ok_or_else(|| "expected rows A..B with A below B, such as 0..64".to_string())
}

/// `LOW..HIGH`, an interval of real numbers.
pub(super) fn interval(text: &str) -> Result<(f64, f64), String> {
    let parsed = text
        .split_once("..")
        .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parsed
        .filter(|(low, high): &(f64, f64)| low.is_finite() && high.is_finite() && low < high)
        .ok_or_else(|| "expected LOW..HIGH with LOW below HIGH, such as -1..1".to_string())
}

/// A number of samples, or `auto`.
pub(super) fn batch(text: &str) -> Result<Batch, String> {
    match text {
        "auto" => Ok(Batch::Fill),
        number => number
            .parse()
            .map(Batch::Samples)
            .map_err(|_| "expected a power of two, or auto".to_string()),
    }
}

/// A number of bytes with an optional K, M, G or T (powers of 1024).
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.trim_end_matches(['b', 'B', 'i']).char_indices().last() {
        Some((at, unit)) if unit.is_ascii_alphabetic() => {
            let shift = "KMGT"
                .find(unit.to_ascii_uppercase())
                .map(|index| 10 * (index as u32 + 1));
            (&text[..at], shift)
        }
        _ => (text, Some(0)),
    };
    let value = digits
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite() && *value >= 0.0);
    match (value, shift) {
        (Some(value), Some(shift)) => Ok((value * f64::from(shift).exp2()) as u64),
        _ => Err("expected a size such as 512M or 8G".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_values() {
        assert_eq!(rows("3..10"), Ok(3..10));
        assert!(rows("10..3").is_err() && rows("3").is_err());
        assert_eq!(interval("-1.5..2"), Ok((-1.5, 2.0)));
        assert!(interval("2..1").is_err() && interval("a..b").is_err());
        assert_eq!(
            [size("8G"), size("1.5KiB"), size("100")],
            [Ok(8 << 30), Ok(1536), Ok(100)]
        );
        assert_eq!([batch("4"), batch("auto")], [Ok(Batch::Samples(4)), Ok(Batch::Fill)]);
        assert!(batch("all").is_err());
        assert!(size("8X").is_err() && size("").is_err() && size("-1").is_err());
    }
}
