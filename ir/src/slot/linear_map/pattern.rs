//! Where the non-zeros of a linear map are, without their values: all that counting diagonals needs.
//!
//! Method: a convolution's channel of the input depends on the channel of the output only, its row on the row only, and so
//!         on. So the non-zeros are a product of relations between single axes, which compositions keep; address
//!         differences between layouts are then sums over the axes, and nothing as large as the non-zeros is ever made.
//!         Maps without such a structure are enumerated row by row.
//! Source: ours; it does for the non-zeros of convolutions what polyhedral compilers do for loop nests.

use super::relation::{self, Product};
use super::{LinearMap, Rows};
use crate::constant::ConstantPool;
use crate::error::IrError;
use rayon::prelude::*;

/// A sum of more products than this is enumerated instead.
const MAX_PRODUCTS: usize = 64;

/// Rows that one task enumerates.
const ROWS_PER_TASK: usize = 256;

/// The non-zeros of a linear map.
pub struct Pattern<'a> {
    /// Shape of the input tensor.
    pub input: Vec<usize>,
    /// Shape of the output tensor.
    pub output: Vec<usize>,
    pub(in crate::slot) form: PatternForm,
    /// The map itself, where products may not do.
    map: LinearMap,
    constants: &'a ConstantPool,
}

pub(in crate::slot) enum PatternForm {
    /// In one of these.
    Products(Vec<Product>),
    /// As the rows say.
    Rows(Box<Rows>),
}

impl<'a> Pattern<'a> {
    /// The pattern of `map` as if no weight were zero but for whole channels and taps, and no sum of products of weights
    /// vanished: it may say a little too much. O(weights).
    ///
    /// # Errors
    /// When shapes do not fit, or a weight cannot be read.
    pub fn new(map: &LinearMap, constants: &'a ConstantPool) -> Result<Self, IrError> {
        Pattern::of(map, constants, false)
    }

    /// The pattern of `map`, exactly. O(weights); where maps with zero weights or sums of products are composed,
    /// O(non-zeros) for every question.
    ///
    /// # Errors
    /// When shapes do not fit, or a weight cannot be read.
    pub fn exact(map: &LinearMap, constants: &'a ConstantPool) -> Result<Self, IrError> {
        Pattern::of(map, constants, true)
    }

    fn of(map: &LinearMap, constants: &'a ConstantPool, exactly: bool) -> Result<Self, IrError> {
        let (input, output) = super::checked_shapes(map, constants)?;
        let products = Products::new(map, constants, exactly)?.filter(|products| products.is_exact || !exactly);
        let form = match products {
            Some(products) => PatternForm::Products(products.products),
            None => PatternForm::Rows(Box::new(Rows::new(map, constants)?)),
        };
        Ok(Pattern {
            input,
            output,
            form,
            map: map.clone(),
            constants,
        })
    }

    /// The rows of the map, for a question that products do not answer.
    pub(in crate::slot) fn rows(&self) -> Result<Rows, IrError> {
        Rows::new(&self.map, self.constants)
    }

    /// Number of non-zeros; where products overlap, they count several times.
    pub fn n_non_zeros(&self) -> usize {
        match &self.form {
            PatternForm::Products(products) => {
                let size = |relation: &relation::Relation| match relation {
                    relation::Relation::In { indices, .. } | relation::Relation::Out { indices, .. } => indices.len(),
                    relation::Relation::Both { pairs, .. } => pairs.len(),
                };
                let sizes = products
                    .iter()
                    .map(|product| product.iter().map(size).product::<usize>());
                sizes.sum()
            }
            PatternForm::Rows(rows) => {
                let n_rows: usize = self.output.iter().product();
                let tasks = (0..n_rows.div_ceil(ROWS_PER_TASK)).into_par_iter();
                let count = |task: usize| {
                    let mut cursor = rows.cursor();
                    let rows = task * ROWS_PER_TASK..n_rows.min((task + 1) * ROWS_PER_TASK);
                    rows.map(|row| cursor.unsorted(row).len()).sum::<usize>()
                };
                tasks.map(count).sum()
            }
        }
    }
}

struct Products {
    products: Vec<Product>,
    is_exact: bool,
    is_monomial: bool,
}

