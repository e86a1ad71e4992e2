//! What the search for layouts takes ops to cost, before parameters are known.

use crate::bsgs::RotationCost;
use crate::cost_model::{CostTable, Costs};
use aphelion_ir::ckks::{ParameterSpec, Secret};
use aphelion_ir::slot::Layout;

/// Largest ring degree, as log2.
pub const MAX_LOG_N: u32 = 16;
/// Levels of a program for every bootstrap, about: one restores some 14, and at joins two values are in need of one.
const LEVELS_PER_BOOTSTRAP: f64 = 8.0;
/// Price of a bootstrap of [`BASE_PERIOD`] slots, in units of a full rotation just above it.
const BOOTSTRAP: f64 = 300.0;
const BASE_PERIOD: usize = 1 << 12;
/// What a bootstrap of twice as many slots costs, relative to one.
const PER_DOUBLING: f64 = 1.14;
/// Level at which linear ops run in a program with bootstraps: the placement puts what is costly per level just above the
/// next bootstrap's input.
const LINEAR_LEVEL: u32 = 4;

/// Price of a product with a plaintext that repeats, relative to one that does not: of its operands, only the ciphertext is
/// streamed from memory.
const PERIODIC_PLAIN: f64 = 0.5;

/// Prices, in one unit.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    /// Parts of linear ops.
    pub rotation: RotationCost,
    /// Levels, in programs too deep to do without bootstraps.
    pub bootstrap: Option<BootstrapPrice>,
}

/// The price of restoring levels.
#[derive(Clone, Copy, Debug)]
pub struct BootstrapPrice {
    /// Of a bootstrap of [`BASE_PERIOD`] slots.
    base: f64,
}

impl Prices {
    /// For programs without bootstraps.
    pub fn shallow() -> Self {
        Prices {
            rotation: RotationCost::default(),
            bootstrap: None,
        }
    }

    /// For programs with bootstraps: the largest ring, chains of 28 primes in digits of 7.
    pub fn deep(table: &CostTable) -> Self {
        let spec = ParameterSpec {
            log_n: MAX_LOG_N,
            max_level: 27,
            log_scale: 40,
            log_q0: 48,
            dnum: 4,
            log_special: 48,
            n_special: 7,
            secret: Secret::UniformTernary {},
            bootstrap: None,
        };
        let mut rotation = Costs::new(&spec).rotation_cost(LINEAR_LEVEL, table);
        rotation.plain *= PERIODIC_PLAIN;
        Prices {
            rotation,
            bootstrap: Some(BootstrapPrice {
                base: BOOTSTRAP * rotation.giant,
            }),
        }
    }
}

impl BootstrapPrice {
    /// What `n` levels of a value in this layout cost.
    pub fn levels(&self, n: usize, layout: &Layout) -> f64 {
        let doublings = (layout.period as f64 / BASE_PERIOD as f64).log2();
        let one = self.base * PER_DOUBLING.powf(doublings);
        one * layout.cts as f64 * n as f64 / LEVELS_PER_BOOTSTRAP
    }
}
