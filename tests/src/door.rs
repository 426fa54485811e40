//! A door that a sink's sessions wait at until the test opens it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::wait;

/// Closed until it is opened; then it stays open.
#[derive(Debug, Default)]
pub struct Door {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, bool> {
        // A thread that panicked with the lock has failed the test anyway.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everybody in, now and later.
    pub fn open(&self) {
        *self.lock() = true;
        self.opened.notify_all();
    }

    /// Waits until the door is open.
    ///
    /// # Panics
    /// When nobody opens it for [`wait::PATIENCE`].
    pub fn pass(&self) {
        let waited = self.opened.wait_timeout_while(self.lock(), wait::PATIENCE, |open| !*open);
        let (open, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(*open, "the test never opened the door");
    }
}
