//! Relations between single axes: the building blocks of a [`Pattern`](super::Pattern).
//!
//! A product of relations relates an input index to an output index when every relation relates their components. Axes
//! of extent 1 take part in no relation.

use super::LinearMap;
use crate::constant::{ConstRef, ConstantPool};
use crate::error::IrError;

/// Which indices of an input axis go with which indices of an output axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::slot) enum Relation {
    /// These indices of an input axis, whatever the output.
    In {
        /// Axis of the input.
        axis: usize,
        /// Its indices.
        indices: Vec<u32>,
    },
    /// These indices of an output axis, whatever the input.
    Out {
        /// Axis of the output.
        axis: usize,
        /// Its indices.
        indices: Vec<u32>,
    },
    /// These pairs of indices.
    Both {
        /// Axis of the input.
        input: usize,
        /// Axis of the output.
        output: usize,
        /// Index of the input axis, index of the output axis; each pair once.
        pairs: Vec<(u32, u32)>,
    },
}

/// All of these at once.
pub(in crate::slot) type Product = Vec<Relation>;

/// The non-zeros of a leaf.
pub(super) struct LeafPattern {
    /// They are in one of these; no relation is empty.
    pub(super) products: Vec<Product>,
    /// Whether everything in the products is a non-zero of the leaf.
    pub(super) is_exact: bool,
    /// Whether every output reads one input at most.
    pub(super) is_monomial: bool,
}

/// The pattern of a map that is neither a composition nor a sum nor a reshape; if asked, exactly where weights of a
/// convolution are zero. None when it has no non-zeros.
pub(super) fn leaf(
    map: &LinearMap,
    input: &[usize],
    output: &[usize],
    constants: &ConstantPool,
    exactly: bool,
) -> Result<Option<LeafPattern>, IrError> {
    let (mut is_exact, mut is_monomial) = (true, true);
    let axes: Vec<Option<Product>> = match map {
        LinearMap::Identity { .. } => identities(input),
        LinearMap::Factor { by, .. } => {
            is_exact = *by != 0.0;
            identities(input)
        }
        LinearMap::Diagonal { by, .. } => {
            is_exact = constants.get(by)?.to_vec()?.iter().all(|by| *by != 0.0);
            identities(input)
        }
        LinearMap::Conv {
            weight,
            strides,
            pads,
            dilations,
            groups,
            ..
        } => {
            let window = |i: usize, used: &[bool]| {
                let pixels = (0..output[i + 2]).flat_map(|position| {
                    let taps = used.iter().enumerate().filter(|(_, is_used)| **is_used);
                    taps.filter_map(move |(tap, _)| {
                        let pixel = (strides[i] * position + dilations[i] * tap).checked_sub(pads[i].0)?;
                        (pixel < input[i + 2]).then_some((pixel as u32, position as u32))
                    })
                });
                relation(i + 2, input[i + 2], i + 2, output[i + 2], pixels.collect())
            };
            let taps = Taps::new(weight, constants)?;
            if exactly && !taps.is_full {
                return Ok(taps.one_by_one(*groups, &window));
            }
            is_exact = taps.is_full;
            is_monomial = false;
            let mut axes = vec![taps.channels(*groups, &taps.channels)];
            axes.extend(taps.kernel.iter().enumerate().map(|(i, used)| window(i, used)));
            axes
        }
        LinearMap::AvgPool { window, .. } => {
            is_monomial = false;
            let mut axes = identities(&input[..2]);
            for (i, &stride) in window.strides.iter().enumerate() {
                let pixels = (0..output[i + 2]).flat_map(|position| {
                    (0..window.kernel[i]).filter_map(move |tap| {
                        let pixel = (stride * position + tap).checked_sub(window.pads[i].0)?;
                        (pixel < input[i + 2]).then_some((pixel as u32, position as u32))
                    })
                });
                axes.push(relation(i + 2, input[i + 2], i + 2, output[i + 2], pixels.collect()));
            }
            axes
        }
        LinearMap::Dense { weight, .. } => {
            is_exact = constants.get(weight)?.to_vec()?.iter().all(|weight| *weight != 0.0);
            is_monomial = false;
            let last = input.len().saturating_sub(1);
            let mut axes = identities(&input[..last]);
            axes.push(Some(everything(last, input[last], last, output[last])));
            axes
        }
        LinearMap::Reduce { axes, keep_dims, .. } => {
            is_monomial = false;
            let mut next = 0;
            let mut relations = Vec::new();
            for (axis, &extent) in input.iter().enumerate() {
                if axes.contains(&axis) {
                    relations.push(Some(everything(axis, extent, next, 1)));
                    next += usize::from(*keep_dims);
                } else {
                    relations.push(identity(axis, next, extent));
                    next += 1;
                }
            }
            relations
        }
        LinearMap::Transpose { perm, .. } => {
            let renamed = perm.iter().enumerate();
            renamed.map(|(to, &from)| identity(from, to, input[from])).collect()
        }
        LinearMap::Pad { pads, .. } => {
            let shifted = |(axis, &extent): (usize, &usize)| {
                let pairs = (0..extent).map(|i| (i as u32, (i + pads[axis].0) as u32));
                relation(axis, extent, axis, output[axis], pairs.collect())
            };
            input.iter().enumerate().map(shifted).collect()
        }
        LinearMap::Slice { starts, steps, .. } => {
            let picked = |(axis, &extent): (usize, &usize)| {
                let from = |i: usize| (starts[axis] as i64 + steps[axis] * i as i64) as u32;
                let pairs = (0..output[axis]).map(|i| (from(i), i as u32));
                relation(axis, extent, axis, output[axis], pairs.collect())
            };
            input.iter().enumerate().map(picked).collect()
        }
        LinearMap::Reshape { .. } | LinearMap::Each { .. } | LinearMap::Compose { .. } | LinearMap::Sum { .. } => {
            return Ok(None);
        }
    };
    let product: Option<Vec<Product>> = axes.into_iter().collect();
    Ok(product.map(|product| LeafPattern {
        products: vec![product.concat()],
        is_exact,
        is_monomial,
    }))
}

