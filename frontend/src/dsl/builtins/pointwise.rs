//! Element-wise functions with parameters, polynomials, softmax.

use crate::dsl::call::Call;
use crate::dsl::diagnostics::Reported;
use aphelion_ir::nn::{Func, NnOp};
use aphelion_ir::slot::{Basis, Polynomial};

pub(super) fn leaky_relu(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, alpha] = call.take();
    let x = call.tensor(&x)?;
    let alpha = call.number(&alpha)?;
    Ok(NnOp::Apply {
        x,
        func: Func::LeakyRelu { alpha },
    })
}

pub(super) fn hard_sigmoid(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, alpha, beta] = call.take();
    let x = call.tensor(&x)?;
    let (alpha, beta) = (call.number(&alpha)?, call.number(&beta)?);
    Ok(NnOp::Apply {
        x,
        func: Func::HardSigmoid { alpha, beta },
    })
}

pub(super) fn clip(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, lower, upper] = call.take();
    let x = call.tensor(&x)?;
    let (low, high) = (call.number(&lower)?, call.number(&upper)?);
    if low >= high {
        return Err(call.wrong(&upper, format!("above `low`, which is {low}")));
    }
    Ok(NnOp::Apply {
        x,
        func: Func::Clip { low, high },
    })
}

pub(super) fn prelu(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, slope] = call.take();
    Ok(NnOp::PRelu {
        x: call.tensor(&x)?,
        slope: call.tensor(&slope)?,
    })
}

/// A polynomial by its coefficients of 1, x, x^2, ..; `low` and `high` say where its argument is expected to lie.
pub(super) fn poly(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, coefficients, lower, upper] = call.take();
    let x = call.tensor(&x)?;
    let coeffs = call.numbers(&coefficients)?;
    if coeffs.is_empty() {
        return Err(call.wrong(&coefficients, "a list of at least one number"));
    }
    let (low, high) = (call.number(&lower)?, call.number(&upper)?);
    if low >= high {
        return Err(call.wrong(&upper, format!("above `low`, which is {low}")));
    }
    let basis = Basis::Monomial {};
    Ok(NnOp::Poly {
        x,
        poly: Polynomial {
            basis,
            low,
            high,
            coeffs,
        },
    })
}

pub(super) fn softmax(call: &mut Call<'_, '_, '_>) -> Result<NnOp, Reported> {
    let [x, axis] = call.take();
    let x = call.tensor(&x)?;
    let rank = call.shape(x).len();
    let axis = call.axis(&axis, rank)?;
    Ok(NnOp::Softmax { x, axis })
}
