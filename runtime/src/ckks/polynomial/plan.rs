//! Paterson-Stockmeyer plan: which powers to compute and how the coefficients split over them.
//!
//! Assumes a polynomial of degree d >= 1. Ensures depth exactly ceil(log2(d+1)), counting the coefficient products.
//! Method: divide by the largest power g = 2^j (or T_g) not above the degree, p = q*g + r; q is evaluated completely
//! one level higher, r joins the same sum, so that one relinearisation and one rescale close the whole chain
//! q_1*g_1 + q_2*g_2 + ... + leaf. The leaf is a combination of baby powers by scalars, which share that rescale.
//! Where a leaf would be too deep the split goes on below the baby bound, which only the leading quotients ever need.
//! The baby bound 2^k is the one of least cost over all k; ties go to the smaller k.
//! Source: Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, "Efficient Bootstrapping for Approximate Homomorphic
//! Encryption with Non-Sparse Keys", EUROCRYPT 2021, section 5 (depth-optimal evaluation with exact scales); ours: sums
//! of products are left un-relinearised and un-rescaled until a level is complete.

use std::collections::{BTreeMap, BTreeSet};

use super::{Basis, Polynomial, ceil_log2};

/// Weights of the cost that chooses k, in units of one scalar product. A relinearisation is a key switch.
const COST_RELINEARIZE: usize = 40;
const COST_TENSOR: usize = 5;
const COST_RESCALE: usize = 6;

/// How one power is computed from lower ones, as x^index = x^left * x^right, or
/// T_index = 2 T_left T_right - T_difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerStep {
    /// The power this step yields.
    pub index: usize,
    /// A power of two, the larger factor.
    pub left: usize,
    /// The other factor.
    pub right: usize,
    /// left - right, where the basis needs it; 0 stands for the constant one.
    pub difference: Option<usize>,
}

/// A combination of powers by scalars, with a constant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Leaf {
    /// Coefficient of the zeroth basis element.
    pub constant: f64,
    /// (power, coefficient), by rising power; no coefficient is zero.
    pub terms: Vec<(usize, f64)>,
}

/// A sub-polynomial times a giant power.
#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    /// Evaluated completely, one level above the sum it is part of.
    pub quotient: Sum,
    /// The power of two it is multiplied with.
    pub giant: usize,
}

/// `sum of quotient * giant + leaf`, closed by one relinearisation (if there are products) and one rescale.
#[derive(Debug, Clone, PartialEq)]
pub struct Sum {
    /// Levels below the input at which the rescaled result lies.
    pub depth: usize,
    /// The ciphertext products.
    pub products: Vec<Product>,
    /// The rest.
    pub leaf: Leaf,
}

/// A polynomial with the way to evaluate it.
#[derive(Debug, Clone, PartialEq)]
pub struct PolynomialPlan {
    polynomial: Polynomial,
    powers: Vec<PowerStep>,
    root: Sum,
}

impl PolynomialPlan {
    /// The cheapest plan of least depth.
    #[must_use]
    pub fn new(polynomial: Polynomial) -> Self {
        let depth = polynomial.depth();
        let candidates = (1..=depth).filter_map(|log_baby| {
            let root = split(polynomial.coeffs(), polynomial.basis(), 1 << log_baby, depth)?;
            let powers = power_steps(&root, polynomial.basis());
            Some((
                cost(&root) + powers.len() * (COST_TENSOR + COST_RELINEARIZE + COST_RESCALE),
                root,
                powers,
            ))
        });
        let (_, root, powers) = candidates
            .min_by_key(|(cost, ..)| *cost)
            .expect("a split down to linear leaves has the least depth");
        Self {
            polynomial,
            powers,
            root,
        }
    }

    /// The polynomial.
    #[must_use]
    pub fn polynomial(&self) -> &Polynomial {
        &self.polynomial
    }

