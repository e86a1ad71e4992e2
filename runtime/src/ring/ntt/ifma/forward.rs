//! The forward transform: a first pass that leaves parts, a second that leaves leaves, and the rest of each leaf in the
//! first-level cache.

use std::arch::x86_64::{__m512i, _mm512_add_epi64, _mm512_sub_epi64};

use super::{BLOCK, BLOCK_STAGES, Direction, Twiddles, lane_factors, node_factors};
use crate::ring::modulus::Modulus;
use crate::ring::simd::{Factor, LANES, Prime, load, prefetch, rows, rows_mut, store, transpose};

/// Runs a function for the reduction period of a transform.
macro_rules! by_period {
    ($period:expr, $function:ident, ($($argument:expr),*)) => {
        match $period {
            0 => $function::<0>($($argument),*),
            1 => $function::<1>($($argument),*),
            2 => $function::<2>($($argument),*),
            3 => $function::<3>($($argument),*),
            4 => $function::<4>($($argument),*),
            _ => $function::<6>($($argument),*),
        }
    };
}

/// STAGES forward stages between registers; the last argument numbers the first of them within the kernel, for the reduction period.
/// A macro, since a function of this size is not put in line, and the registers would go through memory.
macro_rules! forward_stages {
    ($stages:expr, $radix:ident, $period:expr, $prime:expr, $x:expr, $factors:expr, $first_stage:expr) => {{
        use $crate::ring::ntt::ifma::forward::forward_stage;
        let reduces = |stage: usize| $period != 0 && ($first_stage + stage).is_multiple_of($period);
        forward_stage::<0, $radix>($prime, $x, $factors, reduces(0));
        if $stages > 1 {
            forward_stage::<1, $radix>($prime, $x, $factors, reduces(1));
        }
        if $stages > 2 {
            forward_stage::<2, $radix>($prime, $x, $factors, reduces(2));
        }
        if $stages > 3 {
            forward_stage::<3, $radix>($prime, $x, $factors, reduces(3));
        }
    }};
}
pub(super) use forward_stages;

/// Requires: values in [0, q).   Ensures: the first pass is done; values are lazy, for [`forward_middle`].
/// Why:      [`forward_period`].
pub(in crate::ring::ntt) fn forward_top(modulus: &Modulus, twiddles: &Twiddles, values: &mut [u64]) {
    let Some(&stages) = twiddles.passes.first() else {
        return;
    };
    let (period, forward) = (forward_period(modulus, values.len()), twiddles.forward());
    // SAFETY: the tables were made with an `Ifma` token, which proves that the processor has the features these functions are compiled for.
    unsafe {
        by_period!(period, forward_any_pass, (modulus, forward, stages, 1, values));
    }
}

/// Requires: part `part` as [`forward_top`] leaves it.   Ensures: the pass after it is done, if two more follow that one.
pub(in crate::ring::ntt) fn forward_middle(modulus: &Modulus, twiddles: &Twiddles, part: usize, values: &mut [u64]) {
    let log_parts = twiddles.log_parts();
    let stages = twiddles.log_leaves_per_part();
    if stages == 0 {
        return;
    }
    let (period, forward) = (forward_period(modulus, values.len() << log_parts), twiddles.forward());
    let node = (1 << log_parts) + part;
    // SAFETY: the tables were made with an `Ifma` token, which proves that the processor has the features these functions are compiled for.
    unsafe {
        by_period!(period, forward_any_pass, (modulus, forward, stages, node, values));
    }
}

/// Requires: leaf `leaf` as [`forward_middle`] leaves it.
/// Ensures:  values in [0, q), in evaluation order, or if `lazily` as [`lazy_bound`] says; `soon`, of the length of the leaf each
///           (the last may be empty), on the way to the second-level cache.
pub(in crate::ring::ntt) fn forward_leaf(
    modulus: &Modulus,
    twiddles: &Twiddles,
    leaf: usize,
    values: &mut [u64],
    lazily: bool,
    (others, next): (&[&[u64]], &[u64]),
) {
    let middle = twiddles.log_leaves_per_part();
    let log_leaves = twiddles.log_parts() + middle;
    let done = usize::from(!twiddles.passes.is_empty()) + usize::from(middle > 0);
    let (rest, node) = (&twiddles.passes[done..], (1 << log_leaves) + leaf);
    let (period, forward) = (forward_period(modulus, values.len() << log_leaves), twiddles.forward());
    let soon = Soon { others, next, start: 0 };
    // SAFETY: the tables were made with an `Ifma` token, which proves that the processor has the features these functions are compiled for.
    unsafe {
        by_period!(
            period,
            forward_node,
            (modulus, forward, rest, node, values, lazily, soon)
        );
    }
}

/// How many q fit 2^52, the bound of lazy values.
pub(super) fn budget(modulus: &Modulus) -> u64 {
    (1 << 52) / modulus.value()
}

/// Every how many stages of a pass, from its first on, the sum side of a forward transform is reduced; 0 for never.
///
/// Why: the bound grows by 2q a stage from at most 2q, so that a period P needs 2 + 2P <= B = floor(2^52 / q), which q < 2^50
///      gives for P = 1, and never reducing needs 2 + 2 log2(n), with one to spare for [`lazy_bound`].
pub(super) fn forward_period(modulus: &Modulus, n: usize) -> u32 {
    match budget(modulus) {
        budget if budget >= 3 + 2 * u64::from(n.trailing_zeros()) => 0,
        14.. => 6,
        10.. => 4,
        8.. => 3,
        6.. => 2,
        _ => 1,
    }
}

