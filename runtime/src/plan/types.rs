//! The type rules of a program: what every register holds, or why an instruction cannot be run.
//!
//! Assumes a checked [`ClientPart`]. Ensures, for a program that passes: every register, transform, polynomial,
//! constant and origin that is named exists; levels never rise nor fall below zero; sums meet equal levels and scales;
//! products meet canonical scales; the keys that are used are in the key manifest at a sufficient level; outputs are
//! canonical ciphertexts of two parts with the slots of their packing.

use std::collections::BTreeMap;

use super::bootstrap::BootstrapKind;
use super::client::ClientPart;
use super::constants::{Constants, VectorId};
use super::program::{Op, Program, Register, Transform};
use crate::ckks::boot::BootstrapPlan;
use crate::ckks::keys::KeyPurpose;
use crate::ckks::linear::{DiagonalIdx, LinearTransform};
use crate::ckks::params::KeyBands;
use crate::ckks::polynomial::{Polynomial, PolynomialPlan};
use crate::error::{Error, Result};

/// Which power of the canonical scale of its level a ciphertext has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalePower {
    /// The canonical scale.
    Canonical,
    /// Its square: a product that waits for its rescale.
    Squared,
}

/// What a register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CipherType {
    /// Slots, a power of two.
    pub slots: usize,
    /// Rescales left.
    pub level: usize,
    /// Scale.
    pub scale: ScalePower,
    /// 2, or 3 between a product and its relinearisation.
    pub parts: usize,
}

/// Types of all registers of a program.
///
/// # Errors
/// [`Error::InvalidPlan`] with the first instruction that breaks a rule.
pub fn check(
    client: &ClientPart,
    program: &Program,
    constants: &Constants,
    bootstraps: &BTreeMap<BootstrapKind, BootstrapPlan>,
) -> Result<Vec<CipherType>> {
    program.report.check()?;
    for (number, polynomial) in program.polynomials.iter().enumerate() {
        // Deserialising goes past the constructor's checks.
        let checked = Polynomial::new(polynomial.basis(), polynomial.coeffs().to_vec());
        if checked.as_ref() != Ok(polynomial) {
            return Err(Error::InvalidPlan {
                place: format!("polynomial {number}"),
                reason: "constant, not finite or with a leading zero".into(),
            });
        }
    }
    let depths = |polynomial: &Polynomial| PolynomialPlan::new(polynomial.clone()).relinearization_depths();
    let cx = Checker {
        client,
        program,
        constants,
        bootstraps,
        bands: client.parameters.key_bands(),
        relinearization_depths: program.polynomials.iter().map(depths).collect(),
    };
    for (number, transform) in program.transforms.iter().enumerate() {
        cx.transform(transform).map_err(|reason| Error::InvalidPlan {
            place: format!("transform {number}"),
            reason,
        })?;
    }
    let mut types = Vec::new();
    for port in &client.inputs {
        let ty = CipherType {
            slots: port.packing.slots,
            level: port.level,
            scale: ScalePower::Canonical,
            parts: 2,
        };
        types.extend(std::iter::repeat_n(ty, port.packing.ciphertexts));
    }
    for (number, instruction) in program.instructions.iter().enumerate() {
        let invalid = |reason: String| Error::InvalidPlan {
            place: format!("instruction {number} ({})", instruction.op.name()),
            reason,
        };
        if instruction.origin >= program.origins.len() {
            return Err(invalid(format!(
                "origin {} of {}",
                instruction.origin,
                program.origins.len()
            )));
        }
        let ty = cx.op(&instruction.op, &types).map_err(invalid)?;
        types.extend(std::iter::repeat_n(ty, program.n_results(&instruction.op)));
    }
    for (kind, plan) in bootstraps {
        cx.bootstrap_keys(plan).map_err(|reason| Error::InvalidPlan {
            place: format!("bootstrap of {} slots", kind.slots),
            reason,
        })?;
    }
    cx.outputs(&types)?;
    Ok(types)
}

