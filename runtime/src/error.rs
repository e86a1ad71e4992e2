//! The one error type of the crate. A message says what was found, what was expected and, where there is a way out,
//! what to do. Every reader of outside bytes reports through it; none of them panics.

use thiserror::Error as ThisError;

use crate::ring::RingError;

/// Anything the runtime can refuse to do.
#[derive(Debug, Clone, PartialEq, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// A parameter is outside what the scheme or this implementation supports.
    #[error("parameter {name}: {reason}")]
    InvalidParameter {
        /// Which parameter.
        name: &'static str,
        /// What is wrong with it and what is accepted.
        reason: String,
    },
    /// The ring refuses its degree, its primes, or has no randomness.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The modulus is too large for 128-bit security at this ring degree.
    #[error(
        "log2(QP) = {log_qp:.1} exceeds {max_log_qp}, the largest modulus with 128-bit security for N = 2^{log_n} and \
         {secret}: use fewer levels, smaller primes or a larger ring"
    )]
    Insecure {
        /// log2 of the ring degree.
        log_n: u32,
        /// log2 of the product of all primes, special ones included.
        log_qp: f64,
        /// The table's bound.
        max_log_qp: u32,
        /// The secret distribution, in words.
        secret: String,
    },
    /// Less memory is allowed than is needed even without encoding any weight ahead.
    #[error("about {} MiB are needed at least, {} MiB are allowed: raise the limit", needed >> 20, allowed >> 20)]
    NotEnoughMemory {
        /// Bytes needed.
        needed: u64,
        /// Bytes allowed.
        allowed: u64,
    },
    /// The caller stopped an evaluation.
    #[error("stopped after {done} of {total} instructions")]
    Interrupted {
        /// Instructions that were done.
        done: usize,
        /// Instructions of the program.
        total: usize,
    },
    /// The security table has no row that covers these parameters.
    #[error("the security table has no row for N = 2^{log_n} and {secret}: choose a listed combination")]
    SecurityUnknown {
        /// log2 of the ring degree.
        log_n: u32,
        /// The secret distribution, in words.
        secret: String,
    },
    /// An object was made under other parameters.
    #[error("{object} belongs to other parameters ({found}) than the ones in use ({expected})")]
    ParameterMismatch {
        /// What was handed in.
        object: &'static str,
        /// Fingerprint of the parameters in use.
        expected: String,
        /// Fingerprint found on the object.
        found: String,
    },
    /// A level above the chain, or above what the object has.
    #[error("{what} is at level {level}, but at most {max} is possible here")]
    LevelTooHigh {
        /// The object or operation.
        what: &'static str,
        /// The level asked for.
        level: usize,
        /// The largest possible level.
        max: usize,
    },
    /// The operation needs more levels than are left.
    #[error("{what} needs level {needed}, the ciphertext is at level {level}: bootstrap it or use a longer chain")]
    LevelTooLow {
        /// The operation.
        what: &'static str,
        /// The level of the operand.
        level: usize,
        /// The lowest level at which the operation works.
        needed: usize,
    },
    /// Two operands that must be at one level are not.
    #[error("{what}: operands at levels {left} and {right}; bring them to one level with drop_level or adjust_to")]
    LevelMismatch {
        /// The operation.
        what: &'static str,
        /// Level of the first operand.
        left: usize,
        /// Level of the second operand.
        right: usize,
    },
    /// Two operands that must have one scale do not.
    #[error("{what}: scales 2^{left_log2:.6} and 2^{right_log2:.6} differ; bring them to one scale with adjust_to")]
    ScaleMismatch {
        /// The operation.
        what: &'static str,
        /// log2 of the first operand's scale.
        left_log2: f64,
        /// log2 of the second operand's scale.
        right_log2: f64,
    },
    /// A scale that is not positive, not finite or does not fit the modulus.
    #[error("{what}: scale {scale} cannot be used: {reason}")]
    InvalidScale {
        /// The operation.
        what: &'static str,
        /// The scale.
        scale: f64,
        /// Why not.
        reason: &'static str,
    },
    /// Operands with different slot counts.
    #[error("{what}: operands with {left} and {right} slots")]
    SlotMismatch {
        /// The operation.
        what: &'static str,
        /// Slots of the first operand.
        left: usize,
        /// Slots of the second operand.
        right: usize,
    },
    /// A slot count that is no power of two or does not fit the ring.
    #[error("{slots} slots: expected a power of two between 1 and {max}")]
    InvalidSlots {
        /// The slot count asked for.
        slots: usize,
        /// N / 2.
        max: usize,
    },
    /// More values than slots.
    #[error("{values} values do not fit {slots} slots")]
    TooManyValues {
        /// How many values were given.
        values: usize,
        /// How many slots there are.
        slots: usize,
    },
    /// NaN or infinity among the values to encode.
    #[error("value at slot {slot} is not finite")]
    NotFinite {
        /// The first such slot.
        slot: usize,
    },
    /// A scaled value does not fit the modulus it is encoded for.
    #[error(
        "a coefficient of 2^{log2_value:.1} does not fit a modulus of 2^{log2_modulus:.1}: lower the scale or the values"
    )]
    EncodeOverflow {
        /// log2 of the largest scaled coefficient.
        log2_value: f64,
        /// log2 of the largest magnitude that can be held.
        log2_modulus: f64,
    },
    /// An operation got a ciphertext of the wrong degree.
    #[error("{what} needs a ciphertext of {expected} parts, got {found}: relinearize it first or later")]
    DegreeMismatch {
        /// The operation.
        what: &'static str,
        /// Parts expected.
        expected: usize,
        /// Parts found.
        found: usize,
    },
    /// The evaluation keys lack a rotation.
    #[error("no key for rotation by {step} at level {level}: generate it with the key plan of this program")]
    MissingRotationKey {
        /// The rotation, in slots to the left.
        step: usize,
        /// The level at which it is needed.
        level: usize,
    },
    /// The evaluation keys lack the conjugation key.
    #[error("no key for complex conjugation at level {level}: generate it with the key plan of this program")]
    MissingConjugationKey {
        /// The level at which it is needed.
        level: usize,
    },
    /// The evaluation keys lack the relinearisation key.
    #[error("no relinearization key at level {level}: generate it with the key plan of this program")]
    MissingRelinKey {
        /// The level at which it is needed.
        level: usize,
    },
    /// The evaluation keys lack the way to the ephemeral secret of a bootstrap.
    #[error(
        "no keys to an ephemeral secret of Hamming weight {hamming_weight} or less: generate them with the key plan of \
         this program"
    )]
    MissingEncapsulationKeys {
        /// The Hamming weight planned for.
        hamming_weight: usize,
    },
    /// The keys from an ephemeral secret back lack a rotation.
    #[error(
        "no key for a rotation by {step} while raising to level {level}: generate it with the key plan of this program"
    )]
    MissingRaisedRotationKey {
        /// The rotation, in slots to the left.
        step: usize,
        /// The level that is raised to.
        level: usize,
    },
    /// A key exists, but only for lower levels.
    #[error("the key for {what} is stored at level {stored}, level {level} is needed: generate it at the higher level")]
    KeyLevelTooLow {
        /// What the key does.
        what: String,
        /// The level the key is stored at.
        stored: usize,
        /// The level at which it is needed.
        level: usize,
    },
    /// A linear transform whose description does not hold together.
    #[error("linear transform: {reason}")]
    InvalidLinearTransform {
        /// What is wrong.
        reason: String,
    },
    /// A polynomial that cannot be evaluated.
    #[error("polynomial: {reason}")]
    InvalidPolynomial {
        /// What is wrong.
        reason: String,
    },
    /// Bytes that are not a valid object of this project.
    #[error("{object}, byte {offset}: {reason}")]
    Malformed {
        /// What was being read.
        object: &'static str,
        /// Position within the object's bytes.
        offset: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A part of a plan that breaks a rule.
    #[error("plan, {place}: {reason}")]
    InvalidPlan {
        /// The part: an instruction, a port, a constant.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Values that do not fit a model's input or result.
    #[error("input: {reason}")]
    InvalidInput {
        /// What was found and what is expected.
        reason: String,
    },
    /// A result that does not decrypt to what a plan computes.
    #[error(
        "the result does not decrypt under this key: imaginary parts reach {imaginary:.1}, where only noise should be; use the \
         secret key of the same keygen as the server's evaluation keys and the encrypted input"
    )]
    NotUnderThisKey {
        /// Largest imaginary part of a slot.
        imaginary: f64,
    },
    /// A file or stream could not be read or written.
    #[error("{what}: {reason}")]
    Io {
        /// The file or stream.
        what: String,
        /// The system's message.
        reason: String,
    },
}

/// Result of a runtime operation.
pub type Result<T> = std::result::Result<T, Error>;