/// The multiple of q above the values that a lazy transform leaves, true modulo 2^52; `None` where it and q do not fit 2^52
/// together, or six times q does not.
pub(in crate::ring::ntt) fn lazy_bound(modulus: &Modulus, n: usize) -> Option<u64> {
    let budget = budget(modulus);
    let multiple = match u64::from(forward_period(modulus, n)) {
        0 => budget - 1,
        1 => return None,
        // stages of the block kernel since the last reduction
        period => 2 + 2 * ((BLOCK_STAGES as u64 - 1) % period + 1),
    };
    (multiple < budget).then(|| multiple * modulus.value())
}

/// What is read soon, and from where on.
#[derive(Clone, Copy)]
struct Soon<'a> {
    others: &'a [&'a [u64]],
    /// One more, or nothing.
    next: &'a [u64],
    start: usize,
}

/// The subtree below `node` (numbered from 1 at the root, children 2i and 2i + 1), all its passes.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn forward_node<const PERIOD: usize>(
    modulus: &Modulus,
    direction: Direction<'_>,
    passes: &[u32],
    node: usize,
    values: &mut [u64],
    lazily: bool,
    soon: Soon,
) {
    let Some((&stages, rest)) = passes.split_first() else {
        return forward_blocks::<PERIOD>(modulus, direction, node, values, lazily, soon);
    };
    forward_any_pass::<PERIOD>(modulus, direction, stages, node, values);
    if rest.is_empty() {
        return forward_blocks::<PERIOD>(modulus, direction, node, values, lazily, soon);
    }
    let child_len = values.len() >> stages;
    for (i, child) in values.chunks_exact_mut(child_len).enumerate() {
        let soon = Soon {
            start: soon.start + i * child_len,
            ..soon
        };
        forward_node::<PERIOD>(modulus, direction, rest, (node << stages) + i, child, lazily, soon);
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn forward_any_pass<const PERIOD: usize>(
    modulus: &Modulus,
    direction: Direction<'_>,
    stages: u32,
    node: usize,
    values: &mut [u64],
) {
    match stages {
        1 => forward_pass::<1, 2, PERIOD>(modulus, direction, node, values),
        2 => forward_pass::<2, 4, PERIOD>(modulus, direction, node, values),
        3 => forward_pass::<3, 8, PERIOD>(modulus, direction, node, values),
        _ => forward_pass::<4, 16, PERIOD>(modulus, direction, node, values),
    }
}

/// STAGES stages on RADIX = 2^STAGES streams.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn forward_pass<const STAGES: usize, const RADIX: usize, const PERIOD: usize>(
    modulus: &Modulus,
    direction: Direction<'_>,
    node: usize,
    values: &mut [u64],
) {
    let prime = Prime::new(modulus);
    let factors = node_factors::<STAGES, RADIX>(direction, node);
    let rows = rows_mut(values);
    let stride = rows.len() / RADIX;
    for column in 0..stride {
        let mut x: [__m512i; RADIX] = std::array::from_fn(|r| load(&rows[r * stride + column]));
        forward_stages!(STAGES, RADIX, PERIOD, &prime, &mut x, &factors, 0);
        for (r, &x) in x.iter().enumerate() {
            store(&mut rows[r * stride + column], x);
        }
    }
}

/// One forward stage of RADIX / 2 butterflies; `reduces` first brings the sum side to [0, 2q).
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
pub(super) fn forward_stage<const STAGE: usize, const RADIX: usize>(
    prime: &Prime,
    x: &mut [__m512i; RADIX],
    factors: &[Factor; RADIX],
    reduces: bool,
) {
    let half = RADIX >> (STAGE + 1);
    for k in 0..RADIX / 2 {
        let (group, i) = (k / half, k / half * half + k);
        let u = if reduces { prime.reduce_lazy_2q(x[i]) } else { x[i] };
        let sum = prime.mul_add_lazy_2q(u, x[i + half], factors[(1 << STAGE) + group]);
        // u - t + 2q with t = sum - u
        x[i + half] = _mm512_sub_epi64(_mm512_add_epi64(_mm512_add_epi64(u, u), prime.two_q), sum);
        x[i] = sum;
    }
}

/// The last six stages of every block of 64 in `values`, and unless `lazily` the full reduction.
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512ifma")]
fn forward_blocks<const PERIOD: usize>(
    modulus: &Modulus,
    direction: Direction<'_>,
    node: usize,
    values: &mut [u64],
    lazily: bool,
    soon: Soon,
) {
    let prime = Prime::new(modulus);
    // the blocks below `node` are consecutive nodes of the stage with n / 64 nodes
    let first_block = node * (values.len() / BLOCK);
    for (i, block) in rows_mut(values).as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let node = first_block + i;
        let place = soon.start + i * BLOCK..soon.start + (i + 1) * BLOCK;
        for other in soon.others {
            rows(&other[place.clone()]).iter().for_each(prefetch);
        }
        if let Some(next) = soon.next.get(place) {
            rows(next).iter().for_each(prefetch);
        }
        direction.ask_ahead(node);
        let mut x: [__m512i; LANES] = std::array::from_fn(|r| load(&block[r]));
        let factors = node_factors::<3, LANES>(direction, node);
        forward_stages!(3, LANES, PERIOD, &prime, &mut x, &factors, 0);
        transpose(&mut x);
        let factors = lane_factors(&prime, direction, node);
        forward_stages!(3, LANES, PERIOD, &prime, &mut x, &factors, 3);
        if !lazily {
            x = x.map(|x| prime.canonical(prime.reduce_lazy_2q(x)));
        }
        for (row, x) in block.iter_mut().zip(x) {
            store(row, x);
        }
    }
}
