//! drain: how a shard tells its sessions and connections that the system stops.
//!
//! A task registers its waker once for its whole life; asking is one flag, so the hot path pays a branch.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

/// The shard's stop signal. Cheap to clone.
#[derive(Clone, Default)]
pub struct Drain(Rc<Inner>);

#[derive(Default)]
struct Inner {
    begun: Cell<bool>,
    watchers: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
}

/// One task's registration; forgets itself when dropped.
pub struct DrainWatch {
    drain: Drain,
    place: Option<usize>,
}

impl Drain {
    /// Whether the stop has begun.
    pub fn begun(&self) -> bool {
        self.0.begun.get()
    }

    /// Begins the stop and wakes every watcher.
    pub fn begin(&self) {
        self.0.begun.set(true);
        for waker in self.0.watchers.borrow().iter().flatten() {
            waker.wake_by_ref();
        }
    }

    /// A registration for the task that will poll it.
    pub fn watch(&self) -> DrainWatch {
        DrainWatch { drain: self.clone(), place: None }
    }
}

impl DrainWatch {
    /// True once the stop has begun; before that the task is woken when it begins. A watch belongs to one task:
    /// its first waker is kept.
    pub fn poll(&mut self, context: &Context<'_>) -> bool {
        if self.drain.begun() {
            return true;
        }
        if self.place.is_none() {
            let inner = &self.drain.0;
            let mut watchers = inner.watchers.borrow_mut();
            let place = inner.free.borrow_mut().pop().unwrap_or_else(|| {
                watchers.push(None);
                watchers.len() - 1
            });
            watchers[place] = Some(context.waker().clone());
            self.place = Some(place);
        }
        false
    }
}

impl Drop for DrainWatch {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.drain.0.watchers.borrow_mut()[place] = None;
            self.drain.0.free.borrow_mut().push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn every_live_watcher_is_woken_once_and_dropped_ones_are_not() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let context = Context::from_waker(&waker);
        let drain = Drain::default();
        let (mut kept, mut dropped) = (drain.watch(), drain.watch());
        assert!(!kept.poll(&context) && !kept.poll(&context) && !dropped.poll(&context));
        drop(dropped);
        drain.begin();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(kept.poll(&context));
    }
}