struct Checker<'a> {
    client: &'a ClientPart,
    program: &'a Program,
    constants: &'a Constants,
    bootstraps: &'a BTreeMap<BootstrapKind, BootstrapPlan>,
    bands: KeyBands,
    /// Of every polynomial.
    relinearization_depths: Vec<Vec<usize>>,
}

type Checked<T> = std::result::Result<T, String>;

impl Checker<'_> {
    fn op(&self, op: &Op, types: &[CipherType]) -> Checked<CipherType> {
        let get = |register: &Register| {
            let ty = types.get(register.index()).copied();
            ty.ok_or_else(|| format!("register {} is read before it is written", register.0))
        };
        match op {
            Op::Add { a, b } | Op::Sub { a, b } => {
                let (a, b) = (get(a)?, get(b)?);
                let parts = a.parts.max(b.parts);
                if (CipherType { parts, ..a }) != (CipherType { parts, ..b }) {
                    return Err(format!("operands differ: {a:?} and {b:?}"));
                }
                Ok(CipherType { parts, ..a })
            }
            Op::Neg { x } => get(x),
            Op::AddScalar { x, by } => finite(*by).and_then(|()| get(x)),
            Op::AddPlain { x, value } => {
                let ty = get(x)?;
                self.vector(*value, ty.slots)?;
                Ok(ty)
            }
            Op::MulPlain { x, value, level } => {
                let ty = get(x)?;
                self.vector(*value, ty.slots)?;
                product(ty, *level)
            }
            Op::MulScalar { x, by, level } => {
                finite(*by)?;
                product(get(x)?, *level)
            }
            Op::Mul { a, b } => {
                let (a, b) = (canonical(get(a)?)?, canonical(get(b)?)?);
                if a != b {
                    return Err(format!("factors differ: {a:?} and {b:?}"));
                }
                Ok(CipherType {
                    scale: ScalePower::Squared,
                    parts: 3,
                    ..a
                })
            }
            Op::Relinearize { x } => self.relinearized(get(x)?),
            Op::RelinearizeRescale { x } => rescaled(self.relinearized(get(x)?)?),
            Op::Rescale { x } => rescaled(get(x)?),
            Op::DropLevel { x, to } => match canonical(get(x)?)? {
                ty if *to < ty.level => Ok(CipherType { level: *to, ..ty }),
                ty => Err(format!("level {to} is not below {}", ty.level)),
            },
            Op::Rotate { x, by } => {
                let ty = two_parts(get(x)?)?;
                if by.is_empty() {
                    return Err("no steps".into());
                }
                by.iter()
                    .try_for_each(|step| self.rotation(*step, ty.slots, ty.level))?;
                Ok(ty)
            }
            Op::Conjugate { x } => {
                let ty = two_parts(get(x)?)?;
                self.key(KeyPurpose::Conjugate, ty.level)?;
                Ok(ty)
            }
            Op::LinearTransform { xs, transform, level } => {
                let shape = self
                    .program
                    .transforms
                    .get(*transform)
                    .ok_or(format!("no transform {transform}"))?;
                if xs.len() != shape.n_inputs {
                    return Err(format!("{} operands for {} inputs", xs.len(), shape.n_inputs));
                }
                let first = get(xs.first().ok_or("no operands")?)?;
                for x in xs {
                    if get(x)? != first {
                        return Err(format!("operands differ: {first:?} and {:?}", get(x)?));
                    }
                }
                if shape.slots != first.slots {
                    return Err(format!("operands of {} slots for {} slots", first.slots, shape.slots));
                }
                for diagonal in &shape.diagonals {
                    for step in [diagonal.baby, diagonal.giant].into_iter().filter(|step| *step != 0) {
                        self.rotation(step, shape.slots, *level)?;
                    }
                }
                rescaled(product(first, *level)?)
            }
            Op::PolyEval { x, polynomial, level } => {
                let ty = canonical(get(x)?)?;
                let depths = self.relinearization_depths.get(*polynomial);
                let polynomial = self.program.polynomials.get(*polynomial);
                let (polynomial, depths) = polynomial.zip(depths).ok_or("no such polynomial")?;
                if *level > ty.level {
                    return Err(format!("works at level {level}, the operand is at level {}", ty.level));
                }
                let end = level.checked_sub(polynomial.depth());
                let end = end.ok_or(format!("a depth of {} exceeds the level", polynomial.depth()))?;
                for depth in depths {
                    self.key(KeyPurpose::Relinearize, level - depth)?;
                }
                Ok(CipherType { level: end, ..ty })
            }
            Op::Bootstrap { xs, slots } => {
                if let [a, b] = xs[..]
                    && a == b
                {
                    return Err("both operands are the same register".into());
                }
                self.bootstrap(xs.iter().map(get).collect::<Checked<_>>()?, *slots)
            }
        }
    }

    fn bootstrap(&self, types: Vec<CipherType>, slots: usize) -> Checked<CipherType> {
        let first = canonical(*types.first().ok_or("no operands")?)?;
        if types.len() > 2
            || types
                .iter()
                .any(|ty| (ty.slots, ty.parts) != (first.slots, first.parts))
        {
            return Err(format!("one or two ciphertexts of equal slots, not {types:?}"));
        }
        if slots > first.slots {
            return Err(format!(
                "{slots} slots are more than the {} of the operand",
                first.slots
            ));
        }
        let plan = self.bootstraps.get(&BootstrapKind::new(slots, types.len()));
        let plan = plan.ok_or("the program has no bootstrapping circuit")?;
        for ty in types {
            if canonical(ty)?.level < plan.input_level() {
                return Err(format!(
                    "starts at level {}, the operand is at {}",
                    plan.input_level(),
                    ty.level
                ));
            }
        }
        Ok(CipherType {
            level: plan.output_level(),
            ..first
        })
    }

    /// A bootstrap's keys, against the manifest.
    fn bootstrap_keys(&self, plan: &BootstrapPlan) -> Checked<()> {
        let needed = plan.key_request().map_err(|error| error.to_string())?;
        let manifest = &self.client.keys;
        for (purpose, level) in needed.keys(&self.bands) {
            self.key(purpose, level)?;
        }
        match (needed.encapsulation, &manifest.encapsulation) {
            (Some(needed), Some(stored)) if stored.hamming_weight <= needed.hamming_weight => {
                let stored: BTreeMap<usize, usize> = stored.keys().collect();
                needed.keys().try_for_each(|(step, level)| {
                    let what = match step {
                        0 => "encapsulation".to_string(),
                        _ => format!("rotation by {step} while raising"),
                    };
                    match stored.get(&step) {
                        None => Err(format!("the key manifest lacks the key for {what}")),
                        Some(stored) if *stored < level => Err(too_low(&what, *stored, level)),
                        Some(_) => Ok(()),
                    }
                })
            }
            (Some(needed), _) => Err(format!(
                "the key manifest lacks encapsulation with a Hamming weight of at most {}",
                needed.hamming_weight
            )),
            (None, _) => Ok(()),
        }
    }

    fn relinearized(&self, ty: CipherType) -> Checked<CipherType> {
        if ty.parts != 3 {
            return Err("the operand has two parts already".into());
        }
        self.key(KeyPurpose::Relinearize, ty.level)?;
        Ok(CipherType { parts: 2, ..ty })
    }

    fn outputs(&self, types: &[CipherType]) -> Result<()> {
        let ports = &self.client.outputs;
        let invalid = |place: String, reason: String| Err(Error::InvalidPlan { place, reason });
        if ports.len() != self.program.outputs.len() {
            let reason = format!(
                "{} results for {} output ports",
                self.program.outputs.len(),
                ports.len()
            );
            return invalid("outputs".into(), reason);
        }
        for (port, registers) in ports.iter().zip(&self.program.outputs) {
            let place = format!("output `{}`", port.name);
            if registers.len() != port.packing.ciphertexts {
                let reason = format!(
                    "{} registers for {} ciphertexts",
                    registers.len(),
                    port.packing.ciphertexts
                );
                return invalid(place, reason);
            }
            for register in registers {
                match types.get(register.index()) {
                    Some(ty)
                        if ty.parts == 2 && ty.scale == ScalePower::Canonical && ty.slots == port.packing.slots => {}
                    found => return invalid(place, format!("register {} holds {found:?}", register.0)),
                }
            }
        }
        Ok(())
    }

    fn transform(&self, transform: &Transform) -> Checked<()> {
        shape_of(transform).map_err(|error| error.to_string())?;
        if !transform.diagonals.is_sorted() {
            return Err("the diagonals are not in order".into());
        }
        transform
            .diagonals
            .iter()
            .try_for_each(|diagonal| self.vector(diagonal.vector, transform.slots))
    }

    fn vector(&self, id: VectorId, slots: usize) -> Checked<()> {
        match self.constants.period(id) {
            None => Err(format!("there is no constant {}", id.0)),
            Some(period) if period > slots => Err(format!("constant {} has {period} numbers for {slots} slots", id.0)),
            Some(_) => Ok(()),
        }
    }

    fn rotation(&self, step: usize, slots: usize, level: usize) -> Checked<()> {
        if step == 0 || step >= slots {
            return Err(format!("rotation by {step} with {slots} slots"));
        }
        self.key(KeyPurpose::Rotate(step), level)
    }

    /// That the manifest has a key for a purpose at a level.
    fn key(&self, purpose: KeyPurpose, level: usize) -> Checked<()> {
        match self.client.keys.key_level(purpose, level, &self.bands) {
            None => Err(format!("the key manifest lacks the key for {purpose} at level {level}")),
            Some(stored) if stored < level => Err(too_low(&purpose.to_string(), stored, level)),
            Some(_) => Ok(()),
        }
    }
}

