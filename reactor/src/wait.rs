//! Futures that wait for time or for the turn: sleeping, time limits, yielding.

use crate::{
    reactor::Core,
    time::{Elapsed, Moment},
    timer::TimerKey,
};
use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// Resolves at a moment; see [`Handle::sleep_until`](crate::Handle::sleep_until).
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    core: Rc<Core>,
    until: Moment,
    // Invariant: the key is removed from the wheel exactly once, when the sleep ends or is dropped.
    key: Option<TimerKey>,
}

impl Sleep {
    pub(crate) fn new(core: Rc<Core>, until: Moment) -> Self {
        Self { core, until, key: None }
    }

    fn forget(&mut self) {
        if let Some(key) = self.key.take() {
            self.core.timers.borrow_mut().remove(key);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.core.now() >= self.until {
            self.forget();
            return Poll::Ready(());
        }
        let mut timers = self.core.timers.borrow_mut();
        match self.key {
            // The wheel counts whole milliseconds, rounded so that nothing fires early.
            Some(key) if !timers.has_fired(key) => timers.replace_waker(key, context.waker()),
            fired => {
                if let Some(key) = fired {
                    timers.remove(key);
                }
                let key = timers.insert(self.until.as_nanos().div_ceil(1_000_000), context.waker().clone());
                drop(timers);
                self.key = Some(key);
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

/// A future with a time limit; see [`Handle::timeout`](crate::Handle::timeout).
#[must_use = "futures do nothing unless awaited"]
pub struct Timeout<F> {
    future: F,
    sleep: Sleep,
}

impl<F> Timeout<F> {
    pub(crate) fn new(future: F, sleep: Sleep) -> Self {
        Self { future, sleep }
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is pinned with the whole and never moved out of it; `sleep` is not pinned structurally.
        let (future, sleep) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), Pin::new(&mut this.sleep))
        };
        // What is ready at once needs no timer.
        if let Poll::Ready(output) = future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        sleep.poll(context).map(|()| Err(Elapsed))
    }
}

/// Which part of the turn to wait for.
#[derive(Clone, Copy)]
pub(crate) enum TurnPart {
    Next,
    End,
}

/// Resolves in the next turn, or at the end of this one; see [`Handle::yield_now`](crate::Handle::yield_now).
#[must_use = "futures do nothing unless awaited"]
pub struct Turn {
    core: Rc<Core>,
    part: TurnPart,
    waiting: bool,
}

impl Turn {
    pub(crate) fn new(core: Rc<Core>, part: TurnPart) -> Self {
        Self { core, part, waiting: false }
    }
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.waiting {
            return Poll::Ready(());
        }
        self.waiting = true;
        let waker = context.waker().clone();
        match self.part {
            TurnPart::Next => self.core.tasks.at_next_turn(waker),
            TurnPart::End => self.core.tasks.at_end_of_turn(waker),
        }
        Poll::Pending
    }
}
