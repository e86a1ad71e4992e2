//! Constant vectors: the numbers of diagonals and plaintexts.
//!
//! A vector is stored with the period of its contents, equal vectors once. Vectors lie one after the other in blocks of
//! at most [`BLOCK_VALUES`] numbers; a block is split into its eight byte planes (which makes the slowly changing
//! exponents compressible) and compressed with zstd. A block is read from the file when one of its vectors is asked
//! for, by position, so that a file that shrinks underneath is an error and no fault; its BLAKE3 hash, which the index
//! holds, is checked first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Numbers in a block at most, unless it holds a single vector: 1 MiB.
const BLOCK_VALUES: usize = 1 << 17;
/// Blocks that are compressed together, by all threads, as soon as they are full.
const BLOCKS_AT_ONCE: usize = 32;
/// Numbers that are hashed at once.
const HASHED_AT_ONCE: usize = 4096;
/// No vector is longer than the largest number of slots.
const MAX_VECTOR: usize = 1 << 16;
/// zstd's default: higher levels gain a few percent on weights and cost several times the time.
const ZSTD_LEVEL: i32 = 3;

/// A constant vector, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VectorId(pub u32);

/// Where a vector is: block, first number within it, length. Written `[block, start, length]`.
type Place = (u32, u32, u32);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    /// First byte within the data.
    offset: u64,
    /// Compressed length.
    bytes: u64,
    /// Numbers in it.
    values: usize,
    /// BLAKE3 of the compressed bytes, in hexadecimal digits.
    hash: String,
}

/// Where everything is, checked by [`Index::check`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    blocks: Vec<Block>,
    vectors: Vec<Place>,
}

impl Index {
    /// Checks blocks against the length of the data, and vectors against the blocks.
    pub(super) fn check(&self, data_bytes: u64) -> Result<()> {
        let invalid = |place: String, reason: String| Err(Error::InvalidPlan { place, reason });
        for (number, block) in self.blocks.iter().enumerate() {
            let end = block.offset.checked_add(block.bytes);
            if end.is_none_or(|end| end > data_bytes) || block.values > BLOCK_VALUES.max(MAX_VECTOR) {
                return invalid(
                    format!("constant block {number}"),
                    format!(
                        "{} bytes at {} for {} numbers, in {data_bytes} bytes",
                        block.bytes, block.offset, block.values
                    ),
                );
            }
        }
        for (number, &(block, start, len)) in self.vectors.iter().enumerate() {
            let end = (start as usize).saturating_add(len as usize);
            let fits = self.blocks.get(block as usize).is_some_and(|block| end <= block.values);
            if !fits || !(len as usize).is_power_of_two() || len as usize > MAX_VECTOR {
                return invalid(
                    format!("constant {number}"),
                    format!("{len} numbers at {start} of block {block}: no power of two within the block"),
                );
            }
        }
        Ok(())
    }
}

/// A vector ready to be stored, cut to its smallest power-of-two period.
#[derive(Debug, Clone)]
pub struct ConstantVector {
    values: Vec<f64>,
    hash: blake3::Hash,
}

impl ConstantVector {
    /// Checks, cuts and hashes `values`.
    ///
    /// # Errors
    /// [`Error::NotFinite`]; [`Error::InvalidSlots`] for a length that is no power of two of at most 2^16.
    pub fn new(mut values: Vec<f64>) -> Result<Self> {
        if !values.len().is_power_of_two() || values.len() > MAX_VECTOR {
            return Err(Error::InvalidSlots {
                slots: values.len(),
                max: MAX_VECTOR,
            });
        }
        if let Some(slot) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { slot });
        }
        values.truncate(period(&values));
        values.shrink_to_fit();
        let mut hasher = blake3::Hasher::new();
        let mut bytes = Vec::with_capacity(values.len().min(HASHED_AT_ONCE) * size_of::<f64>());
        for values in values.chunks(HASHED_AT_ONCE) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            hasher.update(&bytes);
        }
        let hash = hasher.finalize();
        Ok(Self { values, hash })
    }
}

/// Collects the constants of a plan under construction.
#[derive(Debug, Default)]
pub struct ConstantWriter {
    vectors: Vec<Place>,
    /// Compressed blocks, and how many numbers each holds.
    compressed: Vec<(Vec<u8>, usize)>,
    /// The blocks that follow; the last may have room.
    blocks: Vec<Vec<f64>>,
    known: HashMap<blake3::Hash, VectorId>,
}

impl ConstantWriter {
    /// An empty collection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a vector, cut to its smallest power-of-two period; a vector that is there already keeps its number.
    ///
    /// # Errors
    /// As [`ConstantVector::new`]; [`Error::Io`] when zstd fails.
    pub fn add(&mut self, values: &[f64]) -> Result<VectorId> {
        self.add_vector(ConstantVector::new(values.to_vec())?)
    }

