//! Received bytes on loan.

use crate::reactor::Core;
use std::{fmt, ops::Deref, rc::Rc};

/// Bytes that a stream has received; empty at the end of the stream.
///
/// They lie in one of the reactor's shared receive buffers, which goes back when the chunk is dropped. So take what you
/// need and drop it: do not hold a chunk while waiting for something else.
pub struct Chunk {
    lease: Lease,
}

enum Lease {
    Empty,
    Buffer { core: Rc<Core>, id: u16, len: u32 },
    Heap(Box<[u8]>),
}

impl Chunk {
    pub(crate) fn empty() -> Self {
        Self { lease: Lease::Empty }
    }

    /// Takes a buffer over that the kernel has filled with `len` bytes.
    pub(crate) fn lease(core: &Rc<Core>, id: u16, len: u32) -> Self {
        core.buffers.lease(id);
        Self { lease: Lease::Buffer { core: core.clone(), id, len } }
    }

    /// Bytes that came from another reactor.
    pub(crate) fn heap(bytes: Vec<u8>) -> Self {
        Self { lease: Lease::Heap(bytes.into()) }
    }

    /// Moves the bytes to the heap, so that the buffer goes back; whether there was a buffer.
    pub(crate) fn move_to_heap(&mut self) -> bool {
        if !matches!(self.lease, Lease::Buffer { .. }) {
            return false;
        }
        let heap = Lease::Heap((**self).into());
        drop(std::mem::replace(self, Self { lease: heap }));
        true
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.lease {
            Lease::Empty => &[],
            Lease::Buffer { core, id, len } => core.buffers.bytes(*id, *len),
            Lease::Heap(bytes) => bytes,
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if let Lease::Buffer { core, id, .. } = &self.lease {
            core.buffers.give_back(*id);
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.len())
    }
}