impl Products {
    fn new(map: &LinearMap, constants: &ConstantPool, exactly: bool) -> Result<Option<Self>, IrError> {
        let (input, output) = super::checked_shapes(map, constants)?;
        match map {
            LinearMap::Compose { maps } => Products::composed(maps, constants, exactly),
            LinearMap::Each { n, map } => {
                let one = Products::new(map, constants, exactly)?;
                Ok(one.map(|one| Products {
                    products: one.products.iter().map(|product| relation::each(*n, product)).collect(),
                    ..one
                }))
            }
            LinearMap::Sum { maps } => {
                let mut products = Vec::new();
                for map in maps {
                    let Some(summand) = Products::new(map, constants, exactly)? else {
                        return Ok(None);
                    };
                    products.extend(summand.products);
                }
                // Summands may cancel each other.
                Ok(Some(Products {
                    products,
                    is_exact: false,
                    is_monomial: false,
                })
                .filter(|sum| sum.products.len() <= MAX_PRODUCTS))
            }
            LinearMap::Reshape { .. } => {
                let identity: Option<Vec<Product>> = relation::identities(&output).into_iter().collect();
                let product = identity.and_then(|axes| relation::through_reshape(&input, &output, &axes.concat()));
                Ok(product.map(|product| Products {
                    products: vec![product],
                    is_exact: true,
                    is_monomial: true,
                }))
            }
            map => {
                let leaf = relation::leaf(map, &input, &output, constants, exactly)?;
                Ok(leaf.map(|leaf| Products {
                    products: leaf.products,
                    is_exact: leaf.is_exact,
                    is_monomial: leaf.is_monomial,
                }))
            }
        }
    }

    /// From the last map to the first.
    fn composed(maps: &[LinearMap], constants: &ConstantPool, exactly: bool) -> Result<Option<Self>, IrError> {
        let Some((last, earlier)) = maps.split_last() else {
            return Ok(None);
        };
        let Some(mut all) = Products::new(last, constants, exactly)? else {
            return Ok(None);
        };
        for map in earlier.iter().rev() {
            let products: Option<Vec<Product>> = if let LinearMap::Reshape { input, output } = map {
                let moved = |product| relation::through_reshape(input, output, product);
                all.products.iter().map(moved).collect()
            } else {
                let Some(first) = Products::new(map, constants, exactly)? else {
                    return Ok(None);
                };
                let pairs = first.products.iter().flat_map(|first| {
                    let after = all.products.iter();
                    after.map(move |later| relation::compose(first, later))
                });
                let composed: Vec<relation::Composed> = pairs.flatten().collect();
                // Two maps with sums may cancel in part, unless every output reaches its inputs in one way only.
                let has_one_way = first.products.len() * all.products.len() == 1
                    && composed.iter().all(|composed| composed.has_one_way);
                all.is_exact &= first.is_exact && (first.is_monomial || has_one_way || all.is_monomial);
                all.is_monomial &= first.is_monomial;
                Some(composed.into_iter().map(|composed| composed.product).collect())
            };
            match products {
                Some(products) if (1..=MAX_PRODUCTS).contains(&products.len()) => all.products = products,
                _ => return Ok(None),
            }
        }
        Ok(Some(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constant::{ConstRef, Tensor};
    use crate::nn::Pool;

    /// A convolution of 4 to 6 channels after an average pool of 12 x 12 pixels.
    fn after_pool((window, stride): (usize, usize), kernel: usize) -> (LinearMap, ConstantPool) {
        let mut constants = ConstantPool::default();
        let weights = (1..=24 * kernel * kernel).map(|i| i as f64 / 8.0).collect();
        constants.insert("w", Tensor::from_f64(vec![6, 4, kernel, kernel], weights));
        let pool = LinearMap::AvgPool {
            input: vec![1, 4, 12, 12],
            window: Pool {
                kernel: vec![window; 2],
                strides: vec![stride; 2],
                pads: vec![(window - stride, 0); 2],
                count_include_pad: true,
            },
        };
        let conv = LinearMap::Conv {
            input: vec![1, 4, 12 / stride, 12 / stride],
            weight: ConstRef::new("w"),
            strides: vec![1, 1],
            pads: vec![(kernel / 2, kernel / 2); 2],
            dilations: vec![1, 1],
            groups: 1,
        };
        (LinearMap::Compose { maps: vec![pool, conv] }, constants)
    }

    #[test]
    fn a_composition_is_exact_where_outputs_reach_inputs_in_one_way() {
        // Windows apart from each other, or one tap: no product of weights meets another.
        for (pool, kernel, is_exact) in [((2, 2), 3, true), ((3, 2), 1, true), ((3, 2), 3, false)] {
            let (map, constants) = after_pool(pool, kernel);
            let pattern = Pattern::exact(&map, &constants).expect("a pattern");
            assert_eq!(
                matches!(pattern.form, PatternForm::Products(_)),
                is_exact,
                "{pool:?}, {kernel}"
            );
            let matrix = super::super::SparseMatrix::new(&map, &constants).expect("a matrix");
            assert_eq!(pattern.n_non_zeros(), matrix.n_non_zeros(), "{pool:?}, {kernel}");
        }
    }
}
