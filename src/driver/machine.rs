//! Memory of the machine, as far as the system tells.

use aphelion_runtime::exec::resident::resident_bytes;

/// Part of the machine's memory that is left to others when nothing is said about memory: one over this.
const MARGIN_PART: u64 = 16;

/// Memory that the process may use without being in the way: what it has and what is free, minus a margin, within the limit
/// that its control group sets. `None` where the system does not tell.
#[must_use]
pub fn usable_memory_bytes() -> Option<u64> {
    let total = field("/proc/meminfo", "MemTotal:")?;
    let free = field("/proc/meminfo", "MemAvailable:")? + resident_bytes().unwrap_or(0);
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX);
    Some(
        free.saturating_sub(total / MARGIN_PART)
            .min(limit - limit / MARGIN_PART),
    )
}

/// The kibibytes that stand behind `name` in a file of the system, in bytes.
fn field(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted() {
        assert!(usable_memory_bytes().unwrap() > 0);
    }
}
