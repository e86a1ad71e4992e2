//! Candidate layouts for a stage, given the layouts of what it reads.
//!
//! Spatial results stay in place: strides of the input times those of the map, so that one rotation serves all
//! positions (gap layout). Channels keep their input's places, or fill the gaps that the map's strides leave
//! (multiplexed; Lee et al., ICML 2022), or take further blocks. Everything else is dense. A result smaller than its
//! input may keep a longer period, which trades diagonals for steps of the fold.

use super::form::{Form, is_element_wise};
use aphelion_ir::slot::{Digit, Layout, LinearMap, Unused};

/// Larger tensors are only placed where no sum of their strides carries from one ciphertext to the next.
const MAX_UNALIGNED: usize = 1 << 17;

/// Layouts worth costing for the result of `form`; `layout_of` gives those of its sources, `wanted` others that users
/// of the result ask for. Deterministic, without duplicates, never empty.
pub fn candidates(form: &Form, layouts: &[&Layout], wanted: &[Layout], slots: usize) -> Vec<Layout> {
    let mut base: Vec<Layout> = Vec::new();
    let mut longest = 1;
    for (term, &layout) in form.terms.iter().zip(layouts) {
        if is_element_wise(&term.map) {
            base.push(layout.clone());
        } else {
            longest = longest.max(layout.period);
            base.extend(in_place(&term.map, layout, &form.shape));
        }
    }
    base.extend(wanted.iter().filter(|layout| layout.shape == form.shape).cloned());
    let dense = Layout::dense(&form.shape, slots);
    // Without alignment, every difference of addresses also arises with a carry into the next ciphertext.
    let aligned = aligned(&form.shape, slots).filter(|_| dense.cts > 1 && dense.n_elements() > MAX_UNALIGNED);
    base.push(aligned.unwrap_or(dense));
    let mut all: Vec<Layout> = Vec::new();
    for mut layout in base {
        layout.unused = Unused::Zero {};
        loop {
            if !all.contains(&layout) && layout.check().is_ok() {
                all.push(layout.clone());
            }
            if layout.period >= longest || layout.cts > 1 {
                break;
            }
            layout.period *= 2;
        }
    }
    all
}

/// Layouts for the model's input.
pub fn input_candidates(shape: &[usize], slots: usize) -> Vec<Layout> {
    let dense = Layout::dense(shape, slots);
    match aligned(shape, slots) {
        Some(aligned) if dense.n_elements() > MAX_UNALIGNED => vec![aligned],
        Some(aligned) if aligned != dense => vec![dense, aligned],
        _ => vec![dense],
    }
}

/// Row-major with channels on powers of two, so that they differ by whole blocks; where a channel exceeds the slots, its
/// rows as well.
fn aligned(shape: &[usize], slots: usize) -> Option<Layout> {
    let n_positions: usize = shape.get(2..)?.iter().product();
    let mut digits = Layout::dense(shape, slots).digits;
    let channel = if n_positions <= slots {
        n_positions.next_power_of_two()
    } else {
        let mut stride = 1;
        for digit in digits.iter_mut().rev().filter(|digit| digit.axis >= 2) {
            digit.stride = stride;
            stride = (stride * digit.extent).next_power_of_two();
        }
        stride
    };
    digits.iter_mut().find(|digit| digit.axis == 1)?.stride = channel;
    let layout = Layout::with_digits(shape, slots, digits, Unused::Zero {});
    layout.check().is_ok().then_some(layout)
}

/// Layouts of a spatial result whose positions lie where the input has them.
fn in_place(map: &LinearMap, input: &Layout, shape: &[usize]) -> Vec<Layout> {
    let Some(steps) = spatial_steps(map).filter(|steps| steps.len() + 2 == shape.len()) else {
        return Vec::new();
    };
    let mut spatial = Vec::new();
    let mut gaps = Vec::new();
    for (i, &step) in steps.iter().enumerate() {
        let axis = i + 2;
        let own: Vec<&Digit> = input.digits.iter().filter(|digit| digit.axis == axis).collect();
        let stride = match own.as_slice() {
            [digit] => digit.stride,
            [] if shape[axis] == 1 => continue,
            _ => return Vec::new(),
        };
        let digit = |extent: usize, stride: usize| Digit { axis, extent, stride };
        if shape[axis] > 1 {
            spatial.push(digit(shape[axis], stride * step));
        }
        if step > 1 {
            gaps.push((step, stride));
        }
    }
    // Channel places of the input, least significant first.
    let own: Vec<(usize, usize)> = input
        .digits
        .iter()
        .rev()
        .filter(|digit| digit.axis == 1)
        .map(|digit| (digit.extent, digit.stride))
        .collect();
    let mut layouts = Vec::new();
    for n_gaps in 0..=gaps.len() {
        // Gaps of the last axis first: they are the nearest.
        let filled = gaps.iter().rev().take(n_gaps).copied();
        let channels: Vec<(usize, usize)> = filled.collect();
        for channels in [[channels.clone(), own.clone()].concat(), channels] {
            layouts.extend(with_channels(shape, input, &spatial, &channels));
        }
    }
    layouts
}

