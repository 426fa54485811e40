//! Tasks and their wakers: one thread, no allocation but the task itself, one word a waker.

use crate::{
    reactor::Core,
    remote::{self, REACTORS_MAX},
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::Future,
    mem::ManuallyDrop,
    pin::Pin,
    ptr,
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("a waker's word needs 64 bits");

/// Tasks of one reactor, alive at the same time; their number must fit into 24 bits of a waker.
const TASKS_MAX: u32 = (1 << 24) - 1;

/// Polls in one turn before the ring is looked at again, so that busy tasks do not keep completions waiting.
const POLLS_PER_TURN_MAX: usize = 1024;

/// The task that `run` was given; it lives on the stack of `run`.
const ROOT: u32 = 0;

type BoxedTask = Pin<Box<dyn Future<Output = ()>>>;

/// A reactor and a task in one word: 16 bits reactor, 24 bits generation, 24 bits index. A waker that outlives its task
/// wakes, at worst, a later one at the same index for one idle poll.
#[derive(Clone, Copy, PartialEq, Eq)]
struct TaskName(u64);

impl TaskName {
    fn new(reactor: usize, generation: u32, index: u32) -> Self {
        Self((reactor as u64) << 48 | u64::from(generation & 0xff_ffff) << 24 | u64::from(index))
    }

    fn reactor(self) -> usize {
        (self.0 >> 48) as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 24) as u32 & 0xff_ffff
    }

    fn index(self) -> u32 {
        self.0 as u32 & 0xff_ffff
    }

    fn raw_waker(self) -> RawWaker {
        RawWaker::new(ptr::without_provenance(self.0 as usize), &VTABLE)
    }

    fn wake(self) {
        let here = CURRENT.with(|current| {
            let core = current.get();
            // SAFETY: `enter` keeps the reactor alive while it is current on this thread.
            let core = unsafe { core.as_ref() }.filter(|core| core.number == self.reactor());
            if let Some(core) = core {
                core.tasks.wake(self);
            }
            core.is_some()
        });
        if !here {
            remote::wake_task(self.reactor(), self.0);
        }
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |word| TaskName(word.addr() as u64).raw_waker(),
    |word| TaskName(word.addr() as u64).wake(),
    |word| TaskName(word.addr() as u64).wake(),
    |_| {},
);

thread_local! {
    /// The reactor that runs on this thread now.
    static CURRENT: Cell<*const Core> = const { Cell::new(ptr::null()) };
}

/// Makes `core` the current reactor of this thread until the guard is dropped.
pub(crate) fn enter(core: &Core) -> Entered<'_> {
    Entered { before: CURRENT.replace(core), _core: core }
}

pub(crate) struct Entered<'a> {
    before: *const Core,
    _core: &'a Core,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

struct Entry {
    generation: u32,
    queued: bool,
    live: bool,
    future: Option<BoxedTask>,
}

/// All tasks of a reactor and the queue of those that can run.
pub(crate) struct Tasks {
    reactor: usize,
    entries: RefCell<Vec<Entry>>,
    free: RefCell<Vec<u32>>,
    ready: RefCell<VecDeque<u32>>,
    /// Woken when the next turn begins.
    next_turn: RefCell<Vec<Waker>>,
    /// Woken when the ready tasks of this turn have run.
    end_of_turn: RefCell<Vec<Waker>>,
    root_done: Cell<bool>,
}

impl Tasks {
    pub(crate) fn new(reactor: usize) -> Self {
        assert!(reactor < REACTORS_MAX);
        let root = Entry { generation: 0, queued: true, live: true, future: None };
        Self {
            reactor,
            entries: RefCell::new(vec![root]),
            free: RefCell::default(),
            ready: RefCell::new(VecDeque::from([ROOT])),
            next_turn: RefCell::default(),
            end_of_turn: RefCell::default(),
            root_done: Cell::new(false),
        }
    }

    pub(crate) fn spawn(&self, future: BoxedTask) {
        let mut entries = self.entries.borrow_mut();
        let index = match self.free.borrow_mut().pop() {
            Some(index) => {
                let entry = &mut entries[index as usize];
                entry.queued = true;
                entry.live = true;
                entry.future = Some(future);
                index
            }
            None => {
                let index = entries.len() as u32;
                assert!(
                    index <= TASKS_MAX,
                    "tasks are bounded by the connections and messages that they serve"
                );
                entries.push(Entry { generation: 0, queued: true, live: true, future: Some(future) });
                index
            }
        };
        self.ready.borrow_mut().push_back(index);
    }

