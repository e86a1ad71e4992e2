//! Static counts of a program: what one evaluation does.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::program::{Op, Program};
use crate::ckks::polynomial::{PolynomialPlan, Sum};

/// Operations of one evaluation; those within a bootstrap count as that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rotations and conjugations, each a key switch; hoisted ones included.
    pub rotations: u64,
    /// Rotations that share the decomposition of their operand with others.
    pub hoisted_rotations: u64,
    /// Products of two ciphertexts.
    pub ct_mults: u64,
    /// Products of a ciphertext and a plaintext or scalar.
    pub pt_mults: u64,
    /// Divisions by a prime.
    pub rescales: u64,
    /// Relinearisations, each a key switch.
    pub relinearizations: u64,
    /// Bootstraps.
    pub bootstraps: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.rotations += other.rotations;
        self.hoisted_rotations += other.hoisted_rotations;
        self.ct_mults += other.ct_mults;
        self.pt_mults += other.pt_mults;
        self.rescales += other.rescales;
        self.relinearizations += other.relinearizations;
        self.bootstraps += other.bootstraps;
    }
}

impl Counts {
    /// Counts of one op of a checked program.
    #[must_use]
    pub fn of_op(program: &Program, op: &Op) -> Self {
        let mut counts = Self::default();
        match op {
            Op::Add { .. } | Op::Sub { .. } | Op::Neg { .. } | Op::AddPlain { .. } | Op::AddScalar { .. } => {}
            Op::MulPlain { .. } | Op::MulScalar { .. } => counts.pt_mults = 1,
            Op::Mul { .. } => counts.ct_mults = 1,
            Op::Relinearize { .. } => counts.relinearizations = 1,
            Op::RelinearizeRescale { .. } => {
                counts.relinearizations = 1;
                counts.rescales = 1;
            }
            Op::Rescale { .. } => counts.rescales = 1,
            Op::DropLevel { .. } => {
                counts.pt_mults = 1;
                counts.rescales = 1;
            }
            Op::Rotate { by, .. } => {
                counts.rotations = by.len() as u64;
                counts.hoisted_rotations = if by.len() > 1 { by.len() as u64 } else { 0 };
            }
            Op::Conjugate { .. } => counts.rotations = 1,
            Op::LinearTransform { transform, .. } => {
                let diagonals = &program.transforms[*transform].diagonals;
                let babies: BTreeSet<_> = diagonals
                    .iter()
                    .map(|d| (d.input, d.baby))
                    .filter(|d| d.1 != 0)
                    .collect();
                let giants: BTreeSet<_> = diagonals
                    .iter()
                    .map(|d| (d.out, d.giant))
                    .filter(|d| d.1 != 0)
                    .collect();
                counts.pt_mults = diagonals.len() as u64;
                counts.rescales = program.transforms[*transform].n_outputs as u64;
                counts.hoisted_rotations = babies.len() as u64;
                counts.rotations = (babies.len() + giants.len()) as u64;
            }
            Op::Bootstrap { .. } => counts.bootstraps = 1,
            Op::PolyEval { polynomial, .. } => {
                let plan = PolynomialPlan::new(program.polynomials[*polynomial].clone());
                counts.ct_mults = plan.ct_mults() as u64;
                counts.relinearizations = plan.relinearizations() as u64;
                counts.pt_mults = scalar_products(plan.root());
                counts.rescales = plan.powers().len() as u64 + sums(plan.root());
            }
        }
        counts
    }

    /// Counts of a whole checked program.
    #[must_use]
    pub fn of_program(program: &Program) -> Self {
        let mut counts = Self::default();
        for instruction in &program.instructions {
            counts += Self::of_op(program, &instruction.op);
        }
        counts
    }
}

/// Powers multiplied by a coefficient.
fn scalar_products(sum: &Sum) -> u64 {
    let below: u64 = sum
        .products
        .iter()
        .map(|product| scalar_products(&product.quotient))
        .sum();
    sum.leaf.terms.len() as u64 + below
}

/// Sums, each of which ends with one rescale.
fn sums(sum: &Sum) -> u64 {
    1 + sum.products.iter().map(|product| sums(&product.quotient)).sum::<u64>()
}
