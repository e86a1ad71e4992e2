//! The matrix of a kernel in slots, as generalised diagonals: what a linear transform multiplies and rotates.
//!
//! A diagonal `(out_ct, in_ct, rotation)` with values `v` adds `v[i] * x[in_ct][i + rotation]` to slot `i` of output
//! ciphertext `out_ct` (Halevi and Shoup, CRYPTO 2014). Only non-zero diagonals exist.
//!
//! Placement: let the fold's steps be `q, 2q, .., F/2` (`F = q` = the output's period without a fold). After the fold,
//! slot `c` of the result holds the sum over slots `c, c + q, ..` of its block of `F` slots. So a product may stand in
//! any of them, and is put where its rotation is `(from - to) mod q` (modulo the input's period): with `F` at least the
//! input's period, at most `q` distinct rotations arise, and no choice gives fewer.

use super::{Kernel, Layout, SparseMatrix};
use crate::constant::ConstantPool;
use crate::error::IrError;
use crate::origin::Origin;
use std::collections::BTreeMap;

/// Position of a generalised diagonal in the block matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DiagonalKey {
    /// Ciphertext of the result.
    pub out_ct: usize,
    /// Ciphertext of the operand.
    pub in_ct: usize,
    /// Rotation of the operand, below the rotation period.
    pub rotation: usize,
}

/// The non-zero diagonals of a kernel, without values: all that a cost model needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiagonalSet {
    /// Slots per ciphertext.
    pub slots: usize,
    /// Rotations count modulo this, a power of two that divides the slots.
    pub rotation_period: usize,
    /// Diagonals, ascending.
    pub keys: Vec<DiagonalKey>,
}

/// The non-zero diagonals of a kernel with their values.
#[derive(Clone, Debug)]
pub struct Diagonals {
    /// Slots per ciphertext.
    pub slots: usize,
    /// Values repeat with this period, a power of two that divides the slots; every vector of values has this length.
    pub period: usize,
    /// Rotations count modulo this, a power of two that divides the period.
    pub rotation_period: usize,
    /// Values by position.
    pub values: BTreeMap<DiagonalKey, Vec<f64>>,
    /// Whether a rotation that differs by a multiple of the rotation period needs the values moved along with it.
    follows_rotation: bool,
}

impl Diagonals {
    /// The diagonals of `kernel` for an operand of layout `input`. O(non-zeros + diagonals * period).
    ///
    /// # Errors
    /// When a weight cannot be read, shapes or slots differ, or the fold's steps are not `q, 2q, 4q, ..` with `q` a
    /// multiple of the output's period.
    pub fn new(kernel: &Kernel, input: &Layout, constants: &ConstantPool) -> Result<Self, IrError> {
        let matrix = SparseMatrix::new(&kernel.map, constants)?;
        Diagonals::of_matrix(&matrix, input, &kernel.output, &kernel.fold)
    }

    /// The diagonals of a matrix between two layouts, before the rotate-and-sum `fold`.
    ///
    /// # Errors
    /// When shapes or slots differ, or the fold is none that [`Diagonals::new`] accepts.
    pub fn of_matrix(matrix: &SparseMatrix, input: &Layout, output: &Layout, fold: &[usize]) -> Result<Self, IrError> {
        let placement = Placement::new(matrix, input, output, fold)?;
        let mut index = vec![u32::MAX; placement.n_positions()];
        let mut positions = Vec::new();
        let mut values: Vec<Vec<f64>> = Vec::new();
        placement.visit(matrix, |position, slot, coefficient| {
            if index[position] == u32::MAX {
                index[position] = values.len() as u32;
                positions.push(position);
                values.push(vec![0.0; placement.period]);
            }
            values[index[position] as usize][slot] += coefficient;
        });
        let keys = positions.iter().map(|&position| placement.key(position));
        Ok(Diagonals {
            slots: input.slots,
            period: placement.period,
            rotation_period: placement.rotation_period,
            values: keys.zip(values).collect(),
            follows_rotation: placement.follows_rotation(),
        })
    }

    /// The positions alone.
    pub fn set(&self) -> DiagonalSet {
        DiagonalSet {
            slots: self.slots,
            rotation_period: self.rotation_period,
            keys: self.values.keys().copied().collect(),
        }
    }

    /// The plaintext of a diagonal under a baby-step/giant-step split: with `u` the result,
    /// `rotate(u * rotate(x, baby), giant)` is the diagonal's contribution. One period of values; none when there is no
    /// such diagonal, or `baby + giant` is not its rotation modulo the rotation period.
    pub fn plaintext(&self, key: DiagonalKey, baby: usize, giant: usize) -> Option<Vec<f64>> {
        let values = self.values.get(&key)?;
        if (baby + giant) % self.rotation_period != key.rotation {
            return None;
        }
        // u[i] = v[i - giant], and v moves by baby + giant - rotation where it follows.
        let start = if self.follows_rotation {
            baby.wrapping_sub(key.rotation)
        } else {
            giant.wrapping_neg()
        };
        let (tail, head) = values.split_at(start & (self.period - 1));
        Some([head, tail].concat())
    }
}

