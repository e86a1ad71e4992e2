//! Which diagonals a kernel has, without their values: all that plans and cost models need.
//!
//! Method: a rotation is the difference of two addresses, and addresses are sums over the axes. So for a product of
//! relations between axes, the rotations are all sums of one difference for every relation, modulo the rotation period:
//! O(relations * distinct differences * rotation period) bit operations, whatever the number of non-zeros. Without such a
//! structure, or where the sum over the axes carries from one ciphertext to the next, rows are enumerated and not kept.

use super::linear_map::{PatternForm, Product, Relation};
use super::placement::Frame;
use super::rotation_set::{RotationSet, SharedRotationSet};
use super::{DiagonalKey, Kernel, Layout, Pattern, Rows};
use crate::constant::ConstantPool;
use crate::error::IrError;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Rows that one task enumerates.
const ROWS_PER_TASK: usize = 1024;

/// The non-zero diagonals of a kernel, without values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiagonalSet {
    /// Slots per ciphertext.
    pub slots: usize,
    /// Rotations count modulo this, a power of two that divides the slots.
    pub rotation_period: usize,
    /// Diagonals, ascending.
    pub keys: Vec<DiagonalKey>,
}

impl DiagonalSet {
    /// Exactly the diagonals of `kernel` for an operand of layout `input`.
    ///
    /// # Errors
    /// As [`Diagonals::new`](super::Diagonals::new).
    pub fn of_kernel(kernel: &Kernel, input: &Layout, constants: &ConstantPool) -> Result<Self, IrError> {
        let pattern = Pattern::exact(&kernel.map, constants)?;
        DiagonalSet::of_pattern(&pattern, input, &kernel.output, &kernel.fold)
    }

    /// The positions of the diagonals that a map with these non-zeros has between two layouts.
    ///
    /// # Errors
    /// As [`Diagonals::of_rows`](super::Diagonals::of_rows).
    pub fn of_pattern(pattern: &Pattern<'_>, input: &Layout, output: &Layout, fold: &[usize]) -> Result<Self, IrError> {
        let all = DiagonalSet::up_to(usize::MAX, pattern, input, output, fold)?;
        Ok(all.expect("no set has more than usize::MAX diagonals"))
    }

    /// As [`DiagonalSet::of_pattern`]; none where there are more than `most` diagonals, found before all of them are in memory.
    ///
    /// # Errors
    /// As [`Diagonals::of_rows`](super::Diagonals::of_rows).
    pub fn up_to(
        most: usize,
        pattern: &Pattern<'_>,
        input: &Layout,
        output: &Layout,
        fold: &[usize],
    ) -> Result<Option<Self>, IrError> {
        let frame = Frame::new((&pattern.input, &pattern.output), input, output, fold)?;
        let present = match &pattern.form {
            PatternForm::Products(products) if adds_up(&frame, input, output) => {
                of_products(products, &frame, input, output, most)
            }
            PatternForm::Products(_) => Some(of_rows(&pattern.rows()?, &frame, input, output)),
            PatternForm::Rows(rows) => Some(of_rows(rows, &frame, input, output)),
        };
        let present = present.filter(|present| n_diagonals(present) <= most);
        Ok(present.map(|present| DiagonalSet {
            slots: input.slots,
            rotation_period: frame.rotation_period,
            keys: keys(&present),
        }))
    }
}

/// By ciphertexts of output and input, which rotations are present.
type Present = BTreeMap<(usize, usize), RotationSet>;

fn n_diagonals(present: &Present) -> usize {
    present.values().map(RotationSet::len).sum()
}

fn keys(present: &Present) -> Vec<DiagonalKey> {
    let keys = present.iter().flat_map(|(&(out_ct, in_ct), rotations)| {
        rotations.iter().map(move |rotation| DiagonalKey {
            out_ct,
            in_ct,
            rotation,
        })
    });
    keys.collect()
}

/// By enumeration, in parallel, of rows that are not kept. Pairs of ciphertexts take memory once they are met.
fn of_rows(rows: &Rows, frame: &Frame, input: &Layout, output: &Layout) -> Present {
    let (in_addresses, out_addresses) = (input.addresses(), output.addresses());
    let pairs: Vec<OnceLock<SharedRotationSet>> = (0..frame.out_cts * frame.in_cts).map(|_| OnceLock::new()).collect();
    (0..out_addresses.len().div_ceil(ROWS_PER_TASK))
        .into_par_iter()
        .for_each(|task| {
            let mut cursor = rows.cursor();
            let outs = task * ROWS_PER_TASK..out_addresses.len().min((task + 1) * ROWS_PER_TASK);
            for out in outs {
                for &(column, _) in cursor.unsorted(out) {
                    frame.visit(out_addresses[out], in_addresses[column], |met| {
                        let rotations = pairs[met.out_ct * frame.in_cts + met.in_ct]
                            .get_or_init(|| SharedRotationSet::empty(frame.rotation_period));
                        rotations.insert(met.rotation);
                    });
                }
            }
        });
    let named = pairs.into_iter().enumerate().filter_map(|(pair, rotations)| {
        let rotations = rotations.into_inner()?.into_set();
        Some(((pair / frame.in_cts, pair % frame.in_cts), rotations))
    });
    named.collect()
}

