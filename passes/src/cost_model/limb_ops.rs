//! Operation counts: what every ciphertext op does, in operations on one limb.
//!
//! Source: Han and Ki, CT-RSA 2020 (hybrid key switching); Bossuat et al., EUROCRYPT 2021 (double hoisting). Counts follow
//! this project's evaluator: the division of a linear transform includes its rescale.

use super::table::CostTable;
use crate::bsgs::RotationCost;
use aphelion_ir::ckks::{KeySwitchSpec, ParameterSpec};
use aphelion_runtime::ckks::boot::Operation;
use aphelion_runtime::ckks::keys::KeySwitchKey;
use aphelion_runtime::ckks::linear::LinearTransform;
use aphelion_runtime::ckks::params::KeyBands;
use aphelion_runtime::ckks::polynomial::PolynomialPlan;
use std::iter::Sum;
use std::ops::{Add, Mul};

/// Numbers of operations on one limb.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LimbOps {
    /// Transforms.
    pub ntt: f64,
    /// Pointwise products and multiply-adds.
    pub multiply: f64,
    /// Multiply-adds whose operands are streamed from memory: digits with keys.
    pub stream_multiply: f64,
    /// Multiply-adds of diagonals with rotated inputs, which are read once for all sums, without the reading of the diagonals.
    pub diagonal: f64,
    /// Limbs of diagonals that come from memory; of one that repeats, only the distinct numbers.
    pub read: f64,
    /// Pointwise additions.
    pub add: f64,
    /// Source-target pairs of base conversions.
    pub convert: f64,
    /// Permutations.
    pub permute: f64,
    /// Encodings (not per limb).
    pub encode: f64,
}

impl Add for LimbOps {
    type Output = LimbOps;
    fn add(self, other: LimbOps) -> LimbOps {
        LimbOps {
            ntt: self.ntt + other.ntt,
            multiply: self.multiply + other.multiply,
            stream_multiply: self.stream_multiply + other.stream_multiply,
            diagonal: self.diagonal + other.diagonal,
            read: self.read + other.read,
            add: self.add + other.add,
            convert: self.convert + other.convert,
            permute: self.permute + other.permute,
            encode: self.encode + other.encode,
        }
    }
}

impl Mul<f64> for LimbOps {
    type Output = LimbOps;
    fn mul(self, by: f64) -> LimbOps {
        LimbOps {
            ntt: self.ntt * by,
            multiply: self.multiply * by,
            stream_multiply: self.stream_multiply * by,
            diagonal: self.diagonal * by,
            read: self.read * by,
            add: self.add * by,
            convert: self.convert * by,
            permute: self.permute * by,
            encode: self.encode * by,
        }
    }
}

impl Sum for LimbOps {
    fn sum<I: Iterator<Item = LimbOps>>(iter: I) -> LimbOps {
        iter.fold(LimbOps::default(), Add::add)
    }
}

/// Encoded plaintexts. Of a polynomial's evaluations only the distinct ones are kept and computed: as many as the plaintext
/// has independent real numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plaintexts {
    /// How many.
    pub count: usize,
    /// Limbs of each.
    pub limbs: u32,
    /// Independent real numbers of each: the period with which slots repeat, twice that for complex ones.
    pub numbers: usize,
}

/// What decides the cost of a linear transform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransformSize {
    /// Products with encoded diagonals.
    pub diagonals: usize,
    /// Input ciphertexts that are decomposed for hoisted rotations.
    pub hoists: usize,
    /// Hoisted rotations, over all inputs.
    pub babies: usize,
    /// Rotations of partial sums, over all outputs.
    pub giants: usize,
    /// Ciphertexts of the result.
    pub outputs: usize,
    /// Independent real numbers of every diagonal, as in [`Plaintexts`]; 0 where they are not known, for a quarter of the ring's.
    pub numbers: usize,
}

impl TransformSize {
    /// The size of `shape`. O(diagonals log diagonals).
    pub fn of(shape: &LinearTransform) -> Self {
        let uses = shape.baby_uses();
        let mut hoisted: Vec<usize> = uses.keys().filter(|(_, baby)| *baby != 0).map(|(ct, _)| *ct).collect();
        let babies = hoisted.len();
        hoisted.dedup();
        TransformSize {
            diagonals: shape.diagonals().len(),
            hoists: hoisted.len(),
            babies,
            giants: shape.groups().filter(|group| group[0].giant != 0).count(),
            outputs: shape.n_outputs(),
            numbers: 0,
        }
    }

