//! Bounded rings from one shard to another: one sender, one receiver, no lock, no allocation after the start.
//!
//! - **Receives** values from the sending shard; **sends** them to the receiving one in order.
//! - **Limits**: the capacity given at the start. A full ring gives the value back; it never blocks and never grows.
//! - **Wake-up**: only if the receiver announced that it is about to sleep. The receiver announces, then looks once
//!   more; the sender publishes, then looks for the announcement. With a sequentially consistent fence between the two
//!   steps on both sides, at least one of them sees the other (checked by loom below).

use crate::sync::{Arc, AtomicBool, AtomicU8, AtomicUsize, Ordering, UnsafeCell, fence};
use crossbeam_utils::CachePadded;
use std::{
    fmt,
    future::{Future, poll_fn},
    mem::MaybeUninit,
    task::{Context, Poll, Waker},
};

/// The ring had no room; the value comes back.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ring is full")
    }
}

impl<T: fmt::Debug> std::error::Error for Full<T> {}

/// Makes a ring that holds at least `capacity` values (rounded up to a power of two, at least 2).
pub fn spsc<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let capacity = capacity.max(2).next_power_of_two();
    let shared = Arc::new(Shared {
        head: CachePadded::new(AtomicUsize::new(0)),
        tail: CachePadded::new(AtomicUsize::new(0)),
        sleeper: CachePadded::new(Sleeper::new()),
        sender_gone: AtomicBool::new(false),
        receiver_gone: AtomicBool::new(false),
        cells: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
    });
    (Sender { shared: shared.clone(), tail: 0, head_seen: 0 }, Receiver { shared, head: 0, tail_seen: 0 })
}

struct Shared<T> {
    // Positions count up for ever (wrapping); the cell is the position modulo the capacity.
    // Invariant: tail - head <= capacity; cells in head..tail are initialised.
    head: CachePadded<AtomicUsize>,
    tail: CachePadded<AtomicUsize>,
    sleeper: CachePadded<Sleeper>,
    sender_gone: AtomicBool,
    receiver_gone: AtomicBool,
    cells: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: a cell is touched only by the side that owns its position, and positions change hands by release/acquire.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: the ring owns its values.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let (mut position, tail) = (self.head.load(Ordering::Relaxed), self.tail.load(Ordering::Relaxed));
        while position != tail {
            // SAFETY: both sides are gone, and cells in head..tail are initialised.
            self.cells[position & (self.cells.len() - 1)]
                .with_mut(|cell| unsafe { (*cell).assume_init_drop() });
            position = position.wrapping_add(1);
        }
    }
}

/// The sending half of a ring.
pub struct Sender<T: Send> {
    shared: Arc<Shared<T>>,
    tail: usize,
    head_seen: usize,
}

impl<T: Send> Sender<T> {
    /// Puts a value into the ring, and wakes the receiver if it announced that it is about to sleep.
    pub fn try_send(&mut self, value: T) -> Result<(), Full<T>> {
        let shared = &*self.shared;
        let capacity = shared.cells.len();
        if self.tail.wrapping_sub(self.head_seen) == capacity {
            // Pairs with the receiver's release: the cells before `head` are free again.
            self.head_seen = shared.head.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head_seen) == capacity {
                return Err(Full(value));
            }
        }
        // SAFETY: the position lies outside head..tail, so the cell is ours until `tail` is published.
        shared.cells[self.tail & (capacity - 1)].with_mut(|cell| unsafe {
            (*cell).write(value);
        });
        self.tail = self.tail.wrapping_add(1);
        // Pairs with the receiver's acquire load of `tail`.
        shared.tail.store(self.tail, Ordering::Release);
        shared.sleeper.wake();
        Ok(())
    }

    /// Whether the receiver has been dropped; what is sent then is never read.
    pub fn is_closed(&self) -> bool {
        self.shared.receiver_gone.load(Ordering::Acquire)
    }
}

impl<T: Send> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.sender_gone.store(true, Ordering::Release);
        self.shared.sleeper.wake();
    }
}

/// The receiving half of a ring.
pub struct Receiver<T: Send> {
    shared: Arc<Shared<T>>,
    head: usize,
    tail_seen: usize,
}

