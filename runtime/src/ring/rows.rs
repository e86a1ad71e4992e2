//! What base conversions and the transforms around them share: sources, started limbs, groups of limbs.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::modulus::ShoupFactor;
use super::{Ahead, AlignedBuffer, BaseConverter, RingContext, kernels};

/// Vectors of all sources read at a time for several targets: what the first-level cache holds beside the targets.
const SOURCE_VECTORS: usize = 384;
/// Columns ahead of a single target for which the sources are asked for.
const COLUMNS_AHEAD: usize = 4;
/// Columns of one parallel task of the rounding.
const ROUNDED_COLUMNS: usize = 8192;

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
    pub(super) fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u64]> {
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

/// A limb in evaluation form to convert from, what is added to it on the way, a limb times a constant, and what the sum is
/// multiplied by.
pub(super) struct SourceLimb<'a> {
    pub(super) prime: usize,
    pub(super) values: &'a [u64],
    pub(super) plus: Option<(&'a [u64], ShoupFactor)>,
    pub(super) factor: Option<ShoupFactor>,
}

/// Sources of several base conversions: of each its limbs' coefficients, scaled and interleaved, and, unless it is a single limb, a
/// row of rounded quotients.
pub(super) struct Sources<'a> {
    rows: Rows<'a>,
    conversions: Vec<(Arc<BaseConverter>, Range<usize>)>,
}

impl<'a> Sources<'a> {
    /// From each converter's source limbs.
    pub(super) fn new(ring: &'a RingContext, conversions: Vec<(Arc<BaseConverter>, Vec<SourceLimb>)>) -> Self {
        let row_count = |limbs: usize| limbs + usize::from(limbs > 1);
        let total = conversions.iter().map(|(_, limbs)| row_count(limbs.len())).sum();
        let mut rows = Rows::take(ring, total);
        let mut remaining = rows.iter_mut();
        let mut limbs_of: Vec<Vec<&mut [u64]>> = Vec::with_capacity(conversions.len());
        let mut quotients_of = Vec::with_capacity(conversions.len());
        for (_, limbs) in &conversions {
            limbs_of.push(remaining.by_ref().take(limbs.len()).collect());
            quotients_of.push(if limbs.len() > 1 { remaining.next() } else { None });
        }
        let mut inverses = Vec::new();
        for ((converter, limbs), rows) in conversions.iter().zip(&mut limbs_of) {
            let numbered = limbs.iter().zip(rows).enumerate();
            inverses.extend(numbered.map(|(i, (limb, row))| {
                let (m, scaling) = (ring.modulus(limb.prime), converter.scaling(i));
                let scaling = limb
                    .factor
                    .map_or(scaling, |factor| m.shoup(m.mul(scaling.value, factor.value)));
                (limb, scaling, row)
            }));
        }
        inverses.into_par_iter().for_each(|(limb, scaling, row)| {
            let table = ring.table(limb.prime);
            let mut scratch = Rows::take(ring, 1 + usize::from(limb.plus.is_some()));
            let mut scratch = scratch.iter_mut();
            let Some(work) = scratch.next() else { return };
            match (limb.plus, scratch.next()) {
                (Some((other, w)), Some(sum)) => {
                    sum.copy_from_slice(limb.values);
                    kernels::add_mul_shoup(ring.backend(), table.modulus(), sum, other, w);
                    table.inverse_interleaved(sum, work, row, scaling);
                }
                _ => table.inverse_interleaved(limb.values, work, row, scaling),
            }
        });
        let mut roundings = Vec::new();
        for (((converter, _), limbs), quotients) in conversions.iter().zip(&limbs_of).zip(quotients_of) {
            let chunks = quotients
                .into_iter()
                .flat_map(|row| row.chunks_mut(ROUNDED_COLUMNS))
                .enumerate();
            roundings.extend(chunks.map(|(chunk, quotients)| (converter, limbs, chunk * ROUNDED_COLUMNS, quotients)));
        }
        roundings
            .into_par_iter()
            .for_each(|(converter, limbs, start, quotients)| {
                let limbs: Vec<&[u64]> = limbs.iter().map(|limb| &limb[start..][..quotients.len()]).collect();
                converter.round(&limbs, quotients);
            });
        drop(remaining);
        let mut next = 0;
        let conversions = conversions.into_iter().map(|(converter, limbs)| {
            let first = next;
            next += row_count(limbs.len());
            (converter, first..next)
        });
        Self {
            conversions: conversions.collect(),
            rows,
        }
    }