fn too_low(what: &str, stored: usize, level: usize) -> String {
    format!("the key for {what} is at level {stored}, the operand at level {level}")
}

/// The runtime's shape of a transform, checked.
pub(crate) fn shape_of(transform: &Transform) -> Result<LinearTransform> {
    let idx = |d: &super::program::Diagonal| DiagonalIdx {
        out: d.out,
        giant: d.giant,
        input: d.input,
        baby: d.baby,
    };
    let diagonals = transform.diagonals.iter().map(idx).collect();
    LinearTransform::new(
        transform.slots,
        transform.n_inputs,
        transform.n_outputs,
        diagonals,
        Vec::new(),
    )
}

fn finite(value: f64) -> Checked<()> {
    if value.is_finite() {
        Ok(())
    } else {
        Err(format!("scalar {value}"))
    }
}

fn two_parts(ty: CipherType) -> Checked<CipherType> {
    if ty.parts == 2 {
        Ok(ty)
    } else {
        Err("the operand has three parts; relinearise it first".into())
    }
}

fn canonical(ty: CipherType) -> Checked<CipherType> {
    match two_parts(ty)? {
        ty if ty.scale == ScalePower::Canonical => Ok(ty),
        _ => Err("the operand waits for a rescale".into()),
    }
}

fn rescaled(ty: CipherType) -> Checked<CipherType> {
    if ty.scale == ScalePower::Canonical {
        return Err("the operand is at its canonical scale".into());
    }
    Ok(CipherType {
        level: ty.level.checked_sub(1).ok_or("level 0 cannot be rescaled")?,
        scale: ScalePower::Canonical,
        ..ty
    })
}

fn product(ty: CipherType, level: usize) -> Checked<CipherType> {
    let ty = canonical(ty)?;
    if level == 0 {
        return Err("works at level 0, which leaves no rescale".into());
    }
    if level > ty.level {
        return Err(format!("works at level {level}, the operand is at level {}", ty.level));
    }
    Ok(CipherType {
        level,
        scale: ScalePower::Squared,
        ..ty
    })
}
