//! Polynomial approximation of real functions of one variable: what turns an activation into something a ciphertext
//! can compute. Pure mathematics in f64; nothing here knows an IR graph.
//!
//! Reading order: how a polynomial costs, how one is fitted (Chebyshev interpolation, minimax, weighted least
//! squares), how `sign` is composed from several, what is known of each activation, and the choice among all of it.
//!
//! Every routine is deterministic: transcendental functions come from `libm` (not from the platform), loops have fixed
//! bounds, and ties are broken by the order stated where they arise.

mod candidates;
mod chebyshev;
mod choose;
mod cost;
mod curve;
mod error;
mod hinge;
mod histogram;
mod linear_algebra;
mod remez;
mod request;
mod sign;
mod sign_degrees;
mod weighted_least_squares;

pub use candidates::FitCache;
pub use chebyshev::{fit, interpolate, max_error, to_monomial, truncate};
pub use choose::{choose, choose_cached};
pub use cost::{Cost, Parity};
pub use curve::{Curve, HingeForm, Symmetry};
pub use error::ApproxError;
pub use hinge::{GatedSum, GatedTerm};
pub use histogram::Histogram;
pub use remez::{MinimaxFit, MinimaxProblem, minimax};
pub use request::{Approximation, Choice, ErrorBudget, MeasuredErrors, Method, Request};
pub use sign::{SignComposite, sign_composite};
pub use sign_degrees::sign_degrees;
pub use weighted_least_squares::{LeastSquaresFits, weighted_least_squares};
