//! The approximations of one activation by the error that they may have.

use super::site::{Site, failed};
use crate::PassError;
use crate::approx::{ApproxError, Approximation, Choice, ErrorBudget, FitCache, Request, choose_cached};
use std::collections::BTreeMap;

/// Largest degree of a single polynomial: beyond, composites are cheaper and as deep.
pub(super) const MAX_DEGREE: usize = 127;
/// Levels that one activation may take: relu within 2^-13 of its range takes 14.
pub(super) const MAX_DEPTH: usize = 15;
/// The error anywhere in the interval may exceed the root mean square on the data by this factor: least-squares fits are
/// that much worse at the ends, where there is no data, and still follow the function.
const PEAK_PER_RMS: f64 = 16.0;
/// Relative noise between the stages of a composite: encrypted evaluation keeps 20 bits and more.
const STAGE_NOISE: f64 = 1e-6;
/// Degree of single polynomials where all larger ones are known to fail: composites remain.
const HOPELESS_DEGREE: usize = 3;
/// Rungs per factor of two in the error.
const RUNGS_PER_BIT: f64 = 2.0;

/// Approximations by rung; made when asked for.
pub(super) struct Ladder<'a> {
    site: &'a Site,
    /// `None` where the limits allow no such precision.
    rungs: BTreeMap<u32, Option<Choice>>,
    fits: FitCache,
    /// The first rung that is known to be out of reach of single polynomials.
    first_composite: u32,
    /// The first rung that is known to be out of reach altogether.
    end: u32,
}

impl<'a> Ladder<'a> {
    /// The last rung: 2^-24 of the function's spread.
    pub(super) const LAST: u32 = 48;

    pub(super) fn new(site: &'a Site) -> Self {
        Ladder {
            site,
            rungs: BTreeMap::new(),
            fits: FitCache::default(),
            first_composite: u32::MAX,
            end: u32::MAX,
        }
    }

    /// Error of a rung, absolute.
    pub(super) fn error(&self, rung: u32) -> f64 {
        self.site.scale * libm::exp2(-f64::from(rung) / RUNGS_PER_BIT)
    }

    /// The first rung whose error is at most `error`.
    pub(super) fn rung_for(&self, error: f64) -> u32 {
        if error.is_nan() || error <= 0.0 {
            return Self::LAST;
        }
        let rung = RUNGS_PER_BIT * libm::log2(self.site.scale / error);
        rung.ceil().clamp(0.0, f64::from(Self::LAST)) as u32
    }

    /// The cheapest approximation with the error of `rung`.
    pub(super) fn choice(&mut self, rung: u32) -> Result<Option<&Choice>, PassError> {
        if !self.rungs.contains_key(&rung) {
            let made = self.make(rung)?;
            self.rungs.insert(rung, made);
        }
        Ok(self.rungs.get(&rung).and_then(Option::as_ref))
    }

    /// Levels that `rung` takes; more than any other where it is out of reach.
    pub(super) fn depth(&mut self, rung: u32) -> Result<usize, PassError> {
        Ok(self.choice(rung)?.map_or(usize::MAX, |choice| choice.cost.depth))
    }

    /// The last rung that takes no more levels than `rung`.
    pub(super) fn last_of_depth(&mut self, rung: u32) -> Result<u32, PassError> {
        let depth = self.depth(rung)?;
        let mut last = rung;
        while last < Self::LAST && self.depth(last + 1)? == depth {
            last += 1;
        }
        Ok(last)
    }

    /// The highest rung below `rung` that takes fewer levels.
    pub(super) fn first_shallower(&mut self, rung: u32) -> Result<Option<u32>, PassError> {
        let depth = self.depth(rung)?;
        for lower in (0..rung).rev() {
            if self.depth(lower)? < depth {
                return Ok(Some(lower));
            }
        }
        Ok(None)
    }

    fn make(&mut self, rung: u32) -> Result<Option<Choice>, PassError> {
        if rung >= self.end {
            return Ok(None);
        }
        let error = self.error(rung);
        let site = self.site;
        let has_data = site
            .histogram
            .as_ref()
            .is_some_and(|histogram| histogram.n_inside() > 0);
        let request = Request {
            curve: &site.curve,
            interval: (site.interval.low, site.interval.high),
            histogram: site.histogram.as_ref(),
            budget: if has_data {
                ErrorBudget::on_data(error, PEAK_PER_RMS * error)
            } else {
                ErrorBudget::everywhere(error)
            },
            max_degree: if rung >= self.first_composite {
                HOPELESS_DEGREE
            } else {
                MAX_DEGREE
            },
            max_depth: MAX_DEPTH,
            margin: STAGE_NOISE,
        };
        match choose_cached(&request, &mut self.fits) {
            Ok(choice) => {
                if matches!(choice.approximation, Approximation::Gates(_)) {
                    self.first_composite = self.first_composite.min(rung);
                }
                Ok(Some(choice))
            }
            Err(ApproxError::Budget { .. }) => {
                self.end = self.end.min(rung);
                Ok(None)
            }
            Err(error) => Err(failed(&site.origin, &error)),
        }
    }
}
