//! Facts about the machine and the process, as far as the system tells.

/// Part of the machine's memory that is left to others when nothing is said about memory: one over this.
const MARGIN_PART: u64 = 16;

/// Most memory that the process has used so far, in bytes; `None` where the system does not tell.
#[must_use]
pub fn peak_rss_bytes() -> Option<u64> {
    field("/proc/self/status", "VmHWM:")
}

/// Memory that the process uses now, in bytes; `None` where the system does not tell.
#[must_use]
pub fn rss_bytes() -> Option<u64> {
    field("/proc/self/status", "VmRSS:")
}

/// Memory that the process may use without being in the way: what it has and what is free, minus a margin, within the limit
/// that its control group sets. `None` where the system does not tell.
#[must_use]
pub fn usable_memory_bytes() -> Option<u64> {
    let total = field("/proc/meminfo", "MemTotal:")?;
    let free = field("/proc/meminfo", "MemAvailable:")? + rss_bytes().unwrap_or(0);
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
        let (now, peak) = (rss_bytes().unwrap(), peak_rss_bytes().unwrap());
        assert!(now > 1 << 20 && now <= peak);
        assert!(usable_memory_bytes().unwrap() > 0);
    }
}