    /// The same with diagonals of so many independent numbers.
    #[must_use]
    pub fn with_numbers(self, numbers: usize) -> Self {
        TransformSize { numbers, ..self }
    }

    /// The size of a transform in a bootstrap; `None` for another operation.
    pub fn of_bootstrap(operation: &Operation) -> Option<Self> {
        match *operation {
            Operation::Transform {
                diagonals,
                babies,
                giants,
                outputs,
                ..
            } => Some(TransformSize {
                diagonals,
                hoists: usize::from(babies > 0),
                babies,
                giants,
                outputs,
                numbers: 0,
            }),
            _ => None,
        }
    }
}

/// Share of a diagonal's evaluations that are distinct, where it is not known: an image network keeps its values in half of the
/// slots, and they are real.
const TYPICAL_DENSITY: f64 = 0.25;

/// Bytes that digits or rotated inputs of one transform may take; with more, inputs are taken in turn.
const ROTATED_BYTES: u64 = 1 << 30;

/// Product of a rotated ciphertext with an encoded diagonal.
fn plain_product(limbs: u32, density: f64) -> LimbOps {
    LimbOps {
        diagonal: 2.0 * f64::from(limbs),
        read: density * f64::from(limbs),
        ..LimbOps::default()
    }
}

/// Counts under given parameters. Levels are those the op works at.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    /// log2 of the ring degree.
    pub log_n: u32,
    switch: KeySwitchSpec,
    bands: KeyBands,
    /// Special primes of keys that raise from an ephemeral secret.
    raising_special: u32,
}

/// Bits by which those exceed q_0.
const RAISING_MARGIN: f64 = 10.0;

impl Costs {
    /// Counts for `spec`.
    pub fn new(spec: &ParameterSpec) -> Self {
        let switch = KeySwitchSpec::new(spec);
        let widths = (0..spec.n_primes()).map(|level| switch.digit_primes(level) as usize);
        Costs {
            log_n: spec.log_n,
            bands: KeyBands::new(&widths.collect::<Vec<_>>()),
            switch,
            raising_special: {
                let needed = (f64::from(spec.log_q0) + RAISING_MARGIN) / f64::from(spec.log_special.max(1));
                (needed.ceil() as u32).clamp(1, spec.n_special.max(1))
            },
        }
    }

    /// Levels by the keys that serve them.
    pub fn key_bands(&self) -> &KeyBands {
        &self.bands
    }

    /// Bytes of a key that raises to `level` from an ephemeral secret.
    pub fn raising_key_bytes(&self, level: u32) -> u64 {
        self.limb_bytes(level + 1 + self.raising_special)
    }

    /// Digits in use at `level`.
    pub fn digits(&self, level: u32) -> u32 {
        self.switch.digits(level)
    }

    /// Limbs of what is raised to the special primes of `level`.
    fn raised_limbs(&self, level: u32) -> u32 {
        level + 1 + self.switch.special_primes(level)
    }

    /// Bytes of a key for key switching at `level` as it lies in memory: one polynomial per digit, over the primes of the level and
    /// its special ones.
    pub fn key_bytes(&self, level: u32) -> u64 {
        KeySwitchKey::memory_bytes_of(
            self.digits(level) as usize,
            self.raised_limbs(level) as usize,
            self.log_n,
        ) as u64
    }

    /// Bytes of `limbs` limbs.
    pub fn limb_bytes(&self, limbs: u32) -> u64 {
        (8 * u64::from(limbs)) << self.log_n
    }

    /// Bytes that a linear transform works with at `level`: digits of its inputs, or rotated ones where they are divided first, and
    /// the sums of its giant steps, beside two key switches.
    pub fn transform_bytes(&self, size: &TransformSize, level: u32) -> u64 {
        let pair = self.limb_bytes(2 * self.diagonal_limbs(size, level));
        let rotated = match self.babies_stay_raised(size, level) {
            true => size.hoists as u64 * u64::from(self.digits(level)) * pair / 2,
            false => (size.babies + size.hoists) as u64 * pair,
        };
        rotated.min(ROTATED_BYTES) + (size.giants + size.outputs) as u64 * pair + 2 * self.key_switch_bytes(level)
    }

