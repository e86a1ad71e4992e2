//! Convolution, 1-D and 2-D, as a matrix product: for [`LANES`] output positions at a time, the input under every kernel
//! tap is gathered into a panel, which then serves all output channels, [`BLOCK`] at a time, from registers.
//!
//! Ensures: an output is its bias plus the products in the order of input channels, then taps; positions in the padding
//! add zeros.

use rayon::prelude::*;

/// Output positions that are computed at a time.
const LANES: usize = 8;
/// Output channels that are computed at a time.
const BLOCK: usize = 2;
/// Convolutions below this many multiplications are not worth a second thread.
const PARALLEL_WORK: usize = 1 << 22;

/// Extents of a convolution; a 1-D one has height 1.
pub(super) struct Window {
    n_batches: usize,
    in_channels: usize,
    out_channels: usize,
    groups: usize,
    /// Height and width of input, kernel and output.
    input: [usize; 2],
    kernel: [usize; 2],
    output: [usize; 2],
    stride: [usize; 2],
    /// Padding before.
    pad: [usize; 2],
    dilation: [usize; 2],
}

impl Window {
    pub(super) fn new(
        input: &[usize],
        weight: &[usize],
        output: &[usize],
        strides: &[usize],
        pads: &[(usize, usize)],
        dilations: &[usize],
        groups: usize,
    ) -> Self {
        let plane = |spatial: &[usize], missing: usize| match *spatial {
            [height, width] => [height, width],
            [width] => [missing, width],
            _ => unreachable!("the type rule allows 1-D and 2-D"),
        };
        let before: Vec<_> = pads.iter().map(|(before, _)| *before).collect();
        Window {
            n_batches: input[0],
            in_channels: input[1],
            out_channels: weight[0],
            groups,
            input: plane(&input[2..], 1),
            kernel: plane(&weight[2..], 1),
            output: plane(&output[2..], 1),
            stride: plane(strides, 1),
            pad: plane(&before, 0),
            dilation: plane(dilations, 1),
        }
    }
}

/// `x` is [N, C, ..], `weight` [M, C/groups, ..], `bias` [M].
pub(super) fn conv(window: &Window, x: &[f64], weight: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let in_plane: usize = window.input.iter().product();
    let out_plane: usize = window.output.iter().product();
    let n_taps: usize = window.kernel.iter().product();
    let (group_in, group_out) = (window.in_channels / window.groups, window.out_channels / window.groups);
    let mut out = vec![0.0; window.n_batches * window.out_channels * out_plane];
    if out_plane == 0 || group_in * n_taps == 0 {
        let channel = |index: usize| index / out_plane.max(1) % window.out_channels;
        let value = |index| bias.map_or(0.0, |bias| bias[channel(index)]);
        return (0..out.len()).map(value).collect();
    }
    let places = window.places();
    out.chunks_exact_mut(group_out * out_plane)
        .enumerate()
        .for_each(|(index, out)| {
            let (batch, group) = (index / window.groups, index % window.groups);
            let first = batch * window.in_channels + group * group_in;
            let x = &x[first * in_plane..][..group_in * in_plane];
            let weights = interleaved(
                &weight[group * group_out * group_in * n_taps..],
                group_out,
                group_in * n_taps,
            );
            let bias = bias.map(|bias| &bias[group * group_out..][..group_out]);
            let panels = Panels {
                x,
                in_plane,
                places: &places,
            };
            product(&panels, &weights, bias, out);
        });
    out
}

/// The weights of the first `n_channels` channels of `n_inner` each, [`BLOCK`] channels interleaved; zeros where there
/// are no channels.
fn interleaved(weight: &[f64], n_channels: usize, n_inner: usize) -> Vec<Vec<[f64; BLOCK]>> {
    let of = |channel: usize, inner: usize| match channel < n_channels {
        true => weight[channel * n_inner + inner],
        false => 0.0,
    };
    (0..n_channels.div_ceil(BLOCK))
        .map(|block| {
            let channels = |inner| std::array::from_fn(|i| of(block * BLOCK + i, inner));
            (0..n_inner).map(channels).collect()
        })
        .collect()
}

/// The input of one group, as the output positions see it.
struct Panels<'a> {
    x: &'a [f64],
    in_plane: usize,
    places: &'a [Place],
}

