//! Polynomials on the wire: each limb's residues packed at the bit length of its prime, lowest bit first; or as words of eight
//! bytes, lowest byte first, which can be used where they lie.
//!
//! Assumes evaluation form. Ensures on reading that every residue is below its prime.

use std::sync::Arc;

use rayon::prelude::*;

use super::frame::Reader;
use crate::error::Result;
use crate::ring::{Basis, Domain, Poly, RingContext};

/// Bytes of one limb; the ring degree is a multiple of eight.
fn limb_bytes(ring: &RingContext, prime: usize) -> usize {
    ring.n() / 8 * ring.modulus(prime).bits() as usize
}

/// Bytes of a polynomial over a basis.
pub(super) fn poly_bytes(ring: &RingContext, basis: Basis) -> usize {
    ring.prime_indices(basis)
        .into_iter()
        .map(|prime| limb_bytes(ring, prime))
        .sum()
}

pub(super) fn write_poly(bytes: &mut Vec<u8>, poly: &Poly) {
    let ring = poly.ring();
    let start = bytes.len();
    bytes.resize(start + poly_bytes(ring, poly.basis()), 0);
    let mut rest = &mut bytes[start..];
    let limbs: Vec<_> = ring
        .prime_indices(poly.basis())
        .into_iter()
        .enumerate()
        .map(|(limb, prime)| {
            let (packed, tail) = std::mem::take(&mut rest).split_at_mut(limb_bytes(ring, prime));
            rest = tail;
            (poly.limb(limb), ring.modulus(prime).bits(), packed)
        })
        .collect();
    limbs
        .into_par_iter()
        .for_each(|(values, width, packed)| pack(values, width, packed));
}

pub(super) fn read_poly(reader: &mut Reader, ring: &Arc<RingContext>, basis: Basis) -> Result<Poly> {
    let start = reader.offset();
    let mut packed = reader.take(poly_bytes(ring, basis))?;
    let mut poly = Poly::zeros(ring, basis, Domain::Eval);
    let primes = ring.prime_indices(basis);
    let limbs: Vec<_> = primes
        .iter()
        .map(|prime| {
            let (limb, rest) = packed.split_at(limb_bytes(ring, *prime));
            packed = rest;
            limb
        })
        .collect();
    let is_reduced = poly
        .par_limbs_mut()
        .zip(limbs)
        .zip(&primes)
        .map(|((values, packed), prime)| {
            let modulus = ring.modulus(*prime);
            unpack(packed, modulus.bits(), values);
            values.iter().all(|value| *value < modulus.value())
        });
    if let Some(limb) = is_reduced.collect::<Vec<_>>().iter().position(|ok| !ok) {
        return Err(reader.malformed_at(start, format!("a residue of limb {limb} is not below its prime")));
    }
    Ok(poly)
}

/// Bytes of a polynomial over a basis as words.
pub(super) fn words_bytes(ring: &RingContext, basis: Basis) -> usize {
    ring.limb_count(basis) * ring.n() * size_of::<u64>()
}

pub(super) fn write_words(bytes: &mut Vec<u8>, poly: &Poly) {
    bytes.extend(poly.data().iter().flat_map(|word| word.to_le_bytes()));
}

/// Takes a polynomial as words off the reader, and checks them.
pub(super) fn take_words<'a>(reader: &mut Reader<'a>, ring: &RingContext, basis: Basis) -> Result<&'a [u8]> {
    let start = reader.offset();
    let words = reader.take(words_bytes(ring, basis))?;
    let limbs = words.par_chunks_exact(ring.n() * size_of::<u64>());
    let is_reduced = |(limb, prime): (&[u8], usize)| {
        let modulus = ring.modulus(prime).value();
        limb.as_chunks()
            .0
            .iter()
            .all(|word| u64::from_le_bytes(*word) < modulus)
    };
    let checked: Vec<bool> = limbs.zip(ring.prime_indices(basis)).map(is_reduced).collect();
    match checked.iter().position(|ok| !ok) {
        None => Ok(words),
        Some(limb) => Err(reader.malformed_at(start, format!("a residue of limb {limb} is not below its prime"))),
    }
}

pub(super) fn read_words(reader: &mut Reader, ring: &Arc<RingContext>, basis: Basis) -> Result<Poly> {
    let words = take_words(reader, ring, basis)?;
    let mut poly = Poly::uninit(ring, basis, Domain::Eval);
    let read = poly.data_mut().iter_mut().zip(words.as_chunks().0);
    read.for_each(|(word, bytes)| *word = u64::from_le_bytes(*bytes));
    Ok(poly)
}

/// Requires: values below 2^width, width <= 56, packed of exactly width bits per value.
fn pack(values: &[u64], width: u32, packed: &mut [u8]) {
    let (mut buffer, mut filled, mut out) = (0u64, 0, packed.iter_mut());
    for value in values {
        // At most 7 bits are waiting here.
        buffer |= value << filled;
        filled += width;
        while filled >= 8 {
            if let Some(byte) = out.next() {
                *byte = buffer as u8;
            }
            buffer >>= 8;
            filled -= 8;
        }
    }
}

/// Requires: width <= 56, packed of exactly width bits per value.   Ensures: values below 2^width.
fn unpack(packed: &[u8], width: u32, values: &mut [u64]) {
    let (mut buffer, mut filled, mut bytes) = (0u64, 0, packed.iter());
    let mask = (1u64 << width) - 1;
    for value in values {
        while filled < width {
            // At most 55 bits are waiting here.
            buffer |= u64::from(bytes.next().copied().unwrap_or(0)) << filled;
            filled += 8;
        }
        *value = buffer & mask;
        buffer >>= width;
        filled -= width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packing_round_trips(width in 1u32..=50, seeds in prop::collection::vec(any::<u64>(), 2..40)) {
            let mut values: Vec<u64> = seeds.iter().map(|v| v & ((1 << width) - 1)).collect();
            values.resize(values.len().next_multiple_of(8), 0);
            let mut packed = vec![0; values.len() / 8 * width as usize];
            pack(&values, width, &mut packed);
            let mut unpacked = vec![0; values.len()];
            unpack(&packed, width, &mut unpacked);
            prop_assert_eq!(values, unpacked);
        }
    }
}
