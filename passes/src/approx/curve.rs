//! What is known of a function before it is approximated: where it has kinks, which symmetry it has, and whether it is
//! a sum of absolute values.

use aphelion_ir::nn::Func;

/// Symmetry of a function about a centre c.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Symmetry {
    /// None that helps.
    None,
    /// f(c + u) - value is odd in u.
    Odd {
        /// c.
        center: f64,
        /// f(c).
        value: f64,
    },
    /// f(c + u) - slope u is even in u.
    Even {
        /// c.
        center: f64,
        /// The odd, linear part.
        slope: f64,
    },
}

/// A continuous piecewise linear function: offset + slope x + sum of weight |x - kink|.
#[derive(Debug, Clone, PartialEq)]
pub struct HingeForm {
    /// Constant part.
    pub offset: f64,
    /// Linear part.
    pub slope: f64,
    /// (kink, weight) of every absolute value.
    pub hinges: Vec<(f64, f64)>,
}

impl HingeForm {
    /// Value at `x`.
    pub fn eval(&self, x: f64) -> f64 {
        self.hinges
            .iter()
            .fold(self.offset + self.slope * x, |sum, (kink, weight)| {
                sum + weight * (x - kink).abs()
            })
    }
}

/// A function to approximate, with its known shape.
pub struct Curve {
    name: String,
    eval: Box<dyn Fn(f64) -> f64 + Send + Sync>,
    symmetry: Symmetry,
    kinks: Vec<f64>,
    hinge_form: Option<HingeForm>,
}

impl Curve {
    /// An element-wise function of the `nn` dialect.
    pub fn of(func: &Func) -> Self {
        let symmetry = symmetry_of(func);
        let hinge_form = hinge_form_of(func);
        let kinks = match (func, &hinge_form) {
            (Func::HardSwish {}, _) => vec![-3.0, 3.0],
            (_, Some(form)) => form.hinges.iter().map(|(kink, _)| *kink).collect(),
            _ => Vec::new(),
        };
        let name = format!("{func:?}");
        let func = func.clone();
        Self {
            name,
            eval: Box::new(move |x| func.eval(x)),
            symmetry,
            kinks,
            hinge_form,
        }
    }