/// Every axis is its own.
pub(super) fn identities(shape: &[usize]) -> Vec<Option<Product>> {
    let axes = shape.iter().enumerate();
    axes.map(|(axis, &extent)| identity(axis, axis, extent)).collect()
}

/// `product` on each of `n` tensors along a new first axis.
pub(super) fn each(n: usize, product: &Product) -> Product {
    let mut each = identity(0, 0, n).unwrap_or_default();
    let moved = product.iter().map(|relation| match relation.clone() {
        Relation::In { axis, indices } => Relation::In {
            axis: axis + 1,
            indices,
        },
        Relation::Out { axis, indices } => Relation::Out {
            axis: axis + 1,
            indices,
        },
        Relation::Both { input, output, pairs } => Relation::Both {
            input: input + 1,
            output: output + 1,
            pairs,
        },
    });
    each.extend(moved);
    each
}

fn identity(input: usize, output: usize, extent: usize) -> Option<Product> {
    let pairs = (0..extent as u32).map(|i| (i, i));
    relation(input, extent, output, extent, pairs.collect())
}

/// The relation of `pairs` between axes of these extents, as simple as it can be said. None when there are no pairs.
fn relation(
    input: usize,
    in_extent: usize,
    output: usize,
    out_extent: usize,
    pairs: Vec<(u32, u32)>,
) -> Option<Product> {
    if pairs.is_empty() {
        return None;
    }
    if pairs.len() == in_extent * out_extent {
        return Some(everything(input, in_extent, output, out_extent));
    }
    Some(match (in_extent, out_extent) {
        (_, 1) => vec![Relation::In {
            axis: input,
            indices: pairs.into_iter().map(|(from, _)| from).collect(),
        }],
        (1, _) => vec![Relation::Out {
            axis: output,
            indices: pairs.into_iter().map(|(_, to)| to).collect(),
        }],
        _ => vec![Relation::Both { input, output, pairs }],
    })
}

/// Every index goes with every index.
fn everything(input: usize, in_extent: usize, output: usize, out_extent: usize) -> Product {
    let mut product = Vec::new();
    if in_extent > 1 {
        product.push(Relation::In {
            axis: input,
            indices: (0..in_extent as u32).collect(),
        });
    }
    if out_extent > 1 {
        product.push(Relation::Out {
            axis: output,
            indices: (0..out_extent as u32).collect(),
        });
    }
    product
}

/// Which parts of a convolution's weight [M, C/groups, kernel..] hold anything.
struct Taps {
    shape: Vec<usize>,
    /// By output channel and input channel within the group.
    channels: Vec<bool>,
    /// By spatial axis and tap.
    kernel: Vec<Vec<bool>>,
    is_full: bool,
    values: Vec<f64>,
}