    /// What conversion `number` reads from.
    pub(super) fn of(&self, number: usize) -> Source<'_> {
        let (converter, rows) = &self.conversions[number];
        Source {
            ring: self.rows.ring,
            converter,
            rows: self.rows.iter().skip(rows.start).take(rows.len()).collect(),
        }
    }

    pub(super) fn ring(&self) -> &'a RingContext {
        self.rows.ring
    }

    /// Words of all rows.
    pub(super) fn words(&self) -> usize {
        self.rows.iter().map(<[u64]>::len).sum()
    }
}

/// What one base conversion reads from.
pub(super) struct Source<'a> {
    ring: &'a RingContext,
    pub(super) converter: &'a BaseConverter,
    rows: Vec<&'a [u64]>,
}

impl Source<'_> {
    /// Limbs of some targets as the first passes of their transforms leave them. `outs` has target numbers, prime indices and the
    /// limbs to write.
    ///
    /// Some columns at a time for all targets, so that sources are read from memory once.
    pub(super) fn start(&self, outs: &mut [(usize, usize, &mut [u64])]) {
        let columns = self.ring.table(0).columns();
        let parts = self.ring.n() / 8 / columns;
        let (step, distance) = if outs.len() > 1 {
            let step = (SOURCE_VECTORS / parts / self.rows.len()).max(1);
            (step, step)
        } else {
            (columns, COLUMNS_AHEAD)
        };
        let targets = outs.len();
        for start in (0..columns).step_by(step) {
            for (i, (target, prime, out)) in outs.iter_mut().enumerate() {
                let range = start..(start + step).min(columns);
                let ahead = Ahead {
                    columns: distance,
                    parts: i * parts / targets..(i + 1) * parts / targets,
                };
                self.converter
                    .start(self.ring.table(*prime), &self.rows, *target, out, range, &ahead);
            }
        }
    }
}

/// Bytes of sources that a last-level cache is not expected to keep beside the limbs made of them.
const LARGE_SOURCES: usize = 12 << 20;

/// How many limbs to convert, transform and finish together, for conversions from `sources` primes each, of `words` in all: more
/// limbs share the reading of the sources, which counts most where that is from memory; fewer stay in the caches.
pub(super) fn limbs_per_group(sources: usize, words: usize) -> usize {
    match sources {
        0..=1 => 1,
        2..=3 => 2,
        _ if words * size_of::<u64>() < LARGE_SOURCES => 3,
        _ => 8,
    }
}

/// Turns rows of items into columns: `out[c]` has item c of every row.
pub(super) fn columns_of<T>(rows: impl Iterator<Item = impl Iterator<Item = T>>) -> Vec<Vec<T>> {
    let mut columns: Vec<Vec<T>> = Vec::new();
    for row in rows {
        for (c, item) in row.enumerate() {
            if columns.len() == c {
                columns.push(Vec::new());
            }
            columns[c].push(item);
        }
    }
    columns
}

/// Splits items into groups of at most `largest`, their count a multiple of the threads', their sizes differing by one at most and
/// the larger ones spread evenly.
pub(super) fn balanced_groups<T>(items: Vec<T>, largest: usize) -> Vec<Vec<T>> {
    let (total, threads) = (items.len(), rayon::current_num_threads());
    let count = total.div_ceil(largest).next_multiple_of(threads).min(total).max(1);
    let mut items = items.into_iter();
    (0..count)
        .map(|group| {
            let size = (group + 1) * total / count - group * total / count;
            items.by_ref().take(size).collect()
        })
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
