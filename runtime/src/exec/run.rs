//! One evaluation: instructions start when their operands are there, on the threads of the current rayon pool.
//!
//! An instruction that finishes counts down those that wait for its results; it goes on with the first that is ready
//! and hands the others to the pool, so that nothing ever waits for a dependency. Hot ops are parallel inside, on the
//! same pool. A register is emptied by its last reader, which may then compute in place.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, State};
use super::profile::{OpTiming, Profile, Progress};
use super::resident::watched;
use super::server::{Evaluation, Server};
use super::weights::{Encoded, factor_encoding, summand_encoding};
use crate::ckks::Ciphertext;
use crate::ckks::boot::{StageTime, processor_nanoseconds};
use crate::ckks::keys::KeyPurpose;
use crate::ckks::params::Parameters;
use crate::error::{Error, Result};
use crate::plan::{BootstrapKind, CipherType, Counts, Op, Register, ScalePower};

/// Scales closer than this, relatively, differ by rounding only.
const SCALE_TOLERANCE: f64 = 1.0 / (1u64 << 30) as f64;

/// The scale that a type stands for.
pub(super) fn scale_of(params: &Parameters, level: usize, power: ScalePower) -> f64 {
    let scale = params.scale(level);
    match power {
        ScalePower::Canonical => scale,
        ScalePower::Squared => scale * scale,
    }
}

pub(super) struct Run<'a> {
    server: &'a Server,
    progress: &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync),
    checkpoint: Option<Checkpoint>,
    start: Instant,
    registers: Vec<Mutex<Option<Arc<Ciphertext>>>>,
    reads_left: Vec<AtomicUsize>,
    operands_missing: Vec<AtomicUsize>,
    ready: Vec<usize>,
    /// Instructions left to do whose plaintexts are encoded while others run, and how many of them that was begun for.
    batches: Vec<usize>,
    batches_begun: AtomicUsize,
    encoded: Mutex<BTreeMap<usize, Encoded>>,
    restored: usize,
    restored_weight: f64,
    done: Mutex<Done>,
    ledger: Mutex<Ledger>,
    /// For every mapped key, the instructions left to do that use it.
    key_uses_left: BTreeMap<KeyPurpose, AtomicUsize>,
    total_weight: f64,
    failed: AtomicBool,
    failure: Mutex<Option<(usize, Error)>>,
}

/// What a checkpoint needs to know, kept where there is one: registers that were emptied are still needed by the
/// instructions they were emptied for.
struct Ledger {
    done: Vec<bool>,
    in_flight: BTreeMap<usize, Operands>,
}

