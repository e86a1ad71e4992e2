//! What stages cost between given layouts, by their real diagonals; each distinct question is answered once.

use super::form::{Form, Term, is_element_wise, is_identity};
use super::prices::{Plaintexts, Prices};
use super::stage::{Stage, StageKind, Stages};
use crate::bsgs::{BsgsPlan, RotationCost, choose};
use aphelion_ir::slot::{DiagonalSet, Layout, LinearMap, Pattern, Unused};
use aphelion_ir::text::print_attr;
use aphelion_ir::{ConstRef, ConstantPool, IrError};
use rustc_hash::FxHashMap;

/// A product of ciphertexts with its relinearisation and rescale, in units of a full rotation.
const PRODUCT: f64 = 1.25;
/// What an input ciphertext costs to make, send and receive, in units of a full rotation.
const INPUT: f64 = 2.0;
/// What a level that a relayout adds costs, in units of a full rotation.
const RELAYOUT_LEVEL: f64 = 4.0;

/// A linear op of more diagonals is not considered: their plaintexts alone would fill hundreds of gigabytes.
const MAX_DIAGONALS: usize = 1 << 19;

/// Cost and parts of one linear op.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearCost {
    /// The transform.
    pub transform: BsgsPlan,
    /// Rotations of the fold, over all ciphertexts of the result.
    pub n_folds: usize,
    /// All of it.
    pub cost: f64,
}

/// Answers cost questions, with memory.
pub struct Costs<'a> {
    constants: &'a ConstantPool,
    prices: Prices,
    /// Maps that differ in weights only share a number.
    numbers: FxHashMap<String, usize>,
    patterns: Vec<Pattern<'a>>,
    known: FxHashMap<(usize, Layout, Layout), Bill>,
    /// How much of the time to encode a plaintext every run pays for.
    encode_share: f64,
}

/// What something costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bill {
    /// In every run, with plaintexts encoded beforehand.
    pub run: f64,
    /// Plaintexts.
    pub plaintexts: Plaintexts,
}

impl Bill {
    /// Of a run, and nothing else.
    pub fn run(run: f64) -> Self {
        Bill { run, ..Bill::default() }
    }
}

impl std::ops::AddAssign for Bill {
    fn add_assign(&mut self, other: Bill) {
        self.run += other.run;
        self.plaintexts += other.plaintexts;
    }
}

impl<'a> Costs<'a> {
    /// Costs by `prices`.
    pub fn new(constants: &'a ConstantPool, prices: Prices) -> Self {
        Costs {
            constants,
            prices,
            numbers: FxHashMap::default(),
            patterns: Vec::new(),
            known: FxHashMap::default(),
            encode_share: 0.0,
        }
    }

    /// From now on, every run pays for this share of the time to encode a plaintext.
    pub fn set_encode_share(&mut self, share: f64) {
        self.encode_share = share;
    }

    /// What a search compares.
    pub fn total(&self, bill: &Bill) -> f64 {
        bill.run + self.encode_share * bill.plaintexts.encode
    }

    /// What a run of a whole program costs in the memory that there is.
    pub fn within_memory(&self, bill: &Bill) -> f64 {
        let at_use = |price: super::prices::PlaintextPrice| price.at_use(bill.plaintexts);
        bill.run + self.prices.plaintext.map_or(0.0, at_use)
    }

    /// What `n` products with plaintexts cost.
    fn products(&self, n: usize, period: usize) -> Bill {
        let shared = self.prices.rotation.plain * n as f64;
        match self.prices.plaintext {
            Some(price) => Bill {
                run: shared + price.products(n, period),
                plaintexts: price.take(n, period),
            },
            None => Bill::run(shared),
        }
    }

    /// What work `depth` levels into a program of `total` levels costs, relative to the first: in proportion to the primes
    /// that are left, unless bootstraps restore them.
    pub fn weight(&self, depth: usize, total: usize) -> f64 {
        match self.prices.bootstrap {
            Some(_) => 1.0,
            None => (total - depth.min(total) + 2) as f64 / (total + 2) as f64,
        }
    }

    /// Cost of a stage that is an input, product or polynomial, in layout `layout`, with its share of a bootstrap.
    pub fn simple(&self, stage: &Stage, layout: &Layout) -> f64 {
        let (n_rotations, n_levels) = match &stage.kind {
            StageKind::Input { .. } => (INPUT, 0),
            StageKind::Affine { .. } => (0.0, 1),
            StageKind::Mul { .. } => (PRODUCT, 1),
            // Paterson and Stockmeyer: about 2 sqrt(degree) products.
            StageKind::Poly { poly, .. } => (PRODUCT * 2.0 * (poly.degree() as f64).sqrt(), poly.depth()),
        };
        let share = self
            .prices
            .bootstrap
            .map_or(0.0, |price| price.levels(n_levels, layout));
        n_rotations * self.prices.rotation.giant * layout.cts as f64 + share
    }

