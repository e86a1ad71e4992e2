//! Cost tables: which prices a compilation uses, and where they come from.
//!
//! In order: the file that the caller names, the file that [`VARIABLE`] names, `aphelion/costs.json` in the user's folder of
//! settings, and without any of them the compiler's own table. `aphelion calibrate-machine` writes such files.

use std::path::{Path, PathBuf};

use aphelion_passes::cost_model::CostTable;
use aphelion_runtime::plan::CostTableId;

use super::error::{DriverError, Result};

/// Environment variable that names a cost table; empty, the compiler's own is used whatever lies in the user's folder.
pub const VARIABLE: &str = "APHELION_COST_TABLE";

/// The table in a file.
///
/// # Errors
/// When it cannot be read or holds no table.
pub fn load(file: &Path) -> Result<CostTable> {
    let text = std::fs::read_to_string(file).map_err(|source| DriverError::io(file, source))?;
    CostTable::from_json(&text).map_err(DriverError::in_file(file))
}

/// The table in `file`, or where there is none, the one that the environment leads to.
///
/// # Errors
/// As [`load`].
pub fn find(file: Option<&Path>) -> Result<CostTable> {
    let variable = std::env::var_os(VARIABLE).map(PathBuf::from);
    match (file, variable) {
        (Some(file), _) => load(file),
        (None, Some(file)) if file.as_os_str().is_empty() => Ok(CostTable::default()),
        (None, Some(file)) => load(&file),
        (None, None) => match default_path() {
            Some(file) if file.is_file() => load(&file),
            _ => Ok(CostTable::default()),
        },
    }
}

/// Where the table of this machine lies: `aphelion/costs.json` in `$XDG_CONFIG_HOME`, or else in `~/.config`. `None` where
/// the environment names neither.
#[must_use]
pub fn default_path() -> Option<PathBuf> {
    let folder = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let settings = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(settings.join("aphelion").join("costs.json"))
}

/// Which table this is, by the numbers in it; `None` for the compiler's own.
pub(super) fn identify(table: &CostTable) -> Option<CostTableId> {
    let text = serde_json::to_string(table).unwrap_or_default();
    (*table != CostTable::default()).then(|| CostTableId {
        source: table.source.clone(),
        hash: blake3::hash(text.as_bytes()).to_hex().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_known_by_their_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("costs.json");
        let mut table = CostTable {
            source: "elsewhere".into(),
            ..CostTable::default()
        };
        let write = |table: &CostTable| {
            std::fs::write(&path, serde_json::to_string_pretty(table).expect("JSON")).expect("written");
            identify(&find(Some(&path)).expect("a table"))
        };
        let first = write(&table).expect("it is not the compiler's own");
        assert_eq!((first.source.as_str(), first.hash.len()), ("elsewhere", 64));
        table.primitives[0].serial_share = 0.25;
        assert_ne!(write(&table).expect("still not").hash, first.hash);
        assert_eq!(write(&CostTable::default()), None);
        std::fs::write(&path, "{}").expect("written");
        let message = load(&path).unwrap_err().to_string();
        assert!(
            message.contains("costs.json") && message.contains("cost table"),
            "{message}"
        );
    }
}
