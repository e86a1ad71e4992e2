//! Block linear transforms: baby steps hoisted and shared by all outputs, giant steps with one division each.
//!
//! Assumes inputs at one scale, at the working level l >= 1 or above. Ensures outputs at level l - 1 with exactly its
//! canonical scale, because the diagonals are encoded at whatever scale achieves that.
//! Method: double hoisting. The rotated inputs stay raised, modulo Q_l P, where the division by P would cost more than
//! carrying the special primes through all products (`babies_stay_raised`). Each (output, giant step) group is one
//! inner product; its mask is divided by P, decomposed and switched; the results of all giant steps are summed raised.
//! With chained giant steps the sums are rotated step by step instead, from the farthest towards zero (Horner's rule), so
//! that one key serves each direction.
//! One last division by P * q_l ends each output. Raised rotated inputs are nowhere in memory: they are made from their input's
//! digits a few words at a time, for all groups at once (`SumOfRotated`). Where the sums of all groups would take too much, and
//! where the division by P comes first, they are written to memory. When digits or rotated inputs would exceed the evaluator's
//! memory budget, the inputs are taken in batches and the sums of all groups kept between them.
//! Source: Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, EUROCRYPT 2021, algorithm 6; ours: the choice of basis, several
//! inputs and outputs, the merged rescale.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use rayon::prelude::*;

use super::evaluator::{check_same_scale, check_slots};
use super::rotate::ROTATIONS_AT_ONCE;
use super::{DiagonalEncoding, DiagonalSource, Evaluator};
use crate::ckks::keys::{KeyPurpose, KeySwitchKey};
use crate::ckks::linear::{DiagonalIdx, LinearTransform};
use crate::ckks::{Ciphertext, Plaintext};
use crate::error::{Error, Result};
use crate::ring::{Basis, CompactPoly, Domain, Poly, RingContext, Rotated, SumOfProducts, SumOfRotated, Turn};

/// Diagonals fetched at a time.
pub(crate) const DIAGONALS_AT_ONCE: usize = 32;
/// Of the memory for rotated inputs, diagonals that are encoded as they are used may take one over this, while they wait to be
/// multiplied, besides.
const LAZY_PART: usize = 4;

/// The two parts of a ciphertext in the making, over any basis.
type Pair = [Poly; 2];

/// The diagonals of one (output, giant step) and the sum of their products so far.
struct Group<'a> {
    diagonals: &'a [DiagonalIdx],
    sum: Option<Pair>,
}

impl AsRef<[DiagonalIdx]> for Group<'_> {
    fn as_ref(&self) -> &[DiagonalIdx] {
        self.diagonals
    }
}

impl Group<'_> {
    /// Hands out the sum of the products, which lies over `basis`.
    fn take_sum(&mut self, basis: Basis) -> Partial {
        let sum = self.sum.take();
        if basis.is_raised() {
            Partial {
                plain: None,
                raised: sum,
            }
        } else {
            Partial {
                plain: sum,
                raised: None,
            }
        }
    }
}

/// A partial output: a part modulo Q and a part modulo QP that still has to be divided by P.
#[derive(Default)]
struct Partial {
    plain: Option<Pair>,
    raised: Option<Pair>,
}

impl Partial {
    fn merge(mut self, other: Self) -> Self {
        self.plain = add_pairs(self.plain, other.plain);
        self.raised = add_pairs(self.raised, other.raised);
        self
    }
}

fn add_pairs(a: Option<Pair>, b: Option<Pair>) -> Option<Pair> {
    match (a, b) {
        (Some(mut a), Some(b)) => {
            a.iter_mut().zip(&b).for_each(|(a, b)| a.add_assign(b));
            Some(a)
        }
        (a, b) => a.or(b),
    }
}

/// An input and one of its rotations.
type Baby = (usize, usize);

/// The rotated inputs of a batch.
enum Babies<'a> {
    /// In memory, over the basis of the sums.
    Written(BTreeMap<Baby, Pair>),
    /// Given by what they are made of, and their numbers.
    Made {
        rotated: Vec<Rotated<'a>>,
        numbers: BTreeMap<Baby, usize>,
    },
}

