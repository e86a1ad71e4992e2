//! The plaintexts of a program: encoded ahead as far as a memory budget allows, the rest when they are used.
//!
//! A plaintext is identified by its vector, basis and scale, so that instructions which use a vector alike share it.
//! Small plaintexts, those at low levels, come first, since all take about as long to encode; whatever does not fit is read
//! and encoded at every use: that of a whole instruction while the one before runs, where both find room. A vector
//! of period p is encoded on p slots: the polynomial is the same as that of its repetition, and the transform smaller.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;

use crate::ckks::Plaintext;
use crate::ckks::encoding::{Complex64, Encoder};
use crate::ckks::eval::{DiagonalEncoding, DiagonalSource, Evaluator};
use crate::ckks::linear::{DiagonalIdx, LinearTransform};
use crate::error::{Error, Result};
use crate::plan::{Op, Plan, ScalePower, Transform, VectorId};
use crate::ring::Basis;

/// How a vector is encoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Encoding {
    basis: Basis,
    scale: f64,
}

/// Part of the memory for plaintexts that is set aside for those encoded shortly before they are used: one over this.
const RESERVED_PART: u64 = 2;

/// Of what is not encoded ahead, there are the plaintexts of so many instructions at a time.
const BATCHES_AT_ONCE: usize = 2;

/// What tells plaintexts apart: vector, primes, scale.
type Key = (VectorId, usize, usize, u64);

impl Encoding {
    fn key(&self, vector: VectorId) -> Key {
        (vector, self.basis.q_limbs, self.basis.p_limbs, self.scale.to_bits())
    }
}

/// Plaintexts by what they are.
pub(super) type Encoded = HashMap<Key, Plaintext>;

/// Plaintexts of one instruction.
struct Batch {
    encoding: Encoding,
    vectors: BTreeSet<VectorId>,
}

impl Batch {
    fn encode(&self, plan: &Plan, encoder: &Encoder) -> Result<Encoded> {
        let values = plan.constants().read(&self.vectors)?;
        let encode = |(id, values): (VectorId, Arc<[f64]>)| {
            Ok((self.encoding.key(id), encode(encoder, &values, &self.encoding)?))
        };
        values.into_par_iter().map(encode).collect()
    }
}

/// The plaintexts that a plan multiplies and adds, before any is encoded.
pub(super) struct Wanted {
    encoder: Encoder,
    /// By instruction.
    batches: BTreeMap<usize, Batch>,
    /// Bytes of every plaintext, with the first instruction that uses it.
    sizes: Vec<(u64, usize, VectorId)>,
    all_bytes: u64,
    /// Most bytes of one instruction.
    largest: u64,
    /// Most numbers of one instruction.
    most_numbers: usize,
}

impl Wanted {
    /// The plaintexts of `plan`; `shapes` are those of its transforms.
    pub(super) fn new(plan: &Plan, shapes: &[LinearTransform], evaluator: &Evaluator) -> Result<Self> {
        let encoder = Encoder::new(evaluator.params());
        let max_slots = evaluator.params().max_slots();
        let period = |vector: &VectorId| plan.constants().period(*vector).unwrap_or(max_slots);
        let mut known: BTreeSet<Key> = BTreeSet::new();
        let mut wanted = Self {
            batches: BTreeMap::new(),
            sizes: Vec::new(),
            all_bytes: 0,
            largest: 0,
            most_numbers: 0,
            encoder,
        };
        for (number, instruction) in plan.program().instructions.iter().enumerate() {
            let (vectors, encoding) = uses(plan, &instruction.op, shapes, evaluator)?;
            let Some(encoding) = encoding else { continue };
            for vector in vectors.iter().filter(|v| known.insert(encoding.key(**v))) {
                let bytes = wanted.encoder.plaintext_bytes(period(vector), true, encoding.basis) as u64;
                wanted.sizes.push((bytes, number, *vector));
            }
            let batch = Batch {
                encoding,
                vectors: vectors.into_iter().collect(),
            };
            wanted.largest = wanted.largest.max(wanted.bytes_of(plan, max_slots, &batch));
            wanted.most_numbers = wanted.most_numbers.max(batch.vectors.iter().map(period).sum());
            wanted.batches.insert(number, batch);
        }
        wanted.all_bytes = wanted.sizes.iter().map(|(bytes, ..)| bytes).sum();
        wanted.sizes.sort_unstable();
        Ok(wanted)
    }

    /// Bytes that all plaintexts take.
    pub(super) fn all_bytes(&self) -> u64 {
        self.all_bytes
    }

    /// Most bytes that the plaintexts of one instruction take.
    pub(super) fn largest(&self) -> u64 {
        self.largest
    }

