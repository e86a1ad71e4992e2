//! What the search for layouts takes ops to cost, before parameters are known.

use crate::bsgs::RotationCost;
use crate::cost_model::{CostTable, Typical};
use crate::error::PassError;
use aphelion_ir::slot::Layout;

/// Largest ring degree, as log2.
pub const MAX_LOG_N: u32 = 16;
/// Price of a product with a plaintext that repeats, relative to one that does not: of its operands, only the ciphertext is
/// streamed from memory.
const PERIODIC_PLAIN: f64 = 0.5;
/// Part of the levels that a bootstrap restores which a program uses, as the plans of ResNet-20 come out: at joins two values
/// are in need of one, and what is left before a bootstrap or a result is lost.
const USED_LEVELS: f64 = 0.57;
/// Slots of the two bootstraps that are priced; between them and beyond, the price grows by the same factor with every
/// doubling, within 5 %.
const LOG_FEW: u32 = 10;
const LOG_MANY: u32 = 14;

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
    /// Of one level in 2^[`LOG_FEW`] slots.
    level: f64,
    /// Of twice as many slots, relative to that of one.
    per_doubling: f64,
    /// Samples side by side, by which periods are longer.
    batch: usize,
}

impl Prices {
    /// For programs without bootstraps.
    pub fn shallow() -> Self {
        Prices {
            rotation: RotationCost::default(),
            bootstrap: None,
        }
    }

    /// For programs with bootstraps, of `batch` samples side by side.
    ///
    /// # Errors
    /// When there is no bootstrap to price.
    pub fn deep(table: &CostTable, batch: usize) -> Result<Self, PassError> {
        let typical = Typical::new(table)?;
        let mut rotation = typical.rotation();
        if batch == 1 {
            rotation.plain *= PERIODIC_PLAIN;
        }
        let (few, many) = rayon::join(|| typical.bootstrap(1 << LOG_FEW), || typical.bootstrap(1 << LOG_MANY));
        let (few, many) = (few?, many?);
        Ok(Prices {
            rotation,
            bootstrap: Some(BootstrapPrice {
                level: few / (USED_LEVELS * typical.levels() as f64),
                per_doubling: (many / few).powf(1.0 / f64::from(LOG_MANY - LOG_FEW)),
                batch,
            }),
        })
    }
}

impl BootstrapPrice {
    /// What `n` levels of a value in this layout cost.
    pub fn levels(&self, n: usize, layout: &Layout) -> f64 {
        let doublings = ((layout.period * self.batch) as f64).log2() - f64::from(LOG_FEW);
        self.level * self.per_doubling.powf(doublings) * layout.cts as f64 * n as f64
    }
}
