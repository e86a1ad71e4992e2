//! The loop over chains of primes.

use super::candidates::{COARSE, Wanted, coarse_levels, rings};
use super::frontier::{MAX_STATES, place};
use super::insert::insert;
use super::prices::Program;
use super::problem::{Placement, Problem};
use crate::cost_model::{Bootstraps, Costs, ShapeCache, Workload, predict};
use crate::keys::KeyPlan;
use crate::lower_to_ckks;
use crate::parameters::{self, needed_bits, spec_of};
use crate::{PassCx, PassError, Stats};
use aphelion_ir::Graph;
use aphelion_ir::ckks::ParameterSpec;
use aphelion_ir::slot::Slot;
use aphelion_runtime::ckks::boot::BootstrapPlan;
use rayon::prelude::*;
use std::collections::BTreeSet;

/// Times that precision may be raised.
const MAX_ROUNDS: usize = 4;
/// Chains that are interpreted before precision is raised.
const MAX_TRIED: usize = 2;
/// Candidates, each with another number of bootstraps, whose own circuits are compared: the one that they are ranked on serves
/// some better than others.
const CONTENDERS: usize = 3;
/// Raised precision exceeds what was missing by this many bits.
const ROUND_MARGIN_BITS: f64 = 0.5;

/// A program with its bootstraps.
pub(super) struct Found {
    graph: Graph<Slot>,
    spec: ParameterSpec,
    placement: Placement,
    n_candidates: usize,
    /// Predicted latency.
    pub(super) seconds: f64,
}

/// A chain with the placement for it.
struct Candidate {
    log_n: u32,
    levels: u32,
    chain: BootstrapPlan,
    placement: Placement,
    /// Seconds on one thread.
    seconds: f64,
}

impl Found {
    /// The result of the pass.
    pub(super) fn finish(self, mut stats: Stats) -> (Graph<Slot>, Stats) {
        let n_bootstraps = self.placement.is_bootstrapped.iter().filter(|is| **is).count();
        stats.add("bootstraps", n_bootstraps as f64);
        if let Some(bootstrap) = &self.spec.bootstrap {
            stats.add("bootstrap_levels", f64::from(bootstrap.levels));
            stats.add("bootstrap_input_level", f64::from(bootstrap.input_level));
        }
        stats.add("candidates", self.n_candidates as f64);
        stats.add("optimality_gap", 1.0 - self.placement.lower_bound / self.placement.cost);
        stats.add("predicted_s", self.seconds);
        (self.graph, stats)
    }
}

/// The cheapest way to run `graph`, whose products are balanced, with bootstraps.
pub(super) fn search(cx: &PassCx, graph: &Graph<Slot>) -> Result<Found, PassError> {
    let search = Search::new(cx, graph)?;
    let widest = search.program.widest();
    // Precision is dear here, also for a model without approximated functions.
    let needed = needed_bits(cx, false);
    let rings = rings(graph.attrs.slots, cx.options.log_n);
    let Some(largest) = rings.last() else {
        return Err(PassError::Infeasible(format!(
            "{} slots do not fit a ring that can bootstrap: pack into more ciphertexts",
            graph.attrs.slots
        )));
    };
    let mut wanted = Wanted::first(widest, needed, *largest, parameters::security(cx));
    let mut n_candidates = 0;
    let mut best_bits = f64::NEG_INFINITY;
    let mut too_large = None;
    for _ in 0..MAX_ROUNDS {
        let ranked = search.rank(&wanted, &rings)?;
        n_candidates += ranked.len();
        let mut missing = ROUND_MARGIN_BITS;
        let mut n_tried = 0;
        let (contenders, others) = contenders(ranked);
        let refined = contenders.par_iter().map(|it| search.refined(&wanted, it));
        let mut refined: Vec<Candidate> = refined.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        refined.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let others = others.iter().map(|it| search.refined(&wanted, it));
        for candidate in refined.into_iter().map(|it| Ok(Some(it))).chain(others) {
            if n_tried == MAX_TRIED {
                break;
            }
            let Some(candidate) = candidate? else {
                continue;
            };
            let tried = search.try_out(candidate, needed)?;
            n_tried += usize::from(!matches!(tried, Tried::TooLarge(_)));
            match tried {
                Tried::Kept(found) => {
                    return Ok(Found { n_candidates, ..*found });
                }
                Tried::Imprecise(Some(bits)) => {
                    best_bits = best_bits.max(bits);
                    missing = missing.max(needed - bits + ROUND_MARGIN_BITS);
                    // Others keep no more.
                    break;
                }
                Tried::Imprecise(None) => {}
                // Fewer levels between bootstraps are slower and take smaller keys. The error is that of the fastest.
                Tried::TooLarge(error) => {
                    too_large.get_or_insert(error);
                }
            }
        }
        if n_tried == 0
            && let Some(error) = too_large
        {
            return Err(error);
        }
        let Some(raised) = wanted.raised(missing) else { break };
        wanted = raised;
    }
    Err(PassError::Infeasible(if best_bits.is_finite() {
        format!(
            "with bootstraps, noise leaves {best_bits:.1} bits of precision, {needed:.1} are needed: ask for less precision, \
             or calibrate on samples (--calibrate), which gives narrower ranges than the interval of the inputs"
        )
    } else {
        "a value is too large for a bootstrap or its modulus under every parameter set: widen the calibrated ranges"
            .into()
    }))
}

