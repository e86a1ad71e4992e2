//! What base conversions and the transforms around them share: rows that do not collide in cache, tasks, groups of limbs.

use super::convert::columns_of;
use super::{AlignedBuffer, BaseConverter, RingContext};

/// Columns converted at a time: eight rows of them fit the first-level cache.
const COLUMNS: usize = 512;
/// Columns of one parallel task of the scaling.
const SCALED_COLUMNS: usize = 4096;

/// Rows start this many words further apart than they are long, an odd number of cache lines beyond a page: the same columns of
/// rows a power of two apart would share cache sets.
const PADDING: usize = 512 + 5 * 8;

/// Rows of equal length, in one buffer of the pool.
pub(super) struct Rows<'a> {
    pub(super) ring: &'a RingContext,
    length: usize,
    /// Always present until drop.
    buffer: Option<AlignedBuffer>,
}

impl<'a> Rows<'a> {
    /// `count` rows of one limb each, with unspecified content.
    pub(super) fn take(ring: &'a RingContext, count: usize) -> Self {
        Self::of_length(ring, count, ring.n())
    }

    /// `count` rows of `length` words each, with unspecified content.
    pub(super) fn of_length(ring: &'a RingContext, count: usize, length: usize) -> Self {
        Self {
            ring,
            length,
            buffer: Some(ring.pool().take(count * (length + PADDING))),
        }
    }

    /// The rows in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u64]> {
        let (length, words) = (self.length, self.buffer.as_deref().unwrap_or_default());
        words.chunks_exact(length + PADDING).map(move |row| &row[..length])
    }

    /// The rows in order, to be written.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u64]> {
        let (length, words) = (self.length, self.buffer.as_deref_mut().unwrap_or_default());
        words
            .chunks_exact_mut(length + PADDING)
            .map(move |row| &mut row[..length])
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.ring.pool().give(buffer);
        }
    }
}

/// Splits limbs of coefficients and, as the last row, their quotients into tasks for [`scale`].
pub(super) fn scaling_tasks<'a>(rows: impl Iterator<Item = &'a mut [u64]>) -> Vec<Vec<&'a mut [u64]>> {
    columns_of(rows.map(|row| row.chunks_mut(SCALED_COLUMNS)))
}

/// [`BaseConverter::scale`] for the columns of one task.
pub(super) fn scale(converter: &BaseConverter, mut columns: Vec<&mut [u64]>) {
    if let Some((quotients, limbs)) = columns.split_last_mut() {
        converter.scale(limbs, quotients);
    }
}

/// Limbs of some targets, converted from `rows` and taken through the first pass of their transforms. `outs` has target numbers,
/// prime indices and the limbs to write.
///
/// Some columns at a time for all targets, so that sources are read from memory once.
pub(super) fn convert_and_start(
    ring: &RingContext,
    converter: &BaseConverter,
    rows: &[&[u64]],
    outs: &mut [(usize, usize, &mut [u64])],
) {
    let n = ring.n();
    for start in (0..n).step_by(COLUMNS) {
        for (target, _, out) in outs.iter_mut() {
            converter.convert(rows, *target, out, start..(start + COLUMNS).min(n));
        }
    }
    for (_, prime, out) in outs {
        ring.table(*prime).forward_top(out);
    }
}

/// Splits items into groups of at most `largest`, their count a multiple of the threads' and their sizes differing by one at most.
pub(super) fn balanced_groups<T>(items: Vec<T>, largest: usize) -> Vec<Vec<T>> {
    let threads = rayon::current_num_threads();
    let count = items
        .len()
        .div_ceil(largest)
        .next_multiple_of(threads)
        .min(items.len())
        .max(1);
    let (each, larger) = (items.len() / count, items.len() % count);
    let mut items = items.into_iter();
    (0..count)
        .map(|group| items.by_ref().take(each + usize::from(group < larger)).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_even_and_keep_the_order() {
        for count in 1..40 {
            for largest in [1, 2, 4] {
                let groups = balanced_groups((0..count).collect(), largest);
                assert_eq!(groups.concat(), (0..count).collect::<Vec<_>>());
                let sizes = || groups.iter().map(Vec::len);
                assert!(sizes().max() <= Some(largest) && sizes().max() <= sizes().min().map(|size| size + 1));
            }
        }
    }
}
