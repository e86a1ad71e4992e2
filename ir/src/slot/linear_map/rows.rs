//! Rows of a linear map, enumerated lazily: which inputs an output reads, and with which coefficients.
//!
//! Assumes: nothing of the map; shapes are checked when it is prepared.
//! Ensures: a row costs O(its non-zeros), for compositions O(the sum over the maps); nothing is densified.

use super::LinearMap;
use crate::constant::ConstantPool;
use crate::error::IrError;

/// A linear map with its weights loaded, ready to enumerate rows from several threads.
pub struct Rows {
    input: Vec<usize>,
    output: Vec<usize>,
    form: Form,
}

/// How a row comes about. Indices are row-major; strides are those of the input unless said.
enum Form {
    /// Output i reads input i.
    Scale {
        by: f64,
    },
    /// Output i reads input i, by a factor found with the factors' strides (0 where they broadcast).
    Diagonal {
        by: Vec<f64>,
        strides: Vec<usize>,
    },
    /// Every output reads a window of `c_per_group` channels; `weight` is [M, C/groups, kernel..].
    Conv {
        weight: Vec<f64>,
        window: Window,
        c_per_group: usize,
        m_per_group: usize,
    },
    /// Every output reads a window of its own channel.
    AvgPool {
        window: Window,
        count_include_pad: bool,
    },
    /// Output [lead, m] reads input [lead, ..].
    Dense {
        weight: Vec<f64>,
        inner: usize,
        outer: usize,
        transposed: bool,
    },
    /// Output reads `base + offset` for every offset, where strides of the output's axes give the base.
    Reduce {
        strides: Vec<usize>,
        offsets: Vec<usize>,
        by: f64,
    },
    /// Output reads the one input `offset + sum of index * stride` (transpose, slice).
    Gather {
        offset: i64,
        strides: Vec<i64>,
    },
    /// Output reads the input at its index less `before`, if there is one.
    Pad {
        before: Vec<usize>,
    },
    /// Outputs of every block read one block of inputs.
    Each(Box<Rows>),
    /// Maps in the order of application, and whether an output may read an input by several ways.
    Compose(Vec<Rows>, bool),
    Sum(Vec<Rows>),
}

/// A window over the spatial axes (all but the first two).
struct Window {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    before: Vec<usize>,
    dilations: Vec<usize>,
}

impl Rows {
    /// Checks the shapes of `map` and loads its weights.
    ///
    /// # Errors
    /// When shapes do not fit, or a weight cannot be read.
    pub fn new(map: &LinearMap, constants: &ConstantPool) -> Result<Self, IrError> {
        let (input, output) = super::checked_shapes(map, constants)?;
        let form = Form::new(map, &input, &output, constants)?;
        Ok(Rows { input, output, form })
    }

    /// Shape of the input.
    pub fn input(&self) -> &[usize] {
        &self.input
    }

    /// Shape of the output.
    pub fn output(&self) -> &[usize] {
        &self.output
    }

