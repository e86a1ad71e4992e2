//! Dependencies of a program: which instruction waits for which, and when a register is dead.
//!
//! Assumes a checked plan. O(operands) time and space.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::ckks::boot::BootstrapPlan;
use crate::plan::{BootstrapKind, CipherType, Counts, Op, Plan};

/// The dependency graph of a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// First result register of every instruction; one more entry for the end.
    pub(super) first_result: Vec<usize>,
    /// For every instruction, the distinct registers it reads.
    pub(super) operands: Vec<Vec<usize>>,
    /// For every register, the instructions that read it, in order.
    pub(super) users: Vec<Vec<usize>>,
    /// For every register, whether it is a result of the program.
    pub(super) is_output: Vec<bool>,
    /// For every instruction, how long it takes relative to the others: as the compiler foresaw, else by what it does.
    pub(super) weights: Vec<f64>,
}

impl Schedule {
    /// The schedule of a plan.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let program = plan.program();
        let n_registers = plan.types().len();
        let mut schedule = Self {
            first_result: Vec::with_capacity(program.instructions.len() + 1),
            operands: Vec::with_capacity(program.instructions.len()),
            users: vec![Vec::new(); n_registers],
            is_output: vec![false; n_registers],
            weights: Vec::with_capacity(program.instructions.len()),
        };
        let bootstraps: BTreeMap<BootstrapKind, f64> = plan
            .bootstraps()
            .iter()
            .map(|(kind, bootstrap)| (*kind, bootstrap_weight(bootstrap)))
            .collect();
        let mut next = crate::plan::Program::n_inputs(plan.client());
        for (number, instruction) in program.instructions.iter().enumerate() {
            schedule.first_result.push(next);
            let mut operands: Vec<usize> = instruction.op.operands().into_iter().map(|r| r.index()).collect();
            operands.sort_unstable();
            operands.dedup();
            for operand in &operands {
                schedule.users[*operand].push(number);
            }
            schedule.weights.push(match &instruction.op {
                Op::Bootstrap { xs, slots } => bootstraps[&BootstrapKind::new(*slots, xs.len())],
                op => weight(&Counts::of_op(program, op), &plan.types()[next]),
            });
            schedule.operands.push(operands);
            next += program.n_results(&instruction.op);
        }
        schedule.first_result.push(next);
        let foreseen = &program.report.instruction_s;
        if foreseen.len() == program.instructions.len() && foreseen.iter().sum::<f64>() > 0.0 {
            schedule.weights.clone_from(foreseen);
        }
        for register in program.outputs.iter().flatten() {
            schedule.is_output[register.index()] = true;
        }
        schedule
    }

    /// For every instruction, how long it takes relative to the others.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The registers that an instruction writes.
    ///
    /// # Panics
    /// When there is no such instruction.
    #[must_use]
    pub fn results(&self, instruction: usize) -> Range<usize> {
        self.first_result[instruction]..self.first_result[instruction + 1]
    }

    /// Most ciphertexts alive at once when instructions run one after the other in order.
    #[must_use]
    pub fn peak_registers(&self) -> usize {
        self.peak(|_| 1)
    }

    /// Most limbs of polynomials alive at once when instructions run one after the other in order. `types` are the plan's.
    #[must_use]
    pub fn peak_limbs(&self, types: &[CipherType]) -> usize {
        self.peak(|register| types[register].parts * (types[register].level + 1))
    }

    /// The largest sum of the sizes of all registers that are alive.
    fn peak(&self, size: impl Fn(usize) -> usize) -> usize {
        let mut reads_left: Vec<usize> = self.users.iter().map(Vec::len).collect();
        let mut alive: usize = (0..self.first_result[0]).map(&size).sum();
        let mut peak = alive;
        for (number, operands) in self.operands.iter().enumerate() {
            let results = self.results(number);
            alive += results.clone().map(&size).sum::<usize>();
            peak = peak.max(alive);
            let dead = results.filter(|register| self.users[*register].is_empty() && !self.is_output[*register]);
            alive -= dead.map(&size).sum::<usize>();
            for operand in operands {
                reads_left[*operand] -= 1;
                if reads_left[*operand] == 0 && !self.is_output[*operand] {
                    alive -= size(*operand);
                }
            }
        }
        peak
    }

    /// The instruction that writes a register; none for inputs.
    pub(super) fn producer(&self, register: usize) -> Option<usize> {
        self.first_result
            .partition_point(|first| *first <= register)
            .checked_sub(1)
    }
}

/// Relative cost of an op: a key switch is quadratic in the limbs, a product linear.
fn weight(counts: &Counts, ty: &CipherType) -> f64 {
    let limbs = (ty.level + 2) as f64;
    let key_switches = (counts.rotations + counts.relinearizations) as f64;
    let products = (counts.pt_mults + counts.ct_mults + counts.rescales + 1) as f64;
    limbs * limbs * key_switches + limbs * products
}

/// As [`weight`], for the key switches of a bootstrap: rotations by every step of its transforms at the top, products at the
/// middle of the reduction.
fn bootstrap_weight(plan: &BootstrapPlan) -> f64 {
    let limbs = |level: usize| ((level + 2) * (level + 2)) as f64;
    let rotations = plan.key_request().map_or(0, |keys| keys.rotations.len());
    let ladder = plan.ladder();
    let middle = (ladder[0] + ladder[ladder.len() - 1]) / 2;
    rotations as f64 * limbs(plan.raised_level()) + plan.eval_mod().relinearizations() as f64 * limbs(middle)
}