    fn wake(&self, name: TaskName) {
        let mut entries = self.entries.borrow_mut();
        if let Some(entry) = entries.get_mut(name.index() as usize)
            && entry.live
            && !entry.queued
            && entry.generation == name.generation()
        {
            entry.queued = true;
            self.ready.borrow_mut().push_back(name.index());
        }
    }

    /// Wakes a task by a word that another thread left on the board.
    pub(crate) fn wake_word(&self, word: u64) {
        self.wake(TaskName(word));
    }

    pub(crate) fn wake_all(&self) {
        let mut entries = self.entries.borrow_mut();
        for (index, entry) in entries.iter_mut().enumerate().filter(|(_, entry)| entry.live && !entry.queued)
        {
            entry.queued = true;
            self.ready.borrow_mut().push_back(index as u32);
        }
    }

    pub(crate) fn at_next_turn(&self, waker: Waker) {
        self.next_turn.borrow_mut().push(waker);
    }

    pub(crate) fn at_end_of_turn(&self, waker: Waker) {
        self.end_of_turn.borrow_mut().push(waker);
    }

    /// Whether nothing can run before something happens outside.
    pub(crate) fn is_idle(&self) -> bool {
        self.ready.borrow().is_empty()
            && self.next_turn.borrow().is_empty()
            && self.end_of_turn.borrow().is_empty()
    }

    /// Polls what can run, then what waits for that; `Some` when the root has ended.
    pub(crate) fn run_ready<F: Future>(&self, mut root: Pin<&mut F>) -> Option<F::Output> {
        wake_each(&self.next_turn);
        let output = self.run_queue(root.as_mut());
        if output.is_some() {
            return output;
        }
        wake_each(&self.end_of_turn);
        self.run_queue(root)
    }

    fn run_queue<F: Future>(&self, mut root: Pin<&mut F>) -> Option<F::Output> {
        for _ in 0..POLLS_PER_TURN_MAX {
            let Some(index) = self.ready.borrow_mut().pop_front() else { break };
            let (generation, future) = {
                let entry = &mut self.entries.borrow_mut()[index as usize];
                entry.queued = false;
                (entry.generation, entry.future.take())
            };
            let name = TaskName::new(self.reactor, generation, index);
            // SAFETY: the table's functions take the word that `raw_waker` puts in, and own nothing.
            let waker = ManuallyDrop::new(unsafe { Waker::from_raw(name.raw_waker()) });
            let mut context = Context::from_waker(&waker);
            match future {
                None if index == ROOT => {
                    if !self.root_done.get()
                        && let Poll::Ready(output) = root.as_mut().poll(&mut context)
                    {
                        self.root_done.set(true);
                        return Some(output);
                    }
                }
                // It ended after it had been queued once more.
                None => self.free.borrow_mut().push(index),
                Some(mut future) => match future.as_mut().poll(&mut context) {
                    Poll::Pending => self.entries.borrow_mut()[index as usize].future = Some(future),
                    Poll::Ready(()) => {
                        self.retire(index);
                        drop(future);
                    }
                },
            }
        }
        None
    }

    fn retire(&self, index: u32) {
        let entry = &mut self.entries.borrow_mut()[index as usize];
        entry.live = false;
        entry.generation = entry.generation.wrapping_add(1) & 0xff_ffff;
        // A task that woke itself in its last poll is still queued; its index is given out again only after that.
        if !entry.queued {
            self.free.borrow_mut().push(index);
        }
    }

    /// Drops every task, also those that the dropping of others has spawned.
    pub(crate) fn clear(&self) {
        loop {
            let futures: Vec<BoxedTask> =
                self.entries.borrow_mut().iter_mut().filter_map(|entry| entry.future.take()).collect();
            let wakers = (self.next_turn.take(), self.end_of_turn.take());
            if futures.is_empty() {
                break;
            }
            drop((futures, wakers));
        }
        self.ready.borrow_mut().clear();
        self.free.borrow_mut().clear();
        self.entries.borrow_mut().truncate(1);
    }
}

fn wake_each(wakers: &RefCell<Vec<Waker>>) {
    if wakers.borrow().is_empty() {
        return;
    }
    let mut woken = wakers.take();
    woken.drain(..).for_each(Waker::wake);
    let mut wakers = wakers.borrow_mut();
    if wakers.is_empty() {
        *wakers = woken; // Keeps its memory for the next turn.
    }
}
