//! Arithmetic in `Z_Q[X]/(X^N + 1)` in residue number system form: integers and polynomials, nothing about ciphertexts.
//!
//! A residue is a `u64` below a prime `q < 2^50` with `q = 1 (mod 2N)`. Between public operations every residue is fully
//! reduced to `[0, q)`; lazy ranges live inside one kernel and are stated there. Every kernel exists as a portable scalar
//! form and, on `x86_64` with AVX-512 IFMA, as a vector form; both give the same bytes, and [`Backend::detect`] chooses.
//!
//! Invariant: `unsafe` appears only in the vector kernels and in [`AlignedBuffer`].

mod automorphism;
mod backend;
mod buffer;
mod combination;
mod compact;
mod context;
mod convert;
mod crt;
mod digits;
mod divide;
mod error;
mod kernels;
mod key;
mod modulus;
mod ntt;
mod poly;
mod primes;
mod products;
mod quotient;
mod rotated;
mod rows;
mod sample;
mod seeded;
#[cfg(target_arch = "x86_64")]
mod simd;
mod switch;
mod turn;
mod turned_sum;

pub use automorphism::AutomorphismTable;
pub use backend::{Backend, Ifma};
pub use buffer::{AlignedBuffer, BufferPool};
pub use combination::Combination;
pub use compact::{CompactLimb, CompactPoly, Evaluations, Symmetry};
pub use context::{Basis, RingContext};
pub use convert::BaseConverter;
pub use digits::{Gadget, products_with_keys, turned_products_with_keys};
pub use divide::Dividend;
pub use error::RingError;
pub use key::{KeyDigit, Mask};
pub use modulus::{MAX_MODULUS_BITS, Modulus, ShoupFactor};
use ntt::Ahead;
pub use ntt::{NttTable, evaluation_exponents};
pub use poly::{Domain, Poly};
pub use primes::{find_ntt_primes, is_prime, nearest_prime};
pub use products::SumOfProducts;
pub use rotated::{Rotated, SumOfRotated};
pub use sample::{SecretRng, gaussian, ternary, ternary_with_weight, uniform_signed};
pub use seeded::{SeededPoly, uniform};
pub use switch::Descent;
pub use turn::Turn;
pub use turned_sum::{TurnedTerm, sum_of_turned};
