//! The npy format, versions 1 to 3 (numpy.lib.format): a magic, a Python dictionary as text, the elements.
//!
//! Reads booleans, integers and floats of either byte order, row-major or Fortran order.

use super::Array;
use crate::FrontendError;
use crate::float::from_f16;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Headers longer than this are refused; numpy's own limit is 10,000 bytes.
const MAX_HEADER: usize = 1 << 16;

/// Integers beyond this do not fit the 53 bits of a double.
const MAX_INTEGER: u64 = 1 << 53;

/// How [`write_npy`] stores elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats, to which values are rounded.
    F32,
    /// 64-bit floats.
    F64,
}

/// Reads an npy file.
///
/// # Errors
/// When the bytes are no npy file, hold something else than real numbers, or are shorter or longer than the header
/// says.
pub fn read_npy(bytes: &[u8]) -> Result<Array, FrontendError> {
    parse(bytes).map_err(|message| FrontendError::array("npy", message))
}

/// An npy file of version 1, row-major.
///
/// # Panics
/// When the number of values is not the product of `shape`.
pub fn write_npy(shape: &[usize], values: &[f64], precision: Precision) -> Vec<u8> {
    assert_eq!(
        shape.iter().product::<usize>(),
        values.len(),
        "shape {shape:?} and value count differ"
    );
    let descr = match precision {
        Precision::F32 => "<f4",
        Precision::F64 => "<f8",
    };
    let extents: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({extents}), }}");
    // The elements begin at a multiple of 64 bytes.
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut out = [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
    for &value in values {
        match precision {
            Precision::F32 => out.extend_from_slice(&(value as f32).to_le_bytes()),
            Precision::F64 => out.extend_from_slice(&value.to_le_bytes()),
        }
    }
    out
}

fn parse(bytes: &[u8]) -> Result<Array, String> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("the file does not begin as npy files do")?;
    let (header_len, rest) = match rest {
        [1, 0, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, 0, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        [major, minor, ..] => return Err(format!("npy version {major}.{minor} is unknown")),
        _ => return Err("the file ends within its header".into()),
    };
    if header_len > MAX_HEADER {
        return Err(format!("a header of {header_len} bytes is longer than {MAX_HEADER}"));
    }
    let (header, data) = rest
        .split_at_checked(header_len)
        .ok_or("the file ends within its header")?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is no text")?;
    let header = Header::parse(header).map_err(|message| format!("header: {message}, in {}", header.trim_end()))?;
    let n_bytes = (header.shape.iter())
        .try_fold(header.element.size, |product, extent| product.checked_mul(*extent))
        .ok_or_else(|| format!("shape {:?} is too large", header.shape))?;
    if n_bytes != data.len() {
        return Err(format!(
            "shape {:?} needs {n_bytes} bytes of elements, the file has {}",
            header.shape,
            data.len()
        ));
    }
    let elements = data
        .chunks_exact(header.element.size)
        .map(|bytes| header.element.read(bytes));
    let values = elements.collect::<Result<Vec<f64>, _>>()?;
    let values = if header.fortran_order {
        to_row_major(&values, &header.shape)
    } else {
        values
    };
    Ok(Array {
        shape: header.shape,
        values,
    })
}

/// Reorders elements that are stored first index fastest.
fn to_row_major(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for extent in shape {
        strides.push(stride);
        stride *= extent;
    }
    let element = |index: usize| {
        let (mut rest, mut offset) = (index, 0);
        for (extent, stride) in shape.iter().zip(&strides).rev() {
            offset += rest % extent * stride;
            rest /= extent;
        }
        values[offset]
    };
    (0..values.len()).map(element).collect()
}

/// Type of the elements.
#[derive(Clone, Copy)]
struct Element {
    kind: u8,
    size: usize,
    big_endian: bool,
}

