//! A linear map as a sparse matrix in compressed-row form, for those who need its non-zeros more than once.

use super::{LinearMap, Rows};
use crate::constant::ConstantPool;
use crate::error::IrError;
use rayon::prelude::*;

/// Rows that one task enumerates.
const ROWS_PER_TASK: usize = 256;

/// The non-zeros of a linear map, row by row. Indices are row-major positions in the tensors.
#[derive(Clone, Debug)]
pub struct SparseMatrix {
    /// Shape of the input tensor.
    pub input: Vec<usize>,
    /// Shape of the output tensor.
    pub output: Vec<usize>,
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f64>,
}

impl SparseMatrix {
    /// All rows of `map`. O(non-zeros) time and space.
    ///
    /// # Errors
    /// When shapes do not fit, or a weight cannot be read.
    pub fn new(map: &LinearMap, constants: &ConstantPool) -> Result<Self, IrError> {
        let rows = Rows::new(map, constants)?;
        let n_rows: usize = rows.output().iter().product();
        let chunks: Vec<(Vec<usize>, Vec<u32>, Vec<f64>)> = (0..n_rows.div_ceil(ROWS_PER_TASK))
            .into_par_iter()
            .map(|chunk| {
                let mut cursor = rows.cursor();
                let (mut lens, mut columns, mut values) = (Vec::new(), Vec::new(), Vec::new());
                for out in chunk * ROWS_PER_TASK..n_rows.min((chunk + 1) * ROWS_PER_TASK) {
                    let row = cursor.row(out);
                    lens.push(row.len());
                    columns.extend(row.iter().map(|(column, _)| *column as u32));
                    values.extend(row.iter().map(|(_, value)| *value));
                }
                (lens, columns, values)
            })
            .collect();
        let mut matrix = SparseMatrix {
            input: rows.input().to_vec(),
            output: rows.output().to_vec(),
            starts: vec![0],
            columns: Vec::new(),
            values: Vec::new(),
        };
        let mut end = 0;
        for (lens, columns, values) in chunks {
            for len in lens {
                end += len;
                matrix.starts.push(end);
            }
            matrix.columns.extend(columns);
            matrix.values.extend(values);
        }
        Ok(matrix)
    }

    /// Number of rows: elements of the output.
    pub fn n_rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of non-zeros.
    pub fn n_non_zeros(&self) -> usize {
        self.columns.len()
    }

    /// Columns, ascending, and coefficients of row `out`.
    pub fn row(&self, out: usize) -> (&[u32], &[f64]) {
        let range = self.starts[out]..self.starts[out + 1];
        (&self.columns[range.clone()], &self.values[range])
    }

    /// The product with a row-major tensor.
    ///
    /// # Panics
    /// When `x` has fewer elements than the input.
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        let dot = |out: usize| {
            let (columns, values) = self.row(out);
            columns
                .iter()
                .zip(values)
                .map(|(&column, value)| value * x[column as usize])
                .sum()
        };
        (0..self.n_rows()).map(dot).collect()
    }
}
