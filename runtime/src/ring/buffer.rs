//! Cache-line aligned `u64` buffers and the pool that recycles them.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::{MmapMut, MmapOptions, UncheckedAdvice};

/// Alignment in bytes: one cache line, one 512-bit vector.
const ALIGNMENT: usize = 64;

/// The size of a large page. Polynomials are walked with large power-of-two strides; with small pages nearly every step of a
/// large transform misses the translation cache.
const LARGE_PAGE: usize = 2 << 20;
/// Buffers from this many bytes on ask for large pages.
const LARGE_BUFFER: usize = LARGE_PAGE / 2;

/// The end of a buffer asks for a large page if it fills this many bytes of it.
const LARGE_TAIL: usize = LARGE_PAGE / 4 * 3;

/// Large buffers start this many bytes apart from each other relative to a large page, an odd number of cache lines: sums of
/// products read the same place of many polynomials at once, and places a power of two apart would share cache sets.
const COLOUR_BYTES: usize = 4096 + 5 * ALIGNMENT;
/// How many different starts there are; together they span the sets of a second-level cache.
const COLOURS: usize = 32;
/// Large buffers made so far.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// An owned slice of `u64` that starts on a 64-byte boundary; a large one asks the system for large pages.
pub struct AlignedBuffer {
    start: NonNull<u64>,
    len: usize,
    /// Words that were allocated, at least `len`.
    capacity: usize,
    /// Words of memory that this takes once it was written, those of large pages before and after the buffer included.
    resident: usize,
    /// Where the memory is, if it is not from the allocator.
    mapping: Option<MmapMut>,
    /// Whether the mapping is one of a file.
    is_file: bool,
}

// SAFETY: the buffer owns its memory alone and hands out access by the usual borrow rules, as `Box<[u64]>` does.
unsafe impl Send for AlignedBuffer {}
// SAFETY: shared access only reads plain integers.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// `len` zeros. `len` must not be 0.
    pub fn zeroed(len: usize) -> Self {
        let layout = Self::layout(len);
        if let Some(buffer) = Self::mapped(len, layout.size()) {
            return buffer;
        }
        // SAFETY: the layout has a size above zero, as `layout` asserts.
        let raw = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(raw.cast::<u64>()) else {
            handle_alloc_error(layout)
        };
        Self {
            start,
            len,
            capacity: len,
            resident: len,
            mapping: None,
            is_file: false,
        }
    }

    /// Zeros in large pages, if the buffer is large and the system gives a mapping. Where it has no large pages to give, the
    /// mapping is as good as any other memory.
    fn mapped(len: usize, bytes: usize) -> Option<Self> {
        if bytes < LARGE_BUFFER {
            return None;
        }
        let colour = MADE.fetch_add(1, Ordering::Relaxed) % COLOURS * COLOUR_BYTES;
        let mut mapping = MmapMut::map_anon((colour + bytes).next_multiple_of(LARGE_PAGE) + LARGE_PAGE).ok()?;
        let aligned = mapping.as_ptr().align_offset(LARGE_PAGE);
        let mut resident = bytes;
        #[cfg(target_os = "linux")]
        {
            // The last large page only where little of it would be wasted: many buffers are kept, and few are round.
            let (whole, tail) = ((colour + bytes) / LARGE_PAGE, (colour + bytes) % LARGE_PAGE);
            let pages = whole + usize::from(tail >= LARGE_TAIL);
            if pages > 0 {
                let advice = memmap2::Advice::HugePage;
                mapping.advise_range(advice, aligned, pages * LARGE_PAGE).ok();
                resident = (colour + bytes).max(pages * LARGE_PAGE);
            }
        }
        let offset = aligned + colour;
        let start = NonNull::from(&mut mapping[offset..][..bytes]).cast::<u64>();
        Some(Self {
            start,
            len,
            capacity: len,
            resident: resident / size_of::<u64>(),
            mapping: Some(mapping),
            is_file: false,
        })
    }

    /// The `len` words (at least one) of a file from byte `offset` on, a multiple of the alignment; read when they are used, in the
    /// byte order of the machine. What is written to them stays in this process.
    ///
    /// Should the file be changed while it is mapped, the words may change with it; should it be cut short, the process is
    /// terminated by the system when it reads what is gone.
    ///
    /// # Errors
    /// When the file is shorter, or cannot be mapped.
    pub fn of_file(file: &File, offset: u64, len: usize) -> std::io::Result<Self> {
        let bytes = Self::layout(len).size();
        let end = offset.checked_add(bytes as u64);
        let is_short = end.is_none_or(|end| file.metadata().map_or(true, |data| data.len() < end));
        if is_short || !offset.is_multiple_of(ALIGNMENT as u64) {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: the mapping is private, so that this process alone writes to it. That the file may be changed by others is the
        // caller's to know; the words are plain integers, for which no value is invalid.
        let mut mapping = unsafe { MmapOptions::new().offset(offset).len(bytes).map_copy(file)? };
        Ok(Self {
            start: NonNull::from(&mut mapping[..]).cast::<u64>(),
            len,
            capacity: len,
            resident: len,
            mapping: Some(mapping),
            is_file: true,
        })
    }

    /// Whether the words are those of a file.
    pub fn is_file(&self) -> bool {
        self.is_file
    }

    /// Of words that are those of a file and were never written, returns the memory to the system: they are read again when they
    /// are used.
    pub(crate) fn release_pages(&self) {
        if let Some(mapping) = self.mapping.as_ref().filter(|_| self.is_file) {
            // SAFETY: the pages of a private mapping of a file that were not written come back from the file, with the same
            // words as before. Keys, whose pages these are, are only ever shared and never written.
            unsafe { mapping.unchecked_advise(UncheckedAdvice::DontNeed) }.ok();
        }
    }

    fn layout(len: usize) -> Layout {
        assert!(len > 0, "an aligned buffer holds at least one word");
        let bytes = len
            .checked_mul(size_of::<u64>())
            .expect("buffer size fits the address space");
        Layout::from_size_align(bytes, ALIGNMENT).expect("buffer size fits the address space")
    }
}

