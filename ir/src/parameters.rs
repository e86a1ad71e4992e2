//! Encryption parameters, as graphs carry them: numbers from which primes and plans follow deterministically.

use crate::{attr_enum, attr_struct};

attr_enum! {
    /// Distribution of the secret key.
    #[derive(Copy, Eq, Hash)]
    pub enum Secret {
        #[doc = "every coefficient uniform in {-1, 0, 1}"]
        UniformTernary "uniform_ternary" {}
        #[doc = "`hamming_weight` coefficients are 1 or -1, all others 0"]
        SparseTernary "sparse_ternary" { hamming_weight: usize }
    }
}

attr_struct! {
    /// What parameter selection decided; primes follow from it deterministically.
    pub struct ParameterSpec {
        /// Ring degree N = 2^log_n.
        pub log_n: u32,
        /// Highest level that the program uses: rescales that a fresh ciphertext, or a bootstrapped one, has.
        pub max_level: u32,
        /// Bits of the scale, and of the primes q_1..q_max_level.
        pub log_scale: u32,
        /// Bits of q_0.
        pub log_q0: u32,
        /// Digits of hybrid key switching, of the whole chain.
        pub dnum: u32,
        /// Bits of every special prime.
        pub log_special: u32,
        /// Number of special primes.
        pub n_special: u32,
        /// Digits and special primes of lower levels; without it, digits are as wide as those of the whole chain.
        pub gadgets: Option<LevelGadgets>,
        /// Distribution of the secret.
        pub secret: Secret,
        /// The bootstrap that the chain is made for, if there is one.
        pub bootstrap: Option<BootstrapSpec>,
    }
}

attr_struct! {
    /// Key switching level by level, from level 0 up: ciphertext primes above a level serve as further special primes there, so that
    /// digits can be wider.
    pub struct LevelGadgets {
        /// Primes of every digit but perhaps the last.
        pub digit_primes: Vec<u32>,
        /// Special primes in use.
        pub n_special: Vec<u32>,
    }
}

attr_struct! {
    /// The bootstrap of a program: the request from which its circuit and all primes follow, and what matters of them to
    /// a program.
    pub struct BootstrapSpec {
        /// Slots of the largest bootstrap in use, a power of two.
        pub slots: usize,
        /// Whether two real ciphertexts go through one bootstrap where they can.
        pub pairs: bool,
        /// Bits asked of the worst slot.
        pub bits: f64,
        /// Level of a bootstrapped value: the highest that the program uses.
        pub levels: u32,
        /// Level at which a value enters a bootstrap.
        pub input_level: u32,
        /// Highest level of the whole chain, the bootstrap's own levels included.
        pub total_levels: u32,
        /// log2 of the standard deviation of the error that a bootstrap adds to every slot.
        pub log_error: f64,
    }
}

impl ParameterSpec {
    /// Ciphertext primes of the whole chain.
    pub fn n_primes(&self) -> u32 {
        1 + self
            .bootstrap
            .as_ref()
            .map_or(self.max_level, |bootstrap| bootstrap.total_levels)
    }

    /// Primes of a key-switching digit of the whole chain.
    pub fn digit_primes(&self) -> u32 {
        self.n_primes().div_ceil(self.dnum.max(1))
    }
}
