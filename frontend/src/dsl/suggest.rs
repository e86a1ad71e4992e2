//! "Did you mean": the closest known name.

/// The candidate with the smallest edit distance to `name`, if it is close enough to be a slip; ties go to the first
/// in order.
pub(super) fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = name.chars().count() / 3 + 1;
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate, limit), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min()
        .map(|(_, candidate)| candidate)
}

/// Number of insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string
/// alignment), or more than `limit` when the lengths alone exceed it.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(x != y);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let names = ["conv", "concat", "relu", "sigmoid", "avg_pool"];
        assert_eq!(closest("cnov", names), Some("conv"));
        assert_eq!(closest("sigmod", names), Some("sigmoid"));
        assert_eq!(closest("avgpool", names), Some("avg_pool"));
        assert_eq!(closest("attention", names), None);
        assert_eq!(closest("x", ["y"]), None);
    }

    #[test]
    fn distance_counts_edits_and_swaps() {
        for (a, b, expected) in [("", "", 0), ("abc", "acb", 1), ("kitten", "sitting", 3), ("", "ab", 2)] {
            assert_eq!(distance(a, b, 9), expected, "{a} to {b}");
        }
    }
}