impl<'a> Run<'a> {
    /// An evaluation of `inputs`, or what its checkpoint left of it.
    pub(super) fn new(
        server: &'a Server,
        inputs: &[Ciphertext],
        progress: &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync),
        checkpoint: Option<Checkpoint>,
    ) -> Result<Self> {
        let schedule = &server.schedule;
        let restored = match &checkpoint {
            Some(checkpoint) => checkpoint.read(server)?,
            None => None,
        };
        let State { done, mut live } = restored.unwrap_or_else(|| State {
            done: vec![false; schedule.operands.len()],
            live: inputs.iter().cloned().map(Arc::new).enumerate().collect(),
        });
        let left = |users: &[usize]| users.iter().filter(|user| !done[**user]).count();
        let missing = |operands: &[usize]| operands.iter().filter(|operand| !live.contains_key(operand)).count();
        let mut operands_missing: Vec<usize> = schedule.operands.iter().map(|operands| missing(operands)).collect();
        let batches: Vec<usize> = server
            .weights
            .batches()
            .filter(|instruction| !done[*instruction])
            .collect();
        // They wait for their plaintexts as well.
        batches
            .iter()
            .for_each(|instruction| operands_missing[*instruction] += 1);
        let is_ready = |instruction: &usize| !done[*instruction] && operands_missing[*instruction] == 0;
        let weights = schedule.weights.iter().zip(&done);
        let restored_weight = weights.filter(|(_, done)| **done).map(|(weight, _)| weight).sum();
        let mut key_uses_left: BTreeMap<KeyPurpose, AtomicUsize> = BTreeMap::new();
        for (purposes, _) in server.keys_used.iter().zip(&done).filter(|(_, done)| !**done) {
            for purpose in purposes.iter() {
                *key_uses_left.entry(*purpose).or_default().get_mut() += 1;
            }
        }
        let n_done = done.iter().filter(|done| **done).count();
        Ok(Self {
            server,
            progress,
            checkpoint,
            start: Instant::now(),
            ready: (0..done.len()).filter(is_ready).collect(),
            reads_left: schedule
                .users
                .iter()
                .map(|users| AtomicUsize::new(left(users)))
                .collect(),
            operands_missing: operands_missing
                .iter()
                .map(|missing| AtomicUsize::new(*missing))
                .collect(),
            registers: (0..schedule.users.len())
                .map(|register| Mutex::new(live.remove(&register)))
                .collect(),
            batches,
            batches_begun: AtomicUsize::new(0),
            encoded: Mutex::new(BTreeMap::new()),
            restored: n_done,
            restored_weight,
            done: Mutex::new(Done {
                timings: Vec::with_capacity(schedule.operands.len()),
                stages: BTreeMap::new(),
                weight: restored_weight,
            }),
            ledger: Mutex::new(Ledger {
                done,
                in_flight: BTreeMap::new(),
            }),
            key_uses_left,
            total_weight: schedule.weights.iter().sum(),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        })
    }

    /// Runs everything.
    pub(super) fn finish(&self) -> Result<Evaluation> {
        let work = || {
            rayon::scope(|scope| {
                self.begin_batch(scope);
                for instruction in &self.ready {
                    scope.spawn(move |scope| self.chain(scope, *instruction));
                }
            });
        };
        let memory = if self.server.options.traced {
            watched(self.server.params().ring().pool(), self.start, work).1
        } else {
            work();
            Vec::new()
        };
        if let Some((_, error)) = lock(&self.failure).take() {
            return Err(error);
        }
        self.write_checkpoint()?;
        let program = self.server.plan.program();
        let outputs = program
            .outputs
            .iter()
            .flatten()
            .map(|register| self.output(*register))
            .collect::<Result<_>>()?;
        let wall = self.start.elapsed();
        let mut done = lock(&self.done);
        let stages = std::mem::take(&mut done.stages);
        let mut timings = std::mem::take(&mut done.timings);
        timings.sort_unstable_by_key(|timing| timing.instruction);
        Ok(Evaluation {
            outputs,
            profile: Profile {
                wall,
                timings,
                stages,
                restored: self.restored,
                counts: Counts::of_program(program),
                memory,
            },
        })
    }

    /// Executes an instruction, then one that it made ready, and so on; spawns the others.
    fn chain<'s>(&'s self, scope: &rayon::Scope<'s>, first: usize) {
        let mut next = Some(first);
        while let Some(instruction) = next.take() {
            if self.failed.load(Ordering::Relaxed) {
                return;
            }
            if self.batches.binary_search(&instruction).is_ok() {
                self.begin_batch(scope);
            }
            match self.execute(instruction) {
                Ok(()) => {
                    let schedule = &self.server.schedule;
                    let results = schedule.results(instruction);
                    let mut ready = self.made_ready(results).into_iter();
                    next = ready.next();
                    for other in ready {
                        scope.spawn(move |scope| self.chain(scope, other));
                    }
                }
                Err(error) => self.fail(instruction, error),
            }
        }
    }

    fn fail(&self, instruction: usize, error: Error) {
        self.failed.store(true, Ordering::Relaxed);
        let mut failure = lock(&self.failure);
        if failure.as_ref().is_none_or(|(earlier, _)| instruction < *earlier) {
            *failure = Some((instruction, error));
        }
    }

    /// Has the plaintexts of the next instruction that wants it encoded, beside what runs. Since the first of them waits for
    /// none of the others, everything is encoded in the end.
    fn begin_batch<'s>(&'s self, scope: &rayon::Scope<'s>) {
        let Some(&instruction) = self.batches.get(self.batches_begun.fetch_add(1, Ordering::AcqRel)) else {
            return;
        };
        scope.spawn(move |scope| {
            if self.failed.load(Ordering::Relaxed) {
                return;
            }
            match self.server.weights.encode_batch(&self.server.plan, instruction) {
                Ok(encoded) => {
                    lock(&self.encoded).insert(instruction, encoded);
                    if self.operands_missing[instruction].fetch_sub(1, Ordering::AcqRel) == 1 {
                        self.chain(scope, instruction);
                    }
                }
                Err(error) => self.fail(instruction, error),
            }
        });
    }

    /// Instructions whose last missing operand is among `registers`, which have just been written.
    fn made_ready(&self, registers: std::ops::Range<usize>) -> Vec<usize> {
        let mut ready = Vec::new();
        for user in registers.flat_map(|register| &self.server.schedule.users[register]) {
            if self.operands_missing[*user].fetch_sub(1, Ordering::AcqRel) == 1 {
                ready.push(*user);
            }
        }
        ready.sort_unstable();
        ready
    }

    fn execute(&self, instruction: usize) -> Result<()> {
        let (start, processor) = (self.start.elapsed(), self.processor_time());
        let schedule = &self.server.schedule;
        let op = &self.server.plan.program().instructions[instruction].op;
        let operands = self.take_operands(instruction)?;
        let mut results = Vec::new();
        for (register, result) in schedule
            .results(instruction)
            .zip(self.apply(instruction, op, operands)?)
        {
            let result = self.checked(result, &self.server.plan.types()[register])?;
            if !schedule.users[register].is_empty() || schedule.is_output[register] {
                results.push((register, Arc::new(result)));
            }
        }
        self.store(instruction, results);
        self.release_keys(instruction);
        let timing = OpTiming {
            instruction,
            start,
            end: self.start.elapsed(),
            thread: rayon::current_thread_index().unwrap_or(0),
            processor: processor
                .zip(self.processor_time())
                .map(|(before, after)| after.saturating_sub(before)),
        };
        let mut done = lock(&self.done);
        done.timings.push(timing);
        done.weight += schedule.weights[instruction];
        let progress = Progress {
            done: self.restored + done.timings.len(),
            total: schedule.operands.len(),
            fraction: done.weight / self.total_weight,
            left: time_left(
                done.weight - self.restored_weight,
                self.total_weight - done.weight,
                timing.end,
            ),
        };
        drop(done);
        if matches!(op, Op::Bootstrap { .. }) {
            self.write_checkpoint()?;
        }
        match (self.progress)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Interrupted {
                done: progress.done,
                total: progress.total,
            }),
        }
    }

    /// Processor time of the process so far, where evaluations are traced.
    fn processor_time(&self) -> Option<Duration> {
        let is_traced = self.server.options.traced;
        let nanoseconds = is_traced.then(processor_nanoseconds).flatten();
        nanoseconds.map(Duration::from_nanos)
    }

    fn take_operands(&self, instruction: usize) -> Result<Operands> {
        let mut ledger = self.checkpoint.as_ref().map(|_| lock(&self.ledger));
        let operands = self.server.schedule.operands[instruction].iter();
        let operands = operands.map(|register| Ok((*register, self.take(*register)?)));
        let operands = Operands(operands.collect::<Result<_>>()?);
        if let Some(ledger) = &mut ledger {
            ledger.in_flight.insert(instruction, operands.clone());
        }
        Ok(operands)
    }

    /// Gives the memory of mapped keys back that no instruction left to do uses.
    fn release_keys(&self, instruction: usize) {
        for purpose in self
            .server
            .keys_used
            .get(instruction)
            .iter()
            .flat_map(|keys| keys.iter())
        {
            let left = self.key_uses_left.get(purpose);
            if left.is_some_and(|left| left.fetch_sub(1, Ordering::AcqRel) == 1) {
                self.server.evaluator.keys().release_pages(*purpose);
            }
        }
    }

    /// Puts the results of an instruction where others find them.
    fn store(&self, instruction: usize, results: Vec<(usize, Arc<Ciphertext>)>) {
        let mut ledger = self.checkpoint.as_ref().map(|_| lock(&self.ledger));
        for (register, result) in results {
            *lock(&self.registers[register]) = Some(result);
        }
        if let Some(ledger) = &mut ledger {
            ledger.in_flight.remove(&instruction);
            ledger.done[instruction] = true;
        }
    }

    fn write_checkpoint(&self) -> Result<()> {
        match &self.checkpoint {
            Some(checkpoint) => checkpoint.write(self.server, &self.state()),
            None => Ok(()),
        }
    }

    /// What is done, and the registers that are needed for the rest.
    fn state(&self) -> State {
        let schedule = &self.server.schedule;
        let ledger = lock(&self.ledger);
        let is_needed = |register: &usize| {
            schedule.is_output[*register] || schedule.users[*register].iter().any(|user| !ledger.done[*user])
        };
        let value = |register: usize| {
            let held = lock(&self.registers[register]).clone();
            held.or_else(|| {
                let users = schedule.users[register].iter();
                users
                    .filter_map(|user| ledger.in_flight.get(user)?.0.get(&register).cloned())
                    .next()
            })
        };
        let needed = (0..schedule.users.len()).filter(is_needed);
        State {
            live: needed
                .filter_map(|register| Some((register, value(register)?)))
                .collect(),
            done: ledger.done.clone(),
        }
    }

    fn apply(&self, instruction: usize, op: &Op, mut operands: Operands) -> Result<Vec<Ciphertext>> {
        let evaluator = &self.server.evaluator;
        let plan = &self.server.plan;
        let weights = &self.server.weights;
        let one = |ciphertext: Ciphertext| Ok(vec![ciphertext]);
        match op {
            Op::Add { a, b } => {
                let b = Arc::clone(operands.shared(*b)?);
                let mut sum = operands.owned(*a)?;
                evaluator.add_in_place(&mut sum, &b)?;
                one(sum)
            }
            Op::Sub { a, b } => {
                let b = Arc::clone(operands.shared(*b)?);
                let mut difference = operands.owned(*a)?;
                evaluator.sub_in_place(&mut difference, &b)?;
                one(difference)
            }
            Op::Neg { x } => one(evaluator.neg(operands.shared(*x)?)),
            Op::AddPlain { x, value } => {
                let ty = plan.types()[x.index()];
                let encoding = summand_encoding(evaluator, ty.level, ty.scale);
                let plaintext = weights.plaintext(plan, *value, ty.slots, &encoding)?;
                one(evaluator.add_plain(operands.shared(*x)?, &plaintext)?)
            }
            Op::MulPlain { x, value, level } => {
                let ty = plan.types()[x.index()];
                let encoding = factor_encoding(evaluator, ty.level, *level)?;
                let plaintext = weights.plaintext(plan, *value, ty.slots, &encoding)?;
                one(evaluator.mul_plain(&*self.lowered(operands.shared(*x)?, *level)?, &plaintext)?)
            }
            Op::AddScalar { x, by } => {
                let mut sum = operands.owned(*x)?;
                evaluator.add_scalar_in_place(&mut sum, *by)?;
                one(sum)
            }
            Op::MulScalar { x, by, level } => {
                one(evaluator.mul_scalar(&*self.lowered(operands.shared(*x)?, *level)?, *by)?)
            }
            Op::Mul { a, b } if a == b => one(evaluator.square(operands.shared(*a)?)?),
            Op::Mul { a, b } => one(evaluator.mul(operands.shared(*a)?, operands.shared(*b)?)?),
            Op::Relinearize { x } => {
                let mut x = operands.owned(*x)?;
                evaluator.relinearize_in_place(&mut x)?;
                one(x)
            }
            Op::RelinearizeRescale { x } => {
                let mut x = operands.owned(*x)?;
                evaluator.relinearize_rescale_in_place(&mut x)?;
                one(x)
            }
            Op::Rescale { x } => one(evaluator.rescale(operands.shared(*x)?)?),
            Op::DropLevel { x, to } => one(evaluator.adjust_to(operands.shared(*x)?, *to)?),
            Op::Rotate { x, by } => match by[..] {
                [step] => one(evaluator.rotate(operands.shared(*x)?, step)?),
                _ => evaluator.rotate_hoisted(operands.shared(*x)?, by),
            },
            Op::Conjugate { x } => one(evaluator.conjugate(operands.shared(*x)?)?),
            Op::LinearTransform { xs, transform, level } => {
                let inputs: Vec<&Arc<Ciphertext>> = xs.iter().map(|x| operands.shared(*x)).collect::<Result<_>>()?;
                let inputs: Vec<&Ciphertext> = inputs.into_iter().map(|input| &**input).collect();
                let shape = &self.server.shapes[*transform];
                let encoding = evaluator.diagonal_encoding(shape, *level, inputs[0].scale())?;
                let batch = lock(&self.encoded).remove(&instruction).unwrap_or_default();
                let diagonals = weights.diagonals(plan, &plan.program().transforms[*transform], &encoding, batch)?;
                evaluator.linear_transform(&inputs, shape, &diagonals, *level)
            }
            Op::PolyEval { x, polynomial, level } => {
                let poly = &self.server.polynomials[*polynomial];
                one(evaluator.poly_eval(&*self.lowered(operands.shared(*x)?, *level)?, poly)?)
            }
            Op::Bootstrap { xs, slots } => self.bootstrap(instruction, xs, *slots, &mut operands),
        }
    }

    /// Bootstraps one ciphertext, or two at once. One that repeats with a period is one of as many slots.
    fn bootstrap(
        &self,
        instruction: usize,
        xs: &[Register],
        slots: usize,
        operands: &mut Operands,
    ) -> Result<Vec<Ciphertext>> {
        let kind = BootstrapKind::new(slots, xs.len());
        let bootstrapper = self.server.bootstrappers.get(&kind).ok_or_else(|| Error::InvalidPlan {
            place: "bootstrap".into(),
            reason: format!("there is none for {kind:?}"),
        })?;
        let mut inputs = xs.iter().map(|x| operands.owned(*x)).collect::<Result<Vec<_>>>()?;
        let all_slots = inputs[0].slots();
        inputs.iter_mut().for_each(|input| input.slots = slots);
        let (mut results, stages) = match &inputs[..] {
            [a, b] => {
                let (results, stages) = bootstrapper.bootstrap_pair_profiled(a, b)?;
                (results.into(), stages)
            }
            _ => {
                let (result, stages) = bootstrapper.bootstrap_profiled(&inputs[0])?;
                (vec![result], stages)
            }
        };
        lock(&self.done).stages.insert(instruction, stages);
        results.iter_mut().for_each(|result| result.slots = all_slots);
        Ok(results)
    }

    /// The ciphertext without the limbs above `level`, its scale being kept.
    fn lowered(&self, x: &Arc<Ciphertext>, level: usize) -> Result<Arc<Ciphertext>> {
        if x.level() == level {
            return Ok(Arc::clone(x));
        }
        Ok(Arc::new(self.server.evaluator.drop_level(x, level)?))
    }

    /// Checks a result against its type, and takes the rounding of doubles off its scale.
    fn checked(&self, mut result: Ciphertext, ty: &CipherType) -> Result<Ciphertext> {
        let expected = scale_of(self.server.evaluator.params(), ty.level, ty.scale);
        let what = "a plan's instruction";
        if result.level() != ty.level {
            return Err(Error::LevelMismatch {
                what,
                left: result.level(),
                right: ty.level,
            });
        }
        if (result.scale() / expected - 1.0).abs() > SCALE_TOLERANCE {
            return Err(Error::ScaleMismatch {
                what,
                left_log2: result.scale().log2(),
                right_log2: expected.log2(),
            });
        }
        result.set_scale(expected);
        Ok(result)
    }

    /// Reads a register; the last reader empties it unless it is a result of the program.
    fn take(&self, register: usize) -> Result<Arc<Ciphertext>> {
        let mut slot = lock(&self.registers[register]);
        let is_last = self.reads_left[register].fetch_sub(1, Ordering::AcqRel) == 1;
        let value = if is_last && !self.server.schedule.is_output[register] {
            slot.take()
        } else {
            slot.clone()
        };
        value.ok_or_else(|| empty(register))
    }

    fn output(&self, register: Register) -> Result<Ciphertext> {
        let value = lock(&self.registers[register.index()]).clone();
        value.map(Arc::unwrap_or_clone).ok_or_else(|| empty(register.index()))
    }
}

/// The operands of an instruction by register.
#[derive(Clone)]
struct Operands(BTreeMap<usize, Arc<Ciphertext>>);

impl Operands {
    fn shared(&self, register: Register) -> Result<&Arc<Ciphertext>> {
        self.0.get(&register.index()).ok_or_else(|| empty(register.index()))
    }

    /// The ciphertext itself where nobody else reads it any more, otherwise a copy.
    fn owned(&mut self, register: Register) -> Result<Ciphertext> {
        let ciphertext = self
            .0
            .remove(&register.index())
            .ok_or_else(|| empty(register.index()))?;
        Ok(Arc::unwrap_or_clone(ciphertext))
    }
}

/// What is behind us.
struct Done {
    timings: Vec<OpTiming>,
    stages: BTreeMap<usize, Vec<StageTime>>,
    weight: f64,
}

/// Time for work of weight `left` where that of weight `done` took `elapsed`.
fn time_left(done: f64, left: f64, elapsed: Duration) -> Duration {
    let seconds = elapsed.as_secs_f64() * (left / done).max(0.0);
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn empty(register: usize) -> Error {
    Error::InvalidPlan {
        place: format!("register {register}"),
        reason: "read while it is empty".into(),
    }
}
