//! Both kernel families against 128-bit arithmetic, on the edges of every range and on random values.

use super::*;
use crate::ring::modulus::MASK52;
use crate::ring::{AlignedBuffer, AutomorphismTable, evaluation_exponents, find_ntt_primes};

const N: usize = 128;
const NOTHING: Before = Before::Nothing(Destination::Cache);

/// 0, 1, q/2, q-2, q-1 against each other, then pseudo-random values.
fn values(q: u64, seed: u64) -> Vec<u64> {
    let edges = [0, 1, q / 2, q - 2, q - 1];
    let mut state = seed;
    let step = |i: usize| match (i, seed % 2) {
        (0..25, 0) => edges[i / 5],
        (0..25, _) => edges[i % 5],
        _ => {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) % q
        }
    };
    (0..N).map(step).collect()
}

fn for_each_modulus_and_family(check: impl Fn(Backend, &Modulus)) {
    for bits in [9, 20, 31, 40, 45, 48, 49, 50] {
        for q in [1, 5].map(|count| find_ntt_primes(1, bits, count, &[]).unwrap()[count - 1]) {
            let m = Modulus::new(q).unwrap();
            check(Backend::Portable, &m);
            check(Backend::detect(), &m);
        }
    }
}

fn wide(x: u64) -> u128 {
    u128::from(x)
}

#[test]
fn pointwise_kernels_match_wide_arithmetic() {
    for_each_modulus_and_family(|family, m| {
        let q = wide(m.value());
        let (x, y, z) = (values(m.value(), 2), values(m.value(), 3), values(m.value(), 4));
        let check = |name: &str, found: &[u64], formula: &dyn Fn(u128, u128, u128) -> u128| {
            for i in 0..N {
                let expected = formula(wide(x[i]), wide(y[i]), wide(z[i])) % q;
                assert_eq!(
                    wide(found[i]),
                    expected,
                    "{name}, {family:?}, q = {q}, x = {}, y = {}",
                    x[i],
                    y[i]
                );
            }
        };
        let apply = |kernel: &dyn Fn(&mut [u64])| {
            let mut out = x.clone();
            kernel(&mut out);
            out
        };
        let w = y[7];
        check("add", &apply(&|out| add(family, m, out, &y)), &|x, y, _| x + y);
        check("sub", &apply(&|out| sub(family, m, out, &y)), &|x, y, _| x + q - y);
        check("neg", &apply(&|out| neg(family, m, out)), &|x, _, _| q - x);
        check("mul", &apply(&|out| mul(family, m, out, &y)), &|x, y, _| x * y);
        check("mul_add", &apply(&|out| mul_add(family, m, out, &y, &z)), &|x, y, z| {
            x + y * z
        });
        check(
            "mul_shoup",
            &apply(&|out| mul_shoup(family, m, out, m.shoup(w))),
            &|x, _, _| x * wide(w),
        );
        let added = apply(&|out| add_mul_shoup(family, m, out, &y, m.shoup(w)));
        check("add_mul_shoup", &added, &|x, y, _| x + y * wide(w));
        for destination in [Destination::Cache, Destination::Memory] {
            let mut written = AlignedBuffer::zeroed(N);
            write_mul_shoup(family, m, &mut written, &y, m.shoup(w), destination);
            check("write_mul_shoup", &written, &|_, y, _| y * wide(w));
        }
        let (w, v) = (m.shoup(w), m.shoup(y[9]));
        let divide = |out: &mut [u64], lazy: &[u64], bound: u64, addend: Option<(&[u64], _)>, destination| {
            sub_then_mul_shoup(
                family,
                m,
                out,
                Difference {
                    x: &y,
                    y: Some(lazy),
                    bound,
                },
                w,
                addend,
                destination,
            );
        };
        // the largest lazy values too: what is above bit 52 does not count
        let bound = (MASK52 / m.value() - 1) * m.value();
        let lazy = [0, 1, bound - m.value(), bound - 1].map(|value| (bound, vec![(7 << 52) + value; N]));
        for (bound, lazy) in lazy.into_iter().chain([(m.value(), x.clone())]) {
            let mut outs: [AlignedBuffer; 5] = std::array::from_fn(|_| AlignedBuffer::zeroed(N));
            let [scaled, scaled_to_memory, finished, finished_to_memory, in_place] = &mut outs;
            in_place.copy_from_slice(&lazy);
            let addend = Some((z.as_slice(), v));
            sub_then_mul_shoup(
                family,
                m,
                in_place,
                Difference { x: &y, y: None, bound },
                w,
                addend,
                Destination::Cache,
            );
            divide(scaled, &lazy, bound, None, Destination::Cache);
            divide(scaled_to_memory, &lazy, bound, None, Destination::Memory);
            divide(finished, &lazy, bound, addend, Destination::Cache);
            divide(finished_to_memory, &lazy, bound, addend, Destination::Memory);
            for i in 0..N {
                let product = (wide(y[i]) + wide(bound) - wide(lazy[i] & MASK52)) * wide(w.value);
                let finished = (product + wide(z[i]) * wide(v.value)) % q;
                let expected = [product % q, product % q, finished, finished, finished];
                assert_eq!(outs.each_ref().map(|out| wide(out[i])), expected, "{family:?}, q = {q}");
            }
        }
    });
}

