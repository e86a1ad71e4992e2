//! What the search for layouts takes ops to cost, before parameters are known.

use crate::bsgs::RotationCost;
use crate::cost_model::{CostTable, Typical};
use crate::error::PassError;
use aphelion_ir::slot::Layout;

/// Largest ring degree, as log2.
pub const MAX_LOG_N: u32 = 16;
/// Share of the price of a product with a plaintext that is the ciphertext's: as many bytes come from memory for either, but
/// of a plaintext that repeats only those of one period.
const CIPHERTEXT_SHARE: f64 = 0.5;
/// Share of the memory of a run that is for encoded plaintexts; keys and ciphertexts take the rest.
const PLAINTEXT_SHARE: f64 = 0.75;
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
    /// Parts of linear ops; of a product with a plaintext, what does not depend on how that repeats.
    pub rotation: RotationCost,
    /// Encoded plaintexts, in programs of so many that their bytes matter.
    pub plaintext: Option<PlaintextPrice>,
    /// Levels, in programs too deep to do without bootstraps.
    pub bootstrap: Option<BootstrapPrice>,
}

/// The price of plaintexts by the period that they repeat with.
#[derive(Clone, Copy, Debug)]
pub struct PlaintextPrice {
    /// Of a product with one that does not repeat, beyond [`RotationCost::plain`].
    product: f64,
    /// Of encoding one that does not repeat.
    encode: f64,
    /// Bytes of one that does not repeat.
    bytes: f64,
    /// Bytes that may stay in memory from one run to the next.
    room: f64,
    /// The period of one that does not repeat.
    slots: usize,
    /// Samples side by side, by which periods are longer.
    batch: usize,
}

/// What encoded plaintexts take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Plaintexts {
    /// Time to encode them.
    pub encode: f64,
    /// Bytes in memory.
    pub bytes: f64,
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
            plaintext: None,
            bootstrap: None,
        }
    }

    /// For programs with bootstraps, of `batch` samples side by side, run in `memory` bytes.
    ///
    /// # Errors
    /// When there is no bootstrap to price.
    pub fn deep(table: &CostTable, batch: usize, memory: u64) -> Result<Self, PassError> {
        let typical = Typical::new(table)?;
        let mut rotation = typical.rotation();
        let product = rotation.plain * (1.0 - CIPHERTEXT_SHARE);
        rotation.plain -= product;
        let (encode, bytes) = typical.plaintext(typical.slots());
        let (few, many) = rayon::join(|| typical.bootstrap(1 << LOG_FEW), || typical.bootstrap(1 << LOG_MANY));
        let (few, many) = (few?, many?);
        Ok(Prices {
            rotation,
            plaintext: Some(PlaintextPrice {
                product,
                encode,
                bytes,
                room: PLAINTEXT_SHARE * memory as f64,
                slots: typical.slots(),
                batch,
            }),
            bootstrap: Some(BootstrapPrice {
                level: few / (USED_LEVELS * typical.levels() as f64),
                per_doubling: (many / few).powf(1.0 / f64::from(LOG_MANY - LOG_FEW)),
                batch,
            }),
        })
    }
}

impl PlaintextPrice {
    /// What products with `n` plaintexts that repeat with `period` cost beyond [`RotationCost::plain`].
    pub fn products(&self, n: usize, period: usize) -> f64 {
        self.product * self.whole(n, period)
    }

    /// What `n` plaintexts that repeat with `period` take.
    pub fn take(&self, n: usize, period: usize) -> Plaintexts {
        let whole = self.whole(n, period);
        Plaintexts {
            encode: self.encode * whole,
            bytes: self.bytes * whole,
        }
    }

    /// What encoding costs in every run: those that do not fit are encoded at their use.
    pub fn at_use(&self, all: Plaintexts) -> f64 {
        let missing = (1.0 - self.room / all.bytes.max(1.0)).max(0.0);
        missing * all.encode
    }

    /// The number of plaintexts without repetition that take as much.
    fn whole(&self, n: usize, period: usize) -> f64 {
        n as f64 * ((period * self.batch) as f64 / self.slots as f64).min(1.0)
    }
}

impl std::ops::AddAssign for Plaintexts {
    fn add_assign(&mut self, other: Plaintexts) {
        self.encode += other.encode;
        self.bytes += other.bytes;
    }
}

impl BootstrapPrice {
    /// What `n` levels of a value in this layout cost.
    pub fn levels(&self, n: usize, layout: &Layout) -> f64 {
        let doublings = ((layout.period * self.batch) as f64).log2() - f64::from(LOG_FEW);
        self.level * self.per_doubling.powf(doublings) * layout.cts as f64 * n as f64
    }
}