    /// Bytes that a key switch works with at `level`: its digits, its result, and what that becomes.
    pub fn key_switch_bytes(&self, level: u32) -> u64 {
        u64::from(self.digits(level) / 2 + 3) * self.limb_bytes(2 * self.raised_limbs(level))
    }

    /// Addition of two ciphertexts of `parts` parts, or of a plaintext (`parts` 1).
    pub fn add(&self, level: u32, parts: u32) -> LimbOps {
        LimbOps {
            add: f64::from(parts * (level + 1)),
            ..LimbOps::default()
        }
    }

    /// Product of `parts` parts with a plaintext or scalar.
    pub fn multiply_plain(&self, level: u32, parts: u32) -> LimbOps {
        LimbOps {
            multiply: f64::from(parts * (level + 1)),
            ..LimbOps::default()
        }
    }

    /// Tensor product; a square saves one of four products.
    pub fn tensor(&self, level: u32, is_square: bool) -> LimbOps {
        LimbOps {
            multiply: f64::from((if is_square { 3 } else { 4 }) * (level + 1)),
            ..LimbOps::default()
        }
    }

    /// Division of `parts` polynomials by the last of `level + 1` primes.
    pub fn rescale(&self, level: u32, parts: u32) -> LimbOps {
        self.divide(level, 1) * f64::from(parts)
    }

    /// A key switch of one polynomial, without the division by P.
    pub fn key_switch_raised(&self, level: u32) -> LimbOps {
        self.decompose(level) + self.key_product(level)
    }

    /// A key switch of one polynomial, with the division of both results.
    pub fn key_switch(&self, level: u32) -> LimbOps {
        self.key_switch_raised(level) + self.mod_down(level) * 2.0
    }

    /// A relinearisation with the rescale that follows it: one division by P and the last prime.
    pub fn relinearize_rescale(&self, level: u32) -> LimbOps {
        self.key_switch_raised(level) + self.multiply_plain(level, 2) + self.divide_all(level) * 2.0
    }

    /// A rotation.
    pub fn rotate(&self, level: u32) -> LimbOps {
        self.key_switch(level) + self.permute(level + 1) + self.add(level, 1)
    }

    /// `count` rotations that share the digits of their operand.
    pub fn hoisted_rotations(&self, level: u32, count: u32) -> LimbOps {
        let each = self.key_product(level) + self.mod_down(level) * 2.0 + self.permute(level + 1) + self.add(level, 1);
        self.decompose(level) + each * f64::from(count)
    }

    /// Encoding plaintexts.
    pub fn encode(&self, plaintexts: &Plaintexts) -> LimbOps {
        let each = LimbOps {
            ntt: f64::from(plaintexts.limbs),
            encode: 1.0,
            ..LimbOps::default()
        };
        each * (plaintexts.count as f64 * self.density(plaintexts))
    }

    /// Bytes of encoded plaintexts.
    pub fn plaintext_bytes(&self, plaintexts: &Plaintexts) -> u64 {
        let dense = plaintexts.count as u64 * self.limb_bytes(plaintexts.limbs);
        (dense as f64 * self.density(plaintexts)) as u64
    }

    /// Share of a polynomial's evaluations that are distinct.
    fn density(&self, plaintexts: &Plaintexts) -> f64 {
        self.share_of(plaintexts.numbers)
    }

    fn share_of(&self, numbers: usize) -> f64 {
        (numbers as f64 / f64::from(self.log_n).exp2()).min(1.0)
    }

    /// Whether a linear transform keeps its rotated inputs modulo QP.
    pub fn babies_stay_raised(&self, size: &TransformSize, level: u32) -> bool {
        let special = self.switch.special_primes(level);
        let division = (level + 1 + special) * self.log_n + (level + 1) * special;
        let raised = 2 * special as usize * size.diagonals + size.giants * division as usize;
        size.babies > 0 && raised < 2 * size.babies * division as usize
    }

    /// Limbs of every encoded diagonal of a linear transform at `level`.
    pub fn diagonal_limbs(&self, size: &TransformSize, level: u32) -> u32 {
        match self.babies_stay_raised(size, level) {
            true => self.raised_limbs(level),
            false => level + 1,
        }
    }

