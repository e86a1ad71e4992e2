//! [`RingContext`]: all primes of one parameter set with their transforms, shared by every polynomial.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use super::compact::SubringTransform;
use super::{AutomorphismTable, Backend, BaseConverter, BufferPool, Modulus, NttTable, RingError, Symmetry};

/// The primes a polynomial has limbs for: `q_0, ..., q_{q_limbs-1}`, then the first `p_limbs` of `p_0, ..., p_{k-1}, q_L, q_{L-1}, ...`:
/// ciphertext primes that a polynomial of a low level does not have serve as further special primes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Basis {
    /// How many of the ciphertext primes, counted from `q_0`.
    pub q_limbs: usize,
    /// How many special primes, counted from `p_0`.
    pub p_limbs: usize,
}

impl Basis {
    /// `q_0, ..., q_level`: level + 1 limbs.
    pub fn q(level: usize) -> Self {
        Self {
            q_limbs: level + 1,
            p_limbs: 0,
        }
    }

    /// `q_0, ..., q_level` and `p_limbs` special primes.
    pub fn qp(level: usize, p_limbs: usize) -> Self {
        Self {
            q_limbs: level + 1,
            p_limbs,
        }
    }

    /// Whether there are special primes.
    pub fn is_raised(self) -> bool {
        self.p_limbs > 0
    }

    /// The same without special primes.
    pub fn without_special(self) -> Self {
        Self { p_limbs: 0, ..self }
    }

    /// The level: one less than the count of ciphertext primes. The basis must have one.
    pub fn level(self) -> usize {
        self.q_limbs - 1
    }
}

/// Prime indices a conversion goes from and to.
type SourceAndTarget = (Vec<usize>, Vec<usize>);

/// The ring `Z_QP[X]/(X^N + 1)`: prime indices `0..q_count` are the ciphertext primes `q_0..q_L`, those after are the primes
/// `p_0..p_{k-1}`, which are special at every level. Holds the transforms, the buffer pool and caches of derived tables; meant to live in an [`Arc`].
pub struct RingContext {
    n: usize,
    q_count: usize,
    backend: Backend,
    tables: Vec<NttTable>,
    pool: BufferPool,
    automorphisms: RwLock<BTreeMap<u64, Arc<AutomorphismTable>>>,
    converters: RwLock<BTreeMap<SourceAndTarget, Arc<BaseConverter>>>,
    subring_transforms: RwLock<BTreeMap<(usize, Symmetry), Arc<SubringTransform>>>,
}

impl RingContext {
    /// A ring of degree `2^log_n` run by the fastest kernels of this machine.
    pub fn new(log_n: u32, q: &[u64], p: &[u64]) -> Result<Arc<Self>, RingError> {
        Self::with_backend(log_n, q, p, Backend::detect())
    }

