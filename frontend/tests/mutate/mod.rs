//! Damage to files: what a truncated download, a broken disk or an attacker makes of bytes.

use proptest::prelude::*;

/// One damage; positions are fractions of the length.
#[derive(Clone, Debug)]
pub enum Mutation {
    /// Flips bits of one byte.
    Flip(f64, u8),
    /// Cuts off the end.
    Truncate(f64),
    /// Takes out some bytes.
    Remove(f64, usize),
    /// Writes a huge number, as lengths are written in protobuf and little-endian formats.
    Inflate(f64, usize),
    /// Repeats a piece.
    Repeat(f64, usize),
}

/// One to four damages.
pub fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let at = || 0.0..1.0f64;
    let one = prop_oneof![
        4 => (at(), 1u8..).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        1 => at().prop_map(Mutation::Truncate),
        1 => (at(), 1usize..40).prop_map(|(at, n)| Mutation::Remove(at, n)),
        2 => (at(), 1usize..10).prop_map(|(at, n)| Mutation::Inflate(at, n)),
        1 => (at(), 1usize..200).prop_map(|(at, n)| Mutation::Repeat(at, n)),
    ];
    prop::collection::vec(one, 1..5)
}

/// `bytes` after all of `mutations`.
pub fn mutate(bytes: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for mutation in mutations {
        let position = |at: &f64| (at * bytes.len() as f64) as usize;
        match mutation {
            Mutation::Flip(at, bits) => {
                let position = position(at);
                bytes.get_mut(position).into_iter().for_each(|byte| *byte ^= bits);
            }
            Mutation::Truncate(at) => bytes.truncate(position(at)),
            Mutation::Remove(at, n) => {
                let start = position(at);
                bytes.drain(start..(start + n).min(bytes.len()));
            }
            Mutation::Inflate(at, n) => {
                let start = position(at);
                let end = (start + n).min(bytes.len());
                bytes[start..end].fill(0xff);
                bytes[start..end].last_mut().into_iter().for_each(|byte| *byte = 0x7f);
            }
            Mutation::Repeat(at, n) => {
                let start = position(at);
                let piece = bytes[start..(start + n).min(bytes.len())].to_vec();
                bytes.splice(start..start, piece);
            }
        }
    }
    bytes
}