    /// Cost of computing `form` in layout `output` from sources in `layouts`.
    pub fn form(
        &mut self,
        stages: &Stages,
        stage: &Stage,
        form: &Form,
        layouts: &[&Layout],
        output: &Layout,
    ) -> Result<Bill, IrError> {
        let mut total = Bill::default();
        for (term, &input) in form.terms.iter().zip(layouts) {
            let source = stages.get(term.source);
            total += match how(term, input, output) {
                How::InPlace => {
                    let is_free = is_identity(&term.map) && source.scaling.norm == stage.scaling.norm;
                    if is_free {
                        Bill::default()
                    } else {
                        self.products(output.cts, output.period)
                    }
                }
                How::Transform => self.linear(&term.map, input, output)?,
            };
            // A relayout of what could stay takes a level that the stage's depth does not count.
            if is_identity(&term.map) && !same_places(input, output) && source.depth >= stage.depth {
                total.run += RELAYOUT_LEVEL * self.prices.rotation.giant;
            }
        }
        Ok(total)
    }

    /// Cost of moving a value from one layout to another.
    pub fn relayout(&mut self, from: &Layout, to: &Layout) -> Result<Bill, IrError> {
        let map = LinearMap::Identity {
            shape: from.shape.clone(),
        };
        let mut bill = self.linear(&map, from, to)?;
        bill.run += RELAYOUT_LEVEL * self.prices.rotation.giant;
        Ok(bill)
    }

    fn linear(&mut self, map: &LinearMap, input: &Layout, output: &Layout) -> Result<Bill, IrError> {
        let mut shape_only = map.clone();
        rename(&mut shape_only, self.constants)?;
        let next = self.numbers.len();
        let number = *self.numbers.entry(print_attr(&shape_only)).or_insert(next);
        if number == self.patterns.len() {
            self.patterns.push(Pattern::new(map, self.constants)?);
        }
        let question = (number, input.clone(), output.clone());
        if let Some(&cost) = self.known.get(&question) {
            return Ok(cost);
        }
        let linear = linear_cost(&self.patterns[number], input, output, &self.prices.rotation)?;
        let bill = linear.map_or(Bill::run(f64::INFINITY), |linear| {
            let n_plains = linear.transform.n_plains;
            // The matrix repeats as its operand or, where that is longer, its result before the fold.
            let period = input.period.max(output.period);
            let mut bill = self.products(n_plains, period);
            bill.run += linear.cost - self.prices.rotation.plain * n_plains as f64;
            bill
        });
        self.known.insert(question, bill);
        Ok(bill)
    }
}

/// Cost of a map with these non-zeros between two layouts, with the fold that [`fold`] gives. None where it has more than
/// [`MAX_DIAGONALS`].
pub fn linear_cost(
    pattern: &Pattern<'_>,
    input: &Layout,
    output: &Layout,
    cost: &RotationCost,
) -> Result<Option<LinearCost>, IrError> {
    let fold = fold(input, output);
    let Some(set) = DiagonalSet::up_to(MAX_DIAGONALS, pattern, input, output, &fold)? else {
        return Ok(None);
    };
    let transform = choose(&set, cost);
    let n_folds = fold.len() * output.cts;
    Ok(Some(LinearCost {
        cost: transform.cost + cost.giant * n_folds as f64,
        transform,
        n_folds,
    }))
}

/// The cyclic sum that makes a result of a shorter period than its operand.
pub fn fold(input: &Layout, output: &Layout) -> Vec<usize> {
    let steps = std::iter::successors(Some(output.period), |step| Some(step * 2));
    steps.take_while(|step| *step < input.period).collect()
}

/// How a term is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    /// Slot by slot: nothing, a factor or a plaintext product.
    InPlace,
    /// By a linear transform.
    Transform,
}

/// How `term` gets from layout `input` to layout `output`.
pub fn how(term: &Term, input: &Layout, output: &Layout) -> How {
    if is_element_wise(&term.map) && same_places(input, output) {
        How::InPlace
    } else {
        How::Transform
    }
}

/// Whether elements lie in the same places.
pub fn same_places(a: &Layout, b: &Layout) -> bool {
    let places = |layout: &Layout| Layout {
        unused: Unused::Zero {},
        ..layout.clone()
    };
    places(a) == places(b)
}

/// Replaces the names of weights by their shapes.
fn rename(map: &mut LinearMap, constants: &ConstantPool) -> Result<(), IrError> {
    let by_shape = |name: &ConstRef| -> Result<ConstRef, IrError> {
        Ok(ConstRef::new(format!("{:?}", constants.get(name)?.shape())))
    };
    match map {
        LinearMap::Diagonal { by, .. } => *by = by_shape(by)?,
        LinearMap::Conv { weight, .. } | LinearMap::Dense { weight, .. } => *weight = by_shape(weight)?,
        LinearMap::Compose { maps } | LinearMap::Sum { maps } => {
            for map in maps {
                rename(map, constants)?;
            }
        }
        _ => {}
    }
    Ok(())
}
