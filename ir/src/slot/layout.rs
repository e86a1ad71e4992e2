//! Layouts: where the elements of a tensor live in ciphertext slots.
//!
//! A layout is an injective affine map from tensor index to address, `address = sum of digit * stride`, in the manner
//! of CuTe layouts (Shah et al., CUTLASS 3): every tensor axis is written in mixed radix, and every digit has a stride.
//! Address `a` is slot `a mod period` of ciphertext `a div period`; contents repeat with the period within a
//! ciphertext. A gap layout has strides above 1 in the spatial axes; a multiplexed layout (Lee et al., ICML 2022) puts
//! low digits of the channel into these gaps.

use crate::attr::Attr;
use crate::attr_enum;
use crate::text::{ParseError, Parser, Printer};

/// No layout may span more slots than this: 2^12 ciphertexts of 2^16 slots.
const MAX_ADDRESSES: usize = 1 << 28;

/// One digit of an axis in mixed radix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digit {
    /// Axis of the tensor.
    pub axis: usize,
    /// Number of values that the digit takes; at least 2.
    pub extent: usize,
    /// Slots between neighbours in this digit.
    pub stride: usize,
}

attr_enum! {
    /// What the slots hold that no tensor element is placed in.
    #[derive(Copy, Eq, Hash)]
    pub enum Unused {
        #[doc = "zero"]
        Zero "zero" {}
        #[doc = "anything of moderate size; must not be read"]
        Garbage "garbage" {}
    }
}

/// Placement of a tensor in slots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Shape of the tensor.
    pub shape: Vec<usize>,
    /// Slots per ciphertext, a power of two.
    pub slots: usize,
    /// Contents of a ciphertext repeat with this period, a power of two that divides `slots`; equal to `slots` when
    /// there are several ciphertexts.
    pub period: usize,
    /// Number of ciphertexts.
    pub cts: usize,
    /// Digits: by axis, most significant first within an axis. Axes of extent 1 have none.
    pub digits: Vec<Digit>,
    /// Contents of the other slots.
    pub unused: Unused,
}

impl Layout {
    /// Row-major placement of `shape` without gaps, in as many ciphertexts of `slots` slots as it takes, repeated with
    /// the smallest power-of-two period when it fits in one.
    pub fn dense(shape: &[usize], slots: usize) -> Self {
        let mut digits = Vec::new();
        let mut stride = 1;
        for (axis, &extent) in shape.iter().enumerate().rev() {
            if extent > 1 {
                digits.push(Digit { axis, extent, stride });
            }
            stride *= extent;
        }
        digits.reverse();
        Layout::with_digits(shape, slots, digits, Unused::Zero {})
    }

    /// The layout with these digits and the smallest period and number of ciphertexts that hold it.
    pub fn with_digits(shape: &[usize], slots: usize, digits: Vec<Digit>, unused: Unused) -> Self {
        let mut layout = Layout {
            shape: shape.to_vec(),
            slots,
            period: slots,
            cts: 1,
            digits,
            unused,
        };
        let end = layout.last_address() + 1;
        if end <= slots {
            layout.period = end.next_power_of_two();
        } else {
            layout.cts = end.div_ceil(slots);
        }
        layout
    }

    /// Layout of `n` tensors of this layout along a new first axis, in `slots` slots: sample `s` of what was in slot `i` is
    /// in slot `n i + s`. So a rotation by `r` becomes one by `n r`, and all else stays what it was.
    pub fn interleaved(&self, n: usize, slots: usize) -> Self {
        let sample = (n > 1).then_some(Digit {
            axis: 0,
            extent: n,
            stride: 1,
        });
        let moved = self.digits.iter().map(|digit| Digit {
            axis: digit.axis + 1,
            extent: digit.extent,
            stride: digit.stride * n,
        });
        Layout {
            shape: [&[n], self.shape.as_slice()].concat(),
            slots,
            period: self.period * n,
            cts: self.cts,
            digits: sample.into_iter().chain(moved).collect(),
            unused: self.unused,
        }
    }

    /// Number of elements of the tensor.
    pub fn n_elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Address of every element, in row-major order. O(elements).
    pub fn addresses(&self) -> Vec<u32> {
        let mut addresses = vec![0u32];
        for (axis, &extent) in self.shape.iter().enumerate() {
            let steps: Vec<u32> = (0..extent).map(|index| self.axis_address(axis, index) as u32).collect();
            addresses = addresses
                .iter()
                .flat_map(|base| steps.iter().map(move |step| base + step))
                .collect();
        }
        addresses
    }

    /// The largest address of an element. O(extents).
    pub fn last_address(&self) -> usize {
        let largest = |(axis, &extent): (usize, &usize)| (0..extent).map(|index| self.axis_address(axis, index)).max();
        self.shape.iter().enumerate().filter_map(largest).sum()
    }

