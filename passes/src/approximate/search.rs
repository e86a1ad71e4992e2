//! The choice of one approximation per activation.

use super::MAX_TRIALS;
use super::ladder::Ladder;
use super::objective::{Measured, Objective};
use super::site::Site;
use super::trials::{Setting, Trials};
use crate::PassError;
use crate::approx::Choice;
use aphelion_ir::Graph;
use aphelion_ir::nn::{Nn, Values};
use rayon::prelude::*;

/// Rung at which an activation's effect on the results is measured: 4 bits, low enough to show, high enough to be in
/// proportion.
const PROBE_RUNG: u32 = 8;
/// Fewest samples that effects are measured on, and that a trial begins with.
const MIN_PROBE_SAMPLES: usize = 6;
/// As many samples are taken as have this many values among them.
const N_PROBE_VALUES: usize = 1 << 22;
/// Bits of error share between the largest and the smallest threshold tried.
const THRESHOLD_BITS: i32 = 24;
/// Thresholds per factor of two.
const THRESHOLDS_PER_BIT: f64 = 2.0;

/// The result of a search.
pub(super) struct Found {
    /// By site.
    pub(super) choices: Vec<Choice>,
    pub(super) measured: Measured,
    pub(super) reference: f64,
    pub(super) n_samples: usize,
    pub(super) n_trials: usize,
}

/// The search and what it knows so far.
pub(super) struct Search<'a> {
    graph: &'a Graph<Nn>,
    sites: &'a [Site],
    trials: Trials<'a>,
    objective: &'a Objective,
    ladders: Vec<Ladder<'a>>,
    /// Samples in the order in which they are tried.
    order: Vec<usize>,
    /// How many of them effects are measured on, and a trial begins with.
    n_probed: usize,
    n_trials: usize,
    /// Smallest error of a result reached by any trial.
    best_error: f64,
}

/// A setting that was tried, with all that came of it.
struct Trial {
    rungs: Vec<u32>,
    values: Vec<Values>,
    measured: Measured,
}

impl<'a> Search<'a> {
    /// `trials` know the exact model.
    pub(super) fn new(graph: &'a Graph<Nn>, sites: &'a [Site], trials: Trials<'a>, objective: &'a Objective) -> Self {
        let n_values: usize = graph.iter().map(|(_, node)| node.ty.len()).sum();
        let n_probed = (N_PROBE_VALUES / n_values.max(1)).max(MIN_PROBE_SAMPLES);
        Search {
            graph,
            sites,
            trials,
            objective,
            ladders: sites.iter().map(Ladder::new).collect(),
            order: objective.hardest_first(),
            n_probed: n_probed.min(objective.n_samples()),
            n_trials: 0,
            best_error: f64::INFINITY,
        }
    }

    pub(super) fn run(mut self) -> Result<Found, PassError> {
        let effects = self.effects()?;
        let (mut rungs, mut measured) = self.common_threshold(&effects)?;
        if self.objective.counts_levels_only() {
            self.raise_rungs(&mut rungs, &mut measured)?;
        }
        self.lower_rungs(&effects, &mut rungs, &mut measured)?;
        let mut choices = Vec::with_capacity(rungs.len());
        for (index, rung) in rungs.iter().enumerate() {
            let choice = self.ladders[index].choice(*rung)?.cloned();
            choices.push(choice.ok_or_else(|| self.infeasible())?);
        }
        Ok(Found {
            choices,
            measured,
            reference: self.objective.largest(),
            n_samples: self.objective.n_samples(),
            n_trials: self.n_trials,
        })
    }

    /// Error of the results per error of each activation.
    fn effects(&mut self) -> Result<Vec<f64>, PassError> {
        self.ladders
            .par_iter_mut()
            .try_for_each(|ladder| ladder.choice(PROBE_RUNG).map(drop))?;
        let probed = &self.order[..self.n_probed];
        let mut effects = Vec::with_capacity(self.sites.len());
        for index in 0..self.sites.len() {
            let mut effect = 1.0;
            if let Some(choice) = self.ladders[index].choice(PROBE_RUNG)?.cloned() {
                let mut setting: Setting = vec![None; self.sites.len()];
                setting[index] = Some(PROBE_RUNG);
                let mut choices = vec![None; self.sites.len()];
                choices[index] = Some(&choice);
                let values = self.trials.evaluate(&setting, &choices, probed)?;
                let error = error_of(&choice);
                if let Some(values) = values.filter(|_| error > 0.0) {
                    let measured = self.objective.measure(self.graph, self.sites, probed, &values);
                    effect = measured.max_error / error;
                }
            }
            effects.push(effect);
        }
        Ok(effects)
    }

    /// The rungs of the largest error share that holds the target.
    fn common_threshold(&mut self, effects: &[f64]) -> Result<(Vec<u32>, Measured), PassError> {
        let allowed = self.objective.allowed_error();
        let n_thresholds = THRESHOLD_BITS * THRESHOLDS_PER_BIT as i32;
        // Threshold number i is 2^(i / per bit) below a share of 16 times what is allowed: errors average out.
        let share = |i: i32| 16.0 * allowed * libm::exp2(-f64::from(i) / THRESHOLDS_PER_BIT);
        let mut found = None;
        let (mut first, mut last) = (0, n_thresholds);
        // Errors fall with the threshold: gallop to one that holds, then bisect.
        let mut step = 4;
        let mut next = 0;
        while found.is_none() || first < last {
            let rungs: Vec<u32> = (self.ladders.iter().zip(effects))
                .map(|(ladder, effect)| ladder.rung_for(share(next) / effect))
                .collect();
            match self.trial(&rungs)? {
                Some(trial) => {
                    found = Some(trial);
                    last = next;
                }
                None if next >= n_thresholds => break,
                None => first = next + 1,
            }
            if found.is_some() {
                next = (first + last) / 2;
            } else {
                next = (next + step).min(n_thresholds);
                step *= 2;
            }
        }
        let found = found.ok_or_else(|| self.infeasible())?;
        Ok(self.accept(found))
    }

