//! [`Poly`]: a polynomial as contiguous limbs, one per prime of its basis.
//!
//! Preconditions (equal rings, bases and domains of operands) are asserted: they are the caller's to keep.

use std::sync::Arc;

use rayon::prelude::*;
use zeroize::Zeroize;

use super::kernels::Destination;
use super::{AlignedBuffer, Backend, Basis, CompactPoly, Evaluations, Modulus, NttTable, RingContext, kernels};

/// Polynomials up to this many words are worked on by one thread: waking others takes longer.
pub(super) const SERIAL_WORDS: usize = 1 << 14;

/// Words copied and worked on at a time.
pub(super) const TILE: usize = 1024;

/// What the words of a polynomial are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Coefficients in natural order.
    Coeff,
    /// Values at the roots of `X^N + 1`, in the order of [`super::evaluation_exponents`].
    Eval,
}

/// A polynomial over the primes of a [`Basis`]: words `[limb][position]`, each below its prime, from the ring's buffer pool.
pub struct Poly {
    ring: Arc<RingContext>,
    basis: Basis,
    domain: Domain,
    /// Always present until drop.
    data: Option<AlignedBuffer>,
}

impl Poly {
    /// The zero polynomial.
    pub fn zeros(ring: &Arc<RingContext>, basis: Basis, domain: Domain) -> Self {
        let mut poly = Self::uninit(ring, basis, domain);
        poly.data_mut().fill(0);
        poly
    }

    /// A polynomial whose words are whatever the pool held; the caller overwrites them all with reduced residues.
    pub(crate) fn uninit(ring: &Arc<RingContext>, basis: Basis, domain: Domain) -> Self {
        assert!(ring.has_basis(basis), "basis {basis:?} is not in {ring:?}");
        let data = ring.pool().take(ring.limb_count(basis) * ring.n());
        Self {
            ring: Arc::clone(ring),
            basis,
            domain,
            data: Some(data),
        }
    }

    /// The polynomial with these words, `[limb][position]`; none may be as large as its prime.
    pub(crate) fn from_buffer(ring: &Arc<RingContext>, basis: Basis, domain: Domain, data: AlignedBuffer) -> Self {
        assert_eq!(data.len(), ring.limb_count(basis) * ring.n());
        Self {
            ring: Arc::clone(ring),
            basis,
            domain,
            data: Some(data),
        }
    }

    /// The buffer that holds the words.
    pub(crate) fn buffer(&self) -> Option<&AlignedBuffer> {
        self.data.as_ref()
    }

    /// The polynomial with these integer coefficients (n of them), in coefficient form.
    pub fn from_signed(ring: &Arc<RingContext>, basis: Basis, coefficients: &[i64]) -> Self {
        assert_eq!(coefficients.len(), ring.n());
        let largest = coefficients.iter().map(|x| x.unsigned_abs()).fold(0, u64::max);
        let mut poly = Self::uninit(ring, basis, Domain::Coeff);
        poly.each_limb(|_, table, values| {
            let m = table.modulus();
            if largest < m.value() {
                write_residues(values, coefficients, |x| m.residue_of_small(x));
            } else {
                write_residues(values, coefficients, |x| m.from_signed(x));
            }
        });
        poly
    }

    /// As [`Self::from_signed`], for coefficients beyond 64 bits.
    pub fn from_signed_wide(ring: &Arc<RingContext>, basis: Basis, coefficients: &[i128]) -> Self {
        assert_eq!(coefficients.len(), ring.n());
        let mut poly = Self::uninit(ring, basis, Domain::Coeff);
        poly.each_limb(|_, table, values| {
            write_residues(values, coefficients, |x| table.modulus().from_signed_wide(x));
        });
        poly
    }

    /// The ring.
    pub fn ring(&self) -> &Arc<RingContext> {
        &self.ring
    }

    /// The primes of the limbs.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// What the words are.
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// How many limbs there are.
    pub fn limb_count(&self) -> usize {
        self.ring.limb_count(self.basis)
    }

    /// The modulus of a limb.
    pub fn modulus(&self, limb: usize) -> &Modulus {
        self.ring.modulus(self.ring.prime_index(self.basis, limb))
    }

    /// All words, limb after limb.
    pub fn data(&self) -> &[u64] {
        self.data.as_deref().unwrap_or_default()
    }

    /// All words; writers keep every word below its prime.
    pub fn data_mut(&mut self) -> &mut [u64] {
        self.data.as_deref_mut().unwrap_or_default()
    }

    /// One limb.
    pub fn limb(&self, limb: usize) -> &[u64] {
        let n = self.ring.n();
        &self.data()[limb * n..][..n]
    }