    /// What index `index` of `axis` adds to the address.
    pub fn axis_address(&self, axis: usize, mut index: usize) -> usize {
        let mut address = 0;
        for digit in self.digits.iter().rev().filter(|digit| digit.axis == axis) {
            address += index % digit.extent * digit.stride;
            index /= digit.extent;
        }
        address
    }

    /// Whether every slot holds a tensor element.
    pub fn is_full(&self) -> bool {
        self.n_elements() == self.period * self.cts
    }

    /// Whether every digit steps over all that the digits of smaller strides span, so that no two elements can meet.
    fn is_nested(&self) -> bool {
        let mut digits: Vec<&Digit> = self.digits.iter().collect();
        digits.sort_unstable_by_key(|digit| digit.stride);
        let mut span = 1;
        digits.iter().all(|digit| {
            let is_clear = digit.stride >= span;
            span = span.saturating_add(digit.extent.saturating_sub(1).saturating_mul(digit.stride));
            is_clear
        })
    }

    /// Checks the layout against its documented invariants.
    ///
    /// # Errors
    /// What is violated.
    pub fn check(&self) -> Result<(), String> {
        if !self.slots.is_power_of_two() || !self.period.is_power_of_two() || self.period > self.slots {
            return Err(format!(
                "slots {} and period {} must be powers of two, the period not above the slots",
                self.slots, self.period
            ));
        }
        let n_elements = self
            .shape
            .iter()
            .try_fold(1usize, |product, &extent| product.checked_mul(extent));
        let capacity = self
            .period
            .checked_mul(self.cts)
            .filter(|&capacity| capacity <= MAX_ADDRESSES);
        let (Some(n_elements), Some(capacity)) = (n_elements, capacity) else {
            return Err("the layout is too large to address".into());
        };
        if self.cts == 0 || n_elements > capacity {
            return Err(format!(
                "{n_elements} elements do not fit in {} ciphertexts of period {}",
                self.cts, self.period
            ));
        }
        if self.cts > 1 && self.period != self.slots {
            return Err("several ciphertexts need a period equal to the slots".into());
        }
        for (axis, &extent) in self.shape.iter().enumerate() {
            let range = self
                .digits
                .iter()
                .filter(|digit| digit.axis == axis)
                .try_fold(1usize, |product, digit| product.checked_mul(digit.extent));
            if range.is_none_or(|range| range < extent) {
                return Err(format!("the digits of axis {axis} do not cover its extent {extent}"));
            }
        }
        if let Some(digit) = self
            .digits
            .iter()
            .find(|digit| digit.axis >= self.shape.len() || digit.stride >= capacity)
        {
            return Err(format!("digit {digit:?} is outside the tensor or the slots"));
        }
        if self.last_address() >= capacity {
            return Err(format!(
                "address {} is outside the {capacity} slots",
                self.last_address()
            ));
        }
        if self.is_nested() {
            return Ok(());
        }
        let mut taken = vec![false; capacity];
        for address in self.addresses() {
            if std::mem::replace(&mut taken[address as usize], true) {
                return Err(format!("two elements share address {address}"));
            }
        }
        Ok(())
    }
}

/// Printed `<[1,6,24,24] in 1 x 8192 / 8192 by [1:6*1024, 2:24*32, 3:24*1], zero>`: shape, ciphertexts x slots /
/// period, digits `axis:extent*stride`, unused slots.
impl Attr for Layout {
    fn print(&self, printer: &mut Printer) {
        printer.word("<");
        self.shape.print(printer);
        printer.word(&format!(" in {} x {} / {} by ", self.cts, self.slots, self.period));
        printer.list(&self.digits, |printer, digit| {
            printer.word(&format!("{}:{}*{}", digit.axis, digit.extent, digit.stride));
        });
        printer.word(", ");
        self.unused.print(printer);
        printer.word(">");
    }

    fn parse(parser: &mut Parser<'_>) -> Result<Self, ParseError> {
        let at = parser.position();
        parser.punct("<")?;
        let shape = Vec::parse(parser)?;
        parser.ident_is("in")?;
        let cts = parser.integer()?;
        parser.ident_is("x")?;
        let slots = parser.integer()?;
        parser.punct("/")?;
        let period = parser.integer()?;
        parser.ident_is("by")?;
        let digits = parser.list(|parser| {
            let axis = parser.integer()?;
            parser.punct(":")?;
            let extent = parser.integer()?;
            parser.punct("*")?;
            Ok(Digit {
                axis,
                extent,
                stride: parser.integer()?,
            })
        })?;
        parser.punct(",")?;
        let unused = Unused::parse(parser)?;
        parser.punct(">")?;
        let layout = Layout {
            shape,
            slots,
            period,
            cts,
            digits,
            unused,
        };
        layout.check().map_err(|message| ParseError::new(at, message))?;
        Ok(layout)
    }
}
