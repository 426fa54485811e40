//! A growable byte buffer whose memory starts on a 4 KiB border, as `O_DIRECT` wants it.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    fmt,
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
};

/// Alignment of the memory and of every capacity: the largest logical block size of the disks we know.
pub const ALIGNMENT: usize = 4096;

/// Bytes in memory aligned to 4 KiB, with a capacity that is a multiple of 4 KiB.
///
/// Grows by doubling when bytes are appended. Contents beyond `len()` are unspecified but always initialised.
pub struct AlignedBuffer {
    start: NonNull<u8>,
    len: usize,
    capacity: usize,
}

// SAFETY: the buffer owns its memory alone, like a `Vec<u8>`.
unsafe impl Send for AlignedBuffer {}
// SAFETY: shared references only read.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// An empty buffer that owns no memory yet.
    pub const fn new() -> Self {
        Self { start: NonNull::dangling(), len: 0, capacity: 0 }
    }

    /// An empty buffer with room for at least `bytes`, rounded up to 4 KiB.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = Self::new();
        buffer.reserve(bytes);
        buffer
    }

    /// A buffer of `bytes` zeros.
    pub fn zeroed(bytes: usize) -> Self {
        let mut buffer = Self::with_capacity(bytes);
        buffer.resize(bytes, 0);
        buffer
    }

    /// Bytes that fit without growing; a multiple of 4 KiB.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Makes room for `more` bytes beyond the present length.
    pub fn reserve(&mut self, more: usize) {
        let wanted = self.len.checked_add(more).expect("a buffer stays below the address space");
        if wanted > self.capacity {
            self.grow(wanted.max(self.capacity * 2));
        }
    }

    /// Appends `bytes`.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        // SAFETY: `reserve` made room behind `len`, and `bytes` cannot overlap memory that we borrow mutably.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().add(self.len), bytes.len()) };
        self.len += bytes.len();
    }

    /// Forgets the contents; the memory stays.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Shortens to `len` bytes; no effect if it is shorter already.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Sets the length to `len`; new bytes have the value `fill`.
    pub fn resize(&mut self, len: usize, fill: u8) {
        if len > self.len {
            self.reserve(len - self.len);
            // SAFETY: `reserve` made room for `len` bytes.
            unsafe { ptr::write_bytes(self.start.as_ptr().add(self.len), fill, len - self.len) };
        }
        self.len = len;
    }

    /// Appends zeros until the length is a multiple of `multiple`.
    ///
    /// Panics if `multiple` is zero.
    pub fn pad_to(&mut self, multiple: usize) {
        self.resize(self.len.next_multiple_of(multiple), 0);
    }

    /// The first byte's address, for the kernel.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Declares that the kernel has filled the first `len` bytes.
    pub(crate) fn set_len(&mut self, len: usize) {
        assert!(len <= self.capacity, "a read cannot fill more than the buffer holds");
        self.len = len;
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, ALIGNMENT).expect("a buffer stays below the address space")
    }

    fn grow(&mut self, wanted: usize) {
        let capacity = wanted.next_multiple_of(ALIGNMENT);
        let layout = Self::layout(capacity);
        // SAFETY: `capacity` is not zero, because `wanted` exceeds the old capacity.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        // SAFETY: both regions hold `len` bytes and do not overlap.
        unsafe { ptr::copy_nonoverlapping(self.start.as_ptr(), start.as_ptr(), self.len) };
        self.free();
        self.start = start;
        self.capacity = capacity;
    }

    fn free(&mut self) {
        if self.capacity > 0 {
            // SAFETY: allocated by `grow` with the same layout, and not used again.
            unsafe { dealloc(self.start.as_ptr(), Self::layout(self.capacity)) };
        }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        self.free();
    }
}

impl Default for AlignedBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are ours and initialised.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `deref`, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuffer({} of {} bytes)", self.len, self.capacity)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn grows_keeps_its_bytes_and_stays_aligned() {
        let mut buffer = AlignedBuffer::new();
        let mut model = Vec::new();
        for round in 0..2000u32 {
            buffer.extend_from_slice(&round.to_le_bytes());
            model.extend_from_slice(&round.to_le_bytes());
        }
        assert_eq!(&buffer[..], &model[..]);
        assert_eq!(buffer.as_mut_ptr() as usize % ALIGNMENT, 0);
        assert_eq!(buffer.capacity() % ALIGNMENT, 0);
    }

    #[test]
    fn padding_is_zero_and_reaches_the_multiple() {
        let mut buffer = AlignedBuffer::with_capacity(1);
        buffer.resize(4096, 0xff);
        buffer.clear();
        buffer.extend_from_slice(b"abc");
        buffer.pad_to(4096);
        assert_eq!(buffer.len(), 4096);
        assert_eq!(&buffer[..3], b"abc");
        assert!(buffer[3..].iter().all(|&byte| byte == 0));
        buffer.pad_to(4096);
        assert_eq!(buffer.len(), 4096);
    }
}