    /// Levels consumed.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.root.depth
    }

    /// Powers above the first, each after those it needs.
    #[must_use]
    pub fn powers(&self) -> &[PowerStep] {
        &self.powers
    }

    /// The sum that yields the result.
    #[must_use]
    pub fn root(&self) -> &Sum {
        &self.root
    }

    /// Ciphertext products, those for the powers included.
    #[must_use]
    pub fn ct_mults(&self) -> usize {
        fn count(sum: &Sum) -> usize {
            sum.products.iter().map(|product| 1 + count(&product.quotient)).sum()
        }
        self.powers.len() + count(&self.root)
    }

    /// Relinearisations, each one key switch. If there are any, the first is at the input's own level.
    #[must_use]
    pub fn relinearizations(&self) -> usize {
        self.relinearization_depths().len()
    }

    /// For every relinearisation the depth it starts at: so many levels below the input.
    #[must_use]
    pub fn relinearization_depths(&self) -> Vec<usize> {
        fn collect(sum: &Sum, depths: &mut Vec<usize>) {
            if !sum.products.is_empty() {
                depths.push(sum.depth - 1);
            }
            for product in &sum.products {
                collect(&product.quotient, depths);
            }
        }
        let powers = self.powers.iter();
        let mut depths: Vec<usize> = powers.map(|step| power_depth(step.index) - 1).collect();
        collect(&self.root, &mut depths);
        depths
    }
}

/// Depth of the power `index` below the input.
pub(crate) fn power_depth(index: usize) -> usize {
    ceil_log2(index)
}

fn split(coeffs: &[f64], basis: Basis, baby_bound: usize, depth: usize) -> Option<Sum> {
    let sum_depth = depth.checked_sub(1)?;
    let mut rest = coeffs.to_vec();
    let mut products = Vec::new();
    let mut terms = BTreeMap::new();
    loop {
        while rest.len() > 1 && rest.last() == Some(&0.0) {
            rest.pop();
        }
        let degree = rest.len() - 1;
        if degree == 0 || (degree < baby_bound && power_depth(degree) <= sum_depth) {
            terms.extend(rest.iter().copied().enumerate().skip(1).filter(|(_, c)| *c != 0.0));
            break;
        }
        let giant = 1usize << degree.ilog2();
        if power_depth(giant) > sum_depth {
            return None;
        }
        let (quotient, remainder) = divide(&rest, giant, basis);
        if quotient.len() == 1 {
            terms.insert(giant, quotient[0]);
        } else {
            products.push(Product {
                quotient: split(&quotient, basis, baby_bound, sum_depth)?,
                giant,
            });
        }
        rest = remainder;
    }
    Some(Sum {
        depth,
        products,
        leaf: Leaf {
            constant: rest[0],
            terms: terms.into_iter().collect(),
        },
    })
}

/// p = quotient * g + remainder for g the `giant`-th basis element, giant <= degree < 2 * giant.
fn divide(coeffs: &[f64], giant: usize, basis: Basis) -> (Vec<f64>, Vec<f64>) {
    let mut remainder = coeffs[..giant].to_vec();
    let mut quotient = coeffs[giant..].to_vec();
    if basis == Basis::Chebyshev {
        // T_g T_i = (T_{g+i} + T_{g-i}) / 2 for 0 < i <= g.
        for (i, c) in quotient.iter_mut().enumerate().skip(1) {
            remainder[giant - i] -= *c;
            *c *= 2.0;
        }
    }
    (quotient, remainder)
}

fn cost(sum: &Sum) -> usize {
    let relinearize = if sum.products.is_empty() { 0 } else { COST_RELINEARIZE };
    let products: usize = sum
        .products
        .iter()
        .map(|product| COST_TENSOR + cost(&product.quotient))
        .sum();
    sum.leaf.terms.len() + relinearize + COST_RESCALE + products
}