/// The best of the ranked candidates for each of the [`CONTENDERS`] most promising numbers of bootstraps; and the others.
fn contenders(ranked: Vec<Candidate>) -> (Vec<Candidate>, Vec<Candidate>) {
    let mut counts = BTreeSet::new();
    ranked.into_iter().partition(|candidate| {
        let n_bootstraps = candidate.placement.is_bootstrapped.iter().filter(|is| **is).count();
        counts.len() < CONTENDERS && counts.insert(n_bootstraps)
    })
}

/// What became of a candidate.
enum Tried {
    Kept(Box<Found>),
    /// Bits that it keeps; none where a value does not fit.
    Imprecise(Option<f64>),
    /// It takes more memory than is allowed.
    TooLarge(PassError),
}

struct Search<'a> {
    cx: &'a PassCx,
    graph: &'a Graph<Slot>,
    program: Program,
    shapes: ShapeCache,
}

impl<'a> Search<'a> {
    fn new(cx: &'a PassCx, graph: &'a Graph<Slot>) -> Result<Self, PassError> {
        let rotation = lower_to_ckks::typical_rotation_cost(&cx.cost_table);
        Ok(Search {
            cx,
            graph,
            program: Program::new(graph, &rotation, &cx.memo)?,
            shapes: ShapeCache::default(),
        })
    }

    /// Chains with their placements, cheapest first: coarsely spaced numbers of levels, then those around the best.
    fn rank(&self, wanted: &Wanted, rings: &[u32]) -> Result<Vec<Candidate>, PassError> {
        let coarse = coarse_levels(self.program.deepest_op(), self.cx.options.max_levels);
        let mut circuits = vec![None; rings.len()];
        let mut ranked = Vec::new();
        for (log_n, circuit) in rings.iter().zip(&mut circuits) {
            ranked.extend(self.placed(*log_n, wanted.chains(*log_n, &coarse, circuit))?);
        }
        let by_seconds = |a: &Candidate, b: &Candidate| a.seconds.total_cmp(&b.seconds);
        ranked.sort_by(by_seconds);
        if let Some(best) = ranked.first() {
            let (log_n, centre) = (best.log_n, best.levels);
            let most = self.cx.options.max_levels.unwrap_or(u32::MAX);
            let around = centre.saturating_sub(COARSE - 1)..=(centre + COARSE - 1).min(most);
            let fine: Vec<u32> = around.filter(|levels| !coarse.contains(levels)).collect();
            for (_, circuit) in rings.iter().zip(&mut circuits).filter(|(ring, _)| **ring == log_n) {
                ranked.extend(self.placed(log_n, wanted.chains(log_n, &fine, circuit))?);
            }
            ranked.sort_by(by_seconds);
        }
        if ranked.is_empty() {
            return Err(self.impossible(wanted, rings));
        }
        Ok(ranked)
    }

