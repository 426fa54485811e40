//! Signals between tasks of one thread: no atomics, no system calls.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Wakes tasks of the same thread that wait for something to change.
///
/// A `notify` that finds nobody waiting is remembered (once), so a task that checks its condition and then waits
/// misses nothing.
#[derive(Default)]
pub struct Notify {
    state: RefCell<NotifyState>,
}

#[derive(Default)]
struct NotifyState {
    permit: bool,
    next_ticket: u64,
    // Invariant: sorted by ticket, because tickets only grow and are appended.
    waiting: VecDeque<(u64, Waker)>,
}

impl Notify {
    /// A signal that nobody has given yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the task that has waited longest; if none waits, the next [`notified`](Self::notified) resolves at once.
    pub fn notify(&self) {
        let mut state = self.state.borrow_mut();
        match state.waiting.pop_front() {
            Some((_, waker)) => {
                drop(state);
                waker.wake();
            }
            None => state.permit = true,
        }
    }

    /// Wakes every task that waits now; leaves nothing behind for later ones.
    pub fn notify_all(&self) {
        let waiting = std::mem::take(&mut self.state.borrow_mut().waiting);
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    /// Wakes every task that waits now; if none waits, the next one.
    pub(crate) fn notify_all_or_next(&self) {
        if self.state.borrow().waiting.is_empty() { self.notify() } else { self.notify_all() }
    }

    /// Resolves at the next [`notify`](Self::notify) or [`notify_all`](Self::notify_all).
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, ticket: None }
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        write!(f, "Notify(permit: {}, waiting: {})", state.permit, state.waiting.len())
    }
}

/// The future of [`Notify::notified`]. If it is dropped after it was chosen, the next waiting task is chosen instead.
#[must_use = "futures do nothing unless awaited"]
pub struct Notified<'a> {
    notify: &'a Notify,
    ticket: Option<u64>,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let notify = self.notify;
        let mut state = notify.state.borrow_mut();
        match self.ticket {
            None if state.permit => {
                state.permit = false;
                Poll::Ready(())
            }
            None => {
                let ticket = state.next_ticket;
                state.next_ticket += 1;
                state.waiting.push_back((ticket, context.waker().clone()));
                self.ticket = Some(ticket);
                Poll::Pending
            }
            Some(ticket) => match state.waiting.binary_search_by_key(&ticket, |waiting| waiting.0) {
                Ok(index) => {
                    if !state.waiting[index].1.will_wake(context.waker()) {
                        state.waiting[index].1 = context.waker().clone();
                    }
                    Poll::Pending
                }
                Err(_) => {
                    self.ticket = None;
                    Poll::Ready(())
                }
            },
        }
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.notify.state.borrow_mut();
        match state.waiting.binary_search_by_key(&ticket, |waiting| waiting.0) {
            Ok(index) => {
                state.waiting.remove(index);
            }
            Err(_) => {
                drop(state);
                self.notify.notify();
            }
        }
    }
}

/// One value from one task to another on the same thread.
pub fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let state = Rc::new(RefCell::new(OneshotState { value: None, waker: None, sender_gone: false }));
    (OneshotSender { state: state.clone() }, OneshotReceiver { state })
}

struct OneshotState<T> {
    value: Option<T>,
    waker: Option<Waker>,
    sender_gone: bool,
}

/// The sending half of [`oneshot`].
pub struct OneshotSender<T> {
    state: Rc<RefCell<OneshotState<T>>>,
}

impl<T> OneshotSender<T> {
    /// Hands the value over; gives it back if the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(value);
        }
        self.state.borrow_mut().value = Some(value);
        Ok(()) // The drop that follows wakes the receiver.
    }

    /// Whether the receiver has been dropped.
    pub fn is_closed(&self) -> bool {
        Rc::strong_count(&self.state) == 1
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.state.borrow_mut();
            state.sender_gone = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The receiving half of [`oneshot`]: a future.
#[must_use = "futures do nothing unless awaited"]
pub struct OneshotReceiver<T> {
    state: Rc<RefCell<OneshotState<T>>>,
}

/// The sender was dropped without sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderGone;

impl fmt::Display for SenderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sender was dropped without sending")
    }
}

impl std::error::Error for SenderGone {}

impl<T> Future for OneshotReceiver<T> {
    type Output = Result<T, SenderGone>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.state.borrow_mut();
        if let Some(value) = state.value.take() {
            return Poll::Ready(Ok(value));
        }
        if state.sender_gone {
            return Poll::Ready(Err(SenderGone));
        }
        match &mut state.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            waker => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn check<F: Future + Unpin>(future: &mut F) -> (Poll<F::Output>, Arc<Counter>) {
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(counter.clone());
        (Pin::new(future).poll(&mut Context::from_waker(&waker)), counter)
    }

    #[test]
    fn a_notice_without_waiter_is_kept_once() {
        let notify = Notify::new();
        notify.notify();
        notify.notify();
        assert!(check(&mut notify.notified()).0.is_ready());
        assert!(check(&mut notify.notified()).0.is_pending());
    }

    #[test]
    fn a_dropped_chosen_waiter_passes_the_notice_on() {
        let notify = Notify::new();
        let (mut first, mut second) = (notify.notified(), notify.notified());
        assert!(check(&mut first).0.is_pending());
        let (poll, second_wakes) = check(&mut second);
        assert!(poll.is_pending());
        notify.notify();
        assert_eq!(second_wakes.0.load(Ordering::Relaxed), 0);
        drop(first);
        assert_eq!(second_wakes.0.load(Ordering::Relaxed), 1);
        assert!(check(&mut second).0.is_ready());
    }

    #[test]
    fn notify_all_wakes_everybody_and_leaves_nothing() {
        let notify = Notify::new();
        let mut waiters: Vec<_> = (0..3).map(|_| notify.notified()).collect();
        for waiter in &mut waiters {
            assert!(check(waiter).0.is_pending());
        }
        notify.notify_all();
        for waiter in &mut waiters {
            assert!(check(waiter).0.is_ready());
        }
        assert!(check(&mut notify.notified()).0.is_pending());
    }

    #[test]
    fn oneshot_delivers_or_says_that_the_other_side_is_gone() {
        let (sender, mut receiver) = oneshot();
        let (poll, wakes) = check(&mut receiver);
        assert!(poll.is_pending());
        assert_eq!(sender.send(7), Ok(()));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(check(&mut receiver).0, Poll::Ready(Ok(7)));

        let (sender, mut receiver) = oneshot::<u32>();
        drop(sender);
        assert_eq!(check(&mut receiver).0, Poll::Ready(Err(SenderGone)));

        let (sender, receiver) = oneshot();
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send(7), Err(7));
    }
}
