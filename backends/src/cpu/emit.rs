//! Instruction by instruction: what every op of `ckks` becomes.

use std::collections::{BTreeMap, BTreeSet};

use aphelion_ir::ckks::{Ckks, CkksOp};
use aphelion_ir::slot::{Basis as SlotBasis, Polynomial as SlotPolynomial};
use aphelion_ir::{Graph, Node, Origin, ValueId};
use aphelion_runtime::ckks::boot::BootstrapPlan;
use aphelion_runtime::ckks::keys::KeyRequest;
use aphelion_runtime::ckks::polynomial::{Basis, Polynomial, PolynomialPlan};
use aphelion_runtime::plan::{BootstrapKind, ConstantWriter, Instruction, Op, Register, Transform, VectorId};
use rayon::prelude::*;

use super::constants::{self, Matrix};
use super::pending;
use crate::error::BackendError;

/// Matrices that are made at the same time: they take much memory for a moment.
const MATRICES_AT_ONCE: usize = 2;
/// Fewest slots of a bootstrap.
const MIN_BOOTSTRAP_SLOTS: usize = 2;

/// The registers of a value.
#[derive(Clone)]
struct Bundle {
    registers: Vec<Register>,
    /// Whether the rescale that the value waits for in the graph has been done.
    is_rescaled: bool,
}

pub(super) struct Emitter<'a> {
    graph: &'a Graph<Ckks>,
    users: Vec<Vec<ValueId>>,
    merged_rescales: Vec<bool>,
    bundles: Vec<Option<Bundle>>,
    /// Linear transforms to come, the next one last.
    transforms_ahead: Vec<ValueId>,
    /// Matrices made ahead.
    matrices: BTreeMap<ValueId, Matrix>,
    /// Values held unrescaled that were rescaled early to be added to one that is.
    rescaled_early: BTreeMap<ValueId, Bundle>,
    pairs_bootstraps: bool,
    bootstraps: BTreeSet<BootstrapKind>,
    next_register: u32,
    origin_numbers: BTreeMap<String, usize>,
    pub(super) instructions: Vec<Instruction>,
    pub(super) transforms: Vec<Transform>,
    pub(super) polynomials: Vec<Polynomial>,
    pub(super) origins: Vec<String>,
    pub(super) constants: ConstantWriter,
    pub(super) keys: KeyRequest,
}

type Emitted = Result<Bundle, BackendError>;

impl<'a> Emitter<'a> {
    pub(super) fn new(graph: &'a Graph<Ckks>, live: &[bool]) -> Result<Self, BackendError> {
        let bootstrap = graph.attrs.parameters.as_ref().and_then(|spec| spec.bootstrap.as_ref());
        let mut users = graph.users();
        users
            .iter_mut()
            .for_each(|users| users.retain(|user| live[user.index()]));
        Ok(Self {
            graph,
            users,
            merged_rescales: pending::merged_rescales(graph),
            bundles: vec![None; graph.len()],
            transforms_ahead: graph
                .iter()
                .rev()
                .filter(|(id, node)| live[id.index()] && matches!(node.op, CkksOp::LinearTransform { .. }))
                .map(|(id, _)| id)
                .collect(),
            matrices: BTreeMap::new(),
            rescaled_early: BTreeMap::new(),
            pairs_bootstraps: bootstrap.is_some_and(|bootstrap| bootstrap.pairs),
            bootstraps: BTreeSet::new(),
            next_register: 0,
            origin_numbers: BTreeMap::new(),
            instructions: Vec::new(),
            transforms: Vec::new(),
            polynomials: Vec::new(),
            origins: Vec::new(),
            constants: ConstantWriter::new(),
            keys: KeyRequest::default(),
        })
    }

    /// Gives an input its registers; all inputs come before all ops.
    pub(super) fn input(&mut self, id: ValueId, n_ciphertexts: usize) {
        let registers = self.allocate(n_ciphertexts);
        self.bundles[id.index()] = Some(Bundle {
            registers,
            is_rescaled: false,
        });
    }

    /// The registers of a result.
    pub(super) fn output(&mut self, id: ValueId) -> Result<Vec<Register>, BackendError> {
        let ty = self.graph.ty(id);
        if ty.scale_power != 1 || ty.degree != 1 {
            let message = format!("result {id} waits for a rescale or a relinearisation");
            return Err(BackendError::Unfinished(message));
        }
        Ok(self.bundle(id)?.registers)
    }