/// `out = bias + weights panels`, for all positions.
fn product(panels: &Panels<'_>, weights: &[Vec<[f64; BLOCK]>], bias: Option<&[f64]>, out: &mut [f64]) {
    let n_channels = out.len() / panels.places.iter().map(|place| place.n_lanes).sum::<usize>().max(1);
    let plane = out.len() / n_channels;
    let blocks = |place: &Place| -> Vec<[[f64; LANES]; BLOCK]> {
        let panel = place.panel(panels.x, panels.in_plane);
        let block = |(index, weights): (usize, &Vec<[f64; BLOCK]>)| {
            let start = |i: usize| {
                bias.and_then(|bias| bias.get(index * BLOCK + i))
                    .copied()
                    .unwrap_or(0.0)
            };
            multiply(&panel, weights, std::array::from_fn(start))
        };
        weights.iter().enumerate().map(block).collect()
    };
    let mut write = |place: &Place, found: &[[[f64; LANES]; BLOCK]]| {
        for (channel, lanes) in found.iter().flatten().take(n_channels).enumerate() {
            out[channel * plane + place.first..][..place.n_lanes].copy_from_slice(&lanes[..place.n_lanes]);
        }
    };
    let n_inner = weights.first().map_or(0, Vec::len);
    if n_inner * n_channels * plane < PARALLEL_WORK {
        panels.places.iter().for_each(|place| write(place, &blocks(place)));
    } else {
        let found: Vec<_> = panels.places.par_iter().map(blocks).collect();
        panels
            .places
            .iter()
            .zip(&found)
            .for_each(|(place, found)| write(place, found));
    }
}

/// Products of a panel with [`BLOCK`] channels' weights, added to `start`.
fn multiply(panel: &[[f64; LANES]], weights: &[[f64; BLOCK]], start: [f64; BLOCK]) -> [[f64; LANES]; BLOCK] {
    let mut sums = start.map(|start| [start; LANES]);
    for (x, weights) in panel.iter().zip(weights) {
        for (sums, w) in sums.iter_mut().zip(weights) {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum += w * x;
            }
        }
    }
    sums
}

/// Consecutive output positions, at most [`LANES`], and where in a plane of the input each of their taps lies.
struct Place {
    first: usize,
    n_lanes: usize,
    /// By tap.
    taps: Vec<Tap>,
}

/// Where one tap of some output positions lies.
enum Tap {
    /// At successive elements from this one on.
    Run(usize),
    /// Anywhere; nowhere in the padding.
    Scattered([Option<usize>; LANES]),
}

impl Window {
    /// All output positions.
    fn places(&self) -> Vec<Place> {
        let plane: usize = self.output.iter().product();
        let n_taps: usize = self.kernel.iter().product();
        let place = |first: usize| {
            let n_lanes = LANES.min(plane - first);
            let tap = |tap: usize| {
                let found: [Option<usize>; LANES] =
                    std::array::from_fn(|lane| (lane < n_lanes).then(|| self.source(first + lane, tap)).flatten());
                let run = found[0].filter(|start| (0..LANES).all(|lane| found[lane] == Some(start + lane)));
                run.map_or(Tap::Scattered(found), Tap::Run)
            };
            Place {
                first,
                n_lanes,
                taps: (0..n_taps).map(tap).collect(),
            }
        };
        (0..plane).step_by(LANES).map(place).collect()
    }

    /// The element of an input plane that `tap` sees for an output position; `None` in the padding.
    fn source(&self, position: usize, tap: usize) -> Option<usize> {
        let coordinate = |axis: usize, position: usize, tap: usize| {
            let padded = position * self.stride[axis] + tap * self.dilation[axis];
            padded.checked_sub(self.pad[axis]).filter(|x| *x < self.input[axis])
        };
        let row = coordinate(0, position / self.output[1], tap / self.kernel[1])?;
        let column = coordinate(1, position % self.output[1], tap % self.kernel[1])?;
        Some(row * self.input[1] + column)
    }
}

impl Place {
    /// What all taps see of all channels.
    fn panel(&self, x: &[f64], in_plane: usize) -> Vec<[f64; LANES]> {
        let mut panel = Vec::with_capacity(x.len() / in_plane.max(1) * self.taps.len());
        for x in x.chunks_exact(in_plane.max(1)) {
            for tap in &self.taps {
                let mut lanes = [0.0; LANES];
                match tap {
                    Tap::Run(start) => lanes.copy_from_slice(&x[*start..][..LANES]),
                    Tap::Scattered(places) => {
                        for (lane, place) in lanes.iter_mut().zip(places) {
                            *lane = place.map_or(0.0, |place| x[place]);
                        }
                    }
                }
                panel.push(lanes);
            }
        }
        panel
    }
}
