//! The ring itself: submissions go in, one system call a turn, completions come out.
//!
//! - **Limits**: what finds the submission queue full waits in `overflow`, in order; there is one entry for each operation
//!   in flight, so it is bounded as they are.
//! - **On failure**: EINTR, EBUSY, EAGAIN and ETIME of the system call mean another turn; any other answer is a broken
//!   invariant of ours.

use io_uring::{IoUring, squeue, types};
use std::{cell::RefCell, collections::VecDeque, time::Duration};

/// Submissions that belong together: linked ones must reach the kernel in one call.
pub(crate) enum Batch {
    One(squeue::Entry),
    Linked([squeue::Entry; 2]),
}

/// A completion, copied out of the ring.
#[derive(Clone, Copy)]
pub(crate) struct Completion {
    pub(crate) user_data: u64,
    pub(crate) result: i32,
    pub(crate) flags: u32,
}

impl Batch {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Batch::One(_) => 1,
            Batch::Linked(_) => 2,
        }
    }
}

/// How long a system call may wait, and for how many completions.
pub(crate) enum Wait {
    No,
    /// For one completion.
    Until(Option<Duration>),
    /// For so many, but no longer than that even if none came.
    Gather(usize, Duration),
}

pub(crate) struct Kernel {
    ring: RefCell<IoUring>,
    overflow: RefCell<VecDeque<Batch>>,
}

impl Kernel {
    pub(crate) fn new(ring: IoUring) -> Self {
        Self { ring: RefCell::new(ring), overflow: RefCell::default() }
    }

    /// Puts submissions into the queue, or behind those that wait for room in it.
    pub(crate) fn push(&self, batch: Batch) {
        let mut overflow = self.overflow.borrow_mut();
        if !overflow.is_empty() || !push_into(&mut self.ring.borrow_mut().submission(), &batch) {
            overflow.push_back(batch);
        }
    }

    /// Moves waiting submissions into the queue as far as it has room; whether some are left.
    fn refill(&self) -> bool {
        let mut overflow = self.overflow.borrow_mut();
        if overflow.is_empty() {
            return false;
        }
        let mut ring = self.ring.borrow_mut();
        let mut queue = ring.submission();
        while let Some(batch) = overflow.front() {
            if !push_into(&mut queue, batch) {
                return true;
            }
            overflow.pop_front();
        }
        false
    }

    /// Hands the queue to the kernel; waits for a completion if `wait` says so, at most that long. Whether there was
    /// anything to call for.
    pub(crate) fn enter(&self, wait: Wait) -> bool {
        let more = self.refill();
        let mut ring = self.ring.borrow_mut();
        let (want, limit) = match wait {
            Wait::No => (0, None),
            _ if more => (0, None),
            Wait::Until(limit) => (1, limit),
            Wait::Gather(completions, limit) => (completions, Some(limit)),
        };
        if want == 0 {
            let queue = ring.submission();
            if queue.is_empty() && !queue.taskrun() && !queue.cq_overflow() {
                return false;
            }
        }
        let result = match limit {
            None => ring.submit_and_wait(want),
            Some(limit) => {
                let limit = types::Timespec::from(limit);
                ring.submitter().submit_with_args(want, &types::SubmitArgs::new().timespec(&limit))
            }
        };
        match result.map_err(|error| error.raw_os_error()) {
            // EBUSY, EAGAIN: the kernel is out of room or memory until completions are reaped.
            Ok(_) | Err(Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
            Err(errno) => panic!("the kernel does not know our ring any more (error {errno:?})"),
        }
        true
    }

    /// Whether completions wait to be taken.
    pub(crate) fn has_completions(&self) -> bool {
        !self.ring.borrow_mut().completion().is_empty()
    }

    /// Takes all completions out of the ring.
    pub(crate) fn take_completions(&self, completions: &mut Vec<Completion>) {
        completions.extend(self.ring.borrow_mut().completion().map(|entry| Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
    }
}

fn push_into(queue: &mut squeue::SubmissionQueue<'_>, batch: &Batch) -> bool {
    // SAFETY: what the entries point to is kept by their slot (see `begin`), by `Core` (the bell), or is nothing.
    unsafe {
        match batch {
            Batch::One(entry) => queue.push(entry).is_ok(),
            Batch::Linked(entries) => queue.push_multiple(entries).is_ok(),
        }
    }
}
