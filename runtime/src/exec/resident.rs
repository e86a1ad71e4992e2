//! Resident memory of this process, as the system tells it, and its course during an evaluation.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::ring::BufferPool;

/// Time between two points of a course.
const INTERVAL: Duration = Duration::from_millis(5);

/// Bytes from which on a piece of memory is returned when it is freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_PIECE: i32 = 64 << 10;

/// Memory at one moment, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPoint {
    /// When, from the start of the evaluation.
    pub at: Duration,
    /// What the process has resident; 0 where the system does not tell.
    pub resident: u64,
    /// Buffers of polynomials, those of keys and plaintexts included.
    pub buffers: u64,
    /// Those of them that wait to be used again.
    pub idle: u64,
}

/// Memory that this process has resident, in bytes; `None` where the system does not tell.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    status("VmRSS:")
}

/// Most memory that this process has had resident, in bytes; `None` where the system does not tell.
#[must_use]
pub fn peak_resident_bytes() -> Option<u64> {
    status("VmHWM:")
}

/// Has the system's allocator return what is free, and from now on whatever is large as soon as it is freed. By itself it keeps
/// ever larger pieces for later, several times what is in use where constants are read and encoded all the time.
pub fn return_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: both may be called at any time from any thread; they change nothing that is in use.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_PIECE);
        libc::malloc_trim(0);
    }
}

/// The kibibytes that stand behind `name`, in bytes.
fn status(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Runs `work` and watches memory meanwhile, from another thread.
pub(super) fn watched<T>(pool: &BufferPool, start: Instant, work: impl FnOnce() -> T) -> (T, Vec<MemoryPoint>) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut course = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                course.push(MemoryPoint {
                    at: start.elapsed(),
                    resident: resident_bytes().unwrap_or(0),
                    buffers: pool.bytes() as u64,
                    idle: pool.idle_bytes() as u64,
                });
                std::thread::sleep(INTERVAL);
            }
            course
        });
        let result = work();
        ended.store(true, Ordering::Relaxed);
        (result, watcher.join().unwrap_or_default())
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted() {
        let (now, peak) = (resident_bytes().unwrap(), peak_resident_bytes().unwrap());
        assert!(now > 1 << 20 && now <= peak);
        let pool = BufferPool::default();
        let ((), course) = watched(&pool, Instant::now(), || {
            let mut buffer = pool.take(1 << 20);
            buffer.fill(1);
            std::thread::sleep(10 * INTERVAL);
        });
        let most = course.iter().map(|point| point.buffers).max().unwrap();
        assert!(most >= 8 << 20, "{course:?}");
        assert!(course.iter().all(|point| point.resident > 1 << 20));
    }
}