    /// As [`Self::new`] with a chosen kernel family (results are the same for all).
    pub fn with_backend(log_n: u32, q: &[u64], p: &[u64], backend: Backend) -> Result<Arc<Self>, RingError> {
        use rayon::prelude::*;
        if q.is_empty() {
            return Err(RingError::EmptyChain);
        }
        let primes: Vec<u64> = q.iter().chain(p).copied().collect();
        let mut seen = BTreeSet::new();
        if let Some(&modulus) = primes.iter().find(|&&prime| !seen.insert(prime)) {
            return Err(RingError::DuplicatePrime { modulus });
        }
        let tables = primes
            .par_iter()
            .map(|&prime| NttTable::new(log_n, prime, backend))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(Self {
            n: 1 << log_n,
            q_count: q.len(),
            backend,
            tables,
            pool: BufferPool::default(),
            automorphisms: RwLock::default(),
            converters: RwLock::default(),
            subring_transforms: RwLock::default(),
        }))
    }

    /// The ring degree N.
    pub fn n(&self) -> usize {
        self.n
    }

    /// log2(N).
    pub fn log_n(&self) -> u32 {
        self.n.trailing_zeros()
    }

    /// How many ciphertext primes there are (L + 1).
    pub fn q_count(&self) -> usize {
        self.q_count
    }

    /// How many primes are special at every level (k).
    pub fn p_count(&self) -> usize {
        self.tables.len() - self.q_count
    }

    /// The kernel family in use.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The transform of a prime.
    pub fn table(&self, prime: usize) -> &NttTable {
        &self.tables[prime]
    }

    /// The modulus of a prime.
    pub fn modulus(&self, prime: usize) -> &Modulus {
        self.tables[prime].modulus()
    }

    /// Where polynomials get their memory from.
    pub fn pool(&self) -> &BufferPool {
        &self.pool
    }

    /// The basis of all primes.
    pub fn full_basis(&self) -> Basis {
        Basis {
            q_limbs: self.q_count,
            p_limbs: self.p_count(),
        }
    }

    /// Whether all primes of a basis exist, none of them twice.
    pub fn has_basis(&self, basis: Basis) -> bool {
        basis.q_limbs + basis.p_limbs.saturating_sub(self.p_count()) <= self.q_count
    }

    /// The prime index of a special prime: those after `p_{k-1}` are ciphertext primes, from the last one down.
    fn special_prime(&self, special: usize) -> usize {
        match special.checked_sub(self.p_count()) {
            None => self.q_count + special,
            Some(further) => self.q_count - 1 - further,
        }
    }

    /// The product of the first `p_limbs` special primes modulo a prime.
    pub fn special_modulus(&self, p_limbs: usize, prime: usize) -> u64 {
        self.special_product(0..p_limbs, prime)
    }

    /// The product of some special primes modulo a prime.
    pub fn special_product(&self, special: Range<usize>, prime: usize) -> u64 {
        let m = self.modulus(prime);
        let factors = special.map(|special| self.modulus(self.special_prime(special)).value());
        factors.fold(1, |product, p| m.mul(product, m.reduce(p)))
    }

    /// How many limbs a polynomial over `basis` has.
    pub fn limb_count(&self, basis: Basis) -> usize {
        basis.q_limbs + basis.p_limbs
    }

    /// The prime index of limb `limb` of a polynomial over `basis`.
    pub fn prime_index(&self, basis: Basis, limb: usize) -> usize {
        if limb < basis.q_limbs {
            limb
        } else {
            self.special_prime(limb - basis.q_limbs)
        }
    }

    /// Which limb of a polynomial over `basis` belongs to a prime index; the basis must have it.
    pub fn limb_of_prime(&self, basis: Basis, prime: usize) -> usize {
        if prime < basis.q_limbs {
            return prime;
        }
        let special = match prime.checked_sub(self.q_count) {
            Some(special) => special,
            None => self.p_count() + self.q_count - 1 - prime,
        };
        assert!(special < basis.p_limbs, "prime {prime} is not in {basis:?}");
        special + basis.q_limbs
    }

    /// The prime indices of all limbs over `basis`, in limb order.
    pub fn prime_indices(&self, basis: Basis) -> Vec<usize> {
        (0..self.limb_count(basis))
            .map(|limb| self.prime_index(basis, limb))
            .collect()
    }

    /// The permutation of evaluations for `X -> X^galois_element`, made at first use.
    pub fn automorphism(&self, galois_element: u64) -> Arc<AutomorphismTable> {
        cached(&self.automorphisms, galois_element, || {
            AutomorphismTable::new(self.n, galois_element)
        })
    }

    /// The transform of a prime for polynomials with a symmetry, made at first use.
    pub(crate) fn subring_transform(&self, prime: usize, symmetry: Symmetry) -> Arc<SubringTransform> {
        cached(&self.subring_transforms, (prime, symmetry), || {
            SubringTransform::new(self.table(prime), symmetry)
        })
    }

    /// The conversion between two sets of prime indices, made at first use.
    pub fn converter(&self, source: &[usize], target: &[usize]) -> Arc<BaseConverter> {
        let key = (source.to_vec(), target.to_vec());
        cached(&self.converters, key, || {
            let moduli = |primes: &[usize]| primes.iter().map(|&prime| *self.modulus(prime)).collect::<Vec<_>>();
            BaseConverter::new(&moduli(source), &moduli(target), self.backend)
        })
    }
}

impl std::fmt::Debug for RingContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let primes: Vec<u64> = self.tables.iter().map(|table| table.modulus().value()).collect();
        f.debug_struct("RingContext")
            .field("n", &self.n)
            .field("q_count", &self.q_count)
            .field("primes", &primes)
            .finish()
    }
}

fn cached<K: Ord, V>(cache: &RwLock<BTreeMap<K, Arc<V>>>, key: K, make: impl FnOnce() -> V) -> Arc<V> {
    if let Some(found) = cache.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Arc::clone(found);
    }
    let made = Arc::new(make());
    Arc::clone(
        cache
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(key)
            .or_insert(made),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::find_ntt_primes;

    #[test]
    fn bases_index_primes_in_order() {
        let primes = find_ntt_primes(8, 30, 5, &[]).unwrap();
        let ring = RingContext::new(7, &primes[..3], &primes[3..]).unwrap();
        assert_eq!(ring.prime_indices(Basis::qp(1, 2)), [0, 1, 3, 4]);
        assert_eq!(ring.prime_indices(Basis::qp(1, 1)), [0, 1, 3]);
        assert_eq!(ring.prime_indices(Basis::q(2)), [0, 1, 2]);
        assert_eq!(ring.prime_indices(Basis { q_limbs: 0, p_limbs: 2 }), [3, 4]);
        let widened = Basis::qp(0, 4);
        assert_eq!(ring.prime_indices(widened), [0, 3, 4, 2, 1]);
        assert!((0..5).all(|prime| ring.prime_index(widened, ring.limb_of_prime(widened, prime)) == prime));
        assert!(ring.has_basis(widened) && ring.has_basis(Basis::qp(2, 2)));
        assert!(!ring.has_basis(Basis::qp(1, 4)) && !ring.has_basis(Basis::q(3)));
        assert_eq!(ring.limb_count(ring.full_basis()), 5);
        assert!(Arc::ptr_eq(&ring.automorphism(5), &ring.automorphism(5)));
    }

    #[test]
    fn refuses_empty_and_repeated_chains() {
        let q = find_ntt_primes(8, 30, 1, &[]).unwrap()[0];
        assert_eq!(RingContext::new(7, &[], &[q]).unwrap_err(), RingError::EmptyChain);
        assert_eq!(
            RingContext::new(7, &[q], &[q]).unwrap_err(),
            RingError::DuplicatePrime { modulus: q }
        );
    }
}
