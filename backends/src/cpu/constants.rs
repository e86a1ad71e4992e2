//! Plain tensors and matrices in slots.

use aphelion_ir::ConstantPool;
use aphelion_ir::ckks::Bsgs;
use aphelion_ir::slot::{Diagonals, Kernel, Layout, PlainTensor};
use aphelion_runtime::plan::{ConstantWriter, Diagonal, Transform, VectorId};

use crate::error::BackendError;

/// The vectors of a plain tensor, one per ciphertext of `layout`.
pub(super) fn plain(
    constants: &mut ConstantWriter,
    value: &PlainTensor,
    layout: &Layout,
    pool: &ConstantPool,
) -> Result<Vec<VectorId>, BackendError> {
    let contents = layout.pack(&value.values(&layout.shape, pool)?);
    Ok(contents
        .iter()
        .map(|slots| constants.add(slots))
        .collect::<Result<_, _>>()?)
}

/// A kernel's matrix in baby-step/giant-step form. A ciphertext of the result that no weight reaches gets a diagonal of
/// zeros.
pub(super) fn transform(
    constants: &mut ConstantWriter,
    kernel: &Kernel,
    input: &Layout,
    bsgs: &Bsgs,
    pool: &ConstantPool,
) -> Result<Transform, BackendError> {
    let matrix = Diagonals::new(kernel, input, pool)?;
    let mut diagonals = Vec::with_capacity(matrix.values.len());
    for &key in matrix.values.keys() {
        let split = bsgs.split(key.rotation, matrix.rotation_period);
        let values = split.and_then(|(baby, giant)| Some((baby, giant, matrix.plaintext(key, baby, giant)?)));
        let (baby, giant, values) = values.ok_or_else(|| {
            BackendError::Unfinished(format!(
                "no baby and giant step add up to rotation {} modulo {}",
                key.rotation, matrix.rotation_period
            ))
        })?;
        diagonals.push(Diagonal {
            out: key.out_ct,
            giant,
            input: key.in_ct,
            baby,
            vector: constants.add(&values)?,
        });
    }
    for out in 0..kernel.output.cts {
        if diagonals.iter().all(|diagonal| diagonal.out != out) {
            diagonals.push(Diagonal {
                out,
                giant: 0,
                input: 0,
                baby: 0,
                vector: constants.add(&[0.0])?,
            });
        }
    }
    diagonals.sort_unstable();
    Ok(Transform {
        slots: input.slots,
        n_inputs: input.cts,
        n_outputs: kernel.output.cts,
        diagonals,
    })
}