    /// A linear transform at `level` with its rescale, without rotate-and-sum, diagonals encoded beforehand.
    pub fn linear_transform(&self, size: &TransformSize, level: u32) -> LimbOps {
        let is_raised = self.babies_stay_raised(size, level);
        let limbs = self.diagonal_limbs(size, level);
        let mut baby = self.key_product(level) + self.permute(limbs);
        let mut giant = self.key_switch_raised(level) + self.permute(self.raised_limbs(level));
        let mut end = self.divide(level, 1) * 2.0;
        if is_raised {
            giant = giant + self.mod_down(level);
        } else {
            baby = baby + self.mod_down(level) * 2.0;
        }
        if is_raised || size.giants > 0 {
            end = self.divide_all(level) * 2.0;
        }
        let density = match size.numbers {
            0 => TYPICAL_DENSITY,
            numbers => self.share_of(numbers),
        };
        let products = plain_product(limbs, density) * size.diagonals as f64;
        self.decompose(level) * size.hoists as f64
            + baby * size.babies as f64
            + products
            + giant * size.giants as f64
            + end * size.outputs as f64
    }

    /// One operation of a bootstrap of so many slots.
    pub fn bootstrap_operation(&self, operation: &Operation, slots: usize) -> LimbOps {
        match *operation {
            Operation::Raise { .. } => self.raise(operation, slots),
            Operation::KeySwitch { level } => self.rotate(level as u32),
            Operation::Transform { level, .. } => {
                let size = TransformSize::of_bootstrap(operation).unwrap_or_default();
                self.linear_transform(&size.with_numbers(2 * slots), level as u32)
            }
            Operation::Products {
                level,
                tensors,
                scalars,
            } => {
                let level = level as u32;
                let end = if tensors > 0 {
                    self.relinearize_rescale(level)
                } else {
                    self.rescale(level, 2)
                };
                self.tensor(level, false) * tensors as f64 + self.multiply_plain(level, 2) * scalars as f64 + end
            }
        }
    }

    /// Raising a ciphertext of so many slots: the first part over the primes of the level, the second over special ones too, rotations
    /// with one digit each, and two divisions, in which a transform's rescale takes no transform more or less.
    fn raise(&self, operation: &Operation, slots: usize) -> LimbOps {
        let Operation::Raise {
            level,
            special,
            rotations,
            diagonals,
        } = *operation
        else {
            return LimbOps::default();
        };
        let (lifted, limbs) = ((level + 1) as f64, (level + 1 + special) as f64);
        // The first part is rotated once for each diagonal, or once.
        let whole = diagonals.max(1) as f64 * lifted;
        let turned = rotations as f64 * limbs;
        let weighted = if diagonals > 0 { turned + whole } else { 0.0 };
        let divided = 2.0 * special as f64 * lifted;
        LimbOps {
            ntt: lifted + limbs + 2.0 * limbs,
            stream_multiply: 2.0 * turned,
            diagonal: weighted,
            read: diagonals as f64 * limbs * self.share_of(2 * slots),
            permute: (turned + whole) / 2.0,
            convert: divided,
            multiply: lifted + 2.0 * lifted,
            ..LimbOps::default()
        }
    }

    /// Prices of the parts of a linear transform at `level`, for the choice of its plan.
    pub fn rotation_cost(&self, level: u32, table: &CostTable) -> RotationCost {
        let seconds = |ops: LimbOps| table.seconds(self.log_n, &ops);
        let limbs = self.raised_limbs(level);
        RotationCost {
            hoist: seconds(self.decompose(level)),
            baby: seconds(self.key_product(level) + self.permute(limbs)),
            giant: seconds(self.key_switch_raised(level) + self.permute(limbs) + self.mod_down(level)),
            plain: seconds(plain_product(limbs, TYPICAL_DENSITY)),
        }
    }

    /// Evaluation of a polynomial from `level` on.
    pub fn poly_eval(&self, plan: &PolynomialPlan, level: u32) -> LimbOps {
        // Powers and sums lie about evenly over the levels that the plan consumes.
        let depth = plan.depth() as u32;
        let middle = level.saturating_sub(depth.saturating_sub(1) / 2);
        let n_relin = plan.relinearizations() as f64;
        let coefficients = plan.polynomial().coeffs().iter().filter(|c| **c != 0.0).count() as f64;
        self.tensor(middle, false) * plan.ct_mults() as f64
            + (self.key_switch(middle) + self.rescale(middle, 2)) * n_relin
            + self.rescale(level + 1 - depth.min(level), 2)
            + self.multiply_plain(middle, 2) * coefficients
    }

