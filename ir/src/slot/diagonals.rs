//! The matrix of a kernel in slots, as generalised diagonals: what a linear transform multiplies and rotates.
//!
//! A diagonal `(out_ct, in_ct, rotation)` with values `v` adds `v[i] * x[in_ct][i + rotation]` to slot `i` of output
//! ciphertext `out_ct` (Halevi and Shoup, CRYPTO 2014). Only non-zero diagonals exist.

use super::placement::Frame;
use super::{DiagonalSet, Kernel, Layout, Rows};
use crate::constant::ConstantPool;
use crate::error::IrError;
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
        let rows = Rows::new(&kernel.map, constants)?;
        Diagonals::of_rows(&rows, input, &kernel.output, &kernel.fold)
    }

    /// The diagonals of a matrix between two layouts, before the rotate-and-sum `fold`. Rows are not kept.
    ///
    /// # Errors
    /// When shapes or slots differ, or the fold is none that [`Diagonals::new`] accepts.
    pub fn of_rows(rows: &Rows, input: &Layout, output: &Layout, fold: &[usize]) -> Result<Self, IrError> {
        let frame = Frame::new((rows.input(), rows.output()), input, output, fold)?;
        let (in_addresses, out_addresses) = (input.addresses(), output.addresses());
        let mut index = vec![u32::MAX; frame.n_positions()];
        let mut positions = Vec::new();
        let mut values: Vec<Vec<f64>> = Vec::new();
        let mut cursor = rows.cursor();
        for (out, &to) in out_addresses.iter().enumerate() {
            for &(column, coefficient) in cursor.unsorted(out) {
                frame.visit(to, in_addresses[column], |met| {
                    let position = frame.position(met);
                    if index[position] == u32::MAX {
                        index[position] = values.len() as u32;
                        positions.push(position);
                        values.push(vec![0.0; frame.period]);
                    }
                    values[index[position] as usize][met.slot] += coefficient;
                });
            }
        }
        let keys = positions.iter().map(|&position| frame.key(position));
        Ok(Diagonals {
            slots: input.slots,
            period: frame.period,
            rotation_period: frame.rotation_period,
            values: keys.zip(values).collect(),
            follows_rotation: frame.follows_rotation(),
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
        let (tail, head) = values.split_at(self.plaintext_start(key, baby, giant)?);
        Some([head, tail].concat())
    }

    /// Where the plaintext of a diagonal begins among the diagonal's values, and goes on cyclically from; see
    /// [`Diagonals::plaintext`].
    pub fn plaintext_start(&self, key: DiagonalKey, baby: usize, giant: usize) -> Option<usize> {
        if (baby + giant) % self.rotation_period != key.rotation {
            return None;
        }
        // u[i] = v[i - giant], and v moves by baby + giant - rotation where it follows.
        let start = if self.follows_rotation {
            baby.wrapping_sub(key.rotation)
        } else {
            giant.wrapping_neg()
        };
        Some(start & (self.period - 1))
    }
}