    /// A reader of rows with its own scratch memory.
    pub fn cursor(&self) -> RowCursor<'_> {
        RowCursor {
            rows: self,
            scratch: Scratch::default(),
            row: Vec::new(),
        }
    }

    /// Elements of input and output.
    fn block(&self) -> (usize, usize) {
        (self.input.iter().product(), self.output.iter().product())
    }

    /// Emits `factor` times the coefficients of output `out`; an input may be emitted several times.
    fn emit(&self, out: usize, factor: f64, scratch: &mut Scratch, sink: &mut dyn FnMut(usize, f64)) {
        match &self.form {
            Form::Scale { by } => sink(out, factor * by),
            Form::Diagonal { by, strides } => {
                let mut index = 0;
                visit_digits(out, &self.output, |axis, digit| index += digit * strides[axis]);
                sink(out, factor * by[index]);
            }
            Form::Conv {
                weight,
                window,
                c_per_group,
                m_per_group,
            } => {
                let n_positions: usize = self.output[2..].iter().product();
                let n_pixels: usize = self.input[2..].iter().product();
                let n_taps: usize = window.kernel.iter().product();
                let m = out / n_positions;
                let first_channel = m / m_per_group * c_per_group;
                // The same taps in every channel.
                let mut taps = scratch.free_taps.pop().unwrap_or_default();
                window.visit(
                    out % n_positions,
                    &self.output[2..],
                    &self.input[2..],
                    &mut |tap, pixel| taps.push((tap, pixel)),
                );
                for c in 0..*c_per_group {
                    let weights = &weight[(m * c_per_group + c) * n_taps..][..n_taps];
                    let first = (first_channel + c) * n_pixels;
                    for &(tap, pixel) in &taps {
                        sink(first + pixel, factor * weights[tap]);
                    }
                }
                taps.clear();
                scratch.free_taps.push(taps);
            }
            Form::AvgPool {
                window,
                count_include_pad,
            } => {
                let n_positions: usize = self.output[2..].iter().product();
                let n_pixels: usize = self.input[2..].iter().product();
                let (channel, position) = (out / n_positions, out % n_positions);
                let mut n_summands = window.kernel.iter().product::<usize>();
                if !count_include_pad {
                    n_summands = 0;
                    window.visit(position, &self.output[2..], &self.input[2..], &mut |_, _| {
                        n_summands += 1
                    });
                }
                let by = factor / n_summands as f64;
                window.visit(position, &self.output[2..], &self.input[2..], &mut |_, pixel| {
                    sink(channel * n_pixels + pixel, by);
                });
            }
            Form::Dense {
                weight,
                inner,
                outer,
                transposed,
            } => {
                let (lead, m) = (out / outer, out % outer);
                for k in 0..*inner {
                    let w = if *transposed {
                        weight[m * inner + k]
                    } else {
                        weight[k * outer + m]
                    };
                    sink(lead * inner + k, factor * w);
                }
            }
            Form::Reduce { strides, offsets, by } => {
                let mut base = 0;
                visit_digits(out, &self.output, |axis, digit| base += digit * strides[axis]);
                for offset in offsets {
                    sink(base + offset, factor * by);
                }
            }
            Form::Gather { offset, strides } => {
                let mut index = *offset;
                visit_digits(out, &self.output, |axis, digit| index += digit as i64 * strides[axis]);
                sink(index as usize, factor);
            }
            Form::Pad { before } => {
                let (mut index, mut inside) = (0, true);
                let strides = row_major_strides(&self.input);
                visit_digits(out, &self.output, |axis, digit| match digit.checked_sub(before[axis]) {
                    Some(digit) if digit < self.input[axis] => index += digit * strides[axis],
                    _ => inside = false,
                });
                if inside {
                    sink(index, factor);
                }
            }
            Form::Each(map) => {
                let (n_inputs, n_outputs) = map.block();
                let start = out / n_outputs * n_inputs;
                map.emit(out % n_outputs, factor, scratch, &mut |index, value| {
                    sink(start + index, value)
                });
            }
            Form::Compose(maps, false) => emit_through(maps, out, factor, scratch, sink),
            Form::Compose(maps, true) => {
                let Some((first, later)) = maps.split_first() else {
                    return;
                };
                let mut current = scratch.take(self.output.iter().product());
                current.add(out, factor);
                for map in later.iter().rev() {
                    let mut next = scratch.take(map.input.iter().product());
                    current.drain(&mut |index, value| {
                        map.emit(index, value, scratch, &mut |index, value| next.add(index, value));
                    });
                    scratch.give(std::mem::replace(&mut current, next));
                }
                current.drain(&mut |index, value| first.emit(index, value, scratch, sink));
                scratch.give(current);
            }
            Form::Sum(maps) => {
                for map in maps {
                    map.emit(out, factor, scratch, sink);
                }
            }
        }
    }
}

