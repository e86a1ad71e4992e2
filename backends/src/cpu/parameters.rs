//! From a parameter specification to explicit primes.

use aphelion_ir::Graph;
use aphelion_ir::ckks::{Ckks, Secret};
use aphelion_runtime::ckks::params::{ChainRequest, Parameters, ParametersLiteral, SecretDistribution, Security};

use crate::error::BackendError;

/// The parameters that the graph's specification stands for: primes by the runtime's choice.
pub(super) fn literal(graph: &Graph<Ckks>, allow_insecure: bool) -> Result<ParametersLiteral, BackendError> {
    let spec = graph.attrs.parameters.as_ref();
    let spec = spec.ok_or_else(|| BackendError::Unfinished("no encryption parameters are selected".into()))?;
    let literal = ParametersLiteral::choose(&ChainRequest {
        log_n: spec.log_n,
        levels: spec.max_level as usize,
        log_scale: f64::from(spec.log_scale),
        log_q0: f64::from(spec.log_q0),
        dnum: spec.dnum as usize,
        secret: match spec.secret {
            Secret::UniformTernary {} => SecretDistribution::UniformTernary,
        },
        security: if allow_insecure {
            Security::None
        } else {
            Security::Classical128
        },
    })?;
    // Refuses what is insecure or inconsistent now, not when keys are made.
    Parameters::new(literal.clone())?;
    Ok(literal)
}
