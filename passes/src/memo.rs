//! What one pass found out and a later one needs again: both would take long to find out twice.

use crate::parameters::Assessment;
use aphelion_ir::attr::Attr;
use aphelion_ir::ckks::Ckks;
use aphelion_ir::slot::{DiagonalSet, Kernel, Layout};
use aphelion_ir::text::print_attr;
use aphelion_ir::{ConstantPool, Graph, IrError, Tensor};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The results of earlier passes; clones share them. It changes no result, only how long it takes.
#[derive(Clone, Default)]
pub struct Memo {
    assessed: Arc<Mutex<Option<Assessed>>>,
    diagonals: Arc<Mutex<BTreeMap<String, Known>>>,
}

/// How precise a program is on these samples.
struct Assessed {
    graph: Graph<Ckks>,
    samples: Vec<Vec<f64>>,
    assessment: Assessment,
}

/// The diagonals of a kernel with these weights.
struct Known {
    weights: Vec<Tensor>,
    set: Arc<DiagonalSet>,
}

impl Memo {
    /// What is known of exactly this program, parameters included, on these samples.
    pub(crate) fn assessment(&self, graph: &Graph<Ckks>, samples: &[Vec<f64>]) -> Option<Assessment> {
        let known = lock(&self.assessed);
        let known = known
            .as_ref()
            .filter(|known| known.graph == *graph && known.samples == samples);
        known.map(|known| known.assessment.clone())
    }

    /// Keeps an assessment in the place of the last one.
    pub(crate) fn remember(&self, graph: &Graph<Ckks>, samples: &[Vec<f64>], assessment: &Assessment) {
        *lock(&self.assessed) = Some(Assessed {
            graph: graph.clone(),
            samples: samples.to_vec(),
            assessment: assessment.clone(),
        });
    }

    /// As [`DiagonalSet::of_kernel`].
    ///
    /// # Errors
    /// As [`DiagonalSet::of_kernel`].
    pub fn diagonals(
        &self,
        kernel: &Kernel,
        input: &Layout,
        constants: &ConstantPool,
    ) -> Result<Arc<DiagonalSet>, IrError> {
        let mut weights = Vec::new();
        let mut missing = None;
        kernel.visit_constants(&mut |name| match constants.get(name) {
            Ok(tensor) => weights.push(tensor.clone()),
            Err(error) => missing = Some(error),
        });
        if let Some(error) = missing {
            return Err(error);
        }
        let name = format!("{} from {}", print_attr(kernel), print_attr(input));
        if let Some(known) = lock(&self.diagonals).get(&name)
            && known.weights == weights
        {
            return Ok(known.set.clone());
        }
        let set = Arc::new(DiagonalSet::of_kernel(kernel, input, constants)?);
        let known = Known {
            weights,
            set: set.clone(),
        };
        lock(&self.diagonals).insert(name, known);
        Ok(set)
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