    /// Digit decomposition of one polynomial, raised to the special primes.
    fn decompose(&self, level: u32) -> LimbOps {
        let n_limbs = level + 1;
        let n_raised = self.raised_limbs(level);
        let (mut ntt, mut convert) = (f64::from(n_limbs), 0.0);
        for width in self.switch.digit_widths(level) {
            ntt += f64::from(n_raised - width);
            convert += f64::from(width * (n_raised - width));
        }
        LimbOps {
            ntt,
            convert,
            ..LimbOps::default()
        }
    }

    /// Inner product of the digits with a key.
    fn key_product(&self, level: u32) -> LimbOps {
        LimbOps {
            stream_multiply: f64::from(2 * self.digits(level) * self.raised_limbs(level)),
            ..LimbOps::default()
        }
    }

    /// Division of one polynomial by P.
    fn mod_down(&self, level: u32) -> LimbOps {
        let special = self.switch.special_primes(level);
        self.divide(level + special, special)
    }

    /// Division of one polynomial by P and the last prime.
    fn divide_all(&self, level: u32) -> LimbOps {
        let special = self.switch.special_primes(level);
        self.divide(level + special, special + 1)
    }

    /// Division of one polynomial of `top + 1` limbs by the product of `by` of them.
    fn divide(&self, top: u32, by: u32) -> LimbOps {
        let left = f64::from((top + 1).saturating_sub(by));
        LimbOps {
            ntt: f64::from(by) + left,
            convert: f64::from(by) * left,
            multiply: left,
            ..LimbOps::default()
        }
    }

    fn permute(&self, limbs: u32) -> LimbOps {
        LimbOps {
            permute: 2.0 * f64::from(limbs),
            ..LimbOps::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aphelion_ir::ckks::Secret;
    use aphelion_runtime::ckks::linear::DiagonalIdx;

    fn costs(dnum: u32, n_special: u32) -> Costs {
        Costs::new(&ParameterSpec {
            log_n: 14,
            max_level: 8,
            log_scale: 40,
            log_q0: 45,
            dnum,
            log_special: 45,
            n_special,
            gadgets: None,
            secret: Secret::UniformTernary {},
            bootstrap: None,
        })
    }

    #[test]
    fn a_key_switch_with_single_prime_digits_meets_its_closed_form() {
        // 9 limbs, 9 digits, 1 special prime: 9 inverse transforms, 9 digits raised to 9 other primes, 2 (1 + 9) for
        // the divisions.
        let ops = costs(9, 1).key_switch(8);
        assert_eq!(ops.ntt, 9.0 + 81.0 + 20.0);
        assert_eq!(ops.convert, 81.0 + 18.0);
        assert_eq!((ops.stream_multiply, ops.multiply), (2.0 * 9.0 * 10.0, 18.0));
        assert_eq!(costs(9, 1).key_bytes(8), 9 * 10 * 8 * 16384);
        assert_eq!(costs(3, 3).digits(8), 3);
        assert_eq!(costs(3, 3).digits(2), 1);
    }

    #[test]
    fn hoisting_makes_a_transform_cheaper_than_its_rotations() {
        let idx = |giant, baby| DiagonalIdx {
            out: 0,
            giant,
            input: 0,
            baby,
        };
        let diagonals = (0..4).flat_map(|g| (0..8).map(move |b| idx(8 * g, b))).collect();
        let shape = LinearTransform::new(64, 1, 1, diagonals, vec![]).expect("a valid shape");
        let costs = costs(3, 3);
        let table = crate::cost_model::CostTable::default();
        let seconds = |ops: &LimbOps| table.seconds(14, ops);
        let products = costs.rotation_cost(8, &table).plain * shape.diagonals().len() as f64;
        let one_by_one = seconds(&costs.rotate(8)) * shape.key_switches() as f64 + products;
        let transform = seconds(&costs.linear_transform(&TransformSize::of(&shape), 8));
        assert!(transform < one_by_one, "{transform} {one_by_one}");
        assert!(transform > seconds(&costs.rotate(8)) * 3.0);
    }
}
