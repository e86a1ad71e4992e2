//! Reproducible Gaussian samples, fast enough to give every slot of every op its own error.
//!
//! Ensures: the same seed and stream give the same bits on every machine. Not for cryptography.
//!
//! Source: the ziggurat of Marsaglia and Tsang, "The ziggurat method for generating random variables", Journal of
//! Statistical Software 2000, with 256 layers, over xoshiro256++ (Blackman and Vigna, "Scrambled linear pseudorandom number
//! generators", ACM TOMS 2021).

use std::sync::LazyLock;

/// Layers of equal area under the curve exp(-x^2 / 2), x >= 0.
const LAYERS: usize = 256;
/// Where the tail begins: the right edge of the lowest layer's rectangle.
const TAIL: f64 = 3.654_152_885_361_009;
/// Area of a layer.
const AREA: f64 = 0.004_928_673_233_974_655;

/// Right edges of the layers from the lowest to the peak, and the curve there. The lowest layer's edge is that of a
/// rectangle of its area, tail included.
struct Layers {
    edges: [f64; LAYERS + 1],
    heights: [f64; LAYERS + 1],
}

static ZIGGURAT: LazyLock<Layers> = LazyLock::new(|| {
    let (mut edges, mut heights) = ([0.0; LAYERS + 1], [1.0; LAYERS + 1]);
    edges[0] = AREA / density(TAIL);
    heights[0] = 0.0;
    (edges[1], heights[1]) = (TAIL, density(TAIL));
    for layer in 2..LAYERS {
        heights[layer] = heights[layer - 1] + AREA / edges[layer - 1];
        edges[layer] = libm::sqrt(-2.0 * libm::log(heights[layer]));
    }
    Layers { edges, heights }
});

/// exp(-x^2 / 2).
fn density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x)
}

/// A stream of samples.
pub(super) struct Gaussian {
    state: [u64; 4],
}

impl Gaussian {
    /// The stream number `stream` of `seed`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.update(&stream.to_le_bytes());
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(hasher.finalize().as_bytes().chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        Gaussian { state }
    }

    /// A sample of mean 0 and variance 1.
    #[inline]
    pub(super) fn sample(&mut self) -> f64 {
        let layers = &*ZIGGURAT;
        loop {
            let word = self.next();
            let layer = (word % LAYERS as u64) as usize;
            // Uniform in [-1, 1), from bits that did not choose the layer.
            let x = ((word as i64) >> 11) as f64 * (-52f64).exp2() * layers.edges[layer];
            if x.abs() < layers.edges[layer + 1] {
                return x;
            }
            if layer == 0 {
                return self.tail().copysign(x);
            }
            let (low, high) = (layers.heights[layer], layers.heights[layer + 1]);
            if low + (high - low) * self.uniform() < density(x) {
                return x;
            }
        }
    }

    /// A sample beyond the tail's beginning.
    fn tail(&mut self) -> f64 {
        loop {
            let x = -libm::log(self.uniform()) / TAIL;
            let y = -libm::log(self.uniform());
            if 2.0 * y > x * x {
                return TAIL + x;
            }
        }
    }

    /// Uniform in (0, 1].
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 * (-53f64).exp2()
    }

    #[inline]
    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_meet_at_the_peak() {
        let layers = &*ZIGGURAT;
        assert!(layers.edges.windows(2).all(|pair| pair[0] > pair[1]));
        // The topmost layer has the area of all others.
        let top = layers.edges[LAYERS - 1] * (1.0 - layers.heights[LAYERS - 1]);
        assert!((top / AREA - 1.0).abs() < 1e-6, "{top}");
    }

    #[test]
    fn moments_and_tails_are_those_of_a_gaussian() {
        const N: usize = 1 << 20;
        let mut source = Gaussian::new(1, 2);
        let samples: Vec<f64> = (0..N).map(|_| source.sample()).collect();
        let moment = |k: i32| samples.iter().map(|x| x.powi(k)).sum::<f64>() / N as f64;
        // Five standard deviations of the mean of x^k.
        for (k, expected, deviation) in [(1, 0.0, 1.0), (2, 1.0, 1.5), (3, 0.0, 3.9), (4, 3.0, 9.8)] {
            let found = moment(k);
            assert!(
                (found - expected).abs() < 5.0 * deviation / (N as f64).sqrt(),
                "{k}: {found}"
            );
        }
        for (beyond, share) in [(1.0, 0.317_311), (2.0, 0.045_500), (3.0, 0.002_699_8), (4.0, 6.334e-5)] {
            let count = samples.iter().filter(|x| x.abs() > beyond).count() as f64;
            let expected = share * N as f64;
            assert!(
                (count - expected).abs() < 5.0 * expected.sqrt(),
                "{beyond}: {count}, not {expected}"
            );
        }
    }

    #[test]
    fn streams_are_reproducible_and_differ() {
        let first = |seed, stream| Gaussian::new(seed, stream).sample();
        assert_eq!(first(1, 2), first(1, 2));
        assert_ne!(first(1, 2), first(2, 2));
        assert_ne!(first(1, 2), first(1, 3));
    }
}
