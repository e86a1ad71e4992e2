//! Evaluations of a model with approximations in the places of activations, on all samples. What precedes the first
//! activation that changed is taken from the evaluation before.

use super::site::Site;
use crate::approx::Choice;
use crate::calibrate::Samples;
use aphelion_ir::nn::{Interpreter, Nn, Values};
use aphelion_ir::{Graph, IrError, ValueId};
use rayon::prelude::*;

/// By site, the rung of its approximation; `None` where it is exact.
pub(super) type Setting = Vec<Option<u32>>;

/// A model, and what it yields under one setting.
pub(super) struct Trials<'a> {
    interpreter: Interpreter<'a>,
    sites: &'a [Site],
    setting: Setting,
    /// By sample.
    values: Vec<Values>,
}

impl<'a> Trials<'a> {
    /// Evaluates the exact model.
    pub(super) fn new(graph: &'a Graph<Nn>, sites: &'a [Site], samples: &Samples) -> Result<Self, IrError> {
        let interpreter = Interpreter::new(graph)?;
        let values = samples.values(&interpreter)?;
        Ok(Trials {
            interpreter,
            sites,
            setting: vec![None; sites.len()],
            values,
        })
    }

    /// What the model yields under the known setting.
    pub(super) fn values(&self) -> &[Values] {
        &self.values
    }

    /// What the model yields for the samples at `indices` under another setting, in which every site has the choice at
    /// its position; `None` when some value is no finite number.
    pub(super) fn evaluate(
        &self,
        setting: &[Option<u32>],
        choices: &[Option<&Choice>],
        indices: &[usize],
    ) -> Result<Option<Vec<Values>>, IrError> {
        let changed = self.setting.iter().zip(setting).position(|(known, new)| known != new);
        let Some(first) = changed else {
            return Ok(Some(indices.iter().map(|index| self.values[*index].clone()).collect()));
        };
        let stand_in = |value: ValueId, x: &[f64]| {
            let site = self.sites.binary_search_by_key(&value, |site| site.value).ok()?;
            choices[site].map(|choice| choice.approximation.eval_all(x))
        };
        let first = self.sites[first].value;
        let one = |index: &usize| self.interpreter.evaluate_from(&self.values[*index], first, &stand_in);
        match indices.par_iter().map(one).collect() {
            Ok(values) => Ok(Some(values)),
            Err(IrError::Interpret { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes a setting and what the model yields under it, for all samples in the order of `indices`, as known.
    pub(super) fn accept(&mut self, setting: Setting, indices: &[usize], values: Vec<Values>) {
        self.setting = setting;
        for (index, values) in indices.iter().zip(values) {
            self.values[*index] = values;
        }
    }
}
