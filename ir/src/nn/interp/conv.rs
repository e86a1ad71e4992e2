//! Convolution, 1-D and 2-D, by rows: each kernel tap adds a scaled, strided row of the input to a row of the output.

use rayon::prelude::*;

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

    /// Output positions of `axis` for which `tap` meets the input, and the input position of the first.
    fn reach(&self, axis: usize, tap: usize) -> (std::ops::Range<usize>, usize) {
        let (stride, pad) = (self.stride[axis], self.pad[axis]);
        let shift = tap * self.dilation[axis];
        let first = pad.saturating_sub(shift).div_ceil(stride);
        // The input position o stride + shift - pad stays below the extent.
        let end = (self.input[axis] + pad).saturating_sub(shift).div_ceil(stride);
        let end = end.min(self.output[axis]).max(first);
        (first..end, (first * stride + shift).saturating_sub(pad))
    }
}

/// `x` is [N, C, ..], `weight` [M, C/groups, ..], `bias` [M].
pub(super) fn conv(window: &Window, x: &[f64], weight: &[f64], bias: Option<&[f64]>) -> Vec<f64> {
    let plane: usize = window.output.iter().product();
    let mut out = vec![0.0; window.n_batches * window.out_channels * plane];
    if plane > 0 {
        out.par_chunks_exact_mut(plane).enumerate().for_each(|(index, out)| {
            let (batch, channel) = (index / window.out_channels, index % window.out_channels);
            out.fill(bias.map_or(0.0, |bias| bias[channel]));
            out_channel(window, x, weight, batch, channel, out);
        });
    }
    out
}

fn out_channel(window: &Window, x: &[f64], weight: &[f64], batch: usize, channel: usize, out: &mut [f64]) {
    let in_plane: usize = window.input.iter().product();
    let n_taps: usize = window.kernel.iter().product();
    let group_channels = window.in_channels / window.groups;
    let group = channel / (window.out_channels / window.groups);
    for c in 0..group_channels {
        let x = &x[(batch * window.in_channels + group * group_channels + c) * in_plane..][..in_plane];
        let taps = &weight[(channel * group_channels + c) * n_taps..][..n_taps];
        for (tap, &w) in taps.iter().enumerate() {
            add_tap(window, x, w, [tap / window.kernel[1], tap % window.kernel[1]], out);
        }
    }
}

/// Adds `w` times the input plane `x`, seen through kernel position `tap`, to the output plane.
fn add_tap(window: &Window, x: &[f64], w: f64, tap: [usize; 2], out: &mut [f64]) {
    let (rows, first_row) = window.reach(0, tap[0]);
    let (columns, first_column) = window.reach(1, tap[1]);
    if columns.is_empty() {
        return;
    }
    let [in_width, out_width] = [window.input[1], window.output[1]];
    for (i, row) in rows.enumerate() {
        let out = &mut out[row * out_width..][columns.clone()];
        let x = &x[(first_row + i * window.stride[0]) * in_width..][..in_width][first_column..];
        if window.stride[1] == 1 {
            out.iter_mut().zip(x).for_each(|(out, x)| *out += w * x);
        } else {
            (out.iter_mut().zip(x.iter().step_by(window.stride[1]))).for_each(|(out, x)| *out += w * x);
        }
    }
}