impl Babies<'_> {
    /// Adds the products of diagonals, each with the number of its group.
    fn add_products(
        &self,
        ring: &Arc<RingContext>,
        basis: Basis,
        groups: &mut [Group],
        places: &[(usize, DiagonalIdx)],
        diagonals: &[Cow<Plaintext>],
    ) {
        let mut terms: Vec<Vec<(&CompactPoly, Baby)>> = groups.iter().map(|_| Vec::new()).collect();
        for ((number, idx), diagonal) in places.iter().zip(diagonals) {
            terms[*number].push((diagonal.poly(), (idx.input, idx.baby)));
        }
        let sums = groups.iter_mut().map(|group| group.sum.take()).zip(terms);
        let sums: Vec<Option<Pair>> = match self {
            Self::Written(babies) => {
                let rotated = |(x, baby): (_, Baby)| (x, babies[&baby].each_ref());
                let mut sums: Vec<SumOfProducts<CompactPoly, 2>> = sums
                    .map(|(sums, terms)| SumOfProducts {
                        sums,
                        terms: terms.into_iter().map(rotated).collect(),
                    })
                    .collect();
                SumOfProducts::run(basis, &mut sums);
                sums.into_iter().map(|sum| sum.sums).collect()
            }
            Self::Made { rotated, numbers } => {
                let number = |(x, baby): (_, Baby)| (x, numbers[&baby]);
                let mut sums: Vec<SumOfRotated<CompactPoly>> = sums
                    .map(|(sums, terms)| SumOfRotated {
                        sums,
                        terms: terms.into_iter().map(number).collect(),
                    })
                    .collect();
                SumOfRotated::run(ring, basis, rotated, &mut sums);
                sums.into_iter().map(|sum| sum.sums).collect()
            }
        };
        groups.iter_mut().zip(sums).for_each(|(group, sum)| group.sum = sum);
    }
}

/// How a transform uses memory.
struct Layout {
    /// Whether rotated inputs are made as they are used.
    babies_are_made: bool,
    /// Runs of inputs whose digits or rotations are in memory together.
    batches: Vec<Range<usize>>,
    /// The most that digits or rotations, and the sums of groups, take.
    bytes: usize,
}

impl Evaluator {
    /// How [`Evaluator::linear_transform`] will ask for the diagonals of `shape` when it works at `level` on inputs of
    /// scale `input_scale`.
    ///
    /// # Errors
    /// [`Error::LevelTooLow`] at level 0, [`Error::LevelTooHigh`].
    pub fn diagonal_encoding(
        &self,
        shape: &LinearTransform,
        level: usize,
        input_scale: f64,
    ) -> Result<DiagonalEncoding> {
        self.params().check_level("linear_transform", level)?;
        let scale = self.plain_scale(level, input_scale)?;
        Ok(DiagonalEncoding {
            basis: match self.babies_stay_raised(shape, level) {
                true => self.params().raised_basis(level),
                false => Basis::q(level),
            },
            scale,
        })
    }

    /// Applies a transform at `level`; the inputs may be at any level from there up, at one common scale.
    ///
    /// # Errors
    /// [`Error::InvalidLinearTransform`] for a wrong number of inputs or a missing diagonal; [`Error::LevelTooLow`],
    /// [`Error::ScaleMismatch`], [`Error::SlotMismatch`]; missing rotation keys ([`LinearTransform::rotations`] lists
    /// them).
    pub fn linear_transform(
        &self,
        inputs: &[&Ciphertext],
        shape: &LinearTransform,
        diagonals: &dyn DiagonalSource,
        level: usize,
    ) -> Result<Vec<Ciphertext>> {
        self.check_inputs(inputs, shape, level)?;
        let encoding = self.diagonal_encoding(shape, level, inputs[0].scale())?;
        for (step, levels) in shape.rotations(level) {
            for level in levels {
                self.keys().get(KeyPurpose::Rotate(step), level)?;
            }
        }
        let basis = encoding.basis;
        let Layout {
            babies_are_made,
            mut batches,
            ..
        } = self.layout(shape, basis);
        let mut groups: Vec<Group> = shape.groups().map(|diagonals| Group { diagonals, sum: None }).collect();
        if babies_are_made {
            for batch in batches {
                let digits = self.digits_to_rotate(inputs, shape, &batch, basis);
                let babies = self.babies_to_make(inputs, shape, &batch, &digits, basis)?;
                self.accumulate(&mut groups, &batch, &babies, diagonals, &encoding)?;
            }
            return self.outputs(&mut groups, shape, level, basis);
        }
        let last = batches.pop().unwrap_or(0..inputs.len());
        for batch in batches {
            let babies = self.baby_rotations(inputs, shape, batch.clone(), basis)?;
            self.accumulate(&mut groups, &batch, &babies, diagonals, &encoding)?;
        }
        let babies = self.baby_rotations(inputs, shape, last.clone(), basis)?;
        let mut outputs = Vec::with_capacity(shape.n_outputs());
        let mut rest = groups.as_mut_slice();
        while !rest.is_empty() {
            let (groups, after) = rest.split_at_mut(self.groups_at_once(rest, basis));
            self.accumulate(groups, &last, &babies, diagonals, &encoding)?;
            outputs.extend(self.outputs(groups, shape, level, basis)?);
            rest = after;
        }
        Ok(outputs)
    }