impl std::fmt::Debug for AlignedBuffer {
    /// The length only: the content may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AlignedBuffer")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if self.mapping.is_none() {
            // SAFETY: without a mapping, `start` came from `alloc_zeroed` with this same layout; it is freed once.
            unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.capacity)) }
        }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u64];
    fn deref(&self) -> &[u64] {
        // SAFETY: `start` points to at least `len` initialised words owned by self.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u64] {
        // SAFETY: `start` points to at least `len` initialised words owned by self, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

/// Recycles buffers, so that a running program stops allocating once it has reached its steady state.
///
/// Idle memory never exceeds the most that was in use at once, nor, with what is in use, the limit: beyond that, what waited
/// longest goes back to the system. So a program holds at most twice what it needs, whatever sizes it goes through. Counted is
/// the memory that buffers take, whole large pages.
///
/// A taken buffer holds what its last user left: callers overwrite it. Whoever keeps secrets in a buffer zeroises it first.
#[derive(Default)]
pub struct BufferPool {
    state: Mutex<PoolState>,
}

struct PoolState {
    /// Idle buffers by capacity, each with the number of its return, the latest last.
    free: BTreeMap<usize, VecDeque<(u64, AlignedBuffer)>>,
    /// Words idle, in use, and in use at most so far.
    idle: usize,
    used: usize,
    peak: usize,
    /// Most words, idle and in use, as long as any are idle.
    limit: usize,
    /// Buffers given back so far.
    returns: u64,
}

impl Default for PoolState {
    fn default() -> Self {
        Self {
            free: BTreeMap::new(),
            idle: 0,
            used: 0,
            peak: 0,
            limit: usize::MAX,
            returns: 0,
        }
    }
}

impl PoolState {
    fn add_used(&mut self, words: usize) {
        self.used += words;
        self.peak = self.peak.max(self.used);
    }

    /// The smallest idle buffer of at least `len` words that is at most twice too large; where a new one would exceed the limit,
    /// however large it is.
    fn fitting(&mut self, len: usize) -> Option<AlignedBuffer> {
        let is_full = self.idle + self.used + len > self.limit;
        let largest = if is_full { usize::MAX } else { 2 * len };
        let mut sizes = self.free.range_mut(len..=largest);
        let (_, buffer) = sizes.find_map(|(_, buffers)| buffers.pop_back())?;
        self.idle -= buffer.resident;
        Some(buffer)
    }

    /// The idle buffer that waited longest.
    fn oldest(&mut self) -> Option<AlignedBuffer> {
        let waiting = self.free.values_mut().filter(|buffers| !buffers.is_empty());
        let oldest = waiting.min_by_key(|buffers| buffers.front().map(|(number, _)| *number))?;
        let (_, buffer) = oldest.pop_front()?;
        self.idle -= buffer.resident;
        Some(buffer)
    }

    /// Idle buffers beyond the bounds, for the caller to drop once others can go on.
    fn surplus(&mut self) -> Vec<AlignedBuffer> {
        let mut surplus = Vec::new();
        while self.idle > self.peak.min(self.limit.saturating_sub(self.used)) {
            surplus.extend(self.oldest());
        }
        surplus
    }
}

impl BufferPool {
    /// A buffer of `len` words (at least one) with unspecified (initialised) content: the smallest idle one that is large
    /// enough and at most twice too large, so that levels share memory, or a new one. Where a new one would exceed the limit, an
    /// idle one may be as large as it likes.
    pub fn take(&self, len: usize) -> AlignedBuffer {
        let mut state = self.lock();
        let fitting = state.fitting(len);
        state.add_used(fitting.as_ref().map_or(len, |buffer| buffer.resident));
        let surplus = state.surplus();
        drop(state);
        drop(surplus);
        match fitting {
            Some(mut buffer) => {
                buffer.len = len;
                buffer
            }
            None => {
                let buffer = AlignedBuffer::zeroed(len);
                let beyond = buffer.resident - len;
                if beyond > 0 {
                    self.lock().add_used(beyond);
                }
                buffer
            }
        }
    }

    /// Gives back a buffer that was taken from here, or one of a file, which is closed.
    pub fn give(&self, buffer: AlignedBuffer) {
        if buffer.is_file {
            return;
        }
        let mut state = self.lock();
        let (words, number) = (buffer.resident, state.returns);
        state.returns += 1;
        state.used = state.used.saturating_sub(words);
        state.idle += words;
        state
            .free
            .entry(buffer.capacity)
            .or_default()
            .push_back((number, buffer));
        let surplus = state.surplus();
        drop(state);
        drop(surplus);
    }

    /// From now on, releases idle buffers rather than hold more than `bytes` in all. What is in use counts, and is never refused.
    pub fn set_limit(&self, bytes: usize) {
        let mut state = self.lock();
        state.limit = bytes / size_of::<u64>();
        let surplus = state.surplus();
        drop(state);
        drop(surplus);
    }

    /// Bytes of all buffers, in use or idle.
    pub fn bytes(&self) -> usize {
        let state = self.lock();
        (state.idle + state.used) * size_of::<u64>()
    }

    /// Bytes held for later use.
    pub fn idle_bytes(&self) -> usize {
        self.lock().idle * size_of::<u64>()
    }

    /// Returns all idle memory to the system.
    pub fn trim(&self) {
        let mut state = self.lock();
        state.idle = 0;
        let free = std::mem::take(&mut state.free);
        drop(state);
        drop(free);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, PoolState> {
        // A panic while the lock is held would leave counts that are off at worst: no critical section runs foreign code.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_zeroed_and_recycled() {
        let pool = BufferPool::default();
        let mut buffer = pool.take(1000);
        assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
        assert!(buffer.iter().all(|&x| x == 0));
        buffer[999] = 7;
        let address = buffer.as_ptr() as usize;
        pool.give(buffer);
        assert_eq!(pool.idle_bytes(), 8000);
        assert_ne!(pool.take(499).as_ptr() as usize, address);
        let mut again = pool.take(600);
        assert_eq!((again.as_ptr() as usize, again.len()), (address, 600));
        assert_eq!(pool.idle_bytes(), 0);
        again[0] = 1;
        pool.give(again);
        let again = pool.take(1000);
        assert_eq!((again.as_ptr() as usize, again[0], again[999]), (address, 1, 7));
        pool.give(again);
        pool.trim();
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn idle_memory_stays_below_the_most_in_use() {
        let pool = BufferPool::default();
        // three at once, then sizes that no idle buffer fits
        let three = [(); 3].map(|()| pool.take(100));
        three.into_iter().for_each(|buffer| pool.give(buffer));
        assert_eq!(pool.idle_bytes(), 2400);
        for len in [250, 30, 7, 120] {
            let buffer = pool.take(len);
            pool.give(buffer);
            assert!(
                pool.idle_bytes() <= 2400,
                "{} bytes after {len} words",
                pool.idle_bytes()
            );
        }
        // the last sizes are still there
        assert_eq!([7, 30, 120].map(|len| pool.take(len).capacity), [7, 30, 120]);
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn words_of_a_file_are_read_when_they_are_used() {
        let words: Vec<u64> = (0..3000).map(|i| i * 0x0123_4567_89ab).collect();
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        let mut buffer = AlignedBuffer::of_file(&file, 64, 2000).unwrap();
        assert_eq!(
            (buffer.as_ptr() as usize % ALIGNMENT, &buffer[..]),
            (0, &words[8..2008])
        );
        buffer.release_pages();
        assert_eq!(&buffer[..], &words[8..2008]);
        buffer[0] = 1;
        assert_eq!(AlignedBuffer::of_file(&file, 64, 1).unwrap()[0], words[8]);
        for (offset, len) in [(64, 2993), (8, 1), (u64::MAX - 63, 1)] {
            assert!(AlignedBuffer::of_file(&file, offset, len).is_err());
        }
        let pool = BufferPool::default();
        pool.give(buffer);
        assert_eq!((pool.bytes(), pool.idle_bytes()), (0, 0));
    }

    #[test]
    fn idle_buffers_make_room_within_the_limit() {
        let pool = BufferPool::default();
        let buffers = [1000, 3000, 9000].map(|len| pool.take(len));
        assert_eq!(pool.bytes(), 13_000 * 8);
        buffers.into_iter().for_each(|buffer| pool.give(buffer));
        assert_eq!(pool.idle_bytes(), 13_000 * 8);
        pool.set_limit(10_000 * 8);
        assert_eq!((pool.bytes(), pool.idle_bytes()), (9000 * 8, 9000 * 8));
        // Rather than a new one, which would not fit beside it.
        let larger = pool.take(3100);
        assert_eq!((larger.len(), pool.bytes(), pool.idle_bytes()), (3100, 9000 * 8, 0));
        let more = pool.take(7000);
        assert_eq!((pool.bytes(), pool.idle_bytes()), (16_000 * 8, 0));
        pool.give(more);
        assert_eq!((pool.bytes(), pool.idle_bytes()), (9000 * 8, 0));
        pool.give(larger);
        assert_eq!((pool.bytes(), pool.idle_bytes()), (9000 * 8, 9000 * 8));
    }

    #[test]
    fn large_buffers_are_zeroed_and_reach_to_their_end() {
        for len in [
            LARGE_BUFFER / 8 - 1,
            LARGE_BUFFER / 8,
            LARGE_PAGE / 8,
            LARGE_PAGE / 8 + 3,
        ] {
            let mut buffer = AlignedBuffer::zeroed(len);
            assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
            assert!(buffer.iter().all(|&x| x == 0));
            buffer.fill(u64::MAX);
            assert_eq!(buffer[len - 1], u64::MAX);
        }
    }
}
