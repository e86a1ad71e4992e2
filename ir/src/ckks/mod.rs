//! Dialect `ckks`: the program over ciphertexts. A value is a bundle of ciphertexts of one level, scale and degree.
//!
//! Scales are exact without being numbers: every level `l` has one canonical scale `D_l`, with `D_(l-1) = D_l^2 / q_l`
//! (Kim, Papadimitriou, Polyakov: Approximate Homomorphic Encryption with Reduced Approximation Error, CT-RSA 2022).
//! A value at level `l` is either at scale `D_l` (`scale_power` 1) or at `D_l^2` (`scale_power` 2: a product that waits
//! for its rescale, which lands on `D_(l-1)` exactly). Ops that multiply by a plaintext encode it at the scale that
//! makes this so, also when the ciphertext comes from a higher level.
//!
//! Invariant: values that are added have equal levels and scale powers.

mod gaussian;
mod infer;
mod interp;
mod key_switch;
mod noise;
mod ops;

pub use crate::parameters::{BootstrapSpec, LevelGadgets, ParameterSpec, Secret};
pub use interp::{Interpreter, Noise, RunResult, Watch};
pub use key_switch::KeySwitchSpec;
pub use noise::NoiseModel;
pub use ops::{Bsgs, CkksOp};

use crate::attr::Attr;
use crate::attr_struct;
use crate::dialect::Dialect;
use crate::graph::Graph;
use crate::slot::{Layout, SlotAttrs};
use crate::text::{ParseError, Parser, Printer};

/// The dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ckks;

/// Type of a value, printed `<2 x 8192, level 5, scale 1, degree 1>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CipherType {
    /// Number of ciphertexts.
    pub cts: usize,
    /// Slots per ciphertext, a power of two.
    pub slots: usize,
    /// Level: the number of rescales left; level `l` has primes `q_0..q_l`.
    pub level: u32,
    /// 1: canonical scale of the level; 2: its square.
    pub scale_power: u32,
    /// Degree in the secret: 1, or 2 between a product and its relinearisation.
    pub degree: u32,
}

impl Attr for CipherType {
    fn print(&self, printer: &mut Printer) {
        let CipherType {
            cts,
            slots,
            level,
            scale_power,
            degree,
        } = self;
        printer.word(&format!(
            "<{cts} x {slots}, level {level}, scale {scale_power}, degree {degree}>"
        ));
    }
    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        parser.punct("<")?;
        let cts = parser.integer()?;
        parser.ident_is("x")?;
        let slots = parser.integer()?;
        parser.punct(",")?;
        parser.ident_is("level")?;
        let level = parser.integer()?;
        parser.punct(",")?;
        parser.ident_is("scale")?;
        let scale_power = parser.integer()?;
        parser.punct(",")?;
        parser.ident_is("degree")?;
        let degree = parser.integer()?;
        parser.punct(">")?;
        Ok(CipherType {
            cts,
            slots,
            level,
            scale_power,
            degree,
        })
    }
}

attr_struct! {
    /// Annotations of a `ckks` graph.
    #[derive(Default)]
    pub struct CkksAttrs {
        /// Packing of inputs and results, as in `slot`.
        pub packing: SlotAttrs,
        /// For every result, where its elements lie.
        pub output_layouts: Vec<Layout>,
        /// Encryption parameters, once selected.
        pub parameters: Option<ParameterSpec>,
    }
}

impl Dialect for Ckks {
    const NAME: &'static str = "ckks";
    type Op = CkksOp;
    type Type = CipherType;
    type Attrs = CkksAttrs;

    fn infer(graph: &Graph<Self>, op: &CkksOp) -> Result<CipherType, String> {
        infer::infer(graph, op)
    }
}