    /// As [`ConstantWriter::add`].
    ///
    /// # Errors
    /// [`Error::Io`] when zstd fails.
    pub fn add_vector(&mut self, vector: ConstantVector) -> Result<VectorId> {
        let ConstantVector { values, hash } = vector;
        let next = VectorId(self.vectors.len() as u32);
        let id = *self.known.entry(hash).or_insert(next);
        if id == next {
            let full = self
                .blocks
                .last()
                .is_none_or(|block| block.len() + values.len() > BLOCK_VALUES);
            if full {
                if self.blocks.len() >= BLOCKS_AT_ONCE {
                    self.compress()?;
                }
                self.blocks.push(Vec::with_capacity(BLOCK_VALUES));
            }
            let block = self.blocks.len() - 1;
            self.vectors.push((
                (self.compressed.len() + block) as u32,
                self.blocks[block].len() as u32,
                values.len() as u32,
            ));
            self.blocks[block].extend_from_slice(&values);
        }
        Ok(id)
    }

    /// Compresses the blocks that there are.
    fn compress(&mut self) -> Result<()> {
        let compressed = self.blocks.par_iter().map(|block| Ok((compress(block)?, block.len())));
        self.compressed.extend(compressed.collect::<Result<Vec<_>>>()?);
        self.blocks.clear();
        Ok(())
    }

    /// Compresses what is left.
    ///
    /// # Errors
    /// [`Error::Io`] when zstd fails.
    pub fn finish(mut self) -> Result<Constants> {
        self.compress()?;
        let mut data = Vec::new();
        let mut blocks = Vec::with_capacity(self.compressed.len());
        for (bytes, values) in &self.compressed {
            blocks.push(Block {
                offset: data.len() as u64,
                bytes: bytes.len() as u64,
                values: *values,
                hash: blake3::hash(bytes).to_hex().to_string(),
            });
            data.extend_from_slice(bytes);
        }
        Ok(Constants {
            index: Index {
                blocks,
                vectors: self.vectors,
            },
            data: Data::Memory(data.into()),
        })
    }
}

/// Smallest power-of-two period of a vector of power-of-two length.
fn period(values: &[f64]) -> usize {
    let mut period = values.len();
    while period > 1 {
        let (low, high) = values[..period].split_at(period / 2);
        if low.iter().zip(high).any(|(a, b)| a.to_bits() != b.to_bits()) {
            break;
        }
        period /= 2;
    }
    period
}

#[derive(Debug, Clone)]
enum Data {
    Memory(Arc<[u8]>),
    File {
        file: Arc<Mutex<File>>,
        name: Arc<str>,
        offset: u64,
    },
}

/// The constants of a plan, read when asked for. Clones share the file.
#[derive(Debug, Clone)]
pub struct Constants {
    index: Index,
    data: Data,
}

impl Constants {
    pub(super) fn from_memory(index: Index, data: &[u8]) -> Self {
        Self {
            index,
            data: Data::Memory(data.into()),
        }
    }

    pub(super) fn from_file(index: Index, file: File, name: &str, offset: u64) -> Self {
        Self {
            index,
            data: Data::File {
                file: Arc::new(Mutex::new(file)),
                name: name.into(),
                offset,
            },
        }
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// All compressed bytes.
    pub(super) fn data(&self) -> Result<Vec<u8>> {
        let mut data = Vec::new();
        for block in &self.index.blocks {
            data.extend_from_slice(&self.block_bytes(block)?);
        }
        Ok(data)
    }

    /// Number of vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.vectors.len()
    }

    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.vectors.is_empty()
    }

    /// Bytes in the file.
    #[must_use]
    pub fn compressed_bytes(&self) -> u64 {
        self.index.blocks.iter().map(|block| block.bytes).sum()
    }

    /// Length of a vector, which is the period of what it stands for; `None` when there is no such vector.
    #[must_use]
    pub fn period(&self, id: VectorId) -> Option<usize> {
        self.index.vectors.get(id.0 as usize).map(|place| place.2 as usize)
    }

    /// Reads some vectors, every block once, blocks in parallel.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::InvalidPlan`] for a damaged block, a number that is not
    /// finite and a vector that does not exist.
    pub fn read(&self, ids: &BTreeSet<VectorId>) -> Result<BTreeMap<VectorId, Arc<[f64]>>> {
        let mut by_block: BTreeMap<u32, Vec<(VectorId, Place)>> = BTreeMap::new();
        for id in ids {
            let place = self
                .index
                .vectors
                .get(id.0 as usize)
                .ok_or_else(|| Error::InvalidPlan {
                    place: format!("constant {}", id.0),
                    reason: format!("there are {} constants", self.len()),
                })?;
            by_block.entry(place.0).or_default().push((*id, *place));
        }
        let read: Vec<Vec<(VectorId, Arc<[f64]>)>> = by_block
            .into_par_iter()
            .map(|(block, wanted)| {
                let values = self.block(block as usize)?;
                let cut = |(id, (_, start, len)): (VectorId, Place)| {
                    (id, Arc::from(&values[start as usize..(start + len) as usize]))
                };
                Ok(wanted.into_iter().map(cut).collect())
            })
            .collect::<Result<_>>()?;
        Ok(read.into_iter().flatten().collect())
    }

    fn block(&self, number: usize) -> Result<Vec<f64>> {
        let block = &self.index.blocks[number];
        let bytes = self.block_bytes(block)?;
        let place = match &self.data {
            Data::Memory(_) => format!("constant block {number}"),
            Data::File { name, .. } => format!("{name}, constant block {number}"),
        };
        let invalid = |reason: String| Error::InvalidPlan {
            place: place.clone(),
            reason,
        };
        if blake3::hash(&bytes).to_hex().as_str() != block.hash {
            return Err(invalid("checksum does not match: the file is damaged".into()));
        }
        let values = decompress(&bytes, block.values).map_err(invalid)?;
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => Err(invalid(format!("number {index} is not finite"))),
        }
    }

    fn block_bytes(&self, block: &Block) -> Result<Vec<u8>> {
        match &self.data {
            Data::Memory(bytes) => Ok(bytes[block.offset as usize..(block.offset + block.bytes) as usize].to_vec()),
            Data::File { file, name, offset } => {
                let mut bytes = vec![0; block.bytes as usize];
                let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                file.seek(SeekFrom::Start(offset + block.offset))
                    .and_then(|_| file.read_exact(&mut bytes))
                    .map_err(|error| Error::Io {
                        what: format!("{name}, constants"),
                        reason: error.to_string(),
                    })?;
                Ok(bytes)
            }
        }
    }
}