    /// The most bytes that digits or rotated inputs, and the sums of giant steps, take in a transform over `basis`.
    pub(crate) fn transform_bytes(&self, shape: &LinearTransform, basis: Basis) -> usize {
        self.layout(shape, basis).bytes
    }

    /// Rotated inputs that may be made as they are used are, unless the sums of all groups, which are then summed together, take
    /// more than the budget and than rotated inputs and sums would otherwise.
    fn layout(&self, shape: &LinearTransform, basis: Basis) -> Layout {
        let (uses, pair) = (shape.baby_uses(), self.pair_bytes(basis));
        let babies = |input: usize| uses.range((input, 0)..(input + 1, 0)).map(|((_, baby), _)| *baby);
        let (batches, bytes) = self.input_batches(shape.n_inputs(), |input| babies(input).count() * pair);
        let all_sums = shape.groups().count() * pair;
        let sums = match batches.len() {
            1 => self.groups_at_once(&shape.groups().collect::<Vec<_>>(), basis) * pair,
            _ => all_sums,
        };
        let written = Layout {
            babies_are_made: false,
            batches,
            bytes: bytes + sums,
        };
        if !basis.is_raised() {
            return written;
        }
        let digits = self.params().digits(basis.level()) * pair / 2;
        let (batches, bytes) = self.input_batches(shape.n_inputs(), |input| match babies(input).max() {
            None | Some(0) => 0,
            Some(_) => digits,
        });
        match bytes + all_sums <= written.bytes.max(self.transform_memory()) {
            true => Layout {
                babies_are_made: true,
                batches,
                bytes: bytes + all_sums,
            },
            false => written,
        }
    }

    /// Bytes of diagonals, encoded as they are used, that may wait to be multiplied.
    pub(crate) fn lazy_diagonal_bytes(&self) -> usize {
        self.transform_memory() / LAZY_PART
    }

    /// How many groups, of whole outputs, to sum at a time: as many as fit the memory budget, those of one output at least.
    fn groups_at_once(&self, groups: &[impl AsRef<[DiagonalIdx]>], basis: Basis) -> usize {
        let fitting = self.transform_memory() / self.pair_bytes(basis);
        let mut count = 0;
        for output in groups.chunk_by(|a, b| a.as_ref()[0].out == b.as_ref()[0].out) {
            if count > 0 && count + output.len() > fitting {
                break;
            }
            count += output.len();
        }
        count
    }

    fn pair_bytes(&self, basis: Basis) -> usize {
        2 * self.params().ring().limb_count(basis) * self.params().n() * size_of::<u64>()
    }

    /// The outputs whose groups' sums are complete.
    fn outputs(
        &self,
        groups: &mut [Group],
        shape: &LinearTransform,
        level: usize,
        basis: Basis,
    ) -> Result<Vec<Ciphertext>> {
        groups
            .par_chunk_by_mut(|a, b| a.diagonals[0].out == b.diagonals[0].out)
            .map(|groups| {
                let partial = if shape.has_chained_giants() {
                    self.chained_giant_steps(shape, groups, basis)?
                } else {
                    let add_rotated = |total, group: &mut Group| {
                        self.rotate_partial(group.take_sum(basis), group.diagonals[0].giant, basis.level(), total)
                    };
                    groups
                        .par_iter_mut()
                        .try_fold(Partial::default, add_rotated)
                        .try_reduce(Partial::default, |a, b| Ok(a.merge(b)))?
                };
                let parts = self.finish(partial);
                let output = Ciphertext::computed(parts, self.params().scale(level - 1), shape.slots());
                self.fold(output, shape.folds())
            })
            .collect()
    }