impl Taps {
    fn new(weight: &ConstRef, constants: &ConstantPool) -> Result<Self, IrError> {
        let tensor = constants.get(weight)?;
        let values = tensor.to_vec()?;
        let shape = tensor.shape().to_vec();
        let n_taps: usize = shape[2..].iter().product();
        let mut taps = Taps {
            channels: vec![false; shape[0] * shape[1]],
            kernel: shape[2..].iter().map(|&extent| vec![false; extent]).collect(),
            shape,
            is_full: values.iter().all(|value| *value != 0.0),
            values: Vec::new(),
        };
        for (index, _) in values.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            taps.channels[index / n_taps] = true;
            for (axis, tap) in taps.digits(index % n_taps).into_iter().enumerate() {
                taps.kernel[axis][tap] = true;
            }
        }
        taps.values = values;
        Ok(taps)
    }

    /// A tap of the kernel, by axis.
    fn digits(&self, mut tap: usize) -> Vec<usize> {
        let mut digits = Vec::with_capacity(self.shape.len() - 2);
        for extent in self.shape[2..].iter().rev() {
            digits.push(tap % extent);
            tap /= extent;
        }
        digits.reverse();
        digits
    }

    /// One product for every tap, with the channels that it connects; `window` relates the positions of one spatial axis
    /// through some of its taps.
    fn one_by_one(&self, groups: usize, window: &dyn Fn(usize, &[bool]) -> Option<Product>) -> Option<LeafPattern> {
        let n_taps: usize = self.shape[2..].iter().product();
        let product = |tap: usize| {
            let connected: Vec<bool> = self
                .values
                .iter()
                .skip(tap)
                .step_by(n_taps)
                .map(|value| *value != 0.0)
                .collect();
            let mut product = self.channels(groups, &connected)?;
            for (axis, digit) in self.digits(tap).into_iter().enumerate() {
                let mut used = vec![false; self.shape[axis + 2]];
                used[digit] = true;
                product.extend(window(axis, &used)?);
            }
            Some(product)
        };
        let products: Vec<Product> = (0..n_taps).filter_map(product).collect();
        (!products.is_empty()).then_some(LeafPattern {
            products,
            is_exact: true,
            is_monomial: false,
        })
    }

    /// The relation of the channels that are `connected`.
    fn channels(&self, groups: usize, connected: &[bool]) -> Option<Product> {
        let (m, c_per_group) = (self.shape[0], self.shape[1]);
        if groups == 1 && connected.iter().all(|is_used| *is_used) {
            return Some(everything(1, c_per_group, 1, m));
        }
        let used = connected.iter().enumerate().filter(|(_, is_used)| **is_used);
        let pairs = used.map(|(pair, _)| {
            let (to, c) = (pair / c_per_group, pair % c_per_group);
            let group = to / (m / groups);
            ((group * c_per_group + c) as u32, to as u32)
        });
        relation(1, c_per_group * groups, 1, m, pairs.collect())
    }
}

/// `later` after `earlier`. None when nothing is left.
pub(super) fn compose(earlier: &Product, later: &Product) -> Option<Composed> {
    let mut product = Product::new();
    // Ways of different axes combine freely: there is one in all where there is one along every axis.
    let (mut has_one_way, mut has_one_pair_way) = (true, true);
    let mut distinct = |indices: Vec<u32>| distinct(indices, &mut has_one_way);
    for relation in earlier {
        match relation {
            Relation::In { .. } => product.push(relation.clone()),
            Relation::Out { axis, indices } => match reading(later, *axis)? {
                Relation::In { indices: read, .. } => {
                    let known = marks(indices.iter().copied());
                    let met = read.iter().filter(|index| is_marked(&known, **index));
                    distinct(met.map(|_| 0).collect()).first()?;
                }
                Relation::Both { output, pairs, .. } => {
                    let known = marks(indices.iter().copied());
                    let reached = pairs.iter().filter(|(mid, _)| is_marked(&known, *mid));
                    let indices = distinct(reached.map(|(_, to)| *to).collect());
                    product.push(Relation::Out { axis: *output, indices });
                }
                Relation::Out { .. } => return None,
            },
            Relation::Both { input, output, pairs } => match reading(later, *output)? {
                Relation::In { indices: read, .. } => {
                    let known = marks(read.iter().copied());
                    let reaching = pairs.iter().filter(|(_, mid)| is_marked(&known, *mid));
                    let indices = distinct(reaching.map(|(from, _)| *from).collect());
                    product.push(Relation::In { axis: *input, indices });
                }
                Relation::Both {
                    output, pairs: more, ..
                } => product.push(Relation::Both {
                    input: *input,
                    output: *output,
                    pairs: joined(pairs, more, &mut has_one_pair_way),
                }),
                Relation::Out { .. } => return None,
            },
        }
    }
    let written = later.iter().filter(|relation| matches!(relation, Relation::Out { .. }));
    product.extend(written.cloned());
    let is_empty = |relation: &Relation| match relation {
        Relation::In { indices, .. } | Relation::Out { indices, .. } => indices.is_empty(),
        Relation::Both { pairs, .. } => pairs.is_empty(),
    };
    (!product.iter().any(is_empty)).then_some(Composed {
        product,
        has_one_way: has_one_way && has_one_pair_way,
    })
}