/// Byte plane b of the result holds byte b of every number.
fn compress(values: &[f64]) -> Result<Vec<u8>> {
    let mut planes = vec![0u8; values.len() * 8];
    for (i, value) in values.iter().enumerate() {
        for (b, byte) in value.to_le_bytes().into_iter().enumerate() {
            planes[b * values.len() + i] = byte;
        }
    }
    zstd::bulk::compress(&planes, ZSTD_LEVEL).map_err(|error| Error::Io {
        what: "compressing constants".into(),
        reason: error.to_string(),
    })
}

fn decompress(bytes: &[u8], n_values: usize) -> std::result::Result<Vec<f64>, String> {
    let planes = zstd::bulk::decompress(bytes, n_values * 8).map_err(|error| error.to_string())?;
    if planes.len() != n_values * 8 {
        return Err(format!("{} bytes where {} are expected", planes.len(), n_values * 8));
    }
    let byte = |i: usize, b: usize| planes[b * n_values + i];
    Ok((0..n_values)
        .map(|i| f64::from_le_bytes(std::array::from_fn(|b| byte(i, b))))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_and_periodic_vectors_are_shared() {
        let mut writer = ConstantWriter::new();
        let a = writer.add(&[1.0, 2.0, 1.0, 2.0]).unwrap();
        let b = writer.add(&[1.0, 2.0]).unwrap();
        let c = writer.add(&[2.0; 8]).unwrap();
        assert_eq!(a, b);
        let constants = writer.finish().unwrap();
        assert_eq!(constants.len(), 2);
        assert_eq!((constants.period(a), constants.period(c)), (Some(2), Some(1)));
        assert!(constants.read(&BTreeSet::from([VectorId(2)])).is_err());
    }

    #[test]
    fn numbers_that_cannot_be_stored_are_named() {
        let mut writer = ConstantWriter::new();
        assert_eq!(writer.add(&[1.0, f64::NAN]), Err(Error::NotFinite { slot: 1 }));
        assert!(writer.add(&[1.0; 3]).is_err());
    }

    #[test]
    fn many_vectors_spread_over_blocks() {
        let mut writer = ConstantWriter::new();
        let vector = |seed: usize| (0..4096).map(|i| ((i * 7 + seed) as f64).sin()).collect::<Vec<_>>();
        let ids: Vec<_> = (0..70).map(|seed| writer.add(&vector(seed)).unwrap()).collect();
        let constants = writer.finish().unwrap();
        assert_eq!(constants.index.blocks.len(), 3);
        let read = constants.read(&ids.iter().copied().collect()).unwrap();
        for (seed, id) in ids.into_iter().enumerate() {
            assert_eq!(read[&id].as_ref(), vector(seed));
        }
    }

    proptest! {
        #[test]
        fn compression_keeps_every_bit(values in prop::collection::vec(any::<f64>(), 0..200)) {
            let back = decompress(&compress(&values).unwrap(), values.len()).unwrap();
            prop_assert!(values.iter().map(|v| v.to_bits()).eq(back.iter().map(|v| v.to_bits())));
        }

        #[test]
        fn damaged_blocks_are_errors(position: prop::sample::Index, flip in 1u8..) {
            let mut writer = ConstantWriter::new();
            let id = writer.add(&(0..64).map(f64::from).collect::<Vec<_>>()).unwrap();
            let constants = writer.finish().unwrap();
            let mut data = constants.data().unwrap();
            let position = position.index(data.len());
            data[position] ^= flip;
            let damaged = Constants::from_memory(constants.index().clone(), &data);
            prop_assert!(damaged.read(&BTreeSet::from([id])).is_err());
            prop_assert!(decompress(&data, 64).is_ok_and(|v| v.len() == 64) || decompress(&data, 64).is_err());
        }
    }
}
