//! Weights in files of their own.
//!
//! Ensures: only files in the model's folder or below are opened, symbolic links resolved, and only as many bytes are
//! read as the tensor needs and the file has.

use super::proto::StringStringEntryProto;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The `n_bytes` bytes that `entries` locate.
pub(super) fn read(
    entries: &[StringStringEntryProto],
    n_bytes: usize,
    base_dir: Option<&Path>,
) -> Result<Vec<u8>, String> {
    let entry = |key: &str| {
        let found = entries.iter().find(|entry| entry.key.as_deref() == Some(key))?;
        Some(found.value.as_deref().unwrap_or_default())
    };
    let number = |key: &str| match entry(key) {
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| format!("external data: `{text}` is no {key}")),
        None => Ok(None),
    };
    let location = entry("location").ok_or("external data: no location is given")?;
    let offset: u64 = number("offset")?.unwrap_or(0);
    if let Some(length) = number("length")?.filter(|length| *length != n_bytes as u64) {
        return Err(format!(
            "external data: {length} bytes are given, the shape needs {n_bytes}"
        ));
    }
    let base_dir = base_dir.ok_or("its data lie in a file of their own, and the model's folder is not known")?;
    let path = confine(base_dir, location)?;
    let failed = |error: std::io::Error| format!("external data: {}: {error}", path.display());
    let mut file = File::open(&path).map_err(failed)?;
    let file_len = file.metadata().map_err(failed)?.len();
    if offset.checked_add(n_bytes as u64).is_none_or(|end| end > file_len) {
        return Err(format!(
            "external data: {n_bytes} bytes at {offset} are needed, {} has {file_len}",
            path.display()
        ));
    }
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    let mut bytes = vec![0; n_bytes];
    file.read_exact(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The file `location` of folder `base_dir`.
fn confine(base_dir: &Path, location: &str) -> Result<PathBuf, String> {
    let relative = Path::new(location);
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    let outside = || format!("external data: `{location}` is not a path within the model's folder");
    if location.is_empty() || !relative.components().all(is_plain) {
        return Err(outside());
    }
    let base_dir = if base_dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        base_dir
    };
    let resolve = |path: &Path| {
        let failed = |error: std::io::Error| format!("external data: {}: {error}", path.display());
        path.canonicalize().map_err(failed)
    };
    let path = resolve(&base_dir.join(relative))?;
    if path.starts_with(resolve(base_dir)?) {
        Ok(path)
    } else {
        Err(outside())
    }
}