    /// Bytes of the numbers that plaintexts are encoded from where that is done when they are used.
    pub(super) fn constant_bytes(&self) -> u64 {
        (BATCHES_AT_ONCE * self.most_numbers * size_of::<f64>()) as u64
    }

    fn bytes_of(&self, plan: &Plan, max_slots: usize, batch: &Batch) -> u64 {
        let period = |vector: &VectorId| plan.constants().period(*vector).unwrap_or(max_slots);
        let basis = batch.encoding.basis;
        let bytes = |vector| self.encoder.plaintext_bytes(period(vector), true, basis) as u64;
        batch.vectors.iter().map(bytes).sum()
    }

    /// Encodes as many as fit `budget` bytes.
    pub(super) fn encode(mut self, plan: &Plan, evaluator: &Evaluator, budget: u64) -> Result<Weights> {
        let reserve = if self.all_bytes <= budget {
            0
        } else {
            (BATCHES_AT_ONCE as u64 * self.largest).min(budget / RESERVED_PART)
        };
        let mut bytes = 0;
        let mut ahead: BTreeMap<usize, BTreeSet<VectorId>> = BTreeMap::new();
        for (size, number, vector) in &self.sizes {
            if bytes + size > budget - reserve {
                break;
            }
            bytes += size;
            ahead.entry(*number).or_default().insert(*vector);
        }
        let mut encoded = HashMap::new();
        for (number, vectors) in ahead {
            let encoding = self.batches[&number].encoding;
            encoded.extend(Batch { encoding, vectors }.encode(plan, &self.encoder)?);
        }
        let mut batches = std::mem::take(&mut self.batches);
        for batch in batches.values_mut() {
            let encoding = batch.encoding;
            batch
                .vectors
                .retain(|vector| !encoded.contains_key(&encoding.key(*vector)));
        }
        let max_slots = evaluator.params().max_slots();
        let fits = |batch: &Batch| self.bytes_of(plan, max_slots, batch) <= reserve / BATCHES_AT_ONCE as u64;
        batches.retain(|_, batch| batch.vectors.len() > 1 && fits(batch));
        Ok(Weights {
            batches,
            n_plaintexts: self.sizes.len(),
            all_bytes: self.all_bytes,
            encoder: self.encoder,
            encoded,
            bytes,
            reserve,
        })
    }
}

/// The plaintexts of one plan.
pub struct Weights {
    encoder: Encoder,
    encoded: Encoded,
    /// What is encoded an instruction ahead.
    batches: BTreeMap<usize, Batch>,
    bytes: u64,
    reserve: u64,
    all_bytes: u64,
    n_plaintexts: usize,
}

impl Weights {
    /// Instructions whose plaintexts are to be encoded shortly before they run, in order.
    pub(super) fn batches(&self) -> impl Iterator<Item = usize> + '_ {
        self.batches.keys().copied()
    }

    /// The plaintexts of one of [`Weights::batches`], encoded in parallel.
    pub(super) fn encode_batch(&self, plan: &Plan, instruction: usize) -> Result<Encoded> {
        let batch = self.batches.get(&instruction);
        batch.map_or(Ok(Encoded::new()), |batch| batch.encode(plan, &self.encoder))
    }

    /// Instructions whose plaintexts are encoded together shortly before they run.
    #[must_use]
    pub fn n_batches(&self) -> usize {
        self.batches.len()
    }

    /// Bytes set aside for plaintexts that are encoded shortly before they are used.
    #[must_use]
    pub fn reserved_bytes(&self) -> u64 {
        self.reserve
    }

    /// Bytes that all plaintexts would take.
    #[must_use]
    pub fn all_bytes(&self) -> u64 {
        self.all_bytes
    }

    /// Bytes of all plaintexts that were encoded ahead.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Plaintexts that were encoded ahead.
    #[must_use]
    pub fn n_ahead(&self) -> usize {
        self.encoded.len()
    }

    /// Plaintexts of the program.
    #[must_use]
    pub fn n_plaintexts(&self) -> usize {
        self.n_plaintexts
    }

    /// The plaintext of a single vector for a ciphertext of `slots` slots.
    pub(super) fn plaintext(&self, plan: &Plan, id: VectorId, slots: usize, encoding: &Encoding) -> Result<Plaintext> {
        let mut plaintext = match self.encoded.get(&encoding.key(id)) {
            Some(plaintext) => plaintext.clone(),
            None => {
                let read = plan.constants().read(&BTreeSet::from([id]))?;
                let values = read.get(&id).map_or(&[][..], |values| values);
                encode(&self.encoder, values, encoding)?
            }
        };
        plaintext.slots = slots;
        Ok(plaintext)
    }

    /// The diagonals of a transform, with those read that are not encoded yet.
    pub(super) fn diagonals<'a>(
        &'a self,
        plan: &Plan,
        transform: &'a Transform,
        encoding: &DiagonalEncoding,
        batch: Encoded,
    ) -> Result<TransformDiagonals<'a>> {
        let encoding = Encoding {
            basis: encoding.basis,
            scale: encoding.scale,
        };
        let vectors = transform.diagonals.iter().map(|diagonal| diagonal.vector);
        let missing = vectors
            .filter(|id| !self.encoded.contains_key(&encoding.key(*id)) && !batch.contains_key(&encoding.key(*id)))
            .collect();
        Ok(TransformDiagonals {
            weights: self,
            transform,
            batch,
            values: plan.constants().read(&missing)?,
        })
    }
}

