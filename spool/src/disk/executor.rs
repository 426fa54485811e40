//! The smallest executor, for tests over a [`MemoryDisk`].

use super::MemoryDisk;
use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        // Relaxed: one thread sets and reads it.
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    flag: Arc<Flag>,
}

/// Runs tasks that were woken, in the order in which they were started, and lets the disk step when all wait.
#[derive(Default)]
pub struct LocalExecutor {
    tasks: RefCell<Vec<Option<Task>>>,
}

impl LocalExecutor {
    /// Starts a task.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let task = Task { future: Box::pin(future), flag: Arc::new(Flag(AtomicBool::new(true))) };
        self.tasks.borrow_mut().push(Some(task));
    }

    /// Runs every task that was woken until none is.
    pub fn run_until_stalled(&self) {
        loop {
            let mut progressed = false;
            let mut at = 0;
            while at < self.tasks.borrow().len() {
                let woken = match &self.tasks.borrow()[at] {
                    Some(task) => task.flag.0.swap(false, Ordering::Relaxed),
                    None => false,
                };
                if woken {
                    progressed = true;
                    let mut task = self.tasks.borrow_mut()[at].take().expect("checked above");
                    let waker = Waker::from(Arc::clone(&task.flag));
                    if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                        self.tasks.borrow_mut()[at] = Some(task);
                    }
                }
                at += 1;
            }
            if !progressed {
                break;
            }
        }
        self.tasks.borrow_mut().retain(Option::is_some);
    }

    /// Runs `future` to its end, with the tasks beside it and the disk stepping whenever all wait. `None` if
    /// everything waits and the disk has nothing under way.
    pub fn block_on<T: 'static>(
        &self,
        disk: &MemoryDisk,
        future: impl Future<Output = T> + 'static,
    ) -> Option<T> {
        let result = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&result);
        self.spawn(async move {
            let value = future.await;
            *slot.borrow_mut() = Some(value);
        });
        loop {
            self.run_until_stalled();
            if let Some(value) = result.borrow_mut().take() {
                return Some(value);
            }
            if !disk.step() {
                return None;
            }
        }
    }
}
