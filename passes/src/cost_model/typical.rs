//! Prices before parameters are known: those of the chain of primes that a deep program typically gets. What searches over
//! layouts and over equal programs weigh ops by; of a program without bootstraps, only the ratios are of use.

use super::{Bootstraps, CostTable, Costs, LimbOps, Plaintexts, ShapeCache};
use crate::PassError;
use crate::bsgs::RotationCost;
use crate::parameters::spec_of;
use aphelion_runtime::ckks::boot::{BootstrapCircuit, BootstrapPlan, BootstrapRequest, Content};
use aphelion_runtime::ckks::params::{SecretDistribution, Security};

/// The request that stands for those of most deep programs: an image network keeps its values in some 2^14 slots.
const REQUEST: BootstrapRequest = BootstrapRequest {
    log_n: 16,
    slots: 1 << 14,
    content: Content::Real,
    bits: 16.0,
    levels: 14,
    log_scale: 36.0,
    security: Security::Classical128,
};

/// The level at which ops are priced: the placement of bootstraps puts what is costly per level just above the next
/// bootstrap's input.
const LEVEL: u32 = 4;

/// The typical chain with its prices.
pub struct Typical {
    chain: BootstrapPlan,
    costs: Costs,
    table: CostTable,
    shapes: ShapeCache,
}

impl Typical {
    /// The chain, on a machine of these prices.
    ///
    /// # Errors
    /// When the runtime refuses the circuit.
    pub fn new(table: &CostTable) -> Result<Self, PassError> {
        let chain = BootstrapPlan::with_circuit(&REQUEST, &circuit());
        let chain = chain.map_err(|error| PassError::Infeasible(error.to_string()))?;
        Ok(Typical {
            costs: Costs::new(&spec_of(&chain)),
            table: table.clone(),
            shapes: ShapeCache::default(),
            chain,
        })
    }

    /// Seconds of what `ops` counts at the level where ops are priced.
    pub fn seconds(&self, ops: impl FnOnce(&Costs, u32) -> LimbOps) -> f64 {
        self.table.seconds(REQUEST.log_n, &ops(&self.costs, LEVEL))
    }

    /// Seconds of the parts of linear transforms.
    pub fn rotation(&self) -> RotationCost {
        self.costs.rotation_cost(LEVEL, &self.table)
    }

    /// Seconds of a bootstrap of contents that repeat with `period`.
    ///
    /// # Errors
    /// When the ring has not so many slots.
    pub fn bootstrap(&self, period: usize) -> Result<f64, PassError> {
        let work = Bootstraps::new(&self.chain, &self.shapes).work(period, 1)?;
        Ok(self.seconds(|costs, _| work.limb_ops(costs)))
    }

    /// Seconds of encoding a plaintext that repeats with `period`, and its bytes: of a diagonal half-way between two
    /// bootstraps, for operands that stay raised.
    pub fn plaintext(&self, period: usize) -> (f64, f64) {
        let level = self.chain.input_level() as u32 + REQUEST.levels as u32 / 2;
        let plaintext = Plaintexts {
            count: 1,
            limbs: level + 1 + self.chain.literal().p.len() as u32,
            numbers: period,
        };
        let seconds = self.table.seconds(REQUEST.log_n, &self.costs.encode(&plaintext));
        (seconds, self.costs.plaintext_bytes(&plaintext) as f64)
    }

    /// Most slots that contents may repeat with.
    pub fn slots(&self) -> usize {
        1 << (REQUEST.log_n - 1)
    }

    /// Levels that a bootstrap restores.
    pub fn levels(&self) -> usize {
        REQUEST.levels
    }
}

/// What the planner chooses for [`REQUEST`], as a test checks: the choice takes longer than all prices.
fn circuit() -> BootstrapCircuit {
    BootstrapCircuit {
        log_ratio: 10.0,
        arcsine_degree: 1,
        doublings: 1,
        log_reduction_prime: 49.3,
        takes_halves_apart: false,
        coeffs_to_slots: vec![4, 3, 3, 4],
        slots_to_coeffs: 3,
        digits: Some(4),
        secret: SecretDistribution::UniformTernary,
        ephemeral_weight: 32,
        failure_log2: -40.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_circuit_is_the_planners() {
        let plan = BootstrapPlan::new(&REQUEST).expect("there is one");
        assert_eq!(plan.circuit(), &circuit());
    }

    #[test]
    fn more_slots_cost_more() {
        let typical = Typical::new(&CostTable::default()).expect("a chain");
        let price = |log_slots: u32| typical.bootstrap(1 << log_slots).expect("a price");
        assert!(price(8) < price(10) && price(10) < price(12));
    }
}
