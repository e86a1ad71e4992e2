//! Factors that cost no level.

/// Doublings are cheaper than a rescale up to this many.
const MAX_DOUBLINGS: u32 = 6;

/// When `by` is `sign * 2^n` for a small `n`: `(n, sign is negative)`; such a factor is `n` additions and perhaps a
/// negation, at no level.
pub(crate) fn doublings(by: f64) -> Option<(u32, bool)> {
    let n = (0..=MAX_DOUBLINGS).find(|n| f64::from(*n).exp2() == by.abs())?;
    Some((n, by < 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_powers_of_two_are_doublings() {
        assert_eq!(doublings(1.0), Some((0, false)));
        assert_eq!(doublings(-8.0), Some((3, true)));
        assert_eq!(doublings(0.5), None);
        assert_eq!(doublings(3.0), None);
        assert_eq!(doublings(0.0), None);
        assert_eq!(doublings(1e9), None);
    }
}
