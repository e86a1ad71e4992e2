//! Where the products of a kernel stand in slots, and at which rotation of the operand.
//!
//! Let the fold's steps be `q, 2q, .., F/2` (`F = q` = the output's period without a fold). After the fold, slot `c` of the
//! result holds the sum over slots `c, c + q, ..` of its block of `F` slots. So a product may stand in any of them, and is
//! put where its rotation is `(from - to) mod q` (modulo the input's period): with `F` at least the input's period, at
//! most `q` distinct rotations arise, and no choice gives fewer.

use super::{DiagonalKey, Layout};
use crate::error::IrError;
use crate::origin::Origin;

/// Whether the placement knows what to do with a fold: its steps double, from a power of two not below the output's
/// period, and end within the slots.
pub(crate) fn check_fold(fold: &[usize], output: &Layout) -> Result<(), String> {
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

/// The moduli of a placement; all are powers of two.
pub(crate) struct Frame {
    pub(crate) in_period: usize,
    pub(crate) in_cts: usize,
    pub(crate) out_period: usize,
    pub(crate) out_cts: usize,
    /// q: the fold's first step.
    pub(crate) step: usize,
    /// F: twice the fold's last step.
    pub(crate) block: usize,
    /// Period of the matrix's values.
    pub(crate) period: usize,
    pub(crate) rotation_period: usize,
}

impl Frame {
    /// For a map of these shapes.
    pub(crate) fn new(
        shapes: (&[usize], &[usize]),
        input: &Layout,
        output: &Layout,
        fold: &[usize],
    ) -> Result<Self, IrError> {
        let invalid = |message: String| Err(IrError::interpret(&Origin::new("", "linear"), message));
        if shapes.0 != input.shape || shapes.1 != output.shape || input.slots != output.slots {
            return invalid(format!(
                "a map {:?} -> {:?} does not fit layouts of {:?} x {} and {:?} x {}",
                shapes.0, shapes.1, input.shape, input.slots, output.shape, output.slots
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
        Ok(Frame {
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

    /// Whether the values of a diagonal move with the rotation when that changes by a multiple of its period.
    pub(crate) fn follows_rotation(&self) -> bool {
        self.rotation_period < self.in_period
    }

    pub(crate) fn n_positions(&self) -> usize {
        self.out_cts * self.in_cts * self.rotation_period
    }

    pub(crate) fn key(&self, position: usize) -> DiagonalKey {
        let pair = position / self.rotation_period;
        DiagonalKey {
            out_ct: pair / self.in_cts,
            in_ct: pair % self.in_cts,
            rotation: position % self.rotation_period,
        }
    }

    /// The place of `met` among all diagonals.
    #[inline]
    pub(crate) fn position(&self, met: Met) -> usize {
        (met.out_ct * self.in_cts + met.in_ct) * self.rotation_period + met.rotation
    }

    /// Visits every product of the element at address `from` of the input in the element at address `to` of the output.
    /// Runs for every non-zero: without divisions.
    #[inline]
    pub(crate) fn visit(&self, to: u32, from: u32, mut visit: impl FnMut(Met)) {
        let (to, from) = (to as usize, from as usize);
        let (out_ct, in_ct) = (
            to >> self.out_period.trailing_zeros(),
            from >> self.in_period.trailing_zeros(),
        );
        let from = from & (self.in_period - 1);
        let mut copy = to & (self.out_period - 1);
        while copy < self.step {
            let least = from.wrapping_sub(copy) & (self.step - 1);
            let in_block = from.wrapping_sub(least) & (self.block - 1);
            let mut block = 0;
            while block < self.period {
                let slot = block + in_block;
                let rotation = from.wrapping_sub(slot) & (self.rotation_period - 1);
                visit(Met {
                    out_ct,
                    in_ct,
                    rotation,
                    slot,
                });
                block += self.block;
            }
            copy += self.out_period;
        }
    }
}

/// Where an element of the input meets one of the output.
#[derive(Clone, Copy)]
pub(crate) struct Met {
    pub(crate) out_ct: usize,
    pub(crate) in_ct: usize,
    /// Of the operand, below the rotation period.
    pub(crate) rotation: usize,
    /// Of the diagonal, below the period.
    pub(crate) slot: usize,
}