    /// One limb; writers keep every word below its prime.
    pub fn limb_mut(&mut self, limb: usize) -> &mut [u64] {
        let n = self.ring.n();
        &mut self.data_mut()[limb * n..][..n]
    }

    /// The limbs in order.
    pub fn limbs(&self) -> std::slice::ChunksExact<'_, u64> {
        self.data().chunks_exact(self.ring.n())
    }

    /// The limbs in order; writers keep every word below its prime.
    pub fn limbs_mut(&mut self) -> std::slice::ChunksExactMut<'_, u64> {
        let n = self.ring.n();
        self.data_mut().chunks_exact_mut(n)
    }

    /// The limbs as a parallel iterator, in limb order.
    pub fn par_limbs_mut(&mut self) -> rayon::slice::ChunksExactMut<'_, u64> {
        let n = self.ring.n();
        self.data_mut().par_chunks_exact_mut(n)
    }

    /// To evaluation form (nothing to do when it is there).
    pub fn to_eval(&mut self) {
        if self.domain == Domain::Coeff {
            self.each_limb(|_, table, values| table.forward(values));
            self.domain = Domain::Eval;
        }
    }

    /// To coefficient form (nothing to do when it is there).
    pub fn to_coeff(&mut self) {
        if self.domain == Domain::Eval {
            self.each_limb(|_, table, values| table.inverse(values));
            self.domain = Domain::Coeff;
        }
    }

    /// A copy in coefficient form.
    pub fn coefficients(&self) -> Self {
        let mut copy = Self::uninit(&self.ring, self.basis, Domain::Coeff);
        copy.each_limb(|limb, table, values| {
            values.copy_from_slice(self.limb(limb));
            if self.domain == Domain::Eval {
                table.inverse(values);
            }
        });
        copy
    }

    /// self + other.
    pub fn sum(&self, other: &Self) -> Self {
        self.zip_tiles(other, kernels::add)
    }

    /// self - other.
    pub fn difference(&self, other: &Self) -> Self {
        self.zip_tiles(other, kernels::sub)
    }

    /// self = self + other.
    pub fn add_assign(&mut self, other: &Self) {
        self.zip_limbs(other, kernels::add);
    }

    /// self = self - other.
    pub fn sub_assign(&mut self, other: &Self) {
        self.zip_limbs(other, kernels::sub);
    }

    /// self = -self.
    pub fn neg_assign(&mut self) {
        let family = self.ring.backend();
        self.each_limb(|_, table, values| kernels::neg(family, table.modulus(), values));
    }

    /// self = self * other, in evaluation form.
    pub fn mul_assign(&mut self, other: &Self) {
        assert_eq!(self.domain, Domain::Eval);
        self.zip_limbs(other, kernels::mul);
    }

    /// self = self + x * y, in evaluation form. `x` and `y` may have more limbs than self (limbs are matched by prime).
    pub fn mul_add_assign(&mut self, x: &Self, y: &Self) {
        assert_eq!([self.domain, x.domain, y.domain], [Domain::Eval; 3]);
        let (basis, ring) = (self.basis, Arc::clone(&self.ring));
        self.each_limb(|limb, table, values| {
            let prime = ring.prime_index(basis, limb);
            let (x, y) = (x.limb_of_prime(prime), y.limb_of_prime(prime));
            kernels::mul_add(ring.backend(), table.modulus(), values, x, y);
        });
    }

    /// self = self + other, which may have more limbs.
    pub fn add_compact(&mut self, other: &CompactPoly) {
        self.zip_compact(other, kernels::add);
    }

    /// self = self - other, which may have more limbs.
    pub fn sub_compact(&mut self, other: &CompactPoly) {
        self.zip_compact(other, kernels::sub);
    }

    /// self = self * c for a signed integer c.
    pub fn mul_integer(&mut self, c: i128) {
        let family = self.ring.backend();
        self.each_limb(|_, table, values| {
            let modulus = table.modulus();
            kernels::mul_shoup(family, modulus, values, modulus.shoup(modulus.from_signed_wide(c)));
        });
    }

    /// Multiplies limb i by `constants[i]`, each below its prime.
    pub fn mul_constants(&mut self, constants: &[u64]) {
        assert_eq!(constants.len(), self.limb_count());
        let family = self.ring.backend();
        self.each_limb(|limb, table, values| {
            kernels::mul_shoup(family, table.modulus(), values, table.modulus().shoup(constants[limb]));
        });
    }

    /// self = self + x * c, where c is `constants[i]` on limb i; the limbs beyond the constants stay as they are. `x` has at least
    /// these limbs (matched by prime).
    pub fn add_mul_constants(&mut self, x: &Self, constants: &[u64]) {
        assert_eq!(self.domain, x.domain);
        let (basis, ring) = (self.basis, Arc::clone(&self.ring));
        self.each_limb(|limb, table, values| {
            if let Some(&constant) = constants.get(limb) {
                let (modulus, x) = (table.modulus(), x.limb_of_prime(ring.prime_index(basis, limb)));
                kernels::add_mul_shoup(ring.backend(), modulus, values, x, modulus.shoup(constant));
            }
        });
    }

    /// p(X) -> p(X^galois_element), `galois_element` odd and below 2N. Works in both forms.
    pub fn automorphism(&self, galois_element: u64) -> Self {
        let mut out = Self::uninit(&self.ring, self.basis, self.domain);
        match self.domain {
            Domain::Eval => {
                let (family, table) = (self.ring.backend(), self.ring.automorphism(galois_element));
                out.each_limb(|limb, _, values| {
                    kernels::permute(family, values, self.limb(limb), table.moves(), Destination::Cache)
                });
            }
            Domain::Coeff => {
                assert!(galois_element % 2 == 1 && galois_element < 2 * self.ring.n() as u64);
                let n = self.ring.n();
                out.each_limb(|limb, table, values| {
                    let mut exponent = 0usize;
                    for &x in self.limb(limb) {
                        // X^(n + i) = -X^i
                        let target = exponent & (2 * n - 1);
                        values[target % n] = if target < n { x } else { table.modulus().neg(x) };
                        exponent += galois_element as usize;
                    }
                });
            }
        }
        out
    }

    /// The same polynomial over fewer primes: limbs are dropped, nothing is divided.
    pub fn restricted(&self, basis: Basis) -> Self {
        let mut out = Self::uninit(&self.ring, basis, self.domain);
        for limb in 0..out.limb_count() {
            let prime = self.ring.prime_index(basis, limb);
            out.limb_mut(limb).copy_from_slice(self.limb_of_prime(prime));
        }
        out
    }

    /// The limb of a prime index; the polynomial must have it.
    pub fn limb_of_prime(&self, prime: usize) -> &[u64] {
        self.limb(self.ring.limb_of_prime(self.basis, prime))
    }

    /// The buffer, which is not given back to the pool.
    pub(super) fn into_data(mut self) -> Option<AlignedBuffer> {
        self.data.take()
    }

    /// Runs `kernel` on every limb with its index and transform, in parallel unless there is too little to do.
    pub(crate) fn each_limb(&mut self, kernel: impl Fn(usize, &NttTable, &mut [u64]) + Sync) {
        let (ring, basis) = (Arc::clone(&self.ring), self.basis);
        let run = |(limb, values): (usize, &mut [u64])| kernel(limb, ring.table(ring.prime_index(basis, limb)), values);
        if self.data().len() <= SERIAL_WORDS {
            self.limbs_mut().enumerate().for_each(run);
        } else {
            self.par_limbs_mut().enumerate().for_each(run);
        }
    }

    /// As [`Self::each_limb`], with prime indices instead of limb indices.
    pub(super) fn each_prime_limb(&mut self, kernel: impl Fn(usize, &Modulus, &mut [u64]) + Sync) {
        let (ring, basis) = (Arc::clone(&self.ring), self.basis);
        self.each_limb(|limb, table, values| kernel(ring.prime_index(basis, limb), table.modulus(), values));
    }

    /// A new polynomial: tiles of self, each changed by `kernel` while it is in the first-level cache.
    fn zip_tiles(&self, other: &Self, kernel: fn(Backend, &Modulus, &mut [u64], &[u64])) -> Self {
        assert_eq!((self.basis, self.domain), (other.basis, other.domain));
        let family = self.ring.backend();
        let mut out = Self::uninit(&self.ring, self.basis, self.domain);
        out.each_limb(|limb, table, values| {
            let operands = self.limb(limb).chunks(TILE).zip(other.limb(limb).chunks(TILE));
            for (out, (x, y)) in values.chunks_mut(TILE).zip(operands) {
                out.copy_from_slice(x);
                kernel(family, table.modulus(), out, y);
            }
        });
        out
    }

    fn zip_compact(&mut self, other: &CompactPoly, kernel: fn(Backend, &Modulus, &mut [u64], &[u64])) {
        assert_eq!(self.domain, Domain::Eval);
        let family = self.ring.backend();
        self.each_prime_limb(|prime, m, values| {
            let limb = other.evaluations(prime);
            let mut expanded = [0; TILE];
            for (tile, values) in values.chunks_mut(TILE).enumerate() {
                let expanded = &mut expanded[..values.len()];
                limb.expand(tile * TILE, expanded);
                kernel(family, m, values, expanded);
            }
        });
    }

    fn zip_limbs(&mut self, other: &Self, kernel: fn(Backend, &Modulus, &mut [u64], &[u64])) {
        assert_eq!((self.basis, self.domain), (other.basis, other.domain));
        let family = self.ring.backend();
        self.each_limb(|limb, table, values| kernel(family, table.modulus(), values, other.limb(limb)));
    }
}

