//! Element-wise functions of one real variable.

use crate::attr_enum;

attr_enum! {
    /// A function that `nn.apply` maps over a tensor. ONNX semantics.
    pub enum Func {
        #[doc = "max(x, 0)"]
        Relu "relu" {}
        #[doc = "x for x >= 0, alpha x below"]
        LeakyRelu "leaky_relu" { alpha: f64 }
        #[doc = "1 / (1 + exp(-x))"]
        Sigmoid "sigmoid" {}
        #[doc = "tanh(x)"]
        Tanh "tanh" {}
        #[doc = "x Phi(x), by the error function"]
        Gelu "gelu" {}
        #[doc = "the tanh form of GELU"]
        GeluTanh "gelu_tanh" {}
        #[doc = "x sigmoid(x)"]
        Silu "silu" {}
        #[doc = "x max(0, min(1, x/6 + 1/2))"]
        HardSwish "hard_swish" {}
        #[doc = "max(0, min(1, alpha x + beta))"]
        HardSigmoid "hard_sigmoid" { alpha: f64, beta: f64 }
        #[doc = "ln(1 + exp(x))"]
        Softplus "softplus" {}
        #[doc = "min(max(x, low), high)"]
        Clip "clip" { low: f64, high: f64 }
        #[doc = "erf(x)"]
        Erf "erf" {}
        #[doc = "exp(x)"]
        Exp "exp" {}
        #[doc = "|x|"]
        Abs "abs" {}
        #[doc = "square root; x >= 0"]
        Sqrt "sqrt" {}
        #[doc = "1 / x; x != 0"]
        Reciprocal "reciprocal" {}
    }
}

impl Func {
    /// Value at `x`.
    pub fn eval(&self, x: f64) -> f64 {
        match *self {
            Func::Relu {} => x.max(0.0),
            Func::LeakyRelu { alpha } => {
                if x >= 0.0 {
                    x
                } else {
                    alpha * x
                }
            }
            Func::Sigmoid {} => sigmoid(x),
            Func::Tanh {} => libm::tanh(x),
            Func::Gelu {} => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Func::GeluTanh {} => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + libm::tanh(inner))
            }
            Func::Silu {} => x * sigmoid(x),
            Func::HardSwish {} => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Func::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            // ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|) does not overflow.
            Func::Softplus {} => x.max(0.0) + libm::log1p(libm::exp(-x.abs())),
            Func::Clip { low, high } => x.max(low).min(high),
            Func::Erf {} => libm::erf(x),
            Func::Exp {} => libm::exp(x),
            Func::Abs {} => x.abs(),
            Func::Sqrt {} => x.sqrt(),
            Func::Reciprocal {} => 1.0 / x,
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}
