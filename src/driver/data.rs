//! Samples: arrays from npy and npz files, cut into one tensor per model input.

use std::ops::Range;
use std::path::Path;

use aphelion_frontend::data::{Array, Precision, load, write_npy};

use super::error::{DriverError, Result};

/// Names tried in an archive after the model's own input name.
const DEFAULT_NAMES: [&str; 1] = ["x"];

/// Row-major tensors, one per input of the model.
pub type Sample = Vec<Vec<f64>>;

/// Reads samples for inputs of the given names and shapes. Every spec is `FILE.npy`, `FILE.npz` or `FILE.npz:ARRAY`,
/// after `NAME=` where the model has several inputs. An array holds one tensor, or several along its first axis.
///
/// # Errors
/// When a file cannot be read, an input has no or two files, or an array does not hold tensors of the input's size or
/// holds NaN or an infinity.
pub fn load_samples(specs: &[String], inputs: &[(&str, &[usize])]) -> Result<Vec<Sample>> {
    let mut columns: Vec<Option<Vec<Vec<f64>>>> = vec![None; inputs.len()];
    for spec in specs {
        let named = inputs
            .iter()
            .position(|(name, _)| spec.starts_with(&format!("{name}=")));
        let (index, file) = match named {
            Some(index) => (index, &spec[inputs[index].0.len() + 1..]),
            None if inputs.len() == 1 => (0, spec.as_str()),
            None => {
                let names: Vec<_> = inputs.iter().map(|(name, _)| format!("{name}=FILE")).collect();
                let message = format!("`{spec}`: the model has several inputs, give {}", names.join(" and "));
                return Err(DriverError::BadInput(message));
            }
        };
        let (name, shape) = inputs[index];
        let names: Vec<&str> = std::iter::once(name).chain(DEFAULT_NAMES).collect();
        let rows = split(file, load(file, &names)?, shape)?;
        if columns[index].replace(rows).is_some() {
            return Err(DriverError::BadInput(format!("input `{name}` is given twice")));
        }
    }
    let mut rows = Vec::with_capacity(columns.len());
    for (column, (name, _)) in columns.into_iter().zip(inputs) {
        rows.push(column.ok_or_else(|| DriverError::BadInput(format!("no data for input `{name}`")))?);
    }
    let n_samples = rows.first().map_or(0, Vec::len);
    if let Some(index) = rows.iter().position(|column| column.len() != n_samples) {
        let message = format!(
            "input `{}` has {} samples, `{}` has {n_samples}",
            inputs[index].0,
            rows[index].len(),
            inputs[0].0
        );
        return Err(DriverError::BadInput(message));
    }
    let mut columns: Vec<_> = rows.into_iter().map(Vec::into_iter).collect();
    Ok((0..n_samples)
        .map(|_| columns.iter_mut().filter_map(Iterator::next).collect())
        .collect())
}

/// The tensors of an array: itself, or its parts along the first axis; equal element counts are reshaped.
fn split(file: &str, array: Array, shape: &[usize]) -> Result<Vec<Vec<f64>>> {
    let per_sample: usize = shape.iter().product();
    let per_row: usize = array.shape.iter().skip(1).product();
    if let Some(index) = array.values.iter().position(|value| !value.is_finite()) {
        let value = array.values[index];
        return Err(DriverError::BadInput(format!(
            "{file}: element {index} of the array of shape {:?} is {value}, which no model can take",
            array.shape
        )));
    }
    if array.values.len() == per_sample {
        Ok(vec![array.values])
    } else if per_row == per_sample && per_sample > 0 {
        Ok(array.values.chunks(per_sample).map(<[f64]>::to_vec).collect())
    } else {
        let hint = match shape {
            [batch @ (2..), rest @ ..] if array.shape.get(1..) == Some(rest) => format!(
                "; the model was exported for {batch} samples at once: export it with a batch of 1 or an open first dimension"
            ),
            _ => String::new(),
        };
        Err(DriverError::BadInput(format!(
            "{file}: an array of shape {:?} is neither one tensor of shape {shape:?} nor several along the first axis{hint}",
            array.shape
        )))
    }
}

