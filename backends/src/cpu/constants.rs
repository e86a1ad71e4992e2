//! Plain tensors and matrices in slots.

use aphelion_ir::ConstantPool;
use aphelion_ir::ckks::Bsgs;
use aphelion_ir::slot::{DiagonalKey, Diagonals, Kernel, Layout, PlainTensor};
use aphelion_runtime::plan::{ConstantWriter, Diagonal, Transform, VectorId};
use rayon::prelude::*;

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

/// A kernel's matrix in baby-step/giant-step form, as numbers.
pub(super) struct Matrix {
    slots: usize,
    n_inputs: usize,
    n_outputs: usize,
    /// Diagonals by their place, `vector` left out, with their values.
    diagonals: Vec<(Diagonal, Vec<f64>)>,
}

impl Matrix {
    /// The matrix of `kernel`. A ciphertext of the result that no weight reaches gets a diagonal of zeros.
    pub(super) fn new(kernel: &Kernel, input: &Layout, bsgs: &Bsgs, pool: &ConstantPool) -> Result<Self, BackendError> {
        let matrix = Diagonals::new(kernel, input, pool)?;
        let keys: Vec<DiagonalKey> = matrix.values.keys().copied().collect();
        let diagonal = |key: &DiagonalKey| {
            let split = bsgs.split(key.rotation, matrix.rotation_period);
            let values = split.and_then(|(baby, giant)| Some((baby, giant, matrix.plaintext(*key, baby, giant)?)));
            let (baby, giant, values) = values.ok_or_else(|| {
                BackendError::Unfinished(format!(
                    "no baby and giant step add up to rotation {} modulo {}",
                    key.rotation, matrix.rotation_period
                ))
            })?;
            Ok((at(key.out_ct, giant, key.in_ct, baby), values))
        };
        let mut diagonals: Vec<(Diagonal, Vec<f64>)> =
            keys.par_iter().map(diagonal).collect::<Result<_, BackendError>>()?;
        for out in 0..kernel.output.cts {
            if keys.iter().all(|key| key.out_ct != out) {
                diagonals.push((at(out, 0, 0, 0), vec![0.0]));
            }
        }
        Ok(Matrix {
            slots: input.slots,
            n_inputs: input.cts,
            n_outputs: kernel.output.cts,
            diagonals,
        })
    }

    /// The same as part of a plan, which keeps the numbers.
    pub(super) fn transform(self, constants: &mut ConstantWriter) -> Result<Transform, BackendError> {
        let add = |(diagonal, values): (Diagonal, Vec<f64>)| {
            let vector = constants.add(&values)?;
            Ok(Diagonal { vector, ..diagonal })
        };
        let diagonals = self.diagonals.into_iter().map(add);
        let mut diagonals = diagonals.collect::<Result<Vec<Diagonal>, BackendError>>()?;
        diagonals.sort_unstable();
        Ok(Transform {
            slots: self.slots,
            n_inputs: self.n_inputs,
            n_outputs: self.n_outputs,
            diagonals,
        })
    }
}

/// A diagonal whose numbers have no place yet.
fn at(out: usize, giant: usize, input: usize, baby: usize) -> Diagonal {
    Diagonal {
        out,
        giant,
        input,
        baby,
        vector: VectorId(0),
    }
}
