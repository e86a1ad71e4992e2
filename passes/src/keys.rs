//! The key plan: exactly the evaluation keys that a program needs, each at the highest level of a band at which it is used.

use crate::PassError;
use crate::cost_model::{Bootstraps, Costs, Work, Workload};
use aphelion_ir::Graph;
use aphelion_ir::ckks::{Ckks, CkksOp};
use aphelion_runtime::ckks::keys::KeyRequest;
use std::collections::BTreeSet;

/// Evaluation keys by purpose and level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPlan {
    /// What key generation is asked for.
    pub request: KeyRequest,
}

impl KeyPlan {
    /// The keys of `graph`, whose work is `workload`, with those of its bootstraps.
    ///
    /// # Errors
    /// When a bootstrap cannot be planned.
    pub fn new(
        graph: &Graph<Ckks>,
        workload: &Workload,
        bootstraps: Option<&Bootstraps<'_>>,
    ) -> Result<Self, PassError> {
        let mut request = KeyRequest::default();
        let mut kinds = BTreeSet::new();
        for item in &workload.items {
            let level = item.level as usize;
            match (&item.work, graph.op(item.value)) {
                (Work::Rotate, CkksOp::Rotate { by, .. }) => request.add_rotation(*by, level),
                (Work::Relinearize { .. }, _) => request.add_relin(level),
                (Work::Linear(shape, _), _) => {
                    request.add_rotations(&shape.rotations(level));
                }
                (Work::Poly(plan), _) => {
                    let depths = plan.relinearization_depths();
                    depths.iter().for_each(|depth| request.add_relin(level - depth));
                }
                (Work::Bootstrap(work), _) => kinds.extend(work.kinds.iter().map(|(kind, _)| *kind)),
                _ => {}
            }
        }
        if let Some(bootstraps) = bootstraps {
            request.merge(&bootstraps.keys(kinds)?);
        }
        Ok(KeyPlan { request })
    }

    /// Number of keys.
    pub fn count(&self, costs: &Costs) -> usize {
        let raising = self.request.encapsulation.as_ref();
        self.request.keys(costs.key_bands()).len() + raising.map_or(0, |request| 1 + request.keys().count())
    }

    /// Bytes of all keys in memory.
    pub fn bytes(&self, costs: &Costs) -> u64 {
        let encapsulation = self.request.encapsulation.as_ref();
        let raising = encapsulation.into_iter().flat_map(|request| request.keys());
        let raising = raising.map(|(_, level)| costs.raising_key_bytes(level as u32));
        let levels = self.request.keys(costs.key_bands()).into_iter().map(|(_, level)| level);
        levels.map(|level| costs.key_bytes(level as u32)).chain(raising).sum()
    }
}
