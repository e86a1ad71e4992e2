//! Noise of `ckks` ops, as the variance of the error that an op adds to the real part of every slot.
//!
//! Assumes: coefficients of noise polynomials are independent with mean zero, values are real. A polynomial whose coefficients have variance `v` adds variance `slots * v` to the real part of every slot
//! (2 slots coefficients matter to a value of `slots` slots, and half of an embedding's variance is real).
//! Ensures: variances are in units of the slot values, that is, already divided by the squared scale.
//!
//! Source: Costache, Curtis, Hales, Murphy, Ogilvie, Player: "On the precision loss in approximate homomorphic
//! encryption", SAC 2023 (average-case variances); Kim, Papadimitriou, Polyakov, CT-RSA 2022 (hybrid key switching).

use super::{KeySwitchSpec, LevelGadgets, ParameterSpec, Secret};

/// Standard deviation of the error of an encryption (homomorphicencryption.org standard).
const ERROR_SIGMA: f64 = 3.2;
/// Mean square of a coefficient of a uniform ternary secret.
const TERNARY_VARIANCE: f64 = 2.0 / 3.0;
/// Variance of a rounding error.
const ROUNDING_VARIANCE: f64 = 1.0 / 12.0;
/// No chain of primes is longer.
const MAX_LEVEL: u32 = 1000;

/// Variances under given parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseModel {
    n: f64,
    /// Expected sum of squares of the secret's coefficients.
    secret_weight: f64,
    log_scale: f64,
    log_q0: f64,
    max_level: u32,
    switch: KeySwitchSpec,
    /// log2 of the standard deviation of a bootstrap's error.
    log_bootstrap_error: Option<f64>,
}

impl NoiseModel {
    /// The model of `spec`.
    ///
    /// # Errors
    /// When the numbers are out of all proportion.
    pub fn new(spec: &ParameterSpec) -> Result<Self, String> {
        let n_levels = spec.bootstrap.as_ref().map_or(spec.max_level, |it| it.total_levels);
        if n_levels > MAX_LEVEL || spec.max_level > n_levels || spec.dnum == 0 || spec.dnum > n_levels + 1 {
            return Err(format!(
                "{} digits for {n_levels} levels, {} of them the program's: expected at most {MAX_LEVEL} levels and 1 to \
                 levels + 1 digits",
                spec.dnum, spec.max_level
            ));
        }
        if let Some(LevelGadgets {
            digit_primes,
            n_special,
        }) = &spec.gadgets
            && [digit_primes, n_special].into_iter().any(|counts| {
                counts.len() != n_levels as usize + 1 || counts.iter().any(|count| !(1..=MAX_LEVEL).contains(count))
            })
        {
            return Err(format!(
                "digits of {digit_primes:?} primes, {n_special:?} special ones: expected counts from 1 for each of {} levels",
                n_levels + 1
            ));
        }
        let n = f64::from(spec.log_n).exp2();
        let secret_weight = match spec.secret {
            Secret::UniformTernary {} => n * TERNARY_VARIANCE,
            Secret::SparseTernary { hamming_weight } => hamming_weight as f64,
        };
        if !(1.0..=n).contains(&secret_weight) {
            return Err(format!(
                "a secret of weight {secret_weight} does not exist in a ring of degree {n}"
            ));
        }
        Ok(NoiseModel {
            n,
            secret_weight,
            log_scale: f64::from(spec.log_scale),
            log_q0: f64::from(spec.log_q0),
            max_level: spec.max_level,
            switch: KeySwitchSpec::new(spec),
            log_bootstrap_error: spec.bootstrap.as_ref().map(|it| it.log_error),
        })
    }

    /// A fresh encryption under the secret key, encoding included.
    pub fn fresh(&self, slots: usize) -> f64 {
        self.in_slots(ERROR_SIGMA * ERROR_SIGMA + ROUNDING_VARIANCE, slots, 1)
    }

    /// Encoding of a plaintext at the `scale_power`-th power of the scale.
    pub fn encode(&self, slots: usize, scale_power: u32) -> f64 {
        self.in_slots(ROUNDING_VARIANCE, slots, scale_power)
    }

    /// The rounding of a rescale, whose result is at the canonical scale.
    pub fn rescale(&self, slots: usize) -> f64 {
        self.in_slots(self.division(), slots, 1)
    }

    /// A key switch at `level` of a value at the `scale_power`-th power of the scale: the errors of the key, times the
    /// digits and divided by the special modulus, then the rounding of that division.
    pub fn key_switch(&self, slots: usize, level: u32, scale_power: u32) -> f64 {
        self.in_slots(self.key_errors(level) + self.division(), slots, scale_power)
    }

