//! Rewrite: chooses, among the equal programs that algebra yields, one of least multiplicative depth, then latency.
//! In:     slot; verified.                                  Out: slot; verified; the same results in the same layouts.
//! Method: region by region (`regions`), equality saturation over the rules of `rules/`, then a greedy extraction that
//!         counts shared ops once, by (depth, latency), and one choice at a time while the whole gets cheaper; latency by the cost model, from real diagonal and rotation counts.
//!         Ties go to the e-node added first.
//! Source: Willsey et al., egg: Fast and Extensible Equality Saturation (POPL 2021); extraction on DAGs as in the
//!         greedy-DAG extractor of the extraction gym. Rules: Halevi-Shoup rotation algebra and common arithmetic.
//! Cost:   O(e-nodes) per iteration and region; linear operators are costed once per distinct matrix.
//! Counts: rewrite_regions, rewrite_enodes, rewrite_iterations, rewrite_ops_before, rewrite_ops_after,
//!         rewrite_latency_before, rewrite_latency_after (in seconds), rewrite_depth; for every rule that did anything
//!         rewrite_applied.RULE (e-classes it united) and rewrite_chosen.RULE (ops of the result that it made)
//! Limits: MAX_ITERATIONS, MAX_ENODES per region: saturation of the example models needs 3 to 8 iterations and under
//!         1,000 e-nodes.

mod cost;
mod extract;
mod language;
mod regions;
mod rules;

pub use rules::rule_names;

use crate::{PassCx, PassError, Stats};
use aphelion_ir::slot::{Slot, SlotOp};
use aphelion_ir::{Graph, Origin, ValueId};
use cost::CostModel;
use egg::{Id, Language, Runner};
use extract::OpCost;
use language::{Attr, SlotAnalysis, SlotEGraph, SlotExpr};
use regions::Assembly;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::time::Duration;

/// Iterations after which saturation stops.
const MAX_ITERATIONS: usize = 12;

/// E-nodes above which saturation stops.
const MAX_ENODES: usize = 20_000;

/// Saturation stops by the two limits above, never by the clock: the result must not depend on the machine's speed.
const NO_TIME_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs the pass.
///
/// # Errors
/// When the prices of the typical parameters cannot be had; when the rewritten graph violates a type rule, which is a defect of a rule.
pub fn run(cx: &PassCx, graph: Graph<Slot>) -> Result<(Graph<Slot>, Stats), PassError> {
    let mut stats = Stats::default();
    let mut model = CostModel::new(&cx.cost_table)?;
    let mut assembly = Assembly::new(&graph)?;
    for region in regions::regions(&graph) {
        let part = assembly.part(&region)?;
        let depths = assembly.depths(&part);
        let rewritten = rewrite(cx, &part.graph, &depths, &mut model, &mut stats)?;
        assembly.add(&part, &rewritten)?;
    }
    let (rewritten, depth) = assembly.finish();
    stats.add("rewrite_ops_before", graph.len() as f64);
    stats.add("rewrite_ops_after", rewritten.len() as f64);
    stats.add("rewrite_depth", f64::from(depth));
    Ok((rewritten, stats))
}