/// The layout with these spatial digits and channels placed by `places` (extent, stride), least significant first; the
/// outermost place is extended, or blocks are added, for channels beyond them.
fn with_channels(shape: &[usize], input: &Layout, spatial: &[Digit], places: &[(usize, usize)]) -> Option<Layout> {
    let mut digits = spatial.to_vec();
    let mut remaining = shape[1];
    let mut channels: Vec<Digit> = Vec::new();
    let span = |digits: &[Digit]| {
        1 + digits
            .iter()
            .map(|digit| (digit.extent - 1) * digit.stride)
            .sum::<usize>()
    };
    for (index, &(extent, stride)) in places.iter().enumerate() {
        if remaining == 1 {
            break;
        }
        let inner = span(&[spatial, &channels].concat());
        let is_outermost = index + 1 == places.len() && stride >= inner;
        let extent = if is_outermost { remaining } else { extent.min(remaining) };
        if extent > 1 {
            channels.push(Digit {
                axis: 1,
                extent,
                stride,
            });
        }
        remaining = remaining.div_ceil(extent);
    }
    if remaining > 1 {
        let inner = span(&[spatial, &channels].concat());
        let stride = inner
            .next_power_of_two()
            .max(input.period.min(inner.next_power_of_two() * 2));
        channels.push(Digit {
            axis: 1,
            extent: remaining,
            stride,
        });
    }
    channels.reverse();
    digits.splice(0..0, channels);
    let n_addresses = span(&digits);
    // Guards the address type; a layout of so many ciphertexts is of no use.
    if n_addresses > 1 << 28 {
        return None;
    }
    Some(Layout::with_digits(shape, input.slots, digits, Unused::Zero {}))
}

/// Input positions per output position along every spatial axis, for maps that move over the image.
fn spatial_steps(map: &LinearMap) -> Option<Vec<usize>> {
    match map {
        LinearMap::Identity { shape } | LinearMap::Factor { shape, .. } | LinearMap::Diagonal { shape, .. } => {
            Some(vec![1; shape.len().checked_sub(2)?])
        }
        LinearMap::Conv { strides, .. } => Some(strides.clone()),
        LinearMap::AvgPool { window, .. } => Some(window.strides.clone()),
        LinearMap::Pad { input, .. } => Some(vec![1; input.len().checked_sub(2)?]),
        LinearMap::Slice { steps, .. } => {
            let step = |step: &i64| usize::try_from(*step).ok().filter(|step| *step > 0);
            steps.get(2..)?.iter().map(step).collect()
        }
        LinearMap::Reduce {
            input,
            axes,
            keep_dims: true,
            ..
        } if axes.iter().all(|axis| *axis >= 2) => {
            let step = |axis: usize| if axes.contains(&axis) { input[axis] } else { 1 };
            Some((2..input.len()).map(step).collect())
        }
        LinearMap::Compose { maps } => maps.iter().map(spatial_steps).try_fold(Vec::new(), |product, steps| {
            let steps = steps?;
            Some(match product.len() {
                0 => steps,
                n if n == steps.len() => product.iter().zip(&steps).map(|(a, b)| a * b).collect(),
                _ => return None,
            })
        }),
        LinearMap::Sum { maps } => {
            let mut steps = maps.iter().map(spatial_steps);
            let first = steps.next()??;
            steps.all(|other| other.as_ref() == Some(&first)).then_some(first)
        }
        LinearMap::Dense { .. }
        | LinearMap::Each { .. }
        | LinearMap::Reduce { .. }
        | LinearMap::Reshape { .. }
        | LinearMap::Transpose { .. } => None,
    }
}