    fn placed(&self, log_n: u32, chains: Vec<(u32, BootstrapPlan)>) -> Result<Vec<Candidate>, PassError> {
        let candidates = chains
            .into_par_iter()
            .map(|(levels, chain)| self.candidate((log_n, levels, chain)));
        Ok(candidates
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    fn problem(&self, chain: &BootstrapPlan) -> Result<Problem, PassError> {
        let costs = Costs::new(&spec_of(chain));
        let bootstraps = Bootstraps::new(chain, &self.shapes);
        let between = (chain.input_level() as u32, chain.output_level() as u32);
        self.program.problem(&costs, &self.cx.cost_table, &bootstraps, between)
    }

    /// The placement for a chain, if there is one.
    fn candidate(&self, (log_n, levels, chain): (u32, u32, BootstrapPlan)) -> Result<Option<Candidate>, PassError> {
        let problem = self.problem(&chain)?;
        Ok(place(&problem, MAX_STATES).map(|placement| Candidate {
            log_n,
            levels,
            seconds: placement.cost,
            placement,
            chain,
        }))
    }

    /// The candidate on the cheapest chain of as many levels, for no more slots than are bootstrapped.
    fn refined(&self, wanted: &Wanted, candidate: &Candidate) -> Result<Option<Candidate>, PassError> {
        let (log_n, levels) = (candidate.log_n, candidate.levels);
        let on_chain_for = |widest: (usize, bool)| -> Result<Option<Candidate>, PassError> {
            match (Wanted { widest, ..*wanted }).chain(log_n, levels) {
                Ok(chain) => self.candidate((log_n, levels, chain)),
                Err(_) => Ok(None),
            }
        };
        let widest = self.program.widest_of(&candidate.placement.is_bootstrapped);
        let refined = on_chain_for(widest)?;
        // Where other values are bootstrapped now, the chain has to serve them as well.
        match refined {
            Some(refined) if self.program.widest_of(&refined.placement.is_bootstrapped) == widest => Ok(Some(refined)),
            _ => on_chain_for(wanted.widest),
        }
    }

    /// Lowers the candidate's program and interprets it.
    fn try_out(&self, candidate: Candidate, needed_bits: f64) -> Result<Tried, PassError> {
        let spec = spec_of(&candidate.chain);
        parameters::remember(&spec, &candidate.chain);
        let chosen = candidate.placement.is_bootstrapped.iter().enumerate();
        let chosen = chosen.filter(|(_, is)| **is).map(|(step, _)| self.program.value(step));
        let placed = insert(self.graph, &chosen.collect(), spec.clone())?;
        let (lowered, _) = lower_to_ckks::run(self.cx, placed.clone())?;
        let bootstraps = Bootstraps::new(&candidate.chain, &self.shapes);
        let workload = Workload::new(&lowered, Some(&bootstraps), &self.cx.memo)?;
        let keys = KeyPlan::new(&lowered, &workload, Some(&bootstraps))?;
        let prediction = predict(&workload, &keys, &spec, &self.cx.cost_table);
        if let Err(error) = parameters::check_memory(self.cx, &prediction) {
            return Ok(Tried::TooLarge(error));
        }
        Ok(match parameters::assess(self.cx, &lowered)?.bits {
            Some(bits) if bits >= needed_bits => Tried::Kept(Box::new(Found {
                graph: placed,
                spec,
                placement: candidate.placement,
                n_candidates: 0,
                seconds: prediction.evaluate_within(self.cx.options.max_memory_bytes),
            })),
            bits => Tried::Imprecise(bits),
        })
    }

    /// Why no chain serves.
    fn impossible(&self, wanted: &Wanted, rings: &[u32]) -> PassError {
        let deepest = self.program.deepest_op();
        let log_n = rings.iter().copied().max().unwrap_or_default();
        match wanted.chain(log_n, deepest.max(1)) {
            Err(PassError::Infeasible(reason)) => PassError::Infeasible(format!(
                "the program needs bootstraps that leave {deepest} levels, as many as its deepest op consumes; {reason}"
            )),
            Err(error) => error,
            Ok(chain) => self.out_of_reach(&chain).unwrap_or_else(|error| error),
        }
    }

    /// The op that a chain has too few levels for.
    fn out_of_reach(&self, chain: &BootstrapPlan) -> Result<PassError, PassError> {
        let problem = self.problem(chain)?;
        Ok(match problem.too_deep() {
            Some(step) => PassError::unsupported(
                self.graph.origin(self.program.value(step)),
                format!(
                    "consumes {} levels, a bootstrap leaves {}: use an activation of lower degree",
                    problem.steps[step].consumption,
                    problem.levels - problem.input_level
                ),
            ),
            None => PassError::Infeasible(
                "no placement of bootstraps was found among those searched: use activations of lower degree".into(),
            ),
        })
    }
}
