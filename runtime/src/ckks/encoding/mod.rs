//! Vectors of numbers to plaintext polynomials and back.

mod coefficients;
mod encoder;
mod special_fft;

pub use encoder::Encoder;
pub use special_fft::{Complex64, SpecialFft};