/// A composition of products.
pub(super) struct Composed {
    /// What it relates.
    pub(super) product: Product,
    /// Whether every output reaches each of its inputs in one way only.
    pub(super) has_one_way: bool,
}

/// The distinct `items`; not `one_way` any more where some were not.
fn distinct<T: Ord>(mut items: Vec<T>, one_way: &mut bool) -> Vec<T> {
    let n_ways = items.len();
    items.sort_unstable();
    items.dedup();
    *one_way &= items.len() == n_ways;
    items
}

/// The relation of `product` that reads an input axis.
fn reading(product: &Product, axis: usize) -> Option<&Relation> {
    product.iter().find(|relation| match relation {
        Relation::In { axis: read, .. } | Relation::Both { input: read, .. } => *read == axis,
        Relation::Out { .. } => false,
    })
}

fn marks(indices: impl Iterator<Item = u32>) -> Vec<bool> {
    let mut marks = Vec::new();
    for index in indices {
        let index = index as usize;
        if marks.len() <= index {
            marks.resize(index + 1, false);
        }
        marks[index] = true;
    }
    marks
}

fn is_marked(marks: &[bool], index: u32) -> bool {
    marks.get(index as usize).copied().unwrap_or(false)
}

/// Pairs related through a middle index; not `one_way` any more where some are through several.
fn joined(earlier: &[(u32, u32)], later: &[(u32, u32)], one_way: &mut bool) -> Vec<(u32, u32)> {
    let mut by_middle = later.to_vec();
    by_middle.sort_unstable();
    let mut pairs = Vec::new();
    for &(from, middle) in earlier {
        let start = by_middle.partition_point(|pair| pair.0 < middle);
        let run = by_middle[start..].iter().take_while(|pair| pair.0 == middle);
        pairs.extend(run.map(|pair| (from, pair.1)));
    }
    distinct(pairs, one_way)
}

/// `product`, which reads a tensor of shape `to`, read through a reshape from shape `from`: axes that only change their
/// place are renamed, others have to be read whole. None otherwise.
pub(super) fn through_reshape(from: &[usize], to: &[usize], product: &Product) -> Option<Product> {
    let mut result: Product = product
        .iter()
        .filter(|relation| matches!(relation, Relation::Out { .. }))
        .cloned()
        .collect();
    for (sources, targets) in groups(from, to) {
        if let ([source], [target]) = (sources.as_slice(), targets.as_slice()) {
            let mut relation = reading(product, *target)?.clone();
            match &mut relation {
                Relation::In { axis: read, .. } | Relation::Both { input: read, .. } => *read = *source,
                Relation::Out { .. } => {}
            }
            result.push(relation);
            continue;
        }
        for target in targets {
            match reading(product, target)? {
                Relation::In { indices, .. } if indices.len() == to[target] => {}
                _ => return None,
            }
        }
        for axis in sources {
            result.push(Relation::In {
                axis,
                indices: (0..from[axis] as u32).collect(),
            });
        }
    }
    Some(result)
}

/// The smallest runs of axes of `from` and `to`, both without axes of extent 1, that have equally many elements.
fn groups(from: &[usize], to: &[usize]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let wide = |shape: &[usize]| -> Vec<usize> { (0..shape.len()).filter(|&axis| shape[axis] > 1).collect() };
    let (mut sources, mut targets) = (wide(from).into_iter().peekable(), wide(to).into_iter().peekable());
    let mut groups = Vec::new();
    while sources.peek().is_some() || targets.peek().is_some() {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let (mut n_left, mut n_right) = (1, 1);
        loop {
            let next = if n_left <= n_right { &mut sources } else { &mut targets };
            let Some(axis) = next.next() else {
                break;
            };
            if n_left <= n_right {
                n_left *= from[axis];
                left.push(axis);
            } else {
                n_right *= to[axis];
                right.push(axis);
            }
            if n_left == n_right {
                break;
            }
        }
        groups.push((left, right));
    }
    groups
}