/// The best graph equal to `graph`, whose inputs have these depths.
fn rewrite(
    cx: &PassCx,
    graph: &Graph<Slot>,
    depths: &BTreeMap<String, u32>,
    model: &mut CostModel,
    stats: &mut Stats,
) -> Result<Graph<Slot>, PassError> {
    let mut op_cost = |node: &SlotExpr, egraph: &SlotEGraph| match node {
        SlotExpr::Input(attr) => match egraph[*attr].data.attr.map(|attr| egraph.analysis.attr(attr)) {
            Some(Attr::Input { name, .. }) => Some(OpCost {
                depth: depths.get(name).copied().unwrap_or(0),
                latency: 0.0,
            }),
            _ => None,
        },
        node => model.op(node, egraph),
    };
    let (egraph, root) = language::import(graph);
    let nodes = egraph.classes().flat_map(|class| &class.nodes);
    let before: f64 = nodes
        .filter_map(|node| op_cost(node, &egraph))
        .map(|cost| cost.latency)
        .sum();
    let runner = Runner::<SlotExpr, SlotAnalysis>::new(SlotAnalysis::new(graph.constants.clone()))
        .with_egraph(egraph)
        .with_iter_limit(MAX_ITERATIONS)
        .with_node_limit(MAX_ENODES)
        .with_time_limit(NO_TIME_LIMIT)
        .run(&rules::rewrites(&cx.options.disabled_rules));
    let egraph = &runner.egraph;
    let chosen = extract::extract(egraph, root, &mut op_cost);
    let mut export = Export {
        egraph,
        chosen: &chosen,
        values: FxHashMap::default(),
    };
    let rewritten = export.run(graph, root)?;

    stats.add("rewrite_regions", 1.0);
    stats.add("rewrite_enodes", egraph.total_size() as f64);
    stats.add("rewrite_iterations", runner.iterations.len() as f64);
    stats.add("rewrite_latency_before", before);
    for (rule, n) in runner.iterations.iter().flat_map(|iteration| &iteration.applied) {
        stats.add(&format!("rewrite_applied.{rule}"), *n as f64);
    }
    let makers = makers(egraph);
    for class in export.values.keys() {
        let Some(node) = chosen.get(class) else {
            continue;
        };
        let cost = op_cost(node, egraph).map_or(0.0, |cost| cost.latency);
        stats.add("rewrite_latency_after", cost);
        let node = node.clone().map_children(|child| egraph.find(child));
        if let Some(Some(rule)) = makers.get(&node) {
            stats.add(&format!("rewrite_chosen.{rule}"), 1.0);
        }
    }
    Ok(rewritten)
}

/// By e-node, the rule that added it; none for those of the program as it was.
fn makers(egraph: &SlotEGraph) -> FxHashMap<SlotExpr, Option<&'static str>> {
    let mut makers = FxHashMap::default();
    for (node, rule) in &egraph.analysis.made {
        let node = node.clone().map_children(|child| egraph.find(child));
        makers.entry(node).or_insert(*rule);
    }
    makers
}

/// Rebuilds a graph from the chosen e-nodes.
struct Export<'a> {
    egraph: &'a SlotEGraph,
    chosen: &'a FxHashMap<Id, SlotExpr>,
    values: FxHashMap<Id, ValueId>,
}

