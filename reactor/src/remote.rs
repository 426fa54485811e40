//! How other threads reach a reactor: a board on which they leave task numbers, and a bell that ends its sleep.
//!
//! A waker is one word: the number of its reactor and of its task. A wake from the owning thread goes to the local run
//! queue; a wake from any other thread goes to the reactor's board here, and rings the bell only if the reactor has
//! announced that it is about to sleep. Boards live as long as the process and are used again by later reactors, so a
//! waker that outlives its reactor at worst causes one idle poll of somebody else's task.

use crate::sync::{AtomicBool, Ordering, fence};
use crossbeam_queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};
use std::{
    fmt, io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    sync::{Mutex, OnceLock},
};

/// Reactors that may live in one process at a time; the number must fit into 16 bits of a waker.
pub(crate) const REACTORS_MAX: usize = 1024;

/// Wake-ups by other threads that a board holds; when it is full the reactor polls all its tasks instead.
const BOARD_ENTRIES: usize = 1024;

static BOARDS: [OnceLock<Board>; REACTORS_MAX] = [const { OnceLock::new() }; REACTORS_MAX];
static FREE: Mutex<Vec<usize>> = Mutex::new(Vec::new());
static NEXT: Mutex<usize> = Mutex::new(0);

/// The announcement of sleep and the question whether to end it, apart from what is announced about.
pub(crate) struct Bell {
    asleep: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Self { asleep: AtomicBool::new(false) }
    }

    /// Sleeper: it will sleep unless a last look, after this call, finds something.
    pub(crate) fn announce(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `must_ring`: either the ringer sees the announcement, or our last look its message.
        fence(Ordering::SeqCst);
    }

    /// Sleeper: it is awake again.
    pub(crate) fn withdraw(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Ringer: after leaving a message, whether the sleeper has to be woken. Only one of many ringers is told so.
    pub(crate) fn must_ring(&self) -> bool {
        fence(Ordering::SeqCst);
        self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed)
    }
}

/// What other threads may touch of a reactor.
pub(crate) struct Board {
    tasks: ArrayQueue<u64>,
    overflowed: std::sync::atomic::AtomicBool,
    woken: std::sync::atomic::AtomicBool,
    bell: Bell,
    event: OwnedFd,
}

impl Board {
    fn new() -> io::Result<Self> {
        Ok(Self {
            tasks: ArrayQueue::new(BOARD_ENTRIES),
            overflowed: false.into(),
            woken: false.into(),
            bell: Bell::new(),
            event: eventfd(0, EventfdFlags::CLOEXEC)?,
        })
    }

    /// Takes an unused board for a reactor of this thread; `None` if all are taken.
    pub(crate) fn take() -> io::Result<Option<(usize, &'static Board)>> {
        let number = match FREE.lock().expect("no holder of this lock panics").pop() {
            Some(number) => number,
            None => {
                let mut next = NEXT.lock().expect("no holder of this lock panics");
                if *next == REACTORS_MAX {
                    return Ok(None);
                }
                let board = Board::new()?;
                assert!(BOARDS[*next].set(board).is_ok(), "a board is made once");
                *next += 1;
                *next - 1
            }
        };
        let board = BOARDS[number].get().expect("numbers are given out after their board was made");
        Ok(Some((number, board)))
    }

    /// Gives a board back at the end of its reactor.
    pub(crate) fn release(&self, number: usize) {
        while self.tasks.pop().is_some() {}
        FREE.lock().expect("no holder of this lock panics").push(number);
    }

    /// The descriptor that the reactor reads to hear the bell.
    pub(crate) fn event(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Reactor: whether somebody left something.
    pub(crate) fn has_news(&self) -> bool {
        !self.tasks.is_empty()
            || self.overflowed.load(std::sync::atomic::Ordering::Acquire)
            || self.woken.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Reactor: the next task that another thread woke.
    pub(crate) fn next_task(&self) -> Option<u64> {
        self.tasks.pop()
    }

    /// Reactor: whether wake-ups found no room since the last call, so that every task must be polled.
    pub(crate) fn take_overflow(&self) -> bool {
        self.overflowed.load(std::sync::atomic::Ordering::Relaxed)
            && self.overflowed.swap(false, std::sync::atomic::Ordering::AcqRel)
    }

    /// Reactor: whether [`Remote::wake`] was called since the last call.
    pub(crate) fn take_woken(&self) -> bool {
        self.woken.load(std::sync::atomic::Ordering::Relaxed)
            && self.woken.swap(false, std::sync::atomic::Ordering::AcqRel)
    }

    fn ring(&self) {
        if self.bell.must_ring() {
            // The counter cannot overflow: one write for each announcement of sleep.
            let written = rustix::io::write(&self.event, &1u64.to_ne_bytes());
            assert_eq!(written, Ok(8), "an event descriptor takes eight bytes");
        }
    }
}

/// Any thread: wakes a task of reactor `number`.
pub(crate) fn wake_task(number: usize, task: u64) {
    let board = BOARDS[number].get().expect("wakers are made after their board");
    if board.tasks.push(task).is_err() {
        board.overflowed.store(true, std::sync::atomic::Ordering::Release);
    }
    board.ring();
}

/// Wakes a reactor from other threads.
#[derive(Clone, Copy)]
pub struct Remote {
    pub(crate) board: &'static Board,
}

impl Remote {
    /// Makes the reactor take a turn and resolves its [`Handle::woken`](crate::Handle::woken) futures.
    ///
    /// After the reactor's end this has no effect, or wakes a later reactor for one idle turn.
    pub fn wake(&self) {
        self.board.woken.store(true, std::sync::atomic::Ordering::Release);
        self.board.ring();
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.board.event())
    }
}

#[cfg(all(test, loom))]
#[allow(clippy::unwrap_used)]
mod model {
    use super::*;
    use loom::sync::{Arc, Condvar, Mutex, atomic::AtomicUsize};

    /// The sleeper blocks on a counter, as on an event descriptor; a lost wake-up is a deadlock, which loom reports.
    #[test]
    fn a_message_left_while_the_sleeper_dozes_off_wakes_it() {
        loom::model(|| {
            let shared = Arc::new((Bell::new(), AtomicUsize::new(0), Mutex::new(0u64), Condvar::new()));
            let ringers: Vec<_> = (0..2)
                .map(|_| {
                    let shared = shared.clone();
                    loom::thread::spawn(move || {
                        let (bell, messages, event, condition) = &*shared;
                        messages.fetch_add(1, Ordering::Release);
                        if bell.must_ring() {
                            *event.lock().unwrap() += 1;
                            condition.notify_one();
                        }
                    })
                })
                .collect();
            let (bell, messages, event, condition) = &*shared;
            while messages.load(Ordering::Acquire) < 2 {
                bell.announce();
                let seen = messages.load(Ordering::Acquire);
                if seen < 2 {
                    let mut count = event.lock().unwrap();
                    while *count == 0 {
                        count = condition.wait(count).unwrap();
                    }
                    *count = 0;
                }
                bell.withdraw();
            }
            for ringer in ringers {
                ringer.join().unwrap();
            }
        });
    }
}