/// Labels: one whole number per sample.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn load_labels(spec: &str) -> Result<Vec<usize>> {
    let array = load(spec, &["y", "labels"])?;
    let label = |value: &f64| (value.fract() == 0.0 && *value >= 0.0).then_some(*value as usize);
    let labels: Option<Vec<usize>> = array.values.iter().map(label).collect();
    labels.ok_or_else(|| DriverError::BadInput(format!("{spec}: labels must be whole numbers from 0 up")))
}

/// The rows `range` of some samples.
///
/// # Errors
/// When the range is empty or goes beyond the samples.
pub fn rows(mut samples: Vec<Sample>, range: &Range<usize>) -> Result<Vec<Sample>> {
    if range.is_empty() || range.end > samples.len() {
        let message = format!("rows {}..{} of {} samples", range.start, range.end, samples.len());
        return Err(DriverError::BadInput(message));
    }
    samples.truncate(range.end);
    Ok(samples.split_off(range.start))
}

/// Writes one output of all samples: shape [samples, shape..] without the model's batch dimension of extent 1.
///
/// # Errors
/// When the file cannot be written.
pub fn write_output(path: &Path, shape: &[usize], samples: &[&[f64]]) -> Result<()> {
    let inner = match shape {
        [1, rest @ ..] if !rest.is_empty() => rest,
        other => other,
    };
    let shape: Vec<usize> = std::iter::once(samples.len()).chain(inner.iter().copied()).collect();
    let bytes = write_npy(&shape, &samples.concat(), Precision::F64);
    std::fs::write(path, bytes).map_err(|source| DriverError::io(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &tempfile::TempDir, name: &str, shape: &[usize]) -> String {
        let values: Vec<f64> = (0..shape.iter().product()).map(|i: usize| i as f64).collect();
        let path = folder.path().join(name);
        std::fs::write(&path, write_npy(shape, &values, Precision::F64)).unwrap();
        path.display().to_string()
    }

    #[test]
    fn arrays_become_samples() {
        let folder = tempfile::tempdir().unwrap();
        let one = file(&folder, "one.npy", &[4]);
        let three = file(&folder, "three.npy", &[3, 4]);
        let inputs: [(&str, &[usize]); 1] = [("x", &[1, 2, 2])];
        let load = |spec: &str| load_samples(&[spec.to_string()], &inputs);
        assert_eq!(load(&one).unwrap(), [[[0.0, 1.0, 2.0, 3.0]]]);
        assert_eq!(load(&three).unwrap()[2], [[8.0, 9.0, 10.0, 11.0]]);
        assert_eq!(load(&format!("x={three}")).unwrap().len(), 3);
        let odd = file(&folder, "odd.npy", &[4, 3]);
        assert!(load(&odd).unwrap_err().to_string().contains("shape [4, 3]"));
        let batched = load_samples(std::slice::from_ref(&odd), &[("x", &[8, 3])])
            .unwrap_err()
            .to_string();
        assert!(batched.contains("exported for 8 samples"), "{batched}");
        assert_eq!(rows(load(&three).unwrap(), &(1..3)).unwrap()[0], [[4.0, 5.0, 6.0, 7.0]]);
        assert!(rows(load(&three).unwrap(), &(1..4)).is_err());
    }

    #[test]
    fn several_inputs_are_told_apart_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (file(&folder, "a.npy", &[2, 2]), file(&folder, "b.npy", &[2, 3]));
        let inputs: [(&str, &[usize]); 2] = [("a", &[2]), ("b", &[3])];
        let samples = load_samples(&[format!("b={b}"), format!("a={a}")], &inputs).unwrap();
        assert_eq!(samples[1], [vec![2.0, 3.0], vec![3.0, 4.0, 5.0]]);
        let error = |specs: &[String]| load_samples(specs, &inputs).unwrap_err().to_string();
        assert!(error(std::slice::from_ref(&a)).contains("a=FILE and b=FILE"));
        assert!(error(&[format!("a={a}")]).contains("no data for input `b`"));
        assert!(error(&[format!("a={a}"), format!("a={a}")]).contains("given twice"));
    }
}
