//! Small dense linear algebra: a square solve for exchange steps and a QR factorisation for least squares.

/// Solves the square row-major system `matrix * x = rhs` in place by Gaussian elimination with partial pivoting and
/// leaves the solution in `rhs`. Returns false where the matrix is singular to working precision.
pub(super) fn solve_in_place(matrix: &mut [f64], rhs: &mut [f64]) -> bool {
    let n = rhs.len();
    debug_assert_eq!(matrix.len(), n * n);
    for col in 0..n {
        let pivot = (col..n).fold(col, |best, row| {
            if matrix[row * n + col].abs() > matrix[best * n + col].abs() {
                row
            } else {
                best
            }
        });
        let pivot_value = matrix[pivot * n + col];
        if pivot_value == 0.0 || !pivot_value.is_finite() {
            return false;
        }
        if pivot != col {
            for k in col..n {
                matrix.swap(col * n + k, pivot * n + k);
            }
            rhs.swap(col, pivot);
        }
        let (above, below) = matrix.split_at_mut((col + 1) * n);
        let pivot_row = &above[col * n + col..];
        for (row_idx, row) in below.chunks_exact_mut(n).enumerate() {
            let factor = row[col] / pivot_value;
            if factor != 0.0 {
                for (entry, pivot_entry) in row[col..].iter_mut().zip(pivot_row) {
                    *entry -= factor * pivot_entry;
                }
                rhs[col + 1 + row_idx] -= factor * rhs[col];
            }
        }
    }
    back_substitute(rhs, |row, col| matrix[row * n + col]);
    rhs.iter().all(|x| x.is_finite())
}

/// Solves the upper triangular system given by `entry(row, col)` in place.
fn back_substitute(rhs: &mut [f64], entry: impl Fn(usize, usize) -> f64) {
    for row in (0..rhs.len()).rev() {
        let known: f64 = (row + 1..rhs.len()).map(|col| entry(row, col) * rhs[col]).sum();
        rhs[row] = (rhs[row] - known) / entry(row, row);
    }
}

/// Householder QR factorisation of a tall matrix with one right-hand side. The factorisation of the first k columns is
/// contained in it, so one factorisation serves the least-squares problems of all leading column counts.
pub(super) struct NestedQr {
    n_rows: usize,
    /// Column-major; the upper triangle holds R.
    columns: Vec<f64>,
    /// Q^T times the right-hand side.
    rotated_rhs: Vec<f64>,
}

impl NestedQr {
    /// Factorises the column-major `columns` of `rhs.len()` rows, which are at least as many as the columns.
    pub(super) fn new(mut columns: Vec<f64>, mut rhs: Vec<f64>) -> Self {
        let n_rows = rhs.len();
        let n_cols = columns.len() / n_rows;
        debug_assert!(n_rows >= n_cols);
        let mut reflector = vec![0.0; n_rows];
        for col in 0..n_cols {
            let (done, rest) = columns.split_at_mut((col + 1) * n_rows);
            let pivot = &mut done[col * n_rows + col..];
            let norm = pivot.iter().map(|x| x * x).sum::<f64>().sqrt();
            if norm == 0.0 {
                continue;
            }
            let alpha = if pivot[0] > 0.0 { -norm } else { norm };
            let v = &mut reflector[..n_rows - col];
            v.copy_from_slice(pivot);
            v[0] -= alpha;
            let half_norm_squared = norm * (norm + pivot[0].abs());
            pivot.fill(0.0);
            pivot[0] = alpha;
            for other in rest.chunks_exact_mut(n_rows) {
                reflect(&mut other[col..], v, half_norm_squared);
            }
            reflect(&mut rhs[col..], v, half_norm_squared);
        }
        Self {
            n_rows,
            columns,
            rotated_rhs: rhs,
        }
    }

    /// Least-squares solution that uses the first `n_cols` columns.
    pub(super) fn solve(&self, n_cols: usize) -> Vec<f64> {
        let mut solution = self.rotated_rhs[..n_cols].to_vec();
        back_substitute(&mut solution, |row, col| self.columns[col * self.n_rows + row]);
        solution
    }
}

/// Applies I - v v^T / half_norm_squared.
fn reflect(x: &mut [f64], v: &[f64], half_norm_squared: f64) {
    let factor = x.iter().zip(v).map(|(a, b)| a * b).sum::<f64>() / half_norm_squared;
    for (a, b) in x.iter_mut().zip(v) {
        *a -= factor * b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_a_system_that_needs_pivoting() {
        let mut matrix = vec![0.0, 2.0, 1.0, 1.0, 1.0, 0.0, 3.0, 0.0, -1.0];
        let mut rhs = vec![7.0, 3.0, 0.0];
        assert!(solve_in_place(&mut matrix, &mut rhs));
        for (x, expected) in rhs.iter().zip([1.0, 2.0, 3.0]) {
            assert!((x - expected).abs() < 1e-14);
        }
    }

    #[test]
    fn reports_a_singular_system() {
        assert!(!solve_in_place(&mut [1.0, 2.0, 2.0, 4.0], &mut [1.0, 1.0]));
    }

    #[test]
    fn nested_solutions_satisfy_the_normal_equations() {
        let n_rows = 9;
        let column = |power: i32| (0..n_rows).map(move |row| f64::from(row as i32 - 4).powi(power));
        let columns: Vec<f64> = (0..4).flat_map(column).collect();
        let rhs: Vec<f64> = (0..n_rows).map(|row| libm::sin(row as f64)).collect();
        let qr = NestedQr::new(columns.clone(), rhs.clone());
        for n_cols in 1..=4 {
            let solution = qr.solve(n_cols);
            let residual: Vec<f64> = (0..n_rows)
                .map(|row| {
                    rhs[row]
                        - (0..n_cols)
                            .map(|col| columns[col * n_rows + row] * solution[col])
                            .sum::<f64>()
                })
                .collect();
            for col in 0..n_cols {
                let inner: f64 = residual.iter().zip(&columns[col * n_rows..]).map(|(r, c)| r * c).sum();
                assert!(inner.abs() < 1e-11, "{n_cols} columns, inner product {inner}");
            }
        }
    }
}