    /// Raises every rung to the last one of its depth, if the target holds then, too: where levels are all that counts,
    /// that costs nothing.
    fn raise_rungs(&mut self, rungs: &mut Vec<u32>, measured: &mut Measured) -> Result<(), PassError> {
        let raise = |(ladder, rung): (&mut Ladder<'_>, &u32)| ladder.last_of_depth(*rung);
        let raised: Vec<u32> = (self.ladders.par_iter_mut().zip(&*rungs))
            .map(raise)
            .collect::<Result<_, _>>()?;
        if let Some(trial) = self.trial(&raised)? {
            (*rungs, *measured) = self.accept(trial);
        }
        Ok(())
    }

    /// Lowers one rung after the other to fewer levels while the target holds: deepest activation first, among those the
    /// one where it matters least.
    fn lower_rungs(&mut self, effects: &[f64], rungs: &mut Vec<u32>, measured: &mut Measured) -> Result<(), PassError> {
        let mut next: Vec<Option<Step>> = (self.ladders.par_iter_mut().zip(&*rungs).zip(effects))
            .map(|((ladder, rung), effect)| step_down(ladder, *rung, *effect))
            .collect::<Result<_, _>>()?;
        while self.n_trials < MAX_TRIALS {
            let candidates = (next.iter().enumerate()).filter_map(|(index, step)| step.map(|step| (index, step)));
            let first = candidates.min_by(|(_, a), (_, b)| b.depth.cmp(&a.depth).then(a.error.total_cmp(&b.error)));
            let Some((index, Step { lower, .. })) = first else {
                break;
            };
            let mut lowered = rungs.clone();
            lowered[index] = lower;
            next[index] = match self.trial(&lowered)? {
                Some(trial) => {
                    (*rungs, *measured) = self.accept(trial);
                    step_down(&mut self.ladders[index], lower, effects[index])?
                }
                None => None,
            };
        }
        Ok(())
    }

    /// Tries the model with all activations on `rungs`; `None` when one of them is out of reach, or the target missed.
    fn trial(&mut self, rungs: &[u32]) -> Result<Option<Trial>, PassError> {
        let make = |(ladder, rung): (&mut Ladder<'_>, &u32)| ladder.choice(*rung).map(drop);
        self.ladders.par_iter_mut().zip(rungs).try_for_each(make)?;
        let mut choices = Vec::with_capacity(rungs.len());
        for (ladder, rung) in self.ladders.iter_mut().zip(rungs) {
            match ladder.choice(*rung)? {
                Some(choice) => choices.push(Some(choice)),
                None => return Ok(None),
            }
        }
        self.n_trials += 1;
        let setting: Setting = rungs.iter().copied().map(Some).collect();
        let measure =
            |indices: &[usize], values: &[Values]| self.objective.measure(self.graph, self.sites, indices, values);
        let (first, rest) = self.order.split_at(self.n_probed);
        let Some(mut values) = self.trials.evaluate(&setting, &choices, first)? else {
            return Ok(None);
        };
        let mut measured = measure(first, &values);
        let is_lost = self.objective.is_lost(&measured);
        if !is_lost && !rest.is_empty() {
            let Some(more) = self.trials.evaluate(&setting, &choices, rest)? else {
                return Ok(None);
            };
            values.extend(more);
            measured = measure(&self.order, &values);
        }
        self.best_error = self.best_error.min(measured.max_error);
        let is_met = !is_lost && self.objective.is_met(&measured);
        Ok(is_met.then(|| Trial {
            rungs: rungs.to_vec(),
            values,
            measured,
        }))
    }

    /// Goes on from a trial.
    fn accept(&mut self, trial: Trial) -> (Vec<u32>, Measured) {
        let setting = trial.rungs.iter().copied().map(Some).collect();
        self.trials.accept(setting, &self.order, trial.values);
        (trial.rungs, trial.measured)
    }

    fn infeasible(&self) -> PassError {
        let bits = -libm::log2(self.best_error / self.objective.largest());
        PassError::Infeasible(format!(
            "no polynomials within {} levels per activation hold the target on the calibration samples (the best trial \
             has {bits:.1} bits); lower --precision, ask for --agreement instead, or calibrate on samples with a smaller \
             range",
            super::ladder::MAX_DEPTH
        ))
    }
}

/// The error of an approximation on the data, or anywhere where there is none.
fn error_of(choice: &Choice) -> f64 {
    choice.errors.data_rms.unwrap_or(choice.errors.interval_max_abs)
}

/// What to try next for one activation.
#[derive(Clone, Copy)]
struct Step {
    /// The highest rung that takes fewer levels.
    lower: u32,
    /// Levels now.
    depth: usize,
    /// Error that the lower rung would cause in the results.
    error: f64,
}

/// The step from `rung`; `None` where there is no lower one.
fn step_down(ladder: &mut Ladder<'_>, rung: u32, effect: f64) -> Result<Option<Step>, PassError> {
    let depth = ladder.depth(rung)?;
    let Some(lower) = ladder.first_shallower(rung)? else {
        return Ok(None);
    };
    let error = effect * ladder.choice(lower)?.map_or(f64::INFINITY, error_of);
    Ok(Some(Step { lower, depth, error }))
}