fn write_residues<T: Copy>(values: &mut [u64], coefficients: &[T], reduce: impl Fn(T) -> u64) {
    for (value, &x) in values.iter_mut().zip(coefficients) {
        *value = reduce(x);
    }
}

impl Clone for Poly {
    fn clone(&self) -> Self {
        let mut copy = Self::uninit(&self.ring, self.basis, self.domain);
        copy.data_mut().copy_from_slice(self.data());
        copy
    }
}

impl Drop for Poly {
    fn drop(&mut self) {
        if let Some(data) = self.data.take() {
            self.ring.pool().give(data);
        }
    }
}

/// Overwrites all words with zeros; for polynomials that hold secrets, before they are dropped.
impl Zeroize for Poly {
    fn zeroize(&mut self) {
        self.data_mut().zeroize();
    }
}

impl PartialEq for Poly {
    fn eq(&self, other: &Self) -> bool {
        (self.basis, self.domain) == (other.basis, other.domain) && self.data() == other.data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{find_ntt_primes, uniform};

    fn ring() -> Arc<RingContext> {
        let primes = find_ntt_primes(8, 49, 5, &[]).unwrap();
        RingContext::new(7, &primes[..3], &primes[3..]).unwrap()
    }

    #[test]
    fn products_match_schoolbook() {
        let ring = ring();
        let n = ring.n();
        let x = uniform(&ring, Basis::qp(1, 2), Domain::Coeff, &[1; 32]);
        let y = uniform(&ring, Basis::qp(1, 2), Domain::Coeff, &[2; 32]);
        let (mut xe, mut ye) = (x.clone(), y.clone());
        xe.to_eval();
        ye.to_eval();
        let mut product = xe.clone();
        product.mul_assign(&ye);
        let mut accumulated = Poly::zeros(&ring, Basis::q(1), Domain::Eval);
        accumulated.mul_add_assign(&xe, &ye);
        accumulated.mul_add_assign(&xe, &ye);
        assert!(accumulated == Poly::inner_product(Basis::q(1), &[&xe, &ye], &[&ye, &xe]));
        accumulated.sub_assign(&product.restricted(Basis::q(1)));
        assert!(accumulated == product.restricted(Basis::q(1)));
        product.to_coeff();
        for limb in 0..product.limb_count() {
            let m = product.modulus(limb);
            let mut expected = vec![0; n];
            for (i, &a) in x.limb(limb).iter().enumerate() {
                for (j, &b) in y.limb(limb).iter().enumerate() {
                    let term = m.mul(a, b);
                    let slot = &mut expected[(i + j) % n];
                    *slot = if i + j < n {
                        m.add(*slot, term)
                    } else {
                        m.sub(*slot, term)
                    };
                }
            }
            assert_eq!(product.limb(limb), expected);
        }
    }

    #[test]
    fn automorphisms_agree_in_both_forms() {
        let ring = ring();
        let x = uniform(&ring, Basis::q(2), Domain::Coeff, &[3; 32]);
        let mut xe = x.clone();
        xe.to_eval();
        for g in [1, 5, 25, 255, 3] {
            let mut by_coefficients = x.automorphism(g);
            by_coefficients.to_eval();
            assert!(by_coefficients == xe.automorphism(g));
        }
    }

    #[test]
    fn scalars_and_signs() {
        let ring = ring();
        let x = uniform(&ring, Basis::q(2), Domain::Eval, &[4; 32]);
        let mut tripled = x.clone();
        tripled.add_assign(&x);
        tripled.add_assign(&x);
        let mut scaled = x.clone();
        scaled.mul_integer(-3);
        scaled.neg_assign();
        assert!(scaled == tripled);
        let mut by_constants = x.clone();
        by_constants.mul_constants(&[3; 3]);
        assert!(by_constants == tripled);
        let mut added = x.clone();
        added.add_mul_constants(&x, &[2; 3]);
        assert!(added == tripled);
        added.add_mul_constants(&x, &[]);
        assert!(added == tripled);
    }

    #[test]
    fn memory_is_recycled() {
        let ring = ring();
        let mut x = Poly::zeros(&ring, Basis::q(2), Domain::Coeff);
        x.data_mut()[5] = 9;
        x.zeroize();
        assert!(x.data().iter().all(|&word| word == 0));
        let address = x.data().as_ptr();
        drop(x);
        assert_eq!(Poly::zeros(&ring, Basis::q(2), Domain::Coeff).data().as_ptr(), address);
    }
}