    /// A function without kinks and without known symmetry.
    pub fn smooth(name: impl Into<String>, function: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Self {
        Self {
            name: name.into(),
            eval: Box::new(function),
            symmetry: Symmetry::None,
            kinks: Vec::new(),
            hinge_form: None,
        }
    }

    /// Name for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Value at `x`.
    pub fn eval(&self, x: f64) -> f64 {
        (self.eval)(x)
    }

    /// Symmetry, if one is known.
    pub fn symmetry(&self) -> Symmetry {
        self.symmetry
    }

    /// Where the derivative jumps, ascending.
    pub fn kinks(&self) -> &[f64] {
        &self.kinks
    }

    /// The function as a sum of absolute values, if it is piecewise linear.
    pub fn hinge_form(&self) -> Option<&HingeForm> {
        self.hinge_form.as_ref()
    }
}

fn symmetry_of(func: &Func) -> Symmetry {
    match *func {
        Func::Relu {} | Func::Gelu {} | Func::GeluTanh {} | Func::Silu {} | Func::HardSwish {} | Func::Softplus {} => {
            Symmetry::Even {
                center: 0.0,
                slope: 0.5,
            }
        }
        Func::LeakyRelu { alpha } => Symmetry::Even {
            center: 0.0,
            slope: 0.5 * (1.0 + alpha),
        },
        Func::Abs {} => Symmetry::Even {
            center: 0.0,
            slope: 0.0,
        },
        Func::Sigmoid {} => Symmetry::Odd {
            center: 0.0,
            value: 0.5,
        },
        Func::Tanh {} | Func::Erf {} => Symmetry::Odd {
            center: 0.0,
            value: 0.0,
        },
        Func::HardSigmoid { alpha, beta } if alpha != 0.0 => Symmetry::Odd {
            center: (0.5 - beta) / alpha,
            value: 0.5,
        },
        Func::Clip { low, high } if low.is_finite() && high.is_finite() && low < high => {
            let middle = 0.5 * (low + high);
            Symmetry::Odd {
                center: middle,
                value: middle,
            }
        }
        Func::Clip { low, high } if low < high => {
            // max(x, low) and min(x, high) are relu and its mirror image; an unbounded clip is the identity.
            let center = if low.is_finite() { low } else { high };
            if center.is_finite() {
                Symmetry::Even { center, slope: 0.5 }
            } else {
                Symmetry::None
            }
        }
        Func::HardSigmoid { .. } | Func::Clip { .. } | Func::Exp {} | Func::Sqrt {} | Func::Reciprocal {} => {
            Symmetry::None
        }
    }
}

fn hinge_form_of(func: &Func) -> Option<HingeForm> {
    let form = |offset, slope, hinges| Some(HingeForm { offset, slope, hinges });
    match *func {
        Func::Relu {} => form(0.0, 0.5, vec![(0.0, 0.5)]),
        Func::LeakyRelu { alpha } => form(0.0, 0.5 * (1.0 + alpha), vec![(0.0, 0.5 * (1.0 - alpha))]),
        Func::Abs {} => form(0.0, 0.0, vec![(0.0, 1.0)]),
        // min(max(x, low), high) = (low + high + |x - low| - |x - high|) / 2.
        Func::Clip { low, high } if low < high => match (low.is_finite(), high.is_finite()) {
            (true, true) => form(0.5 * (low + high), 0.0, vec![(low, 0.5), (high, -0.5)]),
            (true, false) => form(0.5 * low, 0.5, vec![(low, 0.5)]),
            (false, true) => form(0.5 * high, 0.5, vec![(high, -0.5)]),
            (false, false) => form(0.0, 1.0, Vec::new()),
        },
        Func::HardSigmoid { alpha, beta } if alpha > 0.0 => form(
            0.5,
            0.0,
            vec![(-beta / alpha, 0.5 * alpha), ((1.0 - beta) / alpha, -0.5 * alpha)],
        ),
        Func::Clip { .. }
        | Func::HardSigmoid { .. }
        | Func::Sigmoid {}
        | Func::Tanh {}
        | Func::Gelu {}
        | Func::GeluTanh {}
        | Func::Silu {}
        | Func::HardSwish {}
        | Func::Softplus {}
        | Func::Erf {}
        | Func::Exp {}
        | Func::Sqrt {}
        | Func::Reciprocal {} => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_func() -> impl Strategy<Value = Func> {
        prop_oneof![
            Just(Func::Relu {}),
            (-0.5..0.5f64).prop_map(|alpha| Func::LeakyRelu { alpha }),
            Just(Func::Sigmoid {}),
            Just(Func::Tanh {}),
            Just(Func::Gelu {}),
            Just(Func::GeluTanh {}),
            Just(Func::Silu {}),
            Just(Func::HardSwish {}),
            (0.05..0.5f64, 0.1..0.9f64).prop_map(|(alpha, beta)| Func::HardSigmoid { alpha, beta }),
            Just(Func::Softplus {}),
            (-3.0..0.0f64, 0.5..6.0f64).prop_map(|(low, high)| Func::Clip { low, high }),
            (-3.0..3.0f64).prop_map(|low| Func::Clip {
                low,
                high: f64::INFINITY
            }),
            (-3.0..3.0f64).prop_map(|high| Func::Clip {
                low: f64::NEG_INFINITY,
                high
            }),
            Just(Func::Erf {}),
            Just(Func::Abs {}),
        ]
    }

    proptest! {
        #[test]
        fn symmetry_and_hinge_form_are_true(func in any_func(), u in 0.0..12.0f64) {
            let curve = Curve::of(&func);
            match curve.symmetry() {
                Symmetry::None => prop_assert!(false, "{} has a symmetry", curve.name()),
                Symmetry::Odd { center, value } => {
                    let sum = curve.eval(center + u) + curve.eval(center - u) - 2.0 * value;
                    prop_assert!(sum.abs() < 1e-12, "{}: {sum}", curve.name());
                }
                Symmetry::Even { center, slope } => {
                    let difference = curve.eval(center + u) - curve.eval(center - u) - 2.0 * slope * u;
                    prop_assert!(difference.abs() < 1e-12, "{}: {difference}", curve.name());
                }
            }
            if let Some(form) = curve.hinge_form() {
                for x in [u, -u] {
                    prop_assert!((form.eval(x) - curve.eval(x)).abs() < 1e-12, "{} at {x}", curve.name());
                }
            }
        }
    }
}