fn power_steps(root: &Sum, basis: Basis) -> Vec<PowerStep> {
    fn collect(sum: &Sum, needed: &mut BTreeSet<usize>) {
        needed.extend(sum.leaf.terms.iter().map(|(index, _)| *index));
        for product in &sum.products {
            needed.insert(product.giant);
            collect(&product.quotient, needed);
        }
    }
    let mut needed = BTreeSet::new();
    collect(root, &mut needed);
    let mut steps = Vec::new();
    while let Some(index) = needed.pop_last() {
        if index < 2 {
            break;
        }
        let step = power_step(index, basis);
        needed.extend(
            [step.left, step.right]
                .into_iter()
                .chain(step.difference.filter(|d| *d > 0)),
        );
        steps.push(step);
    }
    steps.reverse();
    steps
}

/// The factors of a power: a power of two and the rest, both of which keep the parity that odd and even polynomials
/// live on.
fn power_step(index: usize, basis: Basis) -> PowerStep {
    let left = if index.is_power_of_two() {
        index / 2
    } else {
        1 << index.ilog2()
    };
    let right = index - left;
    let difference = (basis == Basis::Chebyshev).then_some(left - right);
    PowerStep {
        index,
        left,
        right,
        difference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs a plan on a number, checking depths as the evaluator does.
    fn run(plan: &PolynomialPlan, x: f64) -> f64 {
        let mut powers = BTreeMap::from([(0, 1.0), (1, x)]);
        for step in plan.powers() {
            let product = powers[&step.left] * powers[&step.right];
            assert!(power_depth(step.left).max(power_depth(step.right)) < power_depth(step.index));
            powers.insert(
                step.index,
                step.difference.map_or(product, |d| 2.0 * product - powers[&d]),
            );
        }
        fn sum(node: &Sum, powers: &BTreeMap<usize, f64>) -> f64 {
            let products = node.products.iter().map(|product| {
                assert!(product.quotient.depth < node.depth && power_depth(product.giant) < node.depth);
                sum(&product.quotient, powers) * powers[&product.giant]
            });
            let products: f64 = products.sum();
            let terms = node.leaf.terms.iter().map(|(index, c)| {
                assert!(power_depth(*index) < node.depth);
                c * powers[index]
            });
            node.leaf.constant + products + terms.sum::<f64>()
        }
        sum(plan.root(), &powers)
    }

    proptest! {
        #[test]
        fn plan_computes_the_polynomial(
            coeffs in prop::collection::vec(-1.0f64..1.0, 2..130),
            x in -1.0f64..1.0,
            parity in 0usize..3,
            chebyshev: bool,
        ) {
            let coeffs = coeffs.into_iter().enumerate().map(|(i, c)| if parity < 2 && i % 2 == parity { 0.0 } else { c });
            let basis = if chebyshev { Basis::Chebyshev } else { Basis::Monomial };
            if let Ok(polynomial) = Polynomial::new(basis, coeffs.collect()) {
                let plan = PolynomialPlan::new(polynomial.clone());
                prop_assert_eq!(plan.depth(), polynomial.depth());
                let scale: f64 = polynomial.coeffs().iter().map(|c| c.abs()).sum();
                prop_assert!((run(&plan, x) - polynomial.evaluate(x)).abs() < 1e-10 * scale.max(1.0));
            }
        }
    }

    #[test]
    fn product_counts_stay_small() {
        let dense =
            |degree: usize| PolynomialPlan::new(Polynomial::new(Basis::Chebyshev, vec![1.0; degree + 1]).unwrap());
        let odd = |degree: usize| {
            let coeffs = (0..=degree).map(|i| (i % 2) as f64).collect();
            PolynomialPlan::new(Polynomial::new(Basis::Chebyshev, coeffs).unwrap())
        };
        let counts = |plan: PolynomialPlan| (plan.ct_mults(), plan.relinearizations());
        assert_eq!(counts(dense(1)), (0, 0));
        assert_eq!(counts(dense(2)), (1, 1));
        assert_eq!(counts(dense(3)), (2, 2));
        assert_eq!(counts(odd(7)), (4, 4));
        assert!(dense(31).relinearizations() <= 11, "{:?}", counts(dense(31)));
        assert!(odd(27).relinearizations() <= 9, "{:?}", counts(odd(27)));
        assert!(dense(63).relinearizations() <= 16, "{:?}", counts(dense(63)));
    }
}