impl<T: Send> Receiver<T> {
    /// Takes the oldest value, if there is one.
    pub fn try_recv(&mut self) -> Option<T> {
        let shared = &*self.shared;
        if self.head == self.tail_seen {
            // Pairs with the sender's release store of `tail`.
            self.tail_seen = shared.tail.load(Ordering::Acquire);
            if self.head == self.tail_seen {
                return None;
            }
        }
        // SAFETY: the position lies in head..tail, so the cell is initialised and ours until `head` is published.
        let value = shared.cells[self.head & (shared.cells.len() - 1)]
            .with_mut(|cell| unsafe { (*cell).assume_init_read() });
        self.head = self.head.wrapping_add(1);
        // Pairs with the sender's acquire load of `head`.
        shared.head.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Waits for a value; `None` once the sender is gone and the ring is empty.
    pub fn recv(&mut self) -> impl Future<Output = Option<T>> + '_ {
        poll_fn(|context| self.poll_recv(context))
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        if let Poll::Ready(value) = self.take_or_end() {
            return Poll::Ready(value);
        }
        self.shared.sleeper.announce(context.waker());
        let again = self.take_or_end();
        if again.is_ready() {
            self.shared.sleeper.withdraw();
        }
        again
    }

    fn take_or_end(&mut self) -> Poll<Option<T>> {
        // The flag is read first: whatever was sent before the sender went is then visible.
        let ended = self.shared.sender_gone.load(Ordering::Acquire);
        match self.try_recv() {
            Some(value) => Poll::Ready(Some(value)),
            None if ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl<T: Send> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receiver_gone.store(true, Ordering::Release);
    }
}

/// Where the receiver leaves its waker before it sleeps.
struct Sleeper {
    state: AtomicU8,
    // Invariant: touched only by the side that moved `state` to BUSY.
    waker: UnsafeCell<Option<Waker>>,
}

const AWAKE: u8 = 0;
const ANNOUNCED: u8 = 1;
const BUSY: u8 = 2;

impl Sleeper {
    fn new() -> Self {
        Self { state: AtomicU8::new(AWAKE), waker: UnsafeCell::new(None) }
    }

    /// Receiver: says that it will sleep unless a last look at the ring, after this call, finds something.
    fn announce(&self, waker: &Waker) {
        let state = self.state.load(Ordering::Relaxed);
        // Acquire pairs with the sender's release when it left the cell.
        if state == BUSY
            || self.state.compare_exchange(state, BUSY, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            // The sender is just taking the waker of an earlier announcement; come again.
            waker.wake_by_ref();
        } else {
            // SAFETY: we moved the state to BUSY, so nobody else touches the cell.
            self.waker.with_mut(|cell| unsafe {
                match &mut *cell {
                    Some(present) if present.will_wake(waker) => {}
                    present => *present = Some(waker.clone()),
                }
            });
            self.state.store(ANNOUNCED, Ordering::Release);
        }
        // Pairs with the fence in `wake`.
        fence(Ordering::SeqCst);
    }