#[test]
fn sums_of_products_match_wide_arithmetic() {
    for_each_modulus_and_family(|family, m| {
        let q = m.value();
        for terms in [1, 2, 13, 14, 15, 29, 60] {
            let largest = vec![q - 1; N];
            let mut x: Vec<Vec<u64>> = (0..terms).map(|d| values(q, d)).collect();
            let mut y: Vec<Vec<u64>> = (0..terms).map(|d| values(q, d + 100)).collect();
            for all_largest in [false, true] {
                if all_largest {
                    x.fill(largest.clone());
                    y.fill(largest.clone());
                }
                let x_limbs: Vec<&[u64]> = x.iter().map(Vec::as_slice).collect();
                let pairs: Vec<[&[u64]; 2]> = y.iter().zip(&x).map(|(y, x)| [y.as_slice(), x.as_slice()]).collect();
                let (mut first, mut second) = (vec![0; N], vec![0; N]);
                let factors: Vec<CompactLimb> = x_limbs.iter().map(|x| CompactLimb::dense(x)).collect();
                let outs = [&mut first, &mut second].map(|out: &mut Vec<u64>| out.as_mut_slice());
                inner_products(family, m, outs, &factors, &pairs, 0..N, (NOTHING, Streams::OF_MEMORY));
                for (before, expected) in [(Before::Nothing(Destination::Memory), &first), (Before::Sums, &second)] {
                    let mut out = AlignedBuffer::zeroed(N);
                    let part = usize::from(before == Before::Sums);
                    let single: Vec<[&[u64]; 1]> = pairs.iter().map(|pair| [pair[part]]).collect();
                    inner_products(
                        family,
                        m,
                        [&mut out],
                        &factors,
                        &single,
                        0..N,
                        (before, Streams::OF_MEMORY),
                    );
                    assert!(
                        out[..] == expected[..],
                        "{family:?}, q = {q}, {terms} terms, {before:?}"
                    );
                }
                let weights: Vec<u64> = y.iter().map(|y| y[3]).collect();
                let mut weighted = vec![0; N];
                for columns in [0..64, 64..N] {
                    weighted_sum(family, m, &mut weighted[columns.clone()], &x_limbs, &weights, columns);
                }
                for i in 0..N {
                    let sum = |other: &dyn Fn(usize) -> u64| {
                        let terms = (0..terms as usize).map(|d| wide(x[d][i]) * wide(other(d)) % wide(q));
                        (terms.sum::<u128>() % wide(q)) as u64
                    };
                    assert_eq!(first[i], sum(&|d| y[d][i]), "{family:?}, q = {q}, {terms} terms");
                    assert_eq!(second[i], sum(&|d| x[d][i]), "{family:?}, q = {q}, {terms} terms");
                    assert_eq!(weighted[i], sum(&|d| weights[d]), "{family:?}, q = {q}, {terms} terms");
                }
            }
        }
    });
}