    /// The error of a bootstrap, of a message of magnitude up to one per slot; `None` when the parameters have none.
    pub fn bootstrap(&self) -> Option<f64> {
        self.log_bootstrap_error.map(|log_error| (2.0 * log_error).exp2())
    }

    /// Bits by which a value of magnitude 1 at `level` and the `scale_power`-th power of the scale stays below half of
    /// the modulus; a value of more bits would wrap around.
    pub fn headroom(&self, level: u32, scale_power: u32) -> f64 {
        self.log_modulus(level) - 1.0 - f64::from(scale_power) * self.log_scale
    }

    /// Rounding both parts of a ciphertext: the second one meets the secret.
    fn division(&self) -> f64 {
        ROUNDING_VARIANCE * (1.0 + self.secret_weight)
    }

    /// Sum over the digits of N sigma^2 D^2 / (12 P^2), P the product of the special primes in use.
    fn key_errors(&self, level: u32) -> f64 {
        let level = level.min(self.max_level);
        let log_p = self.switch.log_special_modulus(level);
        let ratios = self
            .switch
            .log_digits(level)
            .map(|log_digit| (2.0 * (log_digit - log_p)).exp2());
        self.n * ERROR_SIGMA * ERROR_SIGMA * ROUNDING_VARIANCE * ratios.sum::<f64>()
    }

    /// log2 of the modulus at `level`.
    fn log_modulus(&self, level: u32) -> f64 {
        self.log_q0 + f64::from(level) * self.log_scale
    }

    fn in_slots(&self, coefficient_variance: f64, slots: usize, scale_power: u32) -> f64 {
        slots as f64 * coefficient_variance * (-2.0 * self.log_scale * f64::from(scale_power)).exp2()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ParameterSpec {
        ParameterSpec {
            log_n: 13,
            max_level: 4,
            log_scale: 30,
            log_q0: 36,
            dnum: 5,
            log_special: 40,
            n_special: 1,
            gadgets: None,
            secret: Secret::UniformTernary {},
            bootstrap: None,
        }
    }

    #[test]
    fn variances_meet_closed_forms() {
        let model = NoiseModel::new(&spec()).expect("sane");
        let scale = 30f64.exp2();
        // Rounding both halves: (1 + 2N/3) / 12 per coefficient, N/2 of it per slot.
        let rescale = 4096.0 * (1.0 + 8192.0 * 2.0 / 3.0) / 12.0 / (scale * scale);
        assert!((model.rescale(4096) / rescale - 1.0).abs() < 1e-12);
        let fresh = 4096.0 * (3.2 * 3.2 + 1.0 / 12.0) / (scale * scale);
        assert!((model.fresh(4096) / fresh - 1.0).abs() < 1e-12);
        assert!(model.fresh(64) < model.fresh(4096));
    }

    #[test]
    fn a_sparse_secret_makes_less_noise() {
        let with_weight = |hamming_weight: usize| {
            let secret = Secret::SparseTernary { hamming_weight };
            NoiseModel::new(&ParameterSpec { secret, ..spec() })
        };
        let (sparse, dense) = (with_weight(192).expect("sane"), NoiseModel::new(&spec()).expect("sane"));
        let ratio = dense.rescale(4096) / sparse.rescale(4096);
        assert!(
            (ratio / ((1.0 + 8192.0 * 2.0 / 3.0) / 193.0) - 1.0).abs() < 1e-12,
            "{ratio}"
        );
        assert_eq!(sparse.fresh(4096), dense.fresh(4096));
        assert!(with_weight(0).is_err() && with_weight(8193).is_err());
    }

    #[test]
    fn key_switching_is_dominated_by_its_division() {
        let model = NoiseModel::new(&spec()).expect("sane");
        let ratio = model.key_switch(4096, 4, 1) / model.rescale(4096);
        assert!((1.0..1.5).contains(&ratio), "{ratio}");
        assert!(model.key_switch(4096, 4, 2) < model.key_switch(4096, 4, 1));
        let tight = NoiseModel::new(&ParameterSpec {
            log_special: 34,
            ..spec()
        })
        .expect("sane");
        assert!(NoiseModel::new(&ParameterSpec { dnum: 6, ..spec() }).is_err());
        assert!(tight.key_switch(4096, 4, 1) > 4.0 * model.key_switch(4096, 4, 1));
    }
}
