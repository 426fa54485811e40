//! Receiving: one multishot operation a stream, and what it has brought.

use super::{StreamCore, UNREAD_MAX};
use crate::{buffers, chunk::Chunk, slot::Slot, trace::Kind};
use io_uring::{cqueue, opcode, types};
use std::{
    collections::VecDeque,
    io,
    os::fd::AsRawFd,
    rc::Rc,
    task::{Context, Poll, Waker},
};

pub(super) struct Receive {
    pub(super) unread: VecDeque<Chunk>,
    pub(super) multishot: Multishot,
    pub(super) ended: Option<Ended>,
    pub(super) waker: Option<Waker>,
    pub(super) dropped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Multishot {
    Idle,
    Armed(usize),
    /// Cancelled; its last completion is still to come.
    Ending,
    /// Ended for want of buffers; begins again when some are back.
    Starved,
}

#[derive(Clone, Copy)]
pub(super) enum Ended {
    Eof,
    Error(i32),
}

impl Receive {
    pub(super) fn take(&mut self) -> Option<io::Result<Chunk>> {
        if let Some(chunk) = self.unread.pop_front() {
            return Some(Ok(chunk));
        }
        match self.ended? {
            Ended::Eof => Some(Ok(Chunk::empty())),
            Ended::Error(errno) => Some(Err(io::Error::from_raw_os_error(errno))),
        }
    }
}

impl StreamCore {
    pub(super) fn poll_recv(self: &Rc<Self>, context: &mut Context<'_>) -> Poll<io::Result<Chunk>> {
        let mut receive = self.receive.borrow_mut();
        if let Some(result) = receive.take() {
            return Poll::Ready(result);
        }
        match &mut receive.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            waker => *waker = Some(context.waker().clone()),
        }
        if receive.multishot == Multishot::Idle {
            self.arm(&mut receive);
            // An arming that is refused has ended the stream.
            if let Some(result) = receive.take() {
                return Poll::Ready(result);
            }
        }
        Poll::Pending
    }

    pub(super) fn poll_rest(self: &Rc<Self>, context: &Context<'_>) -> Poll<()> {
        let mut receive = self.receive.borrow_mut();
        match receive.multishot {
            Multishot::Idle => return Poll::Ready(()),
            Multishot::Starved => {
                self.core.starved.borrow_mut().retain(|stream| !Rc::ptr_eq(stream, self));
                receive.multishot = Multishot::Idle;
                return Poll::Ready(());
            }
            Multishot::Armed(index) => {
                receive.multishot = Multishot::Ending;
                self.core.cancel(index);
            }
            Multishot::Ending => {}
        }
        receive.waker = Some(context.waker().clone());
        Poll::Pending
    }

    pub(super) fn arm(self: &Rc<Self>, receive: &mut Receive) {
        if !self.core.is_running() {
            receive.ended = Some(Ended::Error(libc::ECANCELED));
            return;
        }
        let fd = types::Fd(self.descriptor.as_raw_fd());
        let entry = opcode::RecvMulti::new(fd, buffers::GROUP).build();
        // SAFETY: no pointers (the buffers are the ring's); the slot holds this stream and so its descriptor.
        let index = unsafe {
            self.core.begin_multishot(entry, Kind::Recv, self.descriptor.id, Slot::Receive(self.clone()))
        };
        receive.multishot = Multishot::Armed(index);
    }

    /// A completion of the multishot receive.
    pub(crate) fn on_receive(self: &Rc<Self>, result: i32, flags: u32) {
        let chunk = cqueue::buffer_select(flags)
            .map(|id| Chunk::lease(&self.core, id, u32::try_from(result).unwrap_or(0)));
        let mut receive = self.receive.borrow_mut();
        let more = cqueue::more(flags);
        if !more {
            receive.multishot = Multishot::Idle;
        }
        if receive.dropped {
            return;
        }
        match result {
            1.. => {
                let mut chunk = chunk.expect("received bytes lie in a buffer");
                let hurried = receive.waker.is_none() && self.core.buffers.under_pressure();
                if hurried && chunk.move_to_heap() {
                    self.core.counters.spilled();
                }
                receive.unread.push_back(chunk);
                if (hurried || receive.unread.len() >= UNREAD_MAX)
                    && let Multishot::Armed(index) = receive.multishot
                {
                    receive.multishot = Multishot::Ending;
                    self.core.cancel(index);
                }
            }
            0 => receive.ended = Some(Ended::Eof),
            _ => self.on_error(&mut receive, -result),
        }
        if let Some(waker) = receive.waker.take() {
            drop(receive);
            waker.wake();
        }
    }

    pub(super) fn on_error(self: &Rc<Self>, receive: &mut Receive, errno: i32) {
        match errno {
            libc::ENOBUFS => {
                self.core.counters.enobufs();
                receive.multishot = Multishot::Starved;
                self.core.starved.borrow_mut().push_back(self.clone());
            }
            // Ended by us, or by the kernel for a passing reason: the reader, woken now, begins it again.
            libc::ECANCELED if self.core.is_running() => {}
            libc::EINTR | libc::EAGAIN => {}
            errno => receive.ended = Some(Ended::Error(errno)),
        }
    }

    /// Moves unread bytes to the heap, because no stream can receive without buffers.
    pub(crate) fn spill(&self) {
        for chunk in &mut self.receive.borrow_mut().unread {
            if chunk.move_to_heap() {
                self.core.counters.spilled();
            }
        }
    }

    /// Buffers are back after ENOBUFS.
    pub(crate) fn on_buffers_back(self: &Rc<Self>) {
        let mut receive = self.receive.borrow_mut();
        if receive.multishot == Multishot::Starved {
            receive.multishot = Multishot::Idle;
            // What is unread keeps buffers; the reader begins again when it has taken it.
            if !receive.dropped && receive.unread.is_empty() {
                self.arm(&mut receive);
            }
        }
    }
}