impl Export<'_> {
    fn run(&mut self, source: &Graph<Slot>, root: Id) -> Result<Graph<Slot>, PassError> {
        let mut graph = Graph::new(source.name.clone(), source.constants.clone());
        graph.attrs = source.attrs.clone();
        // Inputs are part of the model's signature: all of them stay, first and in order.
        for (_, node) in source.iter() {
            if let SlotOp::Input { name, layout, scale } = &node.op {
                let attr = Attr::Input {
                    name: name.clone(),
                    layout: layout.clone(),
                    scale: *scale,
                };
                let value = graph.push(node.op.clone(), node.origin.clone())?;
                if let Some(class) = self.input_class(&attr) {
                    self.values.insert(class, value);
                }
            }
        }
        let SlotExpr::Results(results) = self.node(root)?.clone() else {
            return Err(PassError::Infeasible("the root of the e-graph holds no results".into()));
        };
        for (output, class) in source.outputs().iter().zip(results) {
            let value = self.value(&mut graph, class)?;
            graph.output(output.name.clone(), value);
        }
        Ok(graph)
    }

    /// The class of the input op with this attribute, when some result needs it.
    fn input_class(&self, wanted: &Attr) -> Option<Id> {
        let Attr::Input { name: wanted, .. } = wanted else {
            return None;
        };
        self.chosen.iter().find_map(|(class, node)| match node {
            SlotExpr::Input(attr) => match self.attr(*attr) {
                Some(Attr::Input { name, .. }) if name == wanted => Some(*class),
                _ => None,
            },
            _ => None,
        })
    }

    fn node(&self, class: Id) -> Result<&SlotExpr, PassError> {
        self.chosen
            .get(&self.egraph.find(class))
            .ok_or_else(|| PassError::Infeasible(format!("no finite program for e-class {class}")))
    }

    fn attr(&self, class: Id) -> Option<&Attr> {
        self.egraph[class].data.attr.map(|attr| self.egraph.analysis.attr(attr))
    }

    /// The value of `class` in `graph`, built on demand. Iterative, so that deep models cannot exhaust the stack.
    fn value(&mut self, graph: &mut Graph<Slot>, class: Id) -> Result<ValueId, PassError> {
        let mut pending = vec![self.egraph.find(class)];
        while let Some(&class) = pending.last() {
            if self.values.contains_key(&class) {
                pending.pop();
                continue;
            }
            let node = self.node(class)?.clone();
            let missing: Vec<Id> = operands(&node)
                .iter()
                .map(|child| self.egraph.find(*child))
                .filter(|child| !self.values.contains_key(child))
                .collect();
            if missing.is_empty() {
                let op = self.op(&node)?;
                let origin: Origin = self.egraph[class].data.origin.clone();
                let value = graph.push(op, origin)?;
                self.values.insert(class, value);
                pending.pop();
            } else {
                pending.extend(missing.into_iter().rev());
            }
        }
        Ok(self.values[&self.egraph.find(class)])
    }

    /// The op of `node`, whose operands have been built.
    fn op(&self, node: &SlotExpr) -> Result<SlotOp, PassError> {
        let value = |class: &Id| self.values[&self.egraph.find(*class)];
        let op = match node {
            SlotExpr::Add([a, b]) => Some(SlotOp::Add {
                a: value(a),
                b: value(b),
            }),
            SlotExpr::Sub([a, b]) => Some(SlotOp::Sub {
                a: value(a),
                b: value(b),
            }),
            SlotExpr::Mul([a, b]) => Some(SlotOp::Mul {
                a: value(a),
                b: value(b),
            }),
            SlotExpr::Neg(x) => Some(SlotOp::Neg { x: value(x) }),
            SlotExpr::Bootstrap(x) => Some(SlotOp::Bootstrap { x: value(x) }),
            SlotExpr::AddPlain([attr, x]) => match self.attr(*attr) {
                Some(Attr::Plain(plain)) => Some(SlotOp::AddPlain {
                    x: value(x),
                    value: plain.clone(),
                }),
                _ => None,
            },
            SlotExpr::MulPlain([attr, x]) => match self.attr(*attr) {
                Some(Attr::Plain(plain)) => Some(SlotOp::MulPlain {
                    x: value(x),
                    value: plain.clone(),
                }),
                _ => None,
            },
            SlotExpr::AddScalar([attr, x]) => match self.attr(*attr) {
                Some(Attr::Scalar(by)) => Some(SlotOp::AddScalar { x: value(x), by: *by }),
                _ => None,
            },
            SlotExpr::MulScalar([attr, x]) => match self.attr(*attr) {
                Some(Attr::Scalar(by)) => Some(SlotOp::MulScalar { x: value(x), by: *by }),
                _ => None,
            },
            SlotExpr::Rotate([attr, x]) => match self.attr(*attr) {
                Some(Attr::Rotation { by, layout }) => Some(SlotOp::Rotate {
                    x: value(x),
                    by: *by,
                    layout: layout.clone(),
                }),
                _ => None,
            },
            SlotExpr::Linear([attr, x]) => match self.attr(*attr) {
                Some(Attr::Kernel(kernel)) => Some(SlotOp::Linear {
                    x: value(x),
                    kernel: kernel.clone(),
                }),
                _ => None,
            },
            SlotExpr::Poly([attr, x]) => match self.attr(*attr) {
                Some(Attr::Poly(poly)) => Some(SlotOp::Poly {
                    x: value(x),
                    poly: poly.clone(),
                }),
                _ => None,
            },
            SlotExpr::Input(_) | SlotExpr::Attr(_) | SlotExpr::Results(_) => None,
        };
        op.ok_or_else(|| PassError::Infeasible(format!("e-node {node} is no op")))
    }
}

/// Children of an e-node that are values, not attributes.
fn operands(node: &SlotExpr) -> &[Id] {
    match node {
        SlotExpr::Attr(_) | SlotExpr::Input(_) => &[],
        SlotExpr::Add(xs) | SlotExpr::Sub(xs) | SlotExpr::Mul(xs) => xs,
        SlotExpr::Neg(x) | SlotExpr::Bootstrap(x) => std::slice::from_ref(x),
        SlotExpr::AddPlain([_, x])
        | SlotExpr::MulPlain([_, x])
        | SlotExpr::AddScalar([_, x])
        | SlotExpr::MulScalar([_, x])
        | SlotExpr::Rotate([_, x])
        | SlotExpr::Linear([_, x])
        | SlotExpr::Poly([_, x]) => std::slice::from_ref(x),
        SlotExpr::Results(xs) => xs,
    }
}
