//! Plain tensors and matrices in slots.

use aphelion_ir::ConstantPool;
use aphelion_ir::ckks::Bsgs;
use aphelion_ir::slot::{DiagonalKey, Diagonals, Kernel, Layout, PlainTensor};
use aphelion_runtime::plan::{ConstantVector, ConstantWriter, Diagonal, Transform, VectorId};
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
    diagonals: Vec<(Diagonal, ConstantVector)>,
}

impl Matrix {
    /// The matrix of `kernel`. A ciphertext of the result that no weight reaches gets a diagonal of zeros.
    pub(super) fn new(kernel: &Kernel, input: &Layout, bsgs: &Bsgs, pool: &ConstantPool) -> Result<Self, BackendError> {
        let mut matrix = Diagonals::new(kernel, input, pool)?;
        let mut is_reached = vec![false; kernel.output.cts];
        matrix.values.keys().for_each(|key| is_reached[key.out_ct] = true);
        let values = std::mem::take(&mut matrix.values);
        let diagonal = |(key, mut values): (DiagonalKey, Vec<f64>)| {
            let split = bsgs.split(key.rotation, matrix.rotation_period);
            let found = split.and_then(|(baby, giant)| Some((baby, giant, matrix.plaintext_start(key, baby, giant)?)));
            let (baby, giant, start) = found.ok_or_else(|| {
                BackendError::Unfinished(format!(
                    "no baby and giant step add up to rotation {} modulo {}",
                    key.rotation, matrix.rotation_period
                ))
            })?;
            values.rotate_left(start);
            Ok((at(key.out_ct, giant, key.in_ct, baby), ConstantVector::new(values)?))
        };
        let mut diagonals: Vec<(Diagonal, ConstantVector)> = values
            .into_par_iter()
            .map(diagonal)
            .collect::<Result<_, BackendError>>()?;
        for out in (0..kernel.output.cts).filter(|out| !is_reached[*out]) {
            diagonals.push((at(out, 0, 0, 0), ConstantVector::new(vec![0.0])?));
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
        let add = |(diagonal, values): (Diagonal, ConstantVector)| {
            let vector = constants.add_vector(values)?;
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
