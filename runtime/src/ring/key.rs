//! Products of digits with switching keys, a few words at a time.
//!
//! Of a key only the bodies are in memory. The masks are uniform: those words of them that are about to be multiplied are made
//! from the seed in the first-level cache, while the same words of the bodies arrive from memory. So a key takes half the room,
//! and half the bytes to read at each use.

use std::ops::Range;

use super::rows::Rows;
use super::seeded::CHUNK;
use super::{CompactLimb, Domain, Poly, RingContext, SeededPoly, kernels};

/// What one digit is multiplied with: a pair (b, a).
#[derive(Clone, Copy)]
pub struct KeyDigit<'a> {
    /// b, in evaluation form.
    pub body: &'a Poly,
    /// a, taken as evaluations.
    pub mask: SeededPoly,
}

/// Words of each mask that exist at a time.
const COLUMNS: usize = 2 * CHUNK;

/// Multiplies digits with keys; owns the room for the masks.
pub(super) struct KeyProducts<'a> {
    masks: Rows<'a>,
}

impl<'a> KeyProducts<'a> {
    /// For up to `digits` digits.
    pub(super) fn new(ring: &'a RingContext, digits: usize) -> Self {
        Self {
            masks: Rows::of_length(ring, digits, COLUMNS.min(ring.n())),
        }
    }

    /// The least number of columns, and what their number is a multiple of.
    pub(super) fn least_columns(ring: &RingContext) -> usize {
        COLUMNS.min(ring.n())
    }

    /// Ensures: `outs[0] = sum_d digits[d] * b_d` and `outs[1] = sum_d digits[d] * a_d` modulo the prime, at the columns. All
    /// slices are whole limbs; the key may have more digits and primes.
    pub(super) fn write(
        &mut self,
        prime: usize,
        digits: &[&[u64]],
        key: &[KeyDigit],
        columns: Range<usize>,
        outs: [&mut [u64]; 2],
    ) {
        let ring = self.masks.ring;
        let (backend, modulus, width) = (ring.backend(), ring.modulus(prime), Self::least_columns(ring));
        let mut outs = outs;
        for start in columns.step_by(width) {
            let range = start..start + width;
            let x: Vec<CompactLimb> = digits
                .iter()
                .map(|digit| CompactLimb::dense(&digit[range.clone()]))
                .collect();
            let pairs = self.masks.iter_mut().zip(key).take(digits.len()).map(|(mask, digit)| {
                assert_eq!(digit.body.domain(), Domain::Eval);
                let body = &digit.body.limb_of_prime(prime)[range.clone()];
                digit.mask.fill(backend, modulus, start, mask, body);
                [body, &*mask]
            });
            let y: Vec<[&[u64]; 2]> = pairs.collect();
            let outs = outs.each_mut().map(|out| &mut out[range.clone()]);
            kernels::inner_products(backend, modulus, outs, &x, &y, 0..width, true);
        }
    }
}
