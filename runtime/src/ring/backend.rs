//! Which kernels run: the portable ones, or the AVX-512 IFMA ones where the machine has them.

/// Proof that this machine has AVX-512 F, DQ, VL and IFMA, and AES on vectors. Only [`Ifma::detect`] makes one, so a function
/// that takes an `Ifma` may call code compiled for those features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ifma(());

impl Ifma {
    /// Asks the processor, once per process (the standard library caches the answer).
    #[cfg(target_arch = "x86_64")]
    pub fn detect() -> Option<Self> {
        let has = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("avx512ifma")
            && std::arch::is_x86_feature_detected!("aes")
            && std::arch::is_x86_feature_detected!("vaes");
        has.then_some(Self(()))
    }

    /// This architecture has no such instructions.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn detect() -> Option<Self> {
        None
    }
}

/// The kernel family of one ring. Results do not depend on it, only speed does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Scalar 64-bit code; runs everywhere.
    Portable,
    /// 512-bit vectors with 52-bit multiply-add.
    Ifma(Ifma),
}

impl Backend {
    /// The fastest family this machine runs.
    pub fn detect() -> Self {
        Ifma::detect().map_or(Self::Portable, Self::Ifma)
    }
}