    /// Rotates and adds: y becomes y + rot_r(y) for each r in turn.
    ///
    /// # Errors
    /// As [`Evaluator::rotate`].
    pub fn fold(&self, mut ciphertext: Ciphertext, steps: &[usize]) -> Result<Ciphertext> {
        for step in steps {
            let rotated = self.rotate(&ciphertext, *step)?;
            self.add_in_place(&mut ciphertext, &rotated)?;
        }
        Ok(ciphertext)
    }

    fn check_inputs(&self, inputs: &[&Ciphertext], shape: &LinearTransform, level: usize) -> Result<()> {
        let what = "linear_transform";
        if inputs.len() != shape.n_inputs() || inputs.is_empty() {
            let reason = format!("{} inputs given, {} expected", inputs.len(), shape.n_inputs());
            return Err(Error::InvalidLinearTransform { reason });
        }
        for input in inputs {
            input.check_parts(what, 2)?;
            check_slots(what, input.slots(), shape.slots())?;
            check_same_scale(what, inputs[0].scale(), input.scale())?;
            self.check_level(what, input, level)?;
        }
        Ok(())
    }

    /// Whether the rotated inputs are better left modulo QP. Counted in multiply-adds over one limb, a transform taken as
    /// log2(N) of them.
    fn babies_stay_raised(&self, shape: &LinearTransform, level: usize) -> bool {
        let (q_limbs, p_limbs) = (level + 1, self.params().special_limbs(level));
        let division = (q_limbs + p_limbs) * self.params().log_n() as usize + q_limbs * p_limbs;
        let rotated = shape.baby_uses().keys().filter(|(_, baby)| *baby != 0).count();
        let giants = shape.groups().filter(|group| group[0].giant != 0).count();
        let raised = 2 * p_limbs * shape.diagonals().len() + giants * division;
        rotated > 0 && raised < 2 * rotated * division
    }

    /// Runs of inputs whose bytes fit the memory budget together, at least one input each, and the most bytes of one.
    fn input_batches(&self, inputs: usize, needed: impl Fn(usize) -> usize) -> (Vec<Range<usize>>, usize) {
        let mut batches: Vec<Range<usize>> = Vec::new();
        let (mut bytes, mut most) = (0, 0);
        for input in 0..inputs {
            let needed = needed(input);
            match batches.last_mut() {
                Some(batch) if bytes + needed <= self.transform_memory() => {
                    batch.end = input + 1;
                    bytes += needed;
                }
                _ => {
                    batches.push(input..input + 1);
                    bytes = needed;
                }
            }
            most = most.max(bytes);
        }
        (batches, most)
    }

    /// The digits of the inputs of a batch, over `basis`; none of those that are not rotated.
    fn digits_to_rotate(
        &self,
        inputs: &[&Ciphertext],
        shape: &LinearTransform,
        batch: &Range<usize>,
        basis: Basis,
    ) -> Vec<Vec<Poly>> {
        let uses = shape.baby_uses();
        let digits = |input: usize| {
            if uses.range((input, 1)..(input + 1, 0)).next().is_none() {
                return Vec::new();
            }
            let mask = &inputs[input].parts[1];
            if mask.basis() == basis.without_special() {
                self.decompose(mask)
            } else {
                self.decompose(&mask.restricted(basis.without_special()))
            }
        };
        batch.clone().into_par_iter().map(digits).collect()
    }