impl Form {
    fn new(map: &LinearMap, input: &[usize], output: &[usize], constants: &ConstantPool) -> Result<Self, IrError> {
        Ok(match map {
            LinearMap::Identity { .. } | LinearMap::Reshape { .. } => Form::Scale { by: 1.0 },
            LinearMap::Factor { by, .. } => Form::Scale { by: *by },
            LinearMap::Diagonal { by, .. } => {
                let tensor = constants.get(by)?;
                Form::Diagonal {
                    by: tensor.to_vec()?,
                    strides: broadcast_strides(tensor.shape(), input.len()),
                }
            }
            LinearMap::Conv {
                weight,
                strides,
                pads,
                dilations,
                groups,
                ..
            } => {
                let tensor = constants.get(weight)?;
                Form::Conv {
                    weight: tensor.to_vec()?,
                    window: Window {
                        kernel: tensor.shape()[2..].to_vec(),
                        strides: strides.clone(),
                        before: pads.iter().map(|pad| pad.0).collect(),
                        dilations: dilations.clone(),
                    },
                    c_per_group: tensor.shape()[1],
                    m_per_group: output[1] / groups,
                }
            }
            LinearMap::AvgPool { window, .. } => Form::AvgPool {
                window: Window {
                    kernel: window.kernel.clone(),
                    strides: window.strides.clone(),
                    before: window.pads.iter().map(|pad| pad.0).collect(),
                    dilations: vec![1; window.kernel.len()],
                },
                count_include_pad: window.count_include_pad,
            },
            LinearMap::Dense { weight, transposed, .. } => Form::Dense {
                weight: constants.get(weight)?.to_vec()?,
                inner: input.last().copied().unwrap_or(1),
                outer: output.last().copied().unwrap_or(1),
                transposed: *transposed,
            },
            LinearMap::Reduce {
                axes, keep_dims, mean, ..
            } => {
                let in_strides = row_major_strides(input);
                let mut offsets = vec![0];
                let mut strides = Vec::new();
                for (axis, &extent) in input.iter().enumerate() {
                    if axes.contains(&axis) {
                        let steps = |base: usize| (0..extent).map(move |digit| (base, digit));
                        offsets = offsets
                            .into_iter()
                            .flat_map(steps)
                            .map(|(base, digit)| base + digit * in_strides[axis])
                            .collect();
                        if *keep_dims {
                            strides.push(0);
                        }
                    } else {
                        strides.push(in_strides[axis]);
                    }
                }
                let by = if *mean { 1.0 / offsets.len() as f64 } else { 1.0 };
                Form::Reduce { strides, offsets, by }
            }
            LinearMap::Transpose { perm, .. } => {
                let in_strides = row_major_strides(input);
                Form::Gather {
                    offset: 0,
                    strides: perm.iter().map(|&axis| in_strides[axis] as i64).collect(),
                }
            }
            LinearMap::Slice { starts, steps, .. } => {
                let in_strides = row_major_strides(input);
                Form::Gather {
                    offset: starts
                        .iter()
                        .zip(&in_strides)
                        .map(|(s, stride)| (s * stride) as i64)
                        .sum(),
                    strides: steps
                        .iter()
                        .zip(&in_strides)
                        .map(|(s, stride)| s * *stride as i64)
                        .collect(),
                }
            }
            LinearMap::Pad { pads, .. } => Form::Pad {
                before: pads.iter().map(|pad| pad.0).collect(),
            },
            LinearMap::Each { map, .. } => Form::Each(Box::new(Rows::new(map, constants)?)),
            LinearMap::Compose { maps } => {
                let maps = prepared(maps, constants)?;
                let repeats = may_repeat(&maps);
                Form::Compose(maps, repeats)
            }
            LinearMap::Sum { maps } => Form::Sum(prepared(maps, constants)?),
        })
    }

    /// Whether a row may name an input twice.
    fn repeats(&self) -> bool {
        match self {
            Form::Each(map) => map.form.repeats(),
            Form::Compose(_, repeats) => *repeats,
            form => matches!(form, Form::Sum(_)),
        }
    }

