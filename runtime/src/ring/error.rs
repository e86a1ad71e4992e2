//! What can be wrong with the numbers a ring is built from.

/// A ring, prime or basis that cannot be built as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The modulus is not an odd prime in `[3, 2^50)`.
    #[error("modulus {modulus} is not an odd prime below 2^50")]
    InvalidModulus {
        /// The refused value.
        modulus: u64,
    },
    /// The prime has no primitive `2N`-th root of unity.
    #[error("prime {modulus} is not 1 modulo 2N = {two_n}, so it has no negacyclic transform of that size")]
    NotNttFriendly {
        /// The refused prime.
        modulus: u64,
        /// `2N`.
        two_n: u64,
    },
    /// The ring degree is outside the supported powers of two.
    #[error("log2(N) = {log_n} is outside the supported range {min}..={max}")]
    UnsupportedDegree {
        /// The refused `log2(N)`.
        log_n: u32,
        /// Smallest supported `log2(N)`.
        min: u32,
        /// Largest supported `log2(N)`.
        max: u32,
    },
    /// The same prime stands twice in one ring.
    #[error("prime {modulus} stands twice in one modulus chain")]
    DuplicatePrime {
        /// The repeated prime.
        modulus: u64,
    },
    /// The ring has no ciphertext prime.
    #[error("a ring needs at least one ciphertext prime")]
    EmptyChain,
    /// The search ran out of candidates.
    #[error("found only {found} of {wanted} primes of {bits} bits that are 1 modulo 2^{log_2n}")]
    NotEnoughPrimes {
        /// Bit size that was searched.
        bits: u32,
        /// `log2(2N)`.
        log_2n: u32,
        /// How many were found.
        found: usize,
        /// How many were asked for.
        wanted: usize,
    },
    /// The system gave no random bytes.
    #[error("the operating system gave no random bytes: {reason}")]
    NoEntropy {
        /// What the system reported.
        reason: String,
    },
}
