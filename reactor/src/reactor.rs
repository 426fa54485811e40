//! The loop: run what can run, hand everything to the kernel in one call, reap what is done.
//!
//! - **Owns** the ring, the slots, the buffers, the tasks, the timers of one thread; all behind [`Core`], which every
//!   handle shares.
//! - `reactor/kernel.rs` has the ring itself, `reactor/pace.rs` the wait for company, `reactor/figures.rs` what is counted.
//! - A **turn**: ready tasks; then those that wait for the end of the turn; receives that starved; one system call,
//!   which blocks only if nothing can run; completions; the clock; timers; what other threads left.
//! - **Limits**: the tasks', the timers', and as many operations as there are tasks and connections.
//! - **On failure**: see `reactor/kernel.rs`. The end of a reactor waits for the kernel to give up every operation; a write to a
//!   disk that does not answer holds it up.

mod completion;
mod figures;
mod kernel;
mod pace;
mod submission;

pub use figures::Figures;

use self::{
    figures::{Counters, add},
    kernel::{Batch, Completion, Kernel, Wait},
    pace::Pace,
};
use crate::{
    buffers::Buffers,
    handle::Handle,
    local::Notify,
    remote::{Board, Remote},
    slot::Slot,
    start::{self, ReactorOptions, StartError},
    stream::StreamCore,
    task::{self, Tasks},
    time::{Moment, WallTime},
    timer::Wheel,
    trace::{Kind, Trace},
};
use io_uring::{opcode, types};
use rustix::time::{ClockId, clock_gettime};
use slab::Slab;
use std::{
    cell::{Cell, RefCell, UnsafeCell},
    collections::VecDeque,
    future::Future,
    io,
    pin::pin,
    rc::{Rc, Weak},
    time::Duration,
};

/// How long the end of a reactor waits for completions before it cancels again what may have been on its way.
const REAP_PATIENCE: Duration = Duration::from_millis(100);

const NANOS_PER_MS: u64 = 1_000_000;

/// What a completion's user data says: the class in the top byte, a number below.
const CLASS_SHIFT: u32 = 56;
const CLASS_SLOT: u64 = 0;
const CLASS_SLOT_SECOND: u64 = 1;
const CLASS_CANCEL: u64 = 2;
const CLASS_CLOSE: u64 = 3;
const CLASS_BELL: u64 = 4;

/// What the trace says of an operation.
#[derive(Clone, Copy)]
pub(crate) struct Note {
    pub(crate) kind: Kind,
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
}

/// Everything of one reactor; shared by all handles of its thread.
pub(crate) struct Core {
    // Dropped first: the kernel lets go of all memory before the buffers go.
    kernel: Kernel,
    pub(crate) buffers: Buffers,
    pub(crate) slots: RefCell<Slab<Slot>>,
    pub(crate) tasks: Tasks,
    pub(crate) timers: RefCell<Wheel>,
    pub(crate) counters: Counters,
    pub(crate) number: usize,
    pub(crate) woken: Notify,
    /// Streams whose receive found no buffer, in the order in which they starved.
    pub(crate) starved: RefCell<VecDeque<Rc<StreamCore>>>,
    /// All streams, to find those that keep buffers when there are none left.
    pub(crate) streams: RefCell<Slab<Weak<StreamCore>>>,
    board: &'static Board,
    reaped: RefCell<Vec<Completion>>,
    bell_count: Box<UnsafeCell<u64>>,
    trace: Option<RefCell<Trace>>,
    now: Cell<Moment>,
    wall: Cell<Option<WallTime>>,
    pace: Cell<Pace>,
    next_file: Cell<u64>,
    stage: Cell<Stage>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// New operations end at once with ECANCELED; cancels and closes still go through the ring.
    Stopping,
    /// The ring is at rest for ever.
    Stopped,
}