    /// Receiver: takes the announcement back.
    fn withdraw(&self) {
        // Failure means that the sender is waking us, which costs one idle poll.
        let _ = self.state.compare_exchange(ANNOUNCED, AWAKE, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Sender: after publishing, wakes the receiver if it announced.
    fn wake(&self) {
        // Pairs with the fence in `announce`: either we see the announcement or the receiver's last look sees our value.
        fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) == ANNOUNCED
            && self.state.compare_exchange(ANNOUNCED, BUSY, Ordering::Acquire, Ordering::Relaxed).is_ok()
        {
            // SAFETY: we moved the state to BUSY, so nobody else touches the cell.
            let waker = self.waker.with_mut(|cell| unsafe { (*cell).take() });
            self.state.store(AWAKE, Ordering::Release);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

#[cfg(all(test, loom))]
#[allow(clippy::unwrap_used)]
mod model {
    use super::*;
    use loom::sync::{Condvar, Mutex};

    /// A bell that loom sees: a future that waits for a lost wake-up is a deadlock, which loom reports.
    #[derive(Default)]
    struct Woken(Mutex<bool>, Condvar);

    impl std::task::Wake for Woken {
        fn wake(self: std::sync::Arc<Self>) {
            *self.0.lock().unwrap() = true;
            self.1.notify_one();
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let woken = std::sync::Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut future = std::pin::pin!(future);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return value;
            }
            let mut flag = woken.0.lock().unwrap();
            while !*flag {
                flag = woken.1.wait(flag).unwrap();
            }
            *flag = false;
            drop(flag);
            // A receiver that meets the sender at its waker comes again; let the sender go on meanwhile.
            loom::thread::yield_now();
        }
    }

    #[test]
    fn a_receiver_that_dozes_off_is_woken_for_each_value_and_for_the_end() {
        loom::model(|| {
            let (mut sender, mut receiver) = spsc::<u32>(2);
            let producer = loom::thread::spawn(move || {
                assert_eq!(sender.try_send(0), Ok(()));
                assert_eq!(sender.try_send(1), Ok(()));
            });
            block_on(async {
                assert_eq!(receiver.recv().await, Some(0));
                assert_eq!(receiver.recv().await, Some(1));
                assert_eq!(receiver.recv().await, None);
            });
            producer.join().unwrap();
        });
    }

    #[test]
    fn a_cell_is_used_again_only_after_its_value_was_taken() {
        loom::model(|| {
            let (mut sender, mut receiver) = spsc::<u32>(2);
            assert_eq!(sender.try_send(0), Ok(()));
            assert_eq!(sender.try_send(1), Ok(()));
            let producer = loom::thread::spawn(move || sender.try_send(2).is_ok());
            block_on(async {
                assert_eq!(receiver.recv().await, Some(0));
                assert_eq!(receiver.recv().await, Some(1));
                let last = receiver.recv().await;
                assert_eq!(last, producer.join().unwrap().then_some(2));
            });
        });
    }

    #[test]
    fn values_left_behind_are_dropped_once() {
        loom::model(|| {
            let (mut sender, mut receiver) = spsc(2);
            let value = loom::sync::Arc::new(());
            let (one, two) = (value.clone(), value.clone());
            let producer = loom::thread::spawn(move || {
                assert!(sender.try_send(one).is_ok());
                assert!(sender.try_send(two).is_ok());
            });
            drop(receiver.try_recv());
            drop(receiver);
            producer.join().unwrap();
            assert_eq!(loom::sync::Arc::strong_count(&value), 1);
        });
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::{
        task::Wake,
        thread::{self, Thread},
    };

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Runs a future on this thread, parked between polls: a lost wake-up would hang here.
    fn block_on<F: Future>(future: F) -> F::Output {
        let waker = Waker::from(std::sync::Arc::new(Unpark(thread::current())));
        let mut future = std::pin::pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    }

    #[test]
    fn a_full_ring_gives_the_value_back() {
        let (mut sender, mut receiver) = spsc(2);
        assert_eq!(sender.try_send(1), Ok(()));
        assert_eq!(sender.try_send(2), Ok(()));
        assert_eq!(sender.try_send(3), Err(Full(3)));
        assert_eq!(receiver.try_recv(), Some(1));
        assert_eq!(sender.try_send(3), Ok(()));
        assert_eq!((receiver.try_recv(), receiver.try_recv(), receiver.try_recv()), (Some(2), Some(3), None));
        drop(receiver);
        assert!(sender.is_closed());
    }

    #[test]
    fn two_threads_pass_values_in_order_and_sleep_between() {
        const VALUES: u64 = 300_000;
        let (mut there, mut inbox) = spsc::<u64>(8);
        let (mut back, mut answers) = spsc::<u64>(8);
        let echo = thread::spawn(move || {
            block_on(async {
                while let Some(value) = inbox.recv().await {
                    let mut value = value;
                    while let Err(Full(again)) = back.try_send(value) {
                        value = again;
                        thread::yield_now();
                    }
                }
            });
        });
        let (mut sent, mut received) = (0, 0);
        while received < VALUES {
            // Short bursts, so that both sides sleep and wake all the time.
            while sent < VALUES && sent - received < 5 && there.try_send(sent).is_ok() {
                sent += 1;
            }
            assert_eq!(block_on(answers.recv()), Some(received));
            received += 1;
        }
        drop(there);
        echo.join().unwrap();
        assert_eq!(block_on(answers.recv()), None);
    }
}
