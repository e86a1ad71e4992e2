//! Which evaluation keys an instruction takes.

use std::collections::BTreeSet;

use super::{BootstrapKind, Op, Plan, shape_of};
use crate::ckks::keys::KeyPurpose;

impl Plan {
    /// The keys that an op of this plan takes.
    #[must_use]
    pub fn keys_of(&self, op: &Op) -> BTreeSet<KeyPurpose> {
        match op {
            Op::Rotate { by, .. } => {
                let steps = by.iter().filter(|step| **step != 0);
                steps.map(|step| KeyPurpose::Rotate(*step)).collect()
            }
            Op::Conjugate { .. } => [KeyPurpose::Conjugate].into(),
            Op::Relinearize { .. } | Op::RelinearizeRescale { .. } | Op::PolyEval { .. } => {
                [KeyPurpose::Relinearize].into()
            }
            Op::LinearTransform { transform, level, .. } => {
                let shape = shape_of(&self.program().transforms[*transform]);
                let steps = shape.map(|shape| shape.rotations(*level)).unwrap_or_default();
                steps.into_keys().map(KeyPurpose::Rotate).collect()
            }
            Op::Bootstrap { xs, slots } => {
                let bootstrap = self.bootstraps().get(&BootstrapKind::new(*slots, xs.len()));
                let request = bootstrap.and_then(|bootstrap| bootstrap.key_request().ok());
                let purposes = request.iter().flat_map(|request| request.uses());
                let purposes = purposes.filter(|(_, levels)| !levels.is_empty());
                purposes.map(|(purpose, _)| purpose).collect()
            }
            Op::Add { .. }
            | Op::Sub { .. }
            | Op::Neg { .. }
            | Op::AddPlain { .. }
            | Op::AddScalar { .. }
            | Op::MulPlain { .. }
            | Op::MulScalar { .. }
            | Op::Mul { .. }
            | Op::Rescale { .. }
            | Op::DropLevel { .. } => BTreeSet::new(),
        }
    }
}