    /// Every rotation in use of the inputs of a batch, to be made from their digits over `basis`, times P.
    fn babies_to_make<'a>(
        &'a self,
        inputs: &[&'a Ciphertext],
        shape: &LinearTransform,
        batch: &Range<usize>,
        digits: &'a [Vec<Poly>],
        basis: Basis,
    ) -> Result<Babies<'a>> {
        let uses = shape.baby_uses();
        let babies: Vec<Baby> = uses
            .range((batch.start, 0)..(batch.end, 0))
            .map(|(baby, _)| *baby)
            .collect();
        let rotated = babies.iter().map(|&(input, step)| {
            let [body, mask] = [0, 1].map(|part| &inputs[input].parts[part]);
            if step == 0 {
                return Ok(Rotated::Unrotated([body, mask]));
            }
            let key = self.keys().get(KeyPurpose::Rotate(step), basis.level())?;
            Ok(Rotated::Switched {
                digits: &digits[input - batch.start],
                key: key.digits().collect(),
                turn: Turn::new(self.params().ring(), self.params().rotation_element(step), vec![body]),
            })
        });
        Ok(Babies::Made {
            rotated: rotated.collect::<Result<_>>()?,
            numbers: babies.iter().copied().zip(0..).collect(),
        })
    }

    /// Every rotation in use of the inputs of a batch, over `basis`; with special primes, times P.
    fn baby_rotations(
        &self,
        inputs: &[&Ciphertext],
        shape: &LinearTransform,
        batch: Range<usize>,
        basis: Basis,
    ) -> Result<Babies<'static>> {
        let uses = shape.baby_uses();
        let babies: Result<Vec<Vec<_>>> = batch
            .into_par_iter()
            .map(|input| {
                let steps: Vec<usize> = uses
                    .range((input, 0)..(input + 1, 0))
                    .map(|((_, baby), _)| *baby)
                    .collect();
                let parts = [0, 1].map(|part| inputs[input].parts[part].restricted(basis.without_special()));
                let rotated = self.rotations_over(&parts, &steps, basis)?;
                Ok(steps.into_iter().map(|step| (input, step)).zip(rotated).collect())
            })
            .collect();
        Ok(Babies::Written(babies?.into_iter().flatten().collect()))
    }

    /// Rotations of one input, over `basis`; with special primes, times P.
    fn rotations_over(&self, parts: &Pair, steps: &[usize], basis: Basis) -> Result<Vec<Pair>> {
        let ring = self.params().ring();
        let rotating = steps.iter().filter(|step| **step != 0);
        let keys: Vec<(&KeySwitchKey, u64)> = rotating
            .map(|step| {
                let key = self.keys().get(KeyPurpose::Rotate(*step), basis.level())?;
                Ok((&**key, self.params().rotation_element(*step)))
            })
            .collect::<Result<_>>()?;
        let digits = if keys.is_empty() {
            Vec::new()
        } else {
            self.decompose(&parts[1])
        };
        let mut rotated = Vec::with_capacity(keys.len());
        if basis.is_raised() {
            let turns: Vec<Turn> = keys
                .iter()
                .map(|(_, element)| Turn::new(ring, *element, vec![&parts[0]]))
                .collect();
            let keys: Vec<&KeySwitchKey> = keys.iter().map(|(key, _)| *key).collect();
            rotated = KeySwitchKey::turned_products(&keys, &digits, &turns);
        } else {
            for chunk in keys.chunks(ROTATIONS_AT_ONCE) {
                let (keys, elements): (Vec<_>, Vec<_>) = chunk.iter().copied().unzip();
                let products = KeySwitchKey::products(&keys, &digits);
                rotated.par_extend(products.into_par_iter().zip(elements).map(|([body, mask], element)| {
                    [
                        ring.mod_down_then_automorphism(&body, Some(&parts[0]), element),
                        ring.mod_down_then_automorphism(&mask, None, element),
                    ]
                }));
            }
        }
        let mut rotated = rotated.into_iter();
        let pairs = steps.iter().map(|step| match step {
            0 if basis.is_raised() => Some(parts.each_ref().map(|part| {
                let mut raised = Poly::zeros(ring, basis, Domain::Eval);
                self.add_special_multiple(&mut raised, part);
                raised
            })),
            0 => Some(parts.clone()),
            _ => rotated.next(),
        });
        Ok(pairs.flatten().collect())
    }

    /// Adds to the groups' sums the products with the rotated inputs of a batch. All groups at once, so that the rotated inputs
    /// are read from memory or made once.
    fn accumulate(
        &self,
        groups: &mut [Group],
        batch: &Range<usize>,
        babies: &Babies,
        diagonals: &dyn DiagonalSource,
        encoding: &DiagonalEncoding,
    ) -> Result<()> {
        let of_batch = |idx: &&DiagonalIdx| batch.contains(&idx.input);
        let mut places: Vec<(usize, DiagonalIdx)> = groups
            .iter()
            .enumerate()
            .flat_map(|(number, group)| group.diagonals.iter().filter(of_batch).map(move |idx| (number, *idx)))
            .collect();
        if matches!(babies, Babies::Made { .. }) {
            // diagonals that wait meet few rotated inputs, which are made again for those that come later
            places.sort_by_key(|(_, idx)| (idx.input, idx.baby));
        }
        let mut fetched: Vec<Cow<Plaintext>> = Vec::with_capacity(places.len());
        let (mut multiplied, mut lazy_bytes) = (0, 0);
        for chunk in places.chunks(DIAGONALS_AT_ONCE) {
            let fetch = |(_, idx): &(usize, DiagonalIdx)| diagonals.diagonal(*idx, encoding);
            let found: Vec<_> = chunk.par_iter().map(fetch).collect::<Result<_>>()?;
            let lazy = found.iter().filter(|diagonal| matches!(diagonal, Cow::Owned(_)));
            lazy_bytes += lazy.map(|diagonal| diagonal.memory_bytes()).sum::<usize>();
            fetched.extend(found);
            let done = multiplied + fetched.len();
            if lazy_bytes > self.lazy_diagonal_bytes() || done == places.len() {
                babies.add_products(
                    self.params().ring(),
                    encoding.basis,
                    groups,
                    &places[multiplied..done],
                    &fetched,
                );
                fetched.clear();
                (multiplied, lazy_bytes) = (done, 0);
            }
        }
        Ok(())
    }

    /// The sums of all groups of an output, rotated by their giant steps one after the other: from the farthest step of
    /// either direction towards zero, each time by one chain step.
    fn chained_giant_steps(&self, shape: &LinearTransform, groups: &mut [Group], basis: Basis) -> Result<Partial> {
        let (slots, [forward, backward]) = (shape.slots(), shape.chain_steps());
        let with_place = |group: &mut Group| (group.diagonals[0].giant, group.take_sum(basis));
        let mut sums: BTreeMap<usize, Partial> = groups.iter_mut().map(with_place).collect();
        let farthest = |range: RangeInclusive<usize>| sums.range(range).map(|(giant, _)| *giant);
        let starts = [
            (forward, farthest(1..=slots / 2).next_back()),
            (backward, farthest(slots / 2 + 1..=slots).next()),
        ];
        for (step, start) in starts {
            let mut giant = start.unwrap_or(0);
            while giant != 0 {
                let next = (giant + slots - step) % slots;
                let (sum, onto) = (sums.remove(&giant), sums.remove(&next));
                let rotated =
                    self.rotate_partial(sum.unwrap_or_default(), step, basis.level(), onto.unwrap_or_default())?;
                sums.insert(next, rotated);
                giant = next;
            }
        }
        Ok(sums.remove(&0).unwrap_or_default())
    }

    /// A partial output, rotated and added to another; whatever was not raised is afterwards.
    fn rotate_partial(&self, partial: Partial, step: usize, level: usize, onto: Partial) -> Result<Partial> {
        if step == 0 {
            return Ok(onto.merge(partial));
        }
        let ring = self.params().ring();
        let (plain_body, raised_body, mask) = match (partial.plain, partial.raised) {
            (None, None) => return Ok(onto),
            (Some([body, mask]), None) => (Some(body), None, mask),
            (None, Some([body, mask])) => (None, Some(body), ring.mod_down(&mask)),
            (Some([plain_body, plain_mask]), Some([body, mask])) => {
                let mask = ring.mod_down_and_add(&mask, &plain_mask);
                (Some(plain_body), Some(body), mask)
            }
        };
        let key = self.keys().get(KeyPurpose::Rotate(step), level)?;
        let bodies = plain_body.iter().chain(&raised_body).collect();
        let turn = Turn::new(ring, self.params().rotation_element(step), bodies);
        Ok(Partial {
            raised: Some(key.turned_product_with_digits_of(self.params(), &mask, &turn, onto.raised)),
            plain: onto.plain,
        })
    }

    /// Divides by q_l, and by P what is still raised.
    fn finish(&self, partial: Partial) -> Vec<Poly> {
        let ring = self.params().ring();
        match partial {
            Partial {
                plain,
                raised: Some(raised),
            } => match plain {
                None => raised.par_iter().map(|part| ring.mod_down_and_rescale(part)).collect(),
                Some(plain) => raised
                    .par_iter()
                    .zip(&plain)
                    .map(|(part, plain)| ring.add_and_divide_down_to(part, plain, part.basis().level()))
                    .collect(),
            },
            Partial {
                plain: Some(plain),
                raised: None,
            } => plain.par_iter().map(|part| ring.rescale(part)).collect(),
            Partial {
                plain: None,
                raised: None,
            } => unreachable!("every output has a diagonal, as the shape checked"),
        }
    }
}
