//! Loops over one limb, each as a portable form and a vector form with the same result; the backend picks at the call.
//!
//! Inputs and outputs are in `[0, q)` of the limb's prime unless said otherwise; the slices of one call have equal length, a
//! multiple of 64.

#[cfg(target_arch = "x86_64")]
mod ifma;
mod portable;

use std::ops::Range;

use super::automorphism::Moves;
use super::modulus::{Modulus, ShoupFactor};
use super::{Backend, CompactLimb};

/// One source prime of a base conversion.
#[derive(Debug, Clone)]
pub(crate) struct ConversionSource {
    pub(crate) modulus: Modulus,
    /// (B/b_i)^-1 mod b_i.
    pub(crate) punctured_inverse: ShoupFactor,
    /// 1 / b_i.
    pub(crate) reciprocal: f64,
}

/// Where results go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To the caches, as usual.
    Cache,
    /// Past the caches if the processor can: so much is written that none of it is there any more when it is read, and what was in
    /// its place need not be fetched first.
    Memory,
}

impl Destination {
    /// Bytes of one result that a last-level cache is not expected to keep beside what else is at work.
    const LARGE: usize = 16 << 20;

    /// For a result of so many words.
    pub(crate) fn of_words(words: usize) -> Self {
        match words * size_of::<u64>() >= Self::LARGE {
            true => Self::Memory,
            false => Self::Cache,
        }
    }
}

/// What is in the place of sums before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing that counts; they go there.
    Nothing(Destination),
    /// What they are added to.
    Sums,
}

/// How the factors of sums of products come to the processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams<'a> {
    /// Products summed at a time; partial sums wait in the first-level cache.
    pub(crate) terms: usize,
    /// What is read next: it is asked for meanwhile.
    pub(crate) ahead: &'a [&'a [u64]],
}

impl<'a> Streams<'a> {
    /// Factors in memory, a long run of each: more streams than the processor reads ahead well would cost bandwidth.
    pub(crate) const OF_MEMORY: Self = Self::of_memory(&[]);

    /// As [`Self::OF_MEMORY`], with what is read next.
    pub(crate) const fn of_memory(ahead: &'a [&'a [u64]]) -> Self {
        Self { terms: 5, ahead }
    }

    /// Factors in the second-level cache, or asked for.
    pub(crate) fn of_cache(ahead: &'a [&'a [u64]]) -> Self {
        Self {
            terms: usize::MAX,
            ahead,
        }
    }
}

/// x - y.
#[derive(Clone, Copy)]
pub(crate) struct Difference<'a> {
    pub(crate) x: &'a [u64],
    /// What is in the place of the result, if it is not given.
    pub(crate) y: Option<&'a [u64]>,
    /// The low 52 bits of y are below this multiple of q, which with q is at most 2^52.
    pub(crate) bound: u64,
}

/// Declares each kernel once, with its contract, for all families.
macro_rules! kernels {
    ($($(#[$contract:meta])* fn $name:ident $([$count:ident])? ($($argument:ident: $kind:ty),* $(,)?);)*) => {$(
        $(#[$contract])*
        pub(crate) fn $name $(<const $count: usize>)? (backend: Backend, $($argument: $kind),*) {
            match backend {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the token in `backend` proves that the processor has the features of the vector form.
                Backend::Ifma(_) => unsafe { ifma::$name($($argument),*) },
                _ => portable::$name($($argument),*),
            }
        }
    )*};
}

kernels! {
    /// Ensures: `x[i] = x[i] + y[i] (mod q)`.
    fn add(m: &Modulus, x: &mut [u64], y: &[u64]);
    /// Ensures: `x[i] = x[i] - y[i] (mod q)`.
    fn sub(m: &Modulus, x: &mut [u64], y: &[u64]);
    /// Ensures: `x[i] = -x[i] (mod q)`.
    fn neg(m: &Modulus, x: &mut [u64]);
    /// Ensures: `x[i] = x[i] * y[i] (mod q)`.
    fn mul(m: &Modulus, x: &mut [u64], y: &[u64]);
    /// Ensures: `acc[i] = acc[i] + x[i] * y[i] (mod q)`.
    fn mul_add(m: &Modulus, acc: &mut [u64], x: &[u64], y: &[u64]);
    /// Ensures: `x[i] = x[i] * w (mod q)`.
    fn mul_shoup(m: &Modulus, x: &mut [u64], w: ShoupFactor);
    /// Ensures: `out[i] = x[i] * w (mod q)`.
    fn write_mul_shoup(m: &Modulus, out: &mut [u64], x: &[u64], w: ShoupFactor, destination: Destination);
    /// Ensures: `acc[i] = acc[i] + x[i] * w (mod q)`.
    fn add_mul_shoup(m: &Modulus, acc: &mut [u64], x: &[u64], w: ShoupFactor);
    /// Ensures: `out[i] = (x[i] - y[i]) * w (mod q)`, plus `a[i] * v` with a and v the `addend` if there is one.
    fn sub_then_mul_shoup(
        m: &Modulus,
        out: &mut [u64],
        difference: Difference,
        w: ShoupFactor,
        addend: Option<(&[u64], ShoupFactor)>,
        destination: Destination,
    );
    /// Ensures: `out[i] = x[source(i)]` for the moves.
    fn permute(out: &mut [u64], x: &[u64], moves: Moves, destination: Destination);
    /// Ensures: `acc[i] = acc[i] + x[source(i)] (mod q)` for the moves.
    fn add_permuted(m: &Modulus, acc: &mut [u64], x: &[u64], moves: Moves);
    /// Requires: columns in whole blocks of 64. Of x only the low 52 bits count; unless all is in [0, q), 6q < 2^52.
    /// Ensures:  `out[o][i] = before + sum_d x[d][i] * y[d][o][i] (mod q)` for i in `columns`, where before is 0 or
    ///           `out[o][i]`.
    fn inner_products[OUTS](
        m: &Modulus,
        out: [&mut [u64]; OUTS],
        x: &[CompactLimb],
        y: &[[&[u64]; OUTS]],
        columns: Range<usize>,
        how: (Before, Streams),
    );
    /// Requires: `limbs[k]` below the modulus of source k.
    /// Ensures:  `quotients[i] = round(sum_k limbs[k][i] / b_k)`, each rounded and summed in double precision in this order.
    fn round_quotients(sources: &[ConversionSource], limbs: &[&[u64]], quotients: &mut [u64]);
    /// Requires: rows below 2^50, as many as weights; weights in [0, q).
    /// Ensures:  `out[i] = sum_k rows[k][i] * weights[k] (mod q)`, in [0, q), for i in `columns`, of which `out` has those only. The
    ///           columns after them are asked for.
    fn weighted_sum(m: &Modulus, out: &mut [u64], rows: &[&[u64]], weights: &[u64], columns: Range<usize>);
}

#[cfg(test)]
mod tests;