    /// Whether every output reads one input at most.
    fn reads_one(&self) -> bool {
        match self {
            Form::Scale { .. } | Form::Diagonal { .. } | Form::Gather { .. } | Form::Pad { .. } => true,
            Form::Each(map) => map.form.reads_one(),
            Form::Compose(maps, _) => maps.iter().all(|map| map.form.reads_one()),
            Form::Conv { .. } | Form::AvgPool { .. } | Form::Dense { .. } | Form::Reduce { .. } | Form::Sum(_) => false,
        }
    }

    /// Whether every input is read by one output at most.
    fn is_read_once(&self) -> bool {
        match self {
            Form::Scale { .. }
            | Form::Diagonal { .. }
            | Form::Gather { .. }
            | Form::Pad { .. }
            | Form::Reduce { .. } => true,
            Form::AvgPool { window, .. } => window.is_disjoint(),
            Form::Each(map) => map.form.is_read_once(),
            Form::Compose(maps, _) => maps.iter().all(|map| map.form.is_read_once()),
            Form::Conv { .. } | Form::Dense { .. } | Form::Sum(_) => false,
        }
    }
}

/// Whether an output of the composition may read an input by several ways. It does not where all ways fork in one map:
/// later ones lead every output to one element, and earlier ones lead the elements to inputs apart from each other.
fn may_repeat(maps: &[Rows]) -> bool {
    let forks_in = |fork: usize| {
        let (earlier, later) = (&maps[..fork], &maps[fork + 1..]);
        earlier.iter().all(|map| map.form.is_read_once())
            && later.iter().all(|map| map.form.reads_one())
            && !maps[fork].form.repeats()
    };
    !(0..maps.len()).any(forks_in)
}

/// Emits a composition's row way by way.
fn emit_through(maps: &[Rows], out: usize, factor: f64, scratch: &mut Scratch, sink: &mut dyn FnMut(usize, f64)) {
    match maps.split_last() {
        None => sink(out, factor),
        Some((last, [])) => last.emit(out, factor, scratch, sink),
        Some((last, earlier)) => {
            // The scratch memory is busy while the last map's row is emitted.
            let mut deeper = scratch.free_scratch.pop().unwrap_or_default();
            last.emit(out, factor, scratch, &mut |index, value| {
                emit_through(earlier, index, value, &mut deeper, sink);
            });
            scratch.free_scratch.push(deeper);
        }
    }
}

fn prepared(maps: &[LinearMap], constants: &ConstantPool) -> Result<Vec<Rows>, IrError> {
    maps.iter().map(|map| Rows::new(map, constants)).collect()
}

impl Window {
    /// Whether windows of different positions have no pixel in common.
    fn is_disjoint(&self) -> bool {
        let extents = self.kernel.iter().zip(&self.dilations);
        let reach = extents.map(|(kernel, dilation)| (kernel - 1) * dilation + 1);
        reach.zip(&self.strides).all(|(reach, stride)| reach <= *stride)
    }

    /// Calls `visit(tap, pixel)` for every tap of the window at `position` that lies within the image, in order.
    fn visit(&self, position: usize, positions: &[usize], image: &[usize], visit: &mut dyn FnMut(usize, usize)) {
        match (positions, image) {
            ([_], [width]) => {
                for tap in 0..self.kernel[0] {
                    if let Some(x) = self.pixel(0, position, tap, *width) {
                        visit(tap, x);
                    }
                }
            }
            ([_, columns], [height, width]) => {
                for tap_y in 0..self.kernel[0] {
                    let Some(y) = self.pixel(0, position / columns, tap_y, *height) else {
                        continue;
                    };
                    for tap_x in 0..self.kernel[1] {
                        if let Some(x) = self.pixel(1, position % columns, tap_x, *width) {
                            visit(tap_y * self.kernel[1] + tap_x, y * width + x);
                        }
                    }
                }
            }
            _ => unreachable!("the shape rules admit windows over one or two axes"),
        }
    }