fn read_clock() -> Moment {
    let time = clock_gettime(ClockId::Monotonic);
    Moment::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

impl Core {
    fn start(options: ReactorOptions) -> Result<Rc<Core>, StartError> {
        let options = start::checked(options)?;
        if let Some(core) = options.core {
            start::pin(core)?;
            start::ask_for_short_slices();
        }
        let trace = match &options.trace {
            None => None,
            Some(path) => match Trace::create(path) {
                Ok(trace) => Some(RefCell::new(trace)),
                Err(error) => return Err(StartError::Trace(path.clone(), error)),
            },
        };
        let ring = start::set_up_ring(&options)?;
        let buffers = Buffers::new(options.buffer_count, options.buffer_bytes);
        buffers.register(&ring).map_err(start::explain_buffers)?;
        let (number, board) = Board::take()
            .map_err(|error| StartError::Other("create an event descriptor", error))?
            .ok_or(StartError::TooMany)?;
        let now = read_clock();
        let core = Rc::new(Core {
            kernel: Kernel::new(ring),
            buffers,
            slots: RefCell::default(),
            tasks: Tasks::new(number),
            timers: RefCell::new(Wheel::new(now.as_nanos() / NANOS_PER_MS)),
            counters: Counters::default(),
            number,
            woken: Notify::new(),
            starved: RefCell::default(),
            streams: RefCell::default(),
            board,
            reaped: RefCell::default(),
            bell_count: Box::new(UnsafeCell::new(0)),
            trace,
            now: Cell::new(now),
            wall: Cell::new(None),
            pace: Cell::default(),
            next_file: Cell::new(0),
            stage: Cell::new(Stage::Running),
        });
        core.listen_to_bell();
        Ok(core)
    }

    pub(crate) fn now(&self) -> Moment {
        self.now.get()
    }

    pub(crate) fn wall(&self) -> WallTime {
        self.wall.get().unwrap_or_else(|| {
            let time = clock_gettime(ClockId::Realtime);
            let wall = WallTime::from_micros(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000);
            self.wall.set(Some(wall));
            wall
        })
    }

    pub(crate) fn remote(&self) -> Remote {
        Remote { board: self.board }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.stage.get() == Stage::Running
    }

    pub(crate) fn next_file_id(&self) -> u64 {
        let id = self.next_file.get();
        self.next_file.set(id + 1);
        id
    }

    pub(crate) fn figures(&self) -> Figures {
        let counters = &self.counters;
        Figures {
            turns: counters.turns.get(),
            enters: counters.enters.get(),
            submissions: counters.submissions.get(),
            completions: counters.completions.get(),
            enobufs: counters.enobufs.get(),
            spilled: counters.spilled.get(),
            orphans: counters.orphans.get(),
            in_flight: counters.in_flight.get(),
            leased_buffers: u64::from(self.buffers.leased()),
            timers: self.timers.borrow().pending() as u64,
            trace_lost: self.trace.as_ref().map_or(0, |trace| trace.borrow().lost()),
        }
    }

    fn enter(&self, wait: Wait) {
        if self.kernel.enter(wait) {
            add(&self.counters.enters, 1);
        }
    }

    // The turn

    fn run<F: Future>(&self, root: F) -> F::Output {
        let _entered = task::enter(self);
        let mut root = pin!(root);
        loop {
            add(&self.counters.turns, 1);
            if let Some(output) = self.tasks.run_ready(root.as_mut()) {
                return output;
            }
            self.feed_starved();
            if let Some(trace) = &self.trace {
                trace.borrow_mut().flush();
            }
            self.hand_over();
            self.reap();
            self.tell_time();
            self.hear_others();
        }
    }

    /// The turn's system call: waits only if nothing can run here and nobody else has left anything.
    fn hand_over(&self) {
        if !self.tasks.is_idle() {
            return self.enter(Wait::No);
        }
        let bell = self.board.bell();
        bell.announce();
        if self.board.has_news() {
            self.enter(Wait::No);
        } else {
            match self.until_next_timer() {
                Some(Duration::ZERO) => self.enter(Wait::No),
                limit => self.wait(limit),
            }
        }
        bell.withdraw();
    }

    /// Waits until something happens or the next timer is due: for company first, while completions come fast.
    fn wait(&self, limit: Option<Duration>) {
        let short = |gather: Duration| limit.is_none_or(|limit| gather < limit);
        if let Some((completions, gather)) = self.pace.get().gather()
            && short(gather)
        {
            self.enter(Wait::Gather(completions, gather));
            if self.kernel.has_completions() {
                return;
            }
        }
        self.enter(Wait::Until(limit));
    }

    fn until_next_timer(&self) -> Option<Duration> {
        let next_ms = self.timers.borrow().next_ms()?;
        let now = read_clock();
        Some(Moment::from_nanos(next_ms.saturating_mul(NANOS_PER_MS)).since(now))
    }

    fn tell_time(&self) {
        let now = read_clock();
        self.now.set(now);
        self.wall.set(None);
        let mut pace = self.pace.get();
        pace.observe(now, self.counters.completions.get());
        self.pace.set(pace);
        let mut timers = self.timers.borrow_mut();
        if timers.pending() > 0 {
            // Wakers of this reactor's tasks touch the run queue only.
            timers.advance(now.as_nanos() / NANOS_PER_MS, std::task::Waker::wake);
        }
    }

    fn hear_others(&self) {
        while let Some(word) = self.board.next_task() {
            self.tasks.wake_word(word);
        }
        if self.board.take_overflow() {
            self.tasks.wake_all();
        }
        if self.board.take_woken() {
            self.woken.notify_all_or_next();
        }
    }

    /// Starts receives anew that had found no buffer, as many as there are buffers now.
    fn feed_starved(&self) {
        if self.starved.borrow().is_empty() {
            return;
        }
        if self.buffers.free() == 0 {
            self.streams
                .borrow()
                .iter()
                .filter_map(|(_, stream)| stream.upgrade())
                .for_each(|stream| stream.spill());
        }
        for _ in 0..self.buffers.free() {
            let Some(stream) = self.starved.borrow_mut().pop_front() else { break };
            stream.on_buffers_back();
        }
    }

    // The end

    /// Drops every task, cancels every operation and reaps every completion.
    fn stop(&self) {
        if self.stage.get() != Stage::Running {
            return;
        }
        let _entered = task::enter(self);
        self.stage.set(Stage::Stopping);
        self.tasks.clear();
        self.starved.take();
        while self.counters.in_flight.get() > 0 {
            let entry = opcode::AsyncCancel2::new(types::CancelBuilder::any().all()).build();
            self.push(Batch::One(entry.user_data(CLASS_CANCEL << CLASS_SHIFT)));
            // An operation on its way from one queue of the kernel to another may have been missed: when completions
            // stop coming, the rest is cancelled once more.
            let mut before = u64::MAX;
            while self.counters.in_flight.get() > 0 && self.counters.completions.get() != before {
                before = self.counters.completions.get();
                self.enter(Wait::Until(Some(REAP_PATIENCE)));
                self.reap();
            }
        }
        self.stage.set(Stage::Stopped);
        if let Some(trace) = &self.trace {
            trace.borrow_mut().flush();
        }
        self.board.release(self.number);
    }

    pub(crate) fn trace_open(&self, id: u64, path: &std::path::Path, direct: bool) {
        if let Some(trace) = &self.trace {
            trace.borrow_mut().open(id, path, direct);
        }
    }
}

/// The result of an operation as the standard library says it.
pub(crate) fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

/// The runtime of one thread.
///
/// ```no_run
/// use ringpost_reactor::{Reactor, ReactorOptions};
/// use std::time::Duration;
///
/// let reactor = Reactor::start(ReactorOptions::default())?;
/// let handle = reactor.handle();
/// reactor.run(async move { handle.sleep(Duration::from_millis(10)).await });
/// # Ok::<(), ringpost_reactor::StartError>(())
/// ```
pub struct Reactor {
    core: Rc<Core>,
}

impl Reactor {
    /// Sets up a ring for this thread, pins the thread if asked to, and checks that the kernel has what we need.
    ///
    /// Fails with an explanation for the operator; see [`StartError`].
    pub fn start(options: ReactorOptions) -> Result<Reactor, StartError> {
        Ok(Reactor { core: Core::start(options)? })
    }

    /// A handle for the tasks of this thread.
    pub fn handle(&self) -> Handle {
        Handle::new(self.core.clone())
    }

    /// A handle for other threads.
    pub fn remote(&self) -> Remote {
        self.core.remote()
    }

    /// Runs `root`, and the tasks that it spawns, until `root` ends. Then drops all tasks, cancels every operation,
    /// reaps every completion and closes what they held.
    ///
    /// Writes to files that are under way then may or may not happen: await them in `root`. Handles, streams and files
    /// that outlive this call only give errors.
    pub fn run<F: Future>(self, root: F) -> F::Output {
        // Ends in `drop`, also when a task panics.
        self.core.run(root)
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.core.stop();
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // A slot holds this core through its descriptor, so none can be left.
        assert!(self.slots.get_mut().is_empty() || std::thread::panicking(), "every slot was reaped");
    }
}
