//! Products of digits with switching keys, a few words at a time.
//!
//! The masks of a key are uniform, so they need not be in memory: those words of them that are about to be multiplied are then
//! made from the seed in the first-level cache, while the same words of the bodies arrive from memory. Such a key takes half
//! the room and half the bytes to read at each use, but more time: a limb of 2^16 words is made in 30 us and read in 16.

use std::ops::Range;

use super::kernels::{Before, Destination, Streams};
use super::rows::Rows;
use super::seeded::CHUNK;
use super::{CompactLimb, Domain, Poly, RingContext, SeededPoly, kernels};

/// What one digit is multiplied with: a pair (b, a).
#[derive(Clone, Copy)]
pub struct KeyDigit<'a> {
    /// b, in evaluation form.
    pub body: &'a Poly,
    /// a, taken as evaluations.
    pub mask: Mask<'a>,
}

/// The uniform polynomial of a pair.
#[derive(Clone, Copy)]
pub enum Mask<'a> {
    /// In memory, in evaluation form.
    Resident(&'a Poly),
    /// Made whenever it is used.
    Seeded(SeededPoly),
}

impl<'a> KeyDigit<'a> {
    /// What of a limb is in memory only, and worth fetching before it is multiplied. Bodies are fetched while their masks are made.
    pub(super) fn limbs_to_fetch(&self, prime: usize) -> impl Iterator<Item = &'a [u64]> {
        let pair = match self.mask {
            Mask::Resident(mask) => Some([self.body, mask]),
            Mask::Seeded(_) => None,
        };
        pair.into_iter().flatten().map(move |poly| poly.limb_of_prime(prime))
    }
}

/// Words of each mask that exist at a time, if it is not resident.
const COLUMNS: usize = 2 * CHUNK;
/// Words multiplied with one key after the other, if their masks are resident: fewer restart the processor's read-ahead too often.
const RESIDENT_COLUMNS: usize = 8 * CHUNK;

/// Multiplies digits with keys; owns the room for the masks.
pub(super) struct KeyProducts<'a> {
    masks: Rows<'a>,
    destination: Destination,
}

impl<'a> KeyProducts<'a> {
    /// For up to `digits` digits.
    pub(super) fn new(ring: &'a RingContext, digits: usize, destination: Destination) -> Self {
        Self {
            destination,
            masks: Rows::of_length(ring, digits, COLUMNS.min(ring.n())),
        }
    }

    /// The least number of columns for keys like this one, and what their number is a multiple of.
    pub(super) fn least_columns(ring: &RingContext, key: &[KeyDigit]) -> usize {
        let is_resident = |digit: &KeyDigit| matches!(digit.mask, Mask::Resident(_));
        let columns = match key.iter().all(is_resident) {
            true => RESIDENT_COLUMNS,
            false => COLUMNS,
        };
        columns.min(ring.n())
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
        let outs = outs.map(|out| &mut out[columns.clone()]);
        self.write_part(prime, digits, key, columns, outs, &[]);
    }

    /// As [`Self::write`], with the columns of the results only. The processor is asked for the words `ahead` meanwhile, at most as
    /// many of each as there are columns.
    pub(super) fn write_part(
        &mut self,
        prime: usize,
        digits: &[&[u64]],
        key: &[KeyDigit],
        columns: Range<usize>,
        mut outs: [&mut [u64]; 2],
        ahead: &[&[u64]],
    ) {
        let ring = self.masks.ring;
        let before = Before::Nothing(self.destination);
        let (backend, modulus) = (ring.backend(), ring.modulus(prime));
        let width = Self::least_columns(ring, key).min(columns.len());
        for done in (0..columns.len()).step_by(width) {
            let start = columns.start + done;
            let range = start..start + width;
            let x: Vec<CompactLimb> = digits
                .iter()
                .map(|digit| CompactLimb::dense(&digit[range.clone()]))
                .collect();
            let pairs = self.masks.iter_mut().zip(key).take(digits.len()).map(|(mask, digit)| {
                assert_eq!(digit.body.domain(), Domain::Eval);
                let body = &digit.body.limb_of_prime(prime)[range.clone()];
                match digit.mask {
                    Mask::Resident(mask) => [body, &mask.limb_of_prime(prime)[range.clone()]],
                    Mask::Seeded(seeded) => {
                        let mask = &mut mask[..width];
                        seeded.fill(backend, modulus, start, mask, body);
                        [body, &*mask]
                    }
                }
            });
            let y: Vec<[&[u64]; 2]> = pairs.collect();
            let outs = outs.each_mut().map(|out| &mut out[done..done + width]);
            let ahead: Vec<&[u64]> = ahead
                .iter()
                .filter_map(|words| words.get(done..words.len().min(done + width)))
                .collect();
            let how = (before, Streams::of_memory(&ahead));
            kernels::inner_products(backend, modulus, outs, &x, &y, 0..width, how);
        }
    }
}
