//! The portable form: the `aes` crate, which takes the processor's AES instructions where it finds any.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Block};

use super::{CANDIDATE_BITS, CHUNK, first_block, rejection_bound};
use crate::ring::Modulus;

/// Blocks encrypted at a time.
const BLOCKS: usize = 32;

pub(super) fn fill(seed: &[u8; 32], modulus: &Modulus, first_chunk: usize, out: &mut [u64]) {
    let (key, whitening) = halves(seed);
    let cipher = Aes128::new(&key.into());
    let whitening = words(whitening);
    for (chunk, out) in (first_chunk..).zip(out.chunks_mut(CHUNK)) {
        let mut counter = first_block(modulus, chunk);
        let mut filled = 0;
        while filled < out.len() {
            let mut blocks = [Block::default(); BLOCKS];
            for block in &mut blocks {
                block[..8].copy_from_slice(&(counter[0] ^ whitening[0]).to_le_bytes());
                block[8..].copy_from_slice(&(counter[1] ^ whitening[1]).to_le_bytes());
                counter[1] += 1;
            }
            cipher.encrypt_blocks(&mut blocks);
            for block in blocks {
                for word in words(block.into()) {
                    if let (Some(residue), Some(out)) = (residue(modulus, word), out.get_mut(filled)) {
                        *out = residue;
                        filled += 1;
                    }
                }
            }
        }
    }
}

/// The residue of a candidate, unless it is thrown away.
fn residue(modulus: &Modulus, word: u64) -> Option<u64> {
    const LOW: u64 = (1 << CANDIDATE_BITS) - 1;
    let product = u128::from(word & LOW) * u128::from(modulus.value());
    (product as u64 & LOW >= rejection_bound(modulus)).then_some((product >> CANDIDATE_BITS) as u64)
}

fn halves(seed: &[u8; 32]) -> ([u8; 16], [u8; 16]) {
    let (first, second) = seed.split_at(16);
    let half = |bytes: &[u8]| std::array::from_fn(|i| bytes[i]);
    (half(first), half(second))
}

fn words(block: [u8; 16]) -> [u64; 2] {
    let block = u128::from_le_bytes(block);
    [block as u64, (block >> 64) as u64]
}
