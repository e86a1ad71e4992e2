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
/// Samples that effects are measured on.
const N_PROBE_SAMPLES: usize = 8;
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
        Search {
            graph,
            sites,
            trials,
            objective,
            ladders: sites.iter().map(Ladder::new).collect(),
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
        let n_samples = self.objective.n_samples().min(N_PROBE_SAMPLES);
        let mut effects = Vec::with_capacity(self.sites.len());
        for index in 0..self.sites.len() {
            let mut effect = 1.0;
            if let Some(choice) = self.ladders[index].choice(PROBE_RUNG)?.cloned() {
                let mut setting: Setting = vec![None; self.sites.len()];
                setting[index] = Some(PROBE_RUNG);
                let mut choices = vec![None; self.sites.len()];
                choices[index] = Some(&choice);
                let values = self.trials.evaluate(&setting, &choices, n_samples)?;
                let error = error_of(&choice);
                if let Some(values) = values.filter(|_| error > 0.0) {
                    effect = self.objective.measure(self.graph, self.sites, &values).max_error / error;
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
        // By site: what to try next, how deep it was, and how much error it would cause.
        let mut next: Vec<Option<(u32, usize, f64)>> = Vec::with_capacity(rungs.len());
        for index in 0..rungs.len() {
            next.push(self.step_down(index, rungs[index], effects[index])?);
        }
        while self.n_trials < MAX_TRIALS {
            let candidates = next
                .iter()
                .enumerate()
                .filter_map(|(index, step)| step.map(|step| (index, step)));
            let first = candidates.min_by(|(_, (_, a_depth, a_error)), (_, (_, b_depth, b_error))| {
                b_depth.cmp(a_depth).then(a_error.total_cmp(b_error))
            });
            let Some((index, (lower, ..))) = first else { break };
            let mut lowered = rungs.clone();
            lowered[index] = lower;
            next[index] = match self.trial(&lowered)? {
                Some(trial) => {
                    (*rungs, *measured) = self.accept(trial);
                    self.step_down(index, lower, effects[index])?
                }
                None => None,
            };
        }
        Ok(())
    }

    /// The highest rung below `rung` that takes fewer levels, the levels that `rung` takes, and the error that the lower
    /// one would cause in the results.
    fn step_down(&mut self, index: usize, rung: u32, effect: f64) -> Result<Option<(u32, usize, f64)>, PassError> {
        let ladder = &mut self.ladders[index];
        let depth = ladder.depth(rung)?;
        let Some(lower) = ladder.first_shallower(rung)? else {
            return Ok(None);
        };
        let error = ladder.choice(lower)?.map_or(f64::INFINITY, error_of);
        Ok(Some((lower, depth, effect * error)))
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
        let n_samples = self.objective.n_samples();
        let Some(values) = self.trials.evaluate(&setting, &choices, n_samples)? else {
            return Ok(None);
        };
        let measured = self.objective.measure(self.graph, self.sites, &values);
        self.best_error = self.best_error.min(measured.max_error);
        Ok(self.objective.is_met(&measured).then(|| Trial {
            rungs: rungs.to_vec(),
            values,
            measured,
        }))
    }

    /// Goes on from a trial.
    fn accept(&mut self, trial: Trial) -> (Vec<u32>, Measured) {
        let setting = trial.rungs.iter().copied().map(Some).collect();
        self.trials.accept(setting, trial.values);
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