/// A difference of addresses: ciphertexts of output and input, and a rotation.
type Difference = (usize, usize, usize);

/// Whether rotations are sums over the axes.
fn adds_up(frame: &Frame, input: &Layout, output: &Layout) -> bool {
    let has_fold = frame.step != frame.block;
    let is_one_block = frame.block >= frame.in_period;
    (is_one_block || !has_fold) && !carries(input) && !carries(output)
}

/// By sums over the axes. None where they are more than `most`.
fn of_products(products: &[Product], frame: &Frame, input: &Layout, output: &Layout, most: usize) -> Option<Present> {
    // Copies of an output within a step of the fold, and blocks within the input's period: all at their own rotations.
    let repetitions = if frame.block >= frame.in_period {
        (0..frame.step).step_by(frame.out_period)
    } else {
        (0..frame.in_period).step_by(frame.block)
    };
    let negated = |by: usize| by.wrapping_neg() & (frame.rotation_period - 1);
    let repetitions: Vec<Difference> = repetitions.map(|by| (0, 0, negated(by))).collect();
    let mut all = Present::new();
    for product in products {
        let mut terms: Vec<Vec<Difference>> = product
            .iter()
            .map(|relation| differences(relation, frame, input, output))
            .collect();
        terms.push(repetitions.clone());
        // Axes that stay within a ciphertext first, while there is one sum to extend and not one for every pair.
        terms.sort_by_key(|differences| (n_pairs(differences), differences.len()));
        let mut sums = Sums::new(frame.rotation_period);
        for differences in &terms {
            sums.add(differences, most)?;
        }
        for (pair, rotations) in sums.by_pair {
            let known = all.entry(pair);
            known.and_modify(|known| known.add_all(&rotations)).or_insert(rotations);
        }
    }
    Some(all)
}

/// Pairs of ciphertexts among differences, which are sorted.
fn n_pairs(differences: &[Difference]) -> usize {
    differences.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).count()
}

/// Whether slots that the axes add up to may pass the end of a ciphertext.
fn carries(layout: &Layout) -> bool {
    let largest = |(axis, &extent): (usize, &usize)| {
        let slots = (0..extent).map(|index| layout.axis_address(axis, index) % layout.period);
        slots.max().unwrap_or(0)
    };
    layout.shape.iter().enumerate().map(largest).sum::<usize>() >= layout.period
}

/// Distinct address differences of a relation's pairs.
fn differences(relation: &Relation, frame: &Frame, input: &Layout, output: &Layout) -> Vec<Difference> {
    let mask = frame.rotation_period - 1;
    let read = |axis: usize, index: u32| {
        let address = input.axis_address(axis, index as usize);
        (address / frame.in_period, address % frame.in_period)
    };
    let written = |axis: usize, index: u32| {
        let address = output.axis_address(axis, index as usize);
        (address / frame.out_period, address % frame.out_period)
    };
    let mut differences: Vec<Difference> = match relation {
        Relation::In { axis, indices } => {
            let one = |&index: &u32| {
                let (in_ct, slot) = read(*axis, index);
                (0, in_ct, slot & mask)
            };
            indices.iter().map(one).collect()
        }
        Relation::Out { axis, indices } => {
            let one = |&index: &u32| {
                let (out_ct, slot) = written(*axis, index);
                (out_ct, 0, slot.wrapping_neg() & mask)
            };
            indices.iter().map(one).collect()
        }
        Relation::Both {
            input: from,
            output: to,
            pairs,
        } => {
            let one = |&(index, result): &(u32, u32)| {
                let ((in_ct, slot), (out_ct, target)) = (read(*from, index), written(*to, result));
                (out_ct, in_ct, slot.wrapping_sub(target) & mask)
            };
            pairs.iter().map(one).collect()
        }
    };
    differences.sort_unstable();
    differences.dedup();
    differences
}

/// Sums of differences: for every pair of ciphertexts, which rotations arise.
struct Sums {
    rotation_period: usize,
    by_pair: Present,
}

impl Sums {
    /// The empty sum.
    fn new(rotation_period: usize) -> Self {
        Sums {
            rotation_period,
            by_pair: BTreeMap::from([((0, 0), RotationSet::zero(rotation_period))]),
        }
    }

    /// Every sum so far plus every one of `differences`. None as soon as there must be more than `most`: a difference moves
    /// sums and joins none of one pair, so that no pair has fewer than the least so far.
    fn add(&mut self, differences: &[Difference], most: usize) -> Option<()> {
        let least = self.by_pair.values().map(RotationSet::len).min().unwrap_or(0);
        let mut sums = Present::new();
        for ((out_ct, in_ct), rotations) in &self.by_pair {
            for (more_out, more_in, by) in differences {
                let sum = sums.entry((out_ct + more_out, in_ct + more_in));
                let sum = sum.or_insert_with(|| RotationSet::empty(self.rotation_period));
                sum.add_turned(rotations, *by);
            }
            if sums.len().saturating_mul(least) > most {
                return None;
            }
        }
        self.by_pair = sums;
        Some(())
    }
}
