//! The receive buffers that all streams of a reactor share, on loan to the kernel through a provided-buffer ring.
//!
//! - **Owns** one block of memory cut into equal buffers, and the ring by which the kernel takes them.
//! - A buffer is *free* (the kernel may fill it) or *leased* (it holds bytes of a [`Chunk`](crate::Chunk)). An idle
//!   connection holds none.
//! - **Limits**: as many buffers as the options say. When few are left, bytes that no task waits for are copied to the
//!   heap (see `stream.rs`), so streams that nobody reads cannot starve the others.

use crate::aligned::AlignedBuffer;
use io_uring::{IoUring, types::BufRingEntry};
use std::{
    cell::{Cell, UnsafeCell},
    io,
    sync::atomic::{AtomicU16, Ordering},
};

/// The buffer group of all receives.
pub(crate) const GROUP: u16 = 0;

pub(crate) struct Buffers {
    ring: UnsafeCell<AlignedBuffer>,
    memory: UnsafeCell<AlignedBuffer>,
    count: u16,
    bytes_each: u32,
    tail: Cell<u16>,
    free: Cell<u16>,
}

impl Buffers {
    /// Memory for `count` buffers (a power of two, at most 32,768), not yet known to the kernel.
    pub(crate) fn new(count: u16, bytes_each: u32) -> Self {
        assert!(count.is_power_of_two(), "checked with the options");
        let ring = AlignedBuffer::zeroed(usize::from(count) * size_of::<BufRingEntry>());
        let memory = AlignedBuffer::with_capacity(usize::from(count) * bytes_each as usize);
        Self {
            ring: UnsafeCell::new(ring),
            memory: UnsafeCell::new(memory),
            count,
            bytes_each,
            tail: Cell::new(0),
            free: Cell::new(0),
        }
    }

    /// Makes the ring known to the kernel and gives it all buffers.
    pub(crate) fn register(&self, ring: &IoUring) -> io::Result<()> {
        // SAFETY: the memory is page-aligned, holds `count` entries, and lives until the ring is closed: `Core` drops
        // its ring before its buffers.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(self.entries() as u64, self.count, GROUP, 0)?
        };
        for id in 0..self.count {
            self.give_back(id);
        }
        Ok(())
    }

    /// Buffers that the kernel may fill.
    pub(crate) fn free(&self) -> u16 {
        self.free.get()
    }

    /// Buffers that hold bytes.
    pub(crate) fn leased(&self) -> u16 {
        self.count - self.free.get()
    }

    /// Whether so few buffers are left that unread bytes have to move to the heap.
    pub(crate) fn under_pressure(&self) -> bool {
        self.free.get() < self.count / 4
    }

    /// Notes that the kernel has filled a buffer.
    pub(crate) fn lease(&self, id: u16) {
        assert!(id < self.count && self.free.get() > 0, "the kernel fills only buffers that it was given");
        self.free.set(self.free.get() - 1);
    }

    /// The first `len` bytes of a leased buffer.
    pub(crate) fn bytes(&self, id: u16, len: u32) -> &[u8] {
        assert!(id < self.count && len <= self.bytes_each, "a lease lies within the memory");
        // SAFETY: in bounds, initialised (the memory was allocated as zeros), and not written by the kernel while it
        // is leased; the borrow of `self` keeps the memory.
        unsafe { std::slice::from_raw_parts(self.start(id), len as usize) }
    }

    /// Returns a buffer to the kernel.
    pub(crate) fn give_back(&self, id: u16) {
        let (tail, mask) = (self.tail.get(), self.count - 1);
        // SAFETY: the entry lies within the ring's memory; the kernel reads it only after the tail has moved past it,
        // and this thread alone writes.
        unsafe {
            let entry = &mut *self.entries().add(usize::from(tail & mask));
            entry.set_addr(self.start(id) as u64);
            entry.set_len(self.bytes_each);
            entry.set_bid(id);
            let shared_tail = BufRingEntry::tail(self.entries()).cast_mut();
            // Release: the kernel that sees the new tail sees the entry.
            AtomicU16::from_ptr(shared_tail).store(tail.wrapping_add(1), Ordering::Release);
        }
        self.tail.set(tail.wrapping_add(1));
        self.free.set(self.free.get() + 1);
    }

    fn entries(&self) -> *mut BufRingEntry {
        // SAFETY: no reference into the buffer outlives a call.
        unsafe { (*self.ring.get()).as_mut_ptr().cast() }
    }

    fn start(&self, id: u16) -> *mut u8 {
        // SAFETY: `id` is below `count`, so the address lies within the memory.
        unsafe { (*self.memory.get()).as_mut_ptr().add(usize::from(id) * self.bytes_each as usize) }
    }
}
