//! The rewrite rules, by topic, one aligned table each.
//!
//! A rule is a left-hand pattern, the attributes and layouts that it looks at, a function that computes one new
//! attribute from them (or finds that the rule does not apply), and a right-hand pattern in which `?new` stands for it.
//! Rules are directional: towards fewer products, and scalars outward until a matrix or a polynomial takes them in. No
//! free commutativity, no `x => x + 0`.

mod matrix;
mod product;
mod rotation;
mod scalar;

use super::language::{Attr, SlotAnalysis, SlotEGraph, SlotExpr};
use aphelion_ir::slot::Layout;
use egg::{Applier, Id, Pattern, PatternAst, Rewrite, Subst, Symbol, Var};
use std::collections::BTreeSet;

/// What a rule's function sees: attributes and layouts bound by the pattern, in the order of the rule's row.
pub(super) struct Bound<'a> {
    attrs: Vec<Attr>,
    layouts: Vec<Layout>,
    analysis: &'a SlotAnalysis,
}

/// Outcome of a rule's function.
pub(super) enum Outcome {
    /// The rule applies and needs no new attribute.
    Apply,
    /// The rule applies with this attribute as `?new`.
    With(Box<Attr>),
    /// The rule does not apply to this match.
    Skip,
}

impl Outcome {
    fn with(attr: Attr) -> Self {
        Outcome::With(Box::new(attr))
    }
}

/// One row of a rule table.
pub(super) struct Rule {
    /// Name, for `--disable-rule` and statistics.
    pub(super) name: &'static str,
    /// Pattern to find.
    pub(super) from: &'static str,
    /// Pattern to add.
    pub(super) to: &'static str,
    /// Pattern variables of attributes that the function sees.
    pub(super) attrs: &'static [&'static str],
    /// Pattern variables of values whose layouts the function sees.
    pub(super) values: &'static [&'static str],
    /// Computes the new attribute.
    pub(super) compute: fn(&Bound<'_>) -> Outcome,
}

/// All rules, in a fixed order.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    rotation::RULES
        .iter()
        .chain(scalar::RULES)
        .chain(product::RULES)
        .chain(matrix::RULES)
}

/// Names of all rules.
pub fn rule_names() -> Vec<&'static str> {
    all().map(|rule| rule.name).collect()
}

/// The rules for `egg`, without the disabled ones.
pub(super) fn rewrites(disabled: &BTreeSet<String>) -> Vec<Rewrite<SlotExpr, SlotAnalysis>> {
    let rewrite = |rule: &'static Rule| {
        let from: Pattern<SlotExpr> = rule.from.parse().expect("rule tables hold valid patterns");
        let to: Pattern<SlotExpr> = rule.to.parse().expect("rule tables hold valid patterns");
        Rewrite::new(rule.name, from, Compute { rule, to }).expect("rule tables bind every variable")
    };
    all()
        .filter(|rule| !disabled.contains(rule.name))
        .map(rewrite)
        .collect()
}

struct Compute {
    rule: &'static Rule,
    to: Pattern<SlotExpr>,
}

fn var(name: &str) -> Var {
    name.parse().expect("rule tables hold valid variables")
}

impl Applier<SlotExpr, SlotAnalysis> for Compute {
    fn apply_one(
        &self,
        egraph: &mut SlotEGraph,
        eclass: Id,
        subst: &Subst,
        ast: Option<&PatternAst<SlotExpr>>,
        name: Symbol,
    ) -> Vec<Id> {
        let facts = |name: &&str| &egraph[subst[var(name)]].data;
        let attrs: Option<Vec<Attr>> = (self.rule.attrs.iter())
            .map(|name| facts(name).attr.map(|attr| egraph.analysis.attr(attr).clone()))
            .collect();
        let layouts: Option<Vec<Layout>> = self.rule.values.iter().map(|name| facts(name).layout.clone()).collect();
        let (Some(attrs), Some(layouts)) = (attrs, layouts) else {
            return Vec::new();
        };
        let outcome = (self.rule.compute)(&Bound {
            attrs,
            layouts,
            analysis: &egraph.analysis,
        });
        let mut subst = subst.clone();
        // New e-nodes stand where the rewritten one stood.
        egraph.analysis.origin = egraph[eclass].data.origin.clone();
        egraph.analysis.rule = Some(self.rule.name);
        match outcome {
            Outcome::Skip => return Vec::new(),
            Outcome::Apply => {}
            Outcome::With(attr) => {
                let attr = egraph.analysis.intern(*attr);
                let class = egraph.add(SlotExpr::Attr(attr));
                subst.insert(var("?new"), class);
            }
        }
        self.to.apply_one(egraph, eclass, &subst, ast, name)
    }
}

/// For rules that always apply and need no new attribute.
fn always(_: &Bound<'_>) -> Outcome {
    Outcome::Apply
}