fn encode(encoder: &Encoder, values: &[f64], encoding: &Encoding) -> Result<Plaintext> {
    let complex = values.iter().map(|value| Complex64::from(*value));
    encoder.encode_over(complex, values.len(), encoding.basis, encoding.scale)
}

/// The vectors an op multiplies or adds, and how it wants them.
fn uses(
    plan: &Plan,
    op: &Op,
    shapes: &[LinearTransform],
    evaluator: &Evaluator,
) -> Result<(Vec<VectorId>, Option<Encoding>)> {
    Ok(match op {
        Op::AddPlain { x, value } => {
            let ty = plan.types()[x.index()];
            (vec![*value], Some(summand_encoding(evaluator, ty.level, ty.scale)))
        }
        Op::MulPlain { x, value, level } => {
            let encoding = factor_encoding(evaluator, plan.types()[x.index()].level, *level)?;
            (vec![*value], Some(encoding))
        }
        Op::LinearTransform { xs, transform, level } => {
            let scale = evaluator.params().scale(plan.types()[xs[0].index()].level);
            let encoding = evaluator.diagonal_encoding(&shapes[*transform], *level, scale)?;
            let vectors = plan.program().transforms[*transform]
                .diagonals
                .iter()
                .map(|diagonal| diagonal.vector);
            let encoding = Encoding {
                basis: encoding.basis,
                scale: encoding.scale,
            };
            (vectors.collect(), Some(encoding))
        }
        Op::Add { .. }
        | Op::Sub { .. }
        | Op::Neg { .. }
        | Op::AddScalar { .. }
        | Op::MulScalar { .. }
        | Op::Mul { .. }
        | Op::Relinearize { .. }
        | Op::RelinearizeRescale { .. }
        | Op::Rescale { .. }
        | Op::DropLevel { .. }
        | Op::Rotate { .. }
        | Op::Conjugate { .. }
        | Op::Bootstrap { .. }
        | Op::PolyEval { .. } => (Vec::new(), None),
    })
}

/// For a plaintext that is added at a level and scale.
pub(super) fn summand_encoding(evaluator: &Evaluator, level: usize, scale: ScalePower) -> Encoding {
    Encoding {
        basis: Basis::q(level),
        scale: super::run::scale_of(evaluator.params(), level, scale),
    }
}

/// For a plaintext that multiplies, at `level`, a ciphertext with the canonical scale of `from`.
pub(super) fn factor_encoding(evaluator: &Evaluator, from: usize, level: usize) -> Result<Encoding> {
    Ok(Encoding {
        basis: Basis::q(level),
        scale: evaluator.plain_scale(level, evaluator.params().scale(from))?,
    })
}

/// A transform's diagonals: from memory where they were encoded ahead, otherwise encoded now.
pub(super) struct TransformDiagonals<'a> {
    weights: &'a Weights,
    transform: &'a Transform,
    batch: Encoded,
    values: BTreeMap<VectorId, Arc<[f64]>>,
}

impl DiagonalSource for TransformDiagonals<'_> {
    fn diagonal(&self, idx: DiagonalIdx, encoding: &DiagonalEncoding) -> Result<Cow<'_, Plaintext>> {
        let missing = || Error::InvalidLinearTransform {
            reason: format!("there is no diagonal for {idx:?}"),
        };
        let place = (idx.out, idx.giant, idx.input, idx.baby);
        let diagonals = &self.transform.diagonals;
        let found = diagonals.binary_search_by_key(&place, |d| (d.out, d.giant, d.input, d.baby));
        let vector = diagonals[found.map_err(|_| missing())?].vector;
        let encoding = Encoding {
            basis: encoding.basis,
            scale: encoding.scale,
        };
        let key = encoding.key(vector);
        if let Some(plaintext) = self.weights.encoded.get(&key).or_else(|| self.batch.get(&key)) {
            return Ok(Cow::Borrowed(plaintext));
        }
        let values = self.values.get(&vector).ok_or_else(missing)?;
        Ok(Cow::Owned(encode(&self.weights.encoder, values, &encoding)?))
    }
}