    fn pixel(&self, axis: usize, position: usize, tap: usize, extent: usize) -> Option<usize> {
        (self.strides[axis] * position + self.dilations[axis] * tap)
            .checked_sub(self.before[axis])
            .filter(|&pixel| pixel < extent)
    }
}

/// Reads rows of a map, one at a time.
pub struct RowCursor<'a> {
    rows: &'a Rows,
    scratch: Scratch,
    row: Vec<(usize, f64)>,
}

impl RowCursor<'_> {
    /// The non-zero coefficients of output `out`, by ascending input index, each input once.
    pub fn row(&mut self, out: usize) -> &[(usize, f64)] {
        self.read(out);
        if !self.row.is_sorted_by_key(|(index, _)| *index) {
            self.row.sort_unstable_by_key(|(index, _)| *index);
        }
        &self.row
    }

    /// As [`RowCursor::row`], in an order that depends on the map and is the same every time.
    pub fn unsorted(&mut self, out: usize) -> &[(usize, f64)] {
        self.read(out);
        &self.row
    }

    fn read(&mut self, out: usize) {
        let RowCursor { rows, scratch, row } = self;
        row.clear();
        if rows.form.repeats() {
            let mut sum = scratch.take(rows.input.iter().product());
            rows.emit(out, 1.0, scratch, &mut |index, value| sum.add(index, value));
            sum.drain(&mut |index, value| row.push((index, value)));
            scratch.give(sum);
        } else {
            rows.emit(out, 1.0, scratch, &mut |index, value| row.push((index, value)));
        }
        row.retain(|(_, value)| *value != 0.0);
    }
}

/// A sparse vector under construction: dense values with the list of those that were touched.
#[derive(Default)]
struct Accumulator {
    values: Vec<f64>,
    is_touched: Vec<bool>,
    touched: Vec<usize>,
}

impl Accumulator {
    fn add(&mut self, index: usize, value: f64) {
        if !self.is_touched[index] {
            self.is_touched[index] = true;
            self.touched.push(index);
        }
        self.values[index] += value;
    }

    /// Visits all entries in order of first touch, and empties the vector.
    fn drain(&mut self, visit: &mut dyn FnMut(usize, f64)) {
        for index in self.touched.drain(..) {
            self.is_touched[index] = false;
            visit(index, std::mem::take(&mut self.values[index]));
        }
    }
}

/// Empty buffers for reuse.
#[derive(Default)]
struct Scratch {
    free: Vec<Accumulator>,
    /// Taps of a window with the pixels that they meet.
    free_taps: Vec<Vec<(usize, usize)>>,
    /// For maps within maps.
    free_scratch: Vec<Scratch>,
}

impl Scratch {
    fn take(&mut self, n_elements: usize) -> Accumulator {
        let mut accumulator = self.free.pop().unwrap_or_default();
        if accumulator.values.len() < n_elements {
            accumulator.values.resize(n_elements, 0.0);
            accumulator.is_touched.resize(n_elements, false);
        }
        accumulator
    }

    fn give(&mut self, accumulator: Accumulator) {
        self.free.push(accumulator);
    }
}

/// Elements between neighbours along every axis of a row-major tensor.
fn row_major_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Strides of a tensor of `shape` seen as one of `rank` axes: 0 along axes that it broadcasts over.
fn broadcast_strides(shape: &[usize], rank: usize) -> Vec<usize> {
    let own = shape
        .iter()
        .zip(row_major_strides(shape))
        .map(|(&extent, stride)| if extent == 1 { 0 } else { stride });
    let mut strides = vec![0; rank - shape.len()];
    strides.extend(own);
    strides
}

/// Calls `visit(axis, digit)` for every axis of the row-major `index` into `shape`.
fn visit_digits(mut index: usize, shape: &[usize], mut visit: impl FnMut(usize, usize)) {
    for (axis, &extent) in shape.iter().enumerate().rev() {
        visit(axis, index % extent);
        index /= extent;
    }
}