#[test]
fn sums_of_products_take_lazy_factors() {
    for_each_modulus_and_family(|family, m| {
        let q = m.value();
        if 6 * q > 1 << 52 {
            return;
        }
        for terms in [1, 5, 6, 29] {
            let (x, y) = (vec![u64::MAX; N], vec![q - 1; N]);
            let y = y.as_slice();
            let factors = vec![CompactLimb::dense(&x); terms];
            let mut sum = vec![0; N];
            inner_products(
                family,
                m,
                [&mut sum],
                &factors,
                &vec![[y]; terms],
                0..N,
                (NOTHING, Streams::OF_MEMORY),
            );
            let expected = terms as u128 * wide(MASK52) % wide(q) * wide(q - 1) % wide(q);
            assert!(
                sum.iter().all(|&found| wide(found) == expected),
                "{family:?}, q = {q}, {terms} terms"
            );
        }
    });
}

#[test]
fn permutations_follow_the_table() {
    for n in [64, 128, 4096] {
        let x: Vec<u64> = evaluation_exponents(n).map(u64::from).collect();
        for g in [1, 3, 5, 25, 77, 2 * n as u64 - 1] {
            let table = AutomorphismTable::new(n, g);
            for family in [Backend::Portable, Backend::detect()] {
                let mut out = vec![0; n];
                permute(family, &mut out, &x, table.moves(), Destination::Cache);
                let mut past_caches = AlignedBuffer::zeroed(n);
                permute(family, &mut past_caches, &x, table.moves(), Destination::Memory);
                assert!(past_caches[..] == out[..]);
                for width in [64, n / 2, n].into_iter().filter(|&width| width >= 64) {
                    past_caches.fill(0);
                    for start in (0..n).step_by(width) {
                        let (place, moves) = table.moves_of(start..start + width);
                        let part = &x[start..start + width];
                        permute(family, &mut past_caches[place], part, moves, Destination::Cache);
                    }
                    assert!(past_caches[..] == out[..], "{width} of {n} by {g}");
                }
                for (&found, &e) in out.iter().zip(&x) {
                    assert_eq!(found, e * g % (2 * n as u64));
                }
                let m = Modulus::new(find_ntt_primes(1, 20, 1, &[]).unwrap()[0]).unwrap();
                let mut acc: Vec<u64> = (0..n as u64).map(|i| m.value() - 1 - i).collect();
                add_permuted(family, &m, &mut acc, &x, table.moves());
                for (i, (&found, &moved)) in (0..).zip(acc.iter().zip(&out)) {
                    assert_eq!(found, (m.value() - 1 - i + moved) % m.value());
                }
            }
        }
    }
}

#[test]
fn quotients_agree_in_both_families() {
    let primes = find_ntt_primes(1, 50, 5, &[]).unwrap();
    let source = |&q: &u64| {
        let modulus = Modulus::new(q).unwrap();
        ConversionSource {
            modulus,
            punctured_inverse: modulus.shoup(q / 3),
            reciprocal: 1.0 / q as f64,
        }
    };
    let sources: Vec<ConversionSource> = primes.iter().map(source).collect();
    let limbs: Vec<Vec<u64>> = primes.iter().zip(0..).map(|(&q, seed)| values(q, seed)).collect();
    let limbs: Vec<&[u64]> = limbs.iter().map(Vec::as_slice).collect();
    for count in 1..=5 {
        let round = |family: Backend| {
            let mut quotients = vec![0; N];
            round_quotients(family, &sources[..count], &limbs[..count], &mut quotients);
            quotients
        };
        let quotients = round(Backend::Portable);
        assert!(quotients.iter().all(|&v| v <= count as u64));
        assert_eq!(quotients, round(Backend::detect()));
    }
}
