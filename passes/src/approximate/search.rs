//! The choice of one approximation per activation.

use super::MAX_TRIALS;
use super::build::{Built, substitute_some};
use super::ladder::Ladder;
use super::objective::{Measured, Objective};
use super::site::Site;
use crate::PassError;
use crate::approx::Choice;
use crate::calibrate::Samples;
use aphelion_ir::Graph;
use aphelion_ir::nn::Nn;
use rayon::prelude::*;

/// Rung at which an activation's effect on the results is measured: 4 bits, low enough to show, high enough to be in
/// proportion.
const PROBE_RUNG: u32 = 8;
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
    samples: &'a Samples,
    objective: &'a Objective,
    ladders: Vec<Ladder<'a>>,
    n_trials: usize,
    /// Smallest error of a result reached by any trial.
    best_error: f64,
}

impl<'a> Search<'a> {
    pub(super) fn new(graph: &'a Graph<Nn>, sites: &'a [Site], samples: &'a Samples, objective: &'a Objective) -> Self {
        Search {
            graph,
            sites,
            samples,
            objective,
            ladders: sites.iter().map(Ladder::new).collect(),
            n_trials: 0,
            best_error: f64::INFINITY,
        }
    }

    pub(super) fn run(mut self) -> Result<Found, PassError> {
        let effects = self.effects()?;
        let (mut rungs, mut measured) = self.common_threshold(&effects)?;
        self.lower_rungs(&mut rungs, &mut measured)?;
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
        let mut effects = Vec::with_capacity(self.sites.len());
        for index in 0..self.sites.len() {
            let mut effect = 1.0;
            if let Some(choice) = self.ladders[index].choice(PROBE_RUNG)?.cloned() {
                let mut choices = vec![None; self.sites.len()];
                choices[index] = Some(&choice);
                let built = substitute_some(self.graph, self.sites, &choices)?;
                let measured = self.measure(&built)?;
                let error = choice.errors.data_rms.unwrap_or(choice.errors.interval_max_abs);
                if measured.max_error.is_finite() && error > 0.0 {
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
                Some(measured) if self.objective.is_met(&measured) => {
                    found = Some((rungs, measured));
                    last = next;
                }
                _ if next >= n_thresholds => break,
                _ => first = next + 1,
            }
            if found.is_some() {
                next = (first + last) / 2;
            } else {
                next = (next + step).min(n_thresholds);
                step *= 2;
            }
        }
        found.ok_or_else(|| self.infeasible())
    }

    /// Lowers one rung after the other while the target holds: first to fewer levels, deepest activation first, then to
    /// fewer products.
    fn lower_rungs(&mut self, rungs: &mut [u32], measured: &mut Measured) -> Result<(), PassError> {
        let mut is_stuck = vec![false; rungs.len()];
        while self.n_trials < MAX_TRIALS {
            let mut deepest: Option<(usize, usize)> = None;
            for index in 0..rungs.len() {
                let depth = self.depth(index, rungs[index])?;
                if !is_stuck[index] && deepest.is_none_or(|(known, _)| depth > known) {
                    deepest = Some((depth, index));
                }
            }
            let Some((depth, index)) = deepest else { break };
            let is_shallower = |depth_below: usize| depth_below < depth;
            let Some(lower) = self.lower(index, rungs[index], is_shallower)? else {
                is_stuck[index] = true;
                continue;
            };
            let mut trial = rungs.to_vec();
            trial[index] = lower;
            match self.trial(&trial)? {
                Some(found) if self.objective.is_met(&found) => {
                    rungs.copy_from_slice(&trial);
                    *measured = found;
                }
                _ => is_stuck[index] = true,
            }
        }
        Ok(())
    }

    /// The highest rung below `rung` whose depth is as wanted.
    fn lower(&mut self, index: usize, rung: u32, is_wanted: impl Fn(usize) -> bool) -> Result<Option<u32>, PassError> {
        for lower in (0..rung).rev() {
            if is_wanted(self.depth(index, lower)?) {
                return Ok(Some(lower));
            }
        }
        Ok(None)
    }

    fn depth(&mut self, index: usize, rung: u32) -> Result<usize, PassError> {
        Ok(self.ladders[index]
            .choice(rung)?
            .map_or(usize::MAX, |choice| choice.cost.depth))
    }

    /// Measures the model with all activations on `rungs`; `None` when one of them is out of reach.
    fn trial(&mut self, rungs: &[u32]) -> Result<Option<Measured>, PassError> {
        let make = |(ladder, rung): (&mut Ladder<'_>, &u32)| ladder.choice(*rung).map(drop);
        self.ladders.par_iter_mut().zip(rungs).try_for_each(make)?;
        let mut choices = Vec::with_capacity(rungs.len());
        for (ladder, rung) in self.ladders.iter_mut().zip(rungs) {
            match ladder.choice(*rung)? {
                Some(choice) => choices.push(Some(choice)),
                None => return Ok(None),
            }
        }
        let built = substitute_some(self.graph, self.sites, &choices)?;
        self.measure(&built).map(Some)
    }

    fn measure(&mut self, built: &Built) -> Result<Measured, PassError> {
        self.n_trials += 1;
        let measured = self.objective.measure(built, self.sites, self.samples)?;
        self.best_error = self.best_error.min(measured.max_error);
        Ok(measured)
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
