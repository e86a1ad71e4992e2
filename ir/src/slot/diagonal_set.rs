//! Which diagonals a kernel has, without their values: all that plans and cost models need.
//!
//! Method: a rotation is the difference of two addresses, and addresses are sums over the axes. So for a product of
//! relations between axes, the rotations are all sums of one difference for every relation, modulo the rotation period:
//! O(relations * distinct differences * rotation period) bit operations, whatever the number of non-zeros. Without such a
//! structure, or where the sum over the axes carries from one ciphertext to the next, rows are enumerated and not kept.

use super::linear_map::{PatternForm, Product, Relation};
use super::placement::Frame;
use super::{DiagonalKey, Kernel, Layout, Pattern, Rows};
use crate::constant::ConstantPool;
use crate::error::IrError;
use rayon::prelude::*;
use std::collections::BTreeMap;

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
        let (present, rotation_period) = present(pattern, input, output, fold)?;
        Ok(DiagonalSet {
            slots: input.slots,
            rotation_period,
            keys: keys(&present),
        })
    }

    /// As [`DiagonalSet::of_pattern`]; none where there are more than `most` diagonals.
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
        let (present, rotation_period) = present(pattern, input, output, fold)?;
        let n_diagonals: usize = present.values().map(|rotations| n_present(rotations)).sum();
        Ok((n_diagonals <= most).then(|| DiagonalSet {
            slots: input.slots,
            rotation_period,
            keys: keys(&present),
        }))
    }
}

/// Which rotations are present, and their period.
fn present(
    pattern: &Pattern<'_>,
    input: &Layout,
    output: &Layout,
    fold: &[usize],
) -> Result<(Present, usize), IrError> {
    let frame = Frame::new((&pattern.input, &pattern.output), input, output, fold)?;
    let present = match &pattern.form {
        PatternForm::Products(products) => match of_products(products, &frame, input, output) {
            Some(present) => present,
            None => of_rows(&pattern.rows()?, &frame, input, output),
        },
        PatternForm::Rows(rows) => of_rows(rows, &frame, input, output),
    };
    Ok((present, frame.rotation_period))
}

/// By ciphertexts of output and input, which rotations are present.
type Present = BTreeMap<(usize, usize), Vec<bool>>;

fn n_present(rotations: &[bool]) -> usize {
    rotations.iter().filter(|is_present| **is_present).count()
}

fn keys(present: &Present) -> Vec<DiagonalKey> {
    let keys = present.iter().flat_map(|(&(out_ct, in_ct), rotations)| {
        let present = rotations.iter().enumerate().filter(|(_, is_present)| **is_present);
        present.map(move |(rotation, _)| DiagonalKey {
            out_ct,
            in_ct,
            rotation,
        })
    });
    keys.collect()
}

/// By enumeration, in parallel, of rows that are not kept.
fn of_rows(rows: &Rows, frame: &Frame, input: &Layout, output: &Layout) -> Present {
    let (in_addresses, out_addresses) = (input.addresses(), output.addresses());
    let absent = || vec![false; frame.n_positions()];
    let is_present = (0..out_addresses.len().div_ceil(ROWS_PER_TASK))
        .into_par_iter()
        .fold(absent, |mut is_present, task| {
            let mut cursor = rows.cursor();
            let outs = task * ROWS_PER_TASK..out_addresses.len().min((task + 1) * ROWS_PER_TASK);
            for out in outs {
                for &(column, _) in cursor.unsorted(out) {
                    frame.visit(out_addresses[out], in_addresses[column], |met| {
                        is_present[frame.position(met)] = true;
                    });
                }
            }
            is_present
        })
        .reduce(absent, |mut all, some| {
            all.iter_mut().zip(some).for_each(|(all, some)| *all |= some);
            all
        });
    let pairs = is_present.chunks(frame.rotation_period).enumerate();
    let named = pairs.map(|(pair, rotations)| ((pair / frame.in_cts, pair % frame.in_cts), rotations.to_vec()));
    named.collect()
}

/// A difference of addresses: ciphertexts of output and input, and a rotation.
type Difference = (usize, usize, usize);

/// By sums over the axes. None where that does not apply.
fn of_products(products: &[Product], frame: &Frame, input: &Layout, output: &Layout) -> Option<Present> {
    let has_fold = frame.step != frame.block;
    let is_one_block = frame.block >= frame.in_period;
    if (!is_one_block && has_fold) || carries(input) || carries(output) {
        return None;
    }
    // Copies of an output within a step of the fold, and blocks within the input's period: all at their own rotations.
    let repetitions = if is_one_block {
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
            sums.add(differences);
        }
        for (pair, rotations) in sums.by_pair {
            match all.entry(pair) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(rotations);
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => {
                    let known = entry.get_mut().iter_mut();
                    known.zip(rotations).for_each(|(known, more)| *known |= more);
                }
            }
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
        let mut none = vec![false; rotation_period];
        none[0] = true;
        Sums {
            rotation_period,
            by_pair: BTreeMap::from([((0, 0), none)]),
        }
    }

    /// Every sum so far plus every one of `differences`.
    fn add(&mut self, differences: &[Difference]) {
        let mut sums = Present::new();
        for ((out_ct, in_ct), rotations) in &self.by_pair {
            let present: Vec<usize> = (0..rotations.len()).filter(|&rotation| rotations[rotation]).collect();
            let is_sparse = present.len() * 16 < rotations.len();
            for (more_out, more_in, by) in differences {
                let pair = (out_ct + more_out, in_ct + more_in);
                let sum = sums.entry(pair).or_insert_with(|| vec![false; self.rotation_period]);
                if is_sparse {
                    let mask = self.rotation_period - 1;
                    present.iter().for_each(|rotation| sum[(rotation + by) & mask] = true);
                } else {
                    let (low, high) = sum.split_at_mut(*by);
                    let (early, late) = rotations.split_at(rotations.len() - by);
                    high.iter_mut()
                        .zip(early)
                        .for_each(|(sum, is_present)| *sum |= is_present);
                    low.iter_mut()
                        .zip(late)
                        .for_each(|(sum, is_present)| *sum |= is_present);
                }
            }
        }
        self.by_pair = sums;
    }
}
