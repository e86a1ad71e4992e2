//! The work of bootstraps: what the runtime's plan lists, by slots and kind of message.
//!
//! Bundles of several ciphertexts go two by two through a bootstrap of complex numbers where the parameters provide for
//! it; contents that repeat take a bootstrap of as many slots as their period.

use super::limb_ops::{Costs, LimbOps, Plaintexts, TransformSize};
use crate::PassError;
use aphelion_runtime::ckks::boot::{BootstrapPlan, Content, Operation, TransformShapes};
use aphelion_runtime::ckks::keys::KeyRequest;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Fewest slots of a bootstrap.
const MIN_SLOTS: usize = 2;

/// Slots of a bootstrap, and whether it takes two real ciphertexts at once.
pub type BootstrapKind = (usize, bool);

/// What [`BootstrapPlan::transform_key`] gives.
type TransformKey = (usize, bool, usize, Vec<usize>, bool);

/// Shapes of linear transforms, shared by all plans that have the same: finding them takes longer than anything else.
#[derive(Debug, Default)]
pub struct ShapeCache(Mutex<BTreeMap<TransformKey, Arc<TransformShapes>>>);

impl ShapeCache {
    fn get(&self, plan: &BootstrapPlan) -> Result<Arc<TransformShapes>, PassError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shapes) = known.get(&plan.transform_key()) {
            return Ok(Arc::clone(shapes));
        }
        let shapes = Arc::new(plan.transform_shapes().map_err(refused)?);
        known.insert(plan.transform_key(), Arc::clone(&shapes));
        Ok(shapes)
    }
}

/// The bootstraps that share one chain of primes.
#[derive(Debug)]
pub struct Bootstraps<'a> {
    chain: &'a BootstrapPlan,
    shapes: &'a ShapeCache,
}

/// The bootstraps of one value.
#[derive(Clone, Debug, PartialEq)]
pub struct BootstrapWork {
    /// Kinds with their numbers; neither is zero times there.
    pub kinds: Vec<(BootstrapKind, usize)>,
    /// Operations of one bootstrap of each kind.
    operations: Vec<Arc<Vec<Operation>>>,
}

impl<'a> Bootstraps<'a> {
    /// The bootstraps on the chain of `chain`.
    pub fn new(chain: &'a BootstrapPlan, shapes: &'a ShapeCache) -> Self {
        Bootstraps { chain, shapes }
    }

    /// The plan of a kind.
    ///
    /// # Errors
    /// When the ring has not so many slots.
    pub fn plan(&self, (slots, is_pair): BootstrapKind) -> Result<BootstrapPlan, PassError> {
        let content = if is_pair { Content::Complex } else { Content::Real };
        self.chain.for_slots(slots, content).map_err(refused)
    }

    /// The work of bootstrapping `cts` ciphertexts whose contents repeat with `period`.
    ///
    /// # Errors
    /// When the ring has not so many slots.
    pub fn work(&self, period: usize, cts: usize) -> Result<BootstrapWork, PassError> {
        let slots = period.max(MIN_SLOTS);
        let n_pairs = match self.chain.request().content {
            Content::Complex => cts / 2,
            Content::Real => 0,
        };
        let kinds: Vec<(BootstrapKind, usize)> = [((slots, true), n_pairs), ((slots, false), cts - 2 * n_pairs)]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        let operations = kinds.iter().map(|(kind, _)| {
            let plan = self.plan(*kind)?;
            Ok(Arc::new(plan.operations(&*self.shapes.get(&plan)?)))
        });
        Ok(BootstrapWork {
            operations: operations.collect::<Result<_, PassError>>()?,
            kinds,
        })
    }

    /// The keys of bootstraps of these kinds.
    ///
    /// # Errors
    /// When the ring has not so many slots.
    pub fn keys(&self, kinds: impl IntoIterator<Item = BootstrapKind>) -> Result<KeyRequest, PassError> {
        let mut keys = KeyRequest::default();
        for kind in kinds {
            keys.merge(&self.plan(kind)?.key_request().map_err(refused)?);
        }
        Ok(keys)
    }
}

impl BootstrapWork {
    /// Number of bootstraps.
    pub fn count(&self) -> usize {
        self.kinds.iter().map(|(_, count)| count).sum()
    }

    /// Operations on limbs.
    pub fn limb_ops(&self, costs: &Costs) -> LimbOps {
        let of_kind = |(((slots, _), count), operations): (&(BootstrapKind, usize), &Arc<Vec<Operation>>)| -> LimbOps {
            let each = operations.iter().map(|it| costs.bootstrap_operation(it, *slots));
            each.sum::<LimbOps>() * *count as f64
        };
        self.kinds.iter().zip(&self.operations).map(of_kind).sum()
    }

    /// Bytes that its hungriest transform works with.
    pub fn working_bytes(&self, costs: &Costs) -> u64 {
        let transforms = self.operations.iter().flat_map(|operations| operations.iter());
        let bytes = transforms.filter_map(|operation| match operation {
            Operation::Transform { level, .. } => {
                Some(costs.transform_bytes(&TransformSize::of_bootstrap(operation)?, *level as u32))
            }
            _ => None,
        });
        bytes.max().unwrap_or(0)
    }

    /// For every kind, the encoded diagonals of its transforms.
    pub fn diagonals(&self, costs: &Costs) -> Vec<(BootstrapKind, Vec<Plaintexts>)> {
        let of_kind = |((kind, _), operations): (&(BootstrapKind, usize), &Arc<Vec<Operation>>)| {
            let diagonals = operations.iter().filter_map(|operation| {
                let (count, limbs) = match *operation {
                    Operation::Transform { level, .. } => {
                        let size = TransformSize::of_bootstrap(operation)?;
                        (size.diagonals, costs.diagonal_limbs(&size, level as u32))
                    }
                    Operation::Raise {
                        level,
                        special,
                        diagonals,
                        ..
                    } => (diagonals, (level + 1 + special) as u32),
                    _ => return None,
                };
                Some(Plaintexts {
                    count,
                    limbs,
                    numbers: 2 * kind.0,
                })
            });
            (*kind, diagonals.collect())
        };
        self.kinds.iter().zip(&self.operations).map(of_kind).collect()
    }
}

fn refused(error: aphelion_runtime::error::Error) -> PassError {
    PassError::Infeasible(error.to_string())
}
