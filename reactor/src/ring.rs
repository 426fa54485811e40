//! Bounded rings from one shard to another.

use std::{fmt, marker::PhantomData};

/// The ring had no room; the value comes back.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ring is full")
    }
}

/// Makes a ring that holds at least `capacity` values (rounded up to a power of two).
pub fn spsc<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let _ = capacity;
    crate::face::unfilled()
}

/// The sending half of a ring.
pub struct Sender<T>(PhantomData<T>);

impl<T: Send> Sender<T> {
    /// Puts a value into the ring, and wakes the receiver if it announced that it is about to sleep.
    pub fn try_send(&mut self, _value: T) -> Result<(), Full<T>> {
        crate::face::unfilled()
    }
    /// Whether the receiver has been dropped.
    pub fn is_closed(&self) -> bool {
        crate::face::unfilled()
    }
}

/// The receiving half of a ring.
pub struct Receiver<T>(PhantomData<T>);

impl<T: Send> Receiver<T> {
    /// Takes the oldest value, if there is one.
    pub fn try_recv(&mut self) -> Option<T> {
        crate::face::unfilled()
    }
    /// Waits for a value; `None` once the sender is gone and the ring is empty.
    pub async fn recv(&mut self) -> Option<T> {
        crate::face::unfilled()
    }
}
