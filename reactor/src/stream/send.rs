//! Sending: one send at a time, and the pieces of a vectored one.

use super::Sending;
use crate::{reactor::outcome, slot::Pieces};
use bytes::Bytes;
use std::{cell::Cell, io, mem::MaybeUninit, ptr};

/// Pieces of one vectored send that the kernel takes at once (its IOV_MAX).
const VECTORS_MAX: usize = 1024;

pub(super) fn sent_some(result: i32) -> io::Result<usize> {
    match outcome(result)? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

/// Marks a send as under way, and as abandoned if it is dropped before it has finished.
pub(super) struct SendGuard<'a>(&'a Cell<Sending>);

impl<'a> SendGuard<'a> {
    pub(super) fn begin(sending: &'a Cell<Sending>) -> io::Result<Self> {
        match sending.get() {
            Sending::Idle => {
                sending.set(Sending::Busy);
                Ok(Self(sending))
            }
            Sending::Busy => panic!("a stream has one sender at a time"),
            Sending::Abandoned => {
                Err(io::Error::new(io::ErrorKind::BrokenPipe, "an earlier send was given up halfway"))
            }
        }
    }

    pub(super) fn finish(self) {
        self.0.set(Sending::Idle);
    }
}

impl Drop for SendGuard<'_> {
    fn drop(&mut self) {
        if self.0.get() == Sending::Busy {
            self.0.set(Sending::Abandoned);
        }
    }
}

impl Pieces {
    pub(super) fn new(pieces: Vec<Bytes>) -> Self {
        // SAFETY: all zeros is a valid message header that describes nothing.
        let header = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
        Self { vectors: Vec::with_capacity(pieces.len().min(VECTORS_MAX)), pieces, header }
    }

    /// Describes what is left from `offset` of piece `first` on, as far as one call takes it; how many bytes that is.
    pub(super) fn describe(&mut self, first: usize, offset: usize) -> usize {
        self.vectors.clear();
        let mut skip = offset;
        for piece in &self.pieces[first..] {
            if self.vectors.len() == VECTORS_MAX {
                break;
            }
            let rest = &piece[skip..];
            skip = 0;
            if !rest.is_empty() {
                self.vectors
                    .push(libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() });
            }
        }
        self.header.msg_iov =
            if self.vectors.is_empty() { ptr::null_mut() } else { self.vectors.as_mut_ptr() };
        self.header.msg_iovlen = self.vectors.len();
        self.vectors.iter().map(|vector| vector.iov_len).sum()
    }

    /// Where the rest begins after `sent` more bytes.
    pub(super) fn skip(&self, mut piece: usize, mut offset: usize, mut sent: usize) -> (usize, usize) {
        while sent > 0 {
            let rest = self.pieces[piece].len() - offset;
            if sent < rest {
                return (piece, offset + sent);
            }
            sent -= rest;
            offset = 0;
            piece += 1;
        }
        (piece, offset)
    }
}