impl DiagonalSet {
    /// The positions of the diagonals of a matrix between two layouts. O(non-zeros + ciphertext pairs * rotations).
    ///
    /// # Errors
    /// As [`Diagonals::of_matrix`].
    pub fn of_matrix(matrix: &SparseMatrix, input: &Layout, output: &Layout, fold: &[usize]) -> Result<Self, IrError> {
        let placement = Placement::new(matrix, input, output, fold)?;
        let mut is_present = vec![false; placement.n_positions()];
        placement.visit(matrix, |position, _, _| is_present[position] = true);
        let present = |position: &usize| is_present[*position];
        Ok(DiagonalSet {
            slots: input.slots,
            rotation_period: placement.rotation_period,
            keys: (0..is_present.len())
                .filter(present)
                .map(|position| placement.key(position))
                .collect(),
        })
    }
}

/// Whether the placement knows what to do with a fold: its steps double, from a power of two not below the output's
/// period, and end within the slots.
pub(super) fn check_fold(fold: &[usize], output: &Layout) -> Result<(), String> {
    let doubles = fold.windows(2).all(|pair| pair[1] / 2 == pair[0]);
    let is_first_ok = fold
        .first()
        .is_none_or(|first| first.is_power_of_two() && *first >= output.period);
    let is_last_ok = fold.last().is_none_or(|last| *last <= output.slots / 2);
    if doubles && is_first_ok && is_last_ok {
        return Ok(());
    }
    Err(format!(
        "the fold {fold:?} must double from a power of two, not below the output's period {}, up to half the {} slots",
        output.period, output.slots
    ))
}

/// Where products stand. All moduli are powers of two.
struct Placement {
    in_addresses: Vec<u32>,
    out_addresses: Vec<u32>,
    in_period: usize,
    in_cts: usize,
    out_period: usize,
    out_cts: usize,
    /// q: the fold's first step.
    step: usize,
    /// F: twice the fold's last step.
    block: usize,
    /// Period of the matrix's values.
    period: usize,
    rotation_period: usize,
}

impl Placement {
    fn new(matrix: &SparseMatrix, input: &Layout, output: &Layout, fold: &[usize]) -> Result<Self, IrError> {
        let invalid = |message: String| Err(IrError::interpret(&Origin::new("", "linear"), message));
        if matrix.input != input.shape || matrix.output != output.shape || input.slots != output.slots {
            return invalid(format!(
                "a map {:?} -> {:?} does not fit layouts of {:?} x {} and {:?} x {}",
                matrix.input, matrix.output, input.shape, input.slots, output.shape, output.slots
            ));
        }
        let (step, block) = match (fold.first(), fold.last()) {
            (Some(&first), Some(&last)) => (first, 2 * last),
            _ => (output.period, output.period),
        };
        if let Err(message) = check_fold(fold, output) {
            return invalid(message);
        }
        let is_one_block = block >= input.period;
        Ok(Placement {
            in_addresses: input.addresses(),
            out_addresses: output.addresses(),
            in_period: input.period,
            in_cts: input.cts,
            out_period: output.period,
            out_cts: output.cts,
            step,
            block,
            period: block.max(input.period),
            rotation_period: if is_one_block {
                step.min(input.period)
            } else {
                input.period
            },
        })
    }

    fn follows_rotation(&self) -> bool {
        self.rotation_period < self.in_period
    }

    fn n_positions(&self) -> usize {
        self.out_cts * self.in_cts * self.rotation_period
    }

    fn key(&self, position: usize) -> DiagonalKey {
        let pair = position / self.rotation_period;
        DiagonalKey {
            out_ct: pair / self.in_cts,
            in_ct: pair % self.in_cts,
            rotation: position % self.rotation_period,
        }
    }

    /// Calls `visit(position of the diagonal, slot, coefficient)` for every product.
    fn visit(&self, matrix: &SparseMatrix, mut visit: impl FnMut(usize, usize, f64)) {
        for (out, &to) in self.out_addresses.iter().enumerate() {
            let to = to as usize;
            let (out_ct, to) = (to / self.out_period, to & (self.out_period - 1));
            let (columns, coefficients) = matrix.row(out);
            for copy in (to..self.step).step_by(self.out_period) {
                for (&column, &coefficient) in columns.iter().zip(coefficients) {
                    let from = self.in_addresses[column as usize] as usize;
                    let (in_ct, from) = (from / self.in_period, from & (self.in_period - 1));
                    let pair = (out_ct * self.in_cts + in_ct) * self.rotation_period;
                    let least = from.wrapping_sub(copy) & (self.step - 1);
                    let in_block = from.wrapping_sub(least) & (self.block - 1);
                    for block in (0..self.period).step_by(self.block) {
                        let slot = block + in_block;
                        let rotation = from.wrapping_sub(slot) & (self.rotation_period - 1);
                        visit(pair + rotation, slot, coefficient);
                    }
                }
            }
        }
    }
}