    /// Emits the instructions of one op.
    pub(super) fn op(&mut self, id: ValueId, node: &Node<Ckks>) -> Result<(), BackendError> {
        if self.bundles[id.index()].is_some() {
            // An input, or a rotation that was emitted together with an earlier one.
            return Ok(());
        }
        let origin = self.origin(&node.origin);
        let bundle = match &node.op {
            CkksOp::Input { layout, .. } => {
                self.input(id, layout.cts);
                return Ok(());
            }
            CkksOp::Add { a, b } => self.sum(origin, *a, *b, |a, b| Op::Add { a, b })?,
            CkksOp::Sub { a, b } => self.sum(origin, *a, *b, |a, b| Op::Sub { a, b })?,
            CkksOp::Neg { x } => self.each(origin, *x, |x| Op::Neg { x })?,
            CkksOp::AddScalar { x, by } => self.each(origin, *x, |x| Op::AddScalar { x, by: *by })?,
            CkksOp::AddPlain { x, value, layout } => {
                let values = constants::plain(&mut self.constants, value, layout, &self.graph.constants)?;
                self.each_with(origin, *x, &values, |x, value| Op::AddPlain { x, value })?
            }
            CkksOp::MulPlain { x, value, layout, at } => {
                let values = constants::plain(&mut self.constants, value, layout, &self.graph.constants)?;
                let level = *at as usize;
                self.each_with(origin, *x, &values, |x, value| Op::MulPlain { x, value, level })?
            }
            CkksOp::MulScalar { x, by, at } => {
                let multiply = |x| Op::MulScalar {
                    x,
                    by: *by,
                    level: *at as usize,
                };
                self.each(origin, *x, multiply)?
            }
            CkksOp::Mul { a, b } => {
                let (a, b) = (self.bundle(*a)?, self.bundle(*b)?);
                self.pairs(origin, &a, &b, |a, b| Op::Mul { a, b })
            }
            CkksOp::Relinearize { x } => self.relinearize(origin, id, *x)?,
            CkksOp::Rescale { x } => {
                let bundle = self.bundle(*x)?;
                let rescaled = if bundle.is_rescaled {
                    bundle
                } else {
                    self.rescaled(origin, *x)?
                };
                Bundle {
                    is_rescaled: false,
                    ..rescaled
                }
            }
            CkksOp::DropLevel { x, to } => self.each(origin, *x, |x| Op::DropLevel { x, to: *to as usize })?,
            CkksOp::Rotate { x, .. } => return self.rotations(origin, *x),
            CkksOp::LinearTransform { x, at, .. } => {
                if *at == 0 {
                    return Err(unsupported(node, "a linear transform at level 0 leaves no rescale"));
                }
                let transform = self.matrix(id)?.transform(&mut self.constants)?;
                self.linear_transform(origin, *x, transform, *at as usize)?
            }
            CkksOp::PolyEval { x, poly, at } => {
                let polynomial = polynomial(poly).map_err(|reason| unsupported(node, &reason))?;
                self.poly_eval(origin, *x, polynomial, *at as usize, poly.depth())?
            }
            CkksOp::Bootstrap { x, slots, .. } => self.bootstraps(origin, *x, *slots)?,
        };
        self.bundles[id.index()] = Some(bundle);
        Ok(())
    }

    /// The matrix of a linear transform. Some that follow are made with it, for threads to share in.
    fn matrix(&mut self, id: ValueId) -> Result<Matrix, BackendError> {
        if !self.matrices.contains_key(&id) {
            let first = self.transforms_ahead.len().saturating_sub(MATRICES_AT_ONCE);
            let made = self.transforms_ahead.split_off(first).into_par_iter().map(|id| {
                let CkksOp::LinearTransform {
                    kernel, input, bsgs, ..
                } = self.graph.op(id)
                else {
                    unreachable!("only linear transforms are ahead");
                };
                Ok((id, Matrix::new(kernel, input, bsgs, &self.graph.constants)?))
            });
            self.matrices = made.collect::<Result<_, BackendError>>()?;
        }
        let matrix = self.matrices.remove(&id);
        matrix.ok_or_else(|| BackendError::Unfinished(format!("{id} is out of order")))
    }

