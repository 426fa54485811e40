//! Operation slots: what the kernel is working on, and the memory that it works with.
//!
//! A slot owns everything that its operation points to and keeps the descriptor open, until the operation's last
//! completion. A future only refers to its slot; if it is dropped first, the slot becomes an *orphan* and frees itself.

use crate::{
    aligned::AlignedBuffer, listener::ListenerCore, reactor::Core, socket::RawAddress, stream::StreamCore,
    trace::Kind,
};
use bytes::Bytes;
use std::{
    future::Future,
    os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// An open descriptor of this reactor. It is closed when nobody holds it any more: neither a handle nor a slot.
pub(crate) struct Descriptor {
    raw: RawFd,
    /// The number by which the trace knows it; never used again.
    pub(crate) id: u64,
    core: Rc<Core>,
}

impl Descriptor {
    pub(crate) fn new(core: &Rc<Core>, fd: OwnedFd) -> Rc<Self> {
        Rc::new(Self { raw: fd.into_raw_fd(), id: core.next_file_id(), core: core.clone() })
    }

    /// Takes the descriptor out, if nobody else holds it.
    pub(crate) fn into_owned(this: Rc<Self>) -> Option<OwnedFd> {
        use std::os::fd::FromRawFd;
        let mut descriptor = Rc::try_unwrap(this).ok()?;
        let raw = std::mem::replace(&mut descriptor.raw, -1);
        // SAFETY: we owned it alone, and our `drop` leaves it now.
        Some(unsafe { OwnedFd::from_raw_fd(raw) })
    }

    pub(crate) fn borrow(&self) -> std::os::fd::BorrowedFd<'_> {
        // SAFETY: open as long as `self` lives.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(self.raw) }
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.raw
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if self.raw >= 0 {
            self.core.close(self.raw, self.id);
        }
    }
}

/// The memory that an operation works with.
pub(crate) enum Cargo {
    None,
    Bytes(Vec<u8>),
    Aligned(AlignedBuffer),
    #[expect(dead_code, reason = "only the kernel reads it")]
    Address(Box<RawAddress>),
    Pieces(Box<Pieces>),
    Datagram(Box<Datagram>),
}

/// A vectored send: the pieces, and the kernel's description of those still to be sent.
pub(crate) struct Pieces {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) vectors: Vec<libc::iovec>,
    pub(crate) header: libc::msghdr,
}

/// A datagram with its peer's address.
pub(crate) struct Datagram {
    pub(crate) bytes: Vec<u8>,
    pub(crate) address: RawAddress,
    pub(crate) vector: libc::iovec,
    pub(crate) header: libc::msghdr,
}

impl Cargo {
    /// The first bytes of what is sent, for the trace.
    pub(crate) fn text(&self, offset: usize) -> Option<&[u8]> {
        match self {
            Cargo::Bytes(bytes) => bytes.get(offset..),
            Cargo::Pieces(pieces) => pieces.vectors.first().map(|vector| {
                // SAFETY: the vector describes a part of one of `pieces`, which this cargo owns.
                unsafe { std::slice::from_raw_parts(vector.iov_base.cast::<u8>(), vector.iov_len) }
            }),
            Cargo::None | Cargo::Aligned(_) | Cargo::Address(_) | Cargo::Datagram(_) => None,
        }
    }
}

/// Who cares about a slot's completions.
pub(crate) enum Slot {
    /// One operation, or two linked ones, and a future.
    Once(Once),
    /// A multishot receive.
    Receive(Rc<StreamCore>),
    /// A multishot accept.
    Accept(Rc<ListenerCore>),
}

pub(crate) struct Once {
    pub(crate) cargo: Cargo,
    pub(crate) file: Rc<Descriptor>,
    pub(crate) kinds: [Kind; 2],
    pub(crate) results: [i32; 2],
    /// Completions still to come.
    pub(crate) outstanding: u8,
    pub(crate) orphan: bool,
    pub(crate) waker: Option<Waker>,
}

/// What becomes of an operation whose future is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfDropped {
    /// It is cancelled: nobody wants its result.
    Cancel,
    /// It runs to its end: a write to a file that was begun is finished.
    Finish,
}

/// The future of a slot: the results of its one or two operations, and the memory back.
#[must_use = "futures do nothing unless awaited"]
pub(crate) struct Operation<'a> {
    pub(crate) core: &'a Core,
    pub(crate) index: usize,
    pub(crate) if_dropped: IfDropped,
    pub(crate) finished: bool,
}

impl Future for Operation<'_> {
    type Output = ([i32; 2], Cargo);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.finished, "an operation is not polled after its end");
        let slot = {
            let mut slots = self.core.slots.borrow_mut();
            let Slot::Once(once) = &mut slots[self.index] else { unreachable!("the slot is ours") };
            if once.outstanding > 0 {
                match &mut once.waker {
                    Some(waker) if waker.will_wake(context.waker()) => {}
                    waker => *waker = Some(context.waker().clone()),
                }
                return Poll::Pending;
            }
            slots.remove(self.index)
        };
        self.finished = true;
        let Slot::Once(once) = slot else { unreachable!("the slot is ours") };
        Poll::Ready((once.results, once.cargo))
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let slot = {
            let mut slots = self.core.slots.borrow_mut();
            let Slot::Once(once) = &mut slots[self.index] else { unreachable!("the slot is ours") };
            if once.outstanding > 0 {
                once.orphan = true;
                once.waker = None;
                None
            } else {
                Some(slots.remove(self.index))
            }
        };
        if slot.is_none() {
            self.core.counters.orphan_made();
            if self.if_dropped == IfDropped::Cancel {
                self.core.cancel(self.index);
            }
        }
    }
}