impl Element {
    fn parse(descr: &str) -> Result<Self, String> {
        let unsupported = || {
            format!(
                "element type '{descr}' is not supported; expected a real type such as '<f4', '<f8', '<i8' or '|u1'"
            )
        };
        let (&[order, kind, size], true) = (
            descr.as_bytes().first_chunk().ok_or_else(unsupported)?,
            descr.len() == 3,
        ) else {
            return Err(unsupported());
        };
        let element = Element {
            kind,
            size: usize::from(size.wrapping_sub(b'0')),
            big_endian: order == b'>',
        };
        match (order, kind, element.size) {
            (b'|', b'b' | b'i' | b'u', 1) => Ok(element),
            (b'<' | b'>', b'f', 2 | 4 | 8) | (b'<' | b'>', b'i' | b'u', 1 | 2 | 4 | 8) => Ok(element),
            _ => Err(unsupported()),
        }
    }

    /// The element in `bytes`, of which there are `size`.
    fn read(self, bytes: &[u8]) -> Result<f64, String> {
        let widen = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let bits = if self.big_endian {
            bytes.iter().fold(0, widen)
        } else {
            bytes.iter().rev().fold(0, widen)
        };
        let unused = 64 - 8 * self.size as u32;
        let signed = (bits << unused) as i64 >> unused;
        match (self.kind, self.size) {
            (b'f', 2) => Ok(from_f16(bits as u16).into()),
            (b'f', 4) => Ok(f32::from_bits(bits as u32).into()),
            (b'f', _) => Ok(f64::from_bits(bits)),
            (b'i', _) if signed.unsigned_abs() <= MAX_INTEGER => Ok(signed as f64),
            (b'b' | b'u', _) if bits <= MAX_INTEGER => Ok(bits as f64),
            _ => Err("an integer beyond 2^53 cannot be read without loss".into()),
        }
    }
}

struct Header {
    element: Element,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, keys in any order.
    fn parse(text: &str) -> Result<Self, String> {
        let (mut element, mut fortran_order, mut shape) = (None, None, None);
        let mut rest = strip(text, "{")?;
        while !rest.starts_with('}') {
            let (key, after) = string(rest)?;
            rest = strip(after, ":")?;
            match key {
                "descr" => {
                    let (descr, after) = string(rest).map_err(|_| "structured element types are not supported")?;
                    element = Some(Element::parse(descr)?);
                    rest = after;
                }
                "fortran_order" => {
                    let is_true = rest.starts_with("True");
                    rest = strip(rest, if is_true { "True" } else { "False" })?;
                    fortran_order = Some(is_true);
                }
                "shape" => {
                    let (extents, after) = tuple(rest)?;
                    shape = Some(extents);
                    rest = after;
                }
                _ => return Err(format!("unknown key '{key}'")),
            }
            rest = rest.strip_prefix(',').map_or(rest, str::trim_start);
        }
        Ok(Header {
            element: element.ok_or("'descr' is missing")?,
            fortran_order: fortran_order.ok_or("'fortran_order' is missing")?,
            shape: shape.ok_or("'shape' is missing")?,
        })
    }
}

/// What follows `token`, spaces skipped.
fn strip<'a>(text: &'a str, token: &str) -> Result<&'a str, String> {
    let rest = text
        .trim_start()
        .strip_prefix(token)
        .ok_or(format!("expected {token}"))?;
    Ok(rest.trim_start())
}

/// A quoted string, and what follows.
fn string(text: &str) -> Result<(&str, &str), String> {
    let quote = text
        .chars()
        .next()
        .filter(|c| matches!(c, '\'' | '"'))
        .ok_or("expected a string")?;
    let (inside, rest) = text[1..].split_once(quote).ok_or("a string does not end")?;
    Ok((inside, rest.trim_start()))
}

/// A tuple of extents, and what follows.
fn tuple(text: &str) -> Result<(Vec<usize>, &str), String> {
    let (inside, rest) = strip(text, "(")?.split_once(')').ok_or("a tuple does not end")?;
    let inside = inside.trim().trim_end_matches(',');
    let extent = |text: &str| {
        // Python 2 wrote long integers as 3L.
        let digits = text.trim().trim_end_matches('L');
        digits.parse::<usize>().map_err(|_| format!("`{text}` is no extent"))
    };
    let extents = if inside.is_empty() {
        vec![]
    } else {
        inside.split(',').map(extent).collect::<Result<_, _>>()?
    };
    Ok((extents, rest.trim_start()))
}