    fn sum(&mut self, origin: usize, a: ValueId, b: ValueId, op: impl Fn(Register, Register) -> Op) -> Emitted {
        let (mut left, mut right) = (self.bundle(a)?, self.bundle(b)?);
        if left.is_rescaled != right.is_rescaled {
            if left.is_rescaled {
                right = self.rescaled(origin, b)?;
            } else {
                left = self.rescaled(origin, a)?;
            }
        }
        Ok(self.pairs(origin, &left, &right, op))
    }

    fn pairs(&mut self, origin: usize, a: &Bundle, b: &Bundle, op: impl Fn(Register, Register) -> Op) -> Bundle {
        let pairs = a.registers.iter().zip(&b.registers);
        Bundle {
            registers: pairs.map(|(a, b)| self.push(origin, op(*a, *b))).collect(),
            is_rescaled: a.is_rescaled,
        }
    }

    fn each(&mut self, origin: usize, x: ValueId, mut op: impl FnMut(Register) -> Op) -> Emitted {
        let bundle = self.bundle(x)?;
        Ok(Bundle {
            registers: bundle.registers.iter().map(|x| self.push(origin, op(*x))).collect(),
            is_rescaled: bundle.is_rescaled,
        })
    }

    /// As `each`, with one vector per ciphertext.
    fn each_with(
        &mut self,
        origin: usize,
        x: ValueId,
        vectors: &[VectorId],
        op: impl Fn(Register, VectorId) -> Op,
    ) -> Emitted {
        let bundle = self.bundle(x)?;
        let pairs = bundle.registers.iter().zip(vectors);
        Ok(Bundle {
            registers: pairs.map(|(x, vector)| self.push(origin, op(*x, *vector))).collect(),
            is_rescaled: bundle.is_rescaled,
        })
    }

    fn relinearize(&mut self, origin: usize, id: ValueId, x: ValueId) -> Emitted {
        self.keys.add_relin(self.level(x)?);
        let is_rescaled = self.bundle(x)?.is_rescaled;
        let waits = self.graph.ty(x).scale_power == 2 && !is_rescaled;
        if waits && self.merged_rescales[id.index()] && self.graph.ty(x).level > 0 {
            let bundle = self.each(origin, x, |x| Op::RelinearizeRescale { x })?;
            return Ok(Bundle {
                is_rescaled: true,
                ..bundle
            });
        }
        self.each(origin, x, |x| Op::Relinearize { x })
    }

    /// The value with the rescale that it waits for, emitted once.
    fn rescaled(&mut self, origin: usize, x: ValueId) -> Emitted {
        if let Some(bundle) = self.rescaled_early.get(&x) {
            return Ok(bundle.clone());
        }
        let bundle = Bundle {
            is_rescaled: true,
            ..self.each(origin, x, |x| Op::Rescale { x })?
        };
        self.rescaled_early.insert(x, bundle.clone());
        Ok(bundle)
    }

    /// All rotations of `x`, hoisted together.
    fn rotations(&mut self, origin: usize, x: ValueId) -> Result<(), BackendError> {
        let level = self.level(x)?;
        let bundle = self.bundle(x)?;
        let mut steps: BTreeMap<usize, Vec<ValueId>> = BTreeMap::new();
        for user in &self.users[x.index()] {
            if let CkksOp::Rotate { by, .. } = self.graph.op(*user) {
                steps.entry(*by).or_default().push(*user);
            }
        }
        let by: Vec<usize> = steps.keys().copied().collect();
        by.iter().for_each(|step| self.keys.add_rotation(*step, level));
        let mut rotated = vec![Vec::new(); by.len()];
        for register in &bundle.registers {
            let op = Op::Rotate {
                x: *register,
                by: by.clone(),
            };
            for (results, register) in rotated.iter_mut().zip(self.push_many(origin, op, by.len())) {
                results.push(register);
            }
        }
        for (users, registers) in steps.into_values().zip(rotated) {
            for user in users {
                self.bundles[user.index()] = Some(Bundle {
                    registers: registers.clone(),
                    is_rescaled: bundle.is_rescaled,
                });
            }
        }
        Ok(())
    }

    fn linear_transform(&mut self, origin: usize, x: ValueId, transform: Transform, level: usize) -> Emitted {
        for diagonal in &transform.diagonals {
            self.keys.add_rotation(diagonal.baby, level);
            self.keys.add_rotation(diagonal.giant, level);
        }
        let n_outputs = transform.n_outputs;
        let op = Op::LinearTransform {
            xs: self.bundle(x)?.registers,
            transform: self.transforms.len(),
            level,
        };
        self.transforms.push(transform);
        Ok(Bundle {
            registers: self.push_many(origin, op, n_outputs),
            is_rescaled: true,
        })
    }

    /// `depth` is what the graph counts; a polynomial with a leading zero takes less and starts lower.
    fn poly_eval(&mut self, origin: usize, x: ValueId, polynomial: Polynomial, at: usize, depth: usize) -> Emitted {
        let level = at - (depth - polynomial.depth());
        for depth in PolynomialPlan::new(polynomial.clone()).relinearization_depths() {
            self.keys.add_relin(level - depth);
        }
        let known = self.polynomials.iter().position(|known| *known == polynomial);
        let number = known.unwrap_or_else(|| {
            self.polynomials.push(polynomial);
            self.polynomials.len() - 1
        });
        self.each(origin, x, |x| Op::PolyEval {
            x,
            polynomial: number,
            level,
        })
    }

    /// Bootstraps every ciphertext: two by two where the parameters provide for pairs. Contents that repeat take a
    /// bootstrap of as many slots as their period.
    fn bootstraps(&mut self, origin: usize, x: ValueId, slots: usize) -> Emitted {
        let bundle = self.bundle(x)?;
        let together = if self.pairs_bootstraps { 2 } else { 1 };
        let mut registers = Vec::with_capacity(bundle.registers.len());
        for xs in bundle.registers.chunks(together) {
            let kind = BootstrapKind::new(slots.max(MIN_BOOTSTRAP_SLOTS), xs.len());
            self.bootstraps.insert(kind);
            let op = Op::Bootstrap {
                xs: xs.to_vec(),
                slots: kind.slots,
            };
            registers.extend(self.push_many(origin, op, xs.len()));
        }
        Ok(Bundle { registers, ..bundle })
    }

    /// Asks for the keys of all bootstraps, which share the chain of one.
    pub(super) fn bootstrap_keys(&mut self, chain: Option<&BootstrapPlan>) -> Result<(), BackendError> {
        for kind in &self.bootstraps {
            let chain = chain.ok_or_else(|| BackendError::Unfinished("no bootstrap is planned".into()))?;
            self.keys.merge(&kind.plan(chain)?.key_request()?);
        }
        Ok(())
    }

    /// Level of the registers of a value.
    fn level(&self, id: ValueId) -> Result<usize, BackendError> {
        let level = self.graph.ty(id).level as usize;
        Ok(level - usize::from(self.bundle(id)?.is_rescaled))
    }

    fn bundle(&self, id: ValueId) -> Emitted {
        let bundle = self.bundles[id.index()].clone();
        bundle.ok_or_else(|| BackendError::Unfinished(format!("{id} is used before it is computed")))
    }

    fn origin(&mut self, origin: &Origin) -> usize {
        let name = origin.to_string();
        let next = self.origins.len();
        *self.origin_numbers.entry(name).or_insert_with_key(|name| {
            self.origins.push(name.clone());
            next
        })
    }

    fn push(&mut self, origin: usize, op: Op) -> Register {
        self.instructions.push(Instruction { op, origin });
        let register = Register(self.next_register);
        self.next_register += 1;
        register
    }

    fn push_many(&mut self, origin: usize, op: Op, n_results: usize) -> Vec<Register> {
        self.instructions.push(Instruction { op, origin });
        self.allocate(n_results)
    }

    fn allocate(&mut self, count: usize) -> Vec<Register> {
        let first = self.next_register;
        self.next_register += count as u32;
        (first..self.next_register).map(Register).collect()
    }
}

fn polynomial(poly: &SlotPolynomial) -> Result<Polynomial, String> {
    let basis = match poly.basis {
        SlotBasis::Chebyshev {} => Basis::Chebyshev,
        SlotBasis::Monomial {} => Basis::Monomial,
    };
    Polynomial::new(basis, poly.coeffs.clone()).map_err(|error| error.to_string())
}

fn unsupported(node: &Node<Ckks>, message: &str) -> BackendError {
    BackendError::Unsupported {
        origin: node.origin.clone(),
        message: message.to_string(),
    }
}
